# SPDX-License-Identifier: Apache-2.0
"""Exception to HTTP answer, in one place, for every failure.

Our own exceptions reach the middleware as they were raised.  What Pecan, WebOb and the other
middleware answer by themselves (404, 405, 413, ... as plain text or HTML) is put into the same
shape.
"""

import json

from oslo_log import log
from webob import acceptparse

from container_service import exceptions

LOG = log.getLogger(__name__)

JSON, PROBLEM = 'application/json', 'application/problem+json'

_FOREIGN = {
    400: exceptions.Invalid, 401: exceptions.Unauthorized, 404: exceptions.NotFound,
    405: exceptions.MethodNotAllowed, 406: exceptions.NotAcceptable,
    413: exceptions.BodyTooLarge, 415: exceptions.UnsupportedMediaType,
    503: exceptions.Unavailable,
}

_REASONS = {400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found',
            405: 'Method Not Allowed', 406: 'Not Acceptable', 409: 'Conflict',
            413: 'Content Too Large', 415: 'Unsupported Media Type',
            500: 'Internal Server Error', 502: 'Bad Gateway', 503: 'Service Unavailable',
            504: 'Gateway Timeout'}


class Middleware:
    """Answers every failure as {"errors": [...]}, or as RFC 9457 when that is asked for."""

    def __init__(self, app, max_body_bytes):
        self._app = app
        self._max_body_bytes = max_body_bytes

    def __call__(self, environ, start_response):
        started = []

        def start(status, headers, exc_info=None):
            started[:] = [status, headers]

        accept = acceptparse.create_accept_header(environ.get('HTTP_ACCEPT') or None)
        wanted = accept.acceptable_offers([JSON, PROBLEM])
        # Whatever is accepted, the answer is JSON: Pecan must not choose.
        environ['HTTP_ACCEPT'] = JSON
        try:
            if not wanted:
                raise exceptions.NotAcceptable()
            body = self._app(environ, start)
            status, headers = started
            code = int(status.split(' ', 1)[0])
            if code < 400:
                start_response(status, headers)
                return body
            if hasattr(body, 'close'):
                body.close()
            error = self._foreign(environ, code)
        except exceptions.Error as exc:
            error = exc
        except Exception:
            LOG.exception('%s %s', environ['REQUEST_METHOD'], environ.get('PATH_INFO'))
            error = exceptions.Error()
        problem = bool(wanted) and wanted[0][0] == PROBLEM
        return _answer(environ, start_response, error, problem)

    def _foreign(self, environ, code):
        kind = _FOREIGN.get(code)
        if kind is None:
            error = exceptions.Error(_REASONS.get(code, f'HTTP {code}'))
            error.status = code
            return error
        return kind(method=environ['REQUEST_METHOD'], limit=self._max_body_bytes)


def _answer(environ, start_response, error, problem):
    status = error.status
    request_id = environ.get('openstack.request_id')
    detail = error.detail
    if problem:
        content = {'type': f'urn:container-service:error:{error.code}', 'title': error.title,
                   'status': status, 'detail': detail, 'code': error.code,
                   'request_id': request_id}
    else:
        content = {'status': status, 'code': error.code, 'title': error.title,
                   'detail': detail, 'request_id': request_id, 'links': []}
    if error.hint:
        content['hint'] = error.hint
    if isinstance(error, exceptions.UnsupportedVersion):
        content['min_version'] = error.values['minimum']
        content['max_version'] = error.values['maximum']
    body = json.dumps(content if problem else {'errors': [content]}).encode()
    headers = [('Content-Type', PROBLEM if problem else JSON),
               ('Content-Length', str(len(body)))]
    if error.retry_after:
        headers.append(('Retry-After', str(error.retry_after)))
    start_response(f'{status} {_REASONS.get(status, "Error")}', headers)
    return [body]
