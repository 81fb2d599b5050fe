# SPDX-License-Identifier: Apache-2.0
"""What a driver is: it drives one engine to a state and says what it found.

Drivers know their engine and ``exceptions``; nothing of SQL, RPC or which change is legal.
They are found by stevedore in the namespace ``container_service.drivers``; the caller is
``conductor/runner.py`` for asynchronous operations, ``conductor/endpoint.py`` for blocking
ones and ``conductor/observer.py`` for ``list``, ``events``, ``describe`` and ``remove``.

Rules for every method that changes something:

* It drives to a state: inspect, act, inspect.  Called again after a crash in any line it ends
  in the same state and has its effect once.
* It calls ``attempt.gate()`` before each call that changes something on the engine, and
  ``attempt.gate_destructive()`` before one that ends or removes something.
* What tells "done" from "not done" after a crash goes to ``attempt.remember()`` before acting.
* It raises ``DriverError`` or a subclass and nothing else (and lets pass what an attempt
  raises).
"""

import abc
import contextlib
import dataclasses
import datetime
import decimal
import hashlib
import json
import re
import typing

from container_service import egress
from container_service import exceptions
from container_service import references
from container_service import states

NAME_PREFIX = 'cs-'
LABEL_DEPLOYMENT = 'cs.deployment'
LABEL_CONTAINER = 'cs.container'
LABEL_FENCE = 'cs.fence'
LABEL_DIGEST = 'cs.digest'
LABEL_GENERATION = 'cs.generation'
LABEL_NAME = 'cs.name'
LABEL_SECRET = 'cs.secret'           # names of the variables whose values are secrets
LABELS = frozenset((LABEL_DEPLOYMENT, LABEL_CONTAINER, LABEL_FENCE, LABEL_DIGEST,
                    LABEL_GENERATION, LABEL_NAME, LABEL_SECRET))

STOP_GRACE_SECONDS = 10              # where neither the request nor the container says

STARTING, HEALTHY, UNHEALTHY = 'starting', 'healthy', 'unhealthy'


@dataclasses.dataclass(frozen=True)
class Limits:
    """What holds for every container of a bay, or for those whose request says nothing."""
    pids: int = 1024
    log_max_size: str = '10m'
    log_max_files: int = 3
    memory_bytes: int = None               # None: no limit
    cpu: float = None                      # cores; None: no limit
    archive_bytes: int = 8 * 1024 * 1024   # of an archive that comes out of a container


@dataclasses.dataclass(frozen=True)
class Bay:
    """An engine endpoint.  TLS values are PEM texts; ``policy`` says what may be connected to."""
    uuid: str
    name: str
    endpoint: str
    ca_cert: str = None
    client_cert: str = None
    client_key: str = dataclasses.field(default=None, repr=False)
    # The engine's own id; None until it is known.  Nothing is done on an engine with another one.
    engine_id: str = None
    limits: Limits = Limits()
    policy: egress.Policy = egress.Policy()


def engine_name(uuid, generation):
    return f'{NAME_PREFIX}{uuid}-{generation}'


@dataclasses.dataclass(frozen=True)
class Container:
    """What a driver needs to know of a container.

    ``spec`` holds the accepted create options: command and entrypoint (lists or None),
    environment and labels (dicts of text), secret_environment (names), workdir, hostname, user,
    cpu (cores, float), memory_bytes, restart_policy ({'Name', 'MaximumRetryCount'}), tty,
    interactive, image_pull_policy (never, always, ifnotpresent), stop_signal, stop_timeout
    (seconds), healthcheck ({'test', 'interval', 'timeout', 'retries'}: text for a shell, seconds),
    exposed_ports (list of "80/tcp"), published_ports ([{'container_port', 'host_port',
    'protocol'}]), nets ([{'network', 'v4-fixed-ip', 'v6-fixed-ip'}]; empty: it is on none),
    read_only, tmpfs ({path: bytes}), runtime, disk (GiB), files ([{'destination', 'size',
    'sha256'}]), mounts ([{'source', 'destination', 'read_only'}], directories of the host),
    opened (see ``powers``: what is not in it is not given).  Absent keys mean the engine's
    default; auto_remove and auto_heal are not the engine's business.
    """
    uuid: str
    name: str
    image: str
    generation: int
    fence: int
    deployment: str
    spec: dict
    # As recorded before this action, unchanged over its attempts: a pre-image for all of them.
    engine_id: str = None
    started_at: datetime.datetime = None
    finished_at: datetime.datetime = None   # None while it runs, as far as is recorded
    project_id: str = ''                   # images made of it are named after that
    # Gives what is in the files of the spec, as {destination: bytes}; asked when it is needed.
    files: typing.Callable = dict
    # Gives the variables of secret_environment, as {name: value}; asked when they are needed.
    secret: typing.Callable = dict

    @property
    def engine_name(self):
        """The name on the engine: the mutex that makes a repeated create adopt."""
        return engine_name(self.uuid, self.generation)

    def has(self, entry):
        """Whether an entry of the engine's list is of this container, of any generation.

        Its labels alone do not tell: what is made from an image that was made from the container
        has them too.  So it must have its name, or be what is known to have been renamed.
        """
        return entry.uuid == self.uuid and (
            entry.is_well_named or entry.engine_id == self.engine_id)

    def rebuilt(self, image=None):
        """The generation that takes its place when it is made anew."""
        return dataclasses.replace(self, generation=self.generation + 1,
                                   image=image or self.image, engine_id=None, started_at=None)

    def grace_seconds(self, asked=None):
        """Seconds to let its main process end by itself when it is stopped."""
        return self.spec.get('stop_timeout', STOP_GRACE_SECONDS) if asked is None else asked

    @property
    def was_running(self):
        """Whether it was running, by what is recorded: for when it is gone from the engine."""
        return self.started_at is not None and self.finished_at is None

    @property
    def hidden(self):
        """The names of the variables whose values nobody is shown."""
        return frozenset(self.spec.get('secret_environment') or ())

    def variables(self):
        """All its environment variables, {name: value}.  Raises SecretsUnavailable."""
        return {**(self.spec.get('environment') or {}), **(self.secret() if self.hidden else {})}

    @property
    def digest(self):
        """Tells whether what is on the engine was made from the same image and options."""
        text = json.dumps([self.image, self.spec], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def engine_labels(self):
        """The labels it carries on the engine; a user's label never replaces one of ours."""
        return {**(self.spec.get('labels') or {}),
                **({LABEL_SECRET: ','.join(sorted(self.hidden))} if self.hidden else {}),
                LABEL_DEPLOYMENT: self.deployment,
                LABEL_CONTAINER: self.uuid,
                LABEL_GENERATION: str(self.generation),
                LABEL_FENCE: str(self.fence),
                LABEL_DIGEST: self.digest,
                # For whoever finds it on the engine and has no database to ask.
                LABEL_NAME: self.name}


@dataclasses.dataclass(frozen=True)
class Observed:
    """What the engine says of a container.  Times are naive UTC."""
    status: str                            # one of states.CONTAINER_STATUSES
    engine_id: str = None
    status_detail: str = None              # human words, for example "Up 3 minutes"
    exit_code: int = None                  # of the main process, once it has ended
    oom_killed: bool = False
    error: str = None                      # the engine's own words, when the start failed
    started_at: datetime.datetime = None
    finished_at: datetime.datetime = None
    addresses: dict = dataclasses.field(default_factory=dict)
    # {network name: [{'addr', 'version', 'port', 'subnet_id', 'preserve_on_delete'}]}
    ports: tuple = ()                      # exposed port numbers
    health: str = None                     # starting, healthy, unhealthy; None: has no check
    result: dict = None                    # what the operation has given besides its effect


@dataclasses.dataclass(frozen=True)
class Image:
    """What an engine says of an image."""
    image_id: str
    size: int                              # bytes
    digest: str = None                     # of its manifest in the registry that it came from


class Listed(typing.NamedTuple):
    """One line of an engine's list: what carries our deployment label."""
    engine_id: str
    name: str                              # as the engine calls it now
    uuid: str                              # by its label; None when it has none
    generation: int                        # by its label; None when that is unreadable
    status: str
    exit_code: int = None
    health: str = None

    @property
    def is_well_named(self):
        """Whether its name on the engine is the one that its labels ask for."""
        return (self.uuid is not None and self.generation is not None
                and self.name == engine_name(self.uuid, self.generation))


class Event(typing.NamedTuple):
    """Something happened to a container that carries our deployment label."""
    time: int                              # nanoseconds since the epoch, by the engine's clock
    kind: str                              # one of EVENTS
    engine_id: str
    uuid: str                              # by its label; None when it has none
    exit_code: int = None                  # with die
    signal: str = None                     # with kill: its number


# die: its main process ended.  kill: a signal was sent.  stop: it was ended by a request to stop.
EVENTS = frozenset(('create', 'start', 'die', 'oom', 'kill', 'stop', 'restart', 'pause', 'unpause',
                    'rename', 'destroy', 'health_status'))


@dataclasses.dataclass(frozen=True)
class Described:
    """All that an engine tells of one container, in the terms of a request to create it."""
    listed: Listed
    labels: dict                           # all of them
    image: str
    spec: dict
    observed: Observed
    # Of the spec's secret_environment, {name: value}.
    secret: dict = dataclasses.field(default_factory=dict, repr=False)
    powers: tuple = ()                     # what it has beyond what is made without asking policy


@dataclasses.dataclass(frozen=True)
class Executed:
    """The outcome of a command run in a container."""
    output: str                            # standard output and error as they came
    exit_code: int
    exec_id: str = None
    truncated: bool = False                # output was longer than the limit


KEPT_OUTPUT_BYTES = 64 * 1024        # of a command whose result is recorded


def once(attempt):
    """Note that what must never be done twice is about to be done.

    Raises DriverError when an earlier attempt has come as far: nothing tells what it did.
    """
    if attempt.remembered.get('began'):
        raise exceptions.DriverError(
            'It is not known whether the command was run, so it is not run again.')
    attempt.remember(began=True)
    attempt.gate_destructive()


def with_result(observed, executed):
    """What is observed of a container, with what is kept of a command that was run in it."""
    data = executed.output.encode()
    result = {'output': data[:KEPT_OUTPUT_BYTES].decode(errors='ignore'),
              'exit_code': executed.exit_code, 'exec_id': executed.exec_id,
              'truncated': executed.truncated or len(data) > KEPT_OUTPUT_BYTES}
    return dataclasses.replace(observed or Observed(states.UNKNOWN), result=result)


HIDDEN = '***'


def masked(environment, hidden):
    """NAME=value as an engine shows them, without the values of those that are secrets."""
    return [f'{name}={HIDDEN}' if name in hidden else f'{name}{equals}{value}'
            for name, equals, value in (text.partition('=') for text in environment or ())]


def part(environment, labels):
    """Split the variables that an engine tells of: {name: value}, and the same of secrets."""
    secret = {name for name in (labels.get(LABEL_SECRET) or '').split(',') if name}
    return ({name: value for name, value in environment.items() if name not in secret},
            {name: value for name, value in environment.items() if name in secret})


def committed(container, repository, tag):
    """The engine's name for an image made of a container."""
    return str(references.local(container.project_id, repository, tag))


def with_image(observed, image, repository, tag):
    """What is observed of a container, with what is told of an image that was made of it."""
    asked = references.parse(references.join(repository, tag))
    return dataclasses.replace(observed, result={
        'repo': asked.name, 'tag': asked.tag, **dataclasses.asdict(image)})


def parse_since(value):
    """Return seconds since the epoch as Decimal, for the ``since`` of ``logs``.

    Takes seconds as text, also with a fraction, and ``YYYY-MM-DD hh:mm:ss[,mmm]`` in UTC.
    Raises InvalidParameter.
    """
    text = str(value).strip()
    if re.fullmatch(r'[0-9]{1,11}([.][0-9]{1,9})?', text, re.ASCII):
        return decimal.Decimal(text)
    match = re.fullmatch(r'([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2})'
                         r'(?:[,.]([0-9]{1,6}))?Z?', text, re.ASCII)
    if match:
        day, time, fraction = match.groups()
        try:
            moment = datetime.datetime.fromisoformat(f'{day}T{time}+00:00')
        except ValueError:
            pass
        else:
            if moment.timestamp() >= 0:
                return decimal.Decimal(f'{int(moment.timestamp())}.{fraction or 0}')
    raise exceptions.InvalidParameter(
        name='since', reason='must be seconds since the epoch or YYYY-MM-DD hh:mm:ss in UTC')


class Attempt:
    """One attempt at an action: what a driver may ask and tell while it works.

    This base keeps everything to itself, for tests and for use outside the runner, which
    extends it to write to the action.
    """

    def __init__(self, remembered=None):
        self.remembered = dict(remembered or {})   # what earlier attempts stored; {} at first
        self.first = False        # nothing of this action has ever been asked of the engine
        self.pulled = False       # the image was pulled for this action, just now
        self.stage = None
        self.progress = None

    def enter(self, stage):
        """Say what step begins, in words a user can read ("pulling image")."""
        self.stage, self.progress = stage, None

    def report(self, progress):
        """Tell how far the step is, as often as you like; the caller writes it now and then.

        A pull reports {'image', 'layers', 'layers_done', 'bytes', 'bytes_total'}.
        """
        self.progress = progress

    def remember(self, **values):
        """Store what a later attempt must know, durably, before returning."""
        self.remembered.update(values)

    def gate(self):
        """Return if this attempt may still act on the engine.

        Raises ``Fenced`` if another conductor has taken over, and what the attempt was ended
        with if it was cancelled or its time is over.
        """

    def gate_destructive(self):
        """As ``gate``, before a call whose effect nothing brings back: remove, kill, stop.

        The claim is read again as well.  Raises DatabaseUnavailable when it cannot be.
        """
        self.gate()

    @contextlib.contextmanager
    def closing(self, close):
        """While this lasts, ``close`` ends what the driver waits on; from any thread."""
        yield


# Keys of ``Driver.info``; where an engine does not tell one, it is absent.
INFO = {'cpus': int, 'memory_bytes': int, 'architecture': str, 'os_type': str, 'os': str,
        'kernel_version': str, 'runtimes': list, 'engine_version': str}


class Driver(abc.ABC):
    """One engine.  Instances are shared by threads and connect lazily.

    Every method that asks the engine raises OtherEngine when it is not the one of the bay, as far
    as can be known without asking for its id each time.
    """

    # Whether a pull is a connection of the engine to a registry.
    asks_registries = True

    # Most seconds one engine call may take, waiting for a stop included; ``logs`` and
    # ``execute`` have their own limit.
    call_timeout_seconds = 60

    @classmethod
    @abc.abstractmethod
    def check_endpoint(cls, endpoint, ca_cert, client_cert, client_key, allow_insecure_tcp,
                       policy):
        """The one spelling of an endpoint that can be used.

        Raises ValueError, with words that complete "endpoint ...".  Of TLS only whether it is
        there matters.  Nothing is resolved.
        """

    @abc.abstractmethod
    def __init__(self, bay):
        """Take the bay; connect to nothing yet."""

    @abc.abstractmethod
    def ping(self):
        """Return the engine's own id.  Raises EngineUnreachable."""

    @abc.abstractmethod
    def info(self):
        """What the engine tells of its host, plain and for people: see ``INFO``."""

    @abc.abstractmethod
    def probe(self):
        """Return if the engine answers, within a few seconds.  Raises EngineUnreachable."""

    @abc.abstractmethod
    def pull(self, attempt, image, credentials=None):
        """Pull an image, reporting its progress; ending the attempt ends the transfer.

        ``credentials`` are {username, password} for its registry.  Returns Image.  Raises
        ImageNotFound, RegistryRefused or PullFailed with the engine's own words.
        """

    @abc.abstractmethod
    def find_image(self, image):
        """Return Image; None when the engine does not have it."""

    @abc.abstractmethod
    def tag_image(self, attempt, image, name):
        """Give an image another name, taking it from what has it.  Returns Image.

        Raises ImageNotFound.
        """

    @abc.abstractmethod
    def remove_image(self, attempt, image):
        """Take a name from an image, which goes with its last one; one that is missing is done.

        Raises DriverError with the engine's own words while a container needs it.
        """

    @abc.abstractmethod
    def post_mortem(self, container):
        """Return what tells why a container failed; None when the engine does not have it.

        A dict of log (the last lines, a list), exit_code, oom_killed, image_digest and
        engine_error.
        """

    @abc.abstractmethod
    def observe(self, container):
        """Return Observed, or None when the engine does not have the container."""

    @abc.abstractmethod
    def list(self, deployment, container_uuid=None):
        """Yield Listed for what carries our deployment label, or also that of one container.

        For the reconciler's full passes: it holds one entry in memory at a time.
        """

    @abc.abstractmethod
    def events(self, deployment, since=None, quiet_seconds=60):
        """Return Events of what carries our deployment label: a context manager, iterated.

        Once entered, nothing that happens from then on is left out, nor what happened after
        ``since`` (the ``time`` of an event) as far as the engine remembers it.  It ends after so
        many seconds in which nothing happened, which may mean that nothing comes through any
        more, and with ``close()`` from any thread.  Raises EngineUnreachable when the engine
        ends it.
        """

    @abc.abstractmethod
    def describe(self, deployment, engine_id):
        """Return Described; None when the engine has no such container with our label."""

    @abc.abstractmethod
    def remove(self, attempt, deployment, engine_id, name):
        """Remove one container for good, whatever it does, if it has our label and this name.

        Returns whether it was there.
        """

    def method(self, operation):
        """The method of an operation, by its row.  Raises UnsupportedByDriver.

        Those below are what every engine must have; whatever else the table has, a driver does
        if it has a method of that name.
        """
        found = getattr(self, operation.method, None)
        if found is None:
            raise exceptions.UnsupportedByDriver(
                f'The driver of bay {self.bay.name} has no operation {operation.name}.')
        return found

    def undo(self, operation):
        """The method that takes back an operation that has ended half way; None: there is none.

        It gets what the operation got.  What it returns, if anything, is the Observed of an
        operation that turns out to be done, so that nothing was taken back.  It takes back as much
        as it can, then raises DriverError for the rest.
        """
        return getattr(self, f'undo_{operation.method}', None)

    # Asynchronous operations, by the names of the operation table.  Each returns Observed.

    @abc.abstractmethod
    def create(self, attempt, container):
        """Create it.  Raises ImageAbsent when its image must be pulled first.

        That is so when the engine does not have it, and with the pull policy ``always`` unless
        ``attempt.pulled``.
        """

    @abc.abstractmethod
    def run(self, attempt, container):
        """Create, then start."""

    @abc.abstractmethod
    def start(self, attempt, container):
        """Start; done when it has been started since the first attempt, even if it ended."""

    @abc.abstractmethod
    def stop(self, attempt, container, timeout_seconds=None):
        """Stop, killing after ``timeout_seconds``; a paused container is unpaused first.

        Without a time that of the container counts: ``container.grace_seconds()``.
        """

    @abc.abstractmethod
    def reboot(self, attempt, container, timeout_seconds=None):
        """Stop and start again; exactly one restart over all attempts."""

    @abc.abstractmethod
    def pause(self, attempt, container):
        """Freeze all processes."""

    @abc.abstractmethod
    def unpause(self, attempt, container):
        """Let frozen processes go on."""

    @abc.abstractmethod
    def kill(self, attempt, container, signal='SIGKILL'):
        """Send a signal to the main process; for SIGKILL wait until it has ended."""

    @abc.abstractmethod
    def delete(self, attempt, container, force=False, stop=False):
        """Remove it; one that is missing is done.  Returns Observed with status Deleted.

        Without ``force`` or ``stop`` a running or paused container raises WrongState.
        """

    # Blocking operations.

    @abc.abstractmethod
    def logs(self, container, stdout=True, stderr=True, timestamps=False, tail=None, since=None,
             cursor=None):
        """Return output, cursor, truncated and more, as ``logtext.answer`` makes them.

        ``since`` is what ``parse_since`` takes; bad values raise InvalidParameter.
        """

    @abc.abstractmethod
    def execute(self, container, command, timeout_seconds=60, environment=None,
                secret_environment=None, user=None, workdir=None, stdin=None, run=True,
                interactive=False):
        """Run the argument array ``command`` and return Executed.  Raises ExecuteTimeout.

        It reads the text ``stdin`` and then its end; without one it has no standard input.
        Output beyond 1 MiB is cut.
        """

    # What an engine may lack, by the names of the table; see ``method``.  Those of Docker and
    # what they return:
    #
    # top(container, ps_args)            titles and processes: a list of texts, a list of lists
    # stats(container)                   see docker_answers.stats
    # inspect(container)                 a dict in the engine's words, nothing of its host in it
    # get_archive(container, path)       data: the tar in base64; stat: name, size, mode, mtime
    #                                    and linkTarget.  Raises PathNotFound, ArchiveTooLarge
    # resize(container, w, h), execute_resize(container, exec_id, w, h)
    #                                    w and h.  Raise NoTerminal, ExecNotFound
