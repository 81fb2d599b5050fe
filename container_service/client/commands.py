# SPDX-License-Identifier: Apache-2.0
"""The commands that bays and the service have, and the list of all commands.

Each turns its arguments into requests and their answers into output.  Those on containers are in
modules of their own; what none of them has, derived.py makes of the operation table.
"""

import argparse
import uuid

from container_service.client import actions
from container_service.client import asking
from container_service.client import audit
from container_service.client import base
from container_service.client import changing
from container_service.client import containers
from container_service.client import creation
from container_service.client import derived
from container_service.client import execution
from container_service.client import files
from container_service.client import http
from container_service.client import images
from container_service.client import inspection
from container_service.client import logs
from container_service.client import outside
from container_service.client import places
from container_service.client import registries
from container_service.client import services

BAY_FIELDS = (
    'uuid', 'name', 'driver', 'endpoint', 'hosts', 'public', 'shared_with', 'labels',
    'is_default', 'status', 'status_reason', 'health_status', 'health_status_reason',
    'reconciled_at', 'strays', 'watcher', 'node_count', 'project_id', 'created_at', 'updated_at')


class ListBays(base.ListCommand):
    """List bays: the engines that containers are placed on."""

    path = 'bays'
    fields = BAY_FIELDS
    brief = ('name', 'driver', 'endpoint', 'status', 'health_status')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--label', metavar='KEY[=VALUE]', action='append',
                            help='Only those with this label; can be repeated.')
        parser.add_argument('--all-projects', action='store_true', default=None,
                            help='Those of all projects; for administrators.')

    def query(self, parsed_args):
        return {'label': parsed_args.label, 'all_projects': parsed_args.all_projects}


class ShowBay(base.ShowNamed):
    """Show a bay."""

    path = 'bays'
    arguments = 'BAY'
    fields = BAY_FIELDS

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_all_projects(parser)

    def query(self, parsed_args):
        return base.all_projects(parsed_args)


class CreateBay(base.ShowCommand):
    """Make an engine known as a bay."""

    arguments = 'NAME'
    fields = BAY_FIELDS
    changes = True
    shadows = ('--endpoint',)

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('name', metavar='NAME')
        parser.add_argument('--driver', default='docker', help='Default docker.')
        parser.add_argument('--endpoint', required=True,
                            help='Address of the engine: unix:///path or tcp://host:port.')
        _add_what_changes(parser)

    def take_action(self, parsed_args):
        keys = ('name', 'driver', 'endpoint', *_BAY_CHANGES)
        bay, _ = asking.change(
            self.client, 'POST', 'bays', key=str(uuid.uuid4()), on_trouble=self.tell_trouble,
            body=_given(parsed_args, keys))
        self.print_one(parsed_args, bay)


class UpdateBay(base.ShowCommand):
    """Change a bay: what is given takes the place of all that was said before of the same.

    Containers of projects that may not use it any more stay, and nothing new is placed for them.
    """

    arguments = 'BAY'
    fields = BAY_FIELDS
    changes = True

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('bay', metavar='BAY', type=base.reference, help='Name or uuid.')
        parser.add_argument('--name', help='Its new name.')
        _add_what_changes(parser)
        for option, dest, what in (('--no-share', 'shared_with', 'Share it with no project.'),
                                   ('--no-label', 'labels', 'Take all labels from it.'),
                                   ('--no-host', 'hosts', 'Let conductors of all hosts work on '
                                                          'it.')):
            parser.add_argument(option, action='store_const', const=[], dest=dest, help=what)
        base.add_all_projects(parser)

    def take_action(self, parsed_args):
        body = _given(parsed_args, ('name', *_BAY_CHANGES))
        if not body:
            raise base.UsageError('Say what to change: --name, --public, --share, --label, '
                                  '--host, --ca-cert, --client-cert or --client-key.')
        bay, _ = asking.change(
            self.client, 'PATCH', f'bays/{http.segment(parsed_args.bay)}', harmless=True,
            body=body, params=base.all_projects(parsed_args), on_trouble=self.tell_trouble)
        self.print_one(parsed_args, bay)


# What can be said of a bay when it is made and later.
_BAY_CHANGES = ('hosts', 'public', 'shared_with', 'labels', 'ca_cert', 'client_cert', 'client_key')


def _add_what_changes(parser):
    parser.add_argument('--host', action='append', dest='hosts', metavar='HOST',
                        help='Conductor host that reaches this engine; can be repeated.')
    parser.add_argument('--public', action=argparse.BooleanOptionalAction,
                        help='Let every project place containers on it.')
    parser.add_argument('--share', action='append', dest='shared_with', metavar='PROJECT',
                        help='Let this project, by its id, place containers on it; can be '
                             'repeated.')
    parser.add_argument('--label', metavar='KEY=VALUE', action='append', dest='labels',
                        type=creation.key_value,
                        help='Label the bay, for example availability_zone=east; can be '
                             'repeated.')
    for option, what in (
            ('--ca-cert', 'PEM file with the authority of the certificate of a tcp engine.'),
            ('--client-cert', 'PEM file with the certificate that is shown to it.'),
            ('--client-key', 'PEM file with the key of that, which is kept encrypted.')):
        parser.add_argument(option, metavar='FILE', type=_content, help=what)


def _content(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError as exc:
        raise argparse.ArgumentTypeError(f'cannot be read: {exc.strerror.lower()}') from None
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError('is not text, so not PEM') from None


def _given(parsed_args, keys):
    body = {key: getattr(parsed_args, key) for key in keys}
    if body['labels'] is not None:
        body['labels'] = dict(body['labels'])
    return {key: value for key, value in body.items() if value is not None}


class DeleteBay(base.Command):
    """Forget bays that have no containers; their engines stay as they are."""

    arguments = 'BAY [BAY ...]'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('bays', metavar='BAY', nargs='+', type=base.reference,
                            help='Name or uuid.')
        base.add_all_projects(parser)

    def take_action(self, parsed_args):
        return self.each(parsed_args.bays, lambda bay: asking.change(
            self.client, 'DELETE', f'bays/{http.segment(bay)}', key=str(uuid.uuid4()),
            params=base.all_projects(parsed_args), on_trouble=self.tell_trouble))


class Limits(base.ShowCommand):
    """Show how much may be queued, how much is, and how fast the service works it off."""

    fields = ('unfinished_actions', 'unfinished_actions_per_container', 'drain_rate_per_second')

    def take_action(self, parsed_args):
        self.print_one(parsed_args, self.client.get('limits')['limits'])


_MADE = {'create': creation.Create, 'run': creation.Run}
_CONTAINERS = {
    'list': containers.ListContainers, 'show': containers.ShowContainer,
    'update': changing.Update, 'wait': inspection.Wait, 'logs': logs.Logs,
    'exec': execution.Exec, 'cp': files.Copy, 'stats': inspection.Stats, 'top': inspection.Top,
    'diff': inspection.Diff, 'inspect': inspection.Inspect,
    'commit': changing.Commit, 'network list': inspection.ListNetworks,
    'network attach': changing.AttachNetwork, 'network detach': changing.DetachNetwork}

# Name of a command to its class, by the heading it has in the help.
COMMANDS = {
    # What an operation has no command of its own for, its row is command enough.
    'Containers': {**_MADE, **derived.commands(besides=_CONTAINERS), **_CONTAINERS},
    'Actions': {'action list': actions.ListActions, 'action show': actions.ShowAction,
                'action wait': actions.WaitForActions, 'action cancel': actions.CancelActions,
                'action result': execution.ActionResult},
    'Bays': {'bay list': ListBays, 'bay show': ShowBay, 'bay create': CreateBay,
             'bay update': UpdateBay, 'bay delete': DeleteBay, 'bay strays': outside.ListStrays,
             'reconcile': outside.Reconcile},
    'Images': images.COMMANDS,
    'Registries': registries.COMMANDS,
    'Places': places.COMMANDS,
    'Events': {'event list': outside.ListEvents},
    'Audit': audit.COMMANDS,
    'Service': {**services.COMMANDS, 'limits': Limits},
}
