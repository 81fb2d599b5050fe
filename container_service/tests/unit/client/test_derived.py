# SPDX-License-Identifier: Apache-2.0
import json
import unittest
from unittest import mock

from container_service import operations
from container_service.client import derived
from container_service.client import shell
from container_service.tests.unit.client import stub

_TEXT, _WHOLE = operations.text, operations.integer
ROWS = {row.name: row for row in (
    operations.Operation(
        'new_deed', operations.ASYNC, 'Do it.', allowed=frozenset(), params=(
            operations.Param('repository', _TEXT, required=True, help='Where to.'),
            operations.Param('pause', operations.boolean, True, help='Pause meanwhile.'),
            operations.Param('quiet', operations.boolean, False, help='Say nothing.'))),
    operations.Operation(
        'look', operations.BLOCKING, 'Look at it.', allowed=frozenset(), http_method='GET',
        params=(operations.Param('lines', _WHOLE, 5, minimum=1, help='So many.'),)),
    operations.Operation(
        'poke', operations.BLOCKING, 'Poke it.', allowed=frozenset(), params=(
            operations.Param('where', _TEXT, required=True, help='Where.'),)))}


class DerivedTest(unittest.TestCase):
    """A row that the client knows nothing of has a command."""

    def setUp(self):
        self.service = self.enterContext(stub.Stub())
        self.enterContext(mock.patch.dict(operations.OPERATIONS, ROWS))
        self.enterContext(mock.patch.dict(
            shell.commands.COMMANDS, {'More': derived.commands(besides=())}))

    def run_cli(self, *argv):
        return stub.run(self.service.endpoint, *argv)

    def test_an_action(self):
        self.service.answer('POST', '/v1/containers/web/new_deed', stub.action(), 202)
        for argv, body in (((), {}), (('--quiet',), {'quiet': True}),
                           (('--no-pause',), {'pause': False})):
            result = self.run_cli('new-deed', 'web', 'here', *argv, '-f', 'json')
            self.assertEqual((0, ''), (result.code, result.err))
            self.assertEqual('queued', json.loads(result.out)['status'])
            self.assertEqual({'repository': 'here', **body}, self.service.requests[-1].body)

    def test_what_must_be_given(self):
        for argv in (('new-deed', 'web'), ('poke', 'web'), ('look', 'web', '--lines', '0')):
            self.assertEqual(2, self.run_cli(*argv).code)
        self.assertEqual([], self.service.requests)

    def test_a_question(self):
        self.service.answer('GET', '/v1/containers/web/look', {'Seen': ['a', 'b'], 'why': None})
        result = self.run_cli('look', 'web', '--lines', '3')
        self.assertRegex(result.out, r'Seen +\| a, b ')
        self.assertEqual({'lines': ['3']}, self.service.requests[-1].query)
        self.assertEqual({'Seen': ['a', 'b'], 'why': None},
                         json.loads(self.run_cli('look', 'web', '-f', 'json').out))

    def test_a_question_that_is_a_deed(self):
        self.service.answer('POST', '/v1/containers/web/poke')
        result = self.run_cli('poke', 'web', 'side')
        self.assertEqual((0, '', ''), (result.code, result.out.strip(), result.err))
        self.assertEqual({'where': 'side'}, self.service.requests[-1].body)

    def test_help(self):
        text = self.run_cli('new-deed', '--help').out
        self.assertIn('usage: container-service new-deed [options] CONTAINER REPOSITORY', text)
        self.assertIn('Do it.', text)
        self.assertIn('--pause, --no-pause', text)
