# SPDX-License-Identifier: Apache-2.0
"""The clients of the field, unmodified, run by a Python that has them and nothing of ours.

A program: reads requests as lines of JSON, answers each with a line of JSON.  One process for
many commands, because importing them takes two seconds.  ``clients.Field`` is the other end.

    {"osc": [argument, ...], "cwd": directory}       openstack argument ...
    {"zun": [manager, method], "kwargs": {...}}      python-zunclient's API
    {"magnum": [manager, method], "kwargs": {...}}   python-magnumclient's API

Answers have ``out``, ``err`` and ``code`` for a command, else ``result``; ``raised`` is the class
and text of an exception.
"""

import base64
import contextlib
import io
import json
import logging
import os
import sys

from magnumclient.v1 import client as magnum
from openstackclient import shell
from zunclient import client as zun

ENDPOINT = os.environ.get('OS_ENDPOINT')


def main():
    answers = sys.stdout
    for line in sys.stdin:
        try:
            answer = answer_to(json.loads(line))
        except Exception as exc:
            answer = {'raised': [type(exc).__name__, str(exc)]}
        print(json.dumps(answer), file=answers, flush=True)


def answer_to(request):
    if 'osc' in request:
        os.chdir(request['cwd'])
        return command(request['osc'])
    kind = 'zun' if 'zun' in request else 'magnum'
    client = CLIENTS[kind]()
    manager, method = request[kind]
    # Archives are bytes there, which JSON has not.
    kwargs = {name: base64.b64decode(value['bytes']) if isinstance(value, dict) and
              list(value) == ['bytes'] else value for name, value in request['kwargs'].items()}
    return {'result': plain(getattr(getattr(client, manager), method)(**kwargs))}


def command(argv):
    """What ``openstack`` prints, and its exit status."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = shell.main(argv)
        except SystemExit as exc:       # argparse; and exec, with the command's own status
            code = exc.code
    # Each shell adds handlers of its own, on streams that are gone by the next.
    logging.getLogger().handlers.clear()
    return {'out': out.getvalue(), 'err': err.getvalue(), 'code': code or 0}


def plain(value):
    """What the API of a client returned, as JSON can have it."""
    if hasattr(value, 'to_dict'):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, bytes):
        return {'bytes': base64.b64encode(value).decode()}
    if hasattr(value, 'status_code'):
        return value.status_code
    return value


CLIENTS = {
    'zun': lambda: zun.Client('1', auth_token='any', endpoint_override=ENDPOINT),
    'magnum': lambda: magnum.Client(magnum_url=ENDPOINT, input_auth_token='any'),
}

if __name__ == '__main__':
    main()
