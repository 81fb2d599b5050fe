# SPDX-License-Identifier: Apache-2.0
"""/v1/containers and its operations.

The routes of operations are not listed here: they are made from the rows of the table.  An
asynchronous one goes on in ``api/accept.py``, then ``lifecycle.submit``; a blocking one in
``api/blocking.py``.
"""

from oslo_log import log

from container_service import exceptions
from container_service import operations
from container_service import powers
from container_service.api import accept
from container_service.api import blocking
from container_service.api import creation
from container_service.api import types
from container_service.api import versions
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import actions
from container_service.db import bays
from container_service.db import containers
from container_service.db import paging

LOG = log.getLogger(__name__)

_ALL_PROJECTS = types.Param('all_projects', operations.boolean, False)
_RUN = types.Param('run', operations.boolean, False)
_LIST = (*types.page(*containers.SORT_KEYS), types.LABELS, _ALL_PROJECTS, *(
    types.Param(name, operations.text) for name in (
        'name', 'image', 'project_id', 'user_id', 'task_state', 'status', 'bay_ident', 'host')),
    types.Param('memory', operations.memory),
    types.Param('auto_remove', operations.boolean))

# Arguments of existing clients that have no meaning.
_IGNORED = (types.Param('resource_url', operations.text), types.Param('expand', operations.text))

_EXAMPLE = {'name': 'web', 'image': 'nginx:1.27', 'command': ['nginx', '-g', 'daemon off;'],
            'environment': {'MODE': 'fast'}, 'memory': '64', 'cpu': 0.5}


def _asynchronous(op, *more):
    """The handler of an operation that is recorded."""
    @base.endpoint(op.policy, query=(*op.params, *operations.OPTIONS, *more),
                   params_in_body=None if op.http_method == 'DELETE' else versions.OWN_SHAPES,
                   returns='Action', status=202, operation=op)
    def answer(self, arguments):
        return accept.operation(self, op, self.at['container'], arguments)
    return answer


def _blocking(op):
    """The handler of a call: the answer is the content."""
    @base.endpoint(op.policy, query=op.params, params_in_body=versions.MINIMUM,
                   returns=op.name.capitalize(), operation=op)
    def answer(self, arguments):
        if (op.recorded_as and accept.is_preferred()
                and self.version >= versions.OWN_SHAPES):
            row = operations.OPERATIONS[op.recorded_as]
            self.authorize(row.policy)
            return accept.recorded(self, row, self.at['container'], arguments)
        return blocking.answer(self, op, self.at['container'], arguments)
    return answer


def _operation_controller(op):
    """The controller of /v1/containers/{container}/<operation>."""
    handler = (_asynchronous if op.is_async else _blocking)(op)
    # POST and PUT are the same: existing clients use one or the other.
    methods = ('post', 'put') if op.http_method == 'POST' else (op.http_method.lower(),)
    return type('OperationController', (base.Controller,), dict.fromkeys(methods, handler))


class HistoryEntryController(base.Controller):
    """/v1/containers/{container}/container_actions/{request_id}"""

    @base.endpoint('container:show', returns='ContainerActionWithEvents',
                   summary='Show an action of a container in the older shape.')
    def get(self, arguments):
        request = self.at['request_id']
        rows = _history(self, paging.Page(1, None, 'id', False), request_id=request)
        if not rows:
            raise exceptions.ActionNotFound(action=f'of request {request}')
        return {**views.container_action(rows[0]),
                'events': [views.container_action_event(rows[0])]}


class HistoryController(base.Controller):
    """/v1/containers/{container}/container_actions: a view of the same actions."""
    member = ('request_id', HistoryEntryController)

    @base.endpoint('container:show', query=types.PAGE,
                   returns=base.Listing('containerActions', 'ContainerAction', paged=False),
                   summary='List the actions of a container in the older shape.')
    def get(self, arguments):
        rows = _history(self, self.page(arguments))
        return {'containerActions': [views.container_action(row) for row in rows]}


def _history(controller, page, **wanted):
    scope = controller.context.project_scope
    with controller.parts.db.read() as conn:
        row = containers.get(conn, controller.at['container'], scope)
        return actions.listing(conn, project_id=scope, page=page,
                               filters={'resource_uuid': row.uuid, **wanted})[0]


class ContainerController(base.Controller):
    """/v1/containers/{container}"""
    children = {'container_actions': HistoryController,
                **{op.name: _operation_controller(op)
                   for op in operations.OPERATIONS.values() if op.own_path}}

    @base.endpoint('container:show', query=(_ALL_PROJECTS,), returns='Container',
                   summary='Show a container.')
    def get(self, arguments):
        with self.parts.db.read() as conn:
            row = containers.get(conn, self.at['container'], self.context.project_scope)
        return views.container(row, self.base, self.context.is_admin)

    delete = _asynchronous(operations.OPERATIONS['delete'], _ALL_PROJECTS)


# What an operation changes in the container itself has no address of its own.
for _op in operations.OPERATIONS.values():
    if _op.http_method == 'PATCH':
        ContainerController.patch = _asynchronous(_op)


class ContainersController(base.Controller):
    """/v1/containers"""
    member = ('container', ContainerController)

    @base.endpoint('container:list', query=(*_LIST, *_IGNORED),
                   returns=base.Listing('containers', 'Container'))
    def get(self, arguments):
        for param in _IGNORED:
            del arguments[param.name]
        labels = types.label_pairs(arguments.pop('label'))
        page = self.page(arguments)
        bay = arguments.pop('bay_ident')
        options = base.filters({name: arguments.pop(name) for name in ('memory', 'auto_remove')})
        wanted = base.filters(arguments)
        if 'host' in wanted:
            wanted['bay_name'] = wanted.pop('host')
        with self.parts.db.read() as conn:
            if bay:
                wanted['bay_uuid'] = bays.get(conn, bay, self.context.project_scope).uuid
            rows, more = containers.listing(
                conn, project_id=self.context.project_scope, filters=wanted, labels=labels,
                options=options, page=page)
        # Asked for once: it costs more than all the rest of a row.
        where, admin = self.base, self.context.is_admin
        return {'containers': [views.container(row, where, admin) for row in rows],
                'next': self.next_link(rows, more)}

    @base.endpoint('container:create', query=(_RUN, *operations.OPTIONS),
                   body=creation.ContainerCreate, example=_EXAMPLE,
                   body_bytes=creation.BODY_BYTES, guards=creation.RULES,
                   returns='ContainerAccepted', status=202,
                   operation=operations.OPERATIONS['create'], instead={'run': 'container:run'})
    def post(self, arguments, asked):
        op = operations.OPERATIONS['run' if arguments.pop('run') else 'create']
        creation.check(asked, self.version, self.parts.conf.bays.bind_mount_paths)
        spec, files, secret = creation.options(asked, self.version)
        answer = accept.creation(
            self, op, name=asked.get('name'), image=asked['image'], spec=spec, files=files,
            secret=secret, place=creation.place(asked), options=arguments)
        if powers.of(spec):
            LOG.warning('User %s of project %s was given %s with a container',
                        self.context.user_id, self.context.project_id,
                        ', '.join(powers.of(spec)))
        return answer
