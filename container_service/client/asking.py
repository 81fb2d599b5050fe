# SPDX-License-Identifier: Apache-2.0
"""Ask for a change, again where that is safe: after a lost answer, and when told to come back.

What makes it safe is the idempotency key: the service carries a request with a key out once,
however often it comes.
"""

import time

from container_service.client import http

KEY_HEADER = 'Idempotency-Key'
REPLAYED_HEADER = 'Idempotency-Replayed'
TIMEOUT_HEADER = 'Operation-Timeout'

# Between attempts after a lost answer: enough for an API process to be restarted.
LOST_PAUSES = (0.2, 0.5, 1, 2, 4, 8)
LOST_SECONDS = 20           # from the loss to the beginning of the last attempt

_SHORTEST_PAUSE = 0.1
_FIRST_MAY_HAVE_WORKED = ('the answer to an earlier attempt was lost, which may have been '
                          'accepted; see: container-service ')


def change(client, method, path, *, key=None, harmless=False, headers=None, deadline=None,
           clock=time.monotonic, sleep=time.sleep, on_trouble=None, **request):
    """Send a request that changes something; return what it is answered with, and its headers.

    An answer that gets lost is asked for again for some seconds, if there is a ``key`` or twice
    is ``harmless`` anyway.  With a ``deadline``, a time of ``clock``, a service that says when
    to come back is obeyed until then.  ``on_trouble(error, seconds)`` is told before each pause.
    Raises the ClientError that it could not get over; a lost answer rather than what came after
    it, unless that settles the matter.
    """
    headers = {**(headers or {}), **({KEY_HEADER: key} if key else {})}
    lost, lost_until, pauses = None, None, iter(LOST_PAUSES)
    while True:
        try:
            return client.exchange(method, path, headers=headers, **request)
        except http.ClientError as exc:
            error = exc
        if lost is None and _is_lost(error) and (key or harmless):
            lost, lost_until = error, clock() + LOST_SECONDS
        if error.retry_after is not None and deadline is not None:
            pause, until = max(error.retry_after, _SHORTEST_PAUSE), deadline
        elif lost is not None and error.transient:
            pause, until = max(next(pauses, LOST_SECONDS), error.retry_after or 0), lost_until
        else:
            if lost is not None:
                told = _FIRST_MAY_HAVE_WORKED + http.list_of(path)
                error.hint = '; '.join(filter(None, (error.hint, told)))
            raise error
        if clock() + pause > until:
            raise lost or error
        if on_trouble:
            on_trouble(error, pause)
        sleep(pause)
        if lost is not None:
            request['read_seconds'] = max(1, lost_until - clock())


def _is_lost(error):
    """Whether the request may have been carried out without our being told."""
    from_a_proxy = error.code is None and getattr(error, 'status', None) in (502, 504)
    return isinstance(error, http.NoAnswer) or from_a_proxy
