# SPDX-License-Identifier: Apache-2.0
"""``container-service``: the application around the commands.

It finds the command, sets up the client, and turns what goes wrong into words on standard error
and an exit code.  The list of commands is in commands.py.
"""

import argparse
import difflib
import functools
import logging
import os
import sys

from cliff import app
from cliff import commandmanager
from cliff import help

from container_service.client import base
from container_service.client import commands
from container_service.client import http
from container_service.client import outcomes
from container_service.client import traffic

NAME = 'container-service'
DESCRIPTION = 'Run containers on the engines of a container_service.'
_EXIT_SIGPIPE = 141

# Variables that say who the user is, or where more about it is.
_SAY_WHO = ('OS_CLOUD', 'OS_AUTH_TYPE', 'OS_AUTH_URL')


class Clients:
    """What commands get their client from; nothing is connected before the first use."""

    def __init__(self, options):
        self._options = options

    @functools.cached_property
    def container_service(self):
        options = self._options
        try:
            if options.os_cloud or any(os.environ.get(name) for name in _SAY_WHO):
                # Here, not above: see there.
                from container_service.client import credentials
                return credentials.client(options.os_cloud, options.endpoint)
            return http.Client(options.endpoint or http.DEFAULT_ENDPOINT)
        except ValueError as exc:
            raise base.UsageError(f'Endpoint {exc}.') from exc


class Shell(app.App):
    """The cliff application, without its interactive mode and its log options."""

    NAME = NAME

    def __init__(self, **streams):
        manager = commandmanager.CommandManager()
        super().__init__(DESCRIPTION, None, manager, **streams)
        for group in commands.COMMANDS.values():
            for name, command in group.items():
                manager.add_command(name, command)
        manager.add_command('help', Help)

    def build_option_parser(self, description, version, argparse_kwargs=None):
        # A parser of words before the command only: cliff takes its options from anywhere in
        # the line, also from the command that is to run in a container.
        parser = argparse.ArgumentParser(
            prog=NAME, usage=f'{NAME} [options] COMMAND [...]', add_help=False,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        add_global_options(parser)
        parser.set_defaults(
            debug=False, os_cloud=None, endpoint=os.environ.get(http.ENDPOINT_VARIABLE))
        parser.add_argument('--version', action='store_true', help='Show the version.')
        parser.add_argument('-h', '--help', action='store_true', help='Show this help.')
        parser.add_argument('argv', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        return parser

    def run(self, argv):
        """Run a command line; return its exit code.  Raises nothing."""
        self.options = argparse.Namespace(debug=False)
        try:
            self.options = self.parser.parse_args(argv)
            code = self._run_parsed()
            self.stdout.flush()
            return code
        except SystemExit as exc:           # argparse, after its own words
            return exc.code or outcomes.EXIT_SUCCESS
        except BrokenPipeError:
            _drop(self.stdout)
            return _EXIT_SIGPIPE
        except KeyboardInterrupt:
            return outcomes.EXIT_SIGINT
        except base.UsageError as exc:
            self._say(str(exc))
            return outcomes.EXIT_USAGE
        except http.ClientError as exc:
            self._say(*outcomes.of_error(exc))
            return outcomes.EXIT_FAILED
        except Exception as exc:
            if self.options.debug:
                logging.getLogger(NAME).exception('Unforeseen error')
            else:
                self._say(f'Unforeseen error: {exc!r}', 'hint: --debug shows where')
            return outcomes.EXIT_FAILED

    def run_subcommand(self, argv):
        """Run the command that ``argv`` begins with; return its exit code."""
        try:
            factory, name, rest = self.command_manager.find_command(argv)
        except ValueError:
            return self.unknown_command(argv)
        if name not in self.command_manager.commands:
            # cliff completes abbreviations: "d web" would delete.
            return self.unknown_command(argv)
        command = factory(self, self.options)
        parser = command.get_parser(f'{NAME} {name}')
        add_global_options(parser, besides=getattr(command, 'shadows', ()))
        parsed = parser.parse_args(rest)
        for option in ('debug', 'endpoint', 'os_cloud'):
            if option in parsed and f'--{option}' not in getattr(command, 'shadows', ()):
                setattr(self.options, option, getattr(parsed, option))
        self.client_manager = Clients(self.options)
        self._log_http()
        return command.run(parsed)

    def unknown_command(self, argv):
        """Say that there is no such command and what may be meant; return the exit code."""
        wanted = ' '.join(argv)
        self._say(f"{NAME}: '{wanted}' is not a command. See '{NAME} --help'.")
        names = sorted(self.command_manager.commands)
        matches = ([name for name in names if name.startswith(argv[0])]
                   or difflib.get_close_matches(argv[0], names))
        if matches:
            self._say('Did you mean one of these?', *(f'  {match}' for match in matches))
        return outcomes.EXIT_USAGE

    def print_help(self):
        """Print the commands by group, the options, and the exit codes."""
        self.parser.description = '\n'.join([DESCRIPTION, *_command_lines(self)])
        self.parser.epilog = '\n'.join(_exit_code_lines())
        self.parser.print_help(self.stdout)

    def _run_parsed(self):
        if self.options.version:
            print(NAME, _version(), file=self.stdout)
        elif self.options.help or not self.options.argv:
            self.print_help()
        else:
            return self.run_subcommand(self.options.argv)
        return outcomes.EXIT_SUCCESS

    def _log_http(self):
        if not self.options.debug:
            return
        logging.basicConfig(stream=self.stderr, format='%(name)s: %(message)s')
        traffic.LOG.setLevel(logging.DEBUG)

    def _say(self, *lines):
        self.stdout.flush()
        for line in lines:
            print(line, file=self.stderr)


class Help(help.HelpCommand):
    """Show this help, or that of a command."""

    get_epilog = base.Command.get_epilog

    def take_action(self, parsed_args):
        if not parsed_args.cmd:
            self.app.print_help()
            return outcomes.EXIT_SUCCESS
        try:
            return super().take_action(parsed_args)
        except ValueError:
            return self.app.unknown_command(parsed_args.cmd)


def add_global_options(parser, besides=()):
    """Add the options that may stand before a command or after it."""
    group = parser.add_argument_group('service') if parser.prog != NAME else parser
    if '--endpoint' not in besides:
        group.add_argument(
            '--endpoint', metavar='URL', default=argparse.SUPPRESS,
            help=f'Address of the service; default {http.DEFAULT_ENDPOINT}, or what the catalog '
                 f'of your cloud says. Also {http.ENDPOINT_VARIABLE} in the environment.')
    group.add_argument(
        '--os-cloud', metavar='NAME', default=argparse.SUPPRESS,
        help='The cloud in clouds.yaml whose credentials to use. Without it those of the '
             'variables OS_* in the environment, if there are any.')
    group.add_argument('--debug', action='store_true', default=argparse.SUPPRESS,
                       help='Show what goes over HTTP, without passwords and the like, and '
                            'where errors come from.')


def _command_lines(shell):
    groups = {**commands.COMMANDS, 'Other': {
        name: shell.command_manager.find_command([name])[0] for name in ('help', 'complete')}}
    width = max(len(name) for group in groups.values() for name in group)
    for heading, group in groups.items():
        yield f'\n{heading.lower()}:'
        for name, command in group.items():
            first = command(shell, None).get_description().splitlines()[0].rstrip('.')
            yield f'  {name:{width}}  {first[0].upper()}{first[1:]}'


def _exit_code_lines():
    yield 'exit status:'
    for code, meaning in outcomes.EXIT_CODES:
        yield f'{code:>3}  {meaning}'
    yield f'\n{NAME} COMMAND --help shows the options of a command.'


def _version():
    # Here, not above: reading metadata costs more than a list.
    from importlib import metadata
    try:
        return metadata.version('container_service')
    except metadata.PackageNotFoundError:
        return 'unknown (not installed)'


def _drop(stream):
    # The reader has gone; Python would complain when it flushes the rest at exit.
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError, AttributeError):
        pass


def main(argv=None):
    for stream in (sys.stdout, sys.stderr):
        # What a container wrote need not fit the locale; showing it must not fail.
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    return Shell().run(sys.argv[1:] if argv is None else argv)


if __name__ == '__main__':
    sys.exit(main())
