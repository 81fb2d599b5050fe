# SPDX-License-Identifier: Apache-2.0
"""What the documentation says by hand is complete, and its examples are valid.

Operations, errors and commands are printed from the code by ``doc/ext/tables.py``; that each of
its tables is on a page is checked here.  That pages build is the business of ``tox -e docs``.
"""

import ast
import configparser
import contextlib
import datetime
import importlib.metadata
import importlib.util
import io
import pathlib
import re
import shlex
import sys
import tempfile
import types as pytypes
from unittest import mock
from xml.etree import ElementTree

from oslo_config import cfg
from oslo_policy import policy as oslo_policy
from wsme import types as wtypes
import yaml

import container_service
from container_service import conf as options
from container_service import exceptions
from container_service import operations
from container_service import policy
from container_service import states
from container_service.api import creation
from container_service.api import explain
from container_service.api import types
from container_service.api import versions
from container_service.api import views
from container_service.client import commands
from container_service.client import http
from container_service.client import outcomes
from container_service.client import shell
from container_service.cmd import manage
from container_service.db import actions
from container_service.db import bays
from container_service.db import conductors
from container_service.db import containers
from container_service.db import events
from container_service.db import images
from container_service.db import registries
from container_service.db import strays
from container_service.tests import base

ROOT = pathlib.Path(container_service.__file__).resolve().parents[1]
DOC = ROOT / 'doc'
SOURCE = DOC / 'source'


def page(name):
    return (SOURCE / name).read_text()


def pages():
    return {path: path.read_text() for path in sorted(SOURCE.rglob('*.rst'))}


def load(name):
    """A module of doc/ext, which is no package."""
    spec = importlib.util.spec_from_file_location(name, DOC / 'ext' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    with mock.patch.object(sys, 'path', [str(DOC / 'ext'), *sys.path]):
        spec.loader.exec_module(module)
    return module


def load_tables():
    return load('tables')


def literals(text):
    """What stands between double backquotes."""
    return set(re.findall(r'``([^`]+)``', text))


def console_scripts():
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    return [line.split('=')[0].strip()
            for line in setup['entry_points']['console_scripts'].split('\n') if line.strip()]


class TestTables(base.TestCase):
    """Tables that are printed from the code."""

    def setUp(self):
        super().setUp()
        self.tables = load_tables()

    def text(self, name):
        return '\n'.join(self.tables.TABLES[name]())

    def test_each_is_on_a_page(self):
        asked = {name for text in pages().values()
                 for name in re.findall(r'^\.\. from-code:: (\S+)', text, re.MULTILINE)}
        self.assertEqual(set(self.tables.TABLES), asked)

    def test_every_operation(self):
        for op in operations.OPERATIONS.values():
            self.assertIn(f'``{op.name}``', self.text('operations'))
            self.assertIn(op.summary, self.text('operations'))
            for param in op.params:
                self.assertIn(f'   * - ``{op.name}``\n     - ``{param.wire_name}``\n',
                              self.text('parameters'))

    def test_every_rule_of_an_asynchronous_operation(self):
        listed = re.findall(r'\* - ``(\w+)``', self.text('rules'))
        self.assertEqual([op.name for op in operations.of_kind(operations.ASYNC)], listed)

    def test_every_option(self):
        for param in operations.OPTIONS:
            self.assertIn(f'* - ``{param.wire_name}``\n', self.text('options'))
            self.assertIn(param.help, self.text('options'))

    def test_every_waiting_code(self):
        for code, meaning in explain.CODES.items():
            self.assertIn(f'* - ``{code}``\n     - {meaning}', self.text('waiting-codes'))

    def test_every_status_in_which_something_is_accepted(self):
        text = self.text('statuses')
        for status in states.CONTAINER_STATUSES - {states.DELETED}:
            self.assertIn(f'* - {status}\n', text)

    def test_every_type_of_event_and_reason_of_a_stray(self):
        told = literals(page('admin/reconciling.rst'))
        self.assertEqual(set(), (set(events.TYPES) | set(strays.REASONS)) - told)

    def test_every_error(self):
        catalogue = ''.join(self.text(name) for name in self.tables.TABLES
                            if name.endswith('-errors'))
        listed = re.findall(r'\* - ``(\w+)``', catalogue)
        kinds = self.tables.error_classes()
        self.assertEqual(sorted(kind.code for kind in kinds), sorted(listed))
        self.assertEqual({kind for kind in vars(exceptions).values()
                          if isinstance(kind, type) and issubclass(kind, Exception)}, set(kinds))

    def test_every_version(self):
        for version, change in versions.CHANGES:
            self.assertIn(versions.text(version), self.text('versions'))
            self.assertIn(change, self.text('versions'))

    def test_every_address(self):
        text = self.text('endpoints')
        for route in self.tables.routes():
            if not (route.endpoint.operation and route.method == 'PUT'):
                self.assertRegex(text, rf'``{route.method}( or PUT)? {re.escape(route.path)}``')

    def test_the_table_of_addresses_tells_what_is_declared(self):
        rows = {row[0]: row[1:] for row in self.rows('endpoints')}
        self.assertEqual(
            ['1.1', '', '``container:delete``', '204, 202 from 1.41', 'zunclient, magnumclient',
             'Remove a container.'], rows['``DELETE /v1/containers/{container}``'])
        self.assertEqual(
            ['1.1', '1.13, from 1.41', '``container:rename``', '200, 202 from 1.41',
             'zunclient'], rows['``POST or PUT /v1/containers/{container}/rename``'][:5])
        self.assertEqual(['1.4', '', '``host:list``', '200', 'zunclient', 'List hosts.'],
                         rows['``GET /v1/hosts``'])

    def rows(self, name):
        """The cells of a table, row by row."""
        lines = '\n'.join(self.tables.TABLES[name]()).split('   * - ')[1:]
        return [[cell.strip() for cell in re.split(r'\n     -', row)] for row in lines]

    def test_addresses_that_clients_use_are_there(self):
        known = {route.name for route in self.tables.routes()}
        for client, used in self.tables.CLIENTS.items():
            self.assertEqual(set(), set(used) - known, client)

    def test_versions_follow_each_other(self):
        self.assertEqual([(1, minor) for minor in range(1, 43)],
                         [version for version, _ in versions.CHANGES])

    def test_every_exit_code(self):
        for _, meaning in outcomes.EXIT_CODES:
            self.assertIn(meaning, self.text('exit-codes'))

    def test_every_command_and_its_own_options(self):
        text = self.text('commands')
        for group in commands.COMMANDS.values():
            for name in group:
                self.assertIn(f'\n{name}\n{"-" * len(name)}\n', f'\n{text}')
        for option in ('--poll', '--poll-timeout SECONDS', '--signal SIGNAL', '--force',
                       '-e KEY[=VALUE], --env KEY[=VALUE]', '-f, --follow'):
            self.assertIn(f'.. option:: {option}\n', text)
        # Those of every command are told once, at the top of the page.
        self.assertNotIn('--format', text)

    def test_cells_are_of_one_line(self):
        for name in set(self.tables.TABLES) - {'commands'}:
            for line in self.tables.TABLES[name]():
                self.assertNotIn('\n', line)


class TestStateDiagram(base.TestCase):
    """The picture of the operation table."""

    def setUp(self):
        super().setUp()
        self.diagram = load('diagram')

    def test_every_transition(self):
        """Each status in which an operation is accepted, whatever its parameters, is drawn."""
        drawn = {}
        for line in self.diagram.lines():
            name = line.name.split(',')[0]
            drawn.setdefault(name, set()).update(line.sources)
            op = operations.OPERATIONS[name]
            self.assertEqual(op.during, line.during)
            defaults = {param.name: param.default for param in op.params}
            self.assertEqual(op.target_for(defaults, None), line.target)
        for op in operations.of_kind(operations.ASYNC):
            accepted = op.allowed.union(*op.allowed_with.values())
            self.assertEqual(accepted or {self.diagram.NOTHING}, drawn.pop(op.name))
        self.assertEqual({}, drawn)

    def test_it_is_well_formed_and_has_a_word_for_everything(self):
        svg = ElementTree.fromstring('\n'.join(self.diagram.svg()))
        words = [node.text for node in svg.iter('{http://www.w3.org/2000/svg}text')]
        for line in self.diagram.lines():
            for word in (line.name, line.target, *line.sources):
                self.assertIn(word, [*words, None])

    def test_an_operation_that_leaves_the_status_as_it_is_can_be_drawn(self):
        line = self.diagram.Line('rename', (states.CREATED, states.RUNNING), None, None)
        drawn = '\n'.join(self.diagram._line(line, 5, {states.CREATED: 10, states.RUNNING: 20}))
        self.assertEqual(2, drawn.count('r="7"'))


class TestPages(base.TestCase):
    """What is written by hand."""

    def test_codes_that_are_not_exceptions(self):
        """An error that is put together by hand must be in the catalogue too."""
        known = ({kind.code for kind in load_tables().error_classes()}
                 | literals(page('reference/errors.rst')))
        found = set()
        for path in (ROOT / 'container_service').rglob('*.py'):
            if 'tests' not in path.parts:
                found |= codes_in(ast.parse(path.read_text()))
        self.assertLessEqual({'skipped', 'interrupted', 'cancelled'}, found)
        self.assertEqual(set(), found - known)

    def test_every_console_script(self):
        texts = ''.join(page(f'cli/{name}.rst') for name in ('container-service', 'daemons'))
        for script in console_scripts():
            self.assertRegex(texts, rf'(?m)^{script}\n===')

    def test_every_command_of_manage(self):
        for words in manage._COMMANDS:
            self.assertIn(f'``container-service-manage {" ".join(words)}``',
                          page('cli/daemons.rst'))

    def test_every_option_group_of_ours(self):
        """The reference has them all; those that people meet are explained elsewhere too."""
        self.assertRegex(page('configuration/options.rst'),
                         r'\.\. show-options::\n\n   container_service\n')
        others = ''.join(text for path, text in pages().items()
                         if path.parent.name != 'configuration')
        for group, _ in options.list_opts():
            self.assertIn(f'[{group}]', others)

    def test_options_that_are_named_exist(self):
        conf = known_options()
        for path, text in pages().items():
            for group, name in re.findall(r'``\[(\w+)\]\s+(\w+)', text):
                self.assertTrue(knows(conf, group, name), f'{path}: [{group}] {name}')

    def test_changed_defaults_of_libraries(self):
        conf = known_options()
        self.assertEqual((16, 48, 2), (conf.database.max_pool_size, conf.database.max_overflow,
                                        conf.database.pool_timeout))
        for words in ('16, 48', '- 2\n', '``container-service``'):
            self.assertIn(words, page('configuration/options.rst'))

    def test_every_status(self):
        told = literals(page('user/concepts.rst'))
        self.assertEqual(set(), (states.CONTAINER_STATUSES | states.ACTION_STATUSES) - told)

    def test_every_status_of_an_image(self):
        self.assertEqual(set(), set(images.STATUSES) - literals(page('user/images.rst')))

    def test_every_field_of_a_request(self):
        told = literals(page('reference/rest.rst'))
        for kind in (creation.ContainerCreate, types.BayCreate, types.Reconcile,
                     types.RegistryCreate, types.RegistryUpdate, types.ImagePull,
                     types.ImageTag, types.ImagePrune):
            self.assertEqual(
                set(), {field.name for field in wtypes.list_attributes(kind)} - told)

    def test_every_create_option_with_the_version_it_began_with(self):
        text = page('user/create-options.rst')
        told = dict(re.findall(r'   \* - ``(\w+)``\n     - (?:.*\n       )*.*\n     - (1\.\d+)\n',
                               text))
        self.assertEqual(
            {field.name: versions.text(creation.SINCE.get(field.name, (1, 1)))
             for field in wtypes.list_attributes(creation.ContainerCreate)}, told)

    def test_every_key_of_an_answer(self):
        told = literals(page('reference/rest.rst'))
        action = row(actions.table, operation='stop', status=states.QUEUED, attempts=0)
        now = datetime.datetime(2026, 11, 20)
        service = row(conductors.table, lease_until=now, heartbeat_at=now, db_now=now,
                      running=0)
        liveness = explain.liveness(row(
            actions.table, status=states.QUEUED, health_status=None, db_now=now))
        for view in (views.container(row(containers.table, spec={}), '', True),
                     views.action(action, '', True), views.container_action(action),
                     views.bay(row(bays.table), '', base.caller(is_admin=True), []),
                     views.service(service), liveness,
                     views.event(row(events.table)), views.stray(row(strays.table)),
                     views.host(row(bays.table), '', ()),
                     views.registry(row(registries.table), ''),
                     views.image(row(images.table, bay_name='b', progress=None), '')):
            self.assertEqual(set(), set(view) - told)

    def test_every_key_of_what_explains_an_action(self):
        told = literals(page('user/why.rst')) | literals(page('user/history.rst'))
        for key in ('position', 'code', 'detail', 'retry_at', 'owner', 'heartbeat_age_seconds',
                    'progress_age_seconds', 'engine', 'alive', 'lost', 'none', 'log',
                    'exit_code', 'oom_killed', 'image_digest', 'engine_error'):
            self.assertIn(key, told)

    def test_every_list_with_what_it_can_be_sorted_by(self):
        lists = page('reference/rest.rst').split('\nLists\n=====\n')[1]
        rows = {cells[0].strip(' `'): literals(cells[-1])
                for cells in (row.split('\n     -') for row in lists.split('   * - ')[2:])}
        for name, keys in (('containers', containers.SORT_KEYS), ('images', images.SORT_KEYS),
                           ('registries', registries.SORT_KEYS),
                           ('hosts', ('id', 'uuid', 'hostname', 'created_at'))):
            self.assertLessEqual(set(keys), rows[f'/v1/{name}'], name)

    def test_every_limit_is_told_with_its_option_and_default(self):
        text = page('user/limits.rst')
        conf = known_options()
        for name in ('container_queue_limit', 'project_action_limit', 'action_limit',
                     'wait_slots', 'call_slots'):
            self.assertIn(f'``[api] {name}`` ({conf.api[name]})', text)
        for kind in (exceptions.QueueFull, exceptions.TooManyActions, exceptions.SystemFull,
                     exceptions.PoolFull, exceptions.TooManyWaiters, exceptions.CallsBusy):
            self.assertIn(f'{kind.status} ``{kind.code}``', text)

    def test_every_executor_and_saturation_policy(self):
        told = literals(page('admin/pool.rst'))
        for opt in options.CONDUCTOR_OPTS:
            if opt.name in ('executor', 'saturation_policy'):
                self.assertEqual(set(), {str(word) for word in opt.type.choices} - told)

    def test_defaults_that_are_named_are_so(self):
        conf = known_options()
        for path, text in pages().items():
            for group, name, value in re.findall(
                    r'``(?:\[(\w+)\]\s+)?(\w+)``\s+(?:seconds\s+)?\(([\d.]+)\)', text):
                for known in (group,) if group else ('api', 'conductor', 'DEFAULT'):
                    if knows(conf, known, name):
                        default = conf[name] if known == 'DEFAULT' else conf[known][name]
                        self.assertEqual(float(value), float(default), f'{path}: {name}')
                        break
                else:
                    self.fail(f'{path}: {name} ({value}) is no option')

    def test_every_policy_rule_that_is_named_exists(self):
        known = {rule.name for rule in policy.list_rules()}
        for path, text in pages().items():
            for name in re.findall(
                    r'``((?:container|action|bay|service|limits|event|registry|image):\w+)``',
                    text):
                self.assertIn(name, known, path)

    def test_the_life_of_an_operation_names_files_and_functions_that_exist(self):
        text = page('contributor/architecture.rst')
        package = ROOT / 'container_service'
        for name in re.findall(r'``((?:\w+/)*\w+\.py)``', text):
            found = list(package.rglob(name)) if '/' not in name else [package / name]
            self.assertTrue(found and found[0].exists(), name)
        lifecycle = (package / 'lifecycle.py').read_text()
        for name in ('create', 'submit', 'claim', 'succeed', 'fail', '_skip', 'requeue',
                     'take_over', 'cancel', 'end_cancelled', 'expire', 'wait_for_pull'):
            self.assertIn(f'``{name}``', text)
            self.assertIn(f'def {name}(', lifecycle)

    def test_files_that_readmes_link_to_exist(self):
        for name in ('README.rst', 'CONTRIBUTING.rst'):
            text = (ROOT / name).read_text()
            for target in re.findall(r'<([^>:]+)>`__', text):
                self.assertTrue((ROOT / target).exists(), target)
            for target in re.findall(r'``((?:doc|tools|container_service)/[\w./]+)``', text):
                if target != 'doc/build/html':
                    self.assertTrue((ROOT / target).exists(), target)

    def test_decisions_are_numbered_without_a_gap_and_have_four_parts(self):
        names = sorted((SOURCE / 'contributor/decisions').glob('0*.rst'))
        self.assertEqual(list(range(1, len(names) + 1)), [int(path.name[:4]) for path in names])
        for path in names:
            for heading in ('Context', 'Decision', 'Rejected', 'Consequences'):
                self.assertRegex(path.read_text(), rf'(?m)^{heading}\n===')


class TestCommands(base.TestCase):
    """Command lines that are shown can be typed so."""

    def run_line(self, words):
        """What a command says on standard error, and its exit code; whatever it asks is 404."""
        out, err = io.StringIO(), io.StringIO()
        with (mock.patch.object(http.Client, 'exchange',
                                side_effect=http.ApiError(status=404, detail='Nothing here.')),
              mock.patch('getpass.getpass', return_value='secret'),
              contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)):
            code = shell.Shell(stdin=_Typed('secret\n'), stdout=out, stderr=err).run(words)
        return code, err.getvalue()

    def test_each_is_right(self):
        scratch = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(contextlib.chdir(scratch))
        for name in ('page.html', 'ca.pem', 'cert.pem', 'key.pem'):
            pathlib.Path(name).touch()
        lines = {(path, line) for path in [*pages(), ROOT / 'README.rst']
                 for line in command_lines(path.read_text())}
        self.assertGreater(len(lines), 40)
        for path, line in sorted(lines):
            with self.subTest(path=path.name, line=line):
                code, said = self.run_line(shlex.split(line, comments=True))
                self.assertIn(code, (0, 1), said)
                self.assertNotIn('Unforeseen', said)

    def test_each_that_is_named_exists(self):
        """Not its arguments: those are left out in sentences."""
        known = {name for group in commands.COMMANDS.values() for name in group}
        known |= {'help', 'complete'}
        for path, text in pages().items():
            for line in re.findall(r'``container-service ([a-z][^`]*)``', text):
                words = line.split()
                self.assertTrue({words[0], ' '.join(words[:2]), ' '.join(words[:3])} & known,
                                f'{path}: {line}')


class TestExamples(base.TestCase):
    """Files that pages show."""

    def test_configuration_files_have_known_options_and_valid_values(self):
        files = sorted(SOURCE.rglob('*.conf'))
        self.assertNotEqual([], files)
        for path in files:
            conf = known_options(['--config-file', str(path)])
            parsed = configparser.ConfigParser(interpolation=None)
            parsed.read(path)
            for group in ['DEFAULT', *parsed.sections()]:
                for name in parsed.defaults() if group == 'DEFAULT' else parsed._sections[group]:
                    self.assertTrue(knows(conf, group, name), f'{path}: [{group}] {name}')
                    # Reading one converts it; a bad value raises.
                    conf[name] if group == 'DEFAULT' else conf[group][name]

    def test_policy_files_have_known_rules(self):
        files = sorted(SOURCE.rglob('*.yaml'))
        self.assertNotEqual([], files)
        known = {rule.name for rule in policy.list_rules()}
        for path in files:
            for name, check in yaml.safe_load(path.read_text()).items():
                self.assertIn(name, known)
                oslo_policy.RuleDefault(name, check)

    def test_each_is_shown(self):
        shown = {(path.parent / name).resolve() for path, text in pages().items()
                 for name in re.findall(r'literalinclude:: (\S+)', text)}
        files = {path for ext in ('conf', 'yaml', 'service') for path in SOURCE.rglob(f'*.{ext}')}
        self.assertEqual(files, shown)


def codes_in(tree):
    """Values of 'code' in dictionaries that look like the error of an action."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            entries = {key.value: value for key, value in zip(node.keys, node.values)
                       if isinstance(key, ast.Constant)}
            code = entries.get('code')
            if 'title' in entries and isinstance(code, ast.Constant):
                found.add(code.value)
    return found


class _Typed(io.StringIO):
    """Standard input from somebody who sits there."""

    def isatty(self):
        return True


def command_lines(text):
    """What is typed after the name of the client, up to a pipe, in the consoles of a page."""
    text = text.replace('\\\n', ' ')
    for line in re.findall(r'\$ container-service ([^\n]*)', text):
        if not line.startswith('[options]'):
            yield re.split(r' [|>&] ', line)[0].strip()


def known_options(argv=()):
    """A configuration with the options of this project and of the libraries it shows."""
    conf = cfg.ConfigOpts()
    options.register(conf)
    for namespace in ('oslo.messaging', 'oslo.middleware.healthcheck',
                      'oslo.middleware.http_proxy_to_wsgi', 'oslo.policy',
                      'keystonemiddleware.auth_token'):
        for group, opts in entry_point(namespace)():
            for opt in opts:
                try:
                    conf.register_opt(opt, group=group)
                except cfg.DuplicateOptError:
                    pass                     # oslo.messaging lists some of its groups twice
    conf(list(argv), default_config_files=[], default_config_dirs=[])
    return conf


def entry_point(name):
    found = importlib.metadata.entry_points(group='oslo.config.opts', name=name)
    return next(iter(found)).load()


def knows(conf, group, name):
    if group == 'DEFAULT':
        return name in conf
    return group in conf and name in conf[group]


def row(table, **values):
    """A row as the views take it, with nothing in it."""
    return pytypes.SimpleNamespace(**{**dict.fromkeys(table.c.keys()), **values})
