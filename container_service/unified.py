# SPDX-License-Identifier: Apache-2.0
"""Limits that are kept in Keystone, asked for through oslo.limit.

Only limits come from there.  What is used is counted by ``quotas.py``, inside the transaction that
accepts: what oslo.limit itself compares is a moment old.
"""

from concurrent import futures
import threading

from oslo_config import cfg
from oslo_log import log

from container_service import exceptions
from container_service import remembered

LOG = log.getLogger(__name__)

# Seconds that a limit is believed without asking, how much longer it is good while somebody asks
# for it anew, and in which nobody asks again after a failure.
FRESH, STALE, PAUSE = 60, 60, 5

# Seconds for an answer of Keystone; the library would wait for it without limit.
_PATIENCE = 5


class Limits:
    """The limits of projects; ``names`` is what is limited.

    ``used(project_id, names)`` is asked by nobody here, but the library wants it.
    """

    def __init__(self, names, used):
        self._names, self._used = tuple(names), used
        self._known, self._stale = remembered.Remembered(), remembered.Remembered()
        self._lock, self._asking = threading.Lock(), {}
        self._enforcer = None

    def of(self, project_id):
        """{name: limit} of a project; without one what is registered for all.

        Raises LimitsUnavailable.
        """
        found = self._known.get(project_id)
        if found is not None:
            return found
        # One asks for a project, and nobody waits for the limits of another one.
        with self._lock:
            found = self._known.get(project_id)
            if found is None and self._known.get(_FAILED):
                raise exceptions.LimitsUnavailable()
            answer = self._asking.get(project_id)
            mine = found is None and answer is None
            if mine:
                answer = self._asking[project_id] = futures.Future()
        if mine:
            try:
                found = self._ask(project_id)
            finally:
                with self._lock:
                    del self._asking[project_id]
                answer.set_result(found)
        elif found is None:
            found = self._stale.get(project_id) or answer.result()
        if found is None:
            raise exceptions.LimitsUnavailable()
        return found

    def _ask(self, project_id):
        """The limits, remembered; None where Keystone does not tell them."""
        try:
            found = self._told(project_id)
        except Exception as exc:
            # Whatever it is, of which the libraries have dozens: nobody knows the limits now.
            LOG.warning('Keystone does not tell the limits of projects: %r', exc)
            self._known.set(_FAILED, True, PAUSE)
            self._enforcer = None
            return None
        self._known.set(project_id, found, FRESH)
        self._stale.set(project_id, found, FRESH + STALE)
        return found

    def _told(self, project_id):
        # It finds out about model and endpoint when it is made.
        enforcer = self._enforcer = self._enforcer or _make(self._used)
        # All there are, by one request each: for a list of names it makes one for each of them.
        # What is not registered has the limit 0, as the library has it.
        told = dict.fromkeys(self._names, 0) | dict(enforcer.get_registered_limits(None))
        if project_id is not None:
            told |= dict(enforcer.get_project_limits(project_id, None))
        return {name: told[name] for name in self._names}


_FAILED = object()


def _make(used):
    # Only where it is wanted: it brings the whole SDK.
    from oslo_limit import limit

    cfg.CONF.set_default('timeout', _PATIENCE, group='oslo_limit')
    # Without memory: how long a limit is believed is decided here.
    return limit.Enforcer(used, cache=False)
