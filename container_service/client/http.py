# SPDX-License-Identifier: Apache-2.0
"""Talk to the REST API: one request, or a list page by page.

It knows addresses, headers and errors, not what the answers mean; commands.py does.  asking.py
knows when to ask again for a change, and wait.py how to wait for an action.
"""

import urllib.parse

from keystoneauth1 import adapter
from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import noauth
from keystoneauth1 import session
import urllib3.exceptions

from container_service.client import traffic
from container_service.client import words

DEFAULT_ENDPOINT = 'http://127.0.0.1:9517'
ENDPOINT_VARIABLE = 'CONTAINER_SERVICE_ENDPOINT'
SERVICE_TYPE = 'container'
MICROVERSION = '1.42'

CONNECT_SECONDS = 5
READ_SECONDS = 60

_LISTS = {'bays': 'bay list', 'images': 'image list', 'registries': 'registry list'}

# What the user can do here.
_HINTS = {
    401: 'say who you are, with --os-cloud NAME or the variables OS_* in the environment; if you '
         'do: the token or password is not valid here',
}

_LOOPBACK = frozenset(('127.0.0.1', 'localhost', '::1'))


class ClientError(Exception):
    """Base of what goes wrong between here and the service; its text is for the user."""
    hint = None
    request_id = None
    code = None                 # the service's stable name of the error, when it was the service
    transient = False           # whether the same request may well succeed a little later
    retry_after = None          # seconds the service asks to wait before


class ApiError(ClientError):
    """The service answered, with an error."""

    def __init__(self, *, status, code=None, title=None, detail=None, request_id=None,
                 links=(), hint=None, retry_after=None):
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail or title or f'The service answered with HTTP status {status}.'
        self.request_id = request_id
        self.links = links
        self.hint = hint
        self.retry_after = retry_after
        super().__init__(self.detail)

    @property
    def transient(self):
        return self.status in (429, 502, 503, 504)


class Unreachable(ClientError):
    """No connection was made, so nothing was asked."""
    transient = True


class NoAnswer(ClientError):
    """The request was sent and no answer came: it may have been carried out or not."""
    transient = True


class NotAccepted(ClientError):
    """Keystone does not know the user by what it was told."""


class NotOurService(ClientError):
    """Something answers at the endpoint that is not the container service."""


def normalise_endpoint(endpoint):
    """The address before ``/v1``, without trailing slash.  Raises ValueError."""
    parts = urllib.parse.urlsplit(endpoint.strip())
    if parts.scheme not in ('http', 'https') or not parts.hostname:
        raise ValueError(f'{endpoint!r} is not an address like {DEFAULT_ENDPOINT}')
    path = parts.path.rstrip('/').removesuffix('/v1').rstrip('/')
    return f'{parts.scheme}://{parts.netloc}{path}'


class Client:
    """The service at one endpoint.  Makes no connection before the first request."""

    def __init__(self, endpoint=DEFAULT_ENDPOINT, connection=None):
        """``connection`` is a keystoneauth session that knows who the user is."""
        self.endpoint = normalise_endpoint(endpoint)
        self._adapter = adapter.Adapter(
            connection or _without_credentials(self.endpoint), service_type=SERVICE_TYPE,
            endpoint_override=self.endpoint, default_microversion=MICROVERSION,
            user_agent='container-service')

    def get(self, path, params=None, **timeouts):
        return self.request('GET', path, params=params, **timeouts)

    def post(self, path, body=None, params=None, **timeouts):
        return self.request('POST', path, body=body or {}, params=params, **timeouts)

    def delete(self, path, params=None, **timeouts):
        return self.request('DELETE', path, params=params, **timeouts)

    def request(self, method, path, **details):
        """Send one request and return the object it is answered with, or None.

        Raises a ClientError.  Never tries again by itself: only the caller knows whether asking
        twice is harmless; asking.py does.
        """
        return self.exchange(method, path, **details)[0]

    def exchange(self, method, path, *, params=None, body=None, headers=None,
                 connect_seconds=CONNECT_SECONDS, read_seconds=READ_SECONDS):
        """As ``request``, but return the headers of the answer too."""
        query, headers = _query(params), headers or {}
        traffic.request(method, f'{self.endpoint}/v1/{path}', query, headers, body)
        try:
            # Without its log, which has bodies as they are, with the passwords in them.
            # And not on to where an answer points: credentials and body are for this address.
            response = self._adapter.request(
                f'/v1/{path}', method, params=query, json=body, headers=headers, log=False,
                raise_exc=False, redirect=False, timeout=(connect_seconds, read_seconds))
        except ksa_exceptions.AuthorizationFailure as exc:
            error = NotAccepted('The credentials are not complete.')
            error.hint = 'a user name and a password are needed, as OS_USERNAME and OS_PASSWORD'
            raise error from exc
        except (ksa_exceptions.HttpError, ksa_exceptions.DiscoveryFailure,
                ksa_exceptions.AuthPluginException) as exc:
            # Of ours none is raised: raise_exc is off.
            raise identity_error(exc, None) from exc
        except ksa_exceptions.ClientException as exc:
            raise _connection_error(self.endpoint, method, path, exc) from exc
        traffic.answer(response)
        if response.status_code >= 400:
            raise _api_error(self.endpoint, response)
        if response.status_code >= 300:
            raise _redirected(self.endpoint, response)
        answer = _json_object(self.endpoint, response) if response.content else None
        return answer, response.headers

    def pages(self, path, key, params=None, limit=None):
        """Return (items, more): the list under ``key`` over all pages, or its first ``limit``.

        ``more`` tells whether the service has further ones.
        """
        query = dict(params or {})
        if limit is not None:
            query['limit'] = limit
        items = []
        while True:
            page = self.get(path, params=query)
            items += page.get(key) or []
            following = page.get('next')
            if limit is not None and len(items) >= limit:
                return items[:limit], bool(following) or len(items) > limit
            if not following:
                return items, False
            # Only the query is taken from the link: behind a proxy its host and prefix may not
            # be the ones that we reach the service by.
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(following).query,
                                          keep_blank_values=True)


def list_of(path):
    """The command whose list tells what has become of a change that was asked for there."""
    return _LISTS.get(path.partition('/')[0], 'action list')


def segment(text):
    """``text`` as one part of a path.  Raises ValueError for what cannot be one."""
    # HTTP clients and proxies resolve dots, so ".." would reach another address.
    if not text.strip('.'):
        raise ValueError('must be a name or a uuid')
    return urllib.parse.quote(text, safe='')


def is_loopback(url):
    return urllib.parse.urlsplit(url).hostname in _LOOPBACK


def _without_credentials(endpoint):
    connection = session.Session(noauth.NoAuth(endpoint=endpoint))
    if is_loopback(endpoint):
        # A proxy from the environment cannot reach our own loopback.
        connection.session.trust_env = False
    return connection


def identity_error(exc, auth_url):
    """The error that tells why Keystone gave no token."""
    reason = str(exc).splitlines()[0].rstrip('.')
    if isinstance(exc, ksa_exceptions.Unauthorized):
        error = NotAccepted(f'Keystone does not accept the credentials: {reason}.')
        error.hint = ('look at user, project, their domains and the password, in clouds.yaml or '
                      'the variables OS_* in the environment')
        return error
    return Unreachable(f'Keystone{f" at {auth_url}" if auth_url else ""} gives no token: '
                       f'{reason}.')


def _query(params):
    # As JSON spells them; Python's words are not those of the API.
    spelled = {True: 'true', False: 'false'}
    return {name: spelled[value] if isinstance(value, bool) else value
            for name, value in (params or {}).items()}


def _connection_error(endpoint, method, path, exc):
    cause = exc.__context__             # the error of requests that keystoneauth translated
    reason = cause.args[0] if cause is not None and cause.args else cause
    reason = getattr(reason, 'reason', None) or reason
    if isinstance(exc, ksa_exceptions.SSLError):
        return Unreachable(f'Cannot talk TLS with {endpoint}: {_words(reason)}.')
    if isinstance(reason, (urllib3.exceptions.NewConnectionError,
                           urllib3.exceptions.ConnectTimeoutError)):
        error = Unreachable(f'Cannot reach {endpoint}: is container-service-api running? '
                            f'({_words(reason)})')
        error.hint = ('start container-service-standalone, or name another address with '
                      f'--endpoint or {ENDPOINT_VARIABLE}')
        return error
    error = NoAnswer(f'No answer from {endpoint}: {_words(reason or exc)}.')
    if method != 'GET':
        error.hint = ('what was asked for may have been accepted all the same; see: '
                      f'container-service {list_of(path)}')
    return error


def _words(reason):
    """The shortest true words in a chain of library errors."""
    refused = isinstance(reason, urllib3.exceptions.NewConnectionError)  # a kind of timeout too
    if isinstance(reason, urllib3.exceptions.ConnectTimeoutError) and not refused:
        return 'timed out'
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        return 'it took too long'
    if isinstance(reason, urllib3.exceptions.ProtocolError):
        return 'the connection broke'
    origin = getattr(reason, '__cause__', None) or getattr(reason, '__context__', None)
    text = getattr(origin, 'strerror', None) or str(reason)
    return text.rstrip('.').splitlines()[0] if text else type(reason).__name__


def _api_error(endpoint, response):
    try:
        error = dict(response.json()['errors'][0])
    except (ValueError, LookupError, TypeError):
        # A proxy in between, or not our service at all: its page is of no use to the user.
        error = {'detail': f'{endpoint} answered {response.status_code} {response.reason} '
                           'without saying why.'}
    return ApiError(
        status=error.get('status') or response.status_code, code=error.get('code'),
        title=error.get('title'), detail=error.get('detail'),
        request_id=error.get('request_id') or response.headers.get('X-Openstack-Request-Id'),
        links=error.get('links') or (),
        hint=_HINTS.get(response.status_code) or error.get('hint'),
        retry_after=_retry_after(response))


def _redirected(endpoint, response):
    where = words.printable(response.headers.get('Location', ''))
    error = NotOurService(
        f'What answers at {endpoint} is not the container service: it sends everybody to '
        f'{where or "another place"} ({response.status_code}).')
    error.hint = (f'if the service is there, name it with --endpoint or {ENDPOINT_VARIABLE}; '
                  'credentials go to no other address by themselves')
    return error


def _retry_after(response):
    # The other form, a date, would need a clock that agrees with the service's.
    text = response.headers.get('Retry-After', '')
    return int(text) if text.isdigit() else None


def _json_object(endpoint, response):
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise NotOurService(f'What answers at {endpoint} is not the container service: '
                            'it sent something other than a JSON object.')
    return answer
