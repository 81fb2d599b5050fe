# SPDX-License-Identifier: Apache-2.0
"""What Docker says, in the terms of our answers.  Plain functions: they ask nothing.

What differs between engines is told from what an answer holds, never from a version.
"""

from container_service.drivers import base

# What is shown of ``inspect``: a list of what is allowed, so that what engines add is not shown.
# Left out are paths, process ids and labels that are the engine's host's or ours.
_NETWORK = {name: True for name in (
    'NetworkID', 'Aliases', 'Gateway', 'IPAddress', 'IPPrefixLen', 'IPv6Gateway',
    'GlobalIPv6Address', 'GlobalIPv6PrefixLen', 'MacAddress')}
_SHOWN = {
    **{name: True for name in ('Id', 'Name', 'Created', 'Path', 'Args', 'Image', 'RestartCount',
                               'Platform')},
    'State': {name: True for name in (
        'Status', 'Running', 'Paused', 'Restarting', 'OOMKilled', 'Dead', 'ExitCode', 'Error',
        'StartedAt', 'FinishedAt', 'Health')},
    'Config': {name: True for name in (
        'Hostname', 'Domainname', 'User', 'Tty', 'OpenStdin', 'Env', 'Cmd', 'Entrypoint',
        'Image', 'WorkingDir', 'ExposedPorts', 'Healthcheck', 'StopSignal', 'StopTimeout',
        'Labels')},
    'HostConfig': {name: True for name in (
        'CapAdd', 'CapDrop', 'Init', 'LogConfig', 'Memory', 'MemorySwap', 'NanoCpus',
        'NetworkMode', 'PidsLimit', 'PortBindings', 'Privileged', 'ReadonlyRootfs',
        'RestartPolicy', 'Runtime', 'SecurityOpt', 'ShmSize', 'Tmpfs')},
    'Mounts': [{name: True for name in ('Type', 'Name', 'Destination', 'Mode', 'RW')}],
    'NetworkSettings': {'Ports': True, 'Networks': {'*': _NETWORK}},
}


def inspected(data, hidden=()):
    """What a tenant is shown of an answer of ``inspect``, in the engine's own words.

    ``hidden`` are the names of variables whose values nobody is shown.
    """
    shown = _allowed(data, _SHOWN)
    if hidden and shown.get('Config', {}).get('Env'):
        shown['Config']['Env'] = base.masked(shown['Config']['Env'], hidden)
    labels = shown.get('Config', {}).get('Labels')
    if labels:
        shown['Config']['Labels'] = {
            name: value for name, value in labels.items() if name not in base.LABELS}
    return shown


def _allowed(value, allow):
    if allow is True or value is None:
        return value
    if isinstance(allow, list):
        return [_allowed(item, allow[0]) for item in value]
    if '*' in allow:
        return {name: _allowed(item, allow['*']) for name, item in value.items()}
    return {name: _allowed(value[name], below) for name, below in allow.items() if name in value}


def stats(data):
    """What a container uses, from one answer of ``stats``; None when it does not run."""
    if str(data.get('read', '')).startswith('0001-'):
        return None
    memory = data.get('memory_stats') or {}
    used, limit = _memory_used(memory), memory.get('limit') or 0
    read, written = _block_bytes(data.get('blkio_stats') or {})
    networks = (data.get('networks') or {}).values()
    return {
        'read_at': data.get('read'),
        'cpu_percent': _cpu_percent(data), 'cpus': _cpus(data.get('cpu_stats') or {}),
        'memory_bytes': used, 'memory_limit_bytes': limit,
        'memory_percent': round(100 * used / limit, 2) if limit else None,
        'block_read_bytes': read, 'block_written_bytes': written,
        'network_received_bytes': sum(each.get('rx_bytes') or 0 for each in networks),
        'network_sent_bytes': sum(each.get('tx_bytes') or 0 for each in networks),
        'processes': (data.get('pids_stats') or {}).get('current') or 0}


def _cpus(cpu):
    each = (cpu.get('cpu_usage') or {}).get('percpu_usage') or (None,)
    return cpu.get('online_cpus') or len(each)


def _cpu_percent(data):
    """Of one core, so that 100 is one of them in full; None without two looks to compare."""
    now, before = data.get('cpu_stats') or {}, data.get('precpu_stats') or {}
    if not (now.get('system_cpu_usage') and before.get('system_cpu_usage')):
        return None
    system = now['system_cpu_usage'] - before['system_cpu_usage']
    used = now['cpu_usage']['total_usage'] - before['cpu_usage']['total_usage']
    return round(100 * used / system * _cpus(now), 2) if system > 0 and used > 0 else 0.0


def _memory_used(memory):
    """Without what the kernel can take back at once: its name tells the version of cgroups."""
    parts, usage = memory.get('stats') or {}, memory.get('usage') or 0
    cache = parts.get('total_inactive_file', parts.get('inactive_file')) or 0
    return usage - cache if cache < usage else usage


def _block_bytes(block):
    totals = {'read': 0, 'write': 0}
    for each in block.get('io_service_bytes_recursive') or ():
        kind = str(each.get('op')).lower()
        if kind in totals:
            totals[kind] += each.get('value') or 0
    return totals['read'], totals['write']


def stat(data):
    """What the engine tells of a path, in the words of the field; its link target only if one."""
    return {'name': data.get('name'), 'size': data.get('size'), 'mode': data.get('mode'),
            'mtime': data.get('mtime'), 'linkTarget': data.get('linkTarget') or ''}
