# SPDX-License-Identifier: Apache-2.0
"""Negotiation with engines of other releases: what they answer was taken from their history."""

import http.server
import json
import re
import socketserver
import tempfile
import threading

import testtools

from container_service import exceptions
from container_service.drivers import base
from container_service.drivers import docker as driver
from container_service.drivers import docker_api


class TestVersions(testtools.TestCase):

    def test_what_is_spoken_with_releases(self):
        for oldest, newest, spoken in (
                ('1.12', '1.41', '1.41'),           # 20.10
                ('1.24', '1.44', '1.44'),           # 25.0
                ('1.44', '1.52', '1.52'),           # 29.0
                (None, '1.41', '1.41'),
                ('1.44', '1.99', docker_api.text(docker_api.NEWEST)),
                ('1.12', '1.100', docker_api.text(docker_api.NEWEST))):
            self.assertEqual(spoken, docker_api.negotiate(
                {'ApiVersion': newest, 'MinAPIVersion': oldest}, 'north'))

    def test_who_speaks_no_version_of_ours(self):
        for oldest, newest in (('1.12', '1.40'), ('1.99', '1.120'), ('2.0', '2.1')):
            error = self.assertRaises(
                exceptions.EngineUnsupported, docker_api.negotiate,
                {'ApiVersion': newest, 'MinAPIVersion': oldest}, 'north')
            for words in ('north', f'{oldest} to {newest}', '1.41'):
                self.assertIn(words, error.detail)

    def test_what_is_no_engine(self):
        for answer in ({}, [], None, 'hello', {'ApiVersion': None}, {'ApiVersion': 'x'},
                       {'ApiVersion': 1}):
            error = self.assertRaises(exceptions.EngineUnsupported, docker_api.negotiate, answer,
                                      'north')
            self.assertIn('is not a container engine', error.detail)


class TestCapabilities(testtools.TestCase):

    LIMITED = {'Memory': 1, 'MemorySwap': 1, 'NanoCpus': 1, 'PidsLimit': 1}
    ALL = {each.flag: True for each in docker_api.CAPABILITIES}

    def fit(self, info, config=None):
        config = dict(config or self.LIMITED)
        docker_api.fit(config, lambda: info)
        return config

    def test_what_an_engine_can_is_asked_for(self):
        self.assertEqual(self.LIMITED, self.fit(self.ALL))
        self.assertEqual(self.LIMITED, self.fit({}))

    def test_what_is_left_out(self):
        self.assertEqual({'Memory': 1, 'NanoCpus': 1},
                         self.fit({**self.ALL, 'SwapLimit': False, 'PidsLimit': False}))

    def test_what_is_refused(self):
        for flag, words in (('MemoryLimit', 'memory'), ('CpuCfsQuota', 'processors')):
            error = self.assertRaises(exceptions.UnsupportedByDriver, self.fit,
                                      {**self.ALL, flag: False})
            self.assertIn(f'cannot limit {words}.', error.detail)
            self.assertEqual({'RestartPolicy': 1}, self.fit({flag: False}, {'RestartPolicy': 1}))

    def test_nothing_is_asked_where_nothing_is_limited(self):
        docker_api.fit({'RestartPolicy': {}}, lambda: self.fail('asked'))


class Release(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An engine that speaks some versions, and answers as Docker does to others."""

    daemon_threads = True
    oldest, newest = '1.12', '1.41'

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self):  # noqa: N802 - named by the library
            release = self.server
            spoken = re.match(r'/v1[.]([0-9]+)/', self.path)
            status, answer = 200, {'ID': 'first'}
            if self.path == '/version':
                answer = {'ApiVersion': release.newest, 'MinAPIVersion': release.oldest}
            elif int(spoken[1]) > int(release.newest[2:]):
                status, answer = 400, {
                    'message': f'client version 1.{spoken[1]} is too new. Maximum supported API '
                               f'version is {release.newest}'}
            elif int(spoken[1]) < int(release.oldest[2:]):
                status, answer = 400, {
                    'message': f'client version 1.{spoken[1]} is too old. Minimum supported API '
                               f'version is {release.oldest}, please upgrade your client to a '
                               f'newer version'}
            else:
                release.spoken.append(spoken[1])
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return 'unix'

        def log_message(self, *_):
            pass

    def __init__(self, path):
        super().__init__(path, self.RequestHandlerClass)
        self.spoken = []


class TestReplacedEngine(testtools.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix='cs-')
        self.addCleanup(directory.cleanup)
        self.release = Release(f'{directory.name}/sock')
        self.addCleanup(self.release.server_close)
        threading.Thread(target=self.release.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.release.shutdown)
        self.driver = driver.DockerDriver(base.Bay('u', 'north', f'unix://{directory.name}/sock'))
        self.addCleanup(lambda: self.driver._shared_client and self.driver._shared_client.close())

    def test_a_version_is_agreed_on_again_when_the_release_changes(self):
        for oldest, newest in (('1.12', '1.41'), ('1.44', '1.52'), ('1.24', '1.44')):
            self.release.oldest, self.release.newest = oldest, newest
            try:
                self.driver.ping()
            except exceptions.DriverError as exc:       # the one that finds out
                self.assertIn('client version', exc.detail)
            self.assertEqual('first', self.driver.ping())
            self.assertEqual(newest[2:], self.release.spoken[-1])

    def test_one_that_speaks_no_version_of_ours(self):
        self.release.newest = '1.40'
        for ask in (self.driver.ping, self.driver.probe):
            error = self.assertRaises(exceptions.EngineUnsupported, ask)
            self.assertIn('1.12 to 1.40', error.detail)
        self.assertEqual([], self.release.spoken)
