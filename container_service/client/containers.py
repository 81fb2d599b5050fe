# SPDX-License-Identifier: Apache-2.0
"""The commands that look at containers: list, show, wait, stats, top, diff, inspect."""

import argparse

from container_service import states
from container_service.client import base
from container_service.client import http

CONTAINER_FIELDS = (
    'uuid', 'name', 'image', 'status', 'status_reason', 'status_detail', 'task_state',
    'exit_code', 'health', 'command', 'entrypoint', 'environment', 'labels', 'workdir',
    'hostname', 'cpu', 'memory', 'restart_policy', 'tty', 'interactive', 'image_pull_policy',
    'addresses', 'ports', 'bay_uuid', 'created_at', 'updated_at', 'started_at', 'finished_at')


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

    def query(self, parsed_args):
        return {key: getattr(parsed_args, key) for key in ('name', 'status', 'image', 'label')}


class ShowContainer(base.ShowCommand):
    """Show a container."""

    arguments = 'CONTAINER'
    fields = CONTAINER_FIELDS

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
