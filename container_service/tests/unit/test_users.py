# SPDX-License-Identifier: Apache-2.0
"""The file of users for HTTP basic authentication."""

from concurrent import futures
import io
import os
import stat
import threading
from unittest import mock

import bcrypt
import fixtures as pyfixtures
from oslo_config import cfg

from container_service import conf as options
from container_service import exceptions
from container_service import private_files
from container_service import users
from container_service.cmd import manage
from container_service.tests import base
from container_service.tests import fixtures


def cheap():
    """bcrypt at its least cost, for the time of a test."""
    real = bcrypt.gensalt
    return mock.patch('bcrypt.gensalt', lambda: real(4))


class UsersCase(base.TestCase):

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.useFixture(pyfixtures.TempDir()).path, 'users')
        patched = cheap()
        patched.start()
        self.addCleanup(patched.stop)

    def add(self, name, password='right', project='p1', roles=('member',)):
        users.add(self.path, users.User(name, users.hashed(password), project, tuple(roles)))

    def text(self):
        with open(self.path) as file:
            return file.read()

    def write(self, text, mode=0o600):
        with open(self.path, 'wb') as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        os.chmod(self.path, mode)


class TestUsers(UsersCase):

    def test_name_and_password(self):
        self.add('ann')
        self.add('bob', 'other', project='p2', roles=['reader'])
        known = users.Users(self.path)
        self.assertEqual(('ann', 'p1'), (known.authenticate('ann', b'right').name,
                                         known.authenticate('ann', b'right').project_id))
        self.assertEqual('p2', known.authenticate('bob', b'other').project_id)
        for name, password in (('ann', b'other'), ('ann', b''), ('ann', b'right '),
                               ('bob', b'right'), ('eve', b'right'), ('', b'right'),
                               ('ann:', b'right'), ('ann', b'\xff'), ('an', b'right'),
                               ('ann', b'right\0')):
            self.assertIsNone(known.authenticate(name, password), (name, password))
        self.assertNotIn('right', self.log.output)

    def test_a_password_is_checked_also_when_there_is_no_such_user(self):
        """So that the time of an answer does not tell who there is."""
        self.add('ann')
        known = users.Users(self.path)
        with mock.patch('bcrypt.checkpw', side_effect=bcrypt.checkpw) as checked:
            for name, password in (('ann', b'wrong'), ('eve', b'wrong'), ('ann', b'x' * 100),
                                   ('eve', b'x' * 100), ('eve\nforged', b'right')):
                checked.reset_mock()
                self.assertIsNone(known.authenticate(name, password))
                self.assertEqual(1, checked.call_count, (name, password))
        self.assertNotIn('forged', self.log.output)
        self.assertNotIn('eve', self.log.output)

    def test_one_that_was_right_is_not_computed_again_while_it_is_used(self):
        self.add('ann')
        clock = fixtures.Clock()
        known = users.Users(self.path)
        known._passed._clock = clock
        with mock.patch('bcrypt.checkpw', side_effect=bcrypt.checkpw) as checked:
            for seconds, computed in ((0, 1), (59, 1), (59, 1), (61, 2)):
                clock.advance(seconds)
                self.assertEqual('ann', known.authenticate('ann', b'right').name)
                self.assertEqual(computed, checked.call_count)
            self.assertIsNone(known.authenticate('ann', b'wrong'))
            self.assertIsNone(known.authenticate('eve', b'right'))

    def test_no_more_than_two_are_computed_at_once(self):
        """Each takes a core: others are refused, and those with a known password served."""
        self.add('ann')
        known = users.Users(self.path, most=3)
        known.authenticate('ann', b'right')
        self.patch(users, '_PATIENCE', 0.01)
        began, let_go = threading.Semaphore(0), threading.Event()
        self.addCleanup(let_go.set)

        def check(*_):
            began.release()
            return not let_go.wait(30)

        with mock.patch('bcrypt.checkpw', side_effect=check) as checked, \
                futures.ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(known.authenticate, 'ann', word) for word in (b'a', b'b')]
            for _ in asking:
                self.assertTrue(began.acquire(timeout=30))
            self.assertRaises(users.Busy, known.authenticate, 'ann', b'c')
            self.assertEqual('ann', known.authenticate('ann', b'right').name)
            # One more may wait, and who comes then may not even do that.
            users._PATIENCE = 30
            waiting = pool.submit(known.authenticate, 'ann', b'd')
            fixtures.eventually(lambda: not known._places._value)
            self.assertRaises(users.Busy, known.authenticate, 'ann', b'e')
            self.assertEqual(2, checked.call_count)
            let_go.set()
            self.assertEqual([None] * 3, [each.result(30) for each in (*asking, waiting)])

    def test_what_is_called_before_may_refuse(self):
        self.add('ann')
        known = users.Users(self.path)
        with mock.patch('bcrypt.checkpw', side_effect=bcrypt.checkpw) as checked:
            for _ in range(3):
                self.assertRaises(ZeroDivisionError, known.authenticate, 'ann', b'right',
                                  before=lambda: 1 / 0)
            self.assertFalse(checked.called)
            self.assertIsNotNone(known.authenticate('ann', b'right'))
            # It costs nothing any more.
            self.assertIsNotNone(known.authenticate('ann', b'right', before=lambda: 1 / 0))

    def test_a_change_holds_at_once(self):
        self.add('ann')
        known = users.Users(self.path)
        self.assertIsNotNone(known.authenticate('ann', b'right'))
        self.add('ann', 'new', roles=['admin'])
        self.assertIsNone(known.authenticate('ann', b'right'))
        self.assertEqual(('admin',), known.authenticate('ann', b'new').roles)
        users.remove(self.path, 'ann')
        self.assertIsNone(known.authenticate('ann', b'new'))

    def test_it_is_parsed_once(self):
        """With thousands of users that takes longer than all else of a request."""
        self.add('ann')
        known = users.Users(self.path)
        with mock.patch.object(users.User, 'parse', side_effect=users.User.parse) as parsed:
            for _ in range(3):
                self.assertIsNotNone(known.authenticate('ann', b'right'))
            self.assertEqual(0, parsed.call_count)
            # In its place, of the same length, and all at once: nothing but the time differs.
            crypted, about = users.hashed('wrong'), os.stat(self.path)
            with open(self.path, 'r+') as file:
                file.write(str(users.User('ann', crypted, 'p1', ('member',))))
            os.utime(self.path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
            self.assertIsNone(known.authenticate('ann', b'right'))
            self.assertEqual(1, parsed.call_count)

    def test_one_that_cannot_be_used_any_more_is_not_used_as_it_was(self):
        self.add('ann')
        known = users.Users(self.path)
        os.chmod(self.path, 0o604)
        self.assertRaises(users.Unusable, known.authenticate, 'ann', b'right')
        self.write('nonsense')
        for _ in range(2):
            self.assertRaises(users.Unusable, known.authenticate, 'ann', b'right')
        os.unlink(self.path)
        self.assertRaises(users.Unusable, known.authenticate, 'ann', b'right')

    def test_what_is_longer_than_bcrypt_looks_at_is_wrong(self):
        self.add('ann', 'x' * 72)
        known = users.Users(self.path)
        self.assertIsNone(known.authenticate('ann', b'x' * 73))
        self.assertIsNotNone(known.authenticate('ann', b'x' * 72))

    def test_roles_imply_others(self):
        for given, expected in ((['admin'], ['admin', 'member', 'reader']),
                                (['member'], ['member', 'reader']), (['reader'], ['reader']),
                                (['auditor'], ['auditor'])):
            self.assertEqual(expected, users.User(
                'ann', users.hashed('x'), 'p1', tuple(given)).all_roles)

    def test_files_that_cannot_be_used(self):
        self.add('ann')
        good = self.text()
        crypted = good.split(':')[1]
        for text, words in ((good * 2, 'line 2: ann is there twice'),
                            ('ann:secret:p1:member', 'line 1: the second field'),
                            (f'ann:{crypted}', 'line 1: it must be'),
                            (f'{good}bob:{crypted}:p1:member:x', 'line 2: it must be'),
                            (f'ann:{crypted}:p1:', 'line 1: there must be a role'),
                            (f'ann:{crypted}::member', 'line 1: the id of a project'),
                            (f':{crypted}:p1:member', 'line 1: a name has'),
                            (f'a b:{crypted}:p1:member', 'line 1: a name has'),
                            (b'\xff', 'it is not text')):
            self.write(text)
            error = self.assertRaises(users.Unusable, users.Users, self.path)
            self.assertIn(words, str(error))
            self.assertNotIn('secret', str(error))
            self.assertNotIn(crypted, str(error))
        os.unlink(self.path)
        self.assertIn('no such file', str(self.assertRaises(
            users.Unusable, users.Users, self.path)))

    def test_a_file_that_everybody_may_use(self):
        self.add('ann')
        for mode in (0o604, 0o602, 0o644):
            os.chmod(self.path, mode)
            error = self.assertRaises(users.Unusable, users.Users, self.path)
            self.assertIn('others than its owner', str(error))
        os.chmod(self.path, 0o640)
        users.Users(self.path)

    def test_nobody(self):
        self.write('# nobody yet\n\n')
        self.assertIsNone(users.Users(self.path).authenticate('ann', b'right'))


class TestManage(UsersCase):

    def setUp(self):
        super().setUp()
        self.said = io.StringIO()
        self.useFixture(pyfixtures.MonkeyPatch('sys.stdout', self.said))

    def run_one(self, *arguments, password='', path=True):
        """Run ``users ARGUMENTS``; returns what is said."""
        self.useFixture(pyfixtures.MonkeyPatch('sys.stdin', io.StringIO(password)))
        conf = cfg.ConfigOpts()
        conf.register_cli_opt(cfg.SubCommandOpt('area', handler=manage._add_parsers))
        options.register(conf)
        conf(['users', *arguments], project='test', default_config_files=[],
             default_config_dirs=[])
        if path:
            conf.set_override('http_basic_users_file', self.path, group='api')
        self.said.seek(0)
        self.said.truncate()
        conf.area.function(conf, None)
        return self.said.getvalue()

    def test_add_and_list_and_remove(self):
        self.assertIn('member, reader', self.run_one('add', 'ann', 'p1', password='one\n'))
        self.run_one('add', 'bob', 'p2', '--role', 'admin', password='two')
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.path).st_mode))
        known = users.Users(self.path)
        self.assertIsNotNone(known.authenticate('ann', b'one'))
        self.assertEqual(('admin',), known.authenticate('bob', b'two').roles)
        self.assertEqual('ann: member in p1\nbob: admin in p2\n', self.run_one('list'))
        self.run_one('remove', 'ann')
        self.assertEqual({'bob'}, set(known.read()))
        self.assertNotIn('one', self.text())

    def test_what_is_refused(self):
        for arguments, password, words in (
                (('a:b', 'p'), 'right', 'a name has'), (('ann', 'p 1'), 'right', 'project'),
                (('ann', 'p', '--role', 'a,b'), 'right', 'role'), (('ann', 'p'), 'x' * 73, '72'),
                (('ann', 'p'), '', 'empty')):
            error = self.assertRaises(
                exceptions.Error, self.run_one, 'add', *arguments, password=password)
            self.assertIn(words, error.detail)
        self.assertFalse(os.path.exists(self.path))
        self.write('')
        self.assertIn('no user eve', self.assertRaises(
            exceptions.Error, self.run_one, 'remove', 'eve').detail)
        os.chmod(self.path, 0o644)
        self.assertIn('others', self.assertRaises(
            exceptions.Error, self.run_one, 'remove', 'eve').detail)
        self.assertIn('http_basic_users_file', self.assertRaises(
            exceptions.Error, self.run_one, 'list', path=False).detail)

    def test_a_file_is_never_half_written(self):
        self.add('ann')
        before = self.text()
        with mock.patch('os.fsync', side_effect=OSError(28, 'No space left on device')):
            self.assertRaises(OSError, self.add, 'bob')
        self.assertEqual((before, ['users']), (self.text(), os.listdir(
            os.path.dirname(self.path))))
        self.assertRaises(private_files.NotPrivate, self.read_with, 0o644)

    def read_with(self, mode):
        os.chmod(self.path, mode)
        return private_files.read(self.path)
