# SPDX-License-Identifier: Apache-2.0
"""container-service-manage: what an administrator does to database, keys and users."""

import contextlib
import getpass
import sys

from container_service import concurrency

concurrency.choose()

from oslo_config import cfg

from container_service import conf as options
from container_service import exceptions
from container_service import private_files
from container_service import secrets
from container_service import users
from container_service.db import base
from container_service.db import migration


def _db_sync(conf, db):
    before = migration.current(db)
    migration.sync(db)
    after = migration.current(db)
    print(f'The schema is at revision {after}' +
          ('; nothing to do.' if before == after else f', from {before or "nothing"}.'))


def _db_version(conf, db):
    print(f'The schema is at revision {migration.current(db) or "none"}; '
          f'this program needs {migration.newest()}.')


def _secrets_create_key(conf, db):
    path = conf.secrets.keys_file
    if not path:
        raise exceptions.Error('Set keys_file in the section [secrets] first.')
    try:
        secrets.create_key(path)
    except OSError as exc:
        raise exceptions.Error(
            f'{path} cannot be changed: {private_files.words(exc, path)}.') from exc
    print(f'New secrets are encrypted with a new key in {path}. Every API process and conductor '
          f'needs this file.')


def _secrets_rotate(conf, db):
    keys = secrets.Keys(conf)
    for words, count in secrets.rotate(db, keys).items():
        print(f'{count} {words} were encrypted anew.')
    # Looked at again: a daemon that does not have the newest key yet goes on using its own.
    after = secrets.holdings(db, keys)
    _complain(after)
    if after.on_older:
        raise exceptions.Error(
            f'{after.on_older} values are still encrypted with an older key: a daemon has '
            'written them meanwhile. Copy the file of keys to every host, then do this again; '
            'remove no key yet.')
    print(f'All is encrypted with the key {after.newest}. When every host has it, the older '
          'ones can be removed from the file.')


def _secrets_status(conf, db):
    keys = secrets.Keys(conf)
    found = secrets.holdings(db, keys)
    for key in keys.ids():
        mine = [f'{count} {words}' for (words, holder), count in sorted(
            found.counts.items(), key=str) if holder == key]
        print(f'{key}{" (newest)" if key == found.newest else ""}: '
              f'{", ".join(mine) or "nothing"}')
    _complain(found)


def _complain(holdings):
    """Raises Error when there is something that no key fits."""
    if holdings.unreadable:
        lost = ', '.join(f'{count} {words}' for words, count in holdings.unreadable.items())
        raise exceptions.Error(
            f'No key in the file fits {lost}. Put the key back that they were encrypted with; '
            'if it is lost they must be given again. Remove no key.')


def _users_add(conf, db):
    path, name = _users_file(conf), conf.area.user
    password = _password(f'Password of {name}: ')
    try:
        user = users.User(name, users.hashed(password), conf.area.project,
                          tuple(conf.area.role or ['member']))
    except ValueError as exc:
        raise exceptions.Error(f'{exc}.') from exc
    with _changing(path):
        users.add(path, user)
    print(f'{name} is in {path}, with the roles {", ".join(user.all_roles)} in the project '
          f'{user.project_id}. API processes see it at the next request.')


def _users_remove(conf, db):
    path, name = _users_file(conf), conf.area.user
    with _changing(path):
        there = users.remove(path, name)
    if not there:
        raise exceptions.Error(f'There is no user {name} in {path}.')
    print(f'{name} is not in {path} any more.')


def _users_list(conf, db):
    try:
        found = users.Users(_users_file(conf)).read()
    except users.Unusable as exc:
        raise exceptions.Error(str(exc)) from exc
    for user in found.values():
        print(f'{user.name}: {", ".join(user.roles)} in {user.project_id}')


def _users_file(conf):
    path = conf.api.http_basic_users_file
    if not path:
        raise exceptions.Error('Set http_basic_users_file in the section [api] first.')
    return path


@contextlib.contextmanager
def _changing(path):
    """Says what keeps a file from being changed."""
    try:
        yield
    except private_files.NotPrivate as exc:
        raise exceptions.Error(f'{path} cannot be used: {exc}.') from exc
    except OSError as exc:
        raise exceptions.Error(
            f'{path} cannot be changed: {private_files.words(exc, path)}.') from exc


def _password(prompt):
    """Asked for twice at a terminal; else the first line of what comes in."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip('\n')
    first = getpass.getpass(prompt)
    if first != getpass.getpass('Again: '):
        raise exceptions.Error('The two passwords are not the same.')
    return first


# Not ``name``, which is that of the area.
_NAME = (('user',), {'metavar': 'NAME', 'help': 'Name of the user.'})

# What commands take besides the options of all of them.
_ARGUMENTS = {
    ('users', 'add'): (
        _NAME,
        (('project',), {'metavar': 'PROJECT', 'help': 'Id of the project that it works in.'}),
        (('--role',), {'action': 'append', 'metavar': 'ROLE',
                       'help': f'One of {", ".join(users.ROLES)}, or one that your policy knows; '
                               'may be given several times. Default: member.'})),
    ('users', 'remove'): (_NAME,),
}

_COMMANDS = {
    ('db', 'sync'): (_db_sync, 'Create the schema or bring it up to date.'),
    ('db', 'version'): (_db_version, 'Show the revision of the schema.'),
    ('secrets', 'create-key'): (
        _secrets_create_key, 'Put a new key in front of the file, which is made if need be.'),
    ('secrets', 'rotate'): (
        _secrets_rotate, 'Encrypt all that is stored with the first key of the file.'),
    ('secrets', 'status'): (
        _secrets_status, 'Show how many values are encrypted with which key.'),
    ('users', 'add'): (
        _users_add, 'Put a user in the file of users, in the place of one of that name; the '
                    'password is asked for, or the first line of standard input.'),
    ('users', 'list'): (_users_list, 'Show who is in the file of users.'),
    ('users', 'remove'): (_users_remove, 'Take a user out of the file of users.'),
}


def _add_parsers(subparsers):
    subparsers.required = True
    areas = {}
    for (area, name), (function, summary) in _COMMANDS.items():
        if area not in areas:
            areas[area] = subparsers.add_parser(area).add_subparsers(
                dest='command', required=True)
        parser = areas[area].add_parser(name, help=summary, description=summary)
        parser.set_defaults(function=function)
        for names, details in _ARGUMENTS.get((area, name), ()):
            parser.add_argument(*names, **details)


def main():
    conf = cfg.CONF
    conf.register_cli_opt(cfg.SubCommandOpt(
        'area', title='areas', handler=_add_parsers))
    options.load(conf, sys.argv[1:])
    try:
        conf.area.function(conf, base.Database(conf))
    except exceptions.Error as exc:
        sys.exit(f'container-service-manage: {exc}')
