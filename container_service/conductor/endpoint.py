# SPDX-License-Identifier: Apache-2.0
"""What a conductor answers on the bus: two endpoints, one per topic.

The bus hands a message over once and forgets it, so ``wake`` does nothing but tell the in-flight
map; ``ask`` has a topic, server and threads of its own, and never waits behind the pool.
Whoever has credentials for the broker can send whatever they like.  Of a wake nothing is believed
but the uuids, and all else is read from SQL; an ask needs a ticket that is in SQL.  What is
neither costs a line in the log now and then.
"""

import dataclasses
import re

from oslo_log import log
import oslo_messaging

from container_service import exceptions
from container_service import operations
from container_service import redaction
from container_service import rpc
from container_service import secrets
from container_service import sparing
from container_service import tickets
from container_service.conductor import inflight
from container_service.conductor import runner
from container_service.db import containers

LOG = log.getLogger(__name__)

_RUNG = re.compile(rf'(?:{re.escape(rpc.PULL)})?[0-9a-zA-Z-]{{1,36}}')


class Wake:
    """Topic of the doorbell."""
    target = oslo_messaging.Target(version=rpc.VERSION)

    def __init__(self, inflight, pass_on=lambda container_uuid: None, pulling=None):
        self._inflight, self._pulling = inflight, pulling
        self._pass_on = pass_on

    @oslo_messaging.expose
    def wake(self, context, container_uuid=None, more=(), **_):
        """Work on a container; ``more`` are others that were rung for at the same time."""
        asked = [container_uuid, *(more if isinstance(more, list | tuple) else ())]
        answers = [self._wake(uuid) for uuid in asked[:rpc.Doorbell.BATCH] if _is_known(uuid)]
        return answers[0] if answers else None

    def _wake(self, container_uuid):
        if container_uuid.startswith(rpc.PULL):
            # Not passed on: the poll of another one finds it.
            return self._pulling.wake(container_uuid.removeprefix(rpc.PULL))
        answer = self._inflight.wake(container_uuid, caller_may_run=True)
        if answer == inflight.STOPPING:
            self._pass_on(container_uuid)
        return answer


def _is_known(uuid):
    """Whether this may be what a doorbell is rung for."""
    return isinstance(uuid, str) and _RUNG.fullmatch(uuid) is not None


class Ask:
    """Topic of the blocking operations."""
    target = oslo_messaging.Target(version=rpc.VERSION)

    def __init__(self, db, engines, deployment, keys):
        self._db = db
        self._keys = keys
        self._engines = engines
        self._deployment = deployment
        self._tickets = tickets.Tickets(db)
        self._told = sparing.Sparingly()

    @oslo_messaging.expose
    def ready(self, context):
        """That this conductor is there is the answer."""
        return True

    @oslo_messaging.expose
    def ask(self, context, ticket=None, container_uuid=None, operation=None, params=None, **_):
        """Carry out a blocking operation.  Answers {'result': ...} or {'error': ...}."""
        redeemed = False
        with redaction.hiding():
            try:
                self._tickets.redeem(ticket, container_uuid, operation, params)
                redeemed = True
                return {'result': self._ask(container_uuid, operation, params)}
            except exceptions.Forbidden as exc:
                if self._told():
                    LOG.warning('Refused what was asked over the message bus: somebody sends '
                                'messages who should not, or clocks and queues are far behind.')
                return {'error': exc.to_dict()}
            except exceptions.Error as exc:
                return {'error': exc.to_dict()}
            except Exception:
                if redeemed or self._told():
                    LOG.exception('%.50r of container %.50r', operation, container_uuid)
                return {'error': exceptions.Error().to_dict()}

    def _ask(self, container_uuid, operation, params):
        op = operations.OPERATIONS.get(operation)
        if op is None or op.is_async:
            raise exceptions.Invalid(f'{operation} is not a blocking operation.')
        with self._db.read() as conn:
            row = containers.get(conn, container_uuid, None)
        driver = self._engines.driver(row.bay_uuid)
        container = runner.as_driver_sees(row, row.fence, self._deployment)
        tokens = {param.name: params[param.name] for param in op.secrets
                  if isinstance(params.get(param.name), str)}
        params = {**params, **secrets.unseal(tokens, self._keys)}
        result = driver.method(op)(container, **params)
        return dataclasses.asdict(result) if dataclasses.is_dataclass(result) else result
