# SPDX-License-Identifier: Apache-2.0
"""Puts into the audit trail what did not get there with a change.

That is what was refused or failed, the repetition of a request that was answered before, and what
changes nothing in the database: the end of a command in a container, the size of a terminal.  It
is written when the answer is known, and never changes that: as well as it goes.
"""

import collections
import threading
import time

from oslo_log import log

from container_service import audit
from container_service import exceptions
from container_service.api import auth
from container_service.api import errors
from container_service.api import rates
from container_service.db.base import run_again

LOG = log.getLogger(__name__)

_OUTAGE = (exceptions.DatabaseUnavailable.code, exceptions.OutcomeUnknown.code)


class Bounds:
    """How many rows of what changed nothing a project may cause: at once, and each second.

    Nobody shall be able to fill the trail with requests that cost nothing.
    """
    BURST, PER_SECOND = 200, 5

    def __init__(self, clock=time.monotonic):
        self._buckets = rates.Buckets(self.PER_SECOND, self.BURST, clock)
        self._lock, self._left_out = threading.Lock(), collections.Counter()

    def admit(self, project_id):
        """Whether one more may be written, and how many were left out before it."""
        with self._lock:
            if self._buckets.wait(project_id):
                self._left_out[project_id] += 1
                return False, self._left_out[project_id]
            return True, self._left_out.pop(project_id, 0)


class Middleware:
    """Goes inside of authentication: strangers write nothing."""

    def __init__(self, app, conf, db):
        self._app, self._db = app, db
        self._strategy = conf.api.auth_strategy
        self._bounds = Bounds()

    def __call__(self, environ, start_response):
        context = auth.context_in(environ)
        context.authenticated_by = self._strategy
        context.asked = audit.Asked(admit=lambda: self._admit(context.project_id))
        if environ['REQUEST_METHOD'] in rates.READS:
            return self._app(environ, start_response)
        started = []

        def start(status, headers, exc_info=None):
            started[:] = [int(status.split(' ', 1)[0]), headers]
            return start_response(status, headers, exc_info)

        try:
            answer = self._app(environ, start)
        except exceptions.Error as exc:
            self._note(environ, context, exc.status, exc.code)
            raise
        except Exception:
            self._note(environ, context, exceptions.Error.status, exceptions.Error.code)
            raise
        status, headers = started
        failed = status >= 400
        self._note(environ, context, status, errors.foreign(status).code if failed else None,
                   replayed=any(name.lower() == 'idempotency-replayed' for name, _ in headers))
        return answer

    def _note(self, environ, context, status, code, replayed=False):
        asked = context.asked
        if asked.recorded or code in _OUTAGE:
            return
        missed = 0
        if not asked.begun and (code is not None or replayed):
            admitted, missed = self._admit(context.project_id)
            if not admitted:
                return
        details = {**asked.details, 'method': environ['REQUEST_METHOD'][:16],
                   'path': audit.printable(environ.get('PATH_INFO', '')),
                   **({'replayed': True} if replayed else {}),
                   **({'left_out_before': missed} if missed else {})}
        try:
            self._db.transact(lambda conn: audit.record_answer(
                conn, context, status if code else None, code, details), run_again)
        except Exception as exc:
            # The answer stands, whatever becomes of what is told of it.
            LOG.warning('The audit trail lacks the %s answer to request %s: %s', status,
                        context.request_id, exc)

    def _admit(self, project_id):
        admitted, missed = self._bounds.admit(project_id)
        if not admitted and missed == 1:
            LOG.warning('Project %s asks for so much that changes nothing that the audit trail '
                        'does not have all of it.', project_id)
        return admitted, missed
