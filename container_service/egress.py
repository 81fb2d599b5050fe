# SPDX-License-Identifier: Apache-2.0
"""The one way out: where this service connects to, when somebody else says where.

Whoever may name an address could otherwise use this service to reach what only it reaches: the
host's own services, those of its network, the metadata of its cloud.  A ``Policy`` says what may
be reached.  A name is resolved once, every address that it has is checked, and the connection is
made to one of those: a name that means something else a moment later gains nothing.  Redirects
are not followed, and proxies of the environment are not asked.

``policy.connect`` is for who speaks a protocol of its own, ``Adapter`` for the requests library,
``post`` for sending something to a user's own address.  A refusal is a ``Refused``, with words
that complete "this address ...".
"""

import contextlib
import dataclasses
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
import urllib.parse

import idna
import oslo_messaging
import requests
import requests.adapters
import sqlalchemy as sa
import urllib3
import urllib3.connection
import urllib3.exceptions

SECONDS = 10
_URL_LENGTH = 2048

_PORTS = {'mysql': 3306, 'postgresql': 5432, 'rabbit': 5672}
_HEALTH_PORTS = 64                     # conductors of a host listen on the ports behind the first


class Refused(ValueError):
    """An address that may not be connected to, or that is none."""


# What is not the public internet, by the registries of IANA, and what the words for it are.
_SPECIAL = tuple((ipaddress.ip_network(network), words) for network, words in (
    ('0.0.0.0/8', 'this host'), ('10.0.0.0/8', 'private'), ('100.64.0.0/10', 'shared (CGNAT)'),
    ('127.0.0.0/8', 'loopback'), ('169.254.0.0/16', 'link-local'), ('172.16.0.0/12', 'private'),
    ('192.0.0.0/24', 'reserved'), ('192.0.2.0/24', 'for documentation'),
    ('192.88.99.0/24', 'reserved'), ('192.168.0.0/16', 'private'),
    ('198.18.0.0/15', 'for benchmarks'), ('198.51.100.0/24', 'for documentation'),
    ('203.0.113.0/24', 'for documentation'), ('224.0.0.0/4', 'multicast'),
    ('255.255.255.255/32', 'broadcast'), ('240.0.0.0/4', 'reserved'),
    ('::/128', 'this host'), ('::1/128', 'loopback'), ('fc00::/7', 'private'),
    ('fe80::/10', 'link-local'), ('fec0::/10', 'private'), ('ff00::/8', 'multicast'),
    ('2001:db8::/32', 'for documentation'), ('3fff::/20', 'for documentation'),
    ('2001::/23', 'reserved')))
_PUBLIC_V6 = ipaddress.ip_network('2000::/3')

# Where an IPv4 address is within an IPv6 address, as bits from the right; ``other`` is what it is
# combined with by XOR.  Teredo has that of its server besides.
_EMBEDDED = tuple((ipaddress.ip_network(network), shift, other) for network, shift, other in (
    ('::ffff:0:0/96', 0, 0), ('::ffff:0:0:0/96', 0, 0), ('64:ff9b::/96', 0, 0), ('::/96', 0, 0),
    ('2002::/16', 80, 0), ('2001::/32', 0, 0xffffffff), ('2001::/32', 64, 0)))
_ISATAP = (0x00005efe, 0x02005efe)


def reached(address):
    """The addresses that a packet to this one may end at: itself, or what is embedded in it."""
    if address.version == 4:
        return [address]
    number = int(address)
    if number in (0, 1):
        return [address]
    found = [ipaddress.IPv4Address((number >> shift & 0xffffffff) ^ other)
             for network, shift, other in _EMBEDDED if address in network]
    if not found and number >> 32 & 0xffffffff in _ISATAP:
        return [address, ipaddress.IPv4Address(number & 0xffffffff)]
    return found or [address]


def host(text):
    """The one spelling of a host: a name in ASCII and lower case, or an address.  Raises Refused.

    An address in any of the spellings that resolvers take is that address.
    """
    if re.search(r'[\x00-\x20\x7f\\%@/?#\[\]<>^|]', text):
        raise Refused('has a character in its host that no host has')
    if ':' in text:
        try:
            return str(ipaddress.IPv6Address(text))
        except ValueError:
            raise Refused('has a host that is no IPv6 address') from None
    try:
        name = text.lower() if text.isascii() else idna.encode(text, uts46=True).decode()
    except idna.IDNAError:
        raise Refused('has a host that is no name') from None
    name = name.removesuffix('.')
    labels = name.split('.')
    if re.fullmatch(r'[0-9]+|0x[0-9a-f]*', labels[-1]):
        return _ipv4(labels)
    if len(name) > 253 or not all(
            re.fullmatch(r'[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?', label) for label in labels):
        raise Refused('has a host that is no name')
    return name


def _ipv4(labels):
    """One to four numbers, decimal, octal or hexadecimal; the last one fills what is left."""
    numbers = []
    # Python takes signs and underscores too.
    if all(re.fullmatch(r'0x[0-9a-f]*|[0-9]+', label) for label in labels):
        with contextlib.suppress(ValueError):
            numbers = [int(label[2:] or '0', 16) if label.startswith('0x') else
                       int(label, 8) if label.startswith('0') else int(label)
                       for label in labels]
    if not 1 <= len(numbers) <= 4 or any(number > 255 for number in numbers[:-1]) or (
            numbers[-1] >= 256 ** (5 - len(numbers))):
        raise Refused('has a host that is no IPv4 address')
    value = numbers[-1] + sum(number << 8 * (3 - at) for at, number in enumerate(numbers[:-1]))
    return str(ipaddress.IPv4Address(value))


@dataclasses.dataclass(frozen=True)
class Target:
    """What an URL says, in one spelling."""
    scheme: str
    host: str
    port: int
    path: str

    @property
    def url(self):
        name = f'[{self.host}]' if ':' in self.host else self.host
        return f'{self.scheme}://{name}:{self.port}{self.path}'


def target(url, schemes):
    """Take an URL apart; ``schemes`` is {scheme: port, or None where it must be named}.

    Raises Refused.
    """
    if len(url) > _URL_LENGTH or re.search(r'[\x00-\x20\x7f-\xa0\\]', url):
        raise Refused('is too long, or has blanks or control characters')
    try:
        parts = urllib.parse.urlsplit(url)
        name, port = parts.hostname, parts.port
    except ValueError:
        raise Refused('is not a valid address') from None
    if parts.scheme not in schemes:
        raise Refused('must begin with ' + ' or '.join(f'{each}://' for each in schemes))
    if '@' in parts.netloc:
        raise Refused('must not have a user or a password in it')
    if not name:
        raise Refused('must name a host')
    if parts.fragment:
        raise Refused('must not have a part after #')
    # An empty port is that of the scheme; 0 and none are not the same.
    port = schemes[parts.scheme] if port is None else port
    if not port:
        raise Refused('must name a port from 1 to 65535')
    path = urllib.parse.quote(parts.path or '/', safe="/%:@!$&'()*+,;=~-._")
    query = f'?{parts.query}' if parts.query else ''
    return Target(parts.scheme, host(name), port, path + query)


@dataclasses.dataclass(frozen=True)
class Policy:
    """What may be reached.  What is not public only by ``allowed``; ``denied`` wins over all.

    ``own`` is where this service's own database, broker and API are, as (host, port).
    """
    allowed: tuple = ()
    denied: tuple = ()
    ports: tuple = ((1, 65535),)
    own: tuple = ()
    option: str = '[egress] allowed_networks'
    resolve: object = socket.getaddrinfo

    def check_port(self, port):
        if not any(first <= port <= last for first, last in self.ports):
            raise Refused(f'has port {port}, which [egress] allowed_ports does not name')

    def check(self, address, port):
        """Raise Refused unless this IP address may be connected to."""
        given = ipaddress.ip_address(str(address).partition('%')[0])
        ends = reached(given)
        for each in (given, *ends):
            if _within(each, self.denied):
                raise Refused(f'leads to {given}, which [egress] denied_networks names')
        for each in ends:
            if not _within(each, self.allowed):
                words = _special(each)
                if words:
                    raise Refused(f'leads to {given}, which is {words}; an operator may open it '
                                  f'with {self.option}')
            if self._is_own(each, port):
                raise Refused(f'leads to {given} port {port}, where this service has its own')

    def check_literal(self, name, port):
        """Check what can be without asking a resolver."""
        self.check_port(port)
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return
        self.check(address, port)

    def addresses(self, name, port):
        """Resolve a host, once; every address that it has.  Raises Refused, OSError."""
        name = host(name)
        self.check_port(port)
        found = list(dict.fromkeys(
            entry[4][0] for entry in self.resolve(name, port, type=socket.SOCK_STREAM)))
        # One bad one is enough: else an order of answers would decide.
        for address in found:
            self.check(address, port)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, 'no address')
        return found

    def connect(self, name, port, seconds=SECONDS):
        """A connected socket to a host, by an address that was checked.

        Raises Refused, OSError.
        """
        addresses, until = self.addresses(name, port), time.monotonic() + seconds
        for address in addresses:
            try:
                return self.open(address, port, max(until - time.monotonic(), 0.001))
            except OSError as exc:
                failed = exc
        raise failed

    def open(self, address, port, seconds):
        """Connect to an IP address.  Nothing is resolved here any more."""
        made = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
        try:
            made.settimeout(seconds)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made

    def _is_own(self, address, port):
        for name, own_port in self.own:
            if port != own_port:
                continue
            if name in ('0.0.0.0', '::', ''):  # nosec B104 # compared with, not listened on
                if _is_local(address):
                    return True
                continue
            try:
                entries = self.resolve(name, port, type=socket.SOCK_STREAM)
            except OSError:
                return True            # not known where it is, so it may be here
            if any(_is_same(ipaddress.ip_address(entry[4][0].partition('%')[0]), address)
                   for entry in entries):
                return True
        return False


def _within(address, networks):
    return any(address.version == network.version and address in network for network in networks)


def _special(address):
    """What an address is that is not public, in words; None for a public one."""
    for network, words in _SPECIAL:
        if _within(address, (network,)):
            return words
    if address.version == 6 and address not in _PUBLIC_V6:
        return 'reserved'
    return None


def _is_same(configured, address):
    """Whether what listens at one address may be what listens at the other.

    What is reached by one address of this host may be by all of them.
    """
    return configured == address or _is_local(configured) and _is_local(address)


def _is_local(address):
    """Whether an address is one of this host's."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def for_users(conf):
    """What an address may lead to that a user gives."""
    return Policy(allowed=networks(conf.egress.allowed_networks),
                  denied=networks(conf.egress.denied_networks),
                  ports=tuple(conf.egress.allowed_ports), own=_own(conf))


def for_bays(conf):
    """What the endpoint of a bay may lead to."""
    return Policy(allowed=networks(conf.bays.allowed_networks),
                  denied=networks(conf.egress.denied_networks), own=_own(conf),
                  option='[bays] allowed_networks')


def networks(texts):
    return tuple(ipaddress.ip_network(text) for text in texts)


def _own(conf):
    """(host, port) of what nobody may have us connect to."""
    found = [(conf.api.host, conf.api.port)]
    if conf.conductor.health_port:
        found += [(conf.conductor.health_host, conf.conductor.health_port + slot)
                  for slot in range(_HEALTH_PORTS)]
    for text in (conf.database.connection, conf.database.slave_connection):
        if text:
            found += _of_database(sa.make_url(text))
    for each in oslo_messaging.TransportURL.parse(conf).hosts:
        if each.hostname:
            found.append((each.hostname, each.port or _PORTS['rabbit']))
    return tuple(found)


def _of_database(url):
    """Each host of a database with each port: they may also be in the query, and be several."""
    hosts, ports = {url.host}, {url.port}
    for host in _in_query(url, 'host', 'hostaddr'):
        name, colon, port = host.rpartition(':')
        if colon and ':' not in name:
            hosts.add(name)
            ports.add(port)
        else:
            hosts.add(host)
    ports.update(_in_query(url, 'port'))
    numbers = {int(port) for port in ports if port and str(port).isdecimal()}
    return [(host, port) for host in hosts if host and not host.startswith('/')
            for port in numbers or {_PORTS.get(url.get_backend_name())}]


def _in_query(url, *names):
    return [each for name in names for value in sa.util.to_list(url.query.get(name, ()))
            for each in value.split(',') if each]


class Adapter(requests.adapters.HTTPAdapter):
    """How requests gets out by a policy.  ``context`` is for TLS, needed for https.

    The name is still what a certificate is checked against.  Proxies, certificates and whether
    to look at them are decided here, whatever a session or the environment says.
    """

    def __init__(self, connect, context=None, **kwargs):
        self._connect, self._context = connect, context
        super().__init__(max_retries=0, **kwargs)

    def init_poolmanager(self, connections, maxsize, block=False, **kwargs):
        self.poolmanager = urllib3.PoolManager(
            num_pools=connections, maxsize=maxsize, block=block, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = {
            'http': _pool(urllib3.HTTPConnectionPool, urllib3.connection.HTTPConnection,
                          self._connect),
            'https': _pool(urllib3.HTTPSConnectionPool, urllib3.connection.HTTPSConnection,
                           self._connect)}

    def send(self, request, stream=False, timeout=None, verify=True, cert=None, proxies=None):
        return super().send(request, stream=stream, timeout=timeout)

    def cert_verify(self, conn, url, verify, cert):
        """The context knows; the library would add its own authorities to it."""


def _pool(pool, connection, connect):
    """A kind of urllib3's pools whose connections begin with ``connect(host, port, seconds)``."""

    class Connection(connection):
        def _new_conn(self):
            seconds = self.timeout if isinstance(self.timeout, int | float) else SECONDS
            try:
                return connect(self.host, self.port, seconds)
            except TimeoutError as exc:
                raise urllib3.exceptions.ConnectTimeoutError(self, str(exc)) from exc
            except OSError as exc:
                raise urllib3.exceptions.NewConnectionError(self, str(exc)) from exc

    return type('Pool', (pool,), {'ConnectionCls': Connection})


class _Session(requests.Session):
    def get_redirect_target(self, resp):
        """Nobody is followed anywhere."""


def post(policy, url, body, headers=None, schemes=None, context=None):
    """Send something to an address that a user gave; returns the status of the answer.

    It takes ``SECONDS`` at most, and what follows the head of the answer is not read at all.
    Raises Refused, OSError (of which what requests raises is a kind).
    """
    to = target(url, schemes or {'https': 443})
    if to.scheme == 'https' and context is None:
        context = ssl.create_default_context()
    opened = []

    def connect(name, port, seconds):
        made = policy.connect(name, port, min(seconds, SECONDS))
        # Of the same connection: TLS takes the first one away.
        opened.append(socket.socket(fileno=os.dup(made.fileno())))
        return made

    with _Session() as session, contextlib.ExitStack() as undo:
        session.trust_env = False
        session.mount(f'{to.scheme}://', Adapter(connect, context))
        timer = threading.Timer(SECONDS, _shut, (opened,))
        timer.daemon = True
        timer.start()
        undo.callback(lambda: [each.close() for each in opened])
        undo.callback(timer.cancel)
        with session.post(to.url, data=body, headers=headers, stream=True,
                          timeout=SECONDS) as answer:
            return answer.status_code


def _shut(opened):
    for each in opened:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
