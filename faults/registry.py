# SPDX-License-Identifier: Apache-2.0
"""A registry of the run's own, whose images come badly: slowly, not to their end, or wrong."""

import hashlib
import http.server
import io
import json
import os
import tarfile
import threading
import time

_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
_CONFIG = 'application/vnd.docker.container.image.v1+json'
_LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip'

# How an image comes.
WELL, SLOW, STALLED, BROKEN, DYING, WRONG = 'well', 'slow', 'stalled', 'broken', 'dying', 'wrong'

_SLOW_BYTES = 10240             # in a second


class Registry:
    """On a port of this host, as a context.  Engines need no TLS for 127.0.0.1."""

    def __init__(self):
        self._images, self._closed = {}, threading.Event()

    def __enter__(self):
        registry = self

        class Handler(_Handler):
            images, closed = registry._images, registry._closed

        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._server.daemon_threads = True
        # Whoever hangs up has its reasons.
        self._server.handle_error = lambda *arguments: None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,),
                                        daemon=True, name='registry')
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def image(self, way, layer_bytes):
        """Make an image that no engine has, with one layer, and that comes this way."""
        name = f'faults/{way}-{os.urandom(6).hex()}'
        self._images[name] = _Image(way, layer_bytes)
        return f'127.0.0.1:{self._server.server_address[1]}/{name}:latest'


class _Image:

    def __init__(self, way, layer_bytes):
        self.way = way
        layer = _tar(os.urandom(layer_bytes))     # random bytes need not be compressed
        config = json.dumps({
            'architecture': 'amd64', 'os': 'linux', 'config': {'Cmd': ['/none']},
            'rootfs': {'type': 'layers', 'diff_ids': [_digest(layer)]}}).encode()
        manifest = json.dumps({
            'schemaVersion': 2, 'mediaType': _MANIFEST, 'config': _about(config, _CONFIG),
            'layers': [_about(layer, _LAYER)]}).encode()
        self.layer = _digest(layer)
        self.manifest = _digest(manifest)
        self.blobs = {_digest(data): data for data in (layer, config, manifest)}


def _about(data, kind):
    return {'mediaType': kind, 'size': len(data), 'digest': _digest(data)}


def _digest(data):
    return f'sha256:{hashlib.sha256(data).hexdigest()}'


def _tar(data):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w') as tar:
        member = tarfile.TarInfo('data')
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    images = closed = None

    def do_GET(self):
        if self.path == '/v2/':
            return self._answer(200, b'{}', 'application/json')
        name, kind, reference = self.path.removeprefix('/v2/').rsplit('/', 2)
        image = self.images.get(name)
        digest = image.manifest if image and kind == 'manifests' else reference
        if image is None or digest not in image.blobs:
            return self._answer(404, b'{}', 'application/json')
        if image.way == BROKEN:
            return self._answer(500, b'{}', 'application/json')
        data = image.blobs[digest]
        if image.way == WRONG and digest == image.layer:
            data = data[:-1] + bytes([data[-1] ^ 1])
        self._answer(200, data, _MANIFEST if kind == 'manifests' else 'application/octet-stream',
                     digest, image.way if digest == image.layer else WELL)

    do_HEAD = do_GET

    def _answer(self, status, data, kind, digest=None, way=WELL):
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(data)))
        if digest:
            self.send_header('Docker-Content-Digest', digest)
        self.end_headers()
        if self.command == 'HEAD':
            return
        if way == SLOW:
            for start in range(0, len(data), _SLOW_BYTES // 4):
                self.wfile.write(data[start:start + _SLOW_BYTES // 4])
                self.wfile.flush()
                time.sleep(0.25)
        elif way == STALLED:
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            self.closed.wait()
            self.close_connection = True
        elif way == DYING:
            self.wfile.write(data[:len(data) * 9 // 10])
            self.close_connection = True
        else:
            self.wfile.write(data)

    def log_message(self, *arguments):
        pass
