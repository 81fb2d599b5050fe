# SPDX-License-Identifier: Apache-2.0
"""A deployment for one measurement: database, virtual host, daemons; all of it ended again."""

import contextlib
import json
import os
import pathlib
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import kombu
from oslo_config import cfg
import oslo_messaging
import sqlalchemy as sa

from bench import floor
from bench import load
from bench import report
from container_service import conf as options
from container_service import rpc
from container_service.db import base

# A queue in which nothing has come for so long gets nothing more.
_QUIET_SECONDS = 0.25

_TICKS = os.sysconf('SC_CLK_TCK')


class Broken(Exception):
    """Something that is measured does not run."""


def free_port():
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


class Daemon:
    """A process of ours: ended by its own pid, with its log at hand."""

    def __init__(self, name, command, log, environ):
        self.name = name
        self._log = log
        with open(log, 'ab') as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ,
                start_new_session=True)

    def check(self):
        """Raises Broken when it has ended."""
        if self._process.poll() is not None:
            raise Broken(f'{self.name} ended with {self._process.returncode}:\n{self.tail()}')

    def tail(self):
        return '\n'.join(self._log.read_text(errors='replace').splitlines()[-20:])

    def cpu_seconds(self):
        """Processor time that it and its children have used up to now."""
        ticks = 0
        for pid in [self._process.pid, *_children(self._process.pid)]:
            with contextlib.suppress(OSError):
                stat = pathlib.Path(f'/proc/{pid}/stat').read_text()
                fields = stat.rpartition(')')[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS

    def memory_mib(self, name):
        """Memory of the process itself, by its name in /proc/PID/status."""
        status = pathlib.Path(f'/proc/{self._process.pid}/status').read_text()
        return int(re.search(rf'{name}:\s+(\d+) kB', status)[1]) / 1024

    def stop(self):
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _children(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    return []


class Queue:
    """What lies in one queue of the broker."""

    def __init__(self, channel, name):
        self._channel, self._name = channel, name

    def purge(self):
        self._channel.queue_purge(self._name)

    def wait_for(self, count):
        """Wait until nothing more comes; returns the seconds until the last message was there.

        Raises Broken unless so many things were rung for: one message may ring for several.
        """
        start = last = time.perf_counter()
        before = -1
        while time.perf_counter() - last < _QUIET_SECONDS:
            found = self._channel.queue_declare(self._name, passive=True).message_count
            if found != before:
                before, last = found, time.perf_counter()
            time.sleep(0.002)
        rung = self._take()
        if rung < count:
            raise Broken(f'{count} requests were accepted, but only {rung} were rung for')
        return last - start

    def _take(self):
        """Empty the queue; returns how many things its messages ring for."""
        rung = 0
        while (message := self._channel.basic_get(self._name, no_ack=True)) is not None:
            inner = json.loads(json.loads(message.body)['oslo.message'])
            rung += 1 + len(_plain(inner['args'].get('more', ())))
        return rung


def _plain(value):
    """An argument as it was before the serializer of the sender made text of it."""
    return json.loads(value) if isinstance(value, str) else value


class Deployment:
    """Use it as a context.  ``settings`` is {section: {option: value}} beyond the usual ones."""

    def __init__(self, settings):
        self.run = 'cs_bench_' + secrets.token_hex(4)
        self.work = None
        self._settings = settings
        self._stack = contextlib.ExitStack()
        self.daemons = []
        self.port = free_port()
        self.database_url = os.environ['CS_TEST_MYSQL_URL'] + self.run
        server, _, _ = os.environ['CS_TEST_TRANSPORT_URL'].rpartition('/')
        self.transport_url = f'{server}/{self.run}'

    def __enter__(self):
        with self._stack:
            self.work = pathlib.Path(tempfile.mkdtemp(prefix='cs-bench-'))
            self._stack.callback(shutil.rmtree, self.work, ignore_errors=True)
            self._make_database()
            self._make_vhost()
            self._write_conf()
            self.db = base.Database(self._conf())
            self._stack.callback(self.db.dispose)
            self._command('container-service-manage', 'db', 'sync')
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, kind, exc, traceback):
        with self._stack:
            if isinstance(exc, load.Refused):
                for daemon in self.daemons:
                    report.say(f'--- {daemon.name}\n{daemon.tail()}')
            self.stop_daemons()

    def stop_daemons(self):
        while self.daemons:
            self.daemons.pop().stop()

    def _make_database(self):
        admin = sa.create_engine(os.environ['CS_TEST_MYSQL_URL'], isolation_level='AUTOCOMMIT')

        def execute(statement):
            with admin.connect() as conn:
                conn.exec_driver_sql(statement)

        execute(f'CREATE DATABASE {self.run} CHARACTER SET utf8mb4')
        self._stack.callback(execute, f'DROP DATABASE {self.run}')

    def _make_vhost(self):
        control = shlex.split(os.environ['CS_TEST_RABBITMQCTL'])
        user = os.environ['CS_TEST_TRANSPORT_URL'].split('//', 1)[1].split(':', 1)[0]

        def rabbitmqctl(*arguments):
            subprocess.run([*control, '-q', *arguments], check=True, stdout=subprocess.DEVNULL)

        rabbitmqctl('add_vhost', self.run)
        self._stack.callback(rabbitmqctl, 'delete_vhost', self.run)
        rabbitmqctl('set_permissions', '-p', self.run, user, '.*', '.*', '.*')

    def _write_conf(self):
        sections = {
            'DEFAULT': {'host': 'bench', 'state_path': self.work,
                        'transport_url': self.transport_url},
            'database': {'connection': self.database_url},
            # One project asks as fast as it can.
            'api': {'host': '127.0.0.1', 'port': self.port, 'project_request_rate': 0,
                    'project_change_rate': 0},
        }
        for name, values in self._settings.items():
            sections.setdefault(name, {}).update(values)
        self.conf_file = self.work / 'container-service.conf'
        self.conf_file.write_text('\n'.join(
            f'[{name}]\n' + ''.join(f'{key} = {value}\n' for key, value in values.items())
            for name, values in sections.items()))

    def _conf(self):
        # A database of each deployment, so not oslo's global object, which keeps what it read.
        conf = options.register(cfg.ConfigOpts())
        conf(['--config-file', str(self.conf_file)], project=options.PROJECT)
        return conf

    @staticmethod
    def _program(name):
        return str(pathlib.Path(sys.executable).parent / name)

    def _command(self, name, *arguments):
        done = subprocess.run(
            [self._program(name), '--config-file', str(self.conf_file), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise Broken(f'{name} ended with {done.returncode}:\n{done.stdout[-2000:]}')

    # Daemons

    def spawn(self, name, command, **environ):
        daemon = Daemon(name, command, self.work / f'{name}.log', {**os.environ, **environ})
        self.daemons.append(daemon)
        return daemon

    def daemon(self, name):
        return self.spawn(name, [self._program(name), '--config-file', str(self.conf_file)])

    def api(self):
        daemon = self.daemon('container-service-api')
        self.await_port(daemon, self.port)
        return daemon

    def gunicorn(self, name, application, port, workers, threads, **environ):
        daemon = self.spawn(name, [
            sys.executable, '-m', 'gunicorn', '--worker-class', 'gthread',
            '--workers', str(workers), '--threads', str(threads), '--bind', f'127.0.0.1:{port}',
            # As long as cheroot's: idle connections are not closed between two rounds.
            '--keep-alive', '60', '--log-level', 'warning', application], **environ)
        self.await_port(daemon, port)
        return daemon

    def await_port(self, daemon, port):
        def answers():
            daemon.check()
            with contextlib.suppress(OSError), \
                    socket.create_connection(('127.0.0.1', port), timeout=5):
                return True

        self.wait_for(answers, f'{daemon.name} does not listen')

    @staticmethod
    def wait_for(done, complaint, seconds=60):
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise Broken(complaint)
            time.sleep(0.05)

    # Messages

    def declare_queues(self, *names):
        """Make the queues of RPC servers (topic, server) that exist and never take a message.

        So a cast costs what it costs, and nobody competes for the processor to receive it.
        Returns a Queue for each.
        """
        conf = cfg.ConfigOpts()
        oslo_messaging.set_transport_defaults(control_exchange=floor.EXCHANGE)
        conf([], project=options.PROJECT)
        bus = rpc.transport(conf, self.transport_url)
        for topic, name in names:
            server = rpc.server(bus, topic, name, object())
            server.start()
            server.stop()
            server.wait()
        bus.cleanup()
        broker = kombu.Connection(self.transport_url.replace('rabbit://', 'amqp://', 1))
        self._stack.callback(broker.close)
        return [Queue(broker.channel(), f'{topic}.{name}') for topic, name in names]

    def make_bay(self, **values):
        answer, = load.run(self.port, [load.request('POST', '/v1/bays', values)], 1,
                           expected=201).answers
        return answer.json()['uuid']
