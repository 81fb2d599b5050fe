# SPDX-License-Identifier: Apache-2.0
"""The grammar of image references."""

import random
import re

from container_service import references
from container_service.drivers import docker_request
from container_service.tests import base

DIGEST = 'sha256:' + 'a' * 64

# The grammar of engines and registries, written down once more.
_HOST = r'[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?'
_PART = r'[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*'
GRAMMAR = re.compile(
    rf'(?:{_HOST}(?:\.{_HOST})*(?::[0-9]+)?/)?{_PART}(?:/{_PART})*'
    r'(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}|@sha256:[0-9a-f]{64})')
GOOD = ('busybox', 'busybox:1.36', 'mine/web:V_1.x-y', 'r.example.org:5000/a/b-c__d:1',
        'localhost/x', f'quay.io/a/b@{DIGEST}', f'a:1@{DIGEST}', 'a.b/c', 'x' * 200)
HOSTILE = ('\n', '\r\n', '\0', ' ', '\t', '/', '//', '..', '/../', ':', '@', '?', '#', '&', '%2f',
           '%0a', ';', '|', '$(id)', '`', '"', "'", '<', '\\', '://', 'http://', '[::1]', '-', '_',
           '.', 'A', '\u0430', '\uff0f', '\u2028', '\u202e', '\u200b', '\x1b[31m', 'sha256:', 'é',
           'x' * 130, '1' * 6)


class TestParse(base.TestCase):

    def test_spellings_of_one_image(self):
        for text in ('busybox', 'busybox:latest', 'library/busybox', 'docker.io/busybox',
                     'docker.io/library/busybox:latest', 'index.docker.io/library/busybox'):
            self.assertEqual(references.Reference('docker.io', 'library/busybox', 'latest'),
                             references.parse(text), text)
            self.assertEqual('busybox:latest', str(references.parse(text)))

    def test_parts(self):
        for text, domain, path, tag, digest, shown in (
                ('mine/web:1', 'docker.io', 'mine/web', '1', None, 'mine/web:1'),
                ('r:5000/web', 'r:5000', 'web', 'latest', None, 'r:5000/web:latest'),
                ('localhost/a/b', 'localhost', 'a/b', 'latest', None, 'localhost/a/b:latest'),
                ('quay.io/a/b:V_1.x-y', 'quay.io', 'a/b', 'V_1.x-y', None, 'quay.io/a/b:V_1.x-y'),
                (f'a/b@{DIGEST}', 'docker.io', 'a/b', None, DIGEST, f'a/b@{DIGEST}'),
                # The digest wins, as in Docker.
                (f'a/b:1@{DIGEST}', 'docker.io', 'a/b', None, DIGEST, f'a/b@{DIGEST}'),
                ('a/b/c', 'docker.io', 'a/b/c', 'latest', None, 'a/b/c:latest'),
                ('docker.io/library/a/b', 'docker.io', 'library/a/b', 'latest', None,
                 'library/a/b:latest')):
            found = references.parse(text)
            self.assertEqual((domain, path, tag, digest),
                             (found.domain, found.path, found.tag, found.digest), text)
            self.assertEqual(shown, str(found))
            self.assertEqual(str(found), str(references.parse(shown)))

    def test_what_names_no_registry_is_where_it_is_said_to_be(self):
        self.assertEqual('r:5000/web:1', str(references.parse('web:1', 'r:5000')))
        self.assertEqual('quay.io/web:latest', str(references.parse('quay.io/web', 'r:5000')))

    def test_refused(self):
        for text in ('', ' ', '/', 'a//b', 'A', 'a/B', 'a:', 'a:-x', 'a@', 'a@sha256:abc', 'a b',
                     '-a', 'a-', 'a..b', 'r:x/a', '.a/b', 'a_.b', 'http://r/a', 'a\n',
                     'r:5000/', 'a:1:2', 'a@' + DIGEST + 'a', 'é', 'a:' + 'x' * 129, '[::1]:5/a',
                     'a' * 256):
            error = self.assertRaises(ValueError, references.parse, text)
            self.assertIn('must' if len(text) > 255 else 'is not an image reference', str(error))

    def test_ids_of_images_are_nobodys_to_ask_for(self):
        """The engine would find what another project has pulled."""
        for text in ('a' * 64, DIGEST, 'sha256:abc123', 'sha256', 'sha512:abc', 'b' * 64 + ':1',
                     'library/sha256:abc', 'docker.io/sha256:abc', 'docker.io/library/sha256:a'):
            self.assertRaises(ValueError, references.parse, text)
        for text in ('r.x/sha256:abc', 'mine/sha256:abc', 'r.x/' + 'a' * 64, 'abc123'):
            references.parse(text)

    def test_what_is_made_on_bays_is_not_reached_by_its_name_there(self):
        for text in ('cs.local/a/b', 'CS.local/a', 'cs.local:80/a'):
            self.assertIn('cs.local', str(self.assertRaises(ValueError, references.parse, text)))

    def test_anything(self):
        """What passes is what it is when it is read again; everything else is refused."""
        letters = random.Random(1)
        passed = 0
        for _ in range(50_000):
            text = ''.join(letters.choices('ab0AB./:@-_ \n', k=letters.randint(0, 12)))
            try:
                found = references.parse(text)
            except ValueError:
                continue
            passed += 1
            self.assertEqual(found, references.parse(str(found)), text)
            self.assertNotRegex(str(found), r'[^A-Za-z0-9._:/@-]')
        self.assertGreater(passed, 500)


class TestWhatReachesTheEngine(base.TestCase):
    """S-08."""

    def fuzzed(self, count):
        chance = random.Random(8)
        for _ in range(count):
            text = chance.choice(GOOD)
            for _ in range(chance.randrange(4)):
                at = chance.randint(0, len(text))
                cut = at + chance.choice((0, 0, 1, 3))
                text = text[:at] + chance.choice(HOSTILE) + text[cut:]
            yield text

    def test_the_grammar_in_full(self):
        passed = 0
        for text in self.fuzzed(100_000):
            try:
                references.parse(text)
            except ValueError:
                continue
            passed += 1
            # What is asked for is what was written, in the driver's words.
            asked = references.join(*references.split(text))
            self.assertIsNotNone(GRAMMAR.fullmatch(asked), ascii(text))
            self.assertLessEqual(len(asked), 262)      # the tag "latest" is added
        self.assertGreater(passed, 10_000)

    def test_it_is_what_a_create_request_has(self):
        for text in self.fuzzed(2_000):
            try:
                references.parse(text)
            except ValueError:
                continue
            made = docker_request.create_request(docker_request.base.Container(
                uuid='u', name='n', image=text, generation=1, fence=1, deployment='d', spec={}))
            self.assertIsNotNone(GRAMMAR.fullmatch(made['Image']), ascii(text))


class TestDomain(base.TestCase):

    def test_of_a_registry(self):
        for text, domain in (('quay.io', 'quay.io'), ('R.Example.Org:5000', 'r.example.org:5000'),
                             ('localhost', 'localhost'), ('index.docker.io', 'docker.io'),
                             ('r:5000', 'r:5000')):
            self.assertEqual(domain, references.parse_domain(text))

    def test_refused(self):
        for text in ('', 'registry', 'https://quay.io', 'quay.io/', 'quay.io/a', 'a b.c', 'u@r.x',
                     'r.x:port', 'cs.local', 'r.x\n'):
            self.assertRaises(ValueError, references.parse_domain, text)


class TestLocal(base.TestCase):

    def test_each_project_has_its_own(self):
        one, two = (str(references.local(project, 'web', '1')) for project in ('a', 'b'))
        self.assertRegex(one, r'^cs\.local/[0-9a-f]{16}/web:1$')
        self.assertNotEqual(one, two)
        self.assertEqual(one, str(references.local('a', 'web:1')))
        self.assertEqual(one, str(references.local('a', 'docker.io/library/web', '1')))
        self.assertTrue(str(references.local('a', 'web')).endswith('/web:latest'))

    def test_refused(self):
        for repo, tag in (('r:5000/web', None), (f'web@{DIGEST}', None), ('Web', None),
                          ('web', 'a b'), ('web:1', '2'), ('', None), ('a' * 201, None)):
            self.assertRaises(ValueError, references.local, 'p', repo, tag)


class TestSplit(base.TestCase):

    def test_split(self):
        digest = 'sha256:' + 'a' * 64
        for image, name, tag in (
                ('busybox', 'busybox', 'latest'),
                ('busybox:1.36', 'busybox', '1.36'),
                ('127.0.0.1:5000/busybox', '127.0.0.1:5000/busybox', 'latest'),
                ('127.0.0.1:5000/a/b:2', '127.0.0.1:5000/a/b', '2'),
                (f'host/a@{digest}', 'host/a', digest),
                (f'host:1/a:2@{digest}', 'host:1/a', digest)):
            self.assertEqual((name, tag), references.split(image))

    def test_join(self):
        self.assertEqual('a:1', references.join('a', '1'))
        self.assertEqual('a@sha256:b', references.join('a', 'sha256:b'))
