# SPDX-License-Identifier: Apache-2.0
"""An engine on a Unix socket that has many containers and in which nothing happens.

    python -m bench.silent_engine SOCKET DEPLOYMENT FIRST COUNT

It answers what a conductor that watches it asks, in the words of Docker Engine, and nothing else.
Its containers are those that ``idle.py`` has recorded, by their numbers.
"""

import hashlib
import http.server
import json
import os
import socketserver
import sys
import threading
import urllib.parse
import uuid

from container_service.drivers import base


def uuid_of(number):
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f'container {number}'))


def engine_id_of(number):
    return hashlib.sha256(f'container {number}'.encode()).hexdigest()


def entry(deployment, number):
    """One container as the engine's list has it."""
    container = base.Container(
        uuid=uuid_of(number), name=f'container-{number}', image='cs-test/busybox:latest',
        generation=1, fence=1, deployment=deployment, spec={'command': ['sleep', '1000']})
    endpoint = hashlib.sha256(f'endpoint {number}'.encode()).hexdigest()
    return {
        'Id': engine_id_of(number), 'Names': [f'/{container.engine_name}'],
        'Image': container.image, 'ImageID': f'sha256:{"5" * 64}', 'Command': 'sleep 1000',
        'Created': 1790000000, 'Ports': [], 'Labels': container.engine_labels,
        'State': 'running', 'Status': 'Up 3 hours', 'HostConfig': {'NetworkMode': 'default'},
        'NetworkSettings': {'Networks': {'bridge': {
            'IPAMConfig': None, 'Links': None, 'Aliases': None, 'NetworkID': '6' * 64,
            'EndpointID': endpoint, 'Gateway': '172.17.0.1', 'IPAddress': '172.17.0.9',
            'IPPrefixLen': 16, 'IPv6Gateway': '', 'GlobalIPv6Address': '',
            'GlobalIPv6PrefixLen': 0, 'MacAddress': '02:42:ac:11:00:09', 'DriverOpts': None}}},
        'Mounts': []}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):  # noqa: N802 - named by the library
        path = urllib.parse.urlsplit(self.path).path
        name = path.rpartition('/')[2] if not path.startswith('/v1') else path.partition('/v1')[
            2].partition('/')[2]
        if name == 'events':
            self.send_response(200)
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            threading.Event().wait()
        body = self.server.answers.get(name)
        self.send_response(200 if body else 404)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body or b'')))
        self.end_headers()
        self.wfile.write(body or b'')

    def address_string(self):
        return 'unix'

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


def main():
    path, deployment, first, count = sys.argv[1:]
    numbers = range(int(first), int(first) + int(count))
    with Server(path, Handler) as server:
        server.answers = {
            '_ping': b'OK', 'version': json.dumps({'ApiVersion': '1.41'}).encode(),
            'info': json.dumps({'ID': os.path.basename(path)}).encode(),
            'containers/json': json.dumps([entry(deployment, number)
                                           for number in numbers]).encode()}
        server.serve_forever()


if __name__ == '__main__':
    main()
