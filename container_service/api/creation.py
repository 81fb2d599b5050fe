# SPDX-License-Identifier: Apache-2.0
"""What a request to create a container may contain, and what is made of it.

Each field has a strict type, which names what is wrong with it; what is about several of them is
in ``check``.  ``options`` turns the fields into the spec that drivers take, the bytes of the
injected files, and where the container may be placed.  What the safety rules close is refused by
name, and what is left out here cannot be asked for at all.

``accept.creation`` goes on with it.
"""

import base64
import binascii
import dataclasses
import hashlib
import ipaddress
import json
import posixpath
import re

import wsme
from wsme import types as wtypes

from container_service import exceptions
from container_service import operations
from container_service import powers
from container_service.api import types
from container_service.api import versions

# A list of a thousand containers shows a thousand of these.
CREATE_BYTES = 65536
# What is injected is in rows of the database, and goes to the engine in one piece.
FILES_BYTES = 512 * 1024
BODY_BYTES = CREATE_BYTES + FILES_BYTES * 4 // 3 + 4096

TMPFS_BYTES = 64 * types.MIB
MAX_NETS, MAX_FILES, MAX_TMPFS, MAX_PORTS = 8, 32, 16, 64

_KERNEL = ('/proc', '/sys', '/dev')


class Within(ValueError):
    """What is wrong with a part of a value, and which part."""

    def __init__(self, where, reason):
        super().__init__(str(reason))
        self.where = where


def _entries(value, maximum):
    if not isinstance(value, list) or len(value) > maximum:
        raise ValueError(f'must be a list of at most {maximum} objects')
    for at, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise Within(f'[{at}]', 'must be an object')
    return value


def _parts(where, entry, **kinds):
    """Convert the parts of an object.  Empty ones are as if they were not there."""
    for name in entry:
        if name not in kinds:
            raise Within(f'{where}.{_shown(name)}', 'is not known here; there are '
                         + ', '.join(kinds))
    made = {}
    for name, convert in kinds.items():
        if entry.get(name) in (None, ''):
            continue
        try:
            made[name] = convert(entry[name])
        except ValueError as exc:
            raise Within(f'{where}.{name}', exc) from None
    return made


def _shown(name):
    """A name that somebody has sent, to be put into an error."""
    return ascii(name)[1:-1][:64]


def _size(value):
    """Bytes, from MiB in digits or a number with a unit; 4 KiB to 16 GiB."""
    match = re.fullmatch(r' *([0-9]{1,12})([bkmg]?) *', str(value).lower(), re.ASCII)
    if match is None or isinstance(value, (bool, float)):
        raise ValueError('must be MiB in digits, or a number with a unit such as 64m')
    size = int(match[1]) * {'b': 1, 'k': 1024, 'g': 1024 * types.MIB}.get(match[2], types.MIB)
    if not 4096 <= size <= 16 * 1024 * types.MIB:
        raise ValueError('must be from 4k to 16g')
    return size


def _whole(minimum, maximum):
    def convert(value):
        value = operations.integer(value)
        if not minimum <= value <= maximum:
            raise ValueError(f'must be from {minimum} to {maximum}')
        return value
    return convert


def _absolute(value):
    """A path in the container that means one place and nothing of the kernel."""
    path = operations.text(value)
    if (not path.startswith('/') or len(path.encode()) > 255 or posixpath.normpath(path) != path
            or path.startswith('//')):
        raise ValueError('must be an absolute path without . and .. and no longer than 255 bytes')
    if path == '/' or any(f'{path}/'.startswith(f'{part}/') for part in _KERNEL):
        raise ValueError(f'must not be / nor in {", ".join(_KERNEL)}')
    return path


class Asked(types._Type):
    """Another type, or what clients send who want nothing of it."""

    def __init__(self, inner):
        self._inner = inner

    @property
    def schema(self):
        return {'anyOf': [self._inner.schema, types.Neutral().schema]}

    def frombasetype(self, value):
        try:
            return types.Neutral().frombasetype(value)
        except ValueError:
            return self._inner.frombasetype(value)


class Whole(types._Type):
    def __init__(self, minimum, maximum):
        self._minimum, self._maximum = minimum, maximum

    @property
    def schema(self):
        return {'type': ['integer', 'string'], 'minimum': self._minimum,
                'maximum': self._maximum, 'pattern': '^[0-9]+$'}

    def frombasetype(self, value):
        return _whole(self._minimum, self._maximum)(value)


class Signal(types._Type):
    schema = {'type': ['string', 'integer'], 'maxLength': 20}

    def frombasetype(self, value):
        if len(str(value)) > 20:
            raise ValueError('must be a signal name or number')
        return operations.signal(value)


class HealthCheck(types._Type):
    """A command that tells by its exit code whether the container is healthy; times in seconds."""
    schema = {'type': 'object', 'additionalProperties': False, 'required': ['cmd'], 'properties': {
        'cmd': {'type': 'string', 'maxLength': 4096},
        **{name: {'type': ['integer', 'string', 'null'], 'minimum': 1, 'maximum': maximum}
           for name, maximum in (('interval', 86400), ('timeout', 86400), ('retries', 1000))}}}

    def frombasetype(self, value):
        if not isinstance(value, dict):
            raise ValueError('must be an object with cmd, interval, retries and timeout')
        made = _parts('', value, cmd=self._command, interval=_whole(1, 86400),
                      timeout=_whole(1, 86400), retries=_whole(1, 1000))
        if 'cmd' not in made:
            raise Within('.cmd', 'is required')
        return {'test': made.pop('cmd'), **made}

    @staticmethod
    def _command(value):
        if not isinstance(value, str) or '\0' in value or len(value) > 4096:
            raise ValueError('must be text of at most 4096 characters')
        return value


class ExposedPorts(types._Type):
    """Docker's shape: {"80/tcp": {}}."""
    schema = {'type': 'object', 'maxProperties': MAX_PORTS,
              'propertyNames': {'pattern': '^[0-9]{1,5}(/(tcp|udp|sctp))?$'},
              'additionalProperties': {'type': ['object', 'null'], 'maxProperties': 0}}

    def frombasetype(self, value):
        if not isinstance(value, dict) or len(value) > MAX_PORTS:
            raise ValueError(f'must be an object of at most {MAX_PORTS} ports, as in '
                             '{"80/tcp": {}}')
        return sorted({self._port(port, more) for port, more in value.items()},
                      key=lambda port: (int(port.partition('/')[0]), port))

    @staticmethod
    def _port(port, more):
        match = re.fullmatch(r'([0-9]{1,5})(?:/(tcp|udp|sctp))?', port, re.ASCII)
        if not match or not 1 <= int(match[1]) <= 65535:
            raise Within(f'.{_shown(port)}', 'must be a port from 1 to 65535, then /tcp, '
                                                 '/udp or /sctp')
        if more not in ({}, None):
            raise Within(f'.{port}', 'must be an empty object')
        return f'{int(match[1])}/{match[2] or "tcp"}'


class PublishedPorts(types._Type):
    """Ports of the host that lead to ports of the container."""
    schema = {'type': 'array', 'maxItems': MAX_PORTS, 'items': {
        'type': 'object', 'additionalProperties': False,
        'required': ['container_port', 'host_port'], 'properties': {
            'container_port': {'type': ['integer', 'string'], 'minimum': 1, 'maximum': 65535},
            'host_port': {'type': ['integer', 'string'], 'minimum': 1024, 'maximum': 65535},
            'protocol': {'enum': ['tcp', 'udp', 'sctp', None]}}}}

    def frombasetype(self, value):
        ports, seen = [], set()
        for at, entry in enumerate(_entries(value, MAX_PORTS)):
            port = _parts(f'[{at}]', entry, container_port=_whole(1, 65535),
                          host_port=_whole(1024, 65535),
                          protocol=operations.one_of('tcp', 'udp', 'sctp'))
            for name in ('container_port', 'host_port'):
                if name not in port:
                    raise Within(f'[{at}].{name}', 'is required')
            port.setdefault('protocol', 'tcp')
            if (port['host_port'], port['protocol']) in seen:
                raise Within(f'[{at}].host_port', 'is there twice')
            seen.add((port['host_port'], port['protocol']))
            ports.append(port)
        return ports


class Nets(types._Type):
    """Networks that the engine has, by name or id, with fixed addresses if wanted."""
    schema = {'type': 'array', 'maxItems': MAX_NETS, 'items': {
        'type': 'object', 'additionalProperties': False, 'required': ['network'], 'properties': {
            'network': {'type': 'string', 'maxLength': 128},
            'v4-fixed-ip': {'type': ['string', 'null']},
            'v6-fixed-ip': {'type': ['string', 'null']},
            'port': {'enum': ['', None]}}}}

    def frombasetype(self, value):
        nets = []
        for at, entry in enumerate(_entries(value, MAX_NETS)):
            net = _parts(f'[{at}]', entry, **{
                'network': self._network, 'port': self._port,
                'v4-fixed-ip': self._address(ipaddress.IPv4Address, 'IPv4', '10.0.0.5'),
                'v6-fixed-ip': self._address(ipaddress.IPv6Address, 'IPv6', 'fd00::5')})
            if 'network' not in net:
                raise Within(f'[{at}].network', 'is required')
            if any(net['network'] == other['network'] for other in nets):
                raise Within(f'[{at}].network', 'is there twice')
            nets.append(net)
            if nets != [{'network': powers.HOST}] and any(
                    net['network'] == powers.HOST for net in nets):
                raise Within(f'[{at}]', 'does not go with the network of the host, which must be '
                                        'alone and without addresses')
        return nets

    @staticmethod
    def _network(value):
        name = operations.text(value)
        if name in ('none', 'default') or name.startswith(('container:', 'ns:')):
            raise ValueError('must be a network of the engine: to share that of another '
                             'container, or none, is closed here')
        if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,127}', name):
            raise ValueError('must be the name or id of a network')
        return name

    @staticmethod
    def _port(value):
        raise ValueError('is not supported; name a network')

    @staticmethod
    def _address(kind, words, example):
        def convert(value):
            try:
                address = kind(operations.text(value))
            except ipaddress.AddressValueError:
                raise ValueError(f'must be an {words} address such as {example}') from None
            if address.is_unspecified or address.is_loopback or address.is_multicast:
                raise ValueError('must be an address that a container can have')
            return str(address)
        return convert


@dataclasses.dataclass(frozen=True)
class File:
    """A file to be put into a container before it starts for the first time."""
    destination: str
    data: bytes


@dataclasses.dataclass(frozen=True)
class HostPath:
    """A directory of the host to be mounted into a container."""
    source: str
    destination: str
    read_only: bool


class Mounts(types._Type):
    """Entries of type ``bind``: files, whose source is the content, and directories of the host.

    The content is base64.  That may begin with / too, so a source is a path if it does and is no
    longer than a path may be: a picture is content, and ``/etc`` is not.
    """
    schema = {'type': 'array', 'maxItems': MAX_FILES, 'items': {
        'type': 'object', 'additionalProperties': False,
        'required': ['type', 'source', 'destination'], 'properties': {
            'type': {'const': 'bind'}, 'source': {'type': 'string', 'contentEncoding': 'base64'},
            'destination': {'type': 'string', 'maxLength': 255},
            'read_only': {'anyOf': [operations.boolean.schema, {'enum': ['', None]}]},
            'size': {'enum': ['', None]}}}}

    def frombasetype(self, value):
        mounts, total = [], 0
        for at, entry in enumerate(_entries(value, MAX_FILES)):
            where = f'[{at}]'
            if entry.get('type') != 'bind':
                raise Within(f'{where}.type', 'must be bind, a file whose content is given: '
                                              'there are no volumes')
            mount = self._mount(where, _parts(
                where, entry, type=operations.text, source=self._source, destination=_absolute,
                read_only=operations.boolean, size=self._size))
            for other in mounts:
                if _in_each_other(mount.destination, other.destination):
                    raise Within(f'{where}.destination', f'is at odds with {other.destination}')
            total += len(mount.data) if isinstance(mount, File) else 0
            if total > FILES_BYTES:
                raise Within(f'{where}.source', f'makes more than {FILES_BYTES} bytes of all')
            mounts.append(mount)
        return mounts

    @staticmethod
    def _mount(where, parts):
        if 'destination' not in parts:
            raise Within(f'{where}.destination', 'is required')
        source = parts.get('source', b'')
        if isinstance(source, str):
            return HostPath(source, parts['destination'], parts.get('read_only', False))
        if 'read_only' in parts:
            raise Within(f'{where}.read_only', 'goes with a directory of the host')
        return File(parts['destination'], source)

    @staticmethod
    def _source(value):
        """Content as bytes; a path as text."""
        if not isinstance(value, str):
            raise ValueError('must be the content as base64')
        if _is_path(value):
            reason = powers.refused(value)
            if reason:
                raise ValueError(f'must {reason}, as a directory of the host, which it is because '
                                 f'it begins with / and is short. Content whose base64 is so '
                                 f'needs a line break before it')
            return value
        try:
            return base64.b64decode(re.sub(r'[\r\n]', '', value), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError('must be the content as base64') from None

    @staticmethod
    def _size(value):
        raise ValueError('goes with volumes, which there are none of')


def _is_path(source):
    return source.startswith('/') and not source.startswith('//') and len(source) <= 255


def _in_each_other(one, other):
    return f'{one}/'.startswith(f'{other}/') or f'{other}/'.startswith(f'{one}/')


class Tmpfs(types._Type):
    """Directories in memory: {"/run": "16m"}; an empty size is 64m."""
    schema = {'type': 'object', 'maxProperties': MAX_TMPFS,
              'additionalProperties': {'type': ['string', 'integer', 'null']}}

    def frombasetype(self, value):
        if not isinstance(value, dict) or len(value) > MAX_TMPFS:
            raise ValueError(f'must be an object of at most {MAX_TMPFS} paths and sizes')
        made = {}
        for path, size in value.items():
            try:
                made[_absolute(path)] = TMPFS_BYTES if size in (None, '') else _size(size)
            except ValueError as exc:
                raise Within(f'.{_shown(path)}', exc) from None
        return made


class CpuPolicy(types.Neutral):
    """There are no dedicated cores, so all are shared."""

    def __init__(self):
        super().__init__('shared')


_ZONE = types.Text(255, 1, r'[A-Za-z0-9][A-Za-z0-9_.: -]*', 'is not the name of a zone')


class ContainerCreate(wtypes.Base):
    """Body of POST /v1/containers."""
    image = wsme.wsattr(types.Image(), mandatory=True)
    name = types.Name()
    command = types.Command()
    entrypoint = types.Command()
    environment = types.TextMap(key_pattern=r'[^=\s]+', control=True)
    secret_environment = types.TextMap(key_pattern=operations.SECRET_NAME, control=True)
    # Some databases take no notice of blanks at the end.
    labels = types.TextMap(maximum=255, reserved=types.RESERVED_LABEL_PREFIX,
                           key_pattern=r'\S(.*\S)?')
    workdir = types.Text(255, 1, r'/.*', 'must be an absolute path')
    hostname = types.Text(64, 1, r'[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?',
                          'is not a host name')
    user = types.Text(64, 1, r'[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?',
                      'must be a user or user:group')
    cpu = types.Cpu()
    memory = types.Memory()
    disk = Asked(Whole(1, 65536))
    restart_policy = types.RestartPolicy()
    auto_remove = types.Boolean()
    auto_heal = types.Boolean()
    tty = types.Boolean()
    interactive = types.Boolean()
    read_only = types.Boolean()
    tmpfs = Asked(Tmpfs())
    stop_signal = Signal()
    stop_timeout = Whole(0, 3600)
    healthcheck = Asked(HealthCheck())
    exposed_ports = Asked(ExposedPorts())
    published_ports = Asked(PublishedPorts())
    nets = Asked(Nets())
    mounts = Asked(Mounts())
    image_pull_policy = types.Choice('never', 'always', 'ifnotpresent')
    bay_uuid = types.Text(255)
    availability_zone = Asked(_ZONE)
    host = Asked(types.Text(255))
    hints = Asked(types.TextMap(maximum=255))
    runtime = Asked(types.Text(64, 1, r'[A-Za-z0-9][A-Za-z0-9_.-]*', 'is not a runtime'))
    registry = Asked(types.Text(255))
    privileged = Asked(types.Boolean())
    # Sent by existing clients with nothing in them.
    cpu_policy = CpuPolicy()
    image_driver = types.Neutral('docker')
    security_groups = types.Neutral(['default'])
    # Names under which others have what is closed here, without underscores: an error that says
    # so is better than one that calls them unknown.
    _closed = frozenset((
        'binds', 'capadd', 'capabilities', 'cgroupparent', 'cgroupnsmode', 'devices',
        'devicerequests', 'groupadd', 'hostconfig', 'ipcmode', 'networkmode', 'oomscoreadj',
        'pidmode', 'securityopt', 'sysctls', 'ulimits', 'usernsmode', 'utsmode', 'volumes',
        'volumesfrom'))


# The microversions that some fields began with: below it they can say nothing but nothing.
SINCE = {'entrypoint': (1, 40), 'hostname': (1, 9), 'auto_remove': (1, 3), 'tty': (1, 36),
         'privileged': (1, 21), 'runtime': (1, 5), 'healthcheck': (1, 22), 'host': (1, 39),
         'nets': (1, 2), 'mounts': (1, 23), 'exposed_ports': (1, 24), 'cpu_policy': (1, 28),
         'registry': (1, 31), 'secret_environment': (1, 42)}

# Mounts of host paths began later than files.
HOST_PATHS_SINCE = (1, 42)


def _asks(name):
    return lambda asked: name if asked.get(name) else None


def _asks_for_host_network(asked):
    nets = asked.get('nets') or ()
    return 'nets[0].network' if any(net['network'] == powers.HOST for net in nets) else None


def _asks_for_host_paths(asked):
    return next((f'mounts[{at}].source' for at, _ in _host_paths(asked)), None)


def _host_paths(asked):
    return [(at, mount) for at, mount in enumerate(asked.get('mounts') or ())
            if isinstance(mount, HostPath)]


_POWERS = {powers.PRIVILEGED: _asks('privileged'), powers.HOST_NETWORK: _asks_for_host_network,
           powers.BIND_MOUNTS: _asks_for_host_paths}

# Rules that are asked besides that of the operation, with the field that asks for them.
RULES = {**{f'container:create_{name}': _asks(name)
            for name in ('runtime', 'host', 'published_ports')},
         **{powers.RULES[power]: asks for power, asks in _POWERS.items()}}

# Fields that are columns, or say where the container goes; the rest is the spec.
_COLUMNS = ('name', 'image')
_PLACE = ('bay_uuid', 'availability_zone', 'host', 'hints')


def check(asked, version, host_paths=()):
    """Raise unless the fields are there at this version, and go together.

    ``host_paths`` are directories of the host that may be mounted.
    """
    for name, since in SINCE.items():
        if version < since and asked.get(name):
            raise exceptions.InvalidParameter(
                name=name, reason=f'needs microversion {versions.text(since)}, and this request '
                                  f'is made at {versions.text(version)}')
    if asked.get('auto_remove'):
        policy = asked.get('restart_policy') or {}
        if policy.get('Name', 'no') != 'no':
            _refuse('auto_remove', 'does not go with a restart policy')
        if asked.get('auto_heal'):
            _refuse('auto_remove', 'does not go with auto_heal')
    for name in asked.get('secret_environment') or ():
        if name in (asked.get('environment') or ()):
            _refuse('secret_environment', f'has {name}, which environment has too')
    for at, mount in enumerate(asked.get('mounts') or ()):
        if asked.get('read_only') and isinstance(mount, File):
            _refuse(f'mounts[{at}]', 'cannot be put into a container that is read_only')
        for path in asked.get('tmpfs') or ():
            if _in_each_other(mount.destination, path):
                _refuse(f'mounts[{at}].destination', f'is at odds with {path} of tmpfs')
    for at, mount in _host_paths(asked):
        if version < HOST_PATHS_SINCE:
            _refuse(f'mounts[{at}].source', f'must be the content as base64; from microversion '
                                            f'{versions.text(HOST_PATHS_SINCE)} on it may be a '
                                            f'directory of the host')
        if not powers.is_allowed(mount.source, host_paths):
            _refuse(f'mounts[{at}].source', 'is no directory of the host that may be mounted '
                                            'here; the operator names those')
    if _asks_for_host_network(asked) and asked.get('published_ports'):
        _refuse('published_ports', 'does not go with the network of the host')
    if asked.get('bay_uuid') and any(asked.get(name) for name in _PLACE[1:]):
        _refuse('bay_uuid', f'does not go with {", ".join(_PLACE[1:])}')


def _refuse(name, reason):
    raise exceptions.InvalidParameter(name=name, reason=reason)


def options(asked, version):
    """What is made of the fields: (spec, files as {destination: bytes}, secret variables).

    Of these the spec has the names.

    What says nothing is left out: the digest of a container is made of what is there, and
    empty ``nets`` mean, in a spec, that it was detached from all.
    Raises BodyTooLarge.
    """
    spec = {name: value for name, value in asked.items()
            if name not in _COLUMNS and name not in _PLACE
            and name not in ('mounts', 'privileged')}
    for name in _OPTIONAL:
        if not spec.get(name, True):
            del spec[name]
    if 'memory' in spec:
        spec['memory_bytes'] = spec.pop('memory')
    if spec.get('interactive') and version < SINCE['tty']:
        spec['tty'] = True
    secret = spec.pop('secret_environment', None)
    if secret:
        spec['secret_environment'] = sorted(secret)
    opened = [power for power, asks in _POWERS.items() if asks(asked)]
    if opened:
        spec['opened'] = opened
    paths = [dataclasses.asdict(mount) for _, mount in _host_paths(asked)]
    if paths:
        spec['mounts'] = paths
    files = {mount.destination: mount.data for mount in asked.get('mounts') or ()
             if isinstance(mount, File)}
    if files:
        spec['files'] = [{'destination': path, 'size': len(data),
                          'sha256': hashlib.sha256(data).hexdigest()}
                         for path, data in files.items()]
    if len(json.dumps([spec, secret], ensure_ascii=False).encode()) > CREATE_BYTES:
        raise exceptions.BodyTooLarge(limit=CREATE_BYTES)
    return spec, files, secret


def place(asked):
    """Where the container may be placed, as ``db.bays.place`` takes it."""
    return {'bay': asked.get('bay_uuid'), 'host': asked.get('host'),
            'zone': asked.get('availability_zone'), 'labels': asked.get('hints')}


_OPTIONAL = ('auto_remove', 'auto_heal', 'read_only', 'tmpfs', 'exposed_ports',
             'published_ports', 'nets')
