# SPDX-License-Identifier: Apache-2.0
"""Who calls: one middleware per [api] auth_strategy, each leaving a context in the environ."""

import functools
import ipaddress
import re

from keystoneauth1 import exceptions as ksa_exceptions
from keystonemiddleware import auth_token
from oslo_log import log
from oslo_middleware import basic_auth
import webob.exc

from container_service import context
from container_service import exceptions
from container_service import policy
from container_service import remembered
from container_service import users
from container_service.api import identity

LOG = log.getLogger(__name__)

_ENVIRON = 'container_service.context'

# What looking at credentials that are not known yet costs; of rates.Strangers.
GUESS = 'container_service.guess'

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
    return context_in(request.environ)


def context_in(environ):
    """The same, before there is an object for the request."""
    return environ[_ENVIRON]


def source_of(environ):
    """The address that a request came from; None where it is not known.

    Behind a proxy that is believed it is the one that this proxy saw: of a list, the last, and
    without the port that some tell too.
    """
    # In Forwarded an address of IPv6 is quoted.
    told = environ.get('REMOTE_ADDR', '').rpartition(',')[2].strip(' \t"')
    match = _WITH_PORT.fullmatch(told)
    # A scope is of no use elsewhere, and may be of any length.
    plain = ((match[1] or match[2] or '') if match else told).partition('%')[0]
    try:
        return str(ipaddress.ip_address(plain))
    except ValueError:
        return None             # a Unix socket has none, and a header may say anything


_WITH_PORT = re.compile(r'(?:\[([^]]*)\]|([0-9.]+))(?::[0-9]{1,5})?')


def network_of(environ):
    """What counts as one caller where addresses are counted; None where it is not known.

    Of IPv6 everybody has as many addresses as there are in a network of 64 bits.
    """
    source = source_of(environ)
    address = source and ipaddress.ip_address(source)
    if address is None or address.version == 4:
        return source
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


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
        self._warned = False

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

    def _look_at_transport(self, environ):
        """Credentials that come over the network without TLS are complained of, once."""
        if (self._warned or environ.get('wsgi.url_scheme') == 'https'
                or _is_loopback_address(environ.get('REMOTE_ADDR') or '127.0.0.1')):
            return
        self._warned = True
        LOG.warning(
            'Credentials come over the network without TLS: everybody on the way can read them. '
            'Put a server in front that ends TLS, and set [oslo_middleware] '
            'enable_proxy_headers_parsing if it is the only way here.')

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
            self._users = users.Users(path, max(2, conf.api.threads // 2))
        except users.Unusable as exc:
            raise exceptions.Error(str(exc)) from exc

    def caller(self, environ):
        origin = environ.get('HTTP_ORIGIN')
        if origin and origin.split('://', 1)[-1] != environ.get('HTTP_HOST'):
            raise exceptions.Forbidden(f'Requests of web pages from {origin!r} are refused.')
        self._look_at_transport(environ)
        guess = environ[GUESS]
        try:
            name, password = basic_auth.parse_token(basic_auth.parse_header(environ))
            user = self._users.authenticate(name, password, before=guess.charge)
        except (webob.exc.HTTPUnauthorized, webob.exc.HTTPBadRequest):
            user = None
        except users.Unusable as exc:
            LOG.error('%s', exc)
            raise exceptions.IdentityUnavailable() from exc
        except users.Busy:
            error = exceptions.IdentityUnavailable()
            error.retry_after = 1
            raise error from None
        if user is None:
            raise exceptions.Unauthorized(challenge=self._CHALLENGE)
        guess.give_back()
        return self._context(environ, user_id=user.name, user_name=user.name,
                             project_id=user.project_id, roles=user.all_roles)


class Keystone(_Strategy):
    """A token of Keystone with each request, checked by keystonemiddleware.

    It decides itself: told to leave that to us, it would not tell a token that is not valid from
    a Keystone that does not answer.
    """

    # Seconds that a token may be believed without asking: so long a revoked one goes on working.
    MOST_CACHED = 60

    _GROUP = 'keystone_authtoken'
    _CACHE = 'container_service.tokens'
    _ADMITTED = 'container_service.admitted'
    # Keystone's are some hundred characters.  Others need not be asked about.
    _TOKEN = re.compile(r'[!-~]{1,4096}')
    _TOKENS = ('HTTP_X_AUTH_TOKEN', 'HTTP_X_STORAGE_TOKEN', 'HTTP_X_SERVICE_TOKEN')
    # What is secret, or large, and nobody reads behind this.
    _DROPPED = (*_TOKENS, 'HTTP_X_SERVICE_CATALOG', 'keystone.token_info', 'keystone.token_auth')

    def __init__(self, app, conf, enforcer):
        super().__init__(app, conf, enforcer)
        told = self._configuration(conf)
        # The cache of the middleware's own is deprecated and has no bound.
        self._cache = None if told.memcached_servers else remembered.Remembered()
        try:
            self._ask = auth_token.AuthProtocol(self._admit, {
                'oslo_config_config': conf, 'delay_auth_decision': False, 'cache': self._CACHE,
                'token_cache_time': min(told.token_cache_time, self.MOST_CACHED)})
            # Who has a token that is cached never waits for those who have none.
            self._ask._identity_server = identity.Asked(
                self._ask._identity_server, max(1, conf.api.threads // 4))
        except ksa_exceptions.ClientException as exc:
            raise exceptions.Error(f'In the section [{self._GROUP}]: {exc}') from exc

    def _configuration(self, conf):
        """Its options, with our defaults.  Raises Error for what must be told."""
        for group, options in auth_token.list_opts():
            conf.register_opts(options, group=group)
        for name, value in (('token_cache_time', self.MOST_CACHED),
                            ('service_type', 'container'), ('service_token_roles_required', True),
                            # A request must not hang on a Keystone that is silent.
                            ('http_connect_timeout', 5), ('http_request_max_retries', 1)):
            conf.set_default(name, value, group=self._GROUP)
        told = conf[self._GROUP]
        for name in ('www_authenticate_uri', 'auth_type'):
            if not told[name]:
                raise exceptions.Error(
                    f'auth_strategy is keystone: set {name} in the section [{self._GROUP}] too.')
        return told

    def caller(self, environ):
        self._look_at_transport(environ)
        self._check(environ)
        # Without the tokens themselves: nobody needs them, and they would go where contexts go.
        read = functools.partial(context.RequestContext.from_environ, environ)
        made = self._context(environ, make=read, auth_token=None, service_token=None)
        for name in self._DROPPED:
            environ.pop(name, None)
        if made.project_id is None:
            scope = ('the whole system' if made.system_scope
                     else 'a domain' if made.domain_id else 'nothing in particular')
            raise exceptions.Forbidden(
                f'The token is for {scope}: ask Keystone for one that is for a project.')
        return made

    def _check(self, environ):
        """Have the middleware put into the environ who calls.  Raises what the answer is."""
        for name in self._TOKENS:
            if not self._TOKEN.fullmatch(environ.get(name, 'x')):
                del environ[name]
        environ.pop(self._ADMITTED, None)
        if self._cache is not None:
            environ[self._CACHE] = self._cache
        answer = {}

        def start_response(status, headers, exc_info=None):
            answer.update({'status': status, 'challenge': dict(headers).get('WWW-Authenticate')})

        try:
            for _ in self._ask(environ, start_response):
                pass                   # the words of its own about a refusal
        except ksa_exceptions.ClientException as exc:
            LOG.error('Keystone: %s', exc)
            raise exceptions.IdentityUnavailable() from exc
        if environ.pop(self._ADMITTED, False):
            return
        if answer['status'].startswith('401'):
            raise exceptions.Unauthorized(challenge=answer['challenge'])
        raise exceptions.IdentityUnavailable()

    def _admit(self, environ, start_response):
        """What is behind the middleware: who comes here has a valid token."""
        environ[self._ADMITTED] = environ.get('HTTP_X_IDENTITY_STATUS') == 'Confirmed'
        start_response('204 No Content', [])
        return []


STRATEGIES = {'none': NoAuthentication, 'http_basic': HttpBasic, 'keystone': Keystone}
