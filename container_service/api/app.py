# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: Pecan inside, middleware around it, composed here in visible order."""

from oslo_middleware import healthcheck
from oslo_middleware import http_proxy_to_wsgi
from oslo_middleware import request_id
import pecan

from container_service import exceptions
from container_service import policy
from container_service import ring
from container_service import rpc
from container_service.api import auth
from container_service.api import errors
from container_service.api import versions
from container_service.api import waiting
from container_service.api.controllers import base
from container_service.api.controllers import root


class BodyLimit:
    """Refuses bodies over the limit, counting what comes and not trusting what was announced."""

    def __init__(self, app, limit):
        self._app, self._limit = app, limit

    def __call__(self, environ, start_response):
        length = environ.get('CONTENT_LENGTH') or '0'
        if not length.isdigit():
            raise exceptions.Invalid('Content-Length must be a number.')
        if int(length) > self._limit:
            raise exceptions.BodyTooLarge(limit=self._limit)
        environ['wsgi.input'] = _Limited(environ['wsgi.input'], self._limit)
        return self._app(environ, start_response)


class _Limited:

    def __init__(self, stream, limit):
        self._stream, self._limit, self._left = stream, limit, limit

    def read(self, size=-1):
        most = self._left + 1
        data = self._stream.read(most if size is None or size < 0 else min(size, most))
        self._left -= len(data)
        if self._left < 0:
            raise exceptions.BodyTooLarge(limit=self._limit)
        return data


class _Mounted:
    """One application at one path, another everywhere else."""

    def __init__(self, path, mounted, app):
        self._path, self._mounted, self._app = path, mounted, app

    def __call__(self, environ, start_response):
        here = environ.get('PATH_INFO', '').rstrip('/') == self._path
        return (self._mounted if here else self._app)(environ, start_response)


def build(conf, db, bus):
    """The application for one process.  Opens no connection: it may be made before a fork."""
    choose = ring.Ring(db).choose
    calls = rpc.Calls(bus, choose, conf.api.call_slots)
    parts = base.Parts(
        conf=conf, db=db, enforcer=policy.make_enforcer(conf),
        doorbell=rpc.Doorbell(bus, choose), calls=calls, waiting=waiting.Waiting(db))
    app = pecan.make_app(
        root.RootController(parts), debug=False, force_canonical=False,
        guess_content_type_from_ext=False)
    # Innermost first; a request passes them from the bottom up.
    app = auth.STRATEGIES[conf.api.auth_strategy](app, conf)
    app = BodyLimit(app, conf.api.max_body_bytes)
    app = errors.Middleware(app, conf.api.max_body_bytes)
    app = versions.Middleware(app)
    app = _Mounted('/healthcheck', healthcheck.Healthcheck(None, conf), app)
    app = request_id.RequestId(app)
    return http_proxy_to_wsgi.HTTPProxyToWSGI(app, conf)
