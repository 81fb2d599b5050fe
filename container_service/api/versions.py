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
    ((1, 2), 'Create takes nets.'),
    ((1, 3), 'Create takes auto_remove.'),
    ((1, 4), 'Hosts, at /v1/hosts.'),
    ((1, 5), 'Create takes runtime.'),
    ((1, 6), 'A container can be detached from a network, with network_detach.'),
    ((1, 7), 'Delete takes force.'),
    ((1, 8), 'A container can be attached to a network, with network_attach.'),
    ((1, 9), 'Create takes hostname.'),
    ((1, 10), 'Delete is answered before it is done; so it is here at every version.'),
    ((1, 11), 'Create takes mounts.'),
    ((1, 12), 'Delete takes stop.'),
    ((1, 13), 'The networks of a container, at network_list. The last version with rename, until '
              '1.41.'),
    ((1, 14), 'A container is renamed with PATCH; so it can be here at every version.'),
    ((1, 15), 'Nothing that is here: security groups went.'),
    ((1, 16), 'Nothing that is here.'),
    ((1, 17), 'Nothing that is here: network_detach by port.'),
    ((1, 18), 'network_list answers one entry for each network with fixed_ips; before, one for '
              'each address.'),
    ((1, 19), 'resize_container changes cpu and memory and is answered before it is done.'),
    ((1, 20), 'Clients send command as a list, before as one text; both are taken at every '
              'version.'),
    ((1, 21), 'Create knows privileged.'),
    ((1, 22), 'Create takes healthcheck.'),
    ((1, 23), 'A mount has a type; files are put into a container with type bind.'),
    ((1, 24), 'Create takes exposed_ports.'),
    ((1, 25), 'data of get_archive and put_archive is base64; before, text.'),
    ((1, 26), 'Quotas, at /v1/quotas and /v1/quota_classes.'),
    ((1, 27), 'Nothing that is here: networks as a resource.'),
    ((1, 28), 'Create knows cpu_policy.'),
    ((1, 29), 'Hosts have enable_cpu_pinning; so they have here at every version.'),
    ((1, 30), 'Registries, at /v1/registries.'),
    ((1, 31), 'Create takes registry.'),
    ((1, 32), 'Nothing that is here.'),
    ((1, 33), 'Entries of container_actions have finish_time; so they have here at every '
              'version.'),
    ((1, 34), 'Nothing that is here.'),
    ((1, 35), 'Nothing that is here.'),
    ((1, 36), 'Create takes tty; before, interactive stands for both.'),
    ((1, 37), 'Nothing that is here.'),
    ((1, 38), 'Nothing that is here.'),
    ((1, 39), 'Create takes host.'),
    ((1, 40), 'Create takes entrypoint. The newest version that answers in the shapes of existing '
              'clients.'),
    ((1, 41), 'Operations answer 202 with the action as body and Location naming it, DELETE '
              'too; create and run answer with the container and its action; logs is an object '
              'with the keys output and cursor; top, stats and network_list have plain keys; '
              'parameters of operations may come in a JSON body; rename is there again; wait, '
              'inspect and what else is told in the table of addresses is new.'),
    # The first sentence, and one more for each change.
    ((1, 42), 'What tenants need who do not trust each other. A bay is shared with projects and '
              'changed with PATCH. Create takes secret_environment. The audit trail, at '
              '/v1/audit. Create takes mounts of directories of the host. Certificates of a bay '
              'are PEM texts, and are renewed with PATCH. Quotas limit actions; execute takes '
              'secret_environment, and create privileged and the network host where policy lets '
              'it: these three at every version.'),
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


def is_of_the_field(environ):
    """Whether the caller is, by the version it names, a client that was not made for us."""
    return (bool(environ.get('HTTP_OPENSTACK_API_VERSION'))
            and environ.get(_ENVIRON, MAXIMUM) < OWN_SHAPES)


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
