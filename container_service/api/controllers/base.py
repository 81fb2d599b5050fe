# SPDX-License-Identifier: Apache-2.0
"""What the controllers share: the parts they work with, and pages."""

import dataclasses
import urllib.parse

import pecan

from container_service import audit
from container_service import exceptions
from container_service import policy
from container_service.api import auth
from container_service.api import endpoints
from container_service.api import versions
from container_service.db import bays
from container_service.db import containers
from container_service.db import idents
from container_service.db import paging


@dataclasses.dataclass(frozen=True)
class Parts:
    """What an API process is made of; handed to the controllers."""
    conf: object
    db: object
    enforcer: object
    doorbell: object
    calls: object
    waiting: object
    limits: object
    quotas: object
    keys: object          # secrets.Keys
    sources: object       # registries.Policy
    pool: object          # how the conductors of a bay are: ring.Ring.state


# Controllers are written in these words.
endpoint, Listing, PUBLIC = endpoints.endpoint, endpoints.Listing, endpoints.PUBLIC


class Controller:
    """One address.  Its methods ``get``, ``post``, ... answer the HTTP methods of these names.

    Each of them is declared with ``endpoint``.  ``at`` has the words that stand for variables in
    the path.
    """
    children = {}       # name: the controller below this address
    member = None       # variable, and the controller of any other name

    def __init__(self, parts, at=None):
        self.parts, self.at = parts, at or {}

    def child(self, name):
        """The controller of ``<this address>/<name>``.  Raises NotFound."""
        if name in self.children:
            return self.children[name](self.parts, self.at)
        if self.member:
            variable, kind = self.member
            return kind(self.parts, {**self.at, variable: name})
        known = f', only: {", ".join(self.children)}' if self.children else ''
        raise exceptions.NotFound(f'There is no {ascii(name)} here{known}.')

    @pecan.expose()
    def _route(self, names, request):
        """Walk the path and find the method.  Doubled and trailing slashes are ignored.

        Pecan's own walk takes each word for an attribute first, so that a container named
        ``index`` or ``parts`` would be hidden behind what its controller has of that name.
        """
        found = self
        for name in filter(None, names):
            found = found.child(name)
        allowed = [method for method in endpoints.METHODS
                   if getattr(found, method.lower(), None)]
        method = 'GET' if request.method == 'HEAD' else request.method
        if method not in allowed:
            if 'GET' in allowed:
                allowed.insert(1, 'HEAD')
            raise exceptions.MethodNotAllowed(method=ascii(request.method)[1:33].rstrip("'"),
                                              allow=', '.join(allowed))
        return found._answer, []

    @pecan.expose(template='json')
    def _answer(self):
        """Do what is declared of the method, and let it answer."""
        method = 'GET' if pecan.request.method == 'HEAD' else pecan.request.method
        handler = getattr(self, method.lower())
        return handler.endpoint.called(self, handler)

    @property
    def context(self):
        return auth.of(pecan.request)

    @property
    def version(self):
        return versions.of(pecan.request)

    @property
    def base(self):
        """Scheme, host and mount point of this API as the caller sees it."""
        return pecan.request.application_url

    def authorize(self, rule):
        """Policy, and the version of the request.  Raises Forbidden, UnsupportedVersion."""
        versions.of(pecan.request)
        if not self.context.project_id:
            # No project would mean all projects to the queries.
            raise exceptions.Forbidden('The credentials are not for a project.')
        policy.authorize(self.parts.enforcer, self.context, rule)

    def target(self, rule):
        """What a request is about, by its address alone; for the audit trail."""
        kind = rule.partition(':')[0]
        for word in reversed(self.at.values()):
            if idents.is_uuid(word):
                return audit.Target(kind, word)
            return audit.Target(kind, name=audit.printable(word))
        return audit.Target(kind)

    def see_all_projects(self, wanted):
        """Take the caller's wish to see all projects; raises Forbidden."""
        if wanted:
            self.authorize('container:all_projects')
            self.context.all_projects = True

    def page(self, arguments):
        """The page that list arguments ask for.  Takes them out of ``arguments``."""
        key = arguments.pop('sort_key')
        most = self.parts.conf.api.max_limit
        return paging.Page(limit=min(arguments.pop('limit') or most, most),
                           marker=arguments.pop('marker'), sort_key=key,
                           descending=arguments.pop('sort_dir') == 'desc')

    def resolve(self, conn, wanted, container_column):
        """Put what the filters ``container`` and ``bay`` name in terms of columns.

        Raises ContainerNotFound, BayNotFound.
        """
        scope = self.context.project_scope
        container = wanted.pop('container', None)
        if container is not None:
            # By uuid the history of a deleted one can still be read.
            wanted[container_column] = (
                container if idents.is_uuid(container)
                else containers.get(conn, container, scope).uuid)
        bay = wanted.pop('bay', None)
        if bay is not None:
            wanted['bay_uuid'] = bays.get(conn, bay, scope).uuid

    def next_link(self, rows, more):
        """Address of the page behind this one with the same filters; None on the last."""
        if not more:
            return None
        sent = [(name, value) for name, value in pecan.request.GET.items() if name != 'marker']
        # The path begins at /v1 whatever the API is mounted under and was asked for, as older
        # clients expect.
        path = '/v1/' + pecan.request.path_info.strip('/').removeprefix('v1/')
        return (f'{pecan.request.host_url}{path}?'
                f'{urllib.parse.urlencode([*sent, ("marker", rows[-1].uuid)])}')


def filters(arguments):
    """Those list arguments that were given."""
    return {name: value for name, value in arguments.items() if value is not None}


def empty(status):
    """Answer without a body."""
    pecan.response.status = status
    pecan.response.content_type = None
    return pecan.response
