# SPDX-License-Identifier: Apache-2.0
"""What really happened on the engines, where nothing is under way.

One full pass per bay and interval compares the engine's list with SQL and corrects status, exit
code and addresses: a main process that ended by itself, somebody's ``docker stop`` by hand.  One
conductor at a time does a bay.  Containers without our labels are never looked at.
"""

from oslo_log import log

from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.conductor import runner
from container_service.conductor.engines import HEALTHY
from container_service.conductor.engines import UNHEALTHY
from container_service.db import bays
from container_service.db import containers
from container_service.db.base import now

LOG = log.getLogger(__name__)

REMOVED_OUTSIDE = 'The container is not on its engine any more: removed outside.'

# Statuses in which the engine need not have the container.
_NOT_ON_ENGINE = (states.ERROR, states.CREATING)


class Reconciler:

    def __init__(self, db, conf, engines, deployment):
        self._db = db
        self._interval = conf.conductor.reconcile_interval
        self._engines = engines
        self._deployment = deployment

    def __call__(self):
        """Do the bays that are due."""
        for uuid, bay in self._engines.served().items():
            if self._db.transact(lambda conn, uuid=uuid: bays.take_reconcile(
                    conn, uuid, self._interval)):
                try:
                    self.bay(bay)
                except exceptions.DatabaseUnavailable:
                    return
                except Exception:
                    LOG.exception('Reconciling bay %s', bay.name)

    def bay(self, bay):
        """One full pass over one bay."""
        # SQL first: an action that ends between the two reads raises the fence, and then what
        # was seen is not written.
        with self._db.read() as conn:
            rows = containers.idle_on_bay(conn, bay.uuid)
        try:
            driver = self._engines.driver(bay.uuid)
            engine_id = driver.ping()
            seen = driver.list(self._deployment)
        except exceptions.DriverError as exc:
            self._health(bay, UNHEALTHY, exc.detail)
            return
        self._health(bay, HEALTHY, None, engine_id)
        for row in rows:
            self._container(driver, row, seen.get((row.uuid, row.generation)))

    def _container(self, driver, row, seen):
        if seen is None:
            if row.status in _NOT_ON_ENGINE:
                return
            seen = driver.observe(runner.as_driver_sees(row, row.fence, self._deployment))
            if seen is None:
                self._missing(row)
                return
        elif seen.status == row.status:
            return
        else:
            # The list has no exit code and no times.
            seen = driver.observe(runner.as_driver_sees(row, row.fence, self._deployment)) or seen
        if lifecycle.observe(self._db, row.uuid, row.fence, seen, seen.error):
            LOG.info('Container %s is %s on its engine; was %s', row.uuid, seen.status, row.status)

    def _missing(self, row):
        reason = REMOVED_OUTSIDE
        if row.engine_id is None and row.status_reason:
            reason = row.status_reason          # it never came to be, and that is why
        if lifecycle.lose(self._db, row.uuid, row.fence, reason):
            LOG.warning('Container %s is not on its engine: %s', row.uuid, reason)

    def _health(self, bay, status, reason, engine_id=None):
        if bay.health_status != status:
            LOG.log(log.INFO if status == HEALTHY else log.WARNING,
                    'Bay %s is %s%s', bay.name, status, f': {reason}' if reason else '')
        values = {'health_status': status, 'health_status_reason': reason,
                  'reconciled_at': now()}
        if engine_id:
            values['engine_id'] = engine_id
        self._db.transact(lambda conn: bays.update(conn, bay.uuid, values))
