# SPDX-License-Identifier: Apache-2.0
"""The engines that this conductor reaches: one driver instance per bay, made when needed."""

import threading
import time

from container_service import bays as bay_rules
from container_service import exceptions
from container_service import ring
from container_service.db import bays
from container_service.drivers import base

# Seconds for which the list of bays is taken from memory.
_FRESH = 1.0


class Engines:
    """Bays as SQL has them, and the drivers of those that this host reaches."""

    def __init__(self, db, host, clock=time.monotonic):
        self._db = db
        self._host = host
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = None
        self._bays = {}               # uuid: row
        self._drivers = {}            # uuid: (updated_at of the row, driver)

    def served(self):
        """Rows of the bays that this conductor may work on, by uuid."""
        with self._lock:
            if self._read_at is None or self._clock() - self._read_at >= _FRESH:
                self._read()
            return {uuid: row for uuid, row in self._bays.items()
                    if ring.serves(row.hosts, self._host)}

    def serves(self, bay_uuid):
        """Whether this conductor may work on the bay."""
        with self._lock:
            if bay_uuid not in self._bays:
                self._read()
            row = self._bays.get(bay_uuid)
        return row is not None and ring.serves(row.hosts, self._host)

    def _read(self):
        with self._db.read() as conn:
            self._bays = {row.uuid: row for row in bays.all_rows(conn)}
        self._read_at = self._clock()
        for uuid in set(self._drivers) - set(self._bays):
            del self._drivers[uuid]

    def driver(self, bay_uuid):
        """The driver of a bay.  Raises NoConductor when this conductor does not reach it."""
        if not self.serves(bay_uuid):
            raise exceptions.NoConductor(bay=bay_uuid)
        with self._lock:
            row = self._bays[bay_uuid]
            made_for, driver = self._drivers.get(bay_uuid, (None, None))
            if made_for != row.updated_at:
                driver = bay_rules.driver_class(row.driver)(base.Bay(
                    uuid=row.uuid, name=row.name, endpoint=row.endpoint, ca_cert=row.ca_cert,
                    client_cert=row.client_cert, client_key=row.client_key))
                self._drivers[bay_uuid] = (row.updated_at, driver)
            return driver
