# SPDX-License-Identifier: Apache-2.0
"""Limits that are kept in Keystone, asked for through oslo.limit.

Only limits come from there.  What is used is counted by ``quotas.py``, inside the transaction that
accepts: what oslo.limit itself compares is a moment old.
"""

import threading

from oslo_config import cfg
from oslo_log import log

from container_service import exceptions
from container_service import remembered

LOG = log.getLogger(__name__)

# Seconds that a limit is believed without asking, and that nobody asks again after a failure.
FRESH, PAUSE = 60, 5

# Seconds for an answer of Keystone; the library would wait for it without limit.
_PATIENCE = 5


class Limits:
    """The limits of projects; ``names`` is what is limited.

    ``used(project_id, names)`` is asked by nobody here, but the library wants it.
    """

    def __init__(self, names, used):
        self._names, self._used = tuple(names), used
        self._known = remembered.Remembered()
        self._lock = threading.Lock()

    def of(self, project_id):
        """{name: limit} of a project; without one what is registered for all.

        Raises LimitsUnavailable.
        """
        found = self._known.get(project_id)
        if found is not None:
            return found
        if self._known.get(_FAILED):
            raise exceptions.LimitsUnavailable()
        # One asks, and whoever comes meanwhile waits for that: not every thread for Keystone.
        with self._lock:
            found = self._known.get(project_id)
            if found is None:
                if self._known.get(_FAILED):
                    raise exceptions.LimitsUnavailable()
                found = self._ask(project_id)
                self._known.set(project_id, found, FRESH)
        return found

    def _ask(self, project_id):
        try:
            # A new one each time: it remembers what it was told for as long as it lives.
            return dict(_make(self._used).get_project_limits(project_id, self._names))
        except Exception as exc:
            # Whatever it is, of which the libraries have dozens: nobody knows the limits now.
            LOG.warning('Keystone does not tell the limits of projects: %r', exc)
            self._known.set(_FAILED, True, PAUSE)
            raise exceptions.LimitsUnavailable() from exc


_FAILED = object()


def _make(used):
    # Only where it is wanted: it brings the whole SDK.
    from oslo_limit import limit

    cfg.CONF.set_default('timeout', _PATIENCE, group='oslo_limit')
    return limit.Enforcer(used)
