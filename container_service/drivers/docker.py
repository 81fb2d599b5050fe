# SPDX-License-Identifier: Apache-2.0
"""The driver for Docker Engine, 20.10 and later, on the ``docker`` SDK's low level client.

Every change is decided by what ``inspect`` says before and after it, never by a status code
or a text alone: the engine answers the same code for different things, and a call that timed
out here may still be carried out there.  Each call on the engine is short.  That is why
``stop`` is a signal and a wait instead of the engine's own stop: a call of ours that is left
behind can then never end a container that somebody has started again since.

It is not the place for what may follow what (``lifecycle.py``) or for retries
(``conductor/runner.py``).  Names and labels of what it makes are in ``base.py``.
"""

import base64
import calendar
import codecs
import contextlib
import dataclasses
import datetime
import email.utils
import functools
import http.client
import io
import ipaddress
import itertools
import json
import re
import socket
import ssl
import struct
import tarfile
import threading
import time
import urllib.parse
import uuid

import docker
import docker.auth
import docker.constants
import docker.errors
import docker.utils.proxy
import requests
import urllib3.exceptions

from container_service import certificates
from container_service import egress
from container_service import exceptions
from container_service import references
from container_service.drivers import base
from container_service.drivers import docker_answers
from container_service.drivers import docker_api
from container_service.drivers import docker_request
from container_service.drivers import docker_streams
from container_service.drivers import logtext
from container_service.states import (
    CREATED,
    DEAD,
    DELETED,
    PAUSED,
    RESTARTING,
    RUNNING,
    STOPPED,
    UNKNOWN,
)

CONNECT_SECONDS = 3
READ_SECONDS = 30
PROBE_SECONDS = 2
POST_MORTEM_LINES = 20
PULL_STALL_SECONDS = 60          # a pull that says nothing for so long has failed
WAIT_SLICE_SECONDS = 2           # how long one look at an ending container may block
KILL_SECONDS = 20                # after SIGKILL; longer means a process the kernel cannot end
REMOVE_SECONDS = 60
REMOVE_IMAGE_SECONDS = 300       # a large one, on a slow disk
NAME_SECONDS = 10                # a name that is taken with no container to be seen
EVENTS_QUIET_SECONDS = 60
COMPARE_SECONDS = 60             # between looks at the engine's id when nothing has failed
POOL_SIZE = 64
OUTPUT_LIMIT_BYTES = 1024 * 1024
ANSWER_LIMIT_BYTES = 4 * 1024 * 1024      # of an answer that is kept in memory as a whole

_STATUSES = {
    'created': CREATED, 'running': RUNNING, 'paused': PAUSED, 'restarting': RESTARTING,
    # Removing: nobody of ours is at it when this is seen outside of a delete; if it stays so,
    # the engine has failed to remove it, which is what Dead means.
    'exited': STOPPED, 'dead': DEAD, 'removing': DEAD}
_BUSY = frozenset((RUNNING, PAUSED, RESTARTING))

# Calls of the SDK whose effect nothing brings back.
_DESTRUCTIVE = frozenset(('kill', 'remove_container'))

_ENGINE_ERRORS = (docker.errors.DockerException, requests.exceptions.RequestException,
                  urllib3.exceptions.HTTPError, http.client.HTTPException, OSError,
                  json.JSONDecodeError, egress.Refused, certificates.Bad)


# What the engine says.


def parse_time(text):
    """Return the engine's RFC 3339 time (nanoseconds) as naive UTC; None for its zero time."""
    match = re.fullmatch(r'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)',
                         text or '')
    if not match or match[1].startswith('0001-'):
        return None
    moment = datetime.datetime.fromisoformat(
        match[1] + ('+00:00' if match[3] == 'Z' else match[3]))
    microsecond = int((match[2] or '0').ljust(6, '0')[:6])
    return moment.astimezone(datetime.UTC).replace(microsecond=microsecond, tzinfo=None)


def container_status(state):
    """Return our status for the engine's ``State``."""
    return _STATUSES.get(state.get('Status'), UNKNOWN)


def human_duration(seconds):
    """Say a duration in the words of ``docker ps``."""
    seconds = max(int(seconds), 0)
    minutes, hours = seconds // 60, round(seconds / 3600)
    if seconds < 1:
        return 'Less than a second'
    if seconds == 1:
        return '1 second'
    if seconds < 60:
        return f'{seconds} seconds'
    if minutes == 1:
        return 'About a minute'
    if minutes < 60:
        return f'{minutes} minutes'
    if hours == 1:
        return 'About an hour'
    if hours < 48:
        return f'{hours} hours'
    days = hours // 24
    if days < 14:
        return f'{days} days'
    if days < 60:
        return f'{days // 7} weeks'
    if days < 730:
        return f'{days // 30} months'
    return f'{days // 365} years'


def observed(data, now=None):
    """Return Observed for an answer of ``inspect``; ``now`` is naive UTC."""
    now = now or datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    state = data.get('State') or {}
    status = container_status(state)
    ended = status in (STOPPED, DEAD, RESTARTING)
    started_at = parse_time(state.get('StartedAt'))
    finished_at = parse_time(state.get('FinishedAt')) if ended else None
    if started_at and finished_at:
        # The engine may note the start of a very short process after its end.
        finished_at = max(started_at, finished_at)
    # A container whose first start failed has exit code 127 or 128 though nothing ever ran.
    exit_code = state.get('ExitCode') if ended else None
    return base.Observed(
        status=status,
        engine_id=data.get('Id'),
        status_detail=_status_detail(status, exit_code, started_at, finished_at, now),
        exit_code=exit_code,
        oom_killed=bool(state.get('OOMKilled')),
        error=state.get('Error') or None,
        started_at=started_at,
        finished_at=finished_at,
        addresses=_addresses(data),
        ports=tuple(sorted({int(port.partition('/')[0]) for port in
                            (data.get('Config') or {}).get('ExposedPorts') or ()})),
        health=_health((state.get('Health') or {}).get('Status')))


def _health(word):
    return word if word in (base.STARTING, base.HEALTHY, base.UNHEALTHY) else None


def _status_detail(status, exit_code, started_at, finished_at, now):
    if status in (RUNNING, PAUSED) and started_at:
        words = f'Up {human_duration((now - started_at).total_seconds())}'
        return words + (' (Paused)' if status == PAUSED else '')
    if status in (STOPPED, RESTARTING) and finished_at:
        verb = 'Exited' if status == STOPPED else 'Restarting'
        ago = human_duration((now - finished_at).total_seconds())
        return f'{verb} ({exit_code}) {ago} ago'
    return status


def listed(data):
    """Return Listed for one entry of the engine's list."""
    labels = data.get('Labels') or {}
    # Links to others give it further names, with a slash in them.
    names = [name[1:] for name in data.get('Names') or () if '/' not in name[1:]]
    words = data.get('Status') or ''
    code = re.match(r'(?:Exited|Restarting) \((\d+)\)', words)
    health = re.search(r'\((?:health: )?(starting|healthy|unhealthy)\)$', words)
    return base.Listed(
        engine_id=data['Id'], name=names[0] if names else None,
        uuid=labels.get(base.LABEL_CONTAINER), generation=_generation(labels),
        status=container_status({'Status': data.get('State')}),
        exit_code=int(code[1]) if code else None, health=health and health[1])


def _generation(labels):
    text = labels.get(base.LABEL_GENERATION) or ''
    return int(text) if re.fullmatch(r'[0-9]{1,9}', text, re.ASCII) else None


def event(data):
    """Return Event for one item of the engine's event stream; None for what does not matter."""
    actor = data.get('Actor') or {}
    attributes = actor.get('Attributes') or {}
    kind = (data.get('Action') or '').partition(':')[0]
    if kind not in base.EVENTS or not actor.get('ID'):
        return None
    code = attributes.get('exitCode') or ''
    return base.Event(
        time=data.get('timeNano') or int(data.get('time') or 0) * 10 ** 9, kind=kind,
        engine_id=actor['ID'], uuid=attributes.get(base.LABEL_CONTAINER),
        exit_code=int(code) if code.isdecimal() else None, signal=attributes.get('signal'))


def repo_digest(data, name):
    """The digest under which an image came from the registry of ``name``; None when it did not."""
    for text in data.get('RepoDigests') or ():
        repo, _, digest = text.partition('@')
        if repo == name:
            return digest
    return None


def _address_of(data, network):
    """The addresses that a container has, or is to have, in a network; None: not attached."""
    about = data['NetworkSettings']['Networks'].get(network['Name'])
    if about is None:
        return None
    asked = about.get('IPAMConfig') or {}
    return [address for address in (
        asked.get('IPv4Address'), asked.get('IPv6Address'), about.get('IPAddress'),
        about.get('GlobalIPv6Address')) if address]


def _addresses(data):
    networks = docker_request.networks_of(data)
    mode = (data.get('HostConfig') or {}).get('NetworkMode') or 'default'
    if not networks and mode != docker_request.NO_NETWORK:
        networks = {'bridge' if mode == 'default' else mode: {}}
    found = {}
    for name, network in networks.items():
        addresses = ((4, network.get('IPAddress')), (6, network.get('GlobalIPv6Address')))
        found[name] = [
            {'addr': address, 'version': version, 'port': None, 'subnet_id': None,
             'preserve_on_delete': False}
            for version, address in addresses if address]
    return found


def _archive(files):
    """A tar archive of files, as {absolute path: bytes}, to be unpacked at the root."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode='w') as archive:
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(path.lstrip('/'))
            entry.size, entry.mode, entry.mtime = len(data), 0o644, int(time.time())
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _refuse_disk(container, exc):
    """Raise UnsupportedByDriver if an engine that cannot limit disk was asked to."""
    if container.spec.get('disk') and 'storage-opt' in engine_words(exc).lower():
        raise exceptions.UnsupportedByDriver(
            f'disk: the storage driver of this engine cannot limit it: {engine_words(exc)}',
            hint='Leave disk out, or place the container on another bay.') from exc


def items_of(pieces):
    """Yield the items of a JSON list that comes in pieces of bytes, without keeping it all."""
    decoder, feed = json.JSONDecoder(), codecs.getincrementaldecoder('utf-8')()
    text, begun = '', False
    for piece in itertools.chain(pieces, (None,)):
        text += feed.decode(piece or b'', final=piece is None)
        if not begun:
            if text.lstrip()[:1] not in ('', '['):
                raise docker.errors.DockerException('what the engine answers is not a list')
            begun, text = text.lstrip()[:1] == '[', text.lstrip()[1:]
        at = 0
        while begun:
            while at < len(text) and text[at] in ' \r\n\t,':
                at += 1
            try:
                item, at = decoder.raw_decode(text, at)
            except ValueError:
                break                 # the rest of it has not come yet
            yield item
        text = text[at:]
    if text.strip() != ']':
        raise docker.errors.DockerException('the list of the engine was cut off')


class PullProgress:
    """Adds up what the engine says of the layers of one pull."""

    _DONE = ('Pull complete', 'Already exists')
    _STEPS = ('Pulling fs layer', 'Waiting', 'Downloading', 'Verifying Checksum',
              'Download complete', 'Extracting', 'Pull complete', 'Already exists')

    def __init__(self, image):
        self.image = image
        self._layers = {}        # id: [bytes, bytes in total, done]

    def feed(self, item):
        """Take one item of the stream; return whether it told something of a layer."""
        step, layer_id = item.get('status'), item.get('id')
        # "Pulling from ..." has an id too: the tag.
        if not layer_id or step not in self._STEPS:
            return False
        layer = self._layers.setdefault(layer_id, [0, 0, False])
        detail = item.get('progressDetail') or {}
        if step == 'Downloading':
            layer[0] = detail.get('current') or 0
            # A server that does not tell the size gives none, or -1.
            layer[1] = max(detail.get('total') or 0, layer[0])
        elif step in ('Download complete', 'Extracting', 'Pull complete'):
            if step == 'Extracting' and not layer[1]:
                # So small that its download was never reported.
                layer[1] = detail.get('total') or 0
            layer[0] = layer[1]
        layer[2] = layer[2] or step in self._DONE
        return True

    def to_dict(self):
        layers = self._layers.values()
        return {'image': self.image,
                'layers': len(layers), 'layers_done': sum(layer[2] for layer in layers),
                'bytes': sum(layer[0] for layer in layers),
                'bytes_total': sum(layer[1] for layer in layers)}


class Demultiplexer:
    """Takes the frames of an output stream apart: the payloads in order, of both streams.

    The frames are 4 bytes of kind and 4 of length, then the payload; pieces may be cut
    anywhere.  A terminal's output has no frames.
    """

    def __init__(self, tty=False):
        self._tty = tty
        self._header = b''
        self._left = 0           # bytes of the present frame that have not come yet

    def feed(self, data):
        """Return the payload bytes in ``data``."""
        if self._tty:
            return data
        payload = []
        view = memoryview(data)
        while view:
            if self._left:
                payload.append(bytes(view[:self._left]))
                view, self._left = view[self._left:], self._left - len(payload[-1])
                continue
            missing = 8 - len(self._header)
            self._header += bytes(view[:missing])
            view = view[missing:]
            if len(self._header) == 8:
                self._left = struct.unpack('>4xL', self._header)[0]
                self._header = b''
        return b''.join(payload)


# The engine cuts longer lines into pieces of this size, each with a time of its own.
_LINE_BYTES = 16 * 1024
_STAMP = re.compile(rb'(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{9})(Z|[+-]\d\d:\d\d) ')


def log_entries(pieces, tty=False):
    """Yield logtext.Entry for the bytes of a log with times, as they come."""
    seconds = functools.lru_cache(4)(_epoch_seconds)
    for stream, data in _terminal_lines(pieces) if tty else _frames(pieces):
        match = _STAMP.match(data)
        if match is None:
            raise docker.errors.DockerException('a line of the log has no time')
        yield logtext.Entry(seconds(match[1] + match[3]) * 10 ** 9 + int(match[2]), stream,
                            data[match.end():])


def _epoch_seconds(text):
    return int(datetime.datetime.fromisoformat(text.decode()).timestamp())


def _frames(pieces):
    """Yield (stream, payload) of the frames: one for each entry."""
    data = bytearray()
    for piece in pieces:
        data += piece
        at = 0
        while len(data) - at >= 8:
            kind, length = struct.unpack_from('>B3xL', data, at)
            if len(data) - at - 8 < length:
                break
            yield (logtext.STDERR if kind == 2 else logtext.STDOUT,
                   bytes(data[at + 8:at + 8 + length]))
            at += 8 + length
        del data[:at]


def _terminal_lines(pieces):
    """Yield (stdout, line) of an output without frames."""
    data = bytearray()
    for piece in itertools.chain(pieces, (None,)):
        data += piece or b''
        at = 0
        while at < len(data):
            end = _end_of_line(data, at)
            if end is None and piece is not None:
                break
            end = end or len(data)
            yield logtext.STDOUT, bytes(data[at:end])
            at = end
        del data[:at]


def _end_of_line(data, at):
    """Where the entry that begins at ``at`` ends; None when its end has not come yet."""
    stamp = _STAMP.match(data, at)
    full = (stamp.end() if stamp else at) + _LINE_BYTES
    end = data.find(b'\n', at, full + 1) + 1
    if end:
        return end
    # A piece of a long line is followed by the time of the next one.
    return full if _STAMP.match(data, full) else None


# Errors.


def driver_error(exc, bay_name, shows_certificate=False):
    """Return the DriverError for what the SDK, HTTP or the network raised."""
    if isinstance(exc, docker.errors.APIError):
        return _api_error(exc)
    words = _network_words(exc)
    if shows_certificate and words in _CUT_OFF:
        # It may have ended the connection before what it says of it was read.
        words += ", as it is when the engine does not accept the bay's client_cert"
    return exceptions.EngineUnreachable(
        f'The container engine of bay {bay_name} does not answer: {words}.')


_CUT_OFF = ('connection reset by peer', 'broken pipe', 'TLS: the connection was ended')


def _api_error(exc):
    words = engine_words(exc)
    status = exc.status_code or 500
    if status == 404 and 'no such container' in words.lower():
        return exceptions.EngineContainerMissing()
    if isinstance(exc, docker.errors.ImageNotFound):
        return exceptions.ImageNotFound(words)
    error = exceptions.DriverError(words)
    error.retriable = status >= 500 or status in (408, 429)
    return error


def engine_words(exc):
    """What the engine said, without the SDK's frame around it."""
    words = exc.explanation
    if isinstance(words, bytes):
        words = words.decode(errors='replace')
    return str(words or exc).strip()


def _network_words(exc):
    """Words for the innermost cause that says something to an operator."""
    seen, todo = set(), [exc]
    causes = []
    while todo:
        cause = todo.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        causes.append(cause)
        todo += [cause.__cause__, cause.__context__, getattr(cause, 'reason', None), *cause.args]
    for cause in causes:
        if isinstance(cause, certificates.Bad):
            return f'its {cause.name} {cause}'
        if isinstance(cause, ssl.SSLError):
            return f'TLS: {_tls_words(cause)}'
        if isinstance(cause, egress.Refused):
            return f'its endpoint {cause}'
        if isinstance(cause, socket.gaierror):
            return 'its host name cannot be resolved'
    for cause in causes:
        # A connection that was refused is a kind of connect timeout to urllib3.
        if isinstance(cause, requests.exceptions.ConnectTimeout
                      | urllib3.exceptions.ConnectTimeoutError) and not isinstance(
                          cause, urllib3.exceptions.NewConnectionError):
            return f'no connection within {CONNECT_SECONDS} seconds'
        if isinstance(cause, TimeoutError | urllib3.exceptions.ReadTimeoutError):
            return 'it took the request and gave no answer in time'
    for cause in causes:
        if (isinstance(cause, OSError) and cause.strerror
                and not isinstance(cause, requests.exceptions.RequestException)):
            return cause.strerror.lower()
    return str(causes[-1] or type(causes[-1]).__name__).rstrip('.')


# By OpenSSL's codes of what is wrong with a certificate.
_VERIFY_WORDS = {
    9: "the engine's certificate is not valid yet, by the clock of the conductor",
    10: "the engine's certificate has expired",
    62: "the engine's certificate is for another name than that of the endpoint",
    64: "the engine's certificate is for another address than that of the endpoint",
    **dict.fromkeys((2, 7, 18, 19, 20, 21), "the engine's certificate is not from an authority in "
                                         "the bay's ca_cert")}


def _tls_words(exc):
    """Words for what OpenSSL says, or what it says where there are none."""
    reason = getattr(exc, 'reason', None) or str(exc)
    if getattr(exc, 'verify_code', None):
        return _VERIFY_WORDS.get(exc.verify_code, exc.verify_message)
    if isinstance(exc, ssl.SSLEOFError) or 'EOF' in reason:
        return 'the connection was ended'
    if 'ALERT' in reason:
        if 'EXPIRED' in reason:
            return "the engine says that the bay's client_cert has expired"
        return (f"the engine does not accept the bay's client_cert, which must be from the "
                f'authority that the engine was started with (--tlscacert): {reason}')
    if reason in ('WRONG_VERSION_NUMBER', 'HTTP_REQUEST', 'RECORD_LAYER_FAILURE'):
        return f'what answers at the endpoint does not speak it: {reason}'
    return reason


_NOT_FOUND_WORDS = re.compile(
    r'manifest unknown|manifest for \S+ not found|name unknown|repository name not known'
    r'|repository does not exist|: not found$|no matching manifest|invalid reference format'
    r'|invalid repository name|no such image', re.IGNORECASE)
_REFUSED_WORDS = re.compile(
    r'unauthorized|authentication required|no basic auth credentials|access (to the resource is )?'
    r'denied|incorrect username or password|status( code)?:? 40[13]', re.IGNORECASE)
_PULL_RETRIABLE_WORDS = re.compile(
    r'timeout|deadline exceeded|connection (refused|reset)|no such host|toomanyrequests'
    r'|temporary|unexpected eof|server misbehaving|unreachable|unexpected status( code)?:? 5\d\d'
    r'|unexpected http status: 5\d\d|internal server error|bad gateway|service unavailable',
    re.IGNORECASE)


def pull_error(words, status=None):
    """Return the error for what the engine says of a pull that failed.

    Nothing but its words tells one from the other; both end the attempt all the same.
    """
    words = words.strip()
    # Docker's own registry says of what is not there that it may be private.
    refused = status in (401, 403) or _REFUSED_WORDS.search(words)
    if refused and 'repository does not exist' not in words:
        return exceptions.RegistryRefused(words)
    if status == 404 or _NOT_FOUND_WORDS.search(words):
        return exceptions.ImageNotFound(words)
    error = exceptions.PullFailed(words)
    error.retriable = bool(_PULL_RETRIABLE_WORDS.search(words))
    return error


# What an engine says that ends or begins, and that is not about the container.
_START_RETRIABLE_WORDS = re.compile(
    r'shutting down|transport is closing|connection is closing|connection error|: unavailable$'
    r'|context canceled|libnetwork\.\w+: open : no such file',
    re.IGNORECASE)


def start_error(words):
    """Return the error for what the engine says of a start that failed."""
    error = exceptions.StartFailed(words)
    if _START_RETRIABLE_WORDS.search(words):
        error.retriable, error.hint = True, None
    return error


def _raises_driver_errors(method):
    """Let a method of the driver raise DriverError (and what is ours already), nothing else."""
    @functools.wraps(method)
    def guarded(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except exceptions.Error:
            raise
        except _ENGINE_ERRORS as exc:
            if isinstance(exc, docker.errors.APIError) and 'client version' in engine_words(exc):
                # The engine was up- or downgraded under us: agree on a version again.
                self._forget_client()
            raise self._driver_error(exc) from exc
    return guarded


# The client.


class _Client(docker.APIClient):
    """The SDK's client, bound to what the bay says and to nothing of the conductor's own user.

    The SDK reads the docker settings in the home directory and the proxy environment.  Their
    registry credentials, headers and proxies would then work for every tenant.
    """

    def __init__(self, bay, read_seconds, first_read_seconds):
        base_url = bay.endpoint
        super().__init__(base_url, version=docker.constants.MINIMUM_DOCKER_API_VERSION,
                         timeout=read_seconds, tls=bool(bay.ca_cert), max_pool_size=POOL_SIZE)
        self.trust_env = False
        self._info = None
        self._general_configs = {}
        self._auth_configs = docker.auth.AuthConfig({})
        self._proxy_configs = docker.utils.proxy.ProxyConfig()
        if not base_url.startswith('unix:'):
            context = bay.ca_cert and certificates.context(
                bay.ca_cert, bay.client_cert, bay.client_key)
            for scheme in ('http://', 'https://'):
                self.mount(scheme, egress.Adapter(bay.policy.connect, context,
                                                  pool_maxsize=POOL_SIZE))
        try:
            self.timeout = first_read_seconds
            self._version = docker_api.negotiate(self.version(api_version=False), bay.name)
            self.timeout = read_seconds
        except BaseException:
            self.close()
            raise

    def send(self, request, **kwargs):
        """Send with the time limit for connecting, which the SDK has no word for."""
        timeout = kwargs.get('timeout')
        if not isinstance(timeout, tuple):
            connect = CONNECT_SECONDS if timeout is None else min(CONNECT_SECONDS, timeout)
            kwargs['timeout'] = (connect, timeout)
        kwargs['allow_redirects'] = False      # no engine redirects; follow nobody elsewhere
        return super().send(request, **kwargs)

    def open_stream(self, method, path, timeout, params=None, body=None, headers=None):
        """Return the response of a request whose answer is read piece by piece."""
        response = self.request(method, f'{self.base_url}/v{self.api_version}{path}',
                                params=params, json=body, stream=True, timeout=timeout,
                                # What is read in pieces is read as it comes.
                                headers={'Accept-Encoding': 'identity', **(headers or {})})
        try:
            self._raise_for_status(response)
        except BaseException:
            response.close()
            raise
        return response

    def engine_id(self, seconds=None):
        """The engine's own id, which it keeps over restarts."""
        return self.engine_info(seconds).get('ID')

    def engine_info(self, seconds=None):
        response = self.get(f'{self.base_url}/v{self.api_version}/info',
                            timeout=seconds or self.timeout)
        return self._result(response, json=True)

    def info_once(self):
        """What the engine says of itself, as it was when it was first asked here."""
        if self._info is None:
            self._info = self._result(self.get(
                f'{self.base_url}/v{self.api_version}/info', timeout=self.timeout), json=True)
        return self._info

    def limit_reads(self, response, seconds):
        """Let each following read of a response take at most so long."""
        with contextlib.suppress(AttributeError):      # it was read to its end
            connection = self._get_raw_response_socket(response)
            getattr(connection, '_sock', connection).settimeout(max(seconds, 0.001))

    def shut(self, response):
        """End a response whatever reads it; its reader, in any thread, then fails at once."""
        with contextlib.suppress(OSError, AttributeError):
            connection = self._get_raw_response_socket(response)
            getattr(connection, '_sock', connection).shutdown(socket.SHUT_RDWR)
        response.close()

    def time(self):
        """The engine's clock, in whole seconds since the epoch.

        Conductors that take over from each other need one clock, and theirs may differ.
        """
        response = self.get(f'{self.base_url}/_ping', timeout=self.timeout)
        date = email.utils.parsedate(response.headers.get('Date'))
        return calendar.timegm(date) if date else int(time.time())


class _Pull:
    """One pull in progress.  Iterating gives the engine's items; closing aborts the pull."""

    def __init__(self, client, name, tag, credentials):
        self._client = client
        headers = {}
        if credentials:
            headers['X-Registry-Auth'] = docker.auth.encode_header(credentials)
        if ':' in tag:
            # The engine asks no registry for a digest that it has, whoever has pulled that.
            client.open_stream('GET', f'/distribution/{name}@{tag}/json', timeout=READ_SECONDS,
                               headers=headers).close()
        self._response = client.open_stream(
            'POST', '/images/create', timeout=PULL_STALL_SECONDS,
            params={'fromImage': name, 'tag': tag}, headers=headers)

    def __iter__(self):
        for line in self._response.iter_lines():
            if line.strip():
                yield json.loads(line)

    def close(self):
        """Abort it if it is not through.  May be called from any thread."""
        self._client.shut(self._response)


class _Events:
    """The engine's event stream; see ``base.Driver.events``."""

    def __init__(self, driver, client, deployment, since, quiet_seconds):
        self._driver, self._client = driver, client
        self._since, self._quiet_seconds = since, quiet_seconds
        self._filters = {'type': ['container'], 'event': sorted(base.EVENTS),
                         'label': [f'{base.LABEL_DEPLOYMENT}={deployment}']}
        self._response, self._closed = None, False

    def __enter__(self):
        params = {'filters': json.dumps(self._filters)}
        if self._since is not None:
            params['since'] = f'{self._since // 10 ** 9}.{self._since % 10 ** 9:09d}'
        with self._driver._driver_errors():
            self._response = self._client.open_stream(
                'GET', '/events', timeout=self._driver.read_seconds, params=params)
            self._client.limit_reads(self._response, self._quiet_seconds)
        if self._closed:
            self.close()
        return self

    def __exit__(self, *exc_info):
        self._response.close()

    def __iter__(self):
        with self._driver._driver_errors():
            try:
                for line in self._lines():
                    found = event(json.loads(line))
                    # The one that was seen comes again.  Not by "later than": clocks are set back.
                    if found and found.time != self._since:
                        yield found
            except Exception as exc:
                if self._closed or _is_read_timeout(exc):
                    return
                if not isinstance(exc, (ValueError, *_ENGINE_ERRORS)):
                    raise
            if not self._closed:
                raise self._driver.lost(
                    f'The container engine of bay {self._driver.bay.name} ended its event stream.')

    def _lines(self):
        """The lines as they come: reading through the library would wait for a full buffer."""
        rest = b''
        while piece := self._response.raw.read1(64 * 1024):
            *lines, rest = (rest + piece).split(b'\n')
            yield from filter(None, map(bytes.strip, lines))

    def close(self):
        self._closed = True
        if self._response is not None:
            self._client.shut(self._response)


class DockerDriver(base.Driver):

    # The longest silence of a pull.  Every other call about a container is shorter, or its wait
    # ends with the attempt.
    call_timeout_seconds = CONNECT_SECONDS + PULL_STALL_SECONDS

    read_seconds = READ_SECONDS

    @classmethod
    def check_endpoint(cls, endpoint, ca_cert, client_cert, client_key, allow_insecure_tcp,
                       policy):
        tls = {'ca_cert': ca_cert, 'client_cert': client_cert, 'client_key': client_key}
        given = [name for name, text in tls.items() if text]
        if endpoint.startswith('unix://'):
            path = endpoint.removeprefix('unix://')
            if not path.startswith('/') or path.endswith('/'):
                raise ValueError('must name a socket by its absolute path, as in '
                                 'unix:///var/run/docker.sock')
            if given:
                raise ValueError(f'is a unix socket, which takes no {" or ".join(given)}')
            return endpoint
        try:
            url = urllib.parse.urlsplit(endpoint)
            host, port = url.hostname, url.port
        except ValueError:
            raise ValueError('is not a valid address') from None
        if url.scheme == 'ssh':
            raise ValueError('is reached over ssh, which is not supported: use tcp:// with mutual '
                             'TLS')
        if url.scheme != 'tcp':
            raise ValueError('must begin with unix:// or tcp://')
        if not host or not port:
            raise ValueError('must name host and port, as in tcp://engine.example.org:2376')
        if url.username is not None or url.path not in ('', '/') or url.query or url.fragment:
            raise ValueError('must hold nothing but host and port after tcp://')
        to = egress.target(endpoint, {'tcp': None})
        policy.check_literal(to.host, to.port)
        if not allow_insecure_tcp and len(given) < len(tls):
            raise ValueError('needs ca_cert, client_cert and client_key: without them whoever '
                             'reaches the port owns the host')
        if bool(client_cert) != bool(client_key):
            raise ValueError('needs client_cert and client_key together')
        if client_cert and not ca_cert:
            raise ValueError('needs ca_cert with client_cert')
        return to.url.removesuffix('/')

    def __init__(self, bay):
        self.bay = bay
        self._shared_client = None
        self._publish = threading.Lock()
        # Another one with each failure: an engine that was away may have been replaced.
        self._doubt = object()
        self._settled = None          # the doubt in which the engine was last compared
        self._compare_at = 0

    def _client(self, first_read_seconds=READ_SECONDS):
        """Return the client that all threads share; the first call connects."""
        client = self._connected(first_read_seconds)
        self._compare(client, min(first_read_seconds, self.read_seconds))
        return client

    def _compare(self, client, seconds):
        """Raise OtherEngine unless what answers is the engine of the bay.

        Asked once, and again after each failure.
        """
        doubt = self._doubt
        if self.bay.engine_id is None or self._settled is doubt:
            return
        found = client.engine_id(seconds)
        if found != self.bay.engine_id:
            raise exceptions.OtherEngine(bay=self.bay.name, found=found, known=self.bay.engine_id)
        self._settled, self._compare_at = doubt, time.monotonic() + COMPARE_SECONDS

    def lost(self, detail):
        """The error of an engine that does not answer; who answers next is looked at anew."""
        self._doubt = object()
        return exceptions.EngineUnreachable(detail)

    def _driver_error(self, exc):
        error = driver_error(exc, self.bay.name, bool(self.bay.client_cert))
        if isinstance(error, exceptions.EngineUnreachable):
            self._doubt = object()
        return error

    def _connected(self, first_read_seconds):
        client = self._shared_client
        if client is None:
            # Not under the lock: with a hung engine threads would wait for each other's time
            # limit, one after the other.
            client = self._connect(min(first_read_seconds, self.read_seconds))
            with self._publish:
                self._shared_client = client = self._shared_client or client
        return client

    def _connect(self, first_read_seconds):
        return _Client(self.bay, read_seconds=self.read_seconds,
                       first_read_seconds=first_read_seconds)

    def _forget_client(self):
        self._shared_client, self._doubt = None, object()

    @_raises_driver_errors
    def ping(self):
        return self._client().engine_id()

    @_raises_driver_errors
    def info(self):
        found = self._client().engine_info()
        told = {
            'cpus': found.get('NCPU'), 'memory_bytes': found.get('MemTotal'),
            'architecture': found.get('Architecture'), 'os_type': found.get('OSType'),
            'os': found.get('OperatingSystem'), 'kernel_version': found.get('KernelVersion'),
            'runtimes': sorted(found.get('Runtimes') or ()) or None,
            'engine_version': found.get('ServerVersion')}
        return {name: value for name, value in told.items() if value}

    @_raises_driver_errors
    def probe(self):
        client = self._connected(PROBE_SECONDS)
        client.get(f'{client.base_url}/_ping', timeout=PROBE_SECONDS).raise_for_status()
        if time.monotonic() >= self._compare_at:
            # It may have been replaced between two calls.
            self._doubt = object()
        # Not in so few seconds as the answer to a ping: an engine may take its time to tell.
        self._compare(client, self.read_seconds)

    @_raises_driver_errors
    def post_mortem(self, container):
        found = self._find(container)
        if found is None:
            return None
        state = found['State']
        text = self.logs(container, tail=POST_MORTEM_LINES)['output']
        return {'log': text.splitlines()[-POST_MORTEM_LINES:],
                'exit_code': state.get('ExitCode') if parse_time(state.get('StartedAt')) else None,
                'oom_killed': bool(state.get('OOMKilled')), 'image_digest': found.get('Image'),
                'engine_error': state.get('Error') or None}

    @_raises_driver_errors
    def observe(self, container):
        found = self._find(container)
        return observed(found) if found else None

    def list(self, deployment, container_uuid=None):
        with self._driver_errors():
            for data in self._listed(deployment, container_uuid):
                yield listed(data)

    @_raises_driver_errors
    def events(self, deployment, since=None, quiet_seconds=EVENTS_QUIET_SECONDS):
        return _Events(self, self._client(), deployment, since, quiet_seconds)

    @_raises_driver_errors
    def describe(self, deployment, engine_id):
        found = self._inspect(engine_id)
        if found is None or self._labels(found).get(base.LABEL_DEPLOYMENT) != deployment:
            return None
        labels = self._labels(found)
        try:
            image = self._client().inspect_image(found['Image'])
        except docker.errors.NotFound:
            image = None
        look = observed(found)
        spec, secret = docker_request.spec_of(found, image, self.bay.limits)
        return base.Described(
            listed=base.Listed(
                engine_id=found['Id'], name=found['Name'].lstrip('/'),
                uuid=labels.get(base.LABEL_CONTAINER), generation=_generation(labels),
                status=look.status, exit_code=look.exit_code, health=look.health),
            labels=labels, image=found['Config'].get('Image'),
            spec=spec, observed=look, secret=secret, powers=docker_request.powers_of(found))

    @_raises_driver_errors
    def remove(self, attempt, deployment, engine_id, name):
        found = self.describe(deployment, engine_id)
        if found is None or found.listed.name != name:
            return False
        self._remove(attempt, engine_id, force=True, stop=False,
                     deadline=time.monotonic() + REMOVE_SECONDS)
        return True

    # What changes something.

    @_raises_driver_errors
    def pull(self, attempt, image, credentials=None):
        self._pull(attempt, image, credentials)
        found = self.find_image(image)
        if found is None:
            error = exceptions.PullFailed(f'The image {image} was pulled, and is gone already.')
            error.retriable = True
            raise error
        return found

    @_raises_driver_errors
    def find_image(self, image):
        name, tag = references.split(image)
        try:
            found = self._client().inspect_image(references.join(name, tag))
        except docker.errors.NotFound:
            return None
        return base.Image(found['Id'], found.get('Size') or 0, repo_digest(found, name))

    @_raises_driver_errors
    def tag_image(self, attempt, image, name):
        attempt.enter('tagging image')
        attempt.gate()
        self._client().tag(references.join(*references.split(image)), *references.split(name))
        return self.find_image(name)

    @_raises_driver_errors
    def remove_image(self, attempt, image):
        attempt.enter('removing image')
        attempt.gate_destructive()
        try:
            name = urllib.parse.quote(references.join(*references.split(image)))
            self._client().open_stream(
                'DELETE', f'/images/{name}', timeout=REMOVE_IMAGE_SECONDS).close()
        except docker.errors.APIError:
            # When two names of one image are removed at once, the engine fails in one or both.
            if self.find_image(image) is not None:
                raise

    @_raises_driver_errors
    def create(self, attempt, container):
        return observed(self._create(attempt, container))

    @_raises_driver_errors
    def run(self, attempt, container):
        return self._start(attempt, self._create(attempt, container))

    @_raises_driver_errors
    def start(self, attempt, container):
        if attempt.first and container.engine_id:
            return self._start_known(attempt, container)
        found = self._require(container)
        if self._started_since(attempt, container, found):
            return observed(found)
        return self._start(attempt, found)

    @_raises_driver_errors
    def stop(self, attempt, container, timeout_seconds=None):
        if timeout_seconds == 0 and attempt.first and container.engine_id:
            attempt.enter('stopping')
            if self._did(attempt, 'kill', container.engine_id, 'SIGKILL'):
                return observed(self._wait_killed(attempt, container.engine_id))
        return observed(self._stop(attempt, self._require(container),
                                   container.grace_seconds(timeout_seconds)))

    @_raises_driver_errors
    def reboot(self, attempt, container, timeout_seconds=None):
        # Two steps instead of the engine's restart: that one, left behind by a conductor that
        # died, would restart the container a second time.  A start left behind cannot.
        # What tells that it has been started is remembered once it has ended: before, a restart
        # policy could start it too, and would be taken for us.
        found = self._require(container)
        if attempt.remembered.get('engine_id') != found['Id']:
            found = self._stop(attempt, found, container.grace_seconds(timeout_seconds))
        return self._start(attempt, found)

    @_raises_driver_errors
    def pause(self, attempt, container):
        return self._freeze(attempt, container, 'pause', 'pausing', RUNNING, PAUSED)

    @_raises_driver_errors
    def unpause(self, attempt, container):
        return self._freeze(attempt, container, 'unpause', 'unpausing', PAUSED, RUNNING)

    @_raises_driver_errors
    def kill(self, attempt, container, signal='SIGKILL'):
        found = self._require(container)
        fatal = signal in ('SIGKILL', '9')
        status = container_status(found['State'])
        if attempt.remembered.get('engine_id') == found['Id']:
            if not fatal:
                raise exceptions.DriverError(
                    f'It is not known whether {signal} was sent, so it is not sent again.')
            if status not in _BUSY or self._has_restarted(attempt, found):
                return observed(found)
        if status not in _BUSY:
            raise exceptions.WrongState(operation='kill', status=status)
        self._remember(attempt, found)
        attempt.enter('killing')
        attempt.gate_destructive()
        try:
            self._client().kill(found['Id'], signal)
        except docker.errors.APIError:
            after = self._require_id(found['Id'])
            status = container_status(after['State'])
            if status in _BUSY:
                raise
            if not fatal:
                raise exceptions.WrongState(operation='kill', status=status) from None
        if fatal:
            return observed(self._wait_killed(attempt, found['Id']))
        return observed(self._require_id(found['Id']))

    @_raises_driver_errors
    def delete(self, attempt, container, force=False, stop=False):
        deadline = time.monotonic() + REMOVE_SECONDS
        attempt.enter('removing')
        if attempt.first and container.engine_id and not stop:
            self._did(attempt, 'remove_container', container.engine_id, v=True, force=force)
        # Again until nothing is found: a create left behind by a conductor that died may be
        # carried out late.
        while generations := list(self._generations(container)):
            if not (force or stop):
                # Look at all before one is removed.
                for data in generations:
                    self._check_removable(container_status({'Status': data['State']}))
            for data in generations:
                self._remove(attempt, data['Id'], force, stop, deadline, container.grace_seconds())
            self._check_time_to_remove(deadline)
        return base.Observed(status=DELETED)

    @_raises_driver_errors
    def update(self, attempt, container, cpu=None, memory_bytes=None, restart_policy=None,
               name=None, auto_heal=None):
        found = self._require(container)
        changes = docker_request.update_request(cpu, memory_bytes, restart_policy)
        docker_api.fit(changes, self._client().info_once)
        attempt.enter('updating')
        attempt.gate()
        self._client().open_stream(
            'POST', f'/containers/{found["Id"]}/update', timeout=self.read_seconds,
            body=changes).close()
        return observed(self._require_id(found['Id']))

    @_raises_driver_errors
    def rebuild(self, attempt, container, image=None, image_driver='docker'):
        # The old one stays until the new one is made and, if it is to run, has started.
        new, old = container.rebuilt(image), self._find(container)
        self._remove_other(attempt, new)
        made = self._create(attempt, new)
        if 'was_running' not in attempt.remembered:
            attempt.remember(replaces=old and old['Id'], was_running=(
                container_status(old['State']) in _BUSY if old
                else container.was_running))
        found = observed(made)
        if attempt.remembered['was_running']:
            if old:
                # Both may want the same port or address.
                self._stop(attempt, old, container.grace_seconds())
            found = self._start(attempt, self._require_id(made['Id']))
        if old:
            attempt.enter('removing')
            self._remove(attempt, old['Id'], force=True, stop=False,
                         deadline=time.monotonic() + REMOVE_SECONDS)
        return found

    def _remove_other(self, attempt, new):
        """Remove what an earlier rebuild has left, if it was to become something else."""
        found = self._inspect(new.engine_name)
        if (found and self._is_ours(found, new)
                and self._labels(found).get(base.LABEL_DIGEST) != new.digest):
            self._remove(attempt, found['Id'], force=True, stop=False,
                         deadline=time.monotonic() + REMOVE_SECONDS)

    @_raises_driver_errors
    def undo_rebuild(self, attempt, container, image=None, image_driver='docker'):
        made, old = self._find(container.rebuilt(image)), self._find(container)
        if made and not old and attempt.remembered.get('replaces'):
            return observed(made)         # the old one is removed last
        if made:
            self._remove(attempt, made['Id'], force=True, stop=False,
                         deadline=time.monotonic() + REMOVE_SECONDS)
        if old and attempt.remembered.get('was_running'):
            self._start(attempt, old)
        return None

    @_raises_driver_errors
    def put_archive(self, attempt, container, path, data):
        found = self._require(container)
        attempt.enter('copying')
        try:
            self._put(attempt, found['Id'], path, data)
        except docker.errors.APIError as exc:
            # 404 is about the path too; and of a file the engine says that it is no directory.
            missing = exc.status_code == 404 or 'not a directory' in engine_words(exc)
            if missing and self._inspect(found['Id']):
                raise exceptions.PathNotFound(
                    f'There is no directory {path} in the container.') from exc
            raise
        return observed(self._require_id(found['Id']))

    @_raises_driver_errors
    def execution(self, attempt, container, command, timeout_seconds=60, environment=None,
                  secret_environment=None, user=None, workdir=None, stdin=None):
        self._check_running('execute', container_status(self._require(container)['State']))
        attempt.enter('executing')
        base.once(attempt)
        done = self.execute(container, command, timeout_seconds, environment, secret_environment,
                            user, workdir, None if stdin is None else stdin.decode())
        try:
            found = self.observe(container)
        except exceptions.DriverError:
            found = None                  # what it gave is worth more than how the container is
        return base.with_result(found, done)

    @_raises_driver_errors
    def commit(self, attempt, container, repository, tag='latest'):
        found = self._require(container)
        name = base.committed(container, repository, tag)
        # Under this mark it is found again by an attempt that does not know whether it was made.
        mark = attempt.remembered.get('mark')
        if mark is None:
            mark = uuid.uuid4().hex
            attempt.remember(mark=mark)
        if not self._is_marked(name, mark):
            attempt.enter('committing')
            attempt.gate()
            repo, of = references.split(name)
            self._ask_long(attempt, '/commit', {
                'container': found['Id'], 'repo': repo, 'tag': of, 'comment': mark,
                **docker_request.forgetting(container)})
        return base.with_image(observed(self._require_id(found['Id'])), self.find_image(name),
                               repository, tag)

    def _ask_long(self, attempt, path, params):
        """Ask for something that may take any time; the end of the attempt ends the wait."""
        client = self._client()

        def left():
            attempt.gate()
            return WAIT_SLICE_SECONDS

        with docker_streams.Connection(self.bay, left, CONNECT_SECONDS) as stream:
            body, status = stream.ask(
                f'/v{client.api_version}{path}?{urllib.parse.urlencode(params)}', {})
        answer = requests.Response()
        answer.status_code, answer.raw = status, io.BytesIO(body)
        client._raise_for_status(answer)

    def _is_marked(self, name, mark):
        try:
            return self._client().inspect_image(name).get('Comment') == mark
        except docker.errors.NotFound:
            return False

    @_raises_driver_errors
    def network_attach(self, attempt, container, network, port=None, fixed_ip=None):
        found, wanted = self._require(container), self._network(network)
        given = _address_of(found, wanted)
        if given is not None and fixed_ip not in (None, *given):
            raise exceptions.EngineConflict(
                f'The container is attached to {wanted["Name"]} already, with another address.')
        version = fixed_ip and ipaddress.ip_address(fixed_ip).version
        self._attach(attempt, found, wanted,
                     {f'IPv{version}Address': fixed_ip} if fixed_ip else {})
        return self._attached(found['Id'], wanted)

    @_raises_driver_errors
    def network_detach(self, attempt, container, network, port=None):
        found, wanted = self._require(container), self._network(network)
        if _address_of(found, wanted) is not None:
            attempt.enter('disconnecting network')
            attempt.gate()
            try:
                self._client().disconnect_container_from_network(found['Id'], wanted['Id'])
            except docker.errors.APIError:
                if _address_of(self._require_id(found['Id']), wanted) is not None:
                    raise
        return self._attached(found['Id'], wanted)

    def _attached(self, engine_id, network):
        """What is observed, with all networks that a container is attached to now."""
        found = self._require_id(engine_id)
        networks = {name: about.get('NetworkID') or name
                    for name, about in docker_request.networks_of(found).items()}
        return dataclasses.replace(observed(found), result={
            'network': network['Name'], 'networks': networks})

    # Steps.

    def _find(self, container):
        """Return what inspect says of our container; None if the engine does not have it."""
        found = self._inspect(container.engine_name)
        if found and self._is_ours(found, container):
            return found
        # Somebody may have renamed it; it is still ours.
        for data in self._generations(container):
            if _generation(data['Labels']) == container.generation:
                found = self._inspect(data['Id'])
                if found:
                    return found
        return None

    def _inspect(self, reference):
        try:
            return self._client().inspect_container(reference)
        except docker.errors.NotFound:
            return None

    def _require(self, container):
        found = self._find(container)
        if found is None:
            raise exceptions.EngineContainerMissing()
        return found

    def _require_id(self, engine_id):
        found = self._inspect(engine_id)
        if found is None:
            raise exceptions.EngineContainerMissing()
        return found

    def _listed(self, deployment, uuid=None):
        """Yield the entries of the engine's list, one at a time."""
        labels = [f'{base.LABEL_DEPLOYMENT}={deployment}']
        if uuid:
            labels.append(f'{base.LABEL_CONTAINER}={uuid}')
        answer = self._client().open_stream(
            'GET', '/containers/json', timeout=self.read_seconds,
            params={'all': 1, 'filters': json.dumps({'label': labels})})
        with contextlib.closing(answer):
            yield from items_of(answer.iter_content(64 * 1024))

    def _generations(self, container):
        """Yield what the engine's list has of a container."""
        for data in self._listed(container.deployment, container.uuid):
            if container.has(listed(data)):
                yield data

    @contextlib.contextmanager
    def _driver_errors(self):
        """As ``_raises_driver_errors``, for what is not over when the method returns."""
        try:
            yield
        except exceptions.Error:
            raise
        except _ENGINE_ERRORS as exc:
            raise self._driver_error(exc) from exc

    @staticmethod
    def _labels(found):
        return (found.get('Config') or {}).get('Labels') or {}

    @staticmethod
    def _is_ours(found, container):
        labels = DockerDriver._labels(found)
        return (labels.get(base.LABEL_DEPLOYMENT) == container.deployment
                and labels.get(base.LABEL_CONTAINER) == container.uuid)

    @staticmethod
    def _remember(attempt, found):
        """Store what tells later whether the main process is still the one of now.

        Kept as it is when it was stored for this container before: the first attempt counts.
        """
        if attempt.remembered.get('engine_id') != found['Id']:
            attempt.remember(engine_id=found['Id'], started_at=found['State'].get('StartedAt'),
                             restart_count=found.get('RestartCount', 0))

    @staticmethod
    def _has_restarted(attempt, found):
        """Whether it was started since an attempt at this action first looked at it."""
        remembered = attempt.remembered
        return (remembered.get('engine_id') == found['Id']
                and remembered.get('started_at') != found['State'].get('StartedAt'))

    def _create(self, attempt, container):
        networks = self._networks(container)
        found = self._make(attempt, container, networks)
        return self._equip(attempt, container, networks, found)

    def _make(self, attempt, container, networks):
        # A first attempt need not look: should there be something, its name is taken.
        found = None if attempt.first else self._find(container)
        if found:
            return self._adopt(found, container)
        policy = (container.spec.get('image_pull_policy') or 'ifnotpresent').lower()
        if policy == 'always' and not attempt.pulled:
            raise exceptions.ImageAbsent(image=container.image)
        attempt.enter('creating')
        request = docker_request.create_request(
            container, self.bay.limits, [network['Name'] for network in networks],
            self._socket)
        docker_api.fit(request['HostConfig'], self._client().info_once)
        deadline = time.monotonic() + NAME_SECONDS
        while True:
            attempt.gate()
            try:
                engine_id = self._client().create_container_from_config(
                    request, name=container.engine_name)['Id']
            except docker.errors.ImageNotFound:
                if policy == 'never':
                    raise exceptions.ImageNotFound(
                        f'The image {container.image} is not on the engine, and the pull policy '
                        f'"never" forbids to pull it.') from None
                raise exceptions.ImageAbsent(image=container.image) from None
            except docker.errors.APIError as exc:
                found = self._inspect(container.engine_name)
                if found:
                    return self._adopt(found, container)
                if exc.status_code != 409:
                    _refuse_disk(container, exc)
                    raise
                # Somebody's create has taken the name and is not through, or their delete is
                # about to give it back: for a moment there is nothing to inspect.
                if time.monotonic() > deadline:
                    error = exceptions.DriverError(engine_words(exc))
                    error.retriable = True
                    raise error from exc
                time.sleep(0.1)
            else:
                return self._require_id(engine_id)

    def _networks(self, container):
        """What the engine says of the networks that a container is to be attached to."""
        if docker_request.has_host_network(container.spec):
            return []
        return [self._network(net['network'], f'nets[{at}].network')
                for at, net in enumerate(container.spec.get('nets') or ())]

    @property
    def _socket(self):
        """The path of the engine's socket; None where it is reached otherwise."""
        scheme, _, path = self.bay.endpoint.partition('://')
        return path if scheme == 'unix' else None

    def _network(self, reference, field='network'):
        """A network by name or id, for containers to be attached to.  Raises NetworkRefused.

        Only what the engine says tells that an id is that of the host's own network.
        """
        try:
            found = self._client().inspect_network(reference)
        except docker.errors.NotFound:
            raise exceptions.NetworkNotFound(
                field=field, network=reference, bay=self.bay.name) from None
        if found.get('Driver') in ('host', 'null') or found.get('Ingress'):
            raise exceptions.NetworkRefused(field=field, network=reference)
        return found

    def _equip(self, attempt, container, networks, found):
        """Give a container, before its first start, what a create request cannot hold.

        Where that cannot be done the container is removed again: nobody shall start half of it.
        """
        files = container.spec.get('files')
        if not files and len(networks) < 2 or parse_time(found['State'].get('StartedAt')):
            return found
        try:
            for at, network in enumerate(networks[1:], 1):
                self._attach(attempt, found, network,
                             docker_request.fixed_addresses(container.spec['nets'][at]))
            if files:
                self._put_files(attempt, found['Id'], container.files())
        except docker.errors.APIError as exc:
            with contextlib.suppress(docker.errors.NotFound):
                attempt.gate_destructive()
                self._client().remove_container(found['Id'], v=True, force=True)
            raise self._driver_error(exc) from exc
        return self._require_id(found['Id'])

    def _attach(self, attempt, found, network, addresses):
        if network['Name'] in found['NetworkSettings']['Networks']:
            return
        attempt.enter('connecting networks')
        attempt.gate()
        if docker_request.NO_NETWORK in found['NetworkSettings']['Networks']:
            # For the engine this is a network too, and one that goes with no other.
            self._client().disconnect_container_from_network(
                found['Id'], docker_request.NO_NETWORK)
        try:
            self._client().connect_container_to_network(
                found['Id'], network['Id'], ipv4_address=addresses.get('IPv4Address'),
                ipv6_address=addresses.get('IPv6Address'))
        except docker.errors.APIError:
            after = self._require_id(found['Id'])
            if network['Name'] not in after['NetworkSettings']['Networks']:
                raise

    def _put_files(self, attempt, engine_id, files):
        attempt.enter('copying files')
        self._put(attempt, engine_id, '/', _archive(files))

    def _put(self, attempt, engine_id, path, archive):
        attempt.gate()
        client = self._client()
        answer = client.put(
            f'{client.base_url}/v{client.api_version}/containers/{engine_id}/archive',
            params={'path': path, 'noOverwriteDirNonDir': 'true'}, data=archive,
            headers={'Content-Type': 'application/x-tar'}, timeout=self.read_seconds)
        client._raise_for_status(answer)

    def _adopt(self, found, container):
        """Take what has the name of our container for it, if it is what we would create."""
        if not self._is_ours(found, container):
            raise exceptions.EngineConflict(name=container.engine_name)
        if found['Config']['Labels'].get(base.LABEL_DIGEST) != container.digest:
            raise exceptions.EngineConflict(
                f'The engine has container {container.engine_name} already, made from another '
                f'image or with other options.')
        return found

    def _pull(self, attempt, image, credentials):
        attempt.enter('pulling image')
        attempt.gate()
        progress = PullProgress(image)
        attempt.report(progress.to_dict())
        try:
            items = _Pull(self._client(), *references.split(image), credentials)
            with contextlib.closing(items), attempt.closing(items.close):
                for item in items:
                    attempt.gate()
                    if item.get('error') or item.get('errorDetail'):
                        detail = item.get('errorDetail') or {}
                        raise pull_error(item.get('error') or detail.get('message') or str(item))
                    if progress.feed(item):
                        attempt.report(progress.to_dict())
        except docker.errors.APIError as exc:
            raise pull_error(engine_words(exc), exc.status_code) from exc
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as exc:
            if not _is_read_timeout(exc):
                raise
            error = exceptions.PullFailed(
                f'The pull of {image} made no progress for {PULL_STALL_SECONDS} seconds.')
            error.retriable = True
            raise error from exc

    def _did(self, attempt, verb, engine_id, *args, **kwargs):
        """Ask for a change of a container known by its id; returns whether the engine did it.

        For first attempts, which need not look before: nothing of theirs can be under way.  An
        id is never used again, so it cannot mean a container that is not ours.  Where the
        engine did not do it, the caller looks why.
        """
        if verb in _DESTRUCTIVE:
            attempt.gate_destructive()
        else:
            attempt.gate()
        try:
            getattr(self._client(), verb)(engine_id, *args, **kwargs)
        except docker.errors.APIError:
            return False
        return True

    def _start_known(self, attempt, container):
        """Start a container that no attempt of this action has touched before."""
        attempt.enter('starting')
        attempt.gate()
        words = None
        try:
            self._client().start(container.engine_id)
        except docker.errors.APIError as exc:
            words = engine_words(exc)
        after = self._require_id(container.engine_id)
        status = container_status(after['State'])
        if status == PAUSED:
            raise exceptions.WrongState(operation='start', status=status,
                                        hint='Unpause it instead.')
        if (status in (RUNNING, RESTARTING)
                or words is None and self._started_later(container, after)):
            return observed(after)
        raise start_error(
            words or after['State'].get('Error') or
            'The engine took the request, but the container did not start.')

    @staticmethod
    def _started_later(container, found):
        """Whether it was started since what is recorded of the container."""
        return parse_time(found['State'].get('StartedAt')) != container.started_at

    def _started_since(self, attempt, container, found):
        """Whether an earlier attempt, that had nothing to remember, has started it."""
        return (not attempt.remembered and not attempt.first
                and found['Id'] == container.engine_id
                and self._started_later(container, found))

    def _start(self, attempt, found):
        engine_id = found['Id']
        status = container_status(found['State'])
        if self._has_restarted(attempt, found) or status in (RUNNING, RESTARTING):
            return observed(found)
        if status == PAUSED:
            raise exceptions.WrongState(operation='start', status=status,
                                        hint='Unpause it instead.')
        self._remember(attempt, found)
        attempt.enter('starting')
        attempt.gate()
        words = None
        try:
            self._client().start(engine_id)
        except docker.errors.APIError as exc:
            words = engine_words(exc)
        # Always look again: a start during a running stop is answered as done, and the
        # container then ends.
        after = self._require_id(engine_id)
        if after['State'].get('StartedAt') != found['State'].get('StartedAt'):
            return observed(after)
        if container_status(after['State']) in (RUNNING, RESTARTING):
            return observed(after)
        raise start_error(
            words or after['State'].get('Error') or
            'The engine took the request, but the container did not start.')

    def _stop(self, attempt, found, timeout_seconds):
        """End the main process; return what inspect says once it has ended."""
        engine_id = found['Id']
        if container_status(found['State']) not in _BUSY:
            return found
        attempt.enter('stopping')
        now = self._client().time()
        began = attempt.remembered.get('stop_began')
        if began is None:
            began = now
            attempt.remember(stop_began=began)
        if container_status(found['State']) == PAUSED:
            # A frozen process cannot handle the signal.
            found = self._thaw(attempt, engine_id)
        remaining = min(max(timeout_seconds - (now - began), 0), timeout_seconds)
        attempt.gate_destructive()
        try:
            # The engine takes this signal for a stop: its restart policy does not apply.
            self._client().kill(engine_id, found['Config'].get('StopSignal') or 'SIGTERM')
        except docker.errors.APIError:
            if container_status(self._require_id(engine_id)['State']) in _BUSY:
                raise
        found = self._wait_ended(attempt, engine_id, remaining)
        if container_status(found['State']) not in _BUSY:
            return found
        attempt.gate_destructive()
        try:
            self._client().kill(engine_id, 'SIGKILL')
        except docker.errors.APIError:
            if container_status(self._require_id(engine_id)['State']) in _BUSY:
                raise
        return self._wait_killed(attempt, engine_id)

    def _thaw(self, attempt, engine_id):
        attempt.gate_destructive()
        try:
            self._client().unpause(engine_id)
        except docker.errors.APIError:
            if container_status(self._require_id(engine_id)['State']) == PAUSED:
                raise
        return self._require_id(engine_id)

    def _wait_killed(self, attempt, engine_id):
        found = self._wait_ended(attempt, engine_id, KILL_SECONDS)
        if container_status(found['State']) in _BUSY:
            error = exceptions.DriverError(
                f'The container did not end within {KILL_SECONDS} seconds after SIGKILL.')
            error.retriable = True
            raise error
        return found

    def _wait_ended(self, attempt, engine_id, seconds):
        """Wait until the main process has ended, at most so long; return what inspect says."""
        deadline = time.monotonic() + seconds
        while True:
            remaining = deadline - time.monotonic()
            if remaining > 0:
                # A short wait each time: a fenced attempt must not go on to kill.
                with contextlib.suppress(requests.exceptions.RequestException):
                    self._client().wait(engine_id, timeout=min(remaining, WAIT_SLICE_SECONDS))
            found = self._require_id(engine_id)
            if container_status(found['State']) not in _BUSY or remaining <= 0:
                return found
            attempt.gate()
            time.sleep(min(0.05, max(deadline - time.monotonic(), 0)))

    def _freeze(self, attempt, container, verb, stage, before, after):
        attempt.enter(stage)
        if attempt.first and container.engine_id and self._did(
                attempt, verb, container.engine_id):
            found = self._require_id(container.engine_id)
            if container_status(found['State']) == after:
                return observed(found)
        found = self._require(container)
        status = container_status(found['State'])
        if status == after:
            return observed(found)
        if status != before:
            raise exceptions.WrongState(operation=verb, status=status)
        attempt.gate()
        error = None
        try:
            getattr(self._client(), verb)(found['Id'])
        except docker.errors.APIError as exc:
            error = exc
        found = self._require_id(found['Id'])
        status = container_status(found['State'])
        if status == after:
            return observed(found)
        if error is not None and status == before:
            raise error
        raise exceptions.WrongState(operation=verb, status=status)

    def _remove(self, attempt, engine_id, force, stop, deadline,
                grace_seconds=base.STOP_GRACE_SECONDS):
        """Remove one engine container with its anonymous volumes; return when it is gone."""
        while found := self._inspect(engine_id):
            status = container_status(found['State'])
            if status in _BUSY and stop:
                self._stop(attempt, found, grace_seconds)
                attempt.enter('removing')
            elif not force:
                self._check_removable(status)
            attempt.gate_destructive()
            try:
                # What the engine failed to remove before goes only with force.
                self._client().remove_container(engine_id, v=True, force=force or status == DEAD)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as exc:
                # 409: its removal is under way, or it runs again; look which.
                if exc.status_code != 409:
                    raise
                self._check_time_to_remove(deadline, engine_words(exc))
                time.sleep(0.1)
            else:
                self._check_time_to_remove(deadline)

    @staticmethod
    def _check_removable(status):
        if status in _BUSY:
            raise exceptions.WrongState(
                operation='delete', status=status,
                hint='Stop it first, or delete it with stop=true or force=true.')

    @staticmethod
    def _check_time_to_remove(deadline, words='it is still there'):
        if time.monotonic() > deadline:
            error = exceptions.DriverError(
                f'The container was not removed within {REMOVE_SECONDS} seconds: {words}')
            error.retriable = True
            raise error

    # Blocking operations.

    @_raises_driver_errors
    def logs(self, container, stdout=True, stderr=True, timestamps=False, tail=None, since=None,
             cursor=None):
        since = None if since is None else int(base.parse_since(since) * 10 ** 9)
        found = self._require(container)
        return logtext.answer(
            functools.partial(self._log_entries, found, _Deadline(self.read_seconds)), found['Id'],
            stdout=stdout, stderr=stderr, timestamps=timestamps, tail=tail, since=since,
            cursor=cursor)

    def _log_entries(self, found, deadline, since, tail):
        """Yield the entries of a log, from a time on (nanoseconds), of the last so many."""
        params = {'stdout': 1, 'stderr': 1, 'timestamps': 1, 'follow': 0,
                  'tail': 'all' if tail is None else tail}
        if since is not None:
            params['since'] = f'{since // 10 ** 9}.{since % 10 ** 9:09d}'
        with contextlib.closing(self._client().open_stream(
                'GET', f'/containers/{found["Id"]}/logs', timeout=deadline.left(),
                params=params)) as answer:
            yield from log_entries(self._pieces(answer, deadline), found['Config'].get('Tty'))

    def _pieces(self, answer, deadline):
        """Yield the pieces of an answer as they come, until the deadline."""
        client = self._client()
        while True:
            client.limit_reads(answer, deadline.left())
            piece = answer.raw.read1(64 * 1024)
            if not piece:
                return
            yield piece

    @_raises_driver_errors
    def top(self, container, ps_args=None):
        with self._of_running('top', container) as (found, deadline):
            try:
                told = self._bounded_json(
                    deadline, 'GET', f'/containers/{found["Id"]}/top',
                    params={'ps_args': ps_args} if ps_args else None)
            except docker.errors.APIError as exc:
                if ps_args and self._status_of(found['Id']) == RUNNING:
                    raise exceptions.InvalidParameter(
                        name='ps_args', reason=engine_words(exc).rstrip('.')) from exc
                raise
        return {'titles': told.get('Titles') or [], 'processes': told.get('Processes') or []}

    @_raises_driver_errors
    def stats(self, container):
        with self._of_running('stats', container) as (found, deadline):
            told = docker_answers.stats(self._bounded_json(
                deadline, 'GET', f'/containers/{found["Id"]}/stats', params={'stream': 'false'}))
        if told is None:
            raise exceptions.WrongState(operation='stats', status=self._status_of(found['Id']))
        return told

    @_raises_driver_errors
    def inspect(self, container):
        return docker_answers.inspected(self._require(container), container.hidden)

    @_raises_driver_errors
    def diff(self, container):
        kinds = {0: 'changed', 1: 'added', 2: 'deleted'}
        told = self._bounded_json(_Deadline(self.read_seconds), 'GET',
                                  f'/containers/{self._require(container)["Id"]}/changes')
        return {'changes': [{'path': each['Path'], 'kind': kinds[each['Kind']]}
                            for each in told or ()]}

    @_raises_driver_errors
    def get_archive(self, container, path):
        found, deadline = self._require(container), _Deadline(self.read_seconds)
        limit = self.bay.limits.archive_bytes
        try:
            answer = self._client().open_stream(
                'GET', f'/containers/{found["Id"]}/archive', params={'path': path},
                timeout=deadline.left())
        except docker.errors.APIError as exc:
            # 404 is about the path too; and 400 is a part of it that is no directory.
            if exc.status_code in (400, 404) and self._inspect(found['Id']):
                raise exceptions.PathNotFound(path=path) from exc
            raise
        with contextlib.closing(answer):
            stat = docker_answers.stat(json.loads(base64.b64decode(
                answer.headers.get('X-Docker-Container-Path-Stat') or b'e30=')))
            data = bytearray()
            for piece in self._pieces(answer, deadline):
                data += piece
                if len(data) > limit:
                    self._client().shut(answer)        # the engine would go on with the rest
                    raise exceptions.ArchiveTooLarge(path=path, limit=limit)
        return {'data': base64.b64encode(data).decode(), 'stat': stat}

    @_raises_driver_errors
    def resize(self, container, w, h):
        with self._of_running('resize', container) as (found, deadline):
            if not found['Config'].get('Tty'):
                raise exceptions.NoTerminal(what='The container')
            self._bounded(deadline, 'POST', f'/containers/{found["Id"]}/resize',
                          params={'w': w, 'h': h})
        return {'w': w, 'h': h}

    @_raises_driver_errors
    def execute_resize(self, container, exec_id, w, h):
        with self._of_running('execute_resize', container) as (found, deadline):
            told = self._bounded_json(deadline, 'GET', f'/exec/{exec_id}/json', missing_ok=True)
            if told is None or told.get('ContainerID') != found['Id']:
                raise exceptions.ExecNotFound(exec_id=exec_id)
            if not (told.get('ProcessConfig') or {}).get('tty'):
                raise exceptions.NoTerminal(what=f'Command {exec_id}')
            if not told.get('Running'):
                raise exceptions.NoTerminal(what=f'Command {exec_id} has ended, so it')
            self._bounded(deadline, 'POST', f'/exec/{exec_id}/resize', params={'w': w, 'h': h})
        return {'w': w, 'h': h}

    @contextlib.contextmanager
    def _of_running(self, operation, container):
        """For a call on a container that must run: what inspect says, and the call's deadline.

        What the engine says against it becomes WrongState when it has ended meanwhile.
        """
        found = self._require(container)
        self._check_running(operation, container_status(found['State']))
        try:
            yield found, _Deadline(self.read_seconds)
        except docker.errors.APIError:
            self._check_running(operation, self._status_of(found['Id']))
            raise

    @staticmethod
    def _check_running(operation, status):
        if status != RUNNING:
            raise exceptions.WrongState(operation=operation, status=status)

    def _status_of(self, engine_id):
        return container_status(self._require_id(engine_id)['State'])

    @_raises_driver_errors
    def execute(self, container, command, timeout_seconds=60, environment=None,
                secret_environment=None, user=None, workdir=None, stdin=None, run=True,
                interactive=False):
        deadline = _Deadline(timeout_seconds)
        variables = {**(environment or {}), **(secret_environment or {})}
        request = {'Cmd': command, 'AttachStdout': True, 'AttachStderr': True,
                   'AttachStdin': stdin is not None}
        for name, value in (('User', user), ('WorkingDir', workdir), ('Env', [
                f'{name}={value}' for name, value in variables.items()])):
            if value:
                request[name] = value
        try:
            return self._execute(container, request, stdin, deadline)
        except (requests.exceptions.Timeout, requests.exceptions.ConnectionError,
                urllib3.exceptions.TimeoutError, TimeoutError) as exc:
            # A time limit of a single call, shorter than the command's, is the engine's fault.
            if deadline.passed() and (isinstance(exc, TimeoutError) or _is_read_timeout(exc)):
                raise exceptions.ExecuteTimeout(seconds=timeout_seconds) from exc
            raise

    def _execute(self, container, request, stdin, deadline):
        self._client(deadline.left())
        found = self._bounded_json(deadline, 'GET', f'/containers/{container.engine_name}/json',
                                   missing_ok=True)
        if not found or not self._is_ours(found, container):
            found = self._require(container)
        self._check_running('execute', container_status(found['State']))
        try:
            exec_id = self._bounded_json(
                deadline, 'POST', f'/containers/{found["Id"]}/exec', request)['Id']
        except docker.errors.APIError:
            # It may have ended, or was paused, since the look above.
            self._check_running('execute', self._status_of(found['Id']))
            raise
        output, truncated = bytearray(), False
        frames = Demultiplexer()
        try:
            for piece in self._output(exec_id, stdin, deadline):
                payload = frames.feed(piece)
                room = OUTPUT_LIMIT_BYTES - len(output)
                truncated = truncated or len(payload) > room
                output += payload[:room]
        except docker.errors.APIError as exc:
            # Some engines tell here that the command does not exist, others in the output.
            output += engine_words(exc).encode()
        return base.Executed(
            output=output.decode(errors='replace'), exec_id=exec_id, truncated=truncated,
            exit_code=self._exit_code(exec_id, deadline))

    def _output(self, exec_id, stdin, deadline):
        """Start a command; yield what it writes, while it is given what it reads."""
        client, path = self._client(), f'/exec/{exec_id}/start'
        body = {'Detach': False, 'Tty': False}
        if stdin is None:
            # Without the SDK's request for an upgrade of the connection: with it, output that
            # comes together with the headers is lost.
            with contextlib.closing(client.open_stream(
                    'POST', path, timeout=deadline.left(), body=body)) as answer:
                yield from self._pieces(answer, deadline)
            return
        with docker_streams.Connection(self.bay, deadline.left, CONNECT_SECONDS) as stream:
            began, status = stream.post(f'/v{client.api_version}{path}', body)
            if status != 200:
                raise docker.errors.APIError(f'status {status}', explanation=began)
            yield began
            yield from stream.exchange(stdin.encode(), end=True)

    def _exit_code(self, exec_id, deadline):
        # The stream may end a moment before the engine has noted the exit code.
        while True:
            data = self._bounded_json(deadline, 'GET', f'/exec/{exec_id}/json')
            if not data['Running'] and data.get('ExitCode') is not None:
                return data['ExitCode']
            time.sleep(min(0.02, deadline.left()))

    def _bounded_json(self, deadline, method, path, body=None, params=None, missing_ok=False):
        """Ask for a JSON answer within the deadline and the limit of any call."""
        try:
            return json.loads(self._bounded(deadline, method, path, body, params))
        except docker.errors.NotFound:
            if missing_ok:
                return None
            raise

    def _bounded(self, deadline, method, path, body=None, params=None):
        """The bytes of an answer that comes within the deadline and is not too much."""
        data = bytearray()
        with contextlib.closing(self._client().open_stream(
                method, path, timeout=min(deadline.left(), self.read_seconds), params=params,
                body=body)) as answer:
            for piece in self._pieces(answer, deadline):
                data += piece
                if len(data) > ANSWER_LIMIT_BYTES:
                    raise exceptions.DriverError(
                        f'The engine answered with more than {ANSWER_LIMIT_BYTES} bytes.')
        return data


class _Deadline:
    """A point on the monotonic clock."""

    def __init__(self, seconds):
        self._end = time.monotonic() + seconds

    def passed(self):
        return time.monotonic() >= self._end - 0.05

    def left(self):
        """Seconds until then; raises TimeoutError when none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError()
        return left


def _is_read_timeout(exc):
    """Whether the engine took a request and then said nothing for too long."""
    if isinstance(exc, requests.exceptions.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
        return True
    return any(isinstance(cause, urllib3.exceptions.ReadTimeoutError | TimeoutError)
               for cause in (*exc.args, exc.__cause__, exc.__context__))
