# SPDX-License-Identifier: Apache-2.0
"""THE TABLE: every operation on a container, one row each.  Standard library only.

Routes, policy rules, CLI commands, documentation and the runner are derived from these rows;
none of them keeps a list of operations of its own.  To add an operation: a row here, a driver
method of that name (docker and fake), a test, a release note.
"""

import dataclasses
import ipaddress
import re
import shlex

from container_service import exceptions
from container_service import references
from container_service.states import (
    CONTAINER_STATUSES,
    CREATED,
    CREATING,
    DEAD,
    DELETED,
    DELETING,
    ERROR,
    PAUSED,
    REBUILDING,
    RESTARTING,
    RUNNING,
    STOPPED,
    TRANSITIONAL,
    UNKNOWN,
)

ASYNC = 'async'          # cast: recorded, answered 202, carried out in order by a conductor
BLOCKING = 'blocking'    # call: the answer is the content; not recorded, not ordered

# on_takeover: what becomes of a running action when its conductor dies.
RERUN = 'rerun'          # it drives to a state, so run it again
INTERRUPT = 'interrupt'  # it must never run twice: end it, outcome unknown

# cancel: what cancelling it means once it runs (queued ones never run, whatever the row says).
UNDO = 'undo'            # stop at once and remove what was half made
TOO_LATE = 'too late'    # its effect is one engine call that cannot be taken back

UNCHANGED = None         # target: the status stays what it is

# older_body: what success is answered with up to 1.40.
EMPTY = 'empty'          # no body at all
NULL = 'null'            # JSON null
CONTAINER = 'container'  # the container as it is then
RESULT = 'result'        # what the action has for a result

# From this microversion on all shapes are our own.
OWN_VERSION = (1, 41)

_TRUE = frozenset(('true', '1', 'on', 'yes', 't', 'y'))
_FALSE = frozenset(('false', '0', 'off', 'no', 'f', 'n'))


def takes(words, **schema):
    """Say what a conversion takes: for people, and as a JSON schema (nothing: any text)."""
    def declare(convert):
        convert.words, convert.schema = words, schema or {'type': 'string'}
        return convert
    return declare


@takes('true or false', type='boolean')
def boolean(value):
    """Convert a JSON or query value to bool; junk raises ValueError.

    Clients send the text ``False``, which plain truthiness would take for true.
    """
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError('must be true or false')


@takes('whole number', type='integer')
def integer(value):
    """Convert digits or a JSON integer to int; a bool or a fraction raises ValueError."""
    if isinstance(value, str) and re.fullmatch(r'[+-]?[0-9]{1,18}', value):
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError('must be a whole number')
    return value


# Control characters, also those of Latin-1, which some terminals obey; what ends lines elsewhere;
# what turns the direction of the text behind it.
_CONTROL = r'\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069'


@takes('text', type='string', pattern=f'^[^{_CONTROL}]*$')
def text(value):
    """Take text as it is; raises ValueError for anything else and for control characters."""
    if not isinstance(value, str):
        raise ValueError('must be text')
    if re.search(f'[{_CONTROL}]', value):
        raise ValueError('must not contain control characters')
    return value


_TEXTS = 65536           # of a command, or of variables: they are kept with the action


@takes('list of texts, or one text that is split as a shell does',
       anyOf=[{'type': 'array', 'items': {'type': 'string'}}, {'type': 'string'}])
def command(value):
    """Convert a command to an argument array; text is split as a shell splits words."""
    if isinstance(value, str):
        _check_length([value])           # before it is split, which takes long
        try:
            value = shlex.split(value)
        except ValueError as exc:
            raise ValueError(f'cannot be split into words: {exc}') from None
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise ValueError('must be a list of texts, or one text')
    _check_length(value)
    if any('\0' in v for v in value):
        raise ValueError('must not contain a NUL character')
    return value


def _check_length(texts):
    if sum(len(text.encode(errors='replace')) for text in texts) > _TEXTS:
        raise ValueError('must be at most 64 KiB long')


@takes('signal name or number', type=['string', 'integer'])
def signal(value):
    """Normalise a signal to digits or ``SIGNAME``; takes names with or without SIG, any case."""
    word = str(value).strip().upper()
    if isinstance(value, bool) or not word:
        raise ValueError('must be a signal name or number')
    if re.fullmatch(r'[0-9]{1,3}', word):
        if not 1 <= int(word) <= 64:
            raise ValueError('must be a signal number from 1 to 64')
        return str(int(word))        # 09 is 9
    name = word.removeprefix('SIG')
    if not re.fullmatch(r'[A-Z][A-Z0-9]*([+-][0-9]+)?', name):
        raise ValueError('must be a signal name or number')
    return f'SIG{name}'


MIB = 1024 * 1024
_MEMORY_MIN, _MEMORY_MAX = 6 * MIB, 2 ** 42       # Docker refuses less than 6 MiB
_UNITS = {'b': 1, 'k': 1024, 'm': MIB, 'g': 1024 * MIB, '': MIB}


@takes('MiB in digits, or a number with a unit such as ``64m``',
       type=['integer', 'string'], minimum=6, pattern='^[0-9]{1,15}[bkmgBKMG]?$')
def memory(value):
    """Convert MiB in digits, or a number with a unit b, k, m or g, to bytes."""
    match = None
    if not isinstance(value, (bool, float)):
        match = re.fullmatch(r' *([0-9]{1,15})([bkmg]?) *', str(value).lower())
    if match is None:
        raise ValueError('must be MiB in digits, or a number with a unit such as 64m or 1g')
    size = int(match[1]) * _UNITS[match[2]]
    if not _MEMORY_MIN <= size <= _MEMORY_MAX:
        raise ValueError('must be from 6m to 4096g')
    return size


@takes('number of cores', type=['number', 'string'], minimum=0.01,
       maximum=1024, pattern=r'^([0-9]*\.)?[0-9]+$')
def cpu(value):
    """Convert a number of cores, or text of one, to float."""
    if isinstance(value, str) and re.fullmatch(r' *([0-9]*\.)?[0-9]+ *', value):
        value = float(value)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError('must be a number of cores, such as 0.5')
    if not 0.01 <= value <= 1024:
        raise ValueError('must be from 0.01 to 1024 cores')
    return float(value)


@takes('object with ``Name`` and ``MaximumRetryCount``, or text such as ``on-failure:3``',
       type=['object', 'string'], pattern='^(no|always|unless-stopped|on-failure(:[0-9]+)?)$',
       additionalProperties=False, properties={
           'Name': {'enum': ['no', 'always', 'on-failure', 'unless-stopped', '', None]},
           'MaximumRetryCount': {'type': ['integer', 'string', 'null'], 'minimum': 0,
                                 'maximum': 1000, 'pattern': '^[0-9]*$'}})
def restart_policy(value):
    """Take Docker's shape, Name with MaximumRetryCount, or the text of its command line."""
    if isinstance(value, str):
        name, _, count = value.partition(':')
        value = {'Name': name, 'MaximumRetryCount': count}
    if not isinstance(value, dict) or set(value) - {'Name', 'MaximumRetryCount'}:
        raise ValueError('must be an object with Name and MaximumRetryCount')
    name, count = value.get('Name'), value.get('MaximumRetryCount')
    name = 'no' if name in (None, '') else name
    if name not in ('no', 'always', 'on-failure', 'unless-stopped'):
        raise ValueError('Name must be no, always, on-failure or unless-stopped')
    try:
        count = 0 if count in (None, '') else integer(count)
    except ValueError as exc:
        raise ValueError(f'MaximumRetryCount {exc}') from None
    if not 0 <= count <= 1000:
        raise ValueError('MaximumRetryCount must be from 0 to 1000')
    if count and name != 'on-failure':
        raise ValueError('MaximumRetryCount goes with on-failure only')
    return {'Name': name, 'MaximumRetryCount': count}


@takes('name', type='string', minLength=2, maxLength=255, pattern='^[A-Za-z0-9][A-Za-z0-9_.-]*$')
def name(value):
    """Take a name: never to be taken for a uuid, and safe in every address and file name."""
    value = text(value)
    if not 2 <= len(value) <= 255:
        raise ValueError('must have 2 to 255 characters')
    if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_.-]*', value):
        raise ValueError('must begin with a letter or digit and have only letters, digits and '
                         '_ . -')
    if re.fullmatch(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', value, re.IGNORECASE):
        raise ValueError('must not look like a uuid')
    return value


@takes('image reference', type='string', minLength=1, maxLength=255)
def image(value):
    """Take an image reference as it was written."""
    references.parse(text(value))
    return value


@takes('tar archive in base64')
def archive(value):
    """Take the text of an archive; what is in it is looked at in ``archives.py``."""
    if not isinstance(value, str):
        raise ValueError('must be text')
    return value


@takes('number, or ``all``', anyOf=[{'type': 'integer', 'minimum': 0}, {'const': 'all'}])
def tail(value):
    """Convert a number of lines to int, or the word ``all`` to None."""
    if value == 'all':
        return None
    lines = integer(value)
    if lines < 0:
        raise ValueError('must be a number of lines, or "all"')
    return lines


def _always(wanted):
    """A conversion for what older clients send although there is one possible value."""
    word = str(wanted).lower()

    @takes(f'``{word}``', const=wanted)
    def convert(value):
        if boolean(value) is not wanted:
            raise ValueError(f'must be {word}: there are no terminals')
        return wanted
    return convert


def _matching(pattern, words, longest=255):
    """A conversion of text of some form; ``words`` complete "must be ..."."""
    @takes(words, type='string', pattern=f'^({pattern})$', minLength=1, maxLength=longest)
    def convert(value):
        value = text(value)
        if not 1 <= len(value) <= longest or not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f'must be {words}, of at most {longest} characters')
        return value
    return convert


path = _matching(r'[^\0]+', 'a path', 4096)
absolute_path = _matching(r'/[^\0]*', 'an absolute path', 4096)
user = _matching(r'[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?',
                 'a user or user:group', 64)


# Of a variable whose value is a secret: an engine is told such names in texts of its own grammar.
SECRET_NAME = '[A-Za-z_][A-Za-z0-9_.-]{0,254}'


@takes('object of texts', type='object', additionalProperties={'type': 'string'})
def environment(value):
    """Take environment variables: an object of texts, or a list of NAME=value."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(item, str) and '=' in item for item in value):
        value = dict(item.split('=', 1) for item in value)
    if not isinstance(value, dict) or len(value) > 256:
        raise ValueError('must be an object of at most 256 texts')
    for key, content in value.items():
        if not re.fullmatch(r'[^=\s]{1,255}', key) or not key.isprintable():
            raise ValueError(f'has a name that cannot be one: {ascii(key)[:64]}')
        if not isinstance(content, str) or '\0' in content or len(content) > 32768:
            raise ValueError(f'has {key}, which must be text of at most 32768 characters')
    _check_length([*value, *value.values()])
    return value


@takes('object of texts', type='object', additionalProperties={'type': 'string'},
       propertyNames={'pattern': f'^({SECRET_NAME})$'})
def secret_environment(value):
    """Take variables whose values nobody is shown."""
    value = environment(value)
    for key in value:
        if not re.fullmatch(SECRET_NAME, key):
            raise ValueError(f'has a name that cannot be one: {ascii(key)[:64]}; it must have '
                             'only letters, digits and _ . - and not begin with a digit')
    return value


@takes('text')
def content(value):
    """Take text of any lines."""
    if not isinstance(value, str):
        raise ValueError('must be text')
    return value


@takes('name of an image without its tag')
def repository(value):
    """Take the name for an image that stays on its bay."""
    if ':' in text(value) or '@' in value:
        raise ValueError('must not have a registry, tag or digest in it; the tag is a parameter')
    references.local('', value)
    return value


@takes('tag of an image')
def tag(value):
    """Take what comes behind the colon in the name of an image."""
    references.local('', 'name', text(value))
    return value or references.DEFAULT_TAG


@takes('name or id')
def network(value):
    """Take a network that an engine may have, and not one that is the host's own."""
    if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_.-]{0,254}', text(value)):
        raise ValueError('must begin with a letter or digit and have only letters, digits and '
                         '_ . -')
    if value in ('host', 'none', 'default'):
        raise ValueError('must not be the network of the host itself, or none')
    return value


@takes('IP address')
def address(value):
    """Take an IP address and spell it as all do."""
    try:
        return str(ipaddress.ip_address(text(value)))
    except ValueError:
        raise ValueError('must be an IP address') from None


@takes('nothing')
def _nothing(value):
    raise ValueError('is not supported: name a network')


def one_of(*words):
    """A conversion that takes one of these words."""
    @takes(' or '.join(f'``{word}``' for word in words), enum=list(words))
    def convert(value):
        if value not in words:
            raise ValueError(f'must be one of {", ".join(words)}')
        return value
    return convert


@dataclasses.dataclass(frozen=True)
class Param:
    """A parameter of an operation: name on the wire and in the driver method, type and range.

    ``convert`` turns a query or JSON value into the driver's value or raises ValueError with
    words that complete "<name> ...".  Null means the default.
    """
    name: str                     # keyword of the driver method
    convert: object
    default: object = None
    wire: str = None              # name in query and body, where it differs
    minimum: int = None
    maximum: int = None
    required: bool = False
    in_body: bool = False         # too large or too structured for a query: in the body, always
    # An object whose values are encrypted wherever they are kept or sent, and forgotten with the
    # end of the action; nobody is shown more than its names.
    secret: bool = False
    needs_keys: bool = False      # refused where there are no keys; else it is kept in plain then
    help: str = ''

    @property
    def wire_name(self):
        return self.wire or self.name

    @property
    def schema(self):
        """What it takes, as a JSON schema."""
        more = {'minimum': self.minimum, 'maximum': self.maximum, 'default': self.default,
                'description': self.help or None}
        return {**self.convert.schema,
                **{key: value for key, value in more.items() if value is not None}}

    def parse(self, value):
        """Return the driver's value for what a client sent.  Raises ValueError."""
        if value is None:
            return self.default
        value = self.convert(value)
        if self.minimum is not None and value is not None and value < self.minimum:
            raise ValueError(f'must be at least {self.minimum}')
        if self.maximum is not None and value is not None and value > self.maximum:
            raise ValueError(f'must be at most {self.maximum}')
        return value

    def parse_query(self, value):
        """As ``parse``, where there is no null: clients send the text ``None`` for it."""
        return self.parse(None if value == 'None' else value)


@dataclasses.dataclass(frozen=True)
class Operation:
    """One row.  ``allowed -> during -> target`` is the state machine."""
    name: str
    kind: str
    summary: str
    allowed: frozenset                     # container statuses it is accepted in
    allowed_with: dict = dataclasses.field(default_factory=dict)  # parameter: more statuses
    during: str = None                     # container status while it runs, where it differs
    target: object = UNCHANGED             # status when it has succeeded, or f(params, status)
    on_takeover: object = RERUN            # or f(params)
    cancel: str = TOO_LATE
    verb: str = None                       # "Cannot <verb> container ...", if not the name
    coalesce: bool = False                 # may be folded into an equal one still queued
    urgent: bool = False                   # has slots of the pool reserved, ends others' waiting
    creates: bool = False                  # POST on the collection; makes the container
    deadline_seconds: int = 600            # from the first claim to the end of the last attempt
    params: tuple = ()
    http_method: str = 'POST'              # POST: PUT too; PATCH and DELETE: of the container
    since: tuple = (1, 1)                  # microversions of its address; from 1.41 on all have
    until: tuple = None                    # theirs, also what older clients lost again
    waited: bool = False                   # up to 1.40 the answer is what came of it
    older_status: int = 202                # of success up to 1.40
    older_body: str = EMPTY
    payload: str = None                    # parameter whose bytes are kept apart until the end
    driver_method: str = None              # where it differs from the name
    on_engine: object = True               # or f(params): whether the engine is asked at all
    changes: object = None                 # f(params, row, result): columns of the container on
                                           # success; before it the result is None
    makes_image: bool = False              # its result is an image that the project has then
    needs_one: bool = False                # nothing is done without any of its parameters
    twin: str = None                       # the row that does the same: its rule is asked too
    recorded_as: str = None                # the row that a call becomes that nobody waits for

    @property
    def words(self):
        """What it does, in the words of a refusal."""
        return self.verb or self.name

    @property
    def is_async(self):
        return self.kind == ASYNC

    @property
    def policy(self):
        return f'container:{self.name}'

    @property
    def policies(self):
        """All rules that must allow it: one that is closed is not walked around by a twin."""
        return (self.policy,) if self.twin is None else (self.policy, f'container:{self.twin}')

    @property
    def own_path(self):
        """Whether it is asked for at /v1/containers/{container}/<name>."""
        return not self.creates and self.http_method not in ('DELETE', 'PATCH')

    @property
    def method(self):
        """The name of its method in a driver."""
        return self.driver_method or self.name

    def is_at(self, version):
        """Whether a microversion has it."""
        return any(first <= version <= (last or version) for first, last in self.spans)

    @property
    def spans(self):
        """The microversions that have it, as (first, last or None) from the oldest on."""
        if self.until is None:
            return ((self.since, None),)
        return ((self.since, self.until), (OWN_VERSION, None))

    @property
    def path(self):
        if self.creates:
            return '/v1/containers' + ('' if self.name == 'create' else f'?{self.name}=true')
        if self.own_path:
            return f'/v1/containers/{{container}}/{self.name}'
        return '/v1/containers/{container}'

    def statuses_for(self, params):
        """The statuses in which it is accepted with these parameters."""
        allowed = self.allowed
        for name, more in self.allowed_with.items():
            if params.get(name):
                allowed = allowed | more
        return allowed

    def may_run_again(self, params):
        """Whether it is run again when the conductor that ran it has died."""
        rule = self.on_takeover(params) if callable(self.on_takeover) else self.on_takeover
        return rule == RERUN

    def without_payload(self, params):
        """The parameters without the one that is kept apart, and that one as {name: bytes}."""
        if self.payload is None or params.get(self.payload) is None:
            return params, {}
        rest = {name: value for name, value in params.items() if name != self.payload}
        return rest, {self.payload: params[self.payload]}

    @property
    def secrets(self):
        """The parameters whose values are nobody's business."""
        return tuple(param for param in self.params if param.secret)

    @property
    def takes_archive(self):
        """Whether its payload is an archive, and may be larger than a request is otherwise."""
        return any(param.convert is archive for param in self.params)

    @property
    def makes(self):
        """Whether it makes a container on the engine, of an image."""
        return self.creates or any(param.name == 'image' for param in self.params)

    def asks_engine(self, params):
        """Whether anything is to be done on the engine; else it is about the record alone."""
        return self.on_engine(params) if callable(self.on_engine) else self.on_engine

    def changes_to(self, row, params, result=None):
        """Columns of the container, besides its status, that success gives new values."""
        return self.changes(params, row, result) if self.changes else {}

    def seconds_for(self, params):
        """How long to wait for the answer of a blocking one: its conductor gives up before."""
        return params.get('timeout_seconds', self.deadline_seconds) + 10

    def target_for(self, params, status):
        """The status that a container in ``status`` has once this has succeeded."""
        target = self.target(params, status) if callable(self.target) else self.target
        return status if target is UNCHANGED else target


def _is_fatal(params):
    # Only SIGKILL cannot be caught; what another signal does is the process's own choice.
    return params.get('signal') in ('SIGKILL', '9')


def _kill_target(params, status):
    return STOPPED if _is_fatal(params) else UNCHANGED


def _kill_again(params):
    # That the process has ended can be seen, that it got another signal cannot.
    return RERUN if _is_fatal(params) else INTERRUPT


_ON_ENGINE = ('cpu', 'memory_bytes', 'restart_policy')       # of what update changes


def _is_about_limits(params):
    return any(params.get(name) is not None for name in _ON_ENGINE)


def _updated(params, row, result):
    """Raises InvalidParameter for what does not go together, as it is at the creation."""
    if row.spec.get('auto_remove'):
        policy = params.get('restart_policy') or {}
        for name, wanted in (('restart_policy', policy.get('Name', 'no') != 'no'),
                             ('auto_heal', params.get('auto_heal'))):
            if wanted:
                raise exceptions.InvalidParameter(
                    name=name, reason='does not go with auto_remove, which the container has')
    given = {name: value for name, value in params.items()
             if name != 'name' and value is not None}
    return {**({'spec': {**row.spec, **given}} if given else {}), **_renamed(params, row, result)}


def _renamed(params, row, result):
    return {'name': params['name']} if params.get('name') else {}


def _rebuilt(params, row, result):
    return {'generation': row.generation + 1, 'image': params.get('image') or row.image}


def _rebuild_target(params, status):
    return RUNNING if status == RUNNING else CREATED


def _connected(params, row, result):
    """What it is attached to is an option of it, for when it is made anew."""
    if result is None:
        return {}
    known = {net['network']: net for net in row.spec.get('nets') or ()}
    nets = [{**(known.get(name) or known.get(uid) or {}), 'network': name}
            for name, uid in result['networks'].items()]
    for net in nets:
        if net['network'] == result['network'] and params.get('fixed_ip'):
            net[f'v{ipaddress.ip_address(params["fixed_ip"]).version}-fixed-ip'] = \
                params['fixed_ip']
    return {'spec': {**row.spec, 'nets': nets}}


_RESTING = CONTAINER_STATUSES - TRANSITIONAL - {DELETED}

_NETWORK = Param('network', network, required=True, help='Name or id of a network of the engine.')
_PORT = Param('port', _nothing, help='Accepted from older clients; must be left out.')

_NEW_NAME = Param('name', name, help='The new name.')
_CHANGEABLE = (
    Param('cpu', cpu, in_body=True, help='Cores that it may use, such as 0.5.'),
    Param('memory_bytes', memory, wire='memory', in_body=True,
          help='Memory that it may use: MiB in digits, or with a unit such as 64m or 1g.'),
    Param('restart_policy', restart_policy, in_body=True,
          help='What is done when its main process ends: no, always, unless-stopped or '
               'on-failure, with a maximum count as in on-failure:3.'),
    dataclasses.replace(_NEW_NAME, in_body=True),
    Param('auto_heal', boolean, in_body=True,
          help='Whether it is made again when it vanishes from its engine.'))

_TIMEOUT = Param('timeout_seconds', integer, wire='timeout', minimum=0, maximum=3600,
                 help='Seconds to let the main process end by itself before it is killed; '
                      'without it the stop_timeout of the container, else 10.')

_SIZE = (Param('w', integer, minimum=1, maximum=65535, required=True, help='Its columns.'),
         Param('h', integer, minimum=1, maximum=65535, required=True, help='Its lines.'))

_COMMAND = (
    Param('command', command, required=True,
          help='The command and its arguments.'),
    Param('timeout_seconds', integer, 60, wire='timeout', minimum=1, maximum=600,
          help='Seconds the command may take.'),
    Param('environment', environment, in_body=True, secret=True,
          help='Variables for the command, besides those of the container.'),
    Param('secret_environment', secret_environment, in_body=True, secret=True, needs_keys=True,
          help='More of them, refused where the service has no keys to encrypt them with.'),
    Param('user', user, help='Run it as this user, or user:group.'),
    Param('workdir', absolute_path, help='Directory the command starts in.'),
    Param('stdin', content, in_body=True,
          help='What the command reads from its standard input.'))

_ROWS = (
    Operation(
        'create', ASYNC, 'Create a container; its image is pulled when absent.',
        allowed=frozenset(), during=CREATING, target=CREATED, cancel=UNDO,
        creates=True, deadline_seconds=3600),
    Operation(
        'run', ASYNC, 'Create a container and start it.',
        allowed=frozenset(), during=CREATING, target=RUNNING, cancel=UNDO,
        creates=True, deadline_seconds=3600),
    Operation(
        'start', ASYNC, 'Start the main process of a container.',
        allowed=frozenset((CREATED, STOPPED, ERROR)), target=RUNNING, coalesce=True),
    Operation(
        'stop', ASYNC, 'Stop the main process of a container.',
        allowed=frozenset((RUNNING, PAUSED, RESTARTING)), target=STOPPED, coalesce=True,
        urgent=True, params=(_TIMEOUT,)),
    Operation(
        'reboot', ASYNC, 'Stop the main process of a container and start it again.',
        allowed=frozenset((CREATED, RUNNING, STOPPED, ERROR)), during=RESTARTING, target=RUNNING,
        coalesce=True, params=(_TIMEOUT,)),
    Operation(
        'pause', ASYNC, 'Freeze the processes of a container.',
        allowed=frozenset((RUNNING,)), target=PAUSED, coalesce=True),
    Operation(
        'unpause', ASYNC, 'Let the processes of a paused container go on.',
        allowed=frozenset((PAUSED,)), target=RUNNING, coalesce=True),
    Operation(
        'kill', ASYNC, 'Send a signal to the main process of a container.',
        allowed=frozenset((RUNNING, PAUSED, RESTARTING)), target=_kill_target,
        on_takeover=_kill_again, urgent=True,
        params=(Param('signal', signal, 'SIGKILL',
                      help='Name or number of the signal, for example HUP, SIGUSR1 or 9.'),)),
    Operation(
        'delete', ASYNC, 'Remove a container.',
        allowed=frozenset((CREATED, STOPPED, ERROR, DEAD)),
        allowed_with={'stop': frozenset((RUNNING, PAUSED, RESTARTING)),
                      'force': CONTAINER_STATUSES - {DELETED}},
        during=DELETING, target=DELETED, coalesce=True, urgent=True,
        http_method='DELETE', older_status=204,
        params=(Param('force', boolean, False,
                      help='Remove it whatever status it is in; it is killed first.'),
                Param('stop', boolean, False,
                      help='Stop it first if it is running.'))),
    Operation(
        'update', ASYNC, 'Change cores, memory, restart policy or name of a container.',
        allowed=frozenset((CREATED, RUNNING, STOPPED, PAUSED)),
        http_method='PATCH', params=_CHANGEABLE, needs_one=True, on_engine=_is_about_limits,
        changes=_updated, waited=True, older_status=200, older_body=CONTAINER),
    Operation(
        'resize_container', ASYNC, 'Change cores and memory of a container, as update does.',
        allowed=frozenset((CREATED, RUNNING, STOPPED, PAUSED)),
        params=_CHANGEABLE, needs_one=True, on_engine=_is_about_limits, changes=_updated,
        driver_method='update', twin='update', verb='resize', since=(1, 19),
        older_body=CONTAINER),
    Operation(
        'rebuild', ASYNC, 'Make a container anew, also from another image, under the same name.',
        allowed=frozenset((CREATED, RUNNING, STOPPED, ERROR)), during=REBUILDING,
        target=_rebuild_target, cancel=UNDO, changes=_rebuilt, deadline_seconds=3600,
        params=(Param('image', image, help='The image to make it from; else the one it has.'),
                Param('image_driver', one_of('docker'), 'docker',
                      help='Accepted from older clients; always docker.'))),
    Operation(
        'rename', ASYNC, 'Give a container another name.',
        allowed=_RESTING, on_engine=False, changes=_renamed, until=(1, 13),
        params=(dataclasses.replace(_NEW_NAME, required=True),),
        waited=True, older_status=200, older_body=CONTAINER),
    Operation(
        'commit', ASYNC, 'Make an image of what is in a container.',
        allowed=frozenset((RUNNING, STOPPED, PAUSED)), makes_image=True,
        waited=True, older_body=RESULT, deadline_seconds=1800,
        params=(Param('repository', repository, required=True,
                      help='The name that the image gets, for the project on that bay.'),
                Param('tag', tag, references.DEFAULT_TAG, help='The tag that it gets.'))),
    Operation(
        'network_attach', ASYNC, 'Attach a container to a network of its engine.',
        allowed=_RESTING, verb='attach a network to', since=(1, 8), changes=_connected,
        older_status=200, older_body=NULL,
        params=(_NETWORK, _PORT,
                Param('fixed_ip', address, help='The address it is to have there.'))),
    Operation(
        'network_detach', ASYNC, 'Detach a container from a network of its engine.',
        allowed=_RESTING, verb='detach a network from', since=(1, 6), changes=_connected,
        older_body=NULL, params=(_NETWORK, _PORT)),
    Operation(
        'put_archive', ASYNC, 'Unpack a tar archive in a directory of a container.',
        allowed=frozenset((CREATED, RUNNING, STOPPED, PAUSED)), verb='copy to',
        payload='data', waited=True, older_status=200, older_body=NULL,
        params=(Param('path', path, required=True, help='The directory to unpack it in.'),
                Param('data', archive, required=True, in_body=True,
                      help='The archive, not compressed; plain text before version 1.25.'))),
    Operation(
        'logs', BLOCKING, 'Return what a container wrote to its standard output and error.',
        allowed=frozenset((CREATED, RUNNING, STOPPED, PAUSED, RESTARTING, DEAD, ERROR, UNKNOWN)),
        verb='read the logs of', http_method='GET', deadline_seconds=30,
        params=(Param('stdout', boolean, True, help='Include standard output.'),
                Param('stderr', boolean, True, help='Include standard error.'),
                Param('timestamps', boolean, False, help='Put its time before each line.'),
                Param('tail', tail, None,
                      help='Only this many lines from the end; "all" for every line.'),
                Param('since', text, None,
                      help='Only what was written since: seconds since the epoch, or '
                           'YYYY-MM-DD hh:mm:ss in UTC.'),
                Param('cursor', text, None,
                      help='Only what follows an earlier answer: the cursor of that one.'))),
    Operation(
        'execute', BLOCKING, 'Run a command in a container and return its output and exit code.',
        allowed=frozenset((RUNNING,)), verb='execute a command in', deadline_seconds=60,
        on_takeover=INTERRUPT,
        recorded_as='execution',
        params=(*_COMMAND,
                Param('run', _always(True), True,
                      help='Accepted from older clients; must be true.'),
                Param('interactive', _always(False), False,
                      help='Accepted from older clients; must be false.'))),
    Operation(
        'execution', ASYNC, 'Run a command in a container and keep its output and exit code.',
        allowed=frozenset((RUNNING,)), verb='execute a command in', on_takeover=INTERRUPT,
        since=OWN_VERSION, twin='execute', payload='stdin', params=_COMMAND,
        deadline_seconds=660),
    Operation(
        'top', BLOCKING, 'List the processes of a container.',
        allowed=frozenset((RUNNING,)), verb='list the processes of', http_method='GET',
        deadline_seconds=30,
        params=(Param('ps_args', _matching(r'[\w.,:=%+ -]+', 'arguments of ps'),
                      help='What to tell of them, as arguments of ps on the engine.'),)),
    Operation(
        'stats', BLOCKING, 'Tell how much of processor, memory and networks a container uses.',
        allowed=frozenset((RUNNING,)), verb='measure', http_method='GET', deadline_seconds=30),
    Operation(
        'inspect', BLOCKING, 'Show a container in the words of its engine.',
        allowed=CONTAINER_STATUSES - {CREATING, DELETED}, http_method='GET', since=OWN_VERSION,
        deadline_seconds=30),
    Operation(
        'diff', BLOCKING, 'List the paths of a container that differ from those of its image.',
        allowed=frozenset((CREATED, RUNNING, STOPPED, PAUSED)), verb='compare',
        http_method='GET', since=OWN_VERSION, deadline_seconds=30),
    Operation(
        'get_archive', BLOCKING, 'Return a file or directory of a container as a tar archive.',
        allowed=frozenset((CREATED, RUNNING, STOPPED, PAUSED)), verb='copy from',
        http_method='GET', deadline_seconds=60,
        params=(Param('path', path, required=True, help='The file or directory.'),)),
    Operation(
        'resize', BLOCKING, 'Tell the terminal of a container its size.',
        allowed=frozenset((RUNNING,)), verb='resize the terminal of', older_body=NULL,
        deadline_seconds=30, params=_SIZE),
    Operation(
        'execute_resize', BLOCKING, 'Tell the terminal of a command in a container its size.',
        allowed=frozenset((RUNNING,)), verb='resize a terminal in', older_body=NULL,
        deadline_seconds=30,
        params=(Param('exec_id', _matching('[0-9a-f]{64}', '64 digits from 0 to f'),
                      required=True, help='The exec_id that execute answered with.'), *_SIZE)),
    Operation(
        'wait', BLOCKING, 'Wait until the main process of a container does not run.',
        allowed=CONTAINER_STATUSES, verb='wait for', http_method='GET', since=OWN_VERSION,
        on_engine=False,
        params=(Param('timeout_seconds', integer, 60, wire='timeout', minimum=0, maximum=300,
                      help='Seconds to wait at most.'),)),
    Operation(
        'network_list', BLOCKING, 'List the networks of a container and its addresses there.',
        allowed=CONTAINER_STATUSES, verb='list the networks of', http_method='GET',
        since=(1, 13), on_engine=False),
)

OPERATIONS = {row.name: row for row in _ROWS}


QUEUE, REJECT = 'queue', 'reject'
SKIP, RUN = 'skip', 'run'

# What every asynchronous operation can be told besides its own parameters.
OPTIONS = (
    Param('if_busy', one_of(QUEUE, REJECT), QUEUE,
          help='What to do while the container is busy: wait in line (queue), or refuse '
               '(reject).'),
    Param('on_predecessor_failure', one_of(SKIP, RUN), SKIP,
          help='What to do when an action before it does not succeed: skip it, or run it all '
               'the same.'),
    Param('dry_run', boolean, False,
          help='Only say whether it would be accepted, and what it would wait for.'),
)


def of_kind(kind):
    """The rows of one kind, in the order of the table."""
    return [row for row in OPERATIONS.values() if row.kind == kind]
