# SPDX-License-Identifier: Apache-2.0
"""API and one conductor in one process: SQLite, the in-process transport, loopback only.

The same code as a deployment, put together differently.  The transport is made for tests and
loses what a process has in memory; here that is safe, because SQL is the truth and a cast only
a doorbell.  It never forks.
"""

import fcntl
import os

from oslo_config import cfg
from oslo_log import log

from container_service import bays as bay_rules
from container_service import concurrency
from container_service import context
from container_service import exceptions
from container_service import rpc
from container_service import secrets
from container_service.api import app
from container_service.api import auth
from container_service.api import server
from container_service.conductor import service
from container_service.db import base
from container_service.db import bays
from container_service.db import migration

LOG = log.getLogger(__name__)

LOCAL_BAY = 'local'

CLI_OPTS = [
    cfg.StrOpt('state-dir',
               help='Directory for the database and lock files of the standalone service.'),
]

def set_defaults(conf):
    """What makes a standalone service of the options that are not set otherwise."""
    if conf.state_dir:
        conf.set_override('state_path', os.path.abspath(conf.state_dir))
    conf.set_default(
        'connection', f'sqlite:///{os.path.join(conf.state_path, "container-service.sqlite")}',
        group='database')
    # Its only user owns the machine, and the registry of the quickstart is on it.
    conf.set_default('allowed_networks', [
        '127.0.0.0/8', '::1/128', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
        group='egress')
    conf.set_default('keys_file', os.path.join(conf.state_path, 'secrets.keys'), group='secrets')


class Standalone:
    """One process that is a whole deployment."""

    def __init__(self, conf):
        self._conf = conf
        self._db = base.Database(conf)
        bus = rpc.transport(conf, 'fake://')
        self._conductor = service.Conductor(conf, self._db, bus)
        self._server = server.Server(conf, app.build(conf, self._db, bus))

    def start(self):
        """Make or upgrade the database, register the local bay, take requests.

        Raises Error when another one uses the state directory.
        """
        if self._conf.conductor.executor == concurrency.EVENTLET:
            raise exceptions.Error('The executor eventlet is for container-service-conductor.')
        directory = self._conf.state_path
        os.makedirs(directory, mode=0o700, exist_ok=True)
        self._lock = open(os.path.join(directory, 'standalone.lock'), 'w')
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise exceptions.Error(
                f'Another standalone service uses {directory}. Stop it, or choose another '
                f'directory with --state-dir.') from None
        secrets.ensure(self._conf.secrets.keys_file)
        migration.sync(self._db)
        self._register_bay()
        self._conductor.start()
        try:
            self._server.start()
        except exceptions.Error:
            self._conductor.stop()
            raise

    def _register_bay(self):
        endpoint = self._conf.bays.local_endpoint
        if not endpoint:
            return
        caller = context.RequestContext(project_id=auth.LOCAL, is_admin=True, overwrite=False)
        with self._db.read() as conn:
            try:
                bays.get(conn, LOCAL_BAY, auth.LOCAL)
                return
            except exceptions.BayNotFound:
                pass
        bay_rules.create(
            caller, self._conf, self._db, name=LOCAL_BAY, endpoint=endpoint, public=True,
            driver='fake' if endpoint.startswith('fake:') else 'docker',
            hosts=[self._conf.host])
        LOG.info('Registered bay %s at %s', LOCAL_BAY, endpoint)

    def drain(self):
        """As the conductor; the API goes on meanwhile."""
        self._conductor.drain()

    @property
    def drained(self):
        return self._conductor.drained

    def stop(self):
        self._server.stop()
        self._conductor.stop()
        self._db.dispose()
