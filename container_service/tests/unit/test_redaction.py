# SPDX-License-Identifier: Apache-2.0
"""What a log does not have, whatever was logged and however it is formatted."""

import io
import json
import logging
from unittest import mock

import fixtures as pyfixtures
from oslo_config import cfg
from oslo_log import formatters

from container_service import conf as options
from container_service import redaction
from container_service.tests import base

FERNET = 'gAAAAABl' + 'Zm9v_-' * 12 + '=='
KEY = 'Wm9uZUtleU9mRmVybmV0VGhhdElzU2VjcmV0MTIzNDU='[:43] + '='

# What is logged, and the part of it that must not be there.
LEAKS = (
    ('X-Auth-Token: hidden1x', 'hidden1x'),
    ("{'X-Auth-Token': 'hidden1x', 'Accept': 'seen'}", 'hidden1x'),
    ("[('X-Service-Token', 'hidden1x'), ('Accept', 'seen')]", 'hidden1x'),
    ('"HTTP_X_AUTH_TOKEN": "hidden1x"', 'hidden1x'),
    ('Authorization: Digest username=hidden1x, nonce=hidden1x', 'hidden1x'),
    ("'Authorization': b'Basic aGlkZGVuOjF4'", 'aGlkZGVuOjF4'),
    ('sent Basic aGlkZGVuOjF4 to it', 'aGlkZGVuOjF4'),
    ('sent bearer abc.hidden1x.def', 'hidden1x'),
    ('Cookie: a=hidden1x; b=hidden1x', 'hidden1x'),
    ("X-Registry-Auth': 'eyJ1c2VybmFtZSI6ImhpZGRlbiJ9'", 'eyJ1c2Vy'),
    (f'token {FERNET} has expired', FERNET[20:]),
    (f'keys: {KEY}', KEY),
    ('password=hidden1x', 'hidden1x'), ('password = "hid\\"den1x"', 'den1x'),
    ("{'password': \"it's hidden1x\", 'name': 'seen'}", 'hidden1x'),
    ('{"registry": {"password": "hidden1x, \\"too", "name": "seen"}}', 'too'),
    ('{\\"adminPass\\": \\"hidden1x y\\", \\"name\\": \\"seen\\"}', 'hidden1x y'),
    ('client_key=hidden1x&name=seen', 'hidden1x'), ("'client_secret': 'hidden1x'", 'hidden1x'),
    ('--os-password hidden1x', 'hidden1x'), ('access_token:hidden1x', 'hidden1x'),
    ('rabbit://user:hidden1x@one:5672,user:hidden1x@two:5672/v', 'hidden1x'),
    ('mysql+pymysql://user:hid%2Fden1x@host/db?charset=utf8', 'den1x'),
    ('https://:hidden1x@host', 'hidden1x'),
    ('-----BEGIN EC PRIVATE KEY-----\nhidden1x\n-----END EC PRIVATE KEY-----', 'hidden1x'),
    ('-----BEGIN PRIVATE KEY-----\nhidden1x', 'hidden1x'),
    ("{'Env': ['A=hidden1x', 'B=[hidden1x]'], 'Image': 'seen'}", 'hidden1x'),
    ('{"environment": {"A": "hid}den1x", "B": "hidden1x"}, "name": "seen"}', 'den1x'),
    ("secret_environment={'A': 'hidden1x'}", 'hidden1x'),
    ("environment: {'A': 'hidden1x", 'hidden1x'))

# What is in the log as it was logged.
PLAIN = (
    'Action 7dec034b-8e27-4ef7-b34e-be605ea25f41: create container web, attempt 1',
    'GET /v1/containers?limit=10 HTTP/1.1 200', 'No answer from conductor one.0 to execute',
    'https://host/path?at=@home', 'The keys for secrets cannot be used: no such file.',
    'basic authentication', 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab')


class TestRedaction(base.TestCase):

    def test_what_has_the_shape_of_a_secret(self):
        for text, secret in LEAKS:
            self.assertIn(secret, text)
            told = redaction.redacted(text)
            self.assertNotIn(secret, told)
            self.assertEqual('seen' in text, 'seen' in told, told)

    def test_every_rule_is_needed(self):
        for rule in redaction._RULES:
            left = [one for one in redaction._RULES if one is not rule]
            with mock.patch.object(redaction, '_RULES', left):
                leaks = [text for text, secret in LEAKS if secret in redaction.redacted(text)]
            self.assertNotEqual([], leaks, rule[0].pattern)

    def test_what_is_no_secret_stays(self):
        self.assertEqual(list(PLAIN), [redaction.redacted(text) for text in PLAIN])

    def test_what_is_known_to_be_one_while_it_is_at_hand(self):
        redaction.hide(['nowhere'])
        with redaction.hiding():
            redaction.hide(['hidden', 'hidden away', 'a'])
            self.assertEqual('*** and *** and a nowhere',
                             redaction.redacted('hidden away and hidden and a nowhere'))
        self.assertEqual('hidden', redaction.redacted('hidden'))

    def test_long_lines_of_quotes_and_brackets_take_no_time(self):
        for text in ('env={' + '"\\' * 50000, 'password="' + '\\"' * 50000, '{"' * 50000 + 'token',
                     "'environment': [" + "'" * 50001, 'secret' * 20000, 'a://' * 30000 + ' @ key',
                     '-----BEGIN PRIVATE KEY-----' * 2000, 'Basic ' * 20000):
            redaction.redacted(text)


class TestFormatters(base.TestCase):

    def setUp(self):
        super().setUp()
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.logger = logging.getLogger('container_service.tests.redaction')
        self.logger.propagate = False
        self.logger.addHandler(self.handler)
        self.addCleanup(self.logger.removeHandler, self.handler)

    def told(self):
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text

    def install(self, formatter):
        self.handler.setFormatter(formatter)
        redaction.install()
        redaction.install()
        self.assertIs(formatter, getattr(self.handler.formatter, 'inner', None))

    def log_all(self):
        for text, _ in LEAKS:
            self.logger.warning('Said: %s', text)
            try:
                raise ValueError(text)
            except ValueError:
                self.logger.exception('Failed')
        self.logger.warning('Body: %s', {'environment': {'A': 'hidden1x'}})

    def assert_nothing(self, told):
        self.assertEqual([], [secret for _, secret in LEAKS if secret in told])

    def test_lines_and_tracebacks_in_every_format(self):
        conf = options.register(cfg.ConfigOpts())
        conf([])
        for formatter in (formatters.ContextFormatter(config=conf), formatters.JSONFormatter(),
                          logging.Formatter('%(message)s')):
            self.install(formatter)
            self.log_all()
            told = self.told()
            self.assertIn('ValueError', told)
            self.assert_nothing(told)

    def test_json_stays_json(self):
        self.install(formatters.JSONFormatter())
        self.log_all()
        for line in self.told().splitlines():
            self.assertEqual(self.logger.name, json.loads(line)['name'])

    def test_formatters_that_make_objects(self):
        self.install(formatters.FluentFormatter())
        record = self.logger.makeRecord('n', logging.INFO, 'f', 1, 'password=hidden1x', (), None)
        self.assertIn('password=***', str(self.handler.formatter.format(record)))

    def test_every_daemon_has_it(self):
        """What ``conf.load`` sets up."""
        for more in ([], ['--use-json']):
            conf = cfg.ConfigOpts()
            path = f'{self.useFixture(pyfixtures.TempDir()).path}/log'
            before = list(logging.root.handlers)
            levels = logging.root.level
            try:
                options.load(conf, ['--log-file', path, '--config-dir', '/nonexistent'][:2] + more)
                logging.getLogger('container_service.x').warning('password=hidden1x')
            finally:
                for handler in list(logging.root.handlers):
                    logging.root.removeHandler(handler)
                    if handler not in before:
                        handler.close()
                for handler in before:
                    logging.root.addHandler(handler)
                logging.root.setLevel(levels)
            with open(path) as file:
                told = file.read()
            self.assertIn('password=***', told)

    def test_options_that_are_secrets_are_not_logged(self):
        conf = options.register(cfg.ConfigOpts())
        self.useFixture(base.fixtures.conffixture.ConfFixture(conf))
        conf([], default_config_files=[])
        conf.set_override('transport_url', 'rabbit://user:hidden1x@host/')
        conf.set_override('connection', 'mysql+pymysql://user:hidden1x@host/db', group='database')
        self.install(logging.Formatter('%(message)s'))
        raw = self.useFixture(pyfixtures.FakeLogger(level=logging.DEBUG))
        conf.log_opt_values(logging.getLogger(), logging.INFO)
        self.assertIn('transport_url', raw.output)
        self.assertNotIn('hidden1x', raw.output)
