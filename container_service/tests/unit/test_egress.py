# SPDX-License-Identifier: Apache-2.0
"""Nothing is connected to but what a policy lets through, whatever an address looks like."""

import contextlib
import dataclasses
import ipaddress
import os
import socket
import ssl
import tempfile
import threading
from unittest import mock

import requests

from container_service import egress
from container_service.tests import base
from container_service.tests import certificates
from container_service.tests import fixtures

SCHEMES = {'https': 443, 'http': 80}
PUBLIC = '93.184.216.34'

# What the resolver of these tests knows; the last answer is repeated.
NAMES = {
    'public.example': [[PUBLIC]],
    'rebinding.example': [[PUBLIC], ['127.0.0.1']],
    'rebinding6.example': [[PUBLIC], ['::1']],
    'loopback.example': [['127.0.0.1']],
    'loopback6.example': [['::1']],
    'mixed.example': [[PUBLIC, '127.0.0.1']],
    'mixed6.example': [[PUBLIC, '::ffff:127.0.0.1']],
    'metadata.example': [['169.254.169.254']],
    'link.example': [['fe80::1%lo']],
    'none.example': [[]],
    'db.example': [['93.184.216.35']],
    'localhost': [['127.0.0.1', '::1']],
}

# Of each, {port} is where something listens on every loopback and own address.
HOSTILE = '''
http://127.0.0.1:{port}/
http://127.0.0.1.:{port}/
http://127.0.0.2:{port}/
http://127.1:{port}/
http://127.0.1:{port}/
http://2130706433:{port}/
http://0x7f000001:{port}/
http://0x7f.1:{port}/
http://0X7F.0x0.0x0.0x1:{port}/
http://017700000001:{port}/
http://0177.0.0.01:{port}/
http://0177.0.0.0x1:{port}/
http://000000000000000000000000000000177.0.0.1:{port}/
http://0:{port}/
http://0.0.0.0:{port}/
http://0x0:{port}/
http://１２７.０.０.１:{port}/
http://127。0。0。1:{port}/
http://①②⑦.⓪.⓪.①:{port}/
http://%31%32%37.0.0.1:{port}/
http://127.0.0.1%2f@public.example:{port}/
http://[::1]:{port}/
http://[0:0:0:0:0:0:0:1]:{port}/
http://[::]:{port}/
http://[::1%25lo]:{port}/
http://[::1%lo]:{port}/
http://[::ffff:127.0.0.1]:{port}/
http://[::ffff:7f00:1]:{port}/
http://[0:0:0:0:0:ffff:7f00:0001]:{port}/
http://[::127.0.0.1]:{port}/
http://[::ffff:0:127.0.0.1]:{port}/
http://[64:ff9b::127.0.0.1]:{port}/
http://[64:ff9b::a9fe:a9fe]/
http://[64:ff9b:1::7f00:1]:{port}/
http://[2002:7f00:1::]:{port}/
http://[2002:a9fe:a9fe::1]/
http://[2001:0:5db8:d822::80ff:fffe]:{port}/
http://[2001:0:7f00:1::a247:27dd]:{port}/
http://[2606:2800:220:1:0:5efe:7f00:1]:{port}/
http://[2606:2800:220:1:200:5efe:10.0.0.1]:{port}/
http://[fe80::1]:{port}/
http://[fec0::1]:{port}/
http://[fc00::1]:{port}/
http://[fd00:ec2::254]/latest/meta-data/
http://[ff02::1]:{port}/
http://[2001:db8::1]:{port}/
http://[3fff::1]:{port}/
http://[100::1]:{port}/
http://[v1.fe]:{port}/
http://169.254.169.254/latest/meta-data/
http://2852039166/latest/meta-data/
http://0xa9fea9fe/latest/meta-data/
http://100.100.100.200/latest/meta-data/
http://168.63.129.16/metadata
http://192.0.0.192/opc/v1/instance/
http://10.0.0.1:{port}/
http://172.16.0.1:{port}/
http://172.31.255.254:{port}/
http://192.168.0.1:{port}/
http://100.64.0.1:{port}/
http://100.127.255.254:{port}/
http://198.18.0.1:{port}/
http://192.0.2.1:{port}/
http://198.51.100.1:{port}/
http://203.0.113.1:{port}/
http://192.88.99.1:{port}/
http://224.0.0.1:{port}/
http://240.0.0.1:{port}/
http://255.255.255.255:{port}/
http://localhost:{port}/
http://LOCALHOST.:{port}/
http://loopback.example:{port}/
http://loopback6.example:{port}/
http://LoopBack.example.:{port}/
http://ｌoopback.example:{port}/
http://mixed.example:{port}/
http://mixed6.example:{port}/
http://metadata.example/
http://link.example:{port}/
http://none.example:{port}/
http://unknown.example:{port}/
http://user@127.0.0.1:{port}/
http://public.example@127.0.0.1:{port}/
http://public.example:80@127.0.0.1:{port}/
http://127.0.0.1:{port}@public.example/
http://127.0.0.1:{port}\\@public.example/
http://public.example\\@127.0.0.1:{port}/
http://public.example#@127.0.0.1:{port}/
http://public.example:{port}#fragment
http:///127.0.0.1:{port}/
http:127.0.0.1:{port}/
//127.0.0.1:{port}/
127.0.0.1:{port}
http://127.0.0.1:{port}:80/
http://public.example:0/
http://public.example:-1/
http://public.example:65536/
http://public.example:４４３/
http://public.example:0x50/
http://public.example:22/
http://public.example:25/
http://public.example\t:{port}/
http://public.example\r\nHost: 127.0.0.1:{port}/
 http://127.0.0.1:{port}/
http://pub\x00lic.example:{port}/
http://.example:{port}/
http://a..example:{port}/
http://-a.example:{port}/
http://127.0.0.1.1:{port}/
http://256.256.256.256:{port}/
http://1.2.3.0xg:{port}/
http://[127.0.0.1]:{port}/
http://[::1:{port}/
http://db.example:3306/
http://93.184.216.35:3306/
file:///etc/passwd
gopher://127.0.0.1:{port}/_x
ftp://127.0.0.1:{port}/
dict://127.0.0.1:{port}/
unix:///var/run/docker.sock
javascript:alert(1)
'''


class Resolver:
    """Answers as ``NAMES`` has it, and counts the questions."""

    def __init__(self):
        self.asked = []

    def __call__(self, name, port, type=0):
        self.asked.append(name)
        with contextlib.suppress(ValueError):
            return [(None, type, 6, '', (str(ipaddress.ip_address(name)), port))]
        if name not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, 'unknown')
        answers = NAMES[name]
        told = answers[min(self.asked.count(name), len(answers)) - 1]
        return [(None, type, 6, '', (address, port)) for address in told]


@dataclasses.dataclass(frozen=True)
class Recorded(egress.Policy):
    """A policy that really connects to this host, and to nothing else."""
    opened: list = dataclasses.field(default_factory=list)

    def open(self, address, port, seconds):
        self.opened.append(address)
        if not egress._is_local(ipaddress.ip_address(address)):
            raise ConnectionRefusedError(address)
        return super().open(address, port, seconds)


class Listener:
    """A server that counts its connections; each is given to ``talk``, if there is one."""

    def __init__(self, address='127.0.0.1', port=0, talk=None):
        self.count, self._talk = 0, talk
        family = socket.AF_INET6 if ':' in address else socket.AF_INET
        self._socket = socket.create_server((address, port), family=family)
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                made, _ = self._socket.accept()
            except OSError:
                return
            self.count += 1
            with made, contextlib.suppress(OSError):
                if self._talk:
                    self._talk(made)

    def close(self):
        # A thread in accept() would go on in a closed socket.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def request_of(made):
    """A whole request.  All of it must be read: else the answer is lost when the end comes."""
    found = b''
    while not found.endswith(b'\r\n\r\nx'):
        piece = made.recv(4096)
        if not piece:
            break
        found += piece
    return found.decode()


class EgressCase(base.TestCase):

    def listen(self, *args, **kwargs):
        made = Listener(*args, **kwargs)
        self.addCleanup(made.close)
        return made

    def policy(self, allowed=(), **kwargs):
        return Recorded(allowed=egress.networks(allowed), resolve=Resolver(), **kwargs)


class TestHostileAddresses(EgressCase):

    def setUp(self):
        super().setUp()
        first = self.listen('0.0.0.0')
        self.port = first.port
        self.listeners = [first, self.listen('::1', self.port)]
        conf = self.useFixture(fixtures.Conf(
            database_connection='mysql+pymysql://user:secret@db.example/x',
            egress_allowed_networks=[], egress_allowed_ports=['80', '443', '1024-65535'])).conf
        made = egress.for_users(conf)
        self.guard = Recorded(allowed=made.allowed, denied=made.denied, ports=made.ports,
                              own=made.own, resolve=Resolver())

    def connections(self):
        return sum(each.count for each in self.listeners), self.guard.opened

    def test_none_is_connected_to(self):
        urls = HOSTILE.strip('\n').split('\n')
        self.assertGreater(len(set(urls)), 100)
        for url in urls:
            url = url.replace('{port}', str(self.port))
            with self.subTest(url):
                self.assertRaises((egress.Refused, socket.gaierror,
                                   requests.exceptions.ConnectionError),
                                  egress.post, self.guard, url, b'x', schemes=SCHEMES)
                self.assertEqual((0, []), self.connections())

    def test_a_public_one_is_let_through(self):
        for url in ('http://public.example/', 'https://93.184.216.34:8443/x?y=1',
                    'http://[64:ff9b::5db8:d822]/', 'http://[2606:2800:220:1::1]/'):
            self.guard.opened.clear()
            self.assertRaises(requests.exceptions.ConnectionError, egress.post, self.guard, url,
                              b'x', schemes=SCHEMES)
            self.assertEqual(1, len(self.guard.opened), url)

    def test_a_name_that_changes_its_mind_gains_nothing(self):
        for name in ('rebinding.example', 'rebinding6.example'):
            self.guard.opened.clear()
            self.guard.resolve.asked.clear()
            self.assertRaises(requests.exceptions.ConnectionError, egress.post, self.guard,
                              f'http://{name}:{self.port}/', b'x', schemes=SCHEMES)
            self.assertEqual([name], self.guard.resolve.asked)
            self.assertEqual([PUBLIC], self.guard.opened)
            # What it is now is looked at with the next connection.
            self.assertRaises(egress.Refused, egress.post, self.guard,
                              f'http://{name}:{self.port}/', b'x', schemes=SCHEMES)
            self.assertEqual((0, [PUBLIC]), self.connections())

    def test_a_host_has_one_spelling(self):
        for text, one in (
                ('127.1', '127.0.0.1'), ('0x7f.1', '127.0.0.1'), ('017700000001', '127.0.0.1'),
                ('2130706433', '127.0.0.1'), ('①②⑦.⓪.⓪.①', '127.0.0.1'), ('1.2.3.4.', '1.2.3.4'),
                ('0:0:0:0:0:0:0:1', '::1'), ('EXAMPLE.org.', 'example.org'),
                ('bücher.example', 'xn--bcher-kva.example'), ('ｅxample。org', 'example.org')):
            self.assertEqual(one, egress.host(text))

    def test_what_is_no_number_is_no_part_of_an_address(self):
        for text in ('-1.0.0.1', '1.-1.0.1', '1_0.0.0.1', '+1.1.1.1', '0x-1.1', '-0x1.1', '1..1',
                     '0x_1.1', '09.1', '1.2.3.4.5', '256.1.1.1', '1e1.1'):
            self.assertIn('no IPv4 address', str(self.assertRaises(
                egress.Refused, egress.host, text)))

    def test_what_a_packet_ends_at(self):
        for text, ends in (
                ('::ffff:127.0.0.1', ['127.0.0.1']), ('2002:7f00:1::9', ['127.0.0.1']),
                ('64:ff9b::127.0.0.1', ['127.0.0.1']), ('::1', ['::1']), ('::', ['::']),
                ('2001:0:102:304::80ff:fffe', ['127.0.0.1', '1.2.3.4']),
                ('2606::5efe:7f00:1', ['2606::5efe:7f00:1', '127.0.0.1']),
                ('2606::1', ['2606::1']), ('127.0.0.1', ['127.0.0.1'])):
            self.assertEqual(ends, [str(each) for each in
                                    egress.reached(ipaddress.ip_address(text))])


class TestPolicy(EgressCase):

    def test_allowed_networks_open_what_is_special(self):
        policy = self.policy(['10.1.0.0/16', '127.0.0.0/8', '::1/128'])
        for address in ('10.1.2.3', '::ffff:10.1.2.3', '127.0.0.1', '::1', '2002:a01:203::'):
            policy.check(address, 443)
        for address in ('10.2.0.1', '::ffff:10.2.0.1', '192.168.0.1'):
            self.assertRaises(egress.Refused, policy.check, address, 443)

    def test_denied_networks_win_in_every_spelling(self):
        policy = self.policy(['0.0.0.0/0', '::/0'], denied=egress.networks(
            ['169.254.169.254/32', '64:ff9b::/96', '2606::/16']))
        policy.check('127.0.0.1', 443)
        for address in ('169.254.169.254', '::ffff:169.254.169.254', '2002:a9fe:a9fe::',
                        '64:ff9b::102:304', '2606::1'):
            self.assertRaises(egress.Refused, policy.check, address, 443)

    def test_what_is_ours_is_never_reached(self):
        policy = self.policy(['0.0.0.0/0', '::/0'], own=(
            ('127.0.0.1', 9517), ('db.example', 3306), ('0.0.0.0', 8080), ('unknown.example', 1)))
        for address, port in (('127.0.0.1', 9517), ('::ffff:127.0.0.1', 9517),
                              ('93.184.216.35', 3306), ('127.0.0.1', 8080), ('127.0.0.9', 8080),
                              ('::1', 8080), ('93.184.216.35', 1)):
            self.assertRaises(egress.Refused, policy.check, address, port)
        for address, port in (('127.0.0.1', 443), ('93.184.216.35', 443),
                              ('93.184.216.34', 3306), ('93.184.216.34', 8080)):
            policy.check(address, port)

    def test_what_is_ours_on_this_host_is_so_by_each_of_its_addresses(self):
        local = {'10.9.8.7', '127.0.0.1', '::1'}
        policy = self.policy(['0.0.0.0/0', '::/0'], own=(
            ('localhost', 3306), ('127.0.0.1', 5672), ('10.9.8.7', 9517)))
        with mock.patch.object(egress, '_is_local', lambda address: str(address) in local):
            for address in (*local, '::ffff:10.9.8.7'):
                for port in (3306, 5672, 9517):
                    self.assertRaises(egress.Refused, policy.check, address, port)
                policy.check(address, 2376)
            policy.check('10.9.8.6', 3306)

    def test_a_database_may_be_named_in_the_query(self):
        for url, own in (
                ('postgresql+psycopg2://u:p@/x?host=h1&port=99', {('h1', 99)}),
                ('postgresql+psycopg2://u:p@/x?host=h1', {('h1', 5432)}),
                ('postgresql+psycopg2://u:p@/x?hostaddr=fd00::1', {('fd00::1', 5432)}),
                ('postgresql+psycopg2://u:p@/x?host=h1:98&host=h2:99',
                 {('h1', 98), ('h1', 99), ('h2', 98), ('h2', 99)}),
                ('postgresql+psycopg2://u:p@h0/x?host=h1,h2&port=99',
                 {('h0', 99), ('h1', 99), ('h2', 99)}),
                ('postgresql+psycopg2://u:p@/x?host=/run/postgresql', set()),
                ('mysql+pymysql://u:p@h1/x?charset=utf8mb4', {('h1', 3306)}),
                ('sqlite:////x', set())):
            conf = self.useFixture(fixtures.Conf(database_connection=url)).conf
            others = {(conf.api.host, conf.api.port)}
            self.assertEqual(own, set(egress.for_bays(conf).own) - others)

    def test_what_is_ours_is_read_from_the_configuration(self):
        conf = self.useFixture(fixtures.Conf(
            database_connection='postgresql+psycopg2://user:secret@[::1]/x',
            database_slave_connection='mysql+pymysql://user:secret@db2:3307/x',
            api_host='0.0.0.0', conductor_health_port=8000)).conf
        conf.set_override('transport_url', 'rabbit://u:p@one:5671,u:p@two/')
        for policy in (egress.for_users(conf), egress.for_bays(conf)):
            for pair in (('0.0.0.0', 9517), ('::1', 5432), ('db2', 3307), ('one', 5671),
                         ('two', 5672), ('127.0.0.1', 8000), ('127.0.0.1', 8003)):
                self.assertIn(pair, policy.own)

    def test_engines_may_be_on_private_networks_and_not_on_loopback(self):
        policy = egress.for_bays(self.useFixture(fixtures.Conf()).conf)
        for address in ('10.0.0.1', '172.20.0.1', '192.168.1.1', 'fd12::1', PUBLIC):
            policy.check(address, 2376)
        for address in ('127.0.0.1', '::1', '169.254.169.254', 'fd00:ec2::254', '100.64.0.1',
                        '0.0.0.0', 'fe80::1'):
            self.assertRaises(egress.Refused, policy.check, address, 2376)

    def test_options_that_are_no_networks_or_ports_are_refused(self):
        for group, option, value in (
                ('egress', 'allowed_networks', ['10.0.0.1/8']),
                ('egress', 'denied_networks', ['x']),
                ('bays', 'allowed_networks', ['10.0.0.0/33']),
                ('egress', 'allowed_ports', ['0']), ('egress', 'allowed_ports', ['9-8']),
                ('egress', 'allowed_ports', ['70000']), ('egress', 'allowed_ports', ['http'])):
            conf = self.useFixture(fixtures.Conf()).conf
            self.assertRaises(ValueError, conf.set_override, option, value, group=group)


class TestPost(EgressCase):

    def setUp(self):
        super().setUp()
        self.guard = self.policy(['127.0.0.1/32'])

    def answering(self, answer):
        self.requests = []

        def talk(made):
            self.requests.append(request_of(made))
            made.sendall(answer)
        return self.listen(talk=talk)

    def test_no_redirect_is_followed(self):
        aim = self.listen()
        for status in (300, 301, 302, 303, 307, 308):
            front = self.answering(
                f'HTTP/1.1 {status} Elsewhere\r\nLocation: http://127.0.0.1:{aim.port}/\r\n'
                f'Content-Length: 0\r\n\r\n'.encode())
            self.assertEqual(status, egress.post(
                self.guard, f'http://loopback.example:{front.port}/', b'x', schemes=SCHEMES))
        self.assertEqual(0, aim.count)

    def test_proxies_of_the_environment_are_not_asked(self):
        proxy = self.listen()
        front = self.answering(b'HTTP/1.1 204 Done\r\n\r\n')
        with mock.patch.dict(os.environ, {
                name: f'http://127.0.0.1:{proxy.port}'
                for name in ('http_proxy', 'HTTPS_PROXY', 'ALL_PROXY')} | {'no_proxy': ''}):
            self.assertEqual(204, egress.post(
                self.guard, f'http://loopback.example:{front.port}/', b'x', schemes=SCHEMES))
        self.assertEqual((0, 1), (proxy.count, front.count))

    def test_the_name_is_what_is_asked_for(self):
        front = self.answering(b'HTTP/1.1 200 OK\r\n\r\n')
        egress.post(self.guard, f'http://loopback.example:{front.port}/a?b=c', b'x',
                    schemes=SCHEMES)
        self.assertIn('POST /a?b=c HTTP/1.1\r\n', self.requests[0])
        self.assertIn(f'Host: loopback.example:{front.port}\r\n', self.requests[0])

    def test_the_body_of_an_answer_is_not_read(self):
        ended = threading.Event()

        def talk(made):
            request_of(made)
            try:
                made.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n')
                made.recv(1)           # until the other side ends it
            finally:
                ended.set()
        front = self.listen(talk=talk)
        self.assertEqual(200, egress.post(
            self.guard, f'http://loopback.example:{front.port}/', b'x', schemes=SCHEMES))
        self.assertTrue(ended.wait(30))

    def test_an_answer_that_drips_is_not_waited_for(self):
        ended = threading.Event()

        def talk(made):
            request_of(made)
            made.sendall(b'HTTP')
            try:
                while not ended.wait(0.02):
                    made.sendall(b'x')
            except OSError:
                ended.set()
        front = self.listen(talk=talk)
        self.addCleanup(ended.set)
        with mock.patch.object(egress, 'SECONDS', 0.3):
            self.assertRaises(requests.exceptions.RequestException, egress.post, self.guard,
                              f'http://loopback.example:{front.port}/', b'x', schemes=SCHEMES)
        self.assertTrue(ended.wait(30))

    def test_the_certificate_is_checked_against_the_name(self):
        authority = certificates.Authority()
        trusted = ssl.create_default_context(cadata=authority.cert)
        for issuer, hosts, context, told in (
                (authority, ['loopback.example'], trusted, 200),
                (authority, ['127.0.0.1', 'other.example'], trusted, None),
                (certificates.Authority(), ['loopback.example'], trusted, None),
                (authority, ['loopback.example'], None, None)):
            front, names = self.listen_tls(*issuer.issue('engine', hosts=hosts))
            url = f'https://loopback.example:{front.port}/'
            if told:
                self.assertEqual(told, egress.post(self.guard, url, b'x', context=context))
            else:
                self.assertRaises(requests.exceptions.SSLError, egress.post, self.guard, url,
                                  b'x', context=context)
            self.assertEqual(['loopback.example'], names)
        # Nobody has made other authorities known to it.
        self.assertEqual(1, trusted.cert_store_stats()['x509_ca'])

    def listen_tls(self, cert, key):
        names = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.sni_callback = lambda made, name, _: names.append(name)
        with tempfile.NamedTemporaryFile('w') as file:
            file.write(cert + key)
            file.flush()
            context.load_cert_chain(file.name)

        def talk(made):
            with context.wrap_socket(made, server_side=True) as layer:
                request_of(layer)
                layer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
        return self.listen(talk=talk), names
