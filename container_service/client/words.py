# SPDX-License-Identifier: Apache-2.0
"""How values of the API read in a table or a sentence.  Standard library only.

Machine formats (json, yaml, value) do not pass here: they show what the API sent.
"""

import datetime
import json
import shlex

from container_service import operations

# Where a command is called otherwise than its operation, as users of Docker expect.
CLI_NAMES = {
    'reboot': 'restart', 'execute': 'exec', 'execution': 'exec', 'get_archive': 'cp',
    'put_archive': 'cp', 'resize_container': 'update', 'network_list': 'network list',
    'network_attach': 'network attach', 'network_detach': 'network detach'}

_RESULT_LENGTH = 200

_TIME_UNITS = (('d', 86400), ('h', 3600), ('m', 60), ('s', 1))


def cli_name(operation_name):
    """The command that asks for an operation."""
    return CLI_NAMES.get(operation_name, operation_name.replace('_', '-'))


def operation_name(word):
    """The operation that a user means by its own name or its command's."""
    for name in operations.OPERATIONS:
        if word in (name, cli_name(name)):
            return name
    raise ValueError(f'{word!r} is not an operation')


def cell(key, value, now=None):
    """Text for the value of a field in a table.

    With ``now``, times are told by their age, which is what a list is read for.
    """
    if value is None:
        return ''
    if key in _SPECIAL:
        return _SPECIAL[key](value)
    if key.endswith('_at'):
        return moment(value) if now is None else ago(value, now)
    return plain(value) if not isinstance(value, (dict, list)) else _brief(value)


def plain(value):
    """Text that a script can use: nothing for null, JSON for objects and lists."""
    if value is None:
        return ''
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def is_empty(value):
    """Whether a value says nothing: null, false, or without content; not zero."""
    return value is None or value is False or (not isinstance(value, (int, float)) and not value)


def moment(text):
    """A time without the parts that nobody reads, in UTC."""
    try:
        return f'{_parse(text):%Y-%m-%d %H:%M:%S}'
    except ValueError:
        return text


def ago(text, now):
    """How long before ``now`` (an aware datetime) a time was."""
    try:
        seconds = age(text, now)
    except ValueError:
        return text
    for unit, size in _TIME_UNITS:
        if seconds >= size:
            return f'{int(seconds // size)}{unit} ago'
    return 'just now'


def age(text, now):
    """Seconds that a time is before ``now``, an aware datetime.  Raises ValueError."""
    return (now - _parse(text)).total_seconds()


def span(seconds):
    """A length of time in its two largest units; parts of a second do not matter."""
    seconds = max(0, int(seconds))
    parts = []
    for unit, size in _TIME_UNITS:
        count, seconds = divmod(seconds, size)
        parts.append(f'{count}{unit}')
    first = next((i for i, part in enumerate(parts) if part[:-1] != '0'), len(parts) - 1)
    shown = [part for part in parts[first:first + 2] if part[:-1] != '0']
    return ' '.join(shown) or '0s'


def printable(text):
    """Text of a container without what a terminal would obey."""
    return ''.join(c if c.isprintable() else ' ' if c == '\t' else '?' for c in text)


def size(byte_count):
    """A number of bytes in decimal units, as registries and disks count."""
    unit, name = _unit(byte_count)
    return f'{byte_count / unit:.{0 if unit == 1 else 1}f} {name}'


def memory(byte_count):
    """A number of bytes in binary units, as memory is counted."""
    for unit, name in ((2**30, 'GiB'), (2**20, 'MiB'), (2**10, 'KiB')):
        if byte_count >= unit:
            return f'{byte_count / unit:.1f} {name}'
    return f'{byte_count} B'


def pull_progress(progress):
    """Bytes and layers of a pull as far as they are known, or an empty text."""
    parts = []
    done, total = progress.get('bytes') or 0, progress.get('bytes_total')
    if total:
        parts.append(f'{done / _unit(total)[0]:.1f}/{size(total)}')
    elif done:
        parts.append(size(done))
    if progress.get('layers'):
        parts.append(f'{progress.get("layers_done") or 0}/{progress["layers"]} layers')
    return ', '.join(parts)


def pulling(progress):
    """What a pull is at, for example ``pulling 3.1/9.9 MB, 1/4 layers of alpine``."""
    numbers = pull_progress(progress)
    return ' '.join(filter(None, ('pulling', numbers and f'{numbers} of', progress['image'])))


def _unit(byte_count):
    for unit, name in ((10**9, 'GB'), (10**6, 'MB'), (10**3, 'kB')):
        if byte_count >= unit:
            return unit, name
    return 1, 'B'


def _parse(text):
    value = datetime.datetime.fromisoformat(text)
    if value.tzinfo is None:
        return value.replace(tzinfo=datetime.UTC)
    return value.astimezone(datetime.UTC)


def _words(value):
    return shlex.join(value) if isinstance(value, list) else str(value)


def _progress(value):
    return ': '.join(filter(None, (value.get('image'), pull_progress(value))))


def _detail(value):
    return value.get('detail') or value.get('title') or value.get('code') or ''


def _allowance(value):
    if 'used' not in value:
        return f'at most {value.get("limit")}'
    return f'{value["used"]} of {value.get("limit")}'


def _restart_policy(value):
    if not isinstance(value, dict):
        return str(value)
    count = value.get('MaximumRetryCount')
    return f'{value.get("Name", "")}:{count}' if int(count or 0) else value.get('Name', '')


def _addresses(value):
    return ', '.join(f'{network}={entry.get("addr")}'
                     for network, entries in value.items() for entry in entries)


def _brief(value):
    entries = value.values() if isinstance(value, dict) else value
    if any(isinstance(entry, (dict, list)) for entry in entries):
        return plain(value)
    if isinstance(value, dict):
        return ', '.join(f'{key}={plain(entry)}' for key, entry in value.items())
    return ', '.join(plain(entry) for entry in value)


def _result(value):
    """What an action resulted in; the output of a command in part, and harmless."""
    if not isinstance(value, dict):
        return plain(value)
    return ', '.join(f'{key}={_cut(printable(plain(entry).strip()))}'
                     for key, entry in value.items() if not is_empty(entry))


def _cut(text):
    return text if len(text) <= _RESULT_LENGTH else f'{text[:_RESULT_LENGTH]}...'


def _parameters(value):
    return _brief({name: entry for name, entry in value.items() if not is_empty(entry)})


def _mebibytes(value):
    return f'{value} MiB' if str(value).isdigit() else str(value)


def _ports(value):
    return ', '.join(f'{port.get("host_port")}:{port.get("container_port")}'
                     f'/{port.get("protocol", "tcp")}' for port in value)


def _sizes(value):
    return ', '.join(f'{path}={memory(byte_count)}' for path, byte_count in value.items())


def _nets(value):
    return ', '.join(' '.join(filter(None, (
        net.get('network'), net.get('v4-fixed-ip'), net.get('v6-fixed-ip')))) for net in value)


def _files(value):
    return ', '.join(f'{entry.get("destination")} ({size(entry.get("size") or 0)})'
                     for entry in value)


def _mounts(value):
    return ', '.join(f'{entry.get("source")}:{entry.get("destination")}'
                     f'{":ro" if entry.get("read_only") else ""}' for entry in value)


_SPECIAL = {
    'addresses': _addresses, 'command': _words, 'entrypoint': _words, 'error': _detail,
    'files': _files, 'memory': _mebibytes, 'mounts': _mounts, 'nets': _nets, 'operation': cli_name,
    'parameters': _parameters, 'progress': _progress, 'published_ports': _ports,
    'restart_policy': _restart_policy, 'result': _result, 'tmpfs': _sizes,
    'unfinished_actions': _allowance, 'unfinished_actions_per_container': _allowance,
    'waiting': _detail,
}
