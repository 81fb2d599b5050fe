# SPDX-License-Identifier: Apache-2.0
"""What the world is told, over the message bus: each row of the audit trail, as a CADF event.

After the commit, off the thread that made the change, and as well as it goes: a broker that is
down or hangs costs notifications, never a change or an answer.  The trail in the database is the
truth.  Where to and whether at all says oslo.messaging's own section of the configuration.
"""

import datetime
import functools
import re
import time
import uuid

import oslo_messaging
from pycadf import cadftaxonomy
from pycadf import event
from pycadf import host
from pycadf import reason
from pycadf import resource

from container_service import audit
from container_service import conf as options
from container_service import courier

EVENT_TYPE = 'container_service.audit'
PUBLISHER = 'container-service'

_RETRY = 1

# What targets are in the taxonomy of CADF.
_KINDS = {'container': 'compute/machine/container', 'image': 'data/image',
          'bay': 'compute/node/bay', 'registry': 'service/storage/image/registry'}


class Notifier(courier.Courier):
    """Sends from a thread of its own, if a driver is configured."""

    name = 'notifier'
    complaint = ('Cannot send notifications (%s); the audit trail in the database has what they '
                 'would tell.')

    def __init__(self, conf, clock=time.monotonic):
        super().__init__(clock)
        self._conf = conf
        self._is_on = any(driver != 'noop' for driver in conf[options.NOTIFICATIONS].driver)

    def tell(self, row):
        """Send a row of the audit trail soon.  Returns at once and never fails."""
        if self._is_on:
            at = datetime.datetime.now(datetime.UTC)
            self.put((row, at))

    def _steps(self, batch):
        for row, at in batch:
            yield 1, functools.partial(self._send, row, at)

    @functools.cached_property
    def _notifier(self):
        return oslo_messaging.Notifier(
            oslo_messaging.get_notification_transport(self._conf),
            publisher_id=f'{PUBLISHER}:{self._conf.host}', retry=_RETRY)

    def _send(self, row, at):
        self._notifier.info({'request_id': row.get('request_id')}, EVENT_TYPE,
                            as_event(row, at, self._conf.host))
        return True


def as_event(row, at, observer):
    """A row of the audit trail as CADF has it.  ``observer`` is the host that tells of it."""
    get = row.get
    told = event.Event(
        id=row['uuid'], eventTime=at.isoformat(), action=_action(row['action']),
        outcome=row['outcome'], reason=_reason(row),
        initiator=resource.Resource(
            id=_id(get('user_id') or audit.SERVICE), typeURI='service/security/account/user'
            if get('user_id') else 'service/compute', name=get('user_id') or PUBLISHER,
            domain=get('user_project_id'),
            host=host.Host(address=get('source')) if get('source') else None),
        target=resource.Resource(
            id=_id(get('target_uuid') or get('target_name') or audit.UNKNOWN),
            typeURI=_type(get('target_type')), name=get('target_name'), domain=get('project_id')),
        observer=resource.Resource(id=_id(observer), typeURI='service/compute', name=PUBLISHER))
    # The rest is what nobody but us has a word for.
    return {**told.as_dict(), 'request_id': get('request_id'), 'roles': get('roles'),
            'authenticated_by': get('authenticated_by'), 'project_id': get('project_id'),
            'action_uuid': get('action_uuid'), 'details': get('details')}


def _id(text):
    """Ids must be uuids, or some readers refuse them; one made of a name is always the same."""
    hexadecimal = text.replace('-', '')
    if re.fullmatch('([0-9a-f]{32})+', hexadecimal):
        return text
    return str(uuid.uuid5(uuid.NAMESPACE_URL, text))


def _action(words):
    """The words of the trail; behind ``update`` where CADF has none that begin like them."""
    return words if cadftaxonomy.is_valid_action(words) else f'update/{words}'


def _type(kind):
    if kind is None:
        return cadftaxonomy.UNKNOWN
    return _KINDS.get(kind, f'service/compute/{kind}')


def _reason(row):
    if row.get('code') is None:
        return None
    if row.get('status') is not None:
        return reason.Reason(reasonType='HTTP', reasonCode=str(row['status']),
                             policyType=PUBLISHER, policyId=row['code'])
    return reason.Reason(reasonType=PUBLISHER, reasonCode=row['code'])
