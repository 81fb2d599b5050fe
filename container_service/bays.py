# SPDX-License-Identifier: Apache-2.0
"""Create and delete bays: which endpoint is acceptable, and when a bay may go."""

from oslo_db import exception as db_exc
from stevedore import driver as stevedore_driver
from stevedore import exception as stevedore_exc

from container_service import exceptions
from container_service import lifecycle
from container_service.db import bays
from container_service.db import containers
from container_service.db import idempotency
from container_service.db import images
from container_service.db import pulls
from container_service.db import strays
from container_service.db.base import now
from container_service.db.base import run_again

DRIVERS = 'container_service.drivers'


def driver_class(name):
    """The driver of that name.  Raises stevedore's NoMatches."""
    return stevedore_driver.DriverManager(DRIVERS, name).driver


def create(context, conf, db, *, name, endpoint, driver='docker', ca_cert=None,
           client_cert=None, client_key=None, hosts=None, public=False, labels=None,
           terms=lifecycle.Terms()):  # noqa: B008
    """Record a bay; with an idempotency key used before, find the one made then.

    Returns (bay, whether it was made before).  Its engine is looked at by the next reconciling
    pass.  Raises InvalidParameter, NameTaken, IdempotencyMismatch,
    MadeAndGone.
    """
    if driver not in conf.bays.drivers:
        raise exceptions.InvalidParameter(
            name='driver', reason=f'must be one of {", ".join(conf.bays.drivers)}')
    try:
        driver_class(driver).check_endpoint(
            endpoint, ca_cert, client_cert, client_key, conf.bays.allow_insecure_tcp)
    except stevedore_exc.NoMatches:
        raise exceptions.InvalidParameter(
            name='driver', reason=f'{driver} is not installed') from None
    except ValueError as exc:
        raise exceptions.InvalidParameter(name='endpoint', reason=str(exc)) from None
    if endpoint.startswith('unix:') and not hosts:
        raise exceptions.InvalidParameter(
            name='hosts', reason='is required for a unix:// endpoint: name the conductor host '
                                 'that the socket is on')
    uuid = lifecycle.new_uuid()

    def unit(conn):
        idempotency.insert(conn, context, terms, uuid, 'bay')
        bays.insert(conn, {
            'uuid': uuid, 'project_id': context.project_id, 'name': name, 'driver': driver,
            'endpoint': endpoint, 'ca_cert': ca_cert, 'client_cert': client_cert,
            'client_key': client_key, 'hosts': hosts or None, 'public': public,
            'labels': labels, 'status': 'CREATE_COMPLETE', 'health_status': 'UNKNOWN'})
        return bays.get(conn, uuid, None)

    try:
        return db.transact(unit, landed=lambda conn: bays.find(conn, uuid)), False
    except db_exc.DBDuplicateEntry:
        with db.read() as conn:
            earlier = idempotency.made(conn, context.project_id, terms, bays.find)
            if earlier is not None:
                return earlier, True
        raise exceptions.NameTaken(kind='bay', name=name) from None


def delete(db, ident, context=None, terms=lifecycle.Terms()):  # noqa: B008
    """Forget a bay that has no containers; returns whether the same request did so before.

    Raises BayNotFound, BayInUse, IdempotencyMismatch.
    """

    deleting = []

    def unit(conn):
        row = bays.lock(conn, ident)
        deleting[:] = [row.uuid]
        idempotency.insert(conn, context, terms, row.uuid, 'bay')
        count = containers.count_on_bay(conn, row.uuid)
        if count:
            raise exceptions.BayInUse(bay=row.name, count=count)
        strays.forget_bay(conn, row.uuid)
        images.forget_bay(conn, row.uuid)
        pulls.forget_bay(conn, row.uuid)
        bays.delete(conn, row.uuid)

    try:
        db.transact(unit, landed=lambda conn: bays.find(conn, deleting[0]) is None or None)
        return False
    except (db_exc.DBDuplicateEntry, exceptions.BayNotFound, exceptions.BayInUse):
        with db.read() as conn:
            if terms.key is None or not idempotency.earlier(conn, context.project_id, terms):
                raise
        return True


def reconcile(context, db, ident, adopt=(), remove=(), project_id=None, new_engine=False):
    """Have a bay compared with its engine now, and strays adopted or removed.

    ``adopt`` and ``remove`` are ids of the engine, or the word all.  What is adopted becomes a
    container of that project, the caller's by default.  Whoever watches the bay does it, soon;
    what could not be done is told by the ``error`` of the stray.  With ``new_engine`` the bay's
    engine is whichever answers next, and what that one does not have was removed.  Returns the
    strays as they are now.  Raises BayNotFound, InvalidParameter.
    """
    wanted_by = {'project_id': project_id or context.project_id, 'user_id': context.user_id}

    def unit(conn):
        row = bays.lock(conn, ident)
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
        return strays.of_bay(conn, row.uuid)

    return db.transact(unit, run_again)
