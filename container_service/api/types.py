# SPDX-License-Identifier: Apache-2.0
"""What requests may contain: WSME types for bodies, parameters for query arguments.

WSME's own conversions are too forgiving for us (the text ``False`` is true, ``null`` passes for
a mandatory attribute, a body that is no object is a server error) and do not name the field,
so the types here are strict and ``parse`` drives them.
"""

import datetime
import json
import re

import wsme
from wsme import types as wtypes
from wsme.rest import json as wsme_json

from container_service import certificates
from container_service import exceptions
from container_service import operations
from container_service import references
from container_service.api import intake

MIB = operations.MIB

RESERVED_LABEL_PREFIX = 'cs.'

CLOSED = 'is closed here: it would give the container power over its host'


class _Type(wtypes.UserType):
    """Base: takes any JSON value; ``frombasetype`` converts it or raises ValueError.

    ``schema`` says what it takes as a JSON schema; what that cannot say is left to the former.
    """
    basetype = wtypes.text
    schema = {}

    @property
    def name(self):
        return type(self).__name__.lower()


class Text(_Type):
    """Text of a bounded length without control characters."""

    def __init__(self, maximum=255, minimum=1, pattern=None, words=None):
        self._minimum, self._maximum = minimum, maximum
        self._pattern = pattern and re.compile(pattern)
        self._words = words

    @property
    def schema(self):
        more = {'pattern': f'^({self._pattern.pattern})$'} if self._pattern else {}
        return {'type': 'string', 'minLength': self._minimum, 'maxLength': self._maximum, **more}

    def frombasetype(self, value):
        value = operations.text(value)
        if not self._minimum <= len(value) <= self._maximum:
            raise ValueError(f'must have {self._minimum} to {self._maximum} characters')
        if self._pattern and not self._pattern.fullmatch(value):
            raise ValueError(self._words)
        return value


class Name(_Type):
    """A name: never to be taken for a uuid, and safe in every address and file name."""
    schema = operations.name.schema

    def frombasetype(self, value):
        return operations.name(value)


class Boolean(_Type):
    schema = operations.boolean.schema

    def frombasetype(self, value):
        return operations.boolean(value)


class Command(_Type):
    """An argument array, or one text that is split as a shell splits words."""
    schema = operations.command.schema

    def frombasetype(self, value):
        return operations.command(value)


class TextMap(_Type):
    """An object of text to text; numbers and booleans become text as JSON writes them."""

    def __init__(self, maximum=32768, reserved=None, key_pattern=None, control=False):
        self._maximum, self._reserved, self._control = maximum, reserved, control
        self._key = re.compile(key_pattern or '.+')

    @property
    def schema(self):
        return {'type': 'object', 'maxProperties': 256,
                'propertyNames': {'minLength': 1, 'maxLength': 255,
                                  'pattern': f'^({self._key.pattern})$'},
                'additionalProperties': {'type': ['string', 'number', 'boolean', 'null'],
                                         'maxLength': self._maximum}}

    def frombasetype(self, value):
        if not isinstance(value, dict):
            raise ValueError('must be an object of texts')
        if len(value) > 256:
            raise ValueError('must have at most 256 entries')
        return {self._checked(key): self._text(key, text) for key, text in value.items()}

    def _checked(self, key):
        if not 1 <= len(key) <= 255 or not self._key.fullmatch(key) or not key.isprintable():
            raise ValueError(f'{key!r} cannot be a key here')
        if self._reserved and key.startswith(self._reserved):
            raise ValueError(f'keys that begin with {self._reserved} are reserved')
        return key

    def _text(self, key, value):
        if value is None:
            return ''
        if isinstance(value, (bool, int, float)):
            value = json.dumps(value)
        if not isinstance(value, str):
            raise ValueError(f'the value of {key} must be text')
        if len(value) > self._maximum:
            raise ValueError(f'the value of {key} must have at most {self._maximum} characters')
        if '\0' in value or (not self._control and not value.isprintable()):
            raise ValueError(f'the value of {key} must not have control characters')
        return value


class Memory(_Type):
    """Bytes, from MiB in digits or a number with a unit b, k, m or g."""
    schema = operations.memory.schema

    def frombasetype(self, value):
        return operations.memory(value)


class Cpu(_Type):
    """Cores, as a number or text."""
    schema = operations.cpu.schema

    def frombasetype(self, value):
        return operations.cpu(value)


class RestartPolicy(_Type):
    """Docker's shape: Name, and MaximumRetryCount for on-failure."""
    schema = {'type': 'object', **{
        name: operations.restart_policy.schema[name]
        for name in ('additionalProperties', 'properties')}}

    def frombasetype(self, value):
        if isinstance(value, str):
            raise ValueError('must be an object with Name and MaximumRetryCount')
        return operations.restart_policy(value)


class Choice(_Type):
    """One of a few words, in any case."""

    def __init__(self, *words):
        self._words = words

    @property
    def schema(self):
        return {'enum': list(self._words)}

    def frombasetype(self, value):
        word = operations.text(value).lower()
        if word not in self._words:
            raise ValueError(f'must be one of {", ".join(self._words)}')
        return word


class Neutral(_Type):
    """A field that clients send although they want nothing of it; anything else is refused."""

    def __init__(self, *also):
        self._also = also

    @property
    def schema(self):
        return {'enum': [False, [], {}, '', 'none', 'false', None, *self._also]}

    def frombasetype(self, value):
        value = value.lower() if isinstance(value, str) else value
        if value in (False, [], {}, '', 'none', 'false', *self._also):
            return None
        raise ValueError('is not supported')


class TextList(_Type):
    """A list of texts."""
    schema = {'type': 'array', 'maxItems': 256, 'items': {'type': 'string'}}

    def frombasetype(self, value):
        if not isinstance(value, list) or len(value) > 256:
            raise ValueError('must be a list of at most 256 texts')
        return [operations.text(item) for item in value]


class Image(_Type):
    """An image reference, as it was written: what it stands for is in ``references.py``."""
    schema = {'type': 'string', 'minLength': 1, 'maxLength': 255,      # the most usual ones
              'pattern': r'^([a-z0-9]+([.-][a-z0-9]+)*(:[0-9]{1,5})?/)?[a-z0-9]+([._/-][a-z0-9]+)*'
                         r'(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$'}

    def frombasetype(self, value):
        references.parse(operations.text(value))
        return value


class ProjectIds(_Type):
    """Ids of projects, each once."""
    _id = Text(64)          # as long as the columns
    schema = {'type': 'array', 'maxItems': 256, 'items': _id.schema}

    def frombasetype(self, value):
        if not isinstance(value, list) or len(value) > 256:
            raise ValueError('must be a list of at most 256 ids of projects')
        return sorted({self._id.frombasetype(each) for each in value})


class Pem(_Type):
    """A certificate or a key.  What is wrong with it is told without a letter of it."""
    # Its length is meant in bytes, and a database may refuse or cut what is no such text.
    _ascii = re.compile(r'[ -~\r\n]+')
    schema = {'type': 'string', 'minLength': 1, 'maxLength': certificates.PEM_LENGTH,
              'pattern': f'^{_ascii.pattern}$'}

    def frombasetype(self, value):
        if not isinstance(value, str) or not 1 <= len(value) <= certificates.PEM_LENGTH:
            raise ValueError(f'must be PEM text of 1 to {certificates.PEM_LENGTH} characters')
        if not self._ascii.fullmatch(value):
            raise ValueError('must be in ASCII and have no control characters but ends of lines')
        return value


class BayUpdate(wtypes.Base):
    """Body of PATCH /v1/bays/{bay}."""
    name = Name()
    hosts = TextList()
    public = Boolean()
    shared_with = ProjectIds()
    labels = TextMap(maximum=255)
    ca_cert = Pem()
    client_cert = Pem()
    client_key = Pem()


class BayCreate(BayUpdate):
    """Body of POST /v1/bays."""
    name = wsme.wsattr(Name(), mandatory=True)
    endpoint = wsme.wsattr(Text(255), mandatory=True)
    driver = Text(32)


class Domain(_Type):
    """Where a registry is."""
    schema = {'type': 'string', 'minLength': 1, 'maxLength': 255,
              'pattern': r'^[a-z0-9]+(\.[a-z0-9]+)+(:[0-9]{1,5})?$'}

    def frombasetype(self, value):
        return references.parse_domain(operations.text(value))


class Secret(_Type):
    """A password.  What is wrong with it is told without a letter of it."""
    schema = {'type': 'string', 'minLength': 1, 'maxLength': 4096, 'format': 'password'}

    def frombasetype(self, value):
        if not isinstance(value, str) or not 1 <= len(value) <= 4096:
            raise ValueError('must be text of 1 to 4096 characters')
        return value


class RegistryUpdate(wtypes.Base):
    """What PATCH /v1/registries/{registry} takes in ``registry``."""
    name = Name()
    domain = Domain()
    username = Text(255)
    password = Secret()


class RegistryCreate(RegistryUpdate):
    """What POST /v1/registries takes in ``registry``."""
    domain = wsme.wsattr(Domain(), mandatory=True)


class Wrapped(_Type):
    """An object of a WSME type, as the attribute of an object that has nothing else."""

    def __init__(self, kind):
        self.kind = kind

    @property
    def schema(self):
        return schema(self.kind)

    def frombasetype(self, value):
        if not isinstance(value, dict):
            raise ValueError('must be an object')
        return given(parse(self.kind, value))


class WrappedRegistryCreate(wtypes.Base):
    """Body of POST /v1/registries."""
    registry = wsme.wsattr(Wrapped(RegistryCreate), mandatory=True)


class WrappedRegistryUpdate(wtypes.Base):
    """Body of PATCH /v1/registries/{registry}."""
    registry = wsme.wsattr(Wrapped(RegistryUpdate), mandatory=True)


class ImagePull(wtypes.Base):
    """Body of POST /v1/images."""
    repo = wsme.wsattr(Image(), mandatory=True)
    tag = Text(128)
    host = Text(255)
    bay_uuid = Text(255)
    registry = Text(255)
    image_pull_policy = Choice('always', 'ifnotpresent')
    # Found out by the pull; existing clients may say what they think.
    image_id = Text(255)
    size = Text(64)


class ImageTag(wtypes.Base):
    """Body of POST /v1/images/{image}/tag."""
    repo = wsme.wsattr(Image(), mandatory=True)
    tag = Text(128)


class ImagePrune(wtypes.Base):
    """Body of POST /v1/images/prune."""
    host = Text(255)
    bay_uuid = Text(255)


class EngineIds(_Type):
    """Ids of containers as an engine gives them, or the word all."""
    schema = {'anyOf': [{'const': 'all'},
                        {'type': 'array', 'maxItems': 1000, 'items': {'type': 'string'}}]}

    def frombasetype(self, value):
        if value == 'all':
            return value
        if not isinstance(value, list) or len(value) > 1000:
            raise ValueError('must be "all" or a list of at most 1000 ids')
        return [operations.text(item) for item in value]


class QuotaLimit(_Type):
    """How much there may be at most; -1: without limit."""
    schema = {'type': ['integer', 'string'], 'minimum': -1, 'maximum': 2 ** 31 - 1,
              'pattern': '^(-1|[0-9]{1,9})$'}

    def frombasetype(self, value):
        limit = operations.integer(value)
        if not -1 <= limit < 2 ** 31:
            raise ValueError(f'must be from -1 to {2 ** 31 - 1}')
        return limit


class Quota(wtypes.Base):
    """Body of PUT /v1/quotas/{project} and /v1/quota_classes/{class}."""
    containers = QuotaLimit()
    cpu = QuotaLimit()
    memory = QuotaLimit()
    disk = QuotaLimit()
    actions = QuotaLimit()


class Reconcile(wtypes.Base):
    """Body of POST /v1/bays/{bay}/reconcile."""
    adopt = EngineIds()
    remove = EngineIds()
    project_id = Text(64)
    new_engine = Boolean()


def parse(cls, data):
    """Make an instance of a WSME type from a JSON object; absent and null are not set.

    Raises UnknownParameter and InvalidParameter, which name the field.
    """
    attributes = {attribute.name: attribute for attribute in wtypes.list_attributes(cls)}
    for name in data:
        if name not in attributes and _squeezed(name) in getattr(cls, '_closed', ()):
            raise exceptions.InvalidParameter(name=name, reason=CLOSED)
    refuse_unknown(data, attributes)
    made = cls()
    for name, attribute in attributes.items():
        value = data.get(name)
        if value is None:
            if attribute.mandatory:
                raise exceptions.InvalidParameter(name=name, reason='is required')
            continue
        try:
            converted = wsme_json.fromjson(attribute.datatype, value)
        except ValueError as exc:
            # What is wrong may be a part of it, as in nets[0].network.
            raise exceptions.InvalidParameter(
                name=name + getattr(exc, 'where', ''), reason=str(exc)) from None
        if converted is not None:
            setattr(made, attribute.key, converted)
    return made


def schema(cls):
    """What ``parse`` takes for a WSME type, as a JSON schema."""
    attributes = wtypes.list_attributes(cls)
    return {
        'type': 'object', 'additionalProperties': False, 'description': cls.__doc__,
        'properties': {attribute.name: attribute.datatype.schema if attribute.mandatory
                       else {'anyOf': [attribute.datatype.schema, {'type': 'null'}]}
                       for attribute in attributes},
        'required': [attribute.name for attribute in attributes if attribute.mandatory]}


def names(cls):
    """What the attributes of a WSME type are called."""
    return [attribute.name for attribute in wtypes.list_attributes(cls)]


def _squeezed(name):
    """A name as its like are written by others: capAdd, CapAdd and cap_add are one."""
    return name.lower().replace('_', '')


def given(made):
    """The attributes that are set, as a dict."""
    return {attribute.key: getattr(made, attribute.key)
            for attribute in wtypes.list_attributes(type(made))
            if getattr(made, attribute.key) is not wtypes.Unset}


def refuse_unknown(names, known):
    """Raises UnknownParameter for a name that is not among the known ones."""
    for name in names:
        if name not in known:
            raise exceptions.UnknownParameter(
                name=ascii(name)[1:65].rstrip("'"),
                known=', '.join(sorted(known)) or 'none')


def query(request, params):
    """The query arguments as {parameter name: value}; absent ones have their default.

    Raises UnknownParameter, InvalidParameter.
    """
    return _arguments(request, params, {}, False)


def arguments(request, params, allow_body):
    """Query arguments and, where allowed, those of a JSON body; the same in both must agree."""
    data = intake.body(request)
    if not allow_body and data and not any(param.in_body for param in params):
        raise exceptions.Invalid('Before version 1.41 parameters go into the query, not into '
                                 'a body.')
    return _arguments(request, params, data, allow_body)


def _arguments(request, params, data, allow_body):
    known = {param.wire_name: param for param in params}
    sent = request.GET.mixed()
    refuse_unknown(sent, [name for name, param in known.items() if not param.in_body])
    refuse_unknown(data, [name for name, param in known.items() if allow_body or param.in_body])
    values = {}
    for name, param in known.items():
        try:
            found = [parse(source[name]) for parse, source in (
                (param.parse_query, sent), (param.parse, data)) if name in source]
        except ValueError as exc:
            raise exceptions.InvalidParameter(name=name, reason=str(exc)) from None
        if len(found) == 2 and found[0] != found[1]:
            raise exceptions.InvalidParameter(
                name=name, reason='has one value in the query and another in the body')
        value = found[0] if found else param.default
        if param.required and value in (None, []):
            raise exceptions.InvalidParameter(name=name, reason='is required')
        values[param.name] = value
    return values


# Query arguments of lists.

@operations.takes('texts', type='array', items={'type': 'string'}, maxItems=16)
def _words(value):
    """A query argument that may be repeated, as a list of texts."""
    value = value if isinstance(value, list) else [value]
    if len(value) > 16:
        raise ValueError('must not be given more than 16 times')
    return [operations.text(item) for item in value]


Param = operations.Param


def converts(kind):
    """The conversion of a type, for a Param."""
    return operations.takes('text', **kind.schema)(lambda value: kind.frombasetype(value))


@operations.takes('time as in ISO 8601, of UTC unless it says another zone', type='string',
                  format='date-time')
def moment(value):
    """A time as the database has it: naive UTC."""
    try:
        time = datetime.datetime.fromisoformat(operations.text(value))
        if time.tzinfo is not None:
            time = time.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise ValueError('must be a time such as 2026-03-01T08:00:00Z') from None
    return time


def page(*sort_keys):
    """The arguments of a list that can be sorted by these keys."""
    return (Param('limit', operations.integer, minimum=1,
                  help='At most this many; the service has a limit of its own.'),
            Param('marker', operations.text, help='Begin behind the one with this uuid.'),
            Param('sort_key', operations.one_of(*sort_keys), 'id', help='Sort by this.'),
            Param('sort_dir', operations.one_of('asc', 'desc'), 'asc', help='And so.'))


PAGE = page('id', 'uuid', 'created_at')

# Of lists that are always given in whole: taken, and without effect.
ANY_PAGE = tuple(Param(name, convert, help='Without effect.') for name, convert in (
    ('limit', operations.integer), ('marker', operations.text), ('sort_key', operations.text),
    ('sort_dir', operations.text)))
LABELS = Param('label', _words, [])


def label_pairs(words):
    """What LABELS gives as pairs of name and value; the value is None for any."""
    return [tuple(word.split('=', 1)) if '=' in word else (word, None) for word in words]


