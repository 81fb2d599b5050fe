# SPDX-License-Identifier: Apache-2.0
"""Every option of the project, in one place.

``register(conf)`` makes them known; ``list_opts()`` feeds the sample file and the reference.
The conf object is passed to what needs it; ``cmd/`` and ``wsgi/`` pass oslo's global one, which
oslo.messaging needs.
"""

import ipaddress
import os
import re
import socket

from oslo_config import cfg
from oslo_config import types
from oslo_db import options as db_options
from oslo_log import log
import oslo_messaging
from oslo_messaging import opts as messaging_opts

from container_service import concurrency
from container_service import redaction
from container_service import version

PROJECT = 'container-service'
NOTIFICATIONS = 'oslo_messaging_notifications'      # oslo.messaging's own section


class Network(types.ConfigType):
    """A network; an address is one of its own."""

    def __init__(self, type_name='network value'):
        super().__init__(type_name=type_name)

    def __call__(self, value):
        try:
            return str(ipaddress.ip_network(str(value).strip()))
        except ValueError as exc:
            raise ValueError(f'{value} is not a network such as 10.1.2.0/24: {exc}') from None

    def _formatter(self, value):
        return value


class Ports(types.ConfigType):
    """A port, or the first and the last of several: a pair of numbers."""

    def __init__(self, type_name='ports value'):
        super().__init__(type_name=type_name)

    def __call__(self, value):
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r' *([0-9]{1,5})(?:-([0-9]{1,5}))? *', str(value), re.ASCII)
        first, last = match and (int(match[1]), int(match[2] or match[1])) or (0, 0)
        if not 1 <= first <= last <= 65535:
            raise ValueError(f'{value} is not a port such as 443, nor ports such as 8000-8999')
        return first, last

    def _formatter(self, value):
        return str(value)


def _state_path():
    root = os.environ.get('XDG_STATE_HOME') or os.path.join('~', '.local', 'state')
    return os.path.join(os.path.expanduser(root), PROJECT)


DEFAULT_OPTS = [
    cfg.HostAddressOpt(
        'host', default=socket.gethostname(), sample_default='<host name>',
        help='Name of this host. Bays name the conductor hosts that reach their engine by it, so '
             'it must be unique and must not change.'),
    cfg.StrOpt(
        'state_path', default=_state_path(), sample_default='~/.local/state/container-service',
        help='Directory for what a daemon keeps on disk: lock files, and the database of the '
             'standalone service.'),
]

API_OPTS = [
    cfg.HostAddressOpt('host', default='127.0.0.1', help='Address to listen on.'),
    cfg.PortOpt('port', default=9517, help='Port to listen on.'),
    cfg.StrOpt(
        'auth_strategy', default='none', choices=[
            ('none', 'Everybody who can connect is administrator of one project. Served to the '
                     'local host only.'),
            ('keystone', 'A token of Keystone with each request. Keystone is told in the section '
                         '[keystone_authtoken]. Needs TLS in front of it.'),
            ('http_basic', 'A name and a password with each request, checked against '
                           'http_basic_users_file. Needs TLS in front of it.')],
        help='How callers are authenticated.'),
    cfg.StrOpt(
        'http_basic_users_file',
        help='File with the users for auth_strategy http_basic, one in a line: name, bcrypt hash '
             'of the password, id of the project, roles separated by commas; with colons between '
             'them. Written by "container-service-manage users add". Nobody but its owner and '
             'group may have any access to it. It is read again when it has changed.'),
    cfg.BoolOpt(
        'allow_unauthenticated', default=False,
        help='Let the WSGI application start with auth_strategy none, and answer callers that '
             'are not on the local host. For tests behind another guard only.'),
    cfg.BoolOpt(
        'async_enable', default=True,
        help='Answer asynchronous operations at once. When false the operation is recorded and '
             'carried out all the same, but the answer waits for its outcome.'),
    cfg.IntOpt(
        'sync_timeout', default=60, min=1, max=600,
        help='Seconds to wait for the outcome when async_enable is false; then the answer is '
             'given and the operation goes on.'),
    cfg.IntOpt('threads', default=32, min=2, help='Threads that serve requests.'),
    cfg.IntOpt(
        'max_connections', default=1000, min=16,
        help='Connections on which no request is being served, at most: beyond that those '
             'that have been slow or idle for longest are closed, a tenth of them at once.'),
    cfg.IntOpt(
        'call_slots', default=12, min=1,
        help='Blocking calls (logs, execute) in progress at once in this process, half of them '
             'for one project; more are answered 503. Keep it below the number of threads, so '
             'that a broker or engine that hangs never stops other requests.'),
    cfg.IntOpt(
        'container_queue_limit', default=16, min=1,
        help='Unfinished actions that one container may have; more are 409.'),
    cfg.FloatOpt(
        'project_request_rate', default=500.0, min=0,
        help='Requests that one project may send to this process in a second, on average; more '
             'are 429. 0 for any number.'),
    cfg.FloatOpt(
        'project_change_rate', default=200.0, min=0,
        help='The same for requests that change something.'),
    cfg.FloatOpt(
        'failed_authentication_rate', default=1.0, min=0,
        help='The same for requests from one address, of IPv6 one network of 64 bits, whose '
             'credentials are not valid. Beyond it credentials from there are not looked at for '
             'a while; 0 to look at all of them.'),
    cfg.IntOpt(
        'failed_authentication_burst', default=20, min=1,
        help='How many requests with credentials that are not valid may come from one address '
             'at once, after silence.'),
    cfg.FloatOpt(
        'request_burst', default=20.0, min=1,
        help='What one project may send at once, after silence: so many seconds of its rates '
             'above.'),
    cfg.IntOpt(
        'project_action_limit', default=1000, min=1,
        help='Unfinished actions that one project may have, unless it or the class default has a '
             'quota of actions; more are 429.'),
    cfg.IntOpt(
        'action_limit', default=20000, min=1,
        help='Unfinished actions in all; more are 503.'),
    cfg.IntOpt(
        'wait_slots', default=16, min=1,
        help='Requests of this process that may wait for actions at once, half of them of one '
             'project; more are answered without waiting. Keep it below the number of threads.'),
    cfg.FloatOpt(
        'database_timeout', default=3.0, min=1.0,
        help='Seconds that a request waits for an answer of the database; then it is answered '
             '503. While the database is silent one request at a time tries it, and the others '
             'are answered at once.'),
    cfg.IntOpt('max_limit', default=1000, min=1, help='Most items on one page of a list.'),
    cfg.IntOpt('max_body_bytes', default=1048576, min=1024, help='Largest request body.'),
    cfg.IntOpt(
        'max_archive_bytes', default=8 * 1024 * 1024, min=1024,
        help='Largest archive or file content that goes in or comes out in one request, before '
             'it is encoded. Requests that carry one may be larger than max_body_bytes.'),
]

CONDUCTOR_OPTS = [
    cfg.StrOpt(
        'executor', default='threaded', choices=[
            ('threaded', 'A pool of threads.'),
            ('eventlet', 'A pool of green threads; container-service-conductor only. The '
                         'environment variable CONTAINER_SERVICE_EXECUTOR wins over this.'),
            ('synchronous', 'No pool: what is woken is carried out by the thread that was told.')],
        help='What carries actions out.'),
    cfg.IntOpt('workers', default=32, min=1, help='Containers worked on at the same time.'),
    cfg.StrOpt(
        'saturation_policy', default='queue', choices=[
            ('queue', 'What finds the pool full waits in the database; no thread is held.'),
            ('caller_runs', 'The thread that was told of it carries it out, which slows this '
                            'conductor down to what it can do.'),
            ('reject', 'While every live conductor is full the API answers 503 to new '
                       'operations; what was accepted is never rejected.')],
        help='What a full pool does.'),
    cfg.IntOpt('pull_workers', default=4, min=1, help='Images pulled at the same time.'),
    cfg.FloatOpt(
        'pull_stall', default=60.0, min=0.1,
        help='Seconds without progress after which a pull has failed. How long it takes in all '
             'does not matter.'),
    cfg.DictOpt(
        'operation_timeouts', default={},
        help='Seconds that operations may take from their first claim, where the default is '
             'not wanted, such as create:7200,stop:300.'),
    cfg.FloatOpt(
        'database_timeout', default=5.0, min=1.0,
        help='Seconds that a conductor waits for an answer of the database; at most a third of '
             'the lease, so that one answer that does not come costs no lease.'),
    cfg.FloatOpt(
        'probe_interval', default=3.0, min=0.1,
        help='Seconds between looks whether an engine answers.'),
    cfg.FloatOpt(
        'parked_interval', default=1.0, min=0.05,
        help='Seconds until an action whose engine did not answer may be tried again.'),
    cfg.IntOpt(
        'history_days', default=30, min=1,
        help='Days that ended actions and deleted containers stay readable.'),
    cfg.IntOpt(
        'audit_days', default=365, min=0,
        help='Days that the audit trail is kept; 0: nothing is ever taken from it here.'),
    cfg.FloatOpt(
        'poll_interval', default=2.0, min=0.05,
        help='Seconds between looks for queued actions that nobody was woken for.'),
    cfg.FloatOpt(
        'heartbeat_interval', default=3.0, min=0.1, help='Seconds between renewals of the lease.'),
    cfg.FloatOpt(
        'lease', default=15.0, min=1.0,
        help='Seconds without a renewal until other conductors, who watch it, take over the '
             'actions of this one. At least three heartbeat intervals.'),
    cfg.FloatOpt(
        'reconcile_interval', default=30.0, min=0.1,
        help='Seconds between full comparisons of a bay with its engine. Most of what happens '
             'is known at once, from the events of the engine.'),
    cfg.FloatOpt(
        'orphan_grace', default=60.0, min=0,
        help='Seconds that a container stays on an engine after it was found there although it '
             'had been deleted, or its creation had been cancelled.'),
    cfg.FloatOpt(
        'shutdown_timeout', default=60.0, min=0,
        help='Seconds that running actions may take to end when the conductor is told to stop; '
             'what is left is handed back, for other conductors or for after a restart.'),
    cfg.FloatOpt(
        'drain_timeout', default=1800.0, min=0,
        help='The same when it is told to drain: SIGUSR2, or "container-service service drain".'),
    cfg.FloatOpt(
        'retry_interval', default=2.0, min=0.05,
        help='Seconds until an action that failed for a reason that may pass is tried again; '
             'doubled with each attempt, at most 60.'),
    cfg.IntOpt(
        'max_attempts', default=5, min=1,
        help='Attempts at an action whose engine answers with errors that may pass.'),
    cfg.HostAddressOpt(
        'health_host', default='127.0.0.1',
        help='Address on which the conductor tells how it is. Whoever reaches it may ask.'),
    cfg.PortOpt(
        'health_port', default=0,
        help='Port for GET /healthcheck and GET /readiness of a conductor; 0 for none. The '
             'first conductor of a host listens on it, the next ones on the ports behind it.'),
]

BAYS_OPTS = [
    cfg.BoolOpt(
        'allow_insecure_tcp', default=False,
        help='Accept tcp:// endpoints without TLS. Whoever reaches such an engine is root on '
             'its host.'),
    cfg.ListOpt(
        'allowed_networks', default=['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'],
        item_type=Network(),
        help='Networks that a tcp:// endpoint may lead to although they are not public. Engines '
             'are usually on private networks, so these are open by default; loopback, '
             'link-local and all other special addresses are not. The denied_networks of '
             '[egress] win over this.'),
    cfg.StrOpt(
        'local_endpoint', default='unix:///var/run/docker.sock',
        help='Endpoint of the bay named local, which the standalone service makes for itself. '
             'Empty for none.'),
    cfg.IntOpt(
        'pids_limit', default=1024, min=16,
        help='Processes and threads that one container may have. This and the limits below hold '
             'for containers that are made from then on.'),
    cfg.StrOpt(
        'log_max_size', default='10m', regex=r'[1-9][0-9]*[kmg]',
        help='Size at which the file that the engine keeps of what a container writes is begun '
             'anew.'),
    cfg.IntOpt(
        'log_max_files', default=3, min=1, help='Such files that are kept of one container.'),
    cfg.IntOpt(
        'default_memory', default=2048, min=0,
        help='MiB of memory that a container may use whose request names none; 0 for no limit, '
             'with which one container can take all the memory of its host. Quotas count it: set '
             'the same for API processes and conductors.'),
    cfg.FloatOpt(
        'default_cpu', default=0.0, min=0.0,
        help='Processor cores that a container may use whose request names none; 0 for no '
             'limit: then containers share what there is, and where a quota limits cores a '
             'request must name them. Set the same for API processes and conductors.'),
    cfg.ListOpt(
        'drivers', default=['docker'], item_type=types.String(),
        help='Drivers that bays may use: docker, fake.'),
    cfg.ListOpt(
        'bind_mount_paths', default=[], item_type=types.String(),
        help='Directories of the hosts of engines that containers may have mounted by whoever '
             'the rule container:create_bind_mounts lets; empty for none. Each is meant alone, '
             'without what is below it: a container could make a link there that leads to all '
             'of the host. For the same reason list none that is below another, and make sure '
             'that nothing but the operator can replace one by a link.'),
]

EGRESS_OPTS = [
    cfg.ListOpt(
        'allowed_networks', default=[], item_type=Network(),
        help='Networks, as 10.1.2.0/24, that the addresses which users give may lead to although '
             'they are not public: those of registries that images are pulled from. Loopback, '
             'private, link-local and all other special addresses are refused where they are '
             'not named here. The standalone service, whose only user owns the machine, has '
             'loopback and private networks here by default.'),
    cfg.ListOpt(
        'denied_networks', default=[
            '169.254.169.254/32', 'fd00:ec2::254/128', '100.100.100.200/32', '168.63.129.16/32'],
        item_type=Network(),
        help='Networks that no address which anybody gives may lead to, those of bays included. '
             'This wins over all that is allowed. The default is where clouds tell a machine '
             'its secrets.'),
    cfg.ListOpt(
        'allowed_ports', default=['443', '1024-65535'], item_type=Ports(),
        help='Ports, as 443 or 8000-8999, that the addresses which users give may have.'),
]

IMAGES_OPTS = [
    cfg.ListOpt(
        'allowed_registries', default=[], item_type=types.String(),
        help='Registries that images may come from, as docker.io or registry.example.org:5000, '
             'or patterns, in which * stands for any text; a port is part of the name. Empty '
             'for all that [egress] lets through. One that is listed by its full name, and '
             'docker.io, are taken as they are; what others lead to must be allowed by '
             '[egress]. Set the same for API processes and conductors.'),
]

SECRETS_OPTS = [
    cfg.StrOpt(
        'keys_file',
        help='File with the keys that secrets are encrypted with: passwords of registries, secret '
             'variables of containers. The same for every API process and conductor, and '
             'readable by them alone. Made by "container-service-manage secrets create-key". The '
             'standalone service makes its own. Without it no secrets can be kept.'),
]

QUOTAS_OPTS = [
    cfg.StrOpt(
        'driver', default='local', choices=[
            ('local', 'They are set with /v1/quotas and kept in the database.'),
            ('unified', "They are Keystone's unified limits, asked for through oslo.limit; see "
                        '[oslo_limit].')],
        help='Where the limits of projects are kept.'),
]

_GROUPS = {
    'DEFAULT': DEFAULT_OPTS,
    'api': API_OPTS,
    'bays': BAYS_OPTS,
    'conductor': CONDUCTOR_OPTS,
    'egress': EGRESS_OPTS,
    'images': IMAGES_OPTS,
    'quotas': QUOTAS_OPTS,
    'secrets': SECRETS_OPTS,
}


def list_opts():
    """Entry point of oslo.config's sample generator and of the reference in the docs."""
    return list(_GROUPS.items())


def register(conf):
    """Make our options and those of the libraries known to ``conf``."""
    for group, opts in _GROUPS.items():
        conf.register_opts(opts, group=None if group == 'DEFAULT' else group)
    log.register_options(conf)
    # Known before a transport is made: whether there are notifications at all is said there.
    conf.register_opts(dict(messaging_opts.list_opts())[NOTIFICATIONS], group=NOTIFICATIONS)
    db_options.set_defaults(conf, max_pool_size=16, max_overflow=48)
    # A request must not hang on a database that is down: two seconds, then 503.
    conf.set_default('pool_timeout', 2, group='database')
    oslo_messaging.set_transport_defaults(control_exchange=PROJECT)
    return conf


def load(conf, argv):
    """Parse the command line and configuration files, then set up logging, redacted.

    Reads container-service.conf from oslo's usual places unless --config-file names another.
    """
    register(conf)
    log.set_defaults(default_log_levels=log.get_default_log_levels() + [
        'docker=WARN', 'cheroot=WARN', 'futurist=WARN', 'alembic=WARN'])
    conf(argv, project=PROJECT, version=version.version())
    if os.environ.get(concurrency.VARIABLE):
        conf.set_override('executor', os.environ[concurrency.VARIABLE], group='conductor')
    log.setup(conf, PROJECT)
    redaction.install()
    return conf
