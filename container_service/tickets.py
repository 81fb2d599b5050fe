# SPDX-License-Identifier: Apache-2.0
"""That a blocking call was accepted, where only who has the database can say so.

What is asked of a conductor over the bus brings its parameters along, and whoever has credentials
for the broker could send the same: a command to execute, for example.  So the API writes a
ticket for each call, with a digest of all that is asked; the conductor redeems it before anything
else, and it is good for one time.  The parameters themselves are never stored.
"""

import contextlib
import hashlib
import json
import re

from container_service import exceptions
from container_service import lifecycle
from container_service.db import tickets
from container_service.db.base import run_again

# Seconds that one is good for: from when it is written until the conductor has the message.
LIFE = 60


def digest(container_uuid, operation, params):
    """What a ticket is good for."""
    return hashlib.sha256(json.dumps(
        [container_uuid, operation, params], sort_keys=True).encode()).hexdigest()


class Tickets:
    """The tickets of one database."""

    def __init__(self, db):
        self._db = db

    @contextlib.contextmanager
    def issued(self, container_uuid, operation, params):
        """A ticket for a call; it is good until then at most.  Raises DatabaseUnavailable."""
        uuid, wanted = lifecycle.new_uuid(), digest(container_uuid, operation, params)
        self._db.transact(lambda conn: tickets.insert(conn, uuid, wanted, LIFE),
                          landed=lambda conn: tickets.exists(conn, uuid) or None)
        try:
            yield uuid
        except BaseException:
            # What is still on its way must not be carried out for a caller who was told no.
            with contextlib.suppress(exceptions.DatabaseUnavailable):
                self._db.transact(lambda conn: tickets.delete(conn, uuid), run_again)
            raise

    def redeem(self, ticket, container_uuid, operation, params):
        """Use a ticket up.  Raises Forbidden unless it is good for this call."""
        refused = exceptions.Forbidden('No API has accepted this call, or it came too late.')
        if not (isinstance(ticket, str) and re.fullmatch('[0-9a-f-]{36}', ticket)):
            raise refused
        try:
            wanted = digest(container_uuid, operation, params)
        except (TypeError, ValueError, RecursionError):
            raise refused from None
        if not self._db.transact(lambda conn: tickets.redeem(conn, ticket, wanted)):
            raise refused
