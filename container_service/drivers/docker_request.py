# SPDX-License-Identifier: Apache-2.0
"""What Docker is asked for when a container is made, and the way back.

The only place where create options become something that the engine understands.  It is an
allow list: what is not named here does not reach the engine, whatever ``spec`` holds.  Host
namespaces, host paths, devices, further capabilities and weaker confinement are never named, but
for what ``powers`` knows, of a container whose spec says that it was opened for it.

``docker.py`` sends it.
"""

import re

from container_service import exceptions
from container_service import powers
from container_service import references
from container_service.drivers import base

# Docker's default set without AUDIT_WRITE (forged audit records), MKNOD (device nodes), NET_RAW
# (spoofed packets on the shared bridge) and SETFCAP (files that give capabilities).
CAPABILITIES = (
    'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'NET_BIND_SERVICE', 'SETGID',
    'SETPCAP', 'SETUID', 'SYS_CHROOT')

# What the engine calls it, as if it were one, when a container is on no network.
NO_NETWORK = 'none'

TMPFS_OPTIONS = 'rw,nosuid,nodev,noexec,size='

_NANO = 10 ** 9
_DEFAULT_RUNTIME = 'runc'
_TEXTS = (('command', 'Cmd'), ('entrypoint', 'Entrypoint'), ('workdir', 'WorkingDir'),
          ('user', 'User'), ('stop_signal', 'StopSignal'))
_PERIODS = (('interval', 'Interval'), ('timeout', 'Timeout'))


def create_request(container, limits=base.Limits(), networks=(),  # noqa: B008 - it is frozen
                   socket=None):
    """Return the body of the engine's create request.

    ``networks`` are the names of those in ``spec['nets']``, as the engine has them.  Older
    engines take one network here; the others are connected before the first start.  ``socket``
    is the path of the engine's own, if it has one.  Raises DriverError.
    """
    spec = container.spec
    body = {
        'Image': references.join(*references.split(container.image)),
        'Labels': container.engine_labels,
        'Tty': bool(spec.get('tty')),
        'OpenStdin': bool(spec.get('interactive')),
        'HostConfig': _host_config(spec, limits, socket),
    }
    for key, name in (*_TEXTS, ('hostname', 'Hostname')):
        if spec.get(key):
            body[name] = spec[key]
    variables = container.variables()
    if variables:
        body['Env'] = [f'{name}={value}' for name, value in sorted(variables.items())]
    if spec.get('stop_timeout') is not None:
        body['StopTimeout'] = int(spec['stop_timeout'])
    if spec.get('healthcheck'):
        body['Healthcheck'] = _healthcheck(spec['healthcheck'])
    ports = {*(spec.get('exposed_ports') or ()), *map(_port, spec.get('published_ports') or ())}
    if ports:
        body['ExposedPorts'] = {port: {} for port in sorted(ports)}
    if has_host_network(spec):
        body['HostConfig']['NetworkMode'] = powers.HOST
    elif networks:
        body['HostConfig']['NetworkMode'] = networks[0]
        body['NetworkingConfig'] = {'EndpointsConfig': {
            networks[0]: {'IPAMConfig': fixed_addresses(spec['nets'][0])}}}
    elif spec.get('nets') == []:        # it was detached from all; a request never says this
        body['HostConfig']['NetworkMode'] = NO_NETWORK
    return body


def _host_config(spec, limits, socket):
    config = {
        'Privileged': powers.PRIVILEGED in powers.of(spec),
        'SecurityOpt': ['no-new-privileges'],
        'CapDrop': ['ALL'],
        'CapAdd': list(CAPABILITIES),
        'IpcMode': 'private',
        'PidsLimit': limits.pids,
        # Named, so that a limit holds whatever the engine's default log driver is.
        'LogConfig': {'Type': 'json-file',
                      'Config': {'max-size': limits.log_max_size,
                                 'max-file': str(limits.log_max_files)}},
        'RestartPolicy': _restart_policy(spec.get('restart_policy') or {}),
    }
    memory, cpu = spec.get('memory_bytes') or limits.memory_bytes, spec.get('cpu') or limits.cpu
    config.update(_limits_of(memory, cpu))
    if spec.get('read_only'):
        config['ReadonlyRootfs'] = True
    if spec.get('tmpfs'):
        config['Tmpfs'] = {path: f'{TMPFS_OPTIONS}{int(size)}'
                           for path, size in sorted(spec['tmpfs'].items())}
    if spec.get('runtime'):
        config['Runtime'] = spec['runtime']
    if spec.get('disk'):
        config['StorageOpt'] = {'size': f'{int(spec["disk"])}G'}
    if spec.get('published_ports'):
        bindings = config['PortBindings'] = {}
        for port in spec['published_ports']:
            bindings.setdefault(_port(port), []).append({'HostPort': str(port['host_port'])})
    mounts = host_paths(spec, socket)
    if mounts:
        # Unlike Binds these are refused where the host has no such directory.
        config['Mounts'] = [
            {'Type': 'bind', 'Source': mount['source'], 'Target': mount['destination'],
             'ReadOnly': mount['read_only'], 'BindOptions': {'Propagation': 'rprivate'}}
            for mount in mounts]
    return config


def forgetting(container):
    """What a request to commit says, so that the image has no value of a secret variable.

    The engine takes what the container has as well, and no request can make it leave out a name.
    """
    if not container.hidden:
        return {}
    return {'changes': 'ENV ' + ' '.join(f'{name}=""' for name in sorted(container.hidden))}


def has_host_network(spec):
    """Whether a container was given the network of its host."""
    return (powers.HOST_NETWORK in powers.of(spec)
            and spec.get('nets') == [{'network': powers.HOST}])


def host_paths(spec, socket=None):
    """What a container was given of its host's directories.  Raises DriverError."""
    mounts = spec.get('mounts') or ()
    if powers.BIND_MOUNTS not in powers.of(spec):
        return ()
    for mount in mounts:
        reason = powers.refused(mount['source'], socket)
        if reason:
            raise exceptions.DriverError(f'mounts: {mount["source"]} must {reason}.')
    return mounts


def update_request(cpu=None, memory_bytes=None, restart_policy=None):
    """Return the body of the engine's request to change a container; None leaves a thing."""
    body = _limits_of(memory_bytes, cpu)
    if restart_policy is not None:
        body['RestartPolicy'] = _restart_policy(restart_policy)
    return body


def _limits_of(memory, cpu):
    limits = {}
    if memory:
        # Equal means no swap.  The engine's own default would add as much swap again.
        limits['Memory'] = limits['MemorySwap'] = int(memory)
    if cpu:
        limits['NanoCpus'] = round(float(cpu) * _NANO)
    return limits


def _restart_policy(policy):
    name = policy.get('Name') or 'no'
    if name != 'on-failure':     # the engine refuses a count with any other policy
        return {'Name': name}
    return {'Name': name, 'MaximumRetryCount': int(policy.get('MaximumRetryCount') or 0)}


def _healthcheck(check):
    body = {'Test': ['CMD-SHELL', check['test']]}
    for key, name in _PERIODS:
        if check.get(key):
            body[name] = int(check[key]) * _NANO
    if check.get('retries'):
        body['Retries'] = int(check['retries'])
    return body


def _port(published):
    return f'{published["container_port"]}/{published["protocol"]}'


def fixed_addresses(net):
    """The engine's words for the addresses that one entry of ``nets`` asks for."""
    return {name: net[key] for key, name in (('v4-fixed-ip', 'IPv4Address'),
                                             ('v6-fixed-ip', 'IPv6Address')) if net.get(key)}


def spec_of(data, image=None, limits=base.Limits()):  # noqa: B008 - it is frozen
    """The create options that would make the container that ``inspect`` shows.

    With the values of its secret variables, as (spec, {name: value}).

    ``image`` is what ``inspect`` says of its image: what comes from there, or from ``limits``,
    was not asked for.  What only we know (injected files, auto_remove, auto_heal) is not in it.
    """
    config, host = data.get('Config') or {}, data.get('HostConfig') or {}
    defaults = (image or {}).get('Config') or {}
    spec = {key: config[name] for key, name in _TEXTS
            if config.get(name) and config[name] != defaults.get(name)}
    inherited = defaults.get('Env') or ()
    environment = dict(text.partition('=')[::2] for text in config.get('Env') or ()
                       if text not in inherited)
    environment, secret = base.part(environment, config.get('Labels') or {})
    if secret:
        spec['secret_environment'] = sorted(secret)
    labels = {key: value for key, value in (config.get('Labels') or {}).items()
              if key not in base.LABELS and (defaults.get('Labels') or {}).get(key) != value}
    policy = host.get('RestartPolicy') or {}
    if policy.get('Name') not in (None, '', 'no'):
        spec['restart_policy'] = {'Name': policy['Name'],
                                  'MaximumRetryCount': policy.get('MaximumRetryCount') or 0}
    if config.get('Hostname') and config['Hostname'] != data['Id'][:12]:
        spec['hostname'] = config['Hostname']
    if config.get('StopTimeout') is not None:
        spec['stop_timeout'] = config['StopTimeout']
    memory, cpu = host.get('Memory'), (host.get('NanoCpus') or 0) / _NANO
    published = _published(host)
    exposed = sorted(
        set(config.get('ExposedPorts') or ()) - set(defaults.get('ExposedPorts') or ())
        - set(map(_port, published)))
    spec.update({key: value for key, value in (
        ('environment', environment), ('labels', labels), ('tty', bool(config.get('Tty'))),
        ('interactive', bool(config.get('OpenStdin'))),
        ('memory_bytes', memory != limits.memory_bytes and memory),
        ('cpu', cpu != limits.cpu and cpu),
        ('healthcheck', _check_of(config, defaults)), ('read_only', host.get('ReadonlyRootfs')),
        ('tmpfs', _tmpfs(host)), ('disk', _disk(host)), ('runtime', _runtime(host)),
        ('exposed_ports', exposed), ('published_ports', published),
    ) if value})
    nets = _nets(data)
    if nets is not None:
        spec['nets'] = nets
    return spec, secret


def powers_of(data):
    """What the container that ``inspect`` shows has beyond what ``create_request`` gives to all.

    All that gives powers must be as it would be made here, and what is not is named.
    """
    host = data.get('HostConfig') or {}
    capabilities = {name.removeprefix('CAP_') for name in host.get('CapAdd') or ()}
    network, mounts = str(host.get('NetworkMode') or ''), _mounts(data, host)
    found = (
        (powers.PRIVILEGED, host.get('Privileged')),
        (powers.HOST_NETWORK, network == powers.HOST),
        (powers.BIND_MOUNTS, 'bind' in mounts),
        ('capabilities', capabilities - set(CAPABILITIES) or host.get('CapDrop') != ['ALL']),
        ('namespaces', host.get('IpcMode') != 'private' or ':' in network),
        # Being privileged implies it.
        ('confinement', not host.get('Privileged') and _is_less_confined(host)),
        ('volumes', mounts - {'bind', 'tmpfs', 'anonymous'}),
        *((name, any(host.get(key) for key in keys)) for name, keys in _NEVER_ASKED.items()))
    return tuple(dict.fromkeys(name for name, has in found if has))


# What no request of ours has, and engines show as empty then.  Not CgroupnsMode and Ulimits: there
# an engine shows its own default, which its operator has chosen.
_NEVER_ASKED = {
    'namespaces': ('PidMode', 'UTSMode', 'UsernsMode', 'Cgroup'),
    'devices': ('Devices', 'DeviceRequests', 'DeviceCgroupRules'),
    'volumes': ('VolumesFrom', 'VolumeDriver', 'Binds'),
    'cgroups': ('CgroupParent', 'OomScoreAdj', 'OomKillDisable', 'CpuRealtimePeriod',
                'CpuRealtimeRuntime'),
    'sysctls': ('Sysctls',),
    'groups': ('GroupAdd',),
    'links': ('Links',),
}

# Files of the kernel that each engine keeps from containers, of one or the other kind, unless it
# is told not to; older ones do not say it.
_KEPT = (('MaskedPaths', {'/proc/kcore', '/proc/keys', '/proc/timer_list', '/sys/firmware'}),
         ('ReadonlyPaths', {'/proc/bus', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'}))


def _is_less_confined(host):
    return host.get('SecurityOpt') != ['no-new-privileges'] or any(
        name in host and not kept <= set(host[name] or ()) for name, kept in _KEPT)


def _mounts(data, host):
    """Of which kinds the mounts of a container are; those of its image's volumes are anonymous."""
    kinds = {mount.get('Type') for mount in host.get('Mounts') or ()}
    for mount in data.get('Mounts') or ():
        # Whoever knows the name of another's could mount that, but not without asking for it.
        anonymous = (mount.get('Type') == 'volume' and mount.get('Driver') == 'local'
                     and re.fullmatch('[0-9a-f]{64}', mount.get('Name') or ''))
        kinds.add('anonymous' if anonymous else mount.get('Type'))
    return kinds


def _check_of(config, defaults):
    check = config.get('Healthcheck') or {}
    test = check.get('Test') or []
    if check == defaults.get('Healthcheck') or test[:1] != ['CMD-SHELL'] or len(test) != 2:
        return None
    found = {'test': test[1]}
    found.update({key: check[name] // _NANO for key, name in _PERIODS if check.get(name)})
    if check.get('Retries'):
        found['retries'] = check['Retries']
    return found


def _tmpfs(host):
    sizes = ((path, re.search(r'size=(\d+)$', options))
             for path, options in (host.get('Tmpfs') or {}).items())
    return {path: int(size[1]) for path, size in sizes if size}


def _disk(host):
    size = re.fullmatch(r'(\d+)G', (host.get('StorageOpt') or {}).get('size') or '')
    return int(size[1]) if size else None


def _runtime(host):
    return host.get('Runtime') if host.get('Runtime') != _DEFAULT_RUNTIME else None


def _published(host):
    return [{'container_port': int(port.partition('/')[0]), 'host_port': int(binding['HostPort']),
             'protocol': port.partition('/')[2]}
            for port, bindings in sorted((host.get('PortBindings') or {}).items())
            for binding in bindings or () if (binding.get('HostPort') or '').isdecimal()]


def networks_of(data):
    """What ``inspect`` shows of the networks that a container is on, by name."""
    networks = (data.get('NetworkSettings') or {}).get('Networks') or {}
    return {name: about for name, about in networks.items() if name != NO_NETWORK}


def _nets(data):
    """The networks that a container was put on; None: only on the default one."""
    networks = networks_of(data)
    mode = (data.get('HostConfig') or {}).get('NetworkMode') or 'default'
    if mode in ('default', 'bridge') and set(networks) <= {'bridge'}:
        return None
    nets = []
    for name in sorted(networks, key=lambda name: (name != mode, name)):
        wanted = networks[name].get('IPAMConfig') or {}
        nets.append({'network': name, **{key: wanted[word] for key, word in (
            ('v4-fixed-ip', 'IPv4Address'), ('v6-fixed-ip', 'IPv6Address')) if wanted.get(word)}})
    return nets
