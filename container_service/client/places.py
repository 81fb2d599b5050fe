# SPDX-License-Identifier: Apache-2.0
"""The commands on where containers can be, and how much of it: hosts, zones, quotas."""

import argparse

from container_service.client import asking
from container_service.client import base
from container_service.client import http
from container_service.client import words

HOST_FIELDS = (
    'uuid', 'hostname', 'cpus', 'cpu_used', 'mem_total', 'mem_used', 'disk_total', 'disk_used',
    'total_containers', 'architecture', 'os_type', 'os', 'kernel_version', 'runtimes', 'labels',
    'availability_zone', 'engine_version', 'health_status')
QUOTAS = {'containers': 'So many containers.', 'cpu': 'Cores of all its containers together.',
          'memory': 'Memory of all its containers together, in MiB.',
          'disk': 'Disk of all its containers together, in GiB.',
          'actions': 'So many actions that have not ended.'}
DEFAULT_CLASS = 'default'


class ListHosts(base.ListCommand):
    """List the hosts that engines run on, with what they have and what is taken of it."""

    path = 'hosts'
    fields = HOST_FIELDS
    brief = ('hostname', 'availability_zone', 'health_status', 'total_containers', 'cpu', 'memory')
    long = ('uuid', *brief, 'disk', 'engine_version', 'os', 'kernel_version', 'architecture')
    computed = {'cpu': lambda host, now: _part(host, 'cpu_used', 'cpus'),
                'memory': lambda host, now: _part(host, 'mem_used', 'mem_total', ' MiB'),
                'disk': lambda host, now: _part(host, 'disk_used', 'disk_total', ' GiB')}


class ShowHost(base.ShowNamed):
    """Show a host."""

    path = 'hosts'
    arguments = 'HOST'
    fields = HOST_FIELDS


class ListZones(base.ListCommand):
    """List the availability zones that containers can be placed in."""

    path = 'availability_zones'
    fields = ('availability_zone',)
    paged = False            # the service has them all on one page, and they have no uuid


class ShowQuota(base.ListCommand):
    """Show how much a project may have, and how much it has.

    With --class default, what a project may have that nothing was said about.
    """

    arguments = 'PROJECT'
    paged = False
    fields = ('resource', 'limit', 'in_use')
    computed = {'limit': lambda quota, now: _limit(quota['limit']),
                'in_use': lambda quota, now: words.plain(quota.get('in_use'))}

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_of_whom(parser)

    def take_action(self, parsed_args):
        of_class = parsed_args.quota_class
        found = self.client.get(_path(parsed_args), None if of_class else {'usages': True})
        self.print_list(parsed_args, [
            {'resource': resource, **(told if isinstance(told, dict) else {'limit': told})}
            for resource, told in sorted(found.items()) if resource in QUOTAS])


class SetQuota(base.Command):
    """Say how much a project may have; -1 is no limit."""

    arguments = 'PROJECT'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_of_whom(parser)
        for name, meaning in QUOTAS.items():
            parser.add_argument(f'--{name}', metavar='N', type=_quota, help=meaning)

    def take_action(self, parsed_args):
        given = {name: getattr(parsed_args, name) for name in QUOTAS}
        given = {name: value for name, value in given.items() if value is not None}
        if not given:
            raise base.UsageError(f'Say what: {", ".join(f"--{name}" for name in QUOTAS)}.')
        asking.change(self.client, 'PUT', _path(parsed_args), harmless=True, body=given,
                      on_trouble=self.tell_trouble)


class DeleteQuota(base.Command):
    """Forget what was said about a project, so that the default holds for it."""

    arguments = 'PROJECT'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('project', metavar='PROJECT', type=base.reference, help='Its id.')

    def take_action(self, parsed_args):
        asking.change(self.client, 'DELETE', f'quotas/{http.segment(parsed_args.project)}',
                      harmless=True, on_trouble=self.tell_trouble)


def _add_of_whom(parser):
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument('project', metavar='PROJECT', nargs='?', type=base.reference,
                      help='Id of a project.')
    whom.add_argument('--class', dest='quota_class', metavar='CLASS', type=base.reference,
                      help=f'A class of quotas instead of a project; there is {DEFAULT_CLASS}.')


def _path(parsed_args):
    if parsed_args.quota_class:
        return f'quota_classes/{http.segment(parsed_args.quota_class)}'
    return f'quotas/{http.segment(parsed_args.project)}'


def _quota(text):
    if text == '-1':
        return -1
    try:
        return base.whole_number(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            'must be a whole number, or -1 for no limit') from None


def _limit(value):
    return 'none' if value in (-1, None) else words.plain(value)


def _part(host, part, whole, unit=''):
    if host.get(whole) is None:
        return ''
    return f'{words.plain(host.get(part))} of {words.plain(host[whole])}{unit}'


COMMANDS = {'host list': ListHosts, 'host show': ShowHost,
            'availability zone list': ListZones, 'quota show': ShowQuota,
            'quota set': SetQuota, 'quota delete': DeleteQuota}
