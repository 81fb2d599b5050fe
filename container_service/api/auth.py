# SPDX-License-Identifier: Apache-2.0
"""Who calls: one middleware per [api] auth_strategy, each leaving a context in the environ."""

import ipaddress

from container_service import context
from container_service import exceptions

_ENVIRON = 'container_service.context'

# The one project and user of a service without authentication.
LOCAL = 'local'


def of(request):
    """The context of a request."""
    return request.environ[_ENVIRON]


def _is_loopback(host):
    """Whether a Host header or an Origin's host names the local host."""
    name = host.rsplit(':', 1)[0] if not host.endswith(']') else host
    name = name.strip('[]').lower()
    if name == 'localhost' or name.endswith('.localhost'):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


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
        environ[_ENVIRON] = context.RequestContext(
            user_id=LOCAL, project_id=LOCAL, roles=['admin', 'member', 'reader'], is_admin=True,
            request_id=environ.get('openstack.request_id'), overwrite=False)
        return self._app(environ, start_response)

    def _guard(self, environ):
        peer = environ.get('REMOTE_ADDR', '')
        if peer and not _is_loopback(peer if ':' not in peer else f'[{peer}]'):
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
