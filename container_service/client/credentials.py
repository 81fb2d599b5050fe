# SPDX-License-Identifier: Apache-2.0
"""Who the user is: from clouds.yaml or the variables OS_*, as all clients of OpenStack have it.

Not imported without need: what reads them takes longer than a command does.
"""

import urllib.parse
import warnings

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import config
from openstack import exceptions as sdk_exceptions

from container_service.client import http


class Unknown(http.ClientError):
    """What is said about who the user is cannot be used."""

    def __init__(self, text, hint=None):
        super().__init__(text)
        self.hint = hint


def client(cloud=None, endpoint=None):
    """The service as a user of a cloud sees it, or one that the environment tells of.

    ``endpoint`` wins over the catalog.  Raises ClientError; ValueError for an endpoint that
    cannot be one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')       # they are for who writes the library
            region = config.OpenStackConfig(app_name='container-service').get_one(cloud=cloud)
            connection = region.get_session()
    except (sdk_exceptions.SDKException, ksa_exceptions.ClientException, TypeError) as exc:
        # TypeError: of a plugin that misses one of its arguments.
        raise Unknown(f'The credentials cannot be used: {str(exc).rstrip(".")}.',
                      'look at clouds.yaml and the variables OS_* in the environment') from exc
    auth_url = region.config['auth'].get('auth_url')
    if http.is_loopback(auth_url or endpoint or http.DEFAULT_ENDPOINT):
        # A proxy from the environment cannot reach our own loopback.
        connection.session.trust_env = False
    return http.Client(endpoint or _endpoint(region, connection, auth_url), connection)


def _endpoint(region, connection, auth_url):
    """Where the credentials say that the service is."""
    kind = http.SERVICE_TYPE
    try:
        found = region.get_endpoint(kind) or connection.get_endpoint(
            service_type=kind, interface=region.get_interface(kind),
            region_name=region.get_region_name(kind))
    except ksa_exceptions.EndpointNotFound:
        found = None
    except ksa_exceptions.ClientException as exc:
        raise http.identity_error(exc, auth_url) from exc
    if found:
        return found
    if auth_url is None:
        return http.DEFAULT_ENDPOINT              # http_basic need not tell one
    where = region.get_region_name(kind)
    raise Unknown(
        f'The catalog of {_host(auth_url)} has no endpoint of a service of the type {kind}'
        f'{f" in region {where}" if where else ""}.',
        f'name it with --endpoint or {http.ENDPOINT_VARIABLE}')


def _host(url):
    return urllib.parse.urlsplit(url).netloc
