# SPDX-License-Identifier: Apache-2.0
"""``create`` and ``run``.  Their options are called as Docker's are, where Docker has them."""

import argparse
import base64
import contextlib
import os
import re
import shlex
import uuid

from container_service import operations
from container_service.client import actions
from container_service.client import base
from container_service.client import http

_PULL_POLICIES = {'never': 'never', 'always': 'always', 'missing': 'ifnotpresent'}
_SECONDS = {'s': 1, 'm': 60, 'h': 3600}
_NETWORK_KEYS = {'name': 'network', 'ip': 'v4-fixed-ip', 'ip6': 'v6-fixed-ip'}
_MOUNT_KEYS = {'type': 'type', 'source': 'source', 'src': 'source', 'destination': 'destination',
               'dst': 'destination', 'target': 'destination'}


class Create(actions.RequestCommand):
    """Create a container; its image is pulled when absent."""

    arguments = 'IMAGE [COMMAND ...]'
    starts = False

    def add_arguments(self, parser):
        super().add_arguments(parser)
        for options in (_add_process, _add_limits, _add_network, _add_files, _add_health,
                        _add_life, _add_place):
            options(parser)
        parser.add_argument('image', metavar='IMAGE', help='Image, for example alpine:3.20.')
        command = parser.add_argument(
            'command', metavar='COMMAND', nargs=argparse.REMAINDER,
            help='Command and its arguments; everything after the image belongs to it. That of '
                 'the image when not given.')
        command.required = False        # else argparse asks for it where the image is missing

    def send(self, parsed_args, target):
        body = _body(parsed_args)
        if parsed_args.bay:
            body['bay_uuid'] = self._bay_uuid(parsed_args.bay)
        query = base.given_params(parsed_args, operations.OPTIONS)
        if self.starts:
            query['run'] = True
        answer = self.ask(parsed_args, 'POST', 'containers', body=body, params=query)
        return answer if parsed_args.dry_run else answer['action']

    def _bay_uuid(self, bay):
        with contextlib.suppress(ValueError):
            return str(uuid.UUID(bay))
        return self.client.get(f'bays/{http.segment(bay)}')['uuid']


class Run(Create):
    """Create a container and start it."""

    starts = True


def _add_process(parser):
    parser.add_argument('--name', help='Name of the container; made up when not given.')
    parser.add_argument('-l', '--label', metavar='KEY=VALUE', action='append', type=key_value,
                        help='Label the container; can be repeated.')
    parser.add_argument('-e', '--env', metavar='KEY[=VALUE]', action='append', type=variable,
                        help='Set an environment variable; without a value to what it is here. '
                             'Can be repeated.')
    parser.add_argument('--env-file', metavar='FILE', action='append', type=_variables,
                        help='Set the variables that this file has, a KEY=VALUE in each line; '
                             'can be repeated.')
    add_secret_env(parser)
    parser.add_argument('--entrypoint', metavar='COMMAND', type=_shell_words,
                        help='Replace the entrypoint of the image.')
    parser.add_argument('-w', '--workdir', metavar='DIR', help='Directory the command starts in.')
    parser.add_argument('-u', '--user', metavar='USER[:GROUP]',
                        help='User that the command runs as, by name or number.')
    parser.add_argument('-t', '--tty', action='store_true', default=None,
                        help='Give it a terminal.')
    parser.add_argument('-i', '--interactive', action='store_true', default=None,
                        help='Keep its standard input open.')
    parser.add_argument('--stop-signal', metavar='SIGNAL', type=_signal,
                        help='What stop sends it first; SIGTERM unless the image says otherwise.')
    parser.add_argument('--stop-timeout', metavar='SECONDS', type=base.whole_number,
                        help='How long stop lets it end by itself, unless stop itself says; '
                             'default 10.')


def _add_limits(parser):
    parser.add_argument('--cpu', '--cpus', metavar='CORES', type=base.positive_number,
                        help='Processor cores it may use, for example 0.5.')
    parser.add_argument('-m', '--memory', metavar='SIZE',
                        help='Memory it may use, for example 64m; digits alone are MiB.')
    parser.add_argument('--disk', metavar='GIB', type=base.positive_integer,
                        help='Size of its disk, where the engine can bound that.')


def _add_network(parser):
    parser.add_argument('--hostname', help='Host name inside the container.')
    parser.add_argument('--network', metavar='NETWORK', action='append', type=_network,
                        help='Network of the engine to attach it to, by name or id, or '
                             'name=NETWORK,ip=ADDRESS,ip6=ADDRESS. Can be repeated.')
    parser.add_argument('-p', '--publish', metavar='HOST:PORT[/PROTOCOL]', action='append',
                        type=_published,
                        help='Publish a port of the container on a port of its host, for example '
                             '8080:80 or 5353:53/udp. Can be repeated.')
    parser.add_argument('--expose', metavar='PORT[/PROTOCOL]', action='append', type=_exposed,
                        help='Say that it listens on a port; can be repeated.')


def _add_files(parser):
    parser.add_argument('--mount', metavar='type=bind,source=FILE,destination=PATH',
                        action='append', type=_mount,
                        help='Put a copy of a file from here into the container; can be '
                             'repeated.')
    parser.add_argument('--volume', metavar='DIRECTORY:PATH[:ro]', action='append', type=_volume,
                        help='Mount a directory of the host, where the operator has opened that; '
                             'can be repeated.')
    parser.add_argument('--tmpfs', metavar='PATH[:size=SIZE]', action='append', type=_tmpfs,
                        help='A file system in memory at this path, 64m large unless told; can '
                             'be repeated.')
    parser.add_argument('--read-only', action='store_true', default=None,
                        help='Let nothing be written to its root file system.')


def _add_health(parser):
    parser.add_argument('--health-cmd', metavar='COMMAND',
                        help='Command for the shell of the container that tells whether it is '
                             'healthy.')
    parser.add_argument('--health-interval', metavar='TIME', type=_period,
                        help='Time between two checks, for example 30s or 1m.')
    parser.add_argument('--health-timeout', metavar='TIME', type=_period,
                        help='How long a check may take.')
    parser.add_argument('--health-retries', metavar='N', type=base.positive_integer,
                        help='So many failures in a row make it unhealthy.')


def _add_life(parser):
    parser.add_argument('--restart', metavar='POLICY[:N]', type=_restart_policy,
                        help='When the engine starts it again: no, always, unless-stopped or '
                             'on-failure (at most N times).')
    parser.add_argument('--rm', action='store_true', default=None,
                        help='Remove it once it has ended.')
    parser.add_argument('--auto-heal', action='store_true', default=None,
                        help='Make it again if it vanishes from its engine.')


def _add_place(parser):
    parser.add_argument('--pull', choices=_PULL_POLICIES,
                        help='When to pull the image; default missing.')
    parser.add_argument('--registry', metavar='REGISTRY',
                        help='Registry whose credentials to pull with, by name or uuid; see '
                             'registry create.')
    parser.add_argument('--bay', type=base.reference,
                        help='Name or uuid of the bay to place it on.')
    parser.add_argument('--availability-zone', metavar='ZONE',
                        help='Place it on a bay of this zone.')
    parser.add_argument('--hint', metavar='KEY=VALUE', action='append', type=key_value,
                        help='Place it on a bay with this label; can be repeated.')
    parser.add_argument('--host', help='Place it on this host; for administrators.')
    parser.add_argument('--runtime', help='Container runtime of the engine; for administrators.')
    parser.add_argument('--privileged', action='store_true', default=None,
                        help='Ask for all rights on the host, where the operator has opened that.')


def _body(args):
    check = {'cmd': args.health_cmd, 'interval': args.health_interval,
             'timeout': args.health_timeout, 'retries': args.health_retries}
    check = {key: value for key, value in check.items() if value is not None}
    if check and not args.health_cmd:
        raise base.UsageError('The other health options go with --health-cmd.')
    environment = [pair for pairs in args.env_file or () for pair in pairs] + (args.env or [])
    body = {
        'name': args.name, 'image': args.image, 'command': without_dashes(args.command),
        'entrypoint': args.entrypoint, 'environment': dict(environment),
        'secret_environment': secret_env(args),
        'labels': dict(args.label or ()), 'workdir': args.workdir, 'user': args.user,
        'hostname': args.hostname, 'cpu': args.cpu, 'memory': args.memory, 'disk': args.disk,
        'restart_policy': args.restart, 'tty': args.tty, 'interactive': args.interactive,
        'stop_signal': args.stop_signal, 'stop_timeout': args.stop_timeout,
        'nets': args.network, 'published_ports': args.publish,
        'exposed_ports': dict.fromkeys(args.expose or (), {}),
        'mounts': (args.mount or []) + (args.volume or []),
        'tmpfs': dict(args.tmpfs or ()), 'read_only': args.read_only, 'healthcheck': check,
        'auto_remove': args.rm, 'auto_heal': args.auto_heal, 'registry': args.registry,
        'image_pull_policy': _PULL_POLICIES.get(args.pull), 'host': args.host,
        'availability_zone': args.availability_zone, 'hints': dict(args.hint or ()),
        'runtime': args.runtime, 'privileged': args.privileged}
    # What was not asked for is left to the service.
    return {key: value for key, value in body.items() if value not in (None, {}, [])}


def key_value(text):
    """Type of an argument KEY=VALUE."""
    key, equals, value = text.partition('=')
    if not key or not equals:
        raise argparse.ArgumentTypeError(f'{text!r} must be KEY=VALUE')
    return key, value


def variable(text):
    """Type of an argument KEY=VALUE, or KEY for a variable that is set here."""
    if '=' in text:
        return key_value(text)
    if text not in os.environ:
        raise argparse.ArgumentTypeError(f'{text!r} is not set here; give it a value')
    return text, os.environ[text]


def add_secret_env(parser):
    """The options for variables whose values are secrets."""
    parser.add_argument('--secret-env', metavar='KEY[=VALUE]', action='append',
                        type=_secret_variable,
                        help='Set an environment variable whose value is encrypted and never '
                             'shown. Without a value to what it is here, which keeps it out of '
                             'the list of processes and the history of the shell. Can be '
                             'repeated.')
    parser.add_argument('--secret-env-file', metavar='FILE', action='append',
                        type=_secret_variables,
                        help='The same for the variables that this file has, a KEY=VALUE in each '
                             'line; can be repeated.')


def secret_env(args):
    """What these options have set, {name: value}."""
    return dict([pair for pairs in args.secret_env_file or () for pair in pairs]
                + (args.secret_env or []))


def _secret_variable(text):
    if text.startswith('='):
        # Not what there is: it may be the value.
        raise argparse.ArgumentTypeError('must be KEY=VALUE, or KEY')
    return variable(text)


def _secret_variables(path):
    pairs = []
    for number, line in enumerate(read(path).decode(errors='replace').splitlines(), 1):
        key, equals, value = line.strip().partition('=')
        if key.startswith('#') or not key and not equals:
            continue
        if not key or not equals:
            raise argparse.ArgumentTypeError(f'{path}: line {number} must be KEY=VALUE')
        pairs.append((key, value))
    return pairs


def _variables(path):
    lines = [line.strip() for line in read(path).decode(errors='replace').splitlines()]
    return [key_value(line) for line in lines if line and not line.startswith('#')]


def read(path):
    """What is in a file that an argument names."""
    try:
        with open(path, 'rb') as f:
            return f.read()
    except OSError as exc:
        raise argparse.ArgumentTypeError(f'{path}: {exc.strerror}') from exc


def _restart_policy(text):
    name, colon, count = text.partition(':')
    policy = {'Name': name}
    if colon:
        if not count.isdigit():
            raise argparse.ArgumentTypeError(f'{text!r}: what follows the colon must be a number')
        policy['MaximumRetryCount'] = int(count)
    return policy


def _shell_words(text):
    try:
        return shlex.split(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f'cannot be split into words: {exc}') from exc


def _signal(text):
    try:
        return operations.signal(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _period(text):
    match = re.fullmatch(r'([1-9][0-9]{0,6})([smh]?)', text)
    if not match:
        raise argparse.ArgumentTypeError(f'{text!r} must be a time such as 30s, 2m or 1h')
    return int(match[1]) * _SECONDS[match[2] or 's']


def _network(text):
    if '=' not in text:
        return {'network': text}
    net = _pairs(text, _NETWORK_KEYS)
    if not net.get('network'):
        raise argparse.ArgumentTypeError(f'{text!r} has no name=NETWORK')
    return net


def _mount(text):
    mount = _pairs(text, _MOUNT_KEYS)
    if mount.setdefault('type', 'bind') != 'bind':
        raise argparse.ArgumentTypeError('only type=bind is possible: a file that is copied')
    if not mount.get('source') or not mount.get('destination'):
        raise argparse.ArgumentTypeError(f'{text!r} needs source=FILE and destination=PATH')
    content = base64.b64encode(read(mount['source'])).decode()
    # What is short and begins with / would be a directory of the host.
    return {**mount, 'source': f'\n{content}' if content.startswith('/') else content}


def _volume(text):
    source, _, rest = text.partition(':')
    path, colon, mode = rest.partition(':')
    if not (source.startswith('/') and path.startswith('/')) or (
            colon and mode not in ('ro', 'rw')):
        raise argparse.ArgumentTypeError(
            f'{text!r} must be DIRECTORY:PATH or DIRECTORY:PATH:ro, both absolute')
    return {'type': 'bind', 'source': source, 'destination': path, 'read_only': mode == 'ro'}


def _pairs(text, names):
    pairs = dict(key_value(part) for part in text.split(','))
    unknown = [key for key in pairs if key not in names]
    if unknown:
        raise argparse.ArgumentTypeError(
            f'{unknown[0]!r} is not one of {", ".join(names)}')
    return {names[key]: value for key, value in pairs.items()}


def _tmpfs(text):
    path, colon, options = text.partition(':')
    size = options.removeprefix('size=')
    if not path.startswith('/') or (colon and size == options) or ',' in size:
        raise argparse.ArgumentTypeError(f'{text!r} must be PATH or PATH:size=SIZE')
    return path, size or '64m'


def _published(text):
    match = re.fullmatch(r'([0-9]{1,5}):([0-9]{1,5})(?:/(tcp|udp|sctp))?', text)
    if not match:
        raise argparse.ArgumentTypeError(
            f'{text!r} must be HOST:PORT or HOST:PORT/PROTOCOL, for example 8080:80')
    return {'host_port': int(match[1]), 'container_port': int(match[2]),
            'protocol': match[3] or 'tcp'}


def _exposed(text):
    if not re.fullmatch(r'[0-9]{1,5}(/(tcp|udp|sctp))?', text):
        raise argparse.ArgumentTypeError(f'{text!r} must be PORT or PORT/PROTOCOL')
    return text if '/' in text else f'{text}/tcp'


def without_dashes(words_of_it):
    """A command without the -- that a careful user puts before it and argparse leaves."""
    return words_of_it[1:] if words_of_it[:1] == ['--'] else words_of_it
