# SPDX-License-Identifier: Apache-2.0
"""Who calls: one middleware per [api] auth_strategy, each leaving a context in the environ."""

import ipaddress
import re

from oslo_log import log
from oslo_middleware import basic_auth
import webob.exc

from container_service import context
from container_service import exceptions
from container_service import policy
from container_service import users

LOG = log.getLogger(__name__)

_ENVIRON = 'container_service.context'

# The one project and user of a service without authentication.
LOCAL = 'local'

# What is answered without credentials: what there is and how to talk to it.  Health is not here,
# but in front of this.
_PUBLIC = frozenset(('', '/v1', '/v1/openapi.json'))


def is_public(environ):
    """Whether a request is for what everybody may read."""
    return (environ['REQUEST_METHOD'] in ('GET', 'HEAD')
            and environ.get('PATH_INFO', '').rstrip('/') in _PUBLIC)


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


class _Strategy:
    """Leaves a context in the environ, or raises what the caller is answered.

    What everybody may read gets the context of nobody: no project, no roles.
    """

    def __init__(self, app, conf, enforcer):
        self._app, self._conf, self._enforcer = app, conf, enforcer

    def __call__(self, environ, start_response):
        # First nobody's: it becomes the context of the thread, by which the log names the
        # request, in the place of that of the request before.
        environ[_ENVIRON] = self._context(environ)
        if not is_public(environ):
            environ[_ENVIRON] = self.caller(environ)
        return self._app(environ, start_response)

    def caller(self, environ):
        """The context of who makes the request."""
        raise NotImplementedError

    def _context(self, environ, make=context.RequestContext, **values):
        """The context of a caller whose administration is a matter of policy."""
        made = make(request_id=environ.get('openstack.request_id'),
                    global_request_id=environ.get('openstack.global_request_id'),
                    source=source_of(environ), **values)
        if made.roles:
            made.is_admin = policy.is_admin(self._enforcer, made)
        return made


class NoAuthentication(_Strategy):
    """Everybody is administrator, so only the local host is served.

    Any web page can make a browser post to a loopback address, also under a name that resolves
    to it: a Host that is not a loopback name and a foreign Origin are refused.
    """

    def __call__(self, environ, start_response):
        if not self._conf.api.allow_unauthenticated:
            self._guard(environ)
        return super().__call__(environ, start_response)

    def caller(self, environ):
        return self._context(environ, user_id=LOCAL, project_id=LOCAL,
                             roles=['admin', 'member', 'reader'])

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


class HttpBasic(_Strategy):
    """A name and a password with each request, checked against a file of users.

    A browser that has been asked for a password sends it with whatever a web page makes it
    request: those of other sites are refused.
    """

    _CHALLENGE = 'Basic realm="container-service", charset="UTF-8"'

    def __init__(self, app, conf, enforcer):
        super().__init__(app, conf, enforcer)
        path = conf.api.http_basic_users_file
        if not path:
            raise exceptions.Error('auth_strategy is http_basic: set [api] '
                                   'http_basic_users_file too.')
        try:
            self._users = users.Users(path)
        except users.Unusable as exc:
            raise exceptions.Error(str(exc)) from exc
        self._warned = False

    def caller(self, environ):
        origin = environ.get('HTTP_ORIGIN')
        if origin and origin.split('://', 1)[-1] != environ.get('HTTP_HOST'):
            raise exceptions.Forbidden(f'Requests of web pages from {origin!r} are refused.')
        self._look_at_transport(environ)
        try:
            name, password = basic_auth.parse_token(basic_auth.parse_header(environ))
            user = self._users.authenticate(name, password)
        except (webob.exc.HTTPUnauthorized, webob.exc.HTTPBadRequest):
            user = None
        except users.Unusable as exc:
            LOG.error('%s', exc)
            raise exceptions.IdentityUnavailable() from exc
        if user is None:
            raise exceptions.Unauthorized(challenge=self._CHALLENGE)
        return self._context(environ, user_id=user.name, user_name=user.name,
                             project_id=user.project_id, roles=user.all_roles)

    def _look_at_transport(self, environ):
        """Passwords that come over the network without TLS are complained of, once."""
        if (self._warned or environ.get('wsgi.url_scheme') == 'https'
                or _is_loopback_address(environ.get('REMOTE_ADDR') or '127.0.0.1')):
            return
        self._warned = True
        LOG.warning(
            'Passwords come over the network without TLS: everybody on the way can read them. '
            'Put a server in front that ends TLS, and set [oslo_middleware] '
            'enable_proxy_headers_parsing if it is the only way here.')


STRATEGIES = {'none': NoAuthentication, 'http_basic': HttpBasic}
