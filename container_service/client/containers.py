# SPDX-License-Identifier: Apache-2.0
"""list and show: what the service knows of containers."""

import argparse

from container_service import states
from container_service.client import base
from container_service.client import http

CONTAINER_FIELDS = (
    'uuid', 'name', 'image', 'status', 'status_reason', 'status_detail', 'task_state',
    'exit_code', 'oom_killed', 'health', 'command', 'entrypoint', 'environment',
    'secret_environment', 'labels', 'workdir', 'user', 'hostname', 'cpu', 'memory',
    'memory_bytes', 'disk', 'restart_policy', 'auto_remove', 'auto_heal', 'tty', 'interactive',
    'read_only', 'tmpfs', 'files', 'mounts', 'healthcheck', 'stop_signal', 'stop_timeout',
    'image_pull_policy', 'registry_id', 'nets', 'addresses', 'ports', 'published_ports',
    'bay_uuid', 'host', 'engine_id', 'project_id', 'user_id', 'created_at', 'updated_at',
    'started_at', 'finished_at')
# Said otherwise too, or the same for every container.
_NOT_IN_A_TABLE = ('memory_bytes', 'security_groups', 'image_driver', 'cpu_policy')


class ListContainers(base.ListCommand):
    """List containers.

    A table has the columns that fit a terminal; more with --long, all with -f json, and any
    with -c.
    """
    path = 'containers'
    fields = CONTAINER_FIELDS
    brief = ('name', 'image', 'status', 'task_state', 'created_at')
    long = ('uuid', 'name', 'image', 'command', 'status', 'status_detail', 'task_state',
            'addresses', 'created_at')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--name', help='Only the one of this name.')
        parser.add_argument('--status', type=_container_status, metavar='STATUS',
                            help='Only those in this status: '
                                 f'{", ".join(sorted(states.CONTAINER_STATUSES))}.')
        parser.add_argument('--image', help='Only those of this image.')
        parser.add_argument('--label', metavar='KEY[=VALUE]', action='append',
                            help='Only those with this label; can be repeated.')
        parser.add_argument('--all-projects', action='store_true', default=None,
                            help='Those of all projects; for administrators.')

    def query(self, parsed_args):
        return {key: getattr(parsed_args, key)
                for key in ('name', 'status', 'image', 'label', 'all_projects')}


class ShowContainer(base.ShowCommand):
    """Show a container; a table leaves out what is not set."""

    arguments = 'CONTAINER'
    fields = CONTAINER_FIELDS
    brief = tuple(name for name in CONTAINER_FIELDS if name not in _NOT_IN_A_TABLE)
    hides_empty = True

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_container(parser)

    def take_action(self, parsed_args):
        found = self.client.get(f'containers/{http.segment(parsed_args.container)}')
        self.print_one(parsed_args, found)


def _container_status(text):
    status = text.capitalize()
    if status not in states.CONTAINER_STATUSES:
        known = ', '.join(sorted(states.CONTAINER_STATUSES))
        raise argparse.ArgumentTypeError(f'{text!r} is not one of {known}')
    return status
