# SPDX-License-Identifier: Apache-2.0
"""What ``--debug`` tells of requests and answers: all but what is secret in them.

keystoneauth's own lines mask headers only, and what users paste into a bug report must not have
passwords in it.
"""

import json
import logging
import urllib.parse

LOG = logging.getLogger('container-service.http')

# Names of what is masked, wherever in a body: the whole of it, or each value that it has.
_SECRET = frozenset(('password', 'stdin', 'data', 'output', 'source', 'ca_cert', 'client_cert',
                     'client_key'))
_SECRET_VALUES = frozenset(('environment', 'env', 'secret_environment'))
_SECRET_HEADERS = frozenset(('authorization', 'x-auth-token', 'cookie', 'set-cookie'))


def request(method, url, params, headers, body):
    if LOG.isEnabledFor(logging.DEBUG):
        query = f'?{urllib.parse.urlencode(params, doseq=True)}' if params else ''
        told = '' if body is None else json.dumps(masked(body), ensure_ascii=False)
        LOG.debug('REQ: %s %s%s %s %s', method, _without_login(url), query, _headers(headers),
                  told)


def answer(response):
    if LOG.isEnabledFor(logging.DEBUG):
        try:
            told = json.dumps(masked(response.json()), ensure_ascii=False)
        except ValueError:
            told = f'({len(response.content)} bytes that are not JSON)'
        LOG.debug('RESP: [%s] %s %s', response.status_code, _headers(response.headers), told)


def masked(value):
    """A JSON value with what is secret in it replaced by how much it is."""
    if isinstance(value, list):
        return [masked(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _masked_part(name.lower(), part) for name, part in value.items()}


def _masked_part(name, part):
    if name in _SECRET:
        return _mask(part)
    if name in _SECRET_VALUES:
        if isinstance(part, dict):
            return {key: _mask(each) for key, each in part.items()}
        return [_mask(each) for each in part] if isinstance(part, list) else _mask(part)
    return masked(part)


def _mask(value):
    if value is None or value == '':
        return value
    # Not how long a password is, only whether there is much of it.
    size = len(value) if isinstance(value, str) else 0
    return f'*** ({size} characters)' if size > 1000 else '***'


def _headers(headers):
    return {name: '***' if name.lower() in _SECRET_HEADERS else value
            for name, value in headers.items()}


def _without_login(url):
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()
