# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: Pecan inside, middleware around it, composed here in visible order."""

from oslo_middleware import healthcheck
from oslo_middleware import http_proxy_to_wsgi
from oslo_middleware import request_id
import pecan

from container_service import calls
from container_service import notifications
from container_service import policy
from container_service import quotas
from container_service import registries
from container_service import ring
from container_service import rpc
from container_service import secrets
from container_service import tickets
from container_service.api import auth
from container_service.api import errors
from container_service.api import intake
from container_service.api import limits
from container_service.api import rates
from container_service.api import readiness
from container_service.api import trail
from container_service.api import versions
from container_service.api import waiting
from container_service.api.controllers import base
from container_service.api.controllers import root


class _Mounted:
    """One application for reading at one path, another for everything else."""

    def __init__(self, path, mounted, app):
        self._path, self._mounted, self._app = path, mounted, app

    def __call__(self, environ, start_response):
        here = (environ.get('PATH_INFO', '').rstrip('/') == self._path
                and environ['REQUEST_METHOD'] in ('GET', 'HEAD'))
        return (self._mounted if here else self._app)(environ, start_response)


def build(conf, db, bus):
    """The application for one process.  Opens no connection: it may be made before a fork."""
    db.tell = notifications.Notifier(conf).tell
    members = ring.Ring(db)
    known = quotas.make(conf, db)
    parts = base.Parts(
        conf=conf, db=db, enforcer=policy.make_enforcer(conf),
        doorbell=rpc.Doorbell(bus, members.choose),
        calls=calls.Calls(bus, members.choose, conf.api.call_slots,
                          tickets.Tickets(db)),
        waiting=waiting.Waiting(db, conf.api.wait_slots),
        limits=limits.Limits(conf, db, known.most_actions),
        quotas=known,
        keys=secrets.Keys(conf), sources=registries.Policy(conf),
        pool=members.state)
    app = pecan.make_app(
        root.RootController(parts), debug=False, force_canonical=False,
        guess_content_type_from_ext=False)
    # Innermost first; a request passes them from the bottom up.
    app = intake.Middleware(app, conf)
    app = trail.Middleware(app, conf, db)
    app = rates.Middleware(app, conf)
    app = auth.STRATEGIES[conf.api.auth_strategy](app, conf, parts.enforcer)
    app = rates.Strangers(app, conf)
    app = intake.Head(app)
    app = errors.Middleware(app)
    app = _Mounted('/healthcheck', healthcheck.Healthcheck(None, conf), app)
    app = _Mounted('/readiness', readiness.Readiness(db, bus), app)
    app = intake.Accept(app)
    app = versions.Middleware(app)
    app = request_id.RequestId(app)
    return http_proxy_to_wsgi.HTTPProxyToWSGI(app, conf)
