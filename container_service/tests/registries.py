# SPDX-License-Identifier: Apache-2.0
"""Images of a test's own in the registry of the test run, and a slow way to them."""

import hashlib
import io
import json
import os
import re
import shutil
import socket
import tarfile
import threading
import time
import uuid

import bcrypt
import fixtures as pyfixtures
import requests

from container_service.tests import fixtures

_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
_CONFIG = 'application/vnd.docker.container.image.v1+json'
_LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip'

_CONFIGURATION = '''\
version: 0.1
storage:
  filesystem:
    rootdirectory: {directory}/data
  delete:
    enabled: true
http:
  addr: {address}
auth:
  htpasswd:
    realm: test
    path: {directory}/htpasswd
'''

_REQUEST = re.compile(rb'(GET|HEAD) (/v2/\S*) HTTP/1')


class Image(pyfixtures.Fixture):
    """An image that no engine has: its layers are random bytes.

    ``name`` is its repository, to be asked for under the address of a registry.  It is pushed to
    that of the test run, or to ``registry``, a PrivateRegistry.
    """

    def __init__(self, layers=3, layer_bytes=4_000_000, registry=None):
        self._count, self._size, self._registry = layers, layer_bytes, registry

    def _setUp(self):
        self.name = f'cs-test/{uuid.uuid4().hex}'
        address = (self._registry.address if self._registry
                   else fixtures.needed('CS_TEST_REGISTRY'))
        self._url = f'http://{address}/v2/{self.name}'
        self._session = requests.Session()
        if self._registry:
            self._session.auth = (self._registry.username, self._registry.password)
        self._session.trust_env = False
        self.addCleanup(self._session.close)
        layers, digests = [], []
        for number in range(self._count):
            data = _tar(f'data{number}', os.urandom(self._size))
            # Not compressed: random bytes would not shrink.  The engine looks at the bytes.
            layers.append(self._upload(data, _LAYER))
            digests.append(_digest(data))
        config = json.dumps({
            'architecture': 'amd64', 'os': 'linux', 'config': {'Cmd': ['/none']},
            'rootfs': {'type': 'layers', 'diff_ids': digests}}).encode()
        manifest = json.dumps({
            'schemaVersion': 2, 'mediaType': _MANIFEST,
            'config': self._upload(config, _CONFIG), 'layers': layers}).encode()
        self._request('PUT', f'{self._url}/manifests/latest', manifest, _MANIFEST)
        self.layers = digests
        self.addCleanup(self._session.delete, f'{self._url}/manifests/{_digest(manifest)}',
                        timeout=10)

    def _upload(self, data, kind):
        begun = self._request('POST', f'{self._url}/blobs/uploads/')
        location = begun.headers['Location']
        joint = '&' if '?' in location else '?'
        digest = _digest(data)
        self._request('PUT', f'{location}{joint}digest={digest}', data,
                      'application/octet-stream')
        self.addCleanup(self._session.delete, f'{self._url}/blobs/{digest}', timeout=10)
        return {'mediaType': kind, 'size': len(data), 'digest': digest}

    def _request(self, method, url, data=None, kind=None):
        answer = self._session.request(
            method, url, data=data, headers=kind and {'Content-Type': kind}, timeout=30)
        answer.raise_for_status()
        return answer


def _digest(data):
    return f'sha256:{hashlib.sha256(data).hexdigest()}'


def _tar(name, data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as tar:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


class PrivateRegistry(pyfixtures.Fixture):
    """A registry of a test's own that wants a password.

    ``address`` is where it is, ``username`` and ``password`` what it wants.
    """

    username = 'ci'

    def _setUp(self):
        directory = self.useFixture(pyfixtures.TempDir()).path
        self.password = f'hidden-{uuid.uuid4().hex}'
        self.address = f'127.0.0.1:{fixtures.free_port()}'
        self._write(directory, 'htpasswd', f'{self.username}:' + bcrypt.hashpw(
            self.password.encode(), bcrypt.gensalt(4)).decode())
        config = self._write(directory, 'config.yml', _CONFIGURATION.format(
            directory=directory, address=self.address))
        process = fixtures.Process(shutil.which('docker-registry'), ['serve', config],
                                   os.path.join(directory, 'log'))
        self.addCleanup(process.kill)
        fixtures.eventually(self._is_up, 30, 0.1)

    @staticmethod
    def _write(directory, name, text):
        path = os.path.join(directory, name)
        with open(path, 'w') as file:
            file.write(text)
        return path

    def _is_up(self):
        host, _, port = self.address.rpartition(':')
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return False
        return True


class SlowRegistry(pyfixtures.Fixture):
    """The registry of the test run behind a thin line.

    ``address`` is where it is.  ``rate`` is the bytes in a second that all connections share,
    None for no limit, 0 for nothing at all.  ``requests`` is what was asked for, as (method,
    path); ``sent`` counts the bytes of answers, and ``sent_at`` is when the last of them left.
    """

    def __init__(self, rate=None):
        self.rate = rate
        self.requests = []
        self.sent, self.sent_at = 0, 0.0
        self._lock = threading.Lock()
        self._next_at = 0.0           # when the line is free again
        self._closed = threading.Event()

    def _setUp(self):
        host, _, port = fixtures.needed('CS_TEST_REGISTRY').rpartition(':')
        self._registry = host, int(port)
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.address = f'127.0.0.1:{self._listener.getsockname()[1]}'
        self.addCleanup(self._listener.close)
        self.addCleanup(self._closed.set)
        threading.Thread(target=self._accept, daemon=True).start()

    def asked_for(self, kind):
        """The paths of the GET requests for manifests, or for blobs."""
        return [path for method, path in list(self.requests)
                if method == 'GET' and f'/{kind}/' in path]

    def _accept(self):
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
                registry = socket.create_connection(self._registry, 10)
            except OSError:
                continue
            registry.settimeout(None)
            for ends in ((client, registry, self._note), (registry, client, self._slow_down)):
                threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source, target, each):
        try:
            # Small pieces: the rate is kept by pauses between them.
            while data := source.recv(16384):
                each(data)
                target.sendall(data)
        except OSError:
            pass
        finally:
            # Whoever waits on either end must hear of it at once.
            for end in (source, target):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            source.close()

    def _note(self, data):
        # The engine writes the head of a request in one piece.
        found = _REQUEST.match(data)
        if found:
            self.requests.append((found[1].decode(), found[2].decode()))

    def _slow_down(self, data):
        while self.rate == 0 and not self._closed.is_set():
            time.sleep(0.05)
        with self._lock:
            if self.rate:
                now = time.monotonic()
                begins = max(now, self._next_at)
                self._next_at = begins + len(data) / self.rate
                pause = begins - now
            else:
                pause = self._next_at = 0
        # In slices: the limit may be lifted meanwhile.
        until = time.monotonic() + pause
        while self.rate and (left := until - time.monotonic()) > 0:
            if self._closed.wait(min(left, 0.1)):
                raise OSError('closed')
        with self._lock:
            self.sent += len(data)
            self.sent_at = time.monotonic()
