# SPDX-License-Identifier: Apache-2.0
"""/v1/containers and its operations.

The routes of operations are not listed here: what the table names is found by its name.  An
asynchronous one goes on in ``api/accept.py``, then ``lifecycle.submit``; a blocking one in
``calls.Calls``.
"""

import pecan

from container_service import exceptions
from container_service import operations
from container_service.api import accept
from container_service.api import intake
from container_service.api import types
from container_service.api import versions
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import actions
from container_service.db import bays
from container_service.db import containers

_ALL_PROJECTS = types.Param('all_projects', operations.boolean, False)
_RUN = types.Param('run', operations.boolean, False)
_LIST = (*types.PAGE, types.LABELS, _ALL_PROJECTS, *(
    types.Param(name, operations.text) for name in (
        'name', 'image', 'project_id', 'user_id', 'task_state', 'status', 'bay_ident')))

# Filters of existing clients by what our containers never have, and arguments without meaning.
_NEVER = (types.Param('host', operations.text), types.Param('auto_remove', operations.boolean))
_IGNORED = (types.Param('resource_url', operations.text), types.Param('expand', operations.text))

# A list of a thousand containers shows a thousand of these.
CREATE_BYTES = 65536

# Parts of a create body that are columns of their own; the rest is the spec.
_COLUMNS = ('name', 'image', 'bay_uuid')


class ContainersController(base.Controller):
    """/v1/containers"""

    @base.answers
    def get(self):
        self.authorize('container:list')
        arguments = types.query(pecan.request, (*_LIST, *_NEVER, *_IGNORED))
        self.see_all_projects(arguments.pop('all_projects'))
        for param in _IGNORED:
            del arguments[param.name]
        never = any([arguments.pop(param.name) for param in _NEVER])
        labels = [tuple(label.split('=', 1)) if '=' in label else (label, None)
                  for label in arguments.pop('label')]
        page = self.page(arguments, containers.SORT_KEYS)
        bay = arguments.pop('bay_ident')
        wanted = base.filters(arguments)
        with self.parts.db.read() as conn:
            if bay:
                wanted['bay_uuid'] = bays.get(conn, bay, self.context.project_scope).uuid
            rows, more = containers.listing(
                conn, project_id=self.context.project_scope, filters=wanted, labels=labels,
                page=page) if not never else ([], False)
        # Asked for once: it costs more than all the rest of a row.
        where, admin = self.base, self.context.is_admin
        return {'containers': [views.container(row, where, admin) for row in rows],
                'next': self.next_link(rows, more)}

    @base.answers
    def post(self):
        arguments = types.query(pecan.request, (_RUN, *operations.OPTIONS))
        op = operations.OPERATIONS['run' if arguments.pop('run') else 'create']
        self.authorize(op.policy)
        body = intake.body(pecan.request, CREATE_BYTES)
        asked = types.given(types.parse(types.ContainerCreate, body))
        spec = {name: value for name, value in asked.items() if name not in _COLUMNS}
        if 'memory' in spec:
            spec['memory_bytes'] = spec.pop('memory')
        if spec.get('interactive') and self.version < (1, 36):
            spec['tty'] = True
        return accept.creation(
            self, op, name=asked.get('name'), image=asked['image'], spec=spec,
            bay=asked.get('bay_uuid'), options=arguments, body=body)

    def child(self, name):
        return ContainerController(self.parts, name)


class ContainerController(base.Controller):
    """/v1/containers/{container}"""

    def __init__(self, parts, ident):
        super().__init__(parts)
        self._ident = ident

    @base.answers
    def get(self):
        self.authorize('container:show')
        self.see_all_projects(
            types.query(pecan.request, (_ALL_PROJECTS,))['all_projects'])
        with self.parts.db.read() as conn:
            row = containers.get(conn, self._ident, self.context.project_scope)
        return views.container(row, self.base, self.context.is_admin)

    @base.answers
    def delete(self):
        op = operations.OPERATIONS['delete']
        self.authorize(op.policy)
        arguments = types.query(
            pecan.request, (*op.params, *operations.OPTIONS, _ALL_PROJECTS))
        self.see_all_projects(arguments.pop('all_projects'))
        return accept.operation(self, op, self._ident, arguments, {})

    def child(self, name):
        op = operations.OPERATIONS.get(name)
        if op is not None and op.own_path and op.is_at(self.version):
            kind = AsyncController if op.is_async else _BLOCKING[name]
            return kind(self.parts, self._ident, op)
        if name == 'container_actions':
            return HistoryController(self.parts, self._ident)
        raise exceptions.NotFound(f'Containers have no operation {ascii(name)}.')


class OperationController(base.Controller):
    """/v1/containers/{container}/{operation}"""

    def __init__(self, parts, ident, op):
        super().__init__(parts)
        self._ident, self._op = ident, op



class AsyncController(OperationController):
    """POST and PUT are the same: existing clients use one or the other."""

    @base.answers
    def post(self):
        self.authorize(self._op.policy)
        return accept.operation(
            self, self._op, self._ident, *accept.options_and_body(self, self._op.params))

    put = post


class BlockingController(OperationController):
    """A call: the answer is the content."""

    def _arguments(self):
        self.authorize(self._op.policy)
        return types.arguments(pecan.request, self._op.params, allow_body=True)

    def _ask(self, params, seconds):
        with self.parts.db.read() as conn:
            row = containers.get(conn, self._ident, self.context.project_scope)
            bay = bays.get(conn, row.bay_uuid, None)
        if row.status not in self._op.allowed:
            raise exceptions.InvalidState(
                operation=self._op.words, uuid=row.uuid, status=row.status, because='',
                hint=f'It is possible in: {", ".join(sorted(self._op.allowed))}.')
        return self.parts.calls.ask(row.uuid, bay, self._op.name, params, seconds)


class LogsController(BlockingController):

    @base.answers
    def get(self):
        output = self._ask(self._arguments(), self._op.deadline_seconds)
        if self.version < versions.OWN_SHAPES and versions.header_given(pecan.request):
            # A bare JSON text is what clients that send a version expect.
            return output
        return {'output': output}


class ExecuteController(BlockingController):

    @base.answers
    def post(self):
        params = self._arguments()
        if params['interactive'] or not params['run']:
            raise exceptions.InvalidParameter(
                name='interactive', reason='must be false and run true: there are no terminals')
        answer = self._ask(params, params['timeout_seconds'] + 10)
        return {**answer, 'proxy_url': None}

    put = post


_BLOCKING = {'logs': LogsController, 'execute': ExecuteController}


class HistoryController(base.Controller):
    """/v1/containers/{container}/container_actions: a view of the same actions."""

    def __init__(self, parts, ident):
        super().__init__(parts)
        self._ident = ident

    def _rows(self, **wanted):
        self.authorize('container:show')
        arguments = types.query(pecan.request, types.PAGE)
        with self.parts.db.read() as conn:
            row = containers.get(conn, self._ident, self.context.project_scope)
            return actions.listing(
                conn, project_id=self.context.project_scope,
                filters={'resource_uuid': row.uuid, **wanted}, page=self.page(arguments))[0]

    @base.answers
    def get(self):
        return {'containerActions': [views.container_action(row) for row in self._rows()]}

    def child(self, name):
        return HistoryEntryController(self.parts, self._ident, name)


class HistoryEntryController(HistoryController):

    def __init__(self, parts, ident, request_id):
        super().__init__(parts, ident)
        self._request_id = request_id

    child = base.Controller.child

    @base.answers
    def get(self):
        rows = self._rows(request_id=self._request_id)
        if not rows:
            raise exceptions.ActionNotFound(action=f'of request {self._request_id}')
        return {**views.container_action(rows[0]),
                'events': [views.container_action_event(rows[0])]}
