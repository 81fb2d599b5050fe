# SPDX-License-Identifier: Apache-2.0
"""Threads or green threads: decided before anything else is imported.

oslo.messaging imports oslo.service, which takes a backend at its first import, and eventlet
must patch the standard library before others have taken what they need of it.  So what starts a
process calls ``choose`` first; standard library only until then.
"""

import configparser
import os
import sys
import warnings

EVENTLET, THREADED = 'eventlet', 'threaded'
VARIABLE = 'CONTAINER_SERVICE_EXECUTOR'


def choose(executor=THREADED):
    """Make this process use threads, or green threads for the executor ``eventlet``."""
    # futurist imports eventlet wherever it is installed, and eventlet warns whoever imports it.
    warnings.filterwarnings('ignore', message=r'\s*Eventlet is deprecated')
    if executor == EVENTLET:
        # What is asked for is not news to whoever asked.
        for words in ('.*GreenThreadPoolExecutor', '.*GreenFuture', '.*eventlet'):
            warnings.filterwarnings('ignore', message=words, category=DeprecationWarning)
        import eventlet
        eventlet.monkey_patch()
    from oslo_service import backend
    backend.init_backend(backend.BackendType.EVENTLET if executor == EVENTLET
                         else backend.BackendType.THREADING)


def configured(arguments):
    """The executor that the environment or the configuration files of a command line name.

    Reads the one key [conductor] executor as oslo.config would, since oslo.config cannot be
    imported yet: the last file that has it wins.
    """
    if os.environ.get(VARIABLE):
        return os.environ[VARIABLE]
    found = THREADED
    for path in _files(arguments):
        parser = configparser.ConfigParser(
            strict=False, interpolation=None, allow_no_value=True)
        try:
            parser.read(path)
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue                  # oslo.config will say what is wrong with it
        found = parser.get('conductor', 'executor', fallback=found)
    return found


def _files(arguments):
    """The configuration files that a command line names, or those in oslo's usual places.

    As oslo.config searches: of each name the first place that has it.
    """
    program = os.path.basename(sys.argv[0])
    files = (_values(arguments, '--config-file')
             or _first_places(f'{name}.conf' for name in ('container-service', program)))
    directories = (_values(arguments, '--config-dir')
                   or _first_places(f'{name}.conf.d' for name in ('container-service', program)))
    for directory in directories:
        if os.path.isdir(directory):
            files += sorted(os.path.join(directory, name) for name in os.listdir(directory)
                            if name.endswith('.conf'))
    return files


def _first_places(names):
    places = [os.path.expanduser(place) for place in (
        '~/.container-service', '~', '/etc/container-service', '/etc')]
    found = []
    for name in names:
        paths = (os.path.join(place, name) for place in places)
        found += [path for path in paths if os.path.exists(path)][:1]
    return found


def _values(arguments, option):
    values = []
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(arguments):
            values.append(arguments[index + 1])
        elif argument.startswith(f'{option}='):
            values.append(argument.split('=', 1)[1])
    return values


def of_command_line():
    """``choose`` what the command line and environment of this process say."""
    choose(configured(sys.argv[1:]))
