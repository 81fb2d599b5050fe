# SPDX-License-Identifier: Apache-2.0
"""The commands on registries: where images come from, and the credentials for it.

A password never comes from the command line, where every user of the machine can read it.
"""

import getpass
import uuid

from container_service.client import asking
from container_service.client import base
from container_service.client import http

FIELDS = ('uuid', 'name', 'domain', 'username', 'password', 'project_id', 'user_id',
          'created_at', 'updated_at')


class ListRegistries(base.ListCommand):
    """List registries that the service has credentials for."""

    path = 'registries'
    fields = FIELDS
    brief = ('name', 'domain', 'username', 'created_at')
    long = ('uuid', *brief)

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--name', help='Only the one of this name.')
        parser.add_argument('--domain', help='Only those of this address.')

    def query(self, parsed_args):
        return {'name': parsed_args.name, 'domain': parsed_args.domain}


class ShowRegistry(base.ShowCommand):
    """Show a registry; never its password."""

    arguments = 'REGISTRY'
    fields = FIELDS

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_registry(parser)

    def take_action(self, parsed_args):
        found = self.client.get(f'registries/{http.segment(parsed_args.registry)}')
        self.print_one(parsed_args, found['registry'])


class _ChangeRegistry(base.ShowCommand):
    fields = FIELDS
    changes = True

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--username', help='User to log in as.')
        secret = parser.add_mutually_exclusive_group()
        secret.add_argument('--password', action='store_true',
                            help='Ask for the password on the terminal.')
        secret.add_argument('--password-stdin', action='store_true',
                            help='Read the password from standard input, up to the end of its '
                                 'first line.')

    def body(self, parsed_args, *names):
        body = {name: getattr(parsed_args, name) for name in names}
        if parsed_args.password_stdin:
            body['password'] = self.app.stdin.readline().rstrip('\r\n')
        elif parsed_args.password:
            body['password'] = self._ask()
        if body.get('password') == '':
            raise base.UsageError('The password is empty.')
        return {name: value for name, value in body.items() if value is not None}

    def _ask(self):
        if not self.app.stdin.isatty():
            raise base.UsageError('There is no terminal to ask for the password on; use '
                                  '--password-stdin.')
        return getpass.getpass('Password: ', stream=self.app.stderr)


class CreateRegistry(_ChangeRegistry):
    """Make a registry known, with the credentials to pull from it.

    Images whose name begins with its DOMAIN are pulled with them from then on, and so are those
    of containers that are created with --registry.
    """

    arguments = 'DOMAIN'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--name', help='Name to call it by.')
        parser.add_argument('domain', metavar='DOMAIN',
                            help='Its address, for example registry.example.org:5000.')

    def take_action(self, parsed_args):
        if parsed_args.username and not parsed_args.password_stdin:
            parsed_args.password = True
        body = self.body(parsed_args, 'name', 'domain', 'username')
        answer, _ = asking.change(
            self.client, 'POST', 'registries', key=str(uuid.uuid4()), body={'registry': body},
            on_trouble=self.tell_trouble)
        self.print_one(parsed_args, answer['registry'])


class SetRegistry(_ChangeRegistry):
    """Change a registry."""

    arguments = 'REGISTRY'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--name', help='Its new name.')
        parser.add_argument('--domain', help='Its new address.')
        _add_registry(parser)

    def take_action(self, parsed_args):
        body = self.body(parsed_args, 'name', 'domain', 'username')
        if not body:
            raise base.UsageError('Say what to change: --name, --domain, --username or '
                                  '--password.')
        answer, _ = asking.change(
            self.client, 'PATCH', f'registries/{http.segment(parsed_args.registry)}',
            harmless=True, body={'registry': body}, on_trouble=self.tell_trouble)
        self.print_one(parsed_args, answer['registry'])


class DeleteRegistries(base.Command):
    """Forget registries and their credentials; what was pulled stays."""

    arguments = 'REGISTRY [REGISTRY ...]'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('registries', metavar='REGISTRY', nargs='+', type=base.reference,
                            help='Name or uuid.')

    def take_action(self, parsed_args):
        return self.each(parsed_args.registries, lambda registry: asking.change(
            self.client, 'DELETE', f'registries/{http.segment(registry)}',
            key=str(uuid.uuid4()), on_trouble=self.tell_trouble))


def _add_registry(parser):
    parser.add_argument('registry', metavar='REGISTRY', type=base.reference,
                        help='Name or uuid.')


COMMANDS = {'registry list': ListRegistries, 'registry show': ShowRegistry,
            'registry create': CreateRegistry, 'registry set': SetRegistry,
            'registry delete': DeleteRegistries}
