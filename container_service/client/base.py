# SPDX-License-Identifier: Apache-2.0
"""What all commands are made of: where words go, formats, lists that come in pages, arguments.

They need an application with ``stdin``, ``stdout``, ``stderr`` and
``client_manager.container_service`` (an http.Client) and nothing else of shell.py, so that other
applications can have them too.  Standard output gets results only; all words about them go to
standard error.
"""

import argparse
import datetime
import re

from cliff import command
from cliff import lister
from cliff import show

from container_service import operations
from container_service.client import http
from container_service.client import outcomes
from container_service.client import words

_NO_MAX_WIDTH = 10 ** 6


class UsageError(Exception):
    """The command line asks for something that cannot be; nothing was changed."""


class Command(command.Command):
    """A command of ours: knows its client and where words go."""

    arguments = ''   # what follows the options, in the usage line
    shadows = ()     # global options that mean something else after this command

    @property
    def client(self):
        return self.app.client_manager.container_service

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        # Instead of all options: a user who erred wants to see the error, not twelve lines.
        parser.usage = f'{prog_name} [options] {self.arguments}'.rstrip()
        self.add_arguments(parser)
        return parser

    def add_arguments(self, parser):
        """Add the arguments that are this command's own."""

    def get_epilog(self):
        # cliff would look through the metadata of every installed package here, to name the
        # one that a command comes from: 70 ms of each call.
        return self._epilog or ''

    def say(self, *lines):
        """Tell the user something that is not the result."""
        self.app.stdout.flush()
        for text in lines:
            print(text, file=self.app.stderr)

    def each(self, idents, do):
        """Do it to each that the user named, whatever becomes of the others; the exit status."""
        codes = []
        for ident in idents:
            try:
                do(ident)
            except http.ApiError as exc:
                self.say(*outcomes.of_error(exc, ident if len(idents) > 1 else None))
                codes.append(outcomes.EXIT_FAILED)
        return outcomes.worst(codes)

    def tell_trouble(self, error, seconds):
        """Tell who sits at a terminal why it takes longer; for asking.change."""
        if self.app.stderr.isatty():
            self.say(f'{error} Trying again in {words.span(seconds + 0.99)}.')


class Formatted(Command):
    """A command whose result is one object or a list of them, in the format of the user.

    ``fields`` are what can be asked for, and what json and yaml have; ``brief`` is what the
    other formats show.  ``computed`` are columns that are put into words from the whole object,
    ``f(item, now)``; one with the name of a field stands for it in tables.  ``hides_empty``: a
    table of one object leaves out empty fields.  ``changes``: it does more than read.
    """
    fields = ()
    brief = ()
    computed = {}
    hides_empty = False
    changes = False

    def run(self, parsed_args):
        self.formatter = self._formatter_plugins[parsed_args.formatter].obj
        if self.changes:
            self._columns(parsed_args, [])      # a wrong name must not show after the deed
        return self.take_action(parsed_args) or outcomes.EXIT_SUCCESS

    def print_one(self, parsed_args, item):
        names = self._columns(parsed_args, [item])
        if self.hides_empty and parsed_args.formatter == 'table' and not parsed_args.columns:
            names = [name for name in names if not words.is_empty(item.get(name))]
        row = self._row(parsed_args, names, item)
        self.formatter.emit_one(names, row, self.app.stdout, parsed_args)

    def print_list(self, parsed_args, items, now=None):
        names = self._columns(parsed_args, items)
        rows = [self._row(parsed_args, names, item, now) for item in items]
        if not rows and parsed_args.formatter == 'table' and not parsed_args.print_empty:
            return          # cliff would print an empty line
        if parsed_args.formatter == 'table' and not parsed_args.fit_width:
            # On a narrow terminal cliff breaks uuids in two, which nobody can copy then.
            parsed_args.max_width = parsed_args.max_width or _NO_MAX_WIDTH
        self.formatter.emit_list(names, rows, self.app.stdout, parsed_args)

    def _columns(self, parsed_args, items):
        known = list(self.fields)
        known += [key for item in items for key in item
                  if key not in self.fields and key != 'links']
        known = list(dict.fromkeys(known))
        if not parsed_args.columns:
            everything = parsed_args.formatter in ('json', 'yaml') or not self.brief
            return known if everything else list(self.brief)
        asked = [name.strip().lower().replace(' ', '_') for name in parsed_args.columns]
        known += [name for name in self.computed if name not in known]
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise UsageError(f'No such column: {", ".join(unknown)}. '
                             f'There are: {", ".join(known)}.')
        return asked

    def _row(self, parsed_args, names, item, now=None):
        return [self._value(parsed_args.formatter, name, item, now) for name in names]

    def _value(self, formatter, name, item, now):
        in_words = self.computed.get(name)
        if in_words and (formatter == 'table' or name not in item):
            return in_words(item, now or datetime.datetime.now(datetime.UTC))
        if formatter in ('json', 'yaml'):
            return item.get(name)
        return (words.cell(name, item.get(name), now) if formatter == 'table'
                else words.plain(item.get(name)))


class ShowCommand(Formatted, show.ShowOne):
    """One object."""


class ShowNamed(ShowCommand):
    """One object that is at its name or uuid below ``path``, which is under /v1."""

    path = None

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('named', metavar=self.arguments, type=reference, help='Name or uuid.')

    def query(self, parsed_args):
        """What else the user said, if anything."""
        return None

    def take_action(self, parsed_args):
        self.print_one(parsed_args, self.client.get(
            f'{self.path}/{http.segment(parsed_args.named)}', self.query(parsed_args)))


class ListCommand(Formatted, lister.Lister):
    """A list that comes in pages, or is so short that it is not ``paged``.

    ``long`` are the columns of a table with --long, where there is that.
    """

    path = None           # under /v1; also the key of the list in the answer, unless told
    key = None
    paged = True
    long = ()

    def add_arguments(self, parser):
        super().add_arguments(parser)
        if self.long:
            parser.add_argument('--long', action='store_true', help='Show more columns.')
        if not self.paged:
            return
        parser.add_argument('--limit', metavar='N', type=positive_integer,
                            help='Show at most this many.')
        parser.add_argument('--marker', metavar='UUID',
                            help='Begin after this one.')

    def query(self, parsed_args):
        """The filters that the user asked for."""
        return {}

    def take_action(self, parsed_args):
        if self.long and parsed_args.long:
            self.brief = self.long
        query = {key: value for key, value in self.query(parsed_args).items()
                 if value is not None}
        limit = parsed_args.limit if self.paged else None
        if self.paged and parsed_args.marker:
            query['marker'] = parsed_args.marker
        items, more = self.client.pages(self.path, self.key or self.path, query, limit)
        last = items[-1].get('uuid') if items else None
        _sort(items, parsed_args)
        self.print_list(parsed_args, items, now=datetime.datetime.now(datetime.UTC))
        if self.app.stderr.isatty():
            if not items:
                self.say(f'No {self.key or self.path}.')
            if more:
                self.say(f'There are more; go on with --marker {last}')


def add_container(parser):
    parser.add_argument('container', metavar='CONTAINER', type=reference, help='Name or uuid.')


def add_all_projects(parser):
    parser.add_argument('--all-projects', action='store_true',
                        help='Also one of another project; for administrators.')


def all_projects(parsed_args):
    """What ``add_all_projects`` has to say in a query."""
    return {'all_projects': True} if parsed_args.all_projects else None


def add_param(parser, param, *names):
    """Add the option for a parameter of an operation, named as on the wire unless told.

    One that must be given is an argument instead.
    """
    dest = param.wire_name
    option = '--' + dest.replace('_', '-')
    if param.required:
        parser.add_argument(dest, metavar=dest.upper(), help=param.help, type=_converted_by(param))
        return
    if param.convert is operations.boolean:
        # With its opposite where the service's default is not simply "no".
        action = 'store_true' if param.default is False else argparse.BooleanOptionalAction
        parser.add_argument(*names, option, dest=dest, action=action, default=None,
                            help=param.help)
        return
    text = param.help
    if param.default is not None:
        text = f'{text} Default {param.default}.'
    metavar = 'SECONDS' if param.name.endswith('_seconds') else dest.upper()
    parser.add_argument(*names, option, dest=dest, metavar=metavar, help=text,
                        type=_converted_by(param))


def given_params(parsed_args, params):
    """The parameters that the user gave, by wire name; the service has the defaults."""
    given = {param.wire_name: getattr(parsed_args, param.wire_name) for param in params}
    return {name: value for name, value in given.items() if value is not None}


def _converted_by(param):
    def convert(text):
        try:
            value = param.parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc
        return value if _means_itself(param, value) else text
    return convert


def _means_itself(param, value):
    """Whether the service would take a converted value for what it is.

    What has no JSON, stands for "no limit" in the driver or is in another unit there, goes over
    the wire as typed.
    """
    try:
        return (isinstance(value, (bool, int, float, str, list, dict))
                and param.parse(value) == value)
    except ValueError:
        return False


def reference(text):
    """Type of an argument that is a name or a uuid."""
    try:
        http.segment(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    return text


def positive_integer(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError('must be a whole number of at least 1')
    return int(text)


def whole_number(text):
    if not re.fullmatch('[0-9]{1,9}', text):
        raise argparse.ArgumentTypeError('must be a whole number, not negative')
    return int(text)


def number(text):
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float('inf'):
        raise argparse.ArgumentTypeError('must be a number, not negative')
    return value


def positive_number(text):
    value = number(text)
    if not value:
        raise argparse.ArgumentTypeError('must be more than 0')
    return value


def _sort(items, parsed_args):
    for column in reversed(parsed_args.sort_columns):
        key = column.lower().replace(' ', '_')
        # As text where types differ; what is absent comes last.
        items.sort(key=lambda item, key=key: (item.get(key) is None, _sortable(item.get(key))),
                   reverse=parsed_args.sort_direction == 'desc')


def _sortable(value):
    number = isinstance(value, (int, float))
    return (not number, value if number else 0, '' if number else str(value))
