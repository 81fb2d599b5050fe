# SPDX-License-Identifier: Apache-2.0
"""An engine in memory, and its driver: for tests, demonstrations and benchmarks.

    fake://NAME?delay=0.2&create_delay=1&pull_seconds=5&missing_image=*/nope:*&fail=start,stop

All drivers of one process whose endpoint has the same NAME share one engine; another process
has an engine of its own.  What the query may hold:

    delay=S                 every operation that changes something takes so long
    <operation>_delay=S     the same for one operation, instead of ``delay``
    pull_seconds=S          a pull takes so long and reports its progress in steps
    missing_image=GLOB,...  images that no registry has
    present_image=NAME,...  images that are on the engine from the start
    fail=OPERATION,...      operations that the engine refuses, until told otherwise; pull is one
                            too, run is not: it is create, then start
    unreachable=true        the engine does not answer

It keeps the promises of the Docker driver: a repeated create adopts, what is asked for twice
is done once, start and stop of what has started or stopped change nothing.  ``FakeEngine.get``
gives tests the engine itself: what had an effect and in which order, and hands to fail, hold
or change things with.  Commands run by name only (echo, true, false, exit, sleep and what
``sh -c`` joins of them with ``;``); any other main process runs until it is stopped, and a
name with ``no-such`` in it does not exist.  Executed in a container, env, cat, pwd and id -u are
known too.
"""

import base64
import collections
import contextlib
import dataclasses
import datetime
import fnmatch
import hashlib
import io
import posixpath
import re
import shlex
import tarfile
import threading
import time
import urllib.parse
import uuid

from container_service import exceptions
from container_service import powers
from container_service import references
from container_service.drivers import base
from container_service.drivers import docker_request
from container_service.drivers import logtext
from container_service.operations import OPERATIONS
from container_service.states import CREATED, DELETED, PAUSED, RUNNING, STOPPED

OUTPUT_LIMIT_BYTES = 1024 * 1024
DEFAULT_NETWORK = 'fake'
PULL_LAYERS = 3
PULL_STEPS = 12                  # reports during one pull
LAYER_BYTES = 4_000_000
EVENTS_KEPT = 256                # for those who ask what was before; as many as Docker keeps
HOLD_SECONDS = 60                # a call that a test forgot to release gives up after this

_ALIVE = frozenset((RUNNING, PAUSED))
_DIRECTORIES = frozenset(('/', '/etc', '/tmp'))  # nosec B108 # names in containers that are none
_DESTRUCTIVE = frozenset(('stop', 'reboot', 'kill', 'delete'))
_OPERATIONS = frozenset(OPERATIONS) - {'run'} | {'pull'}     # run is create, then start
_NUMBERS = frozenset(('delay', 'pull_seconds')) | {f'{name}_delay' for name in _OPERATIONS}
_LISTS = frozenset(('missing_image', 'present_image', 'fail'))
_FLAGS = frozenset(('unreachable',))


def _utcnow():
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


@dataclasses.dataclass
class FakeContainer:
    """What the engine knows of one container."""
    engine_id: str
    name: str
    labels: dict
    image: str
    command: list
    tty: bool = False
    status: str = CREATED
    exit_code: int = None
    error: str = None
    starts: int = 0              # tells one start from the next, where clocks are too coarse
    started_at: datetime.datetime = None
    finished_at: datetime.datetime = None
    ends_at: datetime.datetime = None        # when its main process ends by itself
    own_exit_code: int = 0                   # and with what
    oom_killed: bool = False
    health: str = None
    networks: tuple = ()         # names
    powers: tuple = ()           # that somebody else has given
    ports: tuple = ()            # numbers
    files: dict = dataclasses.field(default_factory=dict)
    execs: dict = dataclasses.field(default_factory=dict)      # exec id: whether it has a terminal
    spec: dict = dataclasses.field(default_factory=dict)
    variables: dict = dataclasses.field(default_factory=dict, repr=False)    # secret ones too
    written: list = dataclasses.field(default_factory=list)    # (time, stream, text)

    @property
    def uuid(self):
        return self.labels.get(base.LABEL_CONTAINER)

    @property
    def generation(self):
        text = self.labels.get(base.LABEL_GENERATION)
        return int(text) if text and text.isdecimal() else None

    @property
    def listed(self):
        return base.Listed(self.engine_id, self.name, self.uuid, self.generation, self.status,
                           self.exit_code, self.health)


class Hold:
    """Calls of one operation that wait until a test lets them go.  A context manager."""

    def __init__(self, engine, operation, container_uuid, after_effect):
        self._engine = engine
        self.operation = operation
        self.container_uuid = container_uuid
        self.after_effect = after_effect
        self._entered = threading.Event()
        self._released = threading.Event()

    def wait_entered(self, seconds=10):
        """Return once a call waits here; raises TimeoutError."""
        if not self._entered.wait(seconds):
            raise TimeoutError(f'no {self.operation} came within {seconds} seconds')

    def release(self):
        """Let what waits here go on, and all that follow."""
        with self._engine.lock:
            if self in self._engine.holds:
                self._engine.holds.remove(self)
        self._released.set()

    def enter(self):
        self._entered.set()
        if not self._released.wait(HOLD_SECONDS):
            raise exceptions.EngineUnreachable(f'Held for more than {HOLD_SECONDS} seconds.')

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.release()


class FakeEngine:
    """One engine.  Its attributes are for tests to read, and to set where that is said."""

    _engines = {}
    _engines_lock = threading.Lock()

    def __init__(self, name):
        self.name = name
        self.engine_id = f'fake-{uuid.uuid5(uuid.NAMESPACE_URL, f"fake://{name}")}'
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.containers = {}         # engine id: FakeContainer
        self.images = set()
        self.tags = {}               # name that was given to an image: the one that it has it from
        # name: (id, driver)
        self.networks = {name: (uuid.uuid5(uuid.NAMESPACE_URL, name).hex, driver) for name, driver
                         in ((DEFAULT_NETWORK, 'fake'), ('host', 'host'), ('none', 'null'))}
        self.limits_disk = True      # to be set
        self.info = {'cpus': 4, 'memory_bytes': 8 * 2 ** 30, 'architecture': 'x86_64',
                     'os_type': 'linux', 'os': 'None at all', 'kernel_version': '6.1.0',
                     'runtimes': ['fake'], 'engine_version': '1.0'}
        self.marks = {}              # image: mark of the commit that made it
        self.baked = {}              # the same: variables that are in it
        self.effects = []            # (operation, container uuid), in order; a run is its parts
        self.pulls = []              # images that were pulled through, in order
        self.calls = collections.Counter()   # every call by operation, effect or not
        self.holds = []
        self.history = collections.deque(maxlen=EVENTS_KEPT)     # base.Event of all that happened
        self.streams = []            # event streams that somebody follows now
        # To be set, as engine_id may be too: then it is another engine.
        self.delay = 0.0
        self.delays = {}             # operation: seconds
        self.pull_seconds = 0.0
        self.missing_images = []     # globs
        self.credentials = {}        # domain of a registry: {username, password} that it wants
        self.unreachable = False
        self.sleep = time.sleep      # how it lets time pass
        self.clock = _utcnow         # naive UTC
        self._failures = {}          # operation: [error or None, times left or None]
        self._lost_answers = collections.Counter()
        self._configured = set()
        self._gone = {}              # engine id: FakeContainer that was removed

    @classmethod
    def get(cls, name):
        """Return the engine of that name; the first call makes it."""
        with cls._engines_lock:
            if name not in cls._engines:
                cls._engines[name] = cls(name)
            return cls._engines[name]

    @classmethod
    def forget(cls, name):
        """Drop an engine; the next ``get`` makes a new and empty one."""
        with cls._engines_lock:
            cls._engines.pop(name, None)

    def configure(self, options):
        """Take the options of an endpoint, once: what a test has set since stays."""
        key = repr(sorted(options.items()))
        with self.lock:
            if key in self._configured:
                return
            self._configured.add(key)
            for name, value in options.items():
                if name == 'missing_image':
                    self.missing_images += value
                elif name == 'present_image':
                    self.images.update(_full_reference(image) for image in value)
                elif name == 'fail':
                    for operation in value:
                        self.fail(operation)
                elif name in ('delay', 'pull_seconds', 'unreachable'):
                    setattr(self, name, value)
                else:
                    self.delays[name.removesuffix('_delay')] = value

    # For tests: faults.

    def fail(self, operation, error=None, times=None):
        """Refuse an operation, ``times`` times or until ``succeed``, before it has an effect.

        ``pull`` is an operation too.
        """
        self._failures[operation] = [error, times]

    def succeed(self, operation):
        self._failures.pop(operation, None)

    def lose_answer(self, operation, times=1):
        """Let the operation have its effect and its caller think the engine is gone."""
        self._lost_answers[operation] += times

    def hold(self, operation, container_uuid=None, after_effect=False):
        """Let calls of an operation wait, before their effect or after it; returns a Hold."""
        hold = Hold(self, operation, container_uuid, after_effect)
        with self.lock:
            self.holds.append(hold)
        return hold

    # For tests: what happens outside of us.

    def container(self, container_uuid):
        """Return the newest generation of a container, or None."""
        with self.lock:
            found = [c for c in self.containers.values() if c.uuid == container_uuid]
            return max(found, key=lambda c: c.generation or 0, default=None)

    def remove_outside(self, container_uuid):
        with self.lock:
            for known in [c for c in self.containers.values() if c.uuid == container_uuid]:
                self._drop(known)

    def stop_outside(self, container_uuid, exit_code=137):
        """As ``docker stop`` does."""
        with self.lock:
            known = self.container(container_uuid)
            self.tell('kill', known)
            self._end(known, exit_code)
            self.tell('stop', known)

    def exit(self, container_uuid, exit_code=0, oom=False):
        """Let the main process end by itself, or for want of memory."""
        with self.lock:
            known = self.container(container_uuid)
            known.oom_killed = oom
            if oom:
                self.tell('oom', known)
            self._end(known, exit_code)

    def start_outside(self, container_uuid):
        with self.lock:
            self._begin(self.container(container_uuid))

    def pause_outside(self, container_uuid, status=PAUSED):
        with self.lock:
            known = self.container(container_uuid)
            known.status = status
            self.tell('pause' if status == PAUSED else 'unpause', known)

    def rename_outside(self, container_uuid, name):
        with self.lock:
            known = self.container(container_uuid)
            known.name = name
            self.tell('rename', known)

    def set_health(self, container_uuid, health):
        """Let the container's own check say something."""
        with self.lock:
            known = self.container(container_uuid)
            known.health = health
            self.tell('health_status', known)

    def create_late(self, container):
        """Carry out a create that its caller has given up long ago; returns the FakeContainer."""
        with self.lock:
            return self.add(container)

    def add_network(self, name):
        """Make a network; returns its id."""
        self.networks[name] = uuid.uuid4().hex, 'fake'
        return self.networks[name][0]

    def add_foreign(self, name, labels=None, status=RUNNING, powers=()):
        """Put a container there that is not ours, with powers that we would not give; returns it.
        """
        container = FakeContainer(engine_id=uuid.uuid4().hex, name=name, labels=labels or {},
                                  image='foreign:latest', command=[], status=status,
                                  started_at=self.clock(), powers=tuple(powers))
        with self.lock:
            self.containers[container.engine_id] = container
            self.tell('create', container)
        return container

    def cut_streams(self):
        """Break the event streams of all who follow one."""
        with self.lock:
            for stream in self.streams:
                stream.cut = True
            self.changed.notify_all()

    def write(self, container_uuid, text, stream='stdout'):
        """Let the main process write something."""
        with self.lock:
            self.container(container_uuid).written.append((self.clock(), stream, text))

    # For the driver.

    def check_reachable(self):
        if self.unreachable:
            raise exceptions.EngineUnreachable(
                f'The container engine fake://{self.name} does not answer: connection refused.')

    @contextlib.contextmanager
    def call(self, operation, container_uuid, attempt=None):
        """Around the effect of one call: count, hold, let time pass, fail as told.

        The body runs with the engine locked, and is the effect.
        """
        self.calls[operation] += 1
        self.check_reachable()
        self._wait_held(operation, container_uuid, after_effect=False)
        self._let_pass(self.delays.get(operation, self.delay), attempt)
        self.check_reachable()
        self._fail_as_told(operation)
        with self.lock:
            self.settle()
            yield
        self._wait_held(operation, container_uuid, after_effect=True)
        with self.lock:
            lost = self._lost_answers[operation] > 0
            self._lost_answers[operation] -= lost
        if lost:
            raise exceptions.EngineUnreachable(
                f'The container engine fake://{self.name} does not answer: '
                f'connection reset by peer.')
        self.check_reachable()

    def pull(self, image, attempt, credentials=None):
        """Make the image present, telling the progress.

        Raises ImageNotFound, RegistryRefused or PullFailed.
        """
        self.calls['pull'] += 1
        self.check_reachable()
        self._wait_held('pull', None, after_effect=False)
        self._let_pass(self.delays.get('pull', 0), attempt)
        self._fail_as_told('pull')
        if any(fnmatch.fnmatchcase(image, glob) or
               fnmatch.fnmatchcase(_full_reference(image), glob) for glob in self.missing_images):
            raise exceptions.ImageNotFound(f'manifest for {image} not found: manifest unknown')
        domain = _full_reference(image).partition('/')[0]
        if self.credentials.get(domain, credentials) != credentials:
            raise exceptions.RegistryRefused(f'pull access denied for {image}: unauthorized')
        total = PULL_LAYERS * LAYER_BYTES
        for step in range(PULL_STEPS + 1):
            if step:
                self.sleep(self.pull_seconds / PULL_STEPS)
            attempt.gate()
            self.check_reachable()
            done = total * step // PULL_STEPS
            attempt.report({'image': image, 'layers': PULL_LAYERS,
                            'layers_done': done // LAYER_BYTES,
                            'bytes': done, 'bytes_total': total})
        with self.lock:
            self.images.add(_full_reference(image))
            self.pulls.append(image)

    def image(self, image):
        """What is told of an image; None when it is not there."""
        name = _full_reference(image)
        with self.lock:
            if name not in self.images:
                return None
            source = self.tags.get(name, name)
        digest = hashlib.sha256(source.encode()).hexdigest()
        return base.Image(f'sha256:{digest}', PULL_LAYERS * LAYER_BYTES,
                          f'sha256:{digest[::-1]}' if source == name else None)

    def tag(self, image, name):
        image, name = _full_reference(image), _full_reference(name)
        if image not in self.images:
            raise exceptions.ImageNotFound(f'No such image: {image}')
        self.images.add(name)
        self.tags[name] = self.tags.get(image, image)

    def remove_image(self, image):
        """Raises DriverError while it is the last name of what a container was made of."""
        name = _full_reference(image)
        source = self.tags.get(name, name)
        others = [one for one in self.images - {name} if self.tags.get(one, one) == source]
        user = next((known for known in self.containers.values()
                     if _full_reference(known.image) == name), None)
        if user is not None and name in self.images and not others:
            raise exceptions.DriverError(
                f'conflict: unable to remove repository reference "{name}" (must force) - '
                f'container {user.engine_id[:12]} is using its referenced image')
        self.images.discard(name)
        self.tags.pop(name, None)

    def has_image(self, image):
        return _full_reference(image) in self.images

    def find(self, container):
        """Return our container of that uuid and generation, or None."""
        with self.lock:
            self.settle()
            for known in self.containers.values():
                if (known.labels.get(base.LABEL_DEPLOYMENT) == container.deployment
                        and container.has(known.listed)
                        and known.generation == container.generation):
                    return known
        return None

    def of_deployment(self, deployment, container_uuid=None):
        with self.lock:
            self.settle()
            return [c for c in self.containers.values()
                    if c.labels.get(base.LABEL_DEPLOYMENT) == deployment
                    and container_uuid in (None, c.uuid)]

    def has_label(self, engine_id, deployment):
        """Whether what has, or had, that id is of a deployment."""
        known = self.containers.get(engine_id) or self._gone.get(engine_id)
        return known is not None and known.labels.get(base.LABEL_DEPLOYMENT) == deployment

    def add(self, container, networks=()):
        """Create; raises EngineConflict when the name is taken."""
        if any(known.name == container.engine_name for known in self.containers.values()):
            raise exceptions.EngineConflict(name=container.engine_name)
        spec = dict(container.spec)
        if networks:
            spec['nets'] = [{**net, 'network': name}
                            for net, name in zip(spec['nets'], networks, strict=True)]
        known = FakeContainer(
            engine_id=uuid.uuid4().hex, name=container.engine_name,
            labels=container.engine_labels, image=container.image,
            command=list(spec.get('entrypoint') or []) + list(spec.get('command') or []),
            tty=bool(spec.get('tty')), spec=spec, ports=_ports(spec),
            variables={**self.baked.get(container.image, {}), **container.variables()},
            networks=() if spec.get('nets') == [] else tuple(networks) or (DEFAULT_NETWORK,))
        self.containers[known.engine_id] = known
        self.effects.append(('create', container.uuid))
        self.tell('create', known)
        return known

    def start(self, known, effect='start'):
        """Start what does not run; raises StartFailed when its command does not exist."""
        if _missing(known.command):
            known.error = (f'exec: "{known.command[0]}": executable file not found in $PATH: '
                           f'unknown')
            raise exceptions.StartFailed(known.error)
        self._begin(known)
        self.effects.append((effect, known.uuid))

    def end(self, known, exit_code, effect):
        self.tell('kill', known)
        self._end(known, exit_code)
        self.effects.append((effect, known.uuid))

    def freeze(self, known, status, effect):
        known.status = status
        self.effects.append((effect, known.uuid))
        self.tell(effect, known)

    def remove(self, known):
        self._drop(known)
        self.effects.append(('delete', known.uuid))

    def tell(self, kind, known):
        """Let those who follow the events know."""
        with self.changed:            # tests change things without it
            last = self.history[-1].time if self.history else 0
            moment = int(self.clock().replace(tzinfo=datetime.UTC).timestamp() * 1_000_000) * 1000
            self.history.append(base.Event(
                max(moment, last + 1), kind, known.engine_id, known.uuid,
                known.exit_code if kind == 'die' else None,
                '9' if kind == 'kill' else None))
            self.changed.notify_all()

    def _drop(self, known):
        if self.containers.pop(known.engine_id, None) is not None:
            self._gone[known.engine_id] = known
            if known.status in _ALIVE:
                self.tell('kill', known)
                self._end(known, 137)
            self.tell('destroy', known)

    def _begin(self, known):
        result = _interpret(known.command)
        now = self.clock()
        known.status, known.started_at, known.finished_at = RUNNING, now, None
        known.exit_code, known.error = None, None
        known.starts += 1
        known.written += [(now, stream, text) for stream, text in result.written]
        known.own_exit_code = result.exit_code
        known.ends_at = (None if result.seconds is None
                         else now + datetime.timedelta(seconds=result.seconds))
        known.oom_killed = False
        self.tell('start', known)

    def _end(self, known, exit_code):
        known.status, known.exit_code = STOPPED, exit_code
        known.finished_at, known.ends_at = self.clock(), None
        self.tell('die', known)

    def is_waited_for(self):
        """Whether a main process will end by itself."""
        return any(known.ends_at for known in self.containers.values())

    def settle(self):
        """Let the main processes end whose time is over."""
        now = self.clock()
        for known in list(self.containers.values()):
            if known.status == RUNNING and known.ends_at and known.ends_at <= now:
                self._end(known, known.own_exit_code)

    def _wait_held(self, operation, container_uuid, after_effect):
        with self.lock:
            holds = [hold for hold in self.holds
                     if (hold.operation, hold.after_effect) == (operation, after_effect)
                     and hold.container_uuid in (None, container_uuid)]
        for hold in holds:
            hold.enter()

    def _let_pass(self, seconds, attempt):
        # In pieces, so that a fenced attempt stops in time.
        while seconds > 0:
            piece = min(seconds, 0.5)
            self.sleep(piece)
            seconds -= piece
            if attempt is not None:
                attempt.gate()

    def _fail_as_told(self, operation):
        with self.lock:
            if operation not in self._failures:
                return
            failure = self._failures[operation]
            error, times = failure
            if times is not None:
                if times <= 1:
                    del self._failures[operation]
                failure[1] = times - 1
        if error is not None:
            raise error
        kind = {'start': exceptions.StartFailed, 'pull': exceptions.PullFailed}.get(
            operation, exceptions.DriverError)
        raise kind(f'The engine was told to refuse {operation}.')


class FakeEvents:
    """An event stream; see ``base.Driver.events``."""

    def __init__(self, engine, deployment, since, quiet_seconds):
        self._engine, self._deployment = engine, deployment
        self._after, self._quiet_seconds = since, quiet_seconds
        self._closed = self.cut = False

    def __enter__(self):
        engine = self._engine
        with engine.lock:
            engine.check_reachable()
            engine.streams.append(self)
            if self._after is None:
                self._after = engine.history[-1].time if engine.history else 0
        return self

    def __exit__(self, *exc_info):
        with self._engine.lock:
            self._engine.streams.remove(self)

    def __iter__(self):
        while found := self._next():
            self._after = found.time
            if self._engine.has_label(found.engine_id, self._deployment):
                yield found

    def _next(self):
        """The next event of any container; None when it is over."""
        deadline = time.monotonic() + self._quiet_seconds
        with self._engine.lock:
            while True:
                if self._closed:
                    return None
                if self.cut or self._engine.unreachable:
                    raise exceptions.EngineUnreachable(
                        f'The container engine fake://{self._engine.name} ended its event stream.')
                self._engine.settle()
                found = next((event for event in self._engine.history
                              if event.time > self._after), None)
                left = deadline - time.monotonic()
                if found is not None or left <= 0:
                    return found
                # Processes that end by themselves do so when somebody looks.
                self._engine.changed.wait(
                    min(left, 0.1 if self._engine.is_waited_for() else left))

    def close(self):
        self._closed = True
        with self._engine.lock:
            self._engine.changed.notify_all()


class FakeDriver(base.Driver):

    asks_registries = False
    call_timeout_seconds = 5

    @classmethod
    def check_endpoint(cls, endpoint, ca_cert, client_cert, client_key, allow_insecure_tcp,
                       policy):
        parse_endpoint(endpoint)
        if ca_cert or client_cert or client_key:
            raise ValueError('is in memory and takes no ca_cert, client_cert or client_key')
        return endpoint

    def __init__(self, bay):
        name, options = parse_endpoint(bay.endpoint)
        self.bay = bay
        self.engine = FakeEngine.get(name)
        self.engine.configure(options)

    def _check(self):
        self.engine.check_reachable()
        self._compare()

    def _compare(self):
        found, known = self.engine.engine_id, self.bay.engine_id
        if known not in (None, found):
            raise exceptions.OtherEngine(bay=self.bay.name, found=found, known=known)

    def ping(self):
        self._check()
        return self.engine.engine_id

    def info(self):
        self._check()
        return dict(self.engine.info)

    def probe(self):
        self._check()

    def pull(self, attempt, image, credentials=None):
        attempt.enter('pulling image')
        attempt.gate()
        self._compare()
        self.engine.pull(image, attempt, credentials)
        return self.engine.image(image)

    def find_image(self, image):
        self._check()
        return self.engine.image(image)

    def tag_image(self, attempt, image, name):
        attempt.enter('tagging image')
        attempt.gate()
        self._compare()
        with self.engine.call('tag_image', None, attempt):
            self.engine.tag(image, name)
        return self.engine.image(name)

    def remove_image(self, attempt, image):
        attempt.enter('removing image')
        attempt.gate_destructive()
        self._compare()
        with self.engine.call('remove_image', None, attempt):
            self.engine.remove_image(image)

    def post_mortem(self, container):
        self._check()
        known = self.engine.find(container)
        if known is None:
            return None
        return {'log': [text.rstrip('\n') for _, _, text in known.written][-20:],
                'exit_code': known.exit_code, 'oom_killed': False, 'image_digest': known.image,
                'engine_error': known.error}

    def observe(self, container):
        self._check()
        known = self.engine.find(container)
        return self._observed(known) if known else None

    def list(self, deployment, container_uuid=None):
        self._check()
        yield from [known.listed
                    for known in self.engine.of_deployment(deployment, container_uuid)]

    def events(self, deployment, since=None, quiet_seconds=60):
        self._check()
        return FakeEvents(self.engine, deployment, since, quiet_seconds)

    def describe(self, deployment, engine_id):
        self._check()
        with self.engine.lock:
            known = self.engine.containers.get(engine_id)
            if known is None or known.labels.get(base.LABEL_DEPLOYMENT) != deployment:
                return None
            _, secret = base.part(known.variables, known.labels)
            return base.Described(known.listed, dict(known.labels), known.image,
                                  dict(known.spec), self._observed(known), secret,
                                  _powers(known))

    def remove(self, attempt, deployment, engine_id, name):
        found = self.describe(deployment, engine_id)
        if found is None or found.listed.name != name:
            return False
        attempt.gate()
        with self.engine.call('delete', found.listed.uuid, attempt):
            known = self.engine.containers.get(engine_id)
            if known is not None:
                self.engine.remove(known)
        return True

    def create(self, attempt, container):
        return self._observed(self._create(attempt, container))

    def run(self, attempt, container):
        return self._start(attempt, self._create(attempt, container))

    def start(self, attempt, container):
        return self._start(attempt, self._require(container))

    def stop(self, attempt, container, timeout_seconds=None):
        known = self._require(container)
        if known.status not in _ALIVE:
            return self._observed(known)
        with self._call(attempt, 'stop', container, 'stopping'):
            if known.status in _ALIVE:
                self.engine.end(known, 137, 'stop')
            return self._observed(known)

    def reboot(self, attempt, container, timeout_seconds=None):
        known = self._require(container)
        if self._has_restarted(attempt, known):
            return self._observed(known)
        self._remember(attempt, known)
        with self._call(attempt, 'reboot', container, 'restarting'):
            self.engine.start(known, effect='reboot')
            return self._observed(known)

    def pause(self, attempt, container):
        return self._freeze(attempt, container, 'pause', RUNNING, PAUSED)

    def unpause(self, attempt, container):
        return self._freeze(attempt, container, 'unpause', PAUSED, RUNNING)

    def kill(self, attempt, container, signal='SIGKILL'):
        known = self._require(container)
        fatal = signal in ('SIGKILL', '9')
        if attempt.remembered.get('engine_id') == known.engine_id:
            if not fatal:
                raise exceptions.DriverError(
                    f'It is not known whether {signal} was sent, so it is not sent again.')
            if known.status not in _ALIVE or self._has_restarted(attempt, known):
                return self._observed(known)
        if known.status not in _ALIVE:
            raise exceptions.WrongState(operation='kill', status=known.status)
        self._remember(attempt, known)
        with self._call(attempt, 'kill', container, 'killing'):
            if known.status not in _ALIVE:
                if not fatal:
                    raise exceptions.WrongState(operation='kill', status=known.status)
            elif fatal:
                self.engine.end(known, 137, 'kill')
            else:
                self.engine.effects.append(('kill', known.uuid))
            return self._observed(known)

    def delete(self, attempt, container, force=False, stop=False):
        self._check()
        known = [one for one in self.engine.of_deployment(container.deployment, container.uuid)
                 if container.has(one.listed)]
        for one in known:
            self._check_removable(one, force, stop)
        for one in known:
            if stop and one.status in _ALIVE:
                with self._call(attempt, 'stop', container, 'stopping'):
                    if one.status in _ALIVE:
                        self.engine.end(one, 137, 'stop')
            with self._call(attempt, 'delete', container, 'removing'):
                if one.engine_id in self.engine.containers:
                    self._check_removable(one, force, stop=False)
                    self.engine.remove(one)
        return base.Observed(status=DELETED)

    def update(self, attempt, container, cpu=None, memory_bytes=None, restart_policy=None,
               name=None, auto_heal=None):
        known = self._require(container)
        wanted = {'cpu': cpu, 'memory_bytes': memory_bytes, 'restart_policy': restart_policy}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        with self._call(attempt, 'update', container, 'updating'):
            known.spec = {**known.spec, **wanted}
            self.engine.effects.append(('update', known.uuid))
            return self._observed(known)

    def rebuild(self, attempt, container, image=None, image_driver='docker'):
        new, old = container.rebuilt(image), self.engine.find(container)
        left = self.engine.find(new)
        if left is not None and left.labels.get(base.LABEL_DIGEST) != new.digest:
            self.engine.remove(left)
        made = self._create(attempt, new)
        if 'was_running' not in attempt.remembered:
            attempt.remember(replaces=old and old.engine_id, was_running=(
                old.status in _ALIVE if old else container.was_running))
        found = self._observed(made)
        if attempt.remembered['was_running']:
            if old and old.status in _ALIVE:
                with self._call(attempt, 'stop', container, 'stopping'):
                    self.engine.end(old, 137, 'stop')
            found = self._start(attempt, made)
        if old:
            with self._call(attempt, 'rebuild', container, 'removing'):
                self.engine.remove(old)
        return found

    def undo_rebuild(self, attempt, container, image=None, image_driver='docker'):
        self._check()
        made, old = self.engine.find(container.rebuilt(image)), self.engine.find(container)
        if made and not old and attempt.remembered.get('replaces'):
            return self._observed(made)
        attempt.gate_destructive()
        if made:
            self.engine.remove(made)
        if old and attempt.remembered.get('was_running'):
            self._start(attempt, old)
        return None

    def execution(self, attempt, container, command, timeout_seconds=60, environment=None,
                  secret_environment=None, user=None, workdir=None, stdin=None):
        self._running('execution', container)
        attempt.enter('executing')
        base.once(attempt)
        done = self.execute(container, command, timeout_seconds, environment, secret_environment,
                            user, workdir, None if stdin is None else stdin.decode())
        try:
            found = self.observe(container)
        except exceptions.DriverError:
            found = None
        return base.with_result(found, done)

    def commit(self, attempt, container, repository, tag='latest'):
        known = self._require(container)
        name = base.committed(container, repository, tag)
        if 'mark' not in attempt.remembered:
            attempt.remember(mark=uuid.uuid4().hex)
        mark = attempt.remembered['mark']
        if self.engine.marks.get(name) != mark:
            with self._call(attempt, 'commit', container, 'committing'):
                self.engine.images.add(name)
                self.engine.marks[name] = mark
                self.engine.baked[name] = {**known.variables,
                                           **dict.fromkeys(container.hidden, '')}
                self.engine.effects.append(('commit', known.uuid))
        return base.with_image(self._observed(known), self.engine.image(name), repository, tag)

    def network_attach(self, attempt, container, network, port=None, fixed_ip=None):
        known, name = self._require(container), self._network(network)
        nets = {net['network']: net for net in known.spec.get('nets') or ()}
        if name in known.networks:
            if fixed_ip not in (None, (nets.get(name) or {}).get('v4-fixed-ip')):
                raise exceptions.EngineConflict(
                    f'The container is attached to {name} already, with another address.')
            return self._connected(known, name)
        with self._call(attempt, 'network_attach', container, 'connecting networks'):
            nets[name] = {'network': name, **({'v4-fixed-ip': fixed_ip} if fixed_ip else {})}
            known.spec = {**known.spec, 'nets': list(nets.values())}
            known.networks = (*known.networks, name)
            self.engine.effects.append(('network_attach', known.uuid))
            return self._connected(known, name)

    def network_detach(self, attempt, container, network, port=None):
        known, name = self._require(container), self._network(network)
        if name not in known.networks:
            return self._connected(known, name)
        with self._call(attempt, 'network_detach', container, 'disconnecting network'):
            known.networks = tuple(one for one in known.networks if one != name)
            known.spec = {**known.spec, 'nets': [
                net for net in known.spec.get('nets') or () if net['network'] != name]}
            self.engine.effects.append(('network_detach', known.uuid))
            return self._connected(known, name)

    def _connected(self, known, name):
        return dataclasses.replace(self._observed(known), result={
            'network': name,
            'networks': {one: self.engine.networks[one][0] for one in known.networks}})

    def put_archive(self, attempt, container, path, data):
        known = self._require(container)
        path = posixpath.normpath(posixpath.join('/', path))
        with self._call(attempt, 'put_archive', container, 'copying'):
            if path not in _DIRECTORIES and not any(
                    name.startswith(path.rstrip('/') + '/') for name in known.files):
                raise exceptions.PathNotFound(f'There is no directory {path} in the container.')
            with tarfile.open(fileobj=io.BytesIO(data), mode='r:') as archive:
                known.files.update({
                    posixpath.normpath(posixpath.join(path, entry.name)):
                        archive.extractfile(entry).read()
                    for entry in archive if entry.isfile()})
            self.engine.effects.append(('put_archive', known.uuid))
            return self._observed(known)

    def logs(self, container, stdout=True, stderr=True, timestamps=False, tail=None, since=None,
             cursor=None):
        since = None if since is None else int(base.parse_since(since) * 10 ** 9)
        known = self._require(container)
        with self.engine.call('logs', container.uuid):
            written = list(known.written)
        entries = [logtext.Entry(_nanoseconds(moment), stream, line.encode())
                   for moment, stream, text in written
                   for line in text.splitlines(keepends=True)]

        def read(since, tail):
            last = entries if tail is None else entries[max(len(entries) - tail, 0):]
            yield from (entry for entry in last if entry.time >= (since or 0))
        return logtext.answer(
            read, known.engine_id, stdout=stdout, stderr=stderr, timestamps=timestamps,
            tail=tail, since=since, cursor=cursor)

    def top(self, container, ps_args=None):
        known = self._running('top', container)
        titles = ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD']
        if ps_args and '-bogus' in ps_args:
            raise exceptions.InvalidParameter(name='ps_args', reason='ps: error: unknown option')
        return {'titles': titles, 'processes': [
            ['root', '1', '0', '0', '00:00', '?', '00:00:00', ' '.join(known.command)]]}

    def stats(self, container):
        known = self._running('stats', container)
        limit, used = known.spec.get('memory_bytes') or 2 ** 30, 2 ** 20
        return {
            'read_at': known.started_at.isoformat() + 'Z', 'cpu_percent': 0.5, 'cpus': 1,
            'memory_bytes': used, 'memory_limit_bytes': limit,
            'memory_percent': round(100 * used / limit, 2), 'block_read_bytes': 0,
            'block_written_bytes': 0, 'network_received_bytes': 0, 'network_sent_bytes': 0,
            'processes': 1}

    def inspect(self, container):
        known = self._require(container)
        with self.engine.call('inspect', container.uuid):
            return {
                'Id': known.engine_id, 'Name': f'/{known.name}', 'Image': known.image,
                'State': {'Status': known.status.lower(), 'Running': known.status in _ALIVE,
                          'Paused': known.status == PAUSED, 'ExitCode': known.exit_code or 0,
                          'Error': known.error or '', 'OOMKilled': known.oom_killed},
                'Config': {
                    'Image': known.image, 'Cmd': known.command, 'Tty': known.tty,
                    'Env': base.masked([f'{name}={value}' for name, value
                                        in known.variables.items()], container.hidden),
                    'Labels': {name: value for name, value in known.labels.items()
                               if name not in base.LABELS}},
                'HostConfig': {
                    'Memory': known.spec.get('memory_bytes') or 0,
                    'Privileged': powers.PRIVILEGED in powers.of(known.spec)},
                'Mounts': [{'Type': 'bind', 'Destination': mount['destination'],
                            'RW': not mount['read_only']}
                           for mount in docker_request.host_paths(known.spec)],
                'NetworkSettings': {'Networks': {name: {} for name in known.networks}}}

    def diff(self, container):
        known = self._require(container)
        with self.engine.call('diff', container.uuid):
            return {'changes': [{'path': path, 'kind': 'added'} for path in sorted(known.files)]}

    def get_archive(self, container, path):
        known = self._require(container)
        with self.engine.call('get_archive', container.uuid):
            files = dict(known.files)
        # What leads out of the container leads to its root.
        path = posixpath.normpath(posixpath.join('/', path))
        below = path.rstrip('/') + '/'
        if path not in files and path not in _DIRECTORIES and not any(
                name.startswith(below) for name in files):
            raise exceptions.PathNotFound(path=path)
        packed, parent = io.BytesIO(), posixpath.dirname(path)
        with tarfile.open(fileobj=packed, mode='w') as archive:
            for name, data in sorted(files.items()):
                if name == path or name.startswith(below):
                    entry = tarfile.TarInfo(posixpath.relpath(name, parent))
                    entry.size = len(data)
                    archive.addfile(entry, io.BytesIO(data))
        limit = self.bay.limits.archive_bytes
        if len(packed.getvalue()) > limit:
            raise exceptions.ArchiveTooLarge(path=path, limit=limit)
        data = files.get(path, b'')
        return {'data': base64.b64encode(packed.getvalue()).decode(), 'stat': {
            'name': posixpath.basename(path) or '/', 'size': len(data), 'mode': 0o644,
            'mtime': _utcnow().isoformat() + 'Z', 'linkTarget': ''}}

    def resize(self, container, w, h):
        known = self._running('resize', container)
        if not known.tty:
            raise exceptions.NoTerminal(what='The container')
        self.engine.effects.append(('resize', known.uuid))
        return {'w': w, 'h': h}

    def execute_resize(self, container, exec_id, w, h):
        known = self._running('execute_resize', container)
        if exec_id not in known.execs:
            raise exceptions.ExecNotFound(exec_id=exec_id)
        if not known.execs[exec_id]:
            raise exceptions.NoTerminal(what=f'Command {exec_id}')
        self.engine.effects.append(('execute_resize', known.uuid))
        return {'w': w, 'h': h}

    def execute(self, container, command, timeout_seconds=60, environment=None,
                secret_environment=None, user=None, workdir=None, stdin=None, run=True,
                interactive=False):
        known = self._running('execute', container)
        self.engine.effects.append(('execute', known.uuid))
        exec_id = uuid.uuid4().hex * 2
        known.execs[exec_id] = False
        if _missing(command):
            return base.Executed(output=f'exec: "{command[0]}": executable file not found\n',
                                 exit_code=127, exec_id=exec_id)
        told = {'env': lambda: ''.join(f'{name}={value}\n' for name, value in
                                       {**known.variables, **(environment or {}),
                                        **(secret_environment or {})}.items()),
                'cat': lambda: '' if stdin is None else stdin,
                'id': lambda: f'{(user or "0").partition(":")[0]}\n',
                'pwd': lambda: f'{workdir or known.spec.get("workdir") or "/"}\n'}
        result = (_Result([('stdout', told[command[0]]())]) if command[0] in told
                  else _interpret(command))
        seconds = 0 if result.seconds is None else result.seconds
        self.engine.sleep(min(seconds, timeout_seconds))
        if seconds > timeout_seconds:
            raise exceptions.ExecuteTimeout(seconds=timeout_seconds)
        data = ''.join(text for _, text in result.written).encode()
        return base.Executed(output=data[:OUTPUT_LIMIT_BYTES].decode(errors='replace'),
                             exit_code=result.exit_code, exec_id=exec_id,
                             truncated=len(data) > OUTPUT_LIMIT_BYTES)

    # Steps.

    def _running(self, operation, container):
        """What a call on a container that must run finds."""
        known = self._require(container)
        with self.engine.call(operation, container.uuid):
            if known.status != RUNNING:
                raise exceptions.WrongState(operation=operation, status=known.status)
        return known

    def _require(self, container):
        self._check()
        known = self.engine.find(container)
        if known is None:
            raise exceptions.EngineContainerMissing()
        return known

    @contextlib.contextmanager
    def _call(self, attempt, operation, container, stage):
        """Around one effect; the container must still be there when its time has come."""
        attempt.enter(stage)
        if operation in _DESTRUCTIVE:
            attempt.gate_destructive()
        else:
            attempt.gate()
        self._compare()
        with self.engine.call(operation, container.uuid, attempt):
            if operation not in ('create', 'delete') and not self.engine.find(container):
                raise exceptions.EngineContainerMissing()
            yield

    @staticmethod
    def _remember(attempt, known):
        if attempt.remembered.get('engine_id') != known.engine_id:
            attempt.remember(engine_id=known.engine_id, started_at=known.starts, restart_count=0)

    @staticmethod
    def _has_restarted(attempt, known):
        return (attempt.remembered.get('engine_id') == known.engine_id
                and attempt.remembered.get('started_at') != known.starts)

    @staticmethod
    def _check_removable(known, force, stop):
        if known.status in _ALIVE and not (force or stop):
            raise exceptions.WrongState(
                operation='delete', status=known.status,
                hint='Stop it first, or delete it with stop=true or force=true.')

    def _create(self, attempt, container):
        self._check()
        networks = self._networks(container)
        known = self._make(attempt, container, networks)
        if container.spec.get('files') and not known.starts:
            attempt.enter('copying files')
            attempt.gate()
            known.files.update(container.files())
        return known

    def _networks(self, container):
        """The names of the networks that a container is to be attached to."""
        if docker_request.has_host_network(container.spec):
            return [powers.HOST]
        return [self._network(net['network'], f'nets[{at}].network')
                for at, net in enumerate(container.spec.get('nets') or ())]

    def _network(self, reference, field='network'):
        for name, (network_id, driver) in self.engine.networks.items():
            if reference in (name, network_id):
                if driver in ('host', 'null'):
                    raise exceptions.NetworkRefused(field=field, network=reference)
                return name
        raise exceptions.NetworkNotFound(field=field, network=reference, bay=self.bay.name)

    def _make(self, attempt, container, networks):
        known = self.engine.find(container)
        if known:
            return self._adopt(known, container)
        policy = (container.spec.get('image_pull_policy') or 'ifnotpresent').lower()
        if policy == 'always' and not attempt.pulled:
            raise exceptions.ImageAbsent(image=container.image)
        if not self.engine.has_image(container.image):
            if policy == 'never':
                raise exceptions.ImageNotFound(
                    f'The image {container.image} is not on the engine, and the pull policy '
                    f'"never" forbids to pull it.')
            raise exceptions.ImageAbsent(image=container.image)
        if container.spec.get('disk') and not self.engine.limits_disk:
            raise exceptions.UnsupportedByDriver(
                'disk: the storage driver of this engine cannot limit it.',
                hint='Leave disk out, or place the container on another bay.')
        docker_request.host_paths(container.spec)
        with self._call(attempt, 'create', container, 'creating'):
            known = self.engine.find(container)
            return (self._adopt(known, container) if known else
                    self.engine.add(container, networks))

    @staticmethod
    def _adopt(known, container):
        if known.labels.get(base.LABEL_DIGEST) != container.digest:
            raise exceptions.EngineConflict(
                f'The engine has container {container.engine_name} already, made from another '
                f'image or with other options.')
        return known

    def _start(self, attempt, known):
        if self._has_restarted(attempt, known) or known.status == RUNNING:
            return self._observed(known)
        if known.status == PAUSED:
            raise exceptions.WrongState(operation='start', status=known.status,
                                        hint='Unpause it instead.')
        self._remember(attempt, known)
        attempt.enter('starting')
        attempt.gate()
        with self.engine.call('start', known.uuid, attempt):
            if known.engine_id not in self.engine.containers:
                raise exceptions.EngineContainerMissing()
            if known.status not in _ALIVE and not self._has_restarted(attempt, known):
                self.engine.start(known)
            return self._observed(known)

    def _freeze(self, attempt, container, operation, before, after):
        known = self._require(container)
        if known.status not in (before, after):
            raise exceptions.WrongState(operation=operation, status=known.status)
        if known.status == after:
            return self._observed(known)
        with self._call(attempt, operation, container,
                        'pausing' if operation == 'pause' else 'unpausing'):
            if known.status == before:
                self.engine.freeze(known, after, operation)
            elif known.status != after:
                raise exceptions.WrongState(operation=operation, status=known.status)
            return self._observed(known)

    def _observed(self, known):
        alive = known.status in _ALIVE
        details = {RUNNING: 'Up', PAUSED: 'Up (Paused)', STOPPED: f'Exited ({known.exit_code})'}
        return base.Observed(
            status=known.status, engine_id=known.engine_id,
            status_detail=details.get(known.status, known.status), exit_code=known.exit_code,
            error=known.error, started_at=known.started_at, finished_at=known.finished_at,
            oom_killed=known.oom_killed, health=known.health,
            ports=known.ports, addresses=_addresses(known) if alive else
            {name: [] for name in known.networks})


def _powers(known):
    given = {powers.PRIVILEGED: powers.PRIVILEGED in powers.of(known.spec),
             powers.HOST_NETWORK: powers.HOST in known.networks,
             powers.BIND_MOUNTS: docker_request.host_paths(known.spec)}
    return (*(power for power, has in given.items() if has), *known.powers)


def _addresses(known):
    """Addresses by network: those that were asked for, else one made of the engine id."""
    octets = int(known.engine_id[:4], 16)
    wanted = {net['network']: net for net in known.spec.get('nets') or ()}
    found = {}
    for name in known.networks:
        net = wanted.get(name, {})
        given = [(4, net.get('v4-fixed-ip') or f'10.88.{octets >> 8}.{octets & 255}'),
                 (6, net.get('v6-fixed-ip'))]
        found[name] = [{'addr': address, 'version': version, 'port': None, 'subnet_id': None,
                        'preserve_on_delete': False} for version, address in given if address]
    return found


def _ports(spec):
    ports = [int(port.partition('/')[0]) for port in spec.get('exposed_ports') or ()]
    ports += [port['container_port'] for port in spec.get('published_ports') or ()]
    return tuple(sorted(set(ports)))


def parse_endpoint(endpoint):
    """Return (engine name, options) of a ``fake://`` endpoint.  Raises ValueError."""
    url = urllib.parse.urlsplit(endpoint)
    if url.scheme != 'fake' or url.path not in ('', '/') or url.fragment:
        raise ValueError('must be like fake://NAME?option=value')
    if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_.-]*', url.netloc):
        raise ValueError('must name the engine with letters, digits, "_", "." and "-"')
    options = {}
    for name, value in urllib.parse.parse_qsl(url.query, keep_blank_values=True):
        if name in _NUMBERS:
            options[name] = _seconds(name, value)
        elif name in _LISTS:
            options.setdefault(name, []).extend(filter(None, value.split(',')))
        elif name in _FLAGS:
            if value not in ('true', 'false'):
                raise ValueError(f'has {name} which must be true or false')
            options[name] = value == 'true'
        else:
            raise ValueError(f'has an unknown option {name}')
    unknown = set(options.get('fail', ())) - _OPERATIONS
    if unknown:
        raise ValueError(f'has in fail what is no operation: {", ".join(sorted(unknown))}')
    return url.netloc, options


def _nanoseconds(moment):
    """Nanoseconds since the epoch of a naive UTC time; a float has too few digits for them."""
    seconds = moment.replace(microsecond=0, tzinfo=datetime.UTC).timestamp()
    return int(seconds) * 10 ** 9 + moment.microsecond * 1000


def _seconds(name, value):
    if not re.fullmatch(r'[0-9]+([.][0-9]+)?', value, re.ASCII):
        raise ValueError(f'has {name} which must be a number of seconds')
    return float(value)


def _full_reference(image):
    """Return the reference with the tag ``latest`` if it has neither tag nor digest."""
    return references.join(*references.split(image))


@dataclasses.dataclass
class _Result:
    """What a command does: texts by stream, exit code, how long (None: until it is stopped)."""
    written: list
    exit_code: int = 0
    seconds: float = 0


def _missing(command):
    return bool(command) and 'no-such' in command[0]


def _interpret(command):
    """Return what a command does; see the module's text for the few that are known."""
    if not command:
        return _Result([], seconds=None)
    if command[:2] == ['sh', '-c'] and len(command) > 2:
        parts = [shlex.split(part) for part in command[2].split(';') if part.strip()]
    else:
        parts = [command]
    result = _Result([])
    for part in parts:
        stream = 'stdout'
        if part[-1] == '>&2':
            part, stream = part[:-1], 'stderr'
        name, *arguments = part
        if name == 'echo':
            result.written.append((stream, ' '.join(arguments) + '\n'))
        elif name == 'sleep' and arguments:
            result.seconds += float(arguments[0])
        elif name == 'exit':
            result.exit_code = int(arguments[0]) if arguments else 0
            break
        elif name in ('true', 'false'):
            result.exit_code = int(name == 'false')
        else:
            result.seconds = None
            break
    return result
