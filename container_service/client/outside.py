# SPDX-License-Identifier: Apache-2.0
"""The commands on what happens past this service: events, and strays on engines."""

import time

from container_service.client import base
from container_service.client import http

STRAY_FIELDS = ('engine_id', 'name', 'status', 'reason', 'wanted', 'error', 'container_uuid',
                'generation', 'image', 'bay_uuid', 'uuid', 'created_at')
EVENT_FIELDS = ('created_at', 'type', 'container_uuid', 'bay_uuid', 'project_id', 'detail', 'uuid')

_PAUSE_SECONDS = 0.5
ALL = 'all'


def _in_words(event, now):
    return ', '.join(f'{key} {value}' for key, value in (event.get('detail') or {}).items()
                     if value not in (None, False))


class ListEvents(base.ListCommand):
    """List what happened to containers and bays that nobody had asked this service for."""

    path = 'events'
    fields = EVENT_FIELDS
    brief = ('created_at', 'type', 'container_uuid', 'detail')
    computed = {'detail': _in_words}

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--container', type=base.reference,
                            help='Only those of this container; by uuid also of a deleted one.')
        parser.add_argument('--bay', type=base.reference, help='Only those of this bay.')
        parser.add_argument('--type', help='Only those of this type.')
        parser.add_argument('--all-projects', action='store_true',
                            help='Those of all projects, and of bays.')

    def query(self, parsed_args):
        return {'container': parsed_args.container, 'bay': parsed_args.bay,
                'type': parsed_args.type, 'all_projects': parsed_args.all_projects or None}


class _StrayList(base.ListCommand):
    fields = STRAY_FIELDS
    brief = ('engine_id', 'name', 'status', 'reason', 'error')
    computed = {'error': lambda stray, now: stray.get('error') or ''}    # words already

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('bay', metavar='BAY', type=base.reference, help='Name or uuid.')
        base.add_all_projects(parser)

    def query(self, parsed_args):
        return base.all_projects(parsed_args) or {}


class ListStrays(_StrayList):
    """List what the engine of a bay has with our label although nobody knows it."""

    arguments = 'BAY'

    def take_action(self, parsed_args):
        self.path = f'bays/{http.segment(parsed_args.bay)}/strays'
        self.key = 'strays'
        return super().take_action(parsed_args)


class Reconcile(_StrayList):
    """Adopt or remove strays of a bay, and list those that are left.

    A stray is what an engine has with our label although nobody knows it. What is adopted
    becomes a container like any other; what is removed is lost.
    """

    arguments = 'BAY'
    changes = True
    paged = False

    def add_arguments(self, parser):
        super().add_arguments(parser)
        what = 'a stray with this engine id, or "all" of them; can be repeated.'
        parser.add_argument('--adopt', metavar='ID', action='append', default=[],
                            help=f'Make a container of {what}')
        parser.add_argument('--remove', metavar='ID', action='append', default=[],
                            help=f'Remove {what}')
        parser.add_argument('--project', metavar='ID',
                            help='Project that gets what is adopted; yours by default.')
        parser.add_argument('--new-engine', action='store_true',
                            help='The engine was replaced on purpose: take whichever answers '
                                 'now for that of the bay. Containers that it does not have '
                                 'become Error.')
        parser.add_argument('--timeout', metavar='SECONDS', type=base.number, default=60,
                            help='Wait so long until it is done; default 60.')

    def take_action(self, parsed_args):
        path, query = f'bays/{http.segment(parsed_args.bay)}', self.query(parsed_args)
        body = {'adopt': _ids(parsed_args.adopt), 'remove': _ids(parsed_args.remove),
                'project_id': parsed_args.project, 'new_engine': parsed_args.new_engine}
        self.client.post(f'{path}/reconcile',
                         {key: value for key, value in body.items() if value}, query)
        deadline = time.monotonic() + parsed_args.timeout
        while True:
            left, _ = self.client.pages(f'{path}/strays', 'strays', query)
            waiting = [stray for stray in left if stray['wanted']]
            if not waiting or time.monotonic() >= deadline:
                break
            time.sleep(_PAUSE_SECONDS)
        self.print_list(parsed_args, left)
        if waiting:
            option = '--all-projects ' if query else ''
            self.say(f'{len(waiting)} are not done yet. Is a conductor up that reaches the bay? '
                     f'See: container-service bay show {option}{parsed_args.bay}')
            return 1
        failed = [stray for stray in left if stray['error']]
        return 1 if failed and (parsed_args.adopt or parsed_args.remove) else None


def _ids(words):
    return ALL if ALL in words else words
