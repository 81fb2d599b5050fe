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
from container_service.api import explain
from container_service.api import versions
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


def endpoint_table():
    """Every address that policy knows, with the rule that guards it."""
    seen = {}
    for rule in policy.list_rules():
        if rule.name == 'container:all_projects':       # an argument, not an address
            continue
        for http in rule.operations:
            seen.setdefault((http['path'], http['method']), rule)
    return _table(['Request', 'What it does', 'Policy rule'], [
        [f'``{method} {path}``', rule.description, f'``{rule.name}``']
        for (path, method), rule in sorted(seen.items())])


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
