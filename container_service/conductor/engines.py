# SPDX-License-Identifier: Apache-2.0
"""The engines that this conductor reaches: a driver and a circuit breaker per bay.

A breaker opens after three failures in a row, or when probes find that the engine does not
answer; then nothing of that bay is claimed, so that its actions wait in SQL and hold no thread,
until a probe succeeds.
"""

import threading
import time

import futurist
from oslo_log import log

from container_service import bays as bay_rules
from container_service import egress
from container_service import exceptions
from container_service import ring
from container_service import secrets
from container_service.db import bays
from container_service.drivers import base

LOG = log.getLogger(__name__)

HEALTHY, UNHEALTHY = 'HEALTHY', 'UNHEALTHY'

# Seconds for which the list of bays is taken from memory.
_FRESH = 1.0

# Failures in a row that open a breaker.
_FAILURES = 3


def limits_of(conf):
    """What [bays] says of every container, and [api] of what comes out of one."""
    group = conf.bays
    return base.Limits(
        pids=group.pids_limit, log_max_size=group.log_max_size,
        log_max_files=group.log_max_files,
        memory_bytes=group.default_memory * 1024 * 1024 or None, cpu=group.default_cpu or None,
        archive_bytes=conf.api.max_archive_bytes)


class Engines:
    """Bays as SQL has them, and the drivers of those that this host reaches."""

    def __init__(self, db, conf, clock=time.monotonic):
        self._db = db
        self._conf, self._host = conf, conf.host
        self._limits, self._policy = limits_of(conf), egress.for_bays(conf)
        self._keys = secrets.Keys(conf)
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = None
        self._bays = {}               # uuid: row
        self._drivers = {}            # uuid: (what of the row it was made for, driver)
        self._failures = {}           # uuid: failures in a row
        self._open = set()            # uuids of bays whose breaker is open

    def served(self):
        """Rows of the bays that this conductor may work on, by uuid."""
        with self._lock:
            if self._read_at is None or self._clock() - self._read_at >= _FRESH:
                self._read()
            return {uuid: row for uuid, row in self._bays.items()
                    if ring.serves(row.hosts, self._host)}

    @property
    def count(self):
        """How many bays this conductor may work on, as was last read."""
        return sum(1 for row in list(self._bays.values())
                   if ring.serves(row.hosts, self._host))

    def available(self):
        """Uuids of the served bays whose engine answers, as far as is known."""
        served = self.served()
        with self._lock:
            return [uuid for uuid in served if uuid not in self._open]

    def is_available(self, bay_uuid):
        """Whether an action on the bay may be claimed here now."""
        with self._lock:
            if bay_uuid not in self._bays:
                self._read()
            row = self._bays.get(bay_uuid)
            return (row is not None and ring.serves(row.hosts, self._host)
                    and bay_uuid not in self._open)

    def _read(self):
        with self._db.read() as conn:
            self._bays = {row.uuid: row for row in bays.all_rows(conn)}
        self._read_at = self._clock()
        for uuid in set(self._drivers) - set(self._bays):
            del self._drivers[uuid]
        self._open &= set(self._bays)

    def reread(self):
        """Have the rows read anew when they are next asked for."""
        with self._lock:
            self._read_at = None

    def driver(self, bay_uuid):
        """The driver of a bay.  Raises NoConductor when this conductor does not reach it.

        Raises EngineUnreachable when it may not, or cannot read the bay's key.
        """
        with self._lock:
            if bay_uuid not in self._bays:
                self._read()
            row = self._bays.get(bay_uuid)
            if row is None or not ring.serves(row.hosts, self._host):
                raise exceptions.NoConductor(bay=bay_uuid)
            made_for, driver = self._drivers.get(bay_uuid, (None, None))
            # Its engine's id is learned and forgotten without a change of the bay.
            wanted_for = row.updated_at, row.engine_id
            if made_for != wanted_for:
                driver = self._make(row)
                self._drivers[bay_uuid] = (wanted_for, driver)
            return driver

    def _make(self, row):
        try:
            endpoint = bay_rules.check_endpoint(
                self._conf, self._policy, row.driver, row.endpoint, row.ca_cert, row.client_cert,
                row.client_key)
            key = row.client_key and self._keys.decrypt(row.client_key)
        except ValueError as exc:
            raise exceptions.EngineUnreachable(
                f'The container engine of bay {row.name} is not connected to: its endpoint '
                f'{exc}.') from None
        except exceptions.InvalidParameter as exc:
            raise exceptions.EngineUnreachable(
                f'The container engine of bay {row.name} is not connected to from host '
                f'{self._host}: {exc.detail}') from None
        except exceptions.SecretsUnavailable as exc:
            raise exceptions.EngineUnreachable(
                f'The container engine of bay {row.name} is not connected to, since its client '
                f'key cannot be read. {exc.detail}') from exc
        return bay_rules.driver_class(row.driver)(base.Bay(
            uuid=row.uuid, name=row.name, endpoint=endpoint, ca_cert=row.ca_cert,
            client_cert=row.client_cert, client_key=key, engine_id=row.engine_id,
            limits=self._limits, policy=self._policy))

    def worked(self, bay_uuid):
        """The engine of a bay has done something.  Returns whether its breaker was open."""
        if bay_uuid not in self._failures:      # every success comes by here: keep it cheap
            return False
        with self._lock:
            self._failures.pop(bay_uuid, None)
            was_open = bay_uuid in self._open
            self._open.discard(bay_uuid)
        if was_open:
            LOG.info('Bay %s answers again', bay_uuid)
            self._health(bay_uuid, HEALTHY, None)
        return was_open

    def failed(self, bay_uuid, reason):
        """The engine of a bay did not answer."""
        with self._lock:
            self._failures[bay_uuid] = self._failures.get(bay_uuid, 0) + 1
            opens = self._failures[bay_uuid] >= _FAILURES and bay_uuid not in self._open
            if opens:
                self._open.add(bay_uuid)
        if opens:
            LOG.warning('Bay %s does not answer; its actions wait: %s', bay_uuid, reason)
            self._health(bay_uuid, UNHEALTHY, reason)

    def _health(self, bay_uuid, status, reason):
        try:
            self._db.transact(lambda conn: bays.update(conn, bay_uuid, {
                'health_status': status, 'health_status_reason': reason}))
        except exceptions.DatabaseUnavailable:
            pass                      # whoever watches the bay writes it at its next pass


class Prober:
    """Asks each engine whether it answers, those that did not more often.

    An engine that hangs holds one thread of the prober's own, and nobody else's.
    ``recovered()`` is called when a breaker has closed.
    """

    def __init__(self, engines, interval, recovered, clock=time.monotonic):
        self._engines = engines
        self._interval = interval
        self._recovered = recovered
        self._clock = clock
        self._pool = futurist.ThreadPoolExecutor(max_workers=8)
        self._due = {}                # bay: when to ask it next
        self._asking = set()

    def __call__(self):
        now = self._clock()
        available = self._engines.available()
        for bay_uuid in self._engines.served():
            if bay_uuid in self._asking or now < self._due.get(bay_uuid, 0):
                continue
            self._due[bay_uuid] = now + (self._interval if bay_uuid in available else 1.0)
            self._asking.add(bay_uuid)
            self._pool.submit(self._ask, bay_uuid)

    def _ask(self, bay_uuid):
        try:
            self._engines.driver(bay_uuid).probe()
        except exceptions.EngineUnreachable as exc:
            self._engines.failed(bay_uuid, exc.detail)
            self._due[bay_uuid] = 0   # again at once: three in a row settle it
        except exceptions.Error as exc:
            LOG.warning('Probing bay %s: %s', bay_uuid, exc)
        except Exception:
            LOG.exception('Probing bay %s', bay_uuid)
        else:
            if self._engines.worked(bay_uuid):
                self._recovered()
        finally:
            self._asking.discard(bay_uuid)
