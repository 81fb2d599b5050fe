# SPDX-License-Identifier: Apache-2.0
"""Create, change and delete bays: which endpoint is acceptable, who may use it, when it may go."""

from oslo_db import exception as db_exc
from oslo_log import log
from stevedore import driver as stevedore_driver
from stevedore import exception as stevedore_exc

from container_service import audit
from container_service import certificates
from container_service import egress
from container_service import exceptions
from container_service import lifecycle
from container_service import secrets
from container_service import states
from container_service.db import bays
from container_service.db import containers
from container_service.db import idempotency
from container_service.db import images
from container_service.db import pulls
from container_service.db import strays
from container_service.db.base import now
from container_service.db.base import run_again

LOG = log.getLogger(__name__)

DRIVERS = 'container_service.drivers'

# By what an engine and its conductors know each other; PEM, the last one encrypted.
TLS = ('ca_cert', 'client_cert', 'client_key')


def driver_class(name):
    """The driver of that name.  Raises InvalidParameter where it is not installed."""
    try:
        return stevedore_driver.DriverManager(DRIVERS, name).driver
    except stevedore_exc.NoMatches:
        raise exceptions.InvalidParameter(
            name='driver', reason=f'{name} is not installed') from None


def create(context, conf, db, *, name, endpoint, driver='docker', ca_cert=None,
           client_cert=None, client_key=None, hosts=None, public=False, shared_with=(),
           labels=None, terms=lifecycle.Terms()):  # noqa: B008
    """Record a bay; with an idempotency key used before, find the one made then.

    Returns (bay, whether it was made before).  Its engine is looked at by the next reconciling
    pass.  Raises InvalidParameter, NameTaken, IdempotencyMismatch, MadeAndGone,
    SecretsUnavailable.
    """
    if driver not in conf.bays.drivers:
        raise exceptions.InvalidParameter(
            name='driver', reason=f'must be one of {", ".join(conf.bays.drivers)}')
    tls = dict(zip(TLS, (ca_cert, client_cert, client_key)))
    tls = {**tls, **_checked(tls)}
    try:
        endpoint = check_endpoint(conf, egress.for_bays(conf), driver, endpoint, **tls)
    except ValueError as exc:
        raise exceptions.InvalidParameter(name='endpoint', reason=str(exc)) from None
    _check_hosts(endpoint, hosts)
    uuid = lifecycle.new_uuid()
    _encrypt(conf, tls)

    def unit(conn):
        idempotency.insert(conn, context, terms, uuid, 'bay')
        bays.insert(conn, {
            'uuid': uuid, 'project_id': context.project_id, 'name': name, 'driver': driver,
            'endpoint': endpoint, **tls, 'hosts': hosts or None, 'public': public,
            'labels': labels, 'status': 'CREATE_COMPLETE', 'health_status': 'UNKNOWN'})
        bays.share(conn, uuid, shared_with)
        audit.record(
            conn, context, 'bay:create', audit.Target('bay', uuid, name, context.project_id),
            fields=audit.fields({
                'name': name, 'driver': driver, 'endpoint': endpoint, 'ca_cert': ca_cert,
                'client_cert': client_cert, 'client_key': client_key, 'hosts': hosts,
                'public': public or None, 'shared_with': shared_with or None,
                'labels': labels or None}))
        return bays.find(conn, uuid)

    try:
        return db.transact(unit, landed=lambda conn: bays.find(conn, uuid)), False
    except db_exc.DBDuplicateEntry:
        with db.read() as conn:
            earlier = idempotency.made(conn, context.project_id, terms, bays.find)
            if earlier is not None:
                return earlier, True
        raise exceptions.NameTaken(kind='bay', name=name) from None


def check_endpoint(conf, policy, driver, endpoint, ca_cert, client_cert, client_key):
    """The one spelling of an endpoint that may be connected to.

    Raises ValueError, with words that complete "endpoint ...".
    Asked when a bay is made and before each driver is: rules and rows may have changed since.
    What a name leads to is looked at where it is connected to.  Raises InvalidParameter where the
    driver is not installed.
    """
    if ca_cert == '':
        # Whatever allow_insecure_tcp is: plain HTTP would be spoken to a port with TLS.
        raise ValueError('was reached with certificates from files: all of them must be given '
                         'again, as their content')
    endpoint = driver_class(driver).check_endpoint(
        endpoint, ca_cert, client_cert, client_key, conf.bays.allow_insecure_tcp, policy)
    if endpoint.startswith('tcp:') and not client_cert:
        LOG.warning('%s is used without mutual TLS: whoever reaches it is root on its host. '
                    '[bays] allow_insecure_tcp lets it.', endpoint)
    return endpoint


def _checked(tls):
    """What is given of TLS, as it is kept."""
    try:
        return certificates.check(**tls)
    except certificates.Bad as exc:
        raise exceptions.InvalidParameter(name=exc.name, reason=str(exc)) from None


def _encrypt(conf, tls):
    if tls.get('client_key') is not None:
        tls['client_key'] = secrets.Keys(conf).encrypt(tls['client_key'])


def _check_hosts(endpoint, hosts):
    if endpoint.startswith('unix:') and not hosts:
        raise exceptions.InvalidParameter(
            name='hosts', reason='is required for a unix:// endpoint: name the conductor host '
                                 'that the socket is on')


def update(context, conf, db, ident, changes):
    """Change what is said of a bay; returns it as it is then.

    Containers of a project that may not use it any more stay, and nothing new is placed for it.
    Raises BayNotFound, AmbiguousName, Forbidden, NameTaken, InvalidParameter, SecretsUnavailable.
    """
    values = dict(changes)
    shared_with = values.pop('shared_with', None)
    if ('client_cert' in values) != ('client_key' in values):
        missing = 'client_key' if 'client_cert' in values else 'client_cert'
        raise exceptions.InvalidParameter(
            name=missing, reason='is required: client_cert and client_key go together')
    tls = {name: values[name] for name in TLS if name in values}
    if tls:
        tls = _checked(tls)
        _encrypt(conf, tls)
        # It may have said that they were missing.
        values.update(tls, status_reason=None)

    def unit(conn):
        row = to_change(conn, context, ident, bays.CHANGE)
        if tls:
            try:
                check_endpoint(conf, egress.for_bays(conf), row.driver, row.endpoint,
                               **{name: {**row._mapping, **tls}[name] for name in TLS})
            except ValueError as exc:
                raise exceptions.InvalidParameter(
                    name=next(iter(tls)),
                    reason=f'does not go with the endpoint of the bay, which {exc}') from None
        if 'hosts' in values:
            _check_hosts(row.endpoint, values['hosts'])
            values['hosts'] = values['hosts'] or None
        if shared_with is not None:
            bays.share(conn, row.uuid, shared_with)
        bays.update(conn, row.uuid, {**values, 'updated_at': now()})
        audit.record(conn, context, 'bay:update', audit.Target.of('bay', row),
                     fields=sorted(changes))
        return bays.find(conn, row.uuid)

    try:
        return db.transact(unit, run_again)
    except db_exc.DBDuplicateEntry:
        raise exceptions.NameTaken(kind='bay', name=values['name']) from None


def to_change(conn, context, ident, lock=None):
    """The bay, if it is the caller's to change; ``lock`` as in ``bays.get``.

    Administrators change all that they see, whom policy lets have bays those of the own project.
    Raises BayNotFound, AmbiguousName, Forbidden.
    """
    row = bays.get(conn, ident, context.project_scope, lock)
    if not context.is_admin and row.project_id != context.project_id:
        raise exceptions.Forbidden(f'Bay {ident} is not of this project.')
    return row


def delete(context, db, ident, terms=lifecycle.Terms()):  # noqa: B008
    """Forget a bay that has no containers; returns whether the same request did so before.

    Raises BayNotFound, AmbiguousName, Forbidden, BayInUse, IdempotencyMismatch.
    """

    deleting = []

    def unit(conn):
        row = to_change(conn, context, ident, bays.CHANGE)
        deleting[:] = [row.uuid]
        idempotency.insert(conn, context, terms, row.uuid, 'bay')
        count = containers.count_on_bay(conn, row.uuid)
        if count:
            raise exceptions.BayInUse(bay=row.name, count=count)
        strays.forget_bay(conn, row.uuid)
        for image in images.busy(conn, row.uuid):
            audit.image_ended(conn, image, states.CANCELLED)
        images.forget_bay(conn, row.uuid)
        pulls.forget_bay(conn, row.uuid)
        bays.delete(conn, row.uuid)
        audit.record(conn, context, 'bay:delete', audit.Target.of('bay', row))

    try:
        db.transact(unit, landed=lambda conn: bays.find(conn, deleting[0]) is None or None)
        return False
    except (db_exc.DBDuplicateEntry, exceptions.BayNotFound, exceptions.BayInUse):
        with db.read() as conn:
            if idempotency.earlier(conn, context.project_id, terms) is None:
                raise
        return True


def reconcile(context, db, ident, adopt=(), remove=(), project_id=None, new_engine=False):
    """Have a bay compared with its engine now, and strays adopted or removed.

    ``adopt`` and ``remove`` are ids of the engine, or the word all.  What is adopted becomes a
    container of that project, the caller's by default.  Whoever watches the bay does it, soon;
    what could not be done is told by the ``error`` of the stray.  With ``new_engine`` the bay's
    engine is whichever answers next, and what that one does not have was removed.  Returns the
    strays as they are now.  Raises BayNotFound, AmbiguousName, Forbidden, InvalidParameter.
    """
    project_id = project_id or context.project_id
    if project_id != context.project_id and not context.is_admin:
        raise exceptions.Forbidden('project_id: what is adopted can only become your project\'s.')
    wanted_by = {'project_id': project_id, 'user_id': context.user_id,
                 'initiator': audit.initiator(context)}

    def unit(conn):
        row = to_change(conn, context, ident, bays.CHANGE)
        known = {stray.engine_id for stray in strays.of_bay(conn, row.uuid)}
        asked = {name: known if ids == 'all' else set(ids)
                 for name, ids in ((strays.ADOPT, adopt), (strays.REMOVE, remove))}
        for name, ids in asked.items():
            if ids - known:
                raise exceptions.InvalidParameter(
                    name=name, reason=f'there is no stray {min(ids - known)} on this bay')
        if asked[strays.ADOPT] & asked[strays.REMOVE]:
            raise exceptions.InvalidParameter(
                name='remove', reason='must not name what is to be adopted')
        for name, ids in asked.items():
            if ids:
                strays.want(conn, row.uuid, ids, name, wanted_by)
        bays.update(conn, row.uuid, {'reconcile_at': now(),
                                     **({'engine_id': None} if new_engine else {})})
        audit.record(conn, context, 'bay:reconcile', audit.Target.of('bay', row),
                     **{name: sorted(ids) for name, ids in asked.items()},
                     new_engine=new_engine)
        return strays.of_bay(conn, row.uuid)

    return db.transact(unit, run_again)
