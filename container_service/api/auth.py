# SPDX-License-Identifier: Apache-2.0
"""Who calls: one middleware per [api] auth_strategy, each leaving a context in the environ."""

import ipaddress
import re

from container_service import context
from container_service import exceptions

_ENVIRON = 'container_service.context'

# The one project and user of a service without authentication.
LOCAL = 'local'


def of(request):
    """The context of a request."""
    return request.environ[_ENVIRON]


def source_of(environ):
    """The address that a request came from; None where it is not known.

    Behind a proxy that is believed it is the one that this proxy saw: of a list, the last.
    """
    told = environ.get('REMOTE_ADDR', '').rpartition(',')[2].strip()
    try:
        return str(ipaddress.ip_address(told))
    except ValueError:
        return None             # a Unix socket has none, and a header may say anything


_HOST = re.compile(r'(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[0-9]*)?', re.IGNORECASE)


def _is_loopback(host):
    """Whether ``host``, which may have a port, names the local host."""
    match = _HOST.fullmatch(host)
    if match is None:
        return False
    name = match[1].strip('[]').lower()
    return name == 'localhost' or name.endswith('.localhost') or _is_loopback_address(name)


def _is_loopback_address(text):
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return (getattr(address, 'ipv4_mapped', None) or address).is_loopback


class NoAuthentication:
    """Everybody is administrator, so only the local host is served.

    Any web page can make a browser post to a loopback address, also under a name that resolves
    to it: a Host that is not a loopback name and a foreign Origin are refused.
    """

    def __init__(self, app, conf):
        self._app = app
        self._open = conf.api.allow_unauthenticated

    def __call__(self, environ, start_response):
        if not self._open:
            self._guard(environ)
        # It becomes the context of the thread, by which the log names the request.
        environ[_ENVIRON] = context.RequestContext(
            user_id=LOCAL, project_id=LOCAL, roles=['admin', 'member', 'reader'], is_admin=True,
            source=source_of(environ),
            request_id=environ.get('openstack.request_id'),
            global_request_id=environ.get('openstack.global_request_id'))
        return self._app(environ, start_response)

    def _guard(self, environ):
        peer = environ.get('REMOTE_ADDR', '')
        if peer and not _is_loopback_address(peer):     # a Unix socket has none
            raise exceptions.Forbidden('Without authentication only the local host is served.')
        host = environ.get('HTTP_HOST', '')
        if not _is_loopback(host):
            raise exceptions.Forbidden(
                f'Without authentication the Host must be a loopback name, not {host!r}.')
        origin = environ.get('HTTP_ORIGIN')
        if origin and not _is_loopback(origin.split('://', 1)[-1]):
            raise exceptions.Forbidden(
                f'Without authentication requests of web pages from {origin!r} are refused.')


STRATEGIES = {'none': NoAuthentication}
