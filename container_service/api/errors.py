# SPDX-License-Identifier: Apache-2.0
"""Exception to HTTP answer, in one place, for every failure.

Our own exceptions reach the middleware as they were raised.  What Pecan, WebOb and the other
middleware answer by themselves (404, 405, 413, ... as plain text or HTML) is put into the same
shape.
"""

import http
import json
import re

from oslo_log import log
from webob import acceptparse

from container_service import exceptions
from container_service import redaction
from container_service.api import versions

LOG = log.getLogger(__name__)

JSON, PROBLEM = 'application/json', 'application/problem+json'

_FOREIGN = {
    400: exceptions.Invalid, 401: exceptions.Unauthorized, 403: exceptions.Forbidden,
    404: exceptions.NotFound, 406: exceptions.NotAcceptable,
    414: exceptions.AddressTooLong, 415: exceptions.UnsupportedMediaType,
    431: exceptions.HeadersTooLarge, 503: exceptions.Unavailable,
}

# Of a media range in Accept, all but its weight: "application/json; charset=utf-8" is JSON.
_PARAMETERS = re.compile(r';\s*(?![qQ]\s*=)[^;,]*')

# What a foreign failure says in headers is kept.
_KEPT = ('allow', 'retry-after', 'www-authenticate')

_REASONS = {status.value: status.phrase for status in http.HTTPStatus}


class Middleware:
    """Answers every failure as {"errors": [...]}, or as RFC 9457 when that is asked for."""

    def __init__(self, app):
        self._app = app

    def __call__(self, environ, start_response):
        with redaction.hiding():
            return self._answer(environ, start_response)

    def _answer(self, environ, start_response):
        started = []

        def start(status, headers, exc_info=None):
            started[:] = [status, headers]

        accept = acceptparse.create_accept_header(
            _PARAMETERS.sub('', environ.get('HTTP_ACCEPT', '')).strip(' ,\t') or None)
        acceptable = accept.acceptable_offers([JSON, PROBLEM])
        # Whatever is accepted, the answer is JSON: Pecan must not choose.
        environ['HTTP_ACCEPT'] = JSON
        try:
            if not acceptable:
                raise exceptions.NotAcceptable()
            body = self._app(environ, start)
            status, headers = started
            code = int(status.split(' ', 1)[0])
            if code < 400:
                start_response(status, headers)
                return body
            if hasattr(body, 'close'):
                body.close()
            error = foreign(code)
            kept = [(name, value) for name, value in headers if name.lower() in _KEPT]
        except exceptions.Error as exc:
            error, kept = exc, []
        except Exception:
            # Both come from the caller: quoted, so that they cannot forge lines of the log.
            LOG.exception('%r %r', environ['REQUEST_METHOD'], environ.get('PATH_INFO'))
            error, kept = exceptions.Error(), []
        status, headers, body = render(
            error, environ.get('openstack.request_id'), _prefers_problem(accept, acceptable),
            of_the_field=versions.is_of_the_field(environ))
        start_response(status, headers + kept)
        return [body]


def _prefers_problem(accept, acceptable):
    """Whether errors shall be RFC 9457: it is named, and nothing else is wanted more.

    A client that names it beside application/json wants one for errors, the other for results.
    """
    quality = dict(acceptable)
    return (PROBLEM in (accept.header_value or '').lower()
            and quality.get(PROBLEM, 0) >= quality.get(JSON, 0) and PROBLEM in quality)


def foreign(code, detail=None):
    """Our error for a status code that somebody else answered."""
    kind = _FOREIGN.get(code) or (exceptions.Invalid if code < 500 else exceptions.Error)
    if kind.status != code or '%(' in kind.message:
        detail = detail or _REASONS.get(code, f'HTTP {code}')
    error = kind(detail)
    error.status = code
    return error


def render(error, request_id, problem=False, of_the_field=False):
    """The answer that tells an error, as (status line, headers, body).

    Clients of the field show the title and nothing else, and they break at a Retry-After.
    """
    status = error.status
    if problem:
        content = {'type': f'urn:container-service:error:{error.code}', 'title': error.title,
                   'status': status, 'detail': error.detail, 'code': error.code,
                   'request_id': request_id}
    else:
        title = error.detail if of_the_field else error.title
        content = {'status': status, 'code': error.code, 'title': title, 'detail': error.detail,
                   'request_id': request_id, 'links': []}
    if error.hint:
        content['hint'] = error.hint
    if 'maximum' in error.values:
        content['min_version'] = error.values['minimum']
        content['max_version'] = error.values['maximum']
    body = json.dumps(content if problem else {'errors': [content]}).encode()
    headers = [('Content-Type', PROBLEM if problem else JSON),
               ('Content-Length', str(len(body)))]
    if error.retry_after and not of_the_field:
        headers.append(('Retry-After', str(error.retry_after)))
    for name, value in (('Allow', 'allow'), ('WWW-Authenticate', 'challenge')):
        if value in error.values:
            headers.append((name, error.values[value]))
    return f'{status} {_REASONS.get(status, "Error")}', headers, body
