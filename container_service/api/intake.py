# SPDX-License-Identifier: Apache-2.0
"""What comes in: the path and the query are text, the body is bounded, read once, and JSON.

Pecan would parse bodies by itself, several times and as forms too, and fails on a path or query
that is not text.  So it gets none of them before they have passed here, and never sees a body.
"""

import io
import json
import math
import re
import urllib.parse

from container_service import exceptions
from container_service import operations

MAX_DEPTH = 16
MAX_MEMBERS = 10000               # of all objects and lists in a body together

# Of what comes before the body: bytes, arguments and headers.
MAX_PATH, MAX_QUERY, MAX_ARGUMENTS = 4096, 16384, 200
MAX_HEADERS, MAX_HEADER_BYTES = 100, 65536
MAX_ACCEPT = 1024                 # it is parsed for each answer, which takes its time

_ENVIRON = 'container_service.body'
_LONG_ACCEPT = 'container_service.long_accept'
_PIECE = 16384
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)


_HOST = re.compile(r'[A-Za-z0-9._:\[\]-]{0,255}')
_MOUNT = re.compile(r'[A-Za-z0-9._~/-]{0,255}')


class Accept:
    """Takes an Accept that is too long away before anybody parses it; ``Head`` refuses it then."""

    def __init__(self, app):
        self._app = app

    def __call__(self, environ, start_response):
        environ[_LONG_ACCEPT] = len(environ.get('HTTP_ACCEPT', '')) > MAX_ACCEPT
        if environ[_LONG_ACCEPT]:
            del environ['HTTP_ACCEPT']
        return self._app(environ, start_response)


class Head:
    """Refuses what comes before the body, if it is too much.

    It stands before authentication, so that nobody needs to be anybody for that.
    """

    def __init__(self, app):
        self._app = app

    def __call__(self, environ, start_response):
        path, query = environ.get('PATH_INFO', ''), environ.get('QUERY_STRING', '')
        if len(path) > MAX_PATH:
            raise exceptions.AddressTooLong(what='path', limit=MAX_PATH, unit='bytes')
        if len(query) > MAX_QUERY:
            raise exceptions.AddressTooLong(what='query', limit=MAX_QUERY, unit='bytes')
        if query.count('&') >= MAX_ARGUMENTS:
            raise exceptions.AddressTooLong(what='query', limit=MAX_ARGUMENTS, unit='arguments')
        if environ.get(_LONG_ACCEPT):
            raise exceptions.HeadersTooLarge(f'Accept may have {MAX_ACCEPT} bytes.')
        headers = [len(name) + len(value) for name, value in environ.items()
                   if name.startswith('HTTP_')]
        if len(headers) > MAX_HEADERS or sum(headers) > MAX_HEADER_BYTES:
            raise exceptions.HeadersTooLarge(count=MAX_HEADERS, limit=MAX_HEADER_BYTES)
        # Addresses that are told in headers and bodies are made of both.
        if not (_HOST.fullmatch(environ.get('HTTP_HOST', ''))
                and _MOUNT.fullmatch(environ.get('SCRIPT_NAME', ''))):
            raise exceptions.Invalid('Host must be a name or address, and maybe a port.')
        # A proxy that is believed may pass on what a client told it.
        if environ['wsgi.url_scheme'] not in ('http', 'https'):
            raise exceptions.Invalid('X-Forwarded-Proto must be http or https.')
        return self._app(environ, start_response)


class Middleware:
    """Refuses what cannot be understood, before anything is done about it."""

    def __init__(self, app, conf):
        self._app, self._conf = app, conf

    def __call__(self, environ, start_response):
        path, query = environ.get('PATH_INFO', ''), environ.get('QUERY_STRING', '')
        try:
            operations.text(path.encode('latin-1').decode())
            urllib.parse.unquote_to_bytes(query.encode('latin-1')).decode()
        except ValueError:                        # a UnicodeDecodeError too
            raise exceptions.Invalid('Path and query must be UTF-8 text, the path without '
                                     'control characters.') from None
        environ[_ENVIRON] = environ.pop('CONTENT_TYPE', ''), self._read(
            environ, body_limit(self._conf, path))
        environ.update({'wsgi.input': io.BytesIO(), 'CONTENT_LENGTH': '0'})
        return self._app(environ, start_response)

    def _read(self, environ, limit):
        """The body, counting what comes and not trusting what was announced."""
        length = environ.get('CONTENT_LENGTH') or None
        if length is not None:
            if not (length.isascii() and length.isdigit() and len(length) < 20):
                raise exceptions.Invalid('Content-Length must be a number.')
            length = int(length)
            if length > limit:
                raise exceptions.BodyTooLarge(limit=limit)
        elif not environ.get('wsgi.input_terminated'):
            if environ.get('HTTP_TRANSFER_ENCODING'):
                raise exceptions.InvalidBody(reason='its length must be told in Content-Length')
            return b''
        try:
            return self._pieces(environ['wsgi.input'], length, limit)
        except (OSError, ValueError) as exc:
            if 'Too Large' in str(exc):           # so says cheroot of one huge chunk
                raise exceptions.BodyTooLarge(limit=limit) from exc
            raise exceptions.InvalidBody(reason='it could not be read to its end') from exc

    @staticmethod
    def _pieces(stream, length, limit):
        pieces, size = [], 0
        while length is None or size < length:
            piece = stream.read(_PIECE if length is None else min(_PIECE, length - size))
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise exceptions.BodyTooLarge(limit=limit)
        if length is not None and size < length:
            raise OSError('the connection ended')
        return b''.join(pieces)


def body_limit(conf, path):
    """The largest body of a request for a path."""
    op = operations.OPERATIONS.get(path.rstrip('/').rpartition('/')[2])
    if op is None or not op.takes_archive:
        return conf.api.max_body_bytes
    # Encoded, an archive is larger by a third; the rest of the body is small.
    return max(conf.api.max_body_bytes, conf.api.max_archive_bytes * 4 // 3 + 65536)


def body(request, limit=None):
    """The JSON object in the body of a request; {} for an empty body.

    ``limit`` is for bodies that must be smaller than others.  Raises InvalidBody,
    UnsupportedMediaType, BodyTooLarge.
    """
    kind, raw = request.environ[_ENVIRON]
    if limit is not None and len(raw) > limit:
        raise exceptions.BodyTooLarge(limit=limit)
    if not raw.strip():
        return {}
    kind = kind.partition(';')[0].strip().lower()
    if kind != 'application/json' and not kind.endswith('+json'):
        raise exceptions.UnsupportedMediaType()
    if _members(raw) > MAX_MEMBERS:
        raise exceptions.InvalidBody(reason=f'it has more than {MAX_MEMBERS} members')
    try:
        data = json.loads(raw.decode(), parse_float=_float,
                          parse_constant=_no_constant)
        if b'\\u' in raw:
            # Half of a surrogate pair passes the parser, but nothing can store it.
            json.dumps(data, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise exceptions.InvalidBody(reason='it is not UTF-8') from None
    except UnicodeEncodeError:
        raise exceptions.InvalidBody(reason='it has half of a surrogate pair') from None
    except RecursionError:
        raise exceptions.InvalidBody(reason='it is nested too deeply') from None
    except ValueError as exc:
        raise exceptions.InvalidBody(reason=f'it cannot be parsed, {exc}') from None
    if not isinstance(data, dict):
        raise exceptions.InvalidBody(reason=f'this is {_KINDS[type(data)]}')
    if _deeper(data, MAX_DEPTH):
        raise exceptions.InvalidBody(reason=f'it is nested deeper than {MAX_DEPTH} levels')
    return data


_KINDS = {list: 'a list', str: 'a text', int: 'a number', float: 'a number', bool: 'a boolean',
          type(None): 'null'}


def _members(raw):
    """How many members objects and lists of a JSON text have at most.  It is not parsed yet."""
    if raw.count(b',') + raw.count(b'[') + raw.count(b'{') <= MAX_MEMBERS:
        return 0
    bare = _STRING.sub(b'', raw)
    return bare.count(b',') + bare.count(b'[') + bare.count(b'{')


def _no_constant(word):
    raise ValueError(f'{word} is not JSON')


def _float(word):
    value = float(word)
    if math.isinf(value):
        raise ValueError(f'{word} is too large')
    return value


def _deeper(value, levels):
    """Whether a value is nested deeper than so many levels."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    return levels == 0 or any(_deeper(item, levels - 1) for item in value)
