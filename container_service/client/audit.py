# SPDX-License-Identifier: Apache-2.0
"""The commands on the audit trail: who did what, and with which outcome."""

from container_service.client import base
from container_service.client import http

FIELDS = (
    'created_at', 'user_id', 'user_project_id', 'roles', 'source', 'authenticated_by', 'action',
    'target_type', 'target_uuid', 'target_name', 'project_id', 'outcome', 'status', 'code',
    'request_id', 'action_uuid', 'details', 'uuid')
OUTCOMES = ('pending', 'success', 'failure', 'unknown')


def _who(entry, now):
    return entry.get('user_id') or entry.get('authenticated_by')


def _target(entry, now):
    return entry.get('target_name') or entry.get('target_uuid') or ''


def _outcome(entry, now):
    code = entry.get('code')
    return f'{entry["outcome"]} ({code})' if code else entry['outcome']


class ListAudit(base.ListCommand):
    """List who did what, when, and with which outcome; the oldest comes first.

    What was accepted to be done later is in the list twice: as pending when it was accepted, and
    with its outcome when it had ended.
    """

    path = 'audit'
    fields = FIELDS
    brief = ('created_at', 'who', 'action', 'target', 'outcome')
    long = ('created_at', 'who', 'source', 'action', 'target', 'project_id', 'outcome',
            'request_id', 'uuid')
    computed = {'who': _who, 'target': _target, 'outcome': _outcome}

    def add_arguments(self, parser):
        super().add_arguments(parser)
        for option, words in (
                ('--project', 'Only the trail of this project, by its id.'),
                ('--user', 'Only what this user did, by its id.'),
                ('--action', 'Only this, such as create/container.'),
                ('--target', 'Only what was done to the thing with this uuid.'),
                ('--request-id', 'Only what came of this request.')):
            parser.add_argument(option, metavar=option[2:].upper().replace('-', '_'), help=words)
        parser.add_argument('--outcome', choices=OUTCOMES, help='Only with this outcome.')
        parser.add_argument('--since', metavar='TIME',
                            help='Only from this time on, such as 2026-03-01T08:00:00Z.')
        parser.add_argument('--until', metavar='TIME', help='Only before this time.')
        parser.add_argument('--newest-first', action='store_true', help='Begin with the last.')
        _add_all_projects(parser)

    def query(self, parsed_args):
        return {
            'project_id': parsed_args.project, 'user_id': parsed_args.user,
            'action': parsed_args.action, 'target_uuid': parsed_args.target,
            'request_id': parsed_args.request_id, 'outcome': parsed_args.outcome,
            'since': parsed_args.since, 'until': parsed_args.until,
            'sort_dir': 'desc' if parsed_args.newest_first else None,
            'all_projects': parsed_args.all_projects or None}


class ShowAudit(base.ShowCommand):
    """Show all that the audit trail has of one thing that was done."""

    arguments = 'UUID'
    fields = FIELDS
    hides_empty = True

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('entry', metavar='UUID', type=base.reference,
                            help='As audit list --long has it.')
        _add_all_projects(parser)

    def take_action(self, parsed_args):
        self.print_one(parsed_args, self.client.get(
            f'audit/{http.segment(parsed_args.entry)}',
            {'all_projects': True} if parsed_args.all_projects else None))


def _add_all_projects(parser):
    parser.add_argument('--all-projects', action='store_true',
                        help='Also in the trails of other projects; for administrators.')


COMMANDS = {'audit list': ListAudit, 'audit show': ShowAudit}
