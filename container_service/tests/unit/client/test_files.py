# SPDX-License-Identifier: Apache-2.0
import base64
import io
import os
import tarfile
import tempfile

from container_service.client import tarballs
from container_service.tests.unit.client import stub

PUT, GET = '/v1/containers/web/put_archive', '/v1/containers/web/get_archive'
WAIT = f'/v1/actions/{stub.UUID}/wait'


class Bytes(io.StringIO):
    """A standard stream with bytes behind it."""

    def __init__(self, data=b''):
        super().__init__()
        self.buffer = io.BytesIO(data)


class CopyTest(stub.CommandTest):

    def setUp(self):
        super().setUp()
        self.directory = self.enterContext(tempfile.TemporaryDirectory())

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def write(self, *names, content='x'):
        os.makedirs(os.path.dirname(self.path(*names)), exist_ok=True)
        with open(self.path(*names), 'w') as f:
            f.write(content)
        return self.path(*names)

    def read(self, *names):
        with open(self.path(*names)) as f:
            return f.read()


class IntoAContainerTest(CopyTest):

    CODE = 'path_not_found'

    def accept(self, *outcomes):
        self.service.answer('POST', PUT, stub.action(operation='put_archive'), 202)
        for status in outcomes:
            self.service.answer('GET', WAIT, stub.action(
                status, error=None if status == 'succeeded' else {
                    'code': self.CODE, 'detail': 'No.'}))

    def sent(self):
        """(path, names in the archive) of each request."""
        found = []
        for request in self.service.asked('POST', PUT):
            data = base64.b64decode(request.body['data'])
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                found.append((request.body['path'], archive.getnames()))
        return found

    def test_a_file_into_a_directory(self):
        self.accept('succeeded')
        self.assertEqual('', self.stdout('cp', self.write('f'), 'web:/tmp'))
        self.assertEqual([('/tmp', ['f'])], self.sent())
        self.assertRegex(self.service.requests[0].headers['idempotency-key'], '^[0-9a-f-]{36}$')

    def test_a_file_under_a_new_name(self):
        self.accept('failed', 'succeeded')
        self.stdout('cp', self.write('f'), 'web:/tmp/other')
        self.assertEqual([('/tmp/other', ['f']), ('/tmp', ['other'])], self.sent())

    def test_a_directory_that_must_be_there(self):
        self.accept('failed')
        result = self.run_cli('cp', self.write('f'), 'web:/tmp/other/')
        self.assertEqual((1, ''), (result.code, result.out))
        self.assertIn('No.', result.err)
        self.assertEqual([('/tmp/other/', ['f'])], self.sent())

    def test_that_fails_twice_is_told_once(self):
        self.accept('failed', 'failed')
        result = self.run_cli('cp', self.write('f'), 'web:/no/where')
        self.assertEqual(1, result.code)
        self.assertEqual(1, result.err.count('No.'), result.err)

    def test_that_fails_otherwise_is_not_tried_again(self):
        self.CODE = 'engine_unreachable'
        self.accept('failed')
        self.assertEqual(1, self.run_cli('cp', self.write('f'), 'web:/tmp').code)
        self.assertEqual(1, len(self.sent()))

    def test_a_directory(self):
        self.accept('succeeded')
        self.write('dir', 'deep', 'f')
        self.stdout('cp', self.path('dir') + '/', 'web:/tmp')
        self.stdout('cp', self.path('dir', '.'), 'web:/tmp')
        self.assertEqual([('/tmp', ['dir', 'dir/deep', 'dir/deep/f']),
                          ('/tmp', ['.', './deep', './deep/f'])], self.sent())

    def test_an_archive(self):
        self.accept('succeeded')
        data = tarballs.pack(self.write('f'), 'inside')
        result = self.run_cli('cp', '-', 'web:/tmp', stdin=Bytes(data))
        self.assertEqual((0, '', ''), (result.code, result.out, result.err))
        self.assertEqual([('/tmp', ['inside'])], self.sent())

    def test_refused(self):
        self.service.fail('POST', PUT, 413, detail='Too large.')
        result = self.run_cli('cp', self.write('f'), 'web:/tmp/f')
        self.assertEqual((1, 'Too large.\n'), (result.code, result.err))
        self.assertEqual(1, len(self.service.requests))

    def test_nothing_there(self):
        result = self.run_cli('cp', self.path('none'), 'web:/tmp')
        self.assertEqual((1, f'No such file or directory: {self.path("none")}\n'),
                         (result.code, result.err))
        self.assertEqual([], self.service.requests)


class FromAContainerTest(CopyTest):

    def serve(self, *names, top):
        """Answer with a file or directory from here, called ``top``."""
        data = tarballs.pack(self.path(*names), top)
        self.service.answer('GET', GET, {'data': base64.b64encode(data).decode(),
                                         'stat': {'name': top}})
        return data

    def test_into_a_directory(self):
        self.write('f', content='here')
        self.serve('f', top='hosts')
        os.mkdir(self.path('to'))
        self.assertEqual('', self.stdout('cp', 'web:/etc/hosts', self.path('to')))
        self.assertEqual('here', self.read('to', 'hosts'))
        self.assertEqual({'path': ['/etc/hosts']}, self.service.requests[0].query)

    def test_under_a_new_name_or_in_place_of_another(self):
        self.write('f', content='here')
        self.serve('f', top='hosts')
        self.write('old', content='there')
        for name in ('new', 'old'):
            self.stdout('cp', 'web:/etc/hosts', self.path(name))
            self.assertEqual('here', self.read(name))

    def test_a_directory(self):
        self.write('dir', 'deep', 'f', content='here')
        self.serve('dir', top='etc')
        self.stdout('cp', 'web:/etc', self.path('new') + '/')
        self.assertEqual('here', self.read('new', 'deep', 'f'))
        self.stdout('cp', 'web:/etc', self.directory)
        self.assertEqual('here', self.read('etc', 'deep', 'f'))

    def test_what_is_in_a_directory(self):
        self.write('dir', 'deep', 'f', content='here')
        self.serve('dir', top='.')
        self.stdout('cp', 'web:/etc/.', self.path('new'))
        self.assertEqual('here', self.read('new', 'deep', 'f'))

    def test_to_standard_output(self):
        self.write('f')
        data, out = self.serve('f', top='hosts'), Bytes()
        self.assertEqual(0, self.run_cli('cp', 'web:/etc/hosts', '-', out=out).code)
        self.assertEqual(data, out.buffer.getvalue())
        self.assertEqual(2, self.run_cli('cp', 'web:/etc/hosts', '-', out=stub.Terminal()).code)

    def test_where_nothing_can_be(self):
        self.write('f')
        self.write('dir', 'f')
        self.serve('f', top='hosts')
        for destination in (('none', 'x'), ('none', ''), ('f', 'x')):
            result = self.run_cli('cp', 'web:/etc/hosts', self.path(*destination))
            self.assertEqual((2, ''), (result.code, result.out))
            self.assertIn('there is no such directory', result.err)
        self.service.forget()
        self.serve('dir', top='etc')
        self.assertIn('is a file', self.run_cli('cp', 'web:/etc', self.path('f')).err)
        self.assertEqual('x', self.read('f'))

    def test_an_archive_that_leads_out(self):
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode='w') as archive:
            archive.addfile(tarfile.TarInfo('../evil'))
        self.service.answer('GET', GET, {
            'data': base64.b64encode(data.getvalue()).decode(), 'stat': {}})
        os.mkdir(self.path('to'))
        result = self.run_cli('cp', 'web:/etc/hosts', self.path('to'))
        self.assertEqual((1, ''), (result.code, result.out))
        self.assertIn("'../evil' in the archive leads elsewhere", result.err)
        self.assertEqual(['to'], os.listdir(self.directory))

    def test_wrong_usage(self):
        for argv in (('a', 'b'), ('web:/a', 'web:/b'), ('./web:a', 'b'), ('web:', 'b'),
                     (':/a', 'b'), ('..:/a', 'b'), ('-', 'b')):
            self.refused('cp', *argv)
