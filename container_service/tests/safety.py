# SPDX-License-Identifier: Apache-2.0
"""What a container must have, and what it must never have: of requests to an engine and of what
it then says.

Written out by hand, and not taken from ``drivers/docker_request.py``: it is there to disagree.
"""

import re

CAPABILITIES = {'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'NET_BIND_SERVICE',
                'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT'}

_PLAIN = {'Image', 'Labels', 'Tty', 'OpenStdin', 'Cmd', 'Entrypoint', 'WorkingDir', 'User',
          'StopSignal', 'Hostname', 'Env', 'StopTimeout', 'Healthcheck', 'ExposedPorts'}
_NETWORK = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]*')
_NO_NETWORKS = ('host', 'default', 'bridge', 'none')


def faults_of_request(body, opened=()):
    """What is wrong with the body of a create request, as texts; none when it is safe.

    ``opened`` is what policy has let the container have.
    """
    faults = [f'{name} is there' for name in set(body) - _PLAIN - {'HostConfig',
                                                                  'NetworkingConfig'}]
    config = dict(body['HostConfig'])
    for power, name, allowed in _OPENED:
        if power in opened and name in config and allowed(config[name]):
            del config[name]
    for name, allowed in _REQUESTED.items():
        if name in config or (name in _ALWAYS and name not in body['HostConfig']):
            value = config.pop(name, None)
            if not allowed(value):
                faults.append(f'{name} is {value!r}')
    faults += [f'HostConfig.{name} is there' for name in config]
    endpoints = (body.get('NetworkingConfig') or {}).get('EndpointsConfig') or {}
    for name, about in endpoints.items():
        if (not _is_network(name) or set(about) != {'IPAMConfig'}
                or not set(about['IPAMConfig']) <= {'IPv4Address', 'IPv6Address'}):
            faults.append(f'NetworkingConfig has {name}: {about}')
    if set(body.get('NetworkingConfig') or ()) - {'EndpointsConfig'}:
        faults.append('NetworkingConfig has more than endpoints')
    if set(body.get('Healthcheck') or ()) - {'Test', 'Interval', 'Timeout', 'Retries'}:
        faults.append('Healthcheck has more')
    return faults


def faults_of_inspect(data):
    """What is wrong with a container that an engine has, as texts; none when it is safe."""
    config = data['HostConfig']
    faults = [f'{name} is {config.get(name)!r}' for name, allowed in _INSPECTED.items()
              if not allowed(config.get(name))]
    faults += [f'{mount.get("Source")} of the host is at {mount["Destination"]}'
               for mount in data.get('Mounts') or () if mount['Type'] not in ('volume', 'tmpfs')]
    return faults


def _is_network(name):
    return bool(_NETWORK.fullmatch(name)) and name not in _NO_NETWORKS


def _caps(value):
    return {name.removeprefix('CAP_') for name in value or ()}


def _is_restart_policy(value):
    return (value['Name'] in ('no', 'always', 'unless-stopped', 'on-failure')
            and set(value) <= {'Name', 'MaximumRetryCount'})


def _are_bindings(value):
    return all(set(binding) == {'HostPort'} and int(binding['HostPort']) >= 1024
               for bindings in value.values() for binding in bindings)


def _are_tmpfs(value):
    return all(re.fullmatch(r'rw,nosuid,nodev,noexec,size=[0-9]+', options)
               and not re.match(r'(//|/$|/(proc|sys|dev)(/|$))', path)
               for path, options in value.items())


def _none(value):
    return not value


_ALWAYS = ('Privileged', 'SecurityOpt', 'CapDrop', 'CapAdd', 'IpcMode', 'PidsLimit', 'LogConfig',
           'RestartPolicy')
_REQUESTED = {
    'Privileged': lambda value: value is False,
    'SecurityOpt': lambda value: value == ['no-new-privileges'],
    'CapDrop': lambda value: value == ['ALL'],
    'CapAdd': lambda value: value is not None and set(value) <= CAPABILITIES,
    'IpcMode': lambda value: value == 'private',
    'PidsLimit': lambda value: type(value) is int and value > 0,
    'LogConfig': lambda value: (set(value) == {'Type', 'Config'}
                                and value['Type'] == 'json-file'
                                and set(value['Config']) == {'max-size', 'max-file'}),
    'RestartPolicy': _is_restart_policy,
    'Memory': lambda value: type(value) is int and value > 0,
    'MemorySwap': lambda value: type(value) is int and value > 0,
    'NanoCpus': lambda value: type(value) is int and value > 0,
    'ReadonlyRootfs': lambda value: value is True,
    'Tmpfs': _are_tmpfs,
    'Runtime': lambda value: bool(re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_.-]*', value)),
    'StorageOpt': lambda value: set(value) == {'size'} and re.fullmatch(r'\d+G', value['size']),
    'PortBindings': _are_bindings,
    'NetworkMode': lambda value: value == 'none' or _is_network(value),
}

# What a power may make of them instead.
_OPENED = (
    ('privileged', 'Privileged', lambda value: value is True),
    ('host_network', 'NetworkMode', lambda value: value == 'host'),
    ('bind_mounts', 'Mounts', lambda value: all(
        mount['Type'] == 'bind' and mount['Source'] in ('/srv/data', '/srv/more')
        and type(mount['ReadOnly']) is bool and mount['BindOptions'] == {'Propagation': 'rprivate'}
        for mount in value)),
)

_INSPECTED = {
    'Privileged': _none, 'Binds': _none, 'Mounts': _none, 'VolumesFrom': _none, 'Links': _none,
    'Devices': _none, 'DeviceRequests': _none, 'DeviceCgroupRules': _none, 'Sysctls': _none,
    'Ulimits': _none, 'CgroupParent': _none, 'Cgroup': _none, 'ContainerIDFile': _none,
    'GroupAdd': _none, 'OomKillDisable': _none, 'OomScoreAdj': _none, 'PublishAllPorts': _none,
    'PidMode': _none, 'UTSMode': _none, 'UsernsMode': _none, 'ExtraHosts': _none, 'Init': _none,
    'VolumeDriver': _none,
    'SecurityOpt': lambda value: value == ['no-new-privileges'],
    'CapDrop': lambda value: _caps(value) == {'ALL'},
    'CapAdd': lambda value: _caps(value) <= CAPABILITIES,
    'IpcMode': lambda value: value == 'private',
    'PidsLimit': lambda value: bool(value) and value > 0,
    'LogConfig': lambda value: value['Type'] == 'json-file' and 'max-size' in value['Config'],
    'NetworkMode': lambda value: value != 'host' and not value.startswith(('container:', 'ns:')),
    # Where the kernel's own files are kept from containers: an engine tells if it is switched off.
    'MaskedPaths': lambda value: value is None or len(value) > 0,
    'ReadonlyPaths': lambda value: value is None or len(value) > 0,
}
