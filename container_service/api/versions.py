# SPDX-License-Identifier: Apache-2.0
"""Microversions: what the caller speaks, and one table of what changed when.

1.1 to 1.40 answer as existing clients expect; from 1.41 on the shapes are our own.
"""

import re

from container_service import exceptions
from container_service import operations

SERVICE = 'container'
HEADER = 'OpenStack-API-Version'

# One row each; the documentation prints it.
CHANGES = (
    ((1, 1), 'The base version, and what a request without a version header gets.'),
    ((1, 40), 'The newest version that answers in the shapes of existing clients.'),
    ((1, 41), 'Operations answer 202 with the action as body and Location naming it, DELETE '
              'too; create and run answer with the container and its action; logs is an object '
              'with the keys output and cursor; parameters of operations may come in a JSON '
              'body.'),
)

MINIMUM = CHANGES[0][0]
MAXIMUM = CHANGES[-1][0]
OWN_SHAPES = operations.OWN_VERSION

_FORM = re.compile(rf'{SERVICE} +(?:(latest)|([1-9]\d{{0,2}})\.(0|[1-9]\d{{0,2}}))', re.IGNORECASE)
_ENVIRON = 'container_service.version'
_ERROR = 'container_service.version_error'


def text(version):
    return f'{version[0]}.{version[1]}'


def parse(header):
    """The version that a header asks for; MINIMUM without one.  Raises UnsupportedVersion."""
    if not header:
        return MINIMUM
    # Several services may be named in one header, separated by commas.
    for part in header.split(','):
        match = _FORM.fullmatch(part.strip())
        if match:
            version = MAXIMUM if match[1] else (int(match[2]), int(match[3]))
            if MINIMUM <= version <= MAXIMUM:
                return version
    raise exceptions.UnsupportedVersion(
        version=ascii(header[:64])[1:-1], minimum=text(MINIMUM), maximum=text(MAXIMUM))


def of(request):
    """The version of a request.  Raises UnsupportedVersion, as late as it is asked for."""
    if _ERROR in request.environ:
        raise request.environ[_ERROR]
    return request.environ[_ENVIRON]


def header_given(request):
    """Whether the caller named a version: clients of the field's older API never do."""
    return bool(request.environ.get('HTTP_OPENSTACK_API_VERSION'))


def headers(version=MINIMUM):
    """What every answer says about versions."""
    return [(HEADER, f'{SERVICE} {text(version)}'),
            ('OpenStack-API-Minimum-Version', f'{SERVICE} {text(MINIMUM)}'),
            ('OpenStack-API-Maximum-Version', f'{SERVICE} {text(MAXIMUM)}'),
            ('Vary', HEADER)]


class Middleware:
    """Reads the version of each request and names ours on each answer."""

    def __init__(self, app):
        self._app = app

    def __call__(self, environ, start_response):
        try:
            environ[_ENVIRON] = parse(environ.get('HTTP_OPENSTACK_API_VERSION'))
        except exceptions.UnsupportedVersion as exc:
            environ[_ENVIRON], environ[_ERROR] = MINIMUM, exc
        ours = headers(environ[_ENVIRON])

        def start(status, theirs, exc_info=None):
            return start_response(status, list(theirs) + ours, exc_info)

        return self._app(environ, start)
