# SPDX-License-Identifier: Apache-2.0
import os
import socket
import threading
import unittest
from unittest import mock

from container_service.client import http
from container_service.tests.unit.client import stub


class EndpointTest(unittest.TestCase):

    def test_ways_to_write_one(self):
        for text in ('http://h:9517', 'http://h:9517/', 'http://h:9517/v1', 'http://h:9517/v1/'):
            self.assertEqual('http://h:9517', http.normalise_endpoint(text))
        self.assertEqual('https://h/cs', http.normalise_endpoint('https://h/cs/v1'))

    def test_what_is_none(self):
        for text in ('', 'h:9517', 'localhost', 'ftp://h', 'http://', '/v1'):
            with self.assertRaises(ValueError):
                http.normalise_endpoint(text)


class SegmentTest(unittest.TestCase):

    def test_what_would_lead_elsewhere_is_refused(self):
        for text in ('', '.', '..'):
            with self.assertRaises(ValueError):
                http.segment(text)

    def test_a_slash_stays_in_its_segment(self):
        self.assertEqual('a%2Fb%3Fc', http.segment('a/b?c'))


class RequestTest(unittest.TestCase):

    def setUp(self):
        self.service = self.enterContext(stub.Stub())
        self.client = http.Client(self.service.endpoint + '/v1/')

    def error(self, method='GET', path='containers'):
        with self.assertRaises(http.ClientError) as raised:
            self.client.request(method, path)
        return raised.exception

    def test_headers(self):
        self.service.answer('GET', '/v1/containers', {})
        self.client.get('containers')
        headers = self.service.requests[0].headers
        self.assertEqual('container 1.42', headers['openstack-api-version'])
        self.assertEqual('container-service', headers['user-agent'])

    def test_booleans_in_a_query_are_spelled_as_in_json(self):
        self.service.answer('GET', '/v1/containers', {})
        self.client.get('containers', {'a': True, 'b': False, 'c': 1})
        self.assertEqual({'a': ['true'], 'b': ['false'], 'c': ['1']},
                         self.service.requests[0].query)

    def test_an_empty_answer_is_none(self):
        self.service.answer('DELETE', '/v1/bays/b', status=204)
        self.assertIsNone(self.client.delete('bays/b'))

    def test_error_fields(self):
        self.service.fail('GET', '/v1/containers', 409, {'Retry-After': '4'}, code='name_taken',
                          title='Name is taken', detail='There is a container named web.',
                          request_id='req-7', links=[{'rel': 'help'}], hint='Choose another.')
        error = self.error()
        self.assertEqual((409, 'name_taken', 'Name is taken', 'req-7', 'Choose another.', 4),
                         (error.status, error.code, error.title, error.request_id, error.hint,
                          error.retry_after))
        self.assertEqual('There is a container named web.', str(error))
        self.assertEqual([{'rel': 'help'}], error.links)
        self.assertFalse(error.transient)

    def test_an_error_page_that_is_not_ours(self):
        for body in (b'<html>Bad Gateway</html>', b'', {'errors': []}, {'errors': ['x']},
                     {'error': 'x'}, []):
            self.service.answer('GET', '/v1/containers', body, status=502,
                                headers={'X-Openstack-Request-Id': 'req-9'})
            error = self.error()
            self.assertEqual(502, error.status)
            self.assertIn('answered 502', str(error))
            self.assertEqual('req-9', error.request_id)
            self.assertTrue(error.transient)

    def test_credentials_and_bodies_go_to_no_other_address(self):
        other = self.enterContext(stub.Stub())
        for status in (301, 302, 307, 308):
            for method in ('GET', 'POST'):
                self.service.answer(method, '/v1/containers', status=status, headers={
                    'Location': f'{other.endpoint}/x'})
                error = self.error(method)
                self.assertIsInstance(error, http.NotOurService)
                self.assertIn(f'{other.endpoint}/x', str(error))
                self.assertIn('--endpoint', error.hint)
                self.service.forget()
        self.service.answer('GET', '/v1/containers', status=302)
        self.assertIn('another place', str(self.error()))
        self.assertEqual([], other.requests)

    def test_an_answer_that_is_not_ours(self):
        for body in (b'<html>It works!</html>', []):
            self.service.answer('GET', '/v1/containers', body)
            self.assertIsInstance(self.error(), http.NotOurService)

    def test_a_proxy_is_not_asked_for_loopback(self):
        self.service.answer('GET', '/v1/containers', {})
        with mock.patch.dict(os.environ, {'http_proxy': 'http://127.0.0.1:1'}):
            self.client.get('containers')


class PagesTest(unittest.TestCase):

    def setUp(self):
        self.service = self.enterContext(stub.Stub())
        self.client = http.Client(self.service.endpoint)

    def page(self, *names, following=None):
        self.service.answer('GET', '/v1/containers', {
            'containers': [{'name': name} for name in names], 'next': following})

    def pages(self, **kwargs):
        items, more = self.client.pages('containers', 'containers', **kwargs)
        return ''.join(item['name'] for item in items), more

    def test_follows_next_wherever_it_claims_to_be(self):
        self.page('a', 'b', following='http://elsewhere:1/v1/containers?marker=b&label=x&label=y')
        self.page('c', following='/v1/containers?marker=c')
        self.page('d')
        self.assertEqual(('abcd', False), self.pages(params={'label': ['x', 'y']}))
        self.assertEqual([{'label': ['x', 'y']}, {'marker': ['b'], 'label': ['x', 'y']},
                          {'marker': ['c']}], [r.query for r in self.service.requests])

    def test_a_limit_above_what_the_service_gives_at_once(self):
        self.page('a', 'b', following='/v1/containers?marker=b&limit=3')
        self.page('c', 'd', following='/v1/containers?marker=d&limit=3')
        self.assertEqual(('abc', True), self.pages(limit=3))
        self.assertEqual(['3'], self.service.requests[0].query['limit'])

    def test_a_limit_that_is_the_whole_list(self):
        self.page('a', 'b')
        self.assertEqual(('ab', False), self.pages(limit=2))


class ConnectionTest(unittest.TestCase):

    def listen(self, answer):
        """The endpoint of a server that does ``answer(connection)`` once."""
        server = socket.create_server(('127.0.0.1', 0))

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        self.addCleanup(server.close)
        self.addCleanup(thread.join)
        return f'http://127.0.0.1:{server.getsockname()[1]}'

    def test_nobody_listens(self):
        with self.assertRaises(http.Unreachable) as raised:
            http.Client('http://127.0.0.1:1').get('containers')
        self.assertEqual('Cannot reach http://127.0.0.1:1: is container-service-api running? '
                         '(Connection refused)', str(raised.exception))
        self.assertIn('CONTAINER_SERVICE_ENDPOINT', raised.exception.hint)

    def test_no_such_host(self):
        with self.assertRaises(http.Unreachable) as raised:
            http.Client('http://nowhere.invalid').get('containers')
        self.assertNotIn('0x', str(raised.exception))

    def test_a_broken_connection_may_have_done_something(self):
        client = http.Client(self.listen(lambda connection: None))
        with self.assertRaises(http.NoAnswer) as raised:
            client.post('containers', {})
        self.assertIn('the connection broke', str(raised.exception))
        self.assertIn('may have been accepted', raised.exception.hint)
        self.assertIn('container-service action list', raised.exception.hint)

    def test_a_lost_answer_names_the_list_that_tells(self):
        for path in ('images', f'images/{stub.UUID}/tag'):
            client = http.Client(self.listen(lambda connection: None))
            with self.assertRaises(http.NoAnswer) as raised:
                client.post(path, {})
            self.assertIn('container-service image list', raised.exception.hint)

    def test_a_silent_service(self):
        enough = threading.Event()
        client = http.Client(self.listen(lambda connection: enough.wait(10)))
        with self.assertRaises(http.NoAnswer) as raised:
            client.get('containers', read_seconds=0.05)
        enough.set()
        self.assertIn('it took too long', str(raised.exception))
        self.assertIsNone(raised.exception.hint)

    def test_a_service_without_tls(self):
        endpoint = self.listen(lambda connection: connection.sendall(b'HTTP/1.1 400 Bad\r\n\r\n'))
        with self.assertRaises(http.ClientError) as raised:
            http.Client(endpoint.replace('http:', 'https:')).get('containers')
        self.assertIn('TLS', str(raised.exception))
