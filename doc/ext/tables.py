# SPDX-License-Identifier: Apache-2.0
"""What the documentation prints from the code: each function gives reStructuredText.

No list of operations, errors, versions or commands is kept in the documentation, so none can be
out of date.  Needs the package and nothing of Sphinx; ``from_code.py`` is the directive.
"""

import os
import re

import diagram

from container_service import exceptions
from container_service import operations
from container_service import policy
from container_service.api import endpoints
from container_service.api import explain
from container_service.api import versions
from container_service.api.controllers import root
from container_service.client import outcomes
from container_service.client import words
from container_service.drivers import docker_api

_TAKEOVER = {True: 'runs again', False: 'ends ``interrupted``'}
_CANCEL = {operations.UNDO: 'stops, and is undone', operations.TOO_LATE: 'too late'}


def operation_table():
    """Every row of the operation table."""
    rows = []
    for op in operations.OPERATIONS.values():
        command = words.cli_name(op.name)
        name = f'``{op.name}``' + ('' if command == op.name else f', command ``{command}``')
        rows.append([name, op.summary, f'``{op.http_method} {op.path}``',
                     _leads_to(op) if op.is_async else 'an answer'])
    return _table(['Operation', 'What it does', 'Request', 'Leads to'], rows, (15, 35, 33, 17))


def rule_table():
    """How the actions of each asynchronous operation are treated."""
    rows = [[f'``{op.name}``', _taken_over(op), _CANCEL[op.cancel],
             'folded' if op.coalesce else 'each carried out', 'yes' if op.urgent else 'no',
             f'{op.deadline_seconds} s'] for op in operations.of_kind(operations.ASYNC)]
    return _table(['Operation', 'If its conductor dies', 'Cancelled while it runs',
                   'Equal requests', 'Urgent', 'Deadline'], rows, (14, 20, 24, 18, 10, 14))


def _taken_over(op):
    # Asked with its defaults, as in _leads_to.
    defaults = {param.name: param.default for param in op.params}
    words = _TAKEOVER[op.may_run_again(defaults)]
    return f'{words}, by default' if callable(op.on_takeover) else words


def _leads_to(op):
    target = op.target
    if callable(target):
        # Asked with its defaults; what else may come of it is in the help of its parameters.
        defaults = {param.name: param.default for param in op.params}
        target = f'{op.target_for(defaults, None)}, by default'
    if target is operations.UNCHANGED:
        target = 'the same status'
    return f'{op.during}, then {target}' if op.during else target


def state_diagram():
    """The operation table as a picture."""
    return ['.. raw:: html', '', *(f'   {line}' for line in diagram.svg()), '']


def status_matrix():
    """Which operation is accepted in which status, and what it leads to."""
    rows_of_table = [op for op in operations.OPERATIONS.values() if not op.creates]
    rows = []
    for status in diagram.STATUSES:
        cells = [_accepted(op, status) for op in rows_of_table]
        if any(cells):
            rows.append([status, *cells])
    return _table(['Status', *(f'``{op.name}``' for op in rows_of_table)], rows)


def _accepted(op, status):
    if status in op.allowed:
        if not op.is_async:
            return 'yes'
        return op.target_for({param.name: param.default for param in op.params}, status)
    return ' or '.join(f'with ``{name}``' for name, more in op.allowed_with.items()
                       if status in more)


def parameter_table():
    """The parameters of every operation that has any."""
    rows = []
    for op in operations.OPERATIONS.values():
        for param in op.params:
            default = 'required' if param.required else _value(param.default)
            rows.append([f'``{op.name}``', f'``{param.wire_name}``',
                         param.convert.words + _range(param) + _place(param), default,
                         param.help])
    return _table(['Operation', 'Parameter', 'Value', 'Default', 'Meaning'], rows)


def option_table():
    """What every asynchronous operation can be told besides its own parameters."""
    return _table(['Option', 'Default', 'Meaning'], [
        [f'``{param.wire_name}``', _value(param.default), param.help]
        for param in operations.OPTIONS], (30, 12, 58))


def _range(param):
    if param.minimum is None and param.maximum is None:
        return ''
    return f', {param.minimum} to {param.maximum}'


def _place(param):
    return '; in the body' if param.in_body else ''


def _value(default):
    return '' if default is None else f'``{str(default).lower()}``' if isinstance(
        default, bool) else f'``{default}``'


def version_table():
    """What changed in which microversion."""
    return _table(['Version', 'What changed'],
                  [[versions.text(version), change] for version, change in versions.CHANGES])


# Which addresses the clients of the field ask: what their commands send.
_OPERATIONS_OF_BOTH = ('start', 'stop', 'reboot', 'pause', 'unpause', 'execute')
CLIENTS = {
    'zunclient': [
        'GET /', 'GET /v1/containers', 'POST /v1/containers', 'GET /v1/containers/{container}',
        'PATCH /v1/containers/{container}', 'DELETE /v1/containers/{container}',
        'GET /v1/containers/{container}/container_actions',
        'GET /v1/containers/{container}/container_actions/{request_id}',
        *(f'POST /v1/containers/{{container}}/{name}' for name in (
            *_OPERATIONS_OF_BOTH, 'kill', 'rebuild', 'put_archive', 'commit', 'resize',
            'resize_container', 'execute_resize', 'network_attach', 'network_detach', 'rename')),
        *(f'GET /v1/containers/{{container}}/{name}' for name in (
            'logs', 'top', 'stats', 'get_archive', 'network_list')),
        'GET /v1/hosts', 'GET /v1/hosts/{host}', 'GET /v1/services', 'DELETE /v1/services',
        'PUT /v1/services/enable', 'PUT /v1/services/disable', 'PUT /v1/services/force_down',
        'GET /v1/availability_zones', 'GET /v1/images', 'POST /v1/images',
        'GET /v1/images/{image}', 'DELETE /v1/images/{image}', 'GET /v1/registries',
        'POST /v1/registries', 'GET /v1/registries/{registry}',
        'PATCH /v1/registries/{registry}', 'DELETE /v1/registries/{registry}',
        *(f'{method} /v1/quotas/{{project}}' for method in ('GET', 'PUT', 'DELETE')),
        'GET /v1/quotas/{project}/defaults', 'GET /v1/quota_classes/{class}',
        'PUT /v1/quota_classes/{class}'],
    'magnumclient': [
        'GET /v1/bays', 'GET /v1/bays/{bay}', 'GET /v1/containers', 'POST /v1/containers',
        'GET /v1/containers/{container}', 'DELETE /v1/containers/{container}',
        'GET /v1/containers/{container}/logs',
        *(f'PUT /v1/containers/{{container}}/{name}' for name in _OPERATIONS_OF_BOTH)],
}


def routes():
    """Every route, in the order of their paths."""
    return sorted(endpoints.routes(root.RootController), key=lambda route: (
        route.path, endpoints.METHODS.index(route.method)))


def endpoint_table():
    """Every address, from when till when it is there, who may use it and who does."""
    words = {rule.name: rule.description for rule in policy.list_rules()}
    rows = []
    for route in routes():
        declared = route.endpoint
        if declared.operation and route.method == 'PUT':
            continue                                  # the same as POST
        rules = [rule for rule in route.rules if rule in words]
        methods = ' or '.join([route.method, 'PUT'][:1 + _also_put(route)])
        rows.append([
            f'``{methods} {route.path}``', _since(declared), _until(declared),
            (' and ' if len(declared.policies) > 1 else ' or ').join(
                f'``{rule}``' for rule in rules) or 'everybody', _success(declared),
            ', '.join(name for name, used in CLIENTS.items() if {
                route.name, f'PUT {route.path}' if _also_put(route) else ''} & set(used)),
            declared.summary or words[declared.policy]])
    return _table(['Request', 'Since', 'Until', 'Policy rule', 'Success', 'Used by',
                   'What it does'], rows, (30, 6, 6, 16, 12, 10, 20))


def _also_put(route):
    return route.endpoint.operation is not None and route.method == 'POST' and (
        route.endpoint.operation.own_path)


def _since(declared):
    since = (declared.operation or declared).since
    return versions.text(since or versions.MINIMUM)


def _until(declared):
    until = (declared.operation or declared).until
    if until is None:
        return ''
    more = f', from {versions.text(versions.OWN_SHAPES)}' if declared.operation else ''
    return f'{versions.text(until)}{more}'


def _success(declared):
    op = declared.operation
    if op is None or not op.is_async or op.creates or op.older_status == declared.status:
        return str(declared.status)
    return f'{op.older_status}, {declared.status} from {versions.text(versions.OWN_SHAPES)}'


def request_errors():
    """Codes in answers to requests."""
    return _errors([kind for kind in error_classes() if not issubclass(kind, _NOT_IN_ANSWERS)])


def engine_errors():
    """Codes of what went wrong on an engine."""
    return _errors(_tree(exceptions.DriverError))


def action_errors():
    """Codes that only actions have, as far as they are classes."""
    return _table(['Code', 'Title', 'Detail, unless there is more to say'],
                  [[f'``{kind.code}``', kind.title, _escaped(_blanks(kind.message))]
                   for kind in _ON_ACTIONS])


def waiting_codes():
    """Why an action that has not ended is where it is."""
    return _table(['Code', 'Meaning'],
                  [[f'``{code}``', meaning] for code, meaning in explain.CODES.items()],
                  (30, 70))


def internal_errors():
    """Codes that are told to nobody but the log."""
    return _errors([exceptions.Fenced])


_ON_ACTIONS = (exceptions.Cancelled, exceptions.Skipped, exceptions.Interrupted,
               exceptions.DeadlineExceeded, exceptions.AttemptsExhausted)
_NOT_IN_ANSWERS = (exceptions.DriverError, exceptions.Fenced, *_ON_ACTIONS)


def error_classes():
    """Every error there is."""
    return _tree(exceptions.Error)


def _tree(kind):
    return [kind, *(found for sub in kind.__subclasses__() for found in _tree(sub))]


def _errors(kinds):
    rows = []
    for kind in sorted(kinds, key=lambda kind: (kind.status, kind.code)):
        retry = f' (``Retry-After: {kind.retry_after}``)' if kind.retry_after else ''
        rows.append([f'``{kind.code}``', f'{kind.status}{retry}', kind.title,
                     _escaped(_blanks(kind.message)), _escaped(kind.hint or '')])
    return _table(['Code', 'HTTP status', 'Title', 'Detail, unless there is more to say', 'Hint'],
                  rows)


def _blanks(message):
    """A message with its placeholders as words in angle brackets."""
    return re.sub(r'%\((\w+)\)[sd]', r'<\1>', message.replace('%(because)s', ''))


def exit_code_table():
    """What the exit codes of the command line client mean."""
    return _table(['Exit status', 'Meaning'],
                  [[str(code), meaning] for code, meaning in outcomes.EXIT_CODES])


def command_reference():
    """A section for each command of the client, with the options that are its own."""
    # Here, not above: only this one needs a whole command line application.
    from cliff import lister
    from cliff import show

    from container_service.client import commands
    from container_service.client import shell

    os.environ['COLUMNS'] = '90'
    application = shell.Shell()
    shared = set()
    for base in (lister.Lister, show.ShowOne):
        bare = type('Bare', (base,), {'take_action': None})
        shared |= {name for action in bare(application, None).get_parser('')._actions
                   for name in action.option_strings}
    lines = []
    for group in commands.COMMANDS.values():
        for name, command in group.items():
            parser = command(application, None).get_parser(f'{shell.NAME} {name}')
            lines += [*_command(name, parser, shared), '']
    return lines


def _command(name, parser, shared):
    yield from (name, '-' * len(name), '', _escaped(parser.description), '')
    yield from ('.. code-block:: console', '', f'   {parser.usage}', '')
    positional = [action for action in parser._actions if not action.option_strings]
    own = [action for action in parser._actions
           if action.option_strings and not shared.issuperset(action.option_strings)]
    for action in positional:
        yield f'``{action.metavar or action.dest}``'
        yield f'   {_escaped(action.help or "")}'
    yield from ('', f'.. program:: {parser.prog}', '')
    for action in own:
        metavar = action.metavar or '|'.join(action.choices or ()) or action.dest.upper()
        value = '' if action.nargs == 0 else f' {metavar}'
        signatures = ', '.join(option + value for option in action.option_strings)
        yield from (f'.. option:: {signatures}', '', f'   {_escaped(action.help or "")}', '')


def _escaped(text):
    return re.sub(r'([*`|_\\])', r'\\\1', text)


def _table(headings, rows, widths=()):
    """A list-table; its cells are reStructuredText of one line."""
    lines = ['.. list-table::', '   :header-rows: 1',
             f'   :widths: {" ".join(map(str, widths)) or "auto"}', '']
    for row in [headings, *rows]:
        lines += [f'   {"*" if number == 0 else " "} - {cell}'.rstrip()
                  for number, cell in enumerate(row)]
    return [*lines, '']


# What the directive may be asked for.
def engine_versions():
    """The versions of an engine's API that the Docker driver speaks."""
    return _table(['', 'API version'], [
        ['oldest', docker_api.text(docker_api.OLDEST)],
        ['newest', docker_api.text(docker_api.NEWEST)]])


def engine_capabilities():
    """What an engine may not be able to limit."""
    return _table(['It can limit', 'It says so in', 'If it cannot'], [
        [each.what, f'``{each.flag}``', each.without] for each in docker_api.CAPABILITIES])


TABLES = {
    'engine-versions': engine_versions, 'engine-capabilities': engine_capabilities,
    'operations': operation_table, 'rules': rule_table, 'state-diagram': state_diagram,
    'statuses': status_matrix, 'parameters': parameter_table, 'options': option_table,
    'versions': version_table, 'endpoints': endpoint_table, 'request-errors': request_errors,
    'engine-errors': engine_errors, 'action-errors': action_errors,
    'internal-errors': internal_errors, 'waiting-codes': waiting_codes,
    'exit-codes': exit_code_table, 'commands': command_reference,
}
