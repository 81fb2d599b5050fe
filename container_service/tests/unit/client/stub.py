# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server that plays the API: tests say what it answers and read what it was asked."""

import collections
import contextlib
import dataclasses
import io
import json
import os
import socket
import socketserver
import threading
import unittest
from unittest import mock
import urllib.parse
from wsgiref import simple_server

from container_service.client import http
from container_service.client import shell
from container_service.client import wait

UUID = '11111111-2222-4333-8444-555555555555'
LOST = object()
OTHER_UUID = '66666666-2222-4333-8444-555555555555'


@dataclasses.dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict
    body: object
    headers: dict


class Stub:
    """Answers what ``answer`` was told; a context manager that serves while it is open.

    The body LOST breaks the connection instead.
    """

    def __init__(self):
        self.requests = []
        self._answers = collections.defaultdict(list)

    def answer(self, method, path, body=None, status=200, headers=()):
        """Give this answer next; the last one told for a method and path is given for ever."""
        self._answers[method, path].append((status, body, dict(headers)))

    def fail(self, method, path, status, headers=(), **error):
        self.answer(method, path, status=status, headers=headers,
                    body={'errors': [{'status': status, **error}]})

    def forget(self, *method_and_path):
        """Have no answers any more, or none for a method and path."""
        for key in [method_and_path] if method_and_path else list(self._answers):
            self._answers.pop(key, None)

    def asked(self, method, path):
        """The requests that came for a method and path."""
        return [r for r in self.requests if (r.method, r.path) == (method, path)]

    def __enter__(self):
        self._server = simple_server.make_server(
            '127.0.0.1', 0, self._application, server_class=_Server, handler_class=_Handler)
        self.endpoint = f'http://127.0.0.1:{self._server.server_port}'
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _application(self, environ, start_response):
        request = _request(environ)
        self.requests.append(request)
        answers = self._answers.get((request.method, request.path)) or [
            (404, {'errors': [{'status': 404, 'detail': f'Stub: nothing at {request.path}.'}]},
             {})]
        status, body, headers = answers.pop(0) if len(answers) > 1 else answers[0]
        if body is LOST:
            environ['stub.connection'].shutdown(socket.SHUT_RDWR)
        start_response(f'{status} Stub', [('Content-Type', 'application/json'),
                                          *headers.items()])
        if body in (None, LOST):
            return []
        return [body if isinstance(body, bytes) else json.dumps(body).encode()]


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _Handler(simple_server.WSGIRequestHandler):
    def get_environ(self):
        return {**super().get_environ(), 'stub.connection': self.connection}

    def log_message(self, *_):
        pass


def _request(environ):
    length = int(environ.get('CONTENT_LENGTH') or 0)
    body = environ['wsgi.input'].read(length)
    return Request(
        method=environ['REQUEST_METHOD'], path=environ['PATH_INFO'],
        query=urllib.parse.parse_qs(environ['QUERY_STRING'], keep_blank_values=True),
        body=json.loads(body) if body else None,
        headers={key[5:].replace('_', '-').lower(): value
                 for key, value in environ.items() if key.startswith('HTTP_')})


def action(status='queued', operation='stop', name='web', **more):
    """An action as the API shows it."""
    return {
        'uuid': UUID, 'operation': operation, 'status': status, 'container_uuid': OTHER_UUID,
        'container_name': name, 'bay_uuid': None, 'project_id': 'p', 'user_id': 'u',
        'request_id': 'req-1', 'stage': None, 'progress': None, 'position': None,
        'waiting': None, 'liveness': None, 'result': None,
        'conductor': None, 'attempts': 0, 'parameters': {},
        'error': None, 'caused_by': None, 'coalesced': 0, 'cancellable': False,
        'cancel_requested_at': None, 'on_predecessor_failure': 'skip', 'timeout_seconds': None,
        'deadline_at': None, 'post_mortem': None,
        'created_at': '2026-11-20T05:25:59+00:00', 'started_at': None, 'progress_at': None,
        'finished_at': None, 'links': [], **more}


def container(name='web', **more):
    """A container as the API shows it."""
    return {
        'uuid': OTHER_UUID, 'name': name, 'image': 'alpine', 'command': ['sleep', '600'],
        'status': 'Running', 'status_reason': None, 'task_state': None, 'labels': {'a': 'b'},
        'environment': {}, 'created_at': '2026-11-20T05:25:59.123456+00:00', 'links': [], **more}


def acceptable(param):
    """A text that a parameter of an operation takes."""
    for text in ('xx', '1', 'eHg='):
        try:
            param.parse(text)
        except ValueError:
            continue
        return text
    raise AssertionError(f'think of a value for {param.name}')


@dataclasses.dataclass
class Result:
    code: int
    out: str
    err: str


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


class CommandTest(unittest.TestCase):
    """A test of commands against a stub, ``service``."""

    def setUp(self):
        super().setUp()
        self.service = self.enterContext(Stub())
        # Polls come at once; how long they pause is test_wait's concern.
        self.enterContext(mock.patch.object(wait, 'FIRST_PAUSE_SECONDS', 0.001))
        self.enterContext(mock.patch.object(wait, 'LONGEST_PAUSE_SECONDS', 0.001))

    def run_cli(self, *argv, **kwargs):
        return run(self.service.endpoint, *argv, **kwargs)

    def stdout(self, *argv):
        """Standard output of a command that succeeds and has nothing else to say."""
        result = self.run_cli(*argv)
        self.assertEqual((0, ''), (result.code, result.err), result)
        return result.out

    def refused(self, *argv, **kwargs):
        """What a command says that is wrong usage and asks nothing."""
        result = self.run_cli(*argv, **kwargs)
        self.assertEqual((2, ''), (result.code, result.out), result)
        self.assertEqual([], self.service.requests)
        return result.err


def run(endpoint, *argv, stdin=None, out=None, err=None):
    """Run the command line against an endpoint, in this process."""
    out, err, stdin = out or io.StringIO(), err or io.StringIO(), stdin or io.StringIO()
    with (mock.patch.dict(os.environ, {http.ENDPOINT_VARIABLE: endpoint, 'COLUMNS': '200'}),
          contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)):
        code = shell.Shell(stdin=stdin, stdout=out, stderr=err).run(list(argv))
    return Result(code, out.getvalue(), err.getvalue())
