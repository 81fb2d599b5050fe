# SPDX-License-Identifier: Apache-2.0
"""Any order of requests and outcomes on two containers, beside a model of a page.

The model keeps lists; it knows nothing of projections that are stored, of fences or of rows.
What each row of the operation table says is written down here a second time, on purpose.
"""

import dataclasses

from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import settings
from hypothesis import stateful
from hypothesis import strategies as st

from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service.db import models
from container_service.db import pulls as pull_rows
from container_service.drivers.base import Observed
from container_service.tests import base

# About twenty seconds.
EXAMPLES, STEPS = 45, 40
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)

RESTING = ('Created', 'Running', 'Stopped', 'Paused', 'Restarting', 'Dead', 'Error', 'Unknown')
LIVE = ('Running', 'Paused', 'Restarting')
# operation: statuses it is accepted in, status when it has succeeded (None: as it was)
ALLOWED = {
    'start': (('Created', 'Stopped', 'Error'), 'Running'),
    'stop': (LIVE, 'Stopped'),
    'reboot': (('Created', 'Running', 'Stopped', 'Error'), 'Running'),
    'pause': (('Running',), 'Paused'),
    'unpause': (('Paused',), 'Running'),
    'hup': (LIVE, None),
    'kill': (LIVE, 'Stopped'),
    'delete': (('Created', 'Stopped', 'Error', 'Dead'), 'Deleted'),
    'delete stop': (('Created', 'Stopped', 'Error', 'Dead', *LIVE), 'Deleted'),
    'delete force': (tuple(operations.CONTAINER_STATUSES - {'Deleted'}), 'Deleted'),
    'update': (('Created', 'Running', 'Stopped', 'Paused'), None),
    'resize_container': (('Created', 'Running', 'Stopped', 'Paused'), None),
    'rename': (RESTING, None),
    'rebuild': (('Created', 'Running', 'Stopped', 'Error'), 'Created'),
    'create': ((), 'Created'), 'run': ((), 'Running'),
}
INTERRUPTED = ('hup', 'execution')          # by the death of their conductor

# Those that leave the status as it is are as the table says: there is nothing more to them.
ALLOWED.update({op.name: (tuple(op.allowed), None) for op in operations.of_kind(operations.ASYNC)
                if op.target is operations.UNCHANGED and op.during is None
                and op.name not in ALLOWED})
FOLDS = ('start', 'stop', 'reboot', 'pause', 'unpause', 'delete', 'delete stop', 'delete force')
CREATING = ('create', 'run')
UNDONE = (*CREATING, 'rebuild')             # cancelled while they run
DURING = {'create': 'Creating', 'run': 'Creating', 'reboot': 'Restarting',
          'rebuild': 'Rebuilding',
          'delete': 'Deleting', 'delete stop': 'Deleting', 'delete force': 'Deleting'}
PARAMS = {'hup': ('kill', {'signal': 'SIGHUP'}), 'delete stop': ('delete', {'stop': True}),
          'delete force': ('delete', {'force': True})}

ASKED = [name for name in ALLOWED if name not in CREATING]


def target(name, status):
    """The status that an operation leads to."""
    if name == 'rebuild' and status == 'Running':
        return status
    return ALLOWED[name][1] or status


def word(action):
    """The operation of a row, in the words of the model."""
    if action.operation == 'kill' and action.params['signal'] == 'SIGHUP':
        return 'hup'
    for option in ('force', 'stop'):
        if action.operation == 'delete' and action.params[option]:
            return f'delete {option}'
    return action.operation


@dataclasses.dataclass
class Action:
    uuid: str
    name: str
    run_anyway: bool = False
    user: str = 'user'
    status: str = 'queued'
    folded: int = 0
    tried: bool = False             # it may have changed something
    asked: bool = False             # to stop
    later: bool = False             # its time has not come
    pulling: bool = False           # it waits for its image
    claim: object = None

    @property
    def is_delete(self):
        return self.name.startswith('delete')


class Container:
    """The model of one container: its status and its actions, oldest first."""

    def __init__(self, uuid, first):
        self.uuid, self.status, self.actions = uuid, 'Creating', [first]
        self.before = None              # the status that an attempt began in

    @property
    def waiting(self):
        return [one for one in self.actions
                if one.status in ('queued', 'running', 'cancelling')]

    @property
    def head(self):
        return next(iter(self.waiting), None)

    def projected(self, waiting=None):
        status = self.status
        for one in self.waiting if waiting is None else waiting:
            status = target(one.name, status)
        return status

    def twin(self, name, run_anyway, user):
        last = self.waiting[-1] if self.waiting else None
        if (last and name in FOLDS and last.status == 'queued' and not last.asked
                and (last.name, last.run_anyway, last.user) == (name, run_anyway, user)):
            return last
        return None

    def end(self, action, status, real=None):
        """An action ends, and with it what depends on it."""
        action.status, action.claim = status, None
        self.status = real or self.status
        if status == 'succeeded':
            return
        for one in self.waiting:
            if self.actions.index(one) > self.actions.index(action):
                if one.is_delete or one.run_anyway:
                    break
                one.status = 'skipped'

    def drop(self, action):
        """A queued action is cancelled that has changed nothing."""
        self.end(action, 'cancelled', 'Error' if action.name in CREATING else None)


WHICH = st.integers(0, 1)
SELDOM = st.sampled_from((False,) * 3 + (True,))
RARELY = st.sampled_from((False,) * 7 + (True,))


def some(condition):
    """Precondition: it holds for one of the containers, so that few steps are wasted."""
    return stateful.precondition(lambda self: any(map(condition, self.containers)))


def is_running(container):
    return bool(container.head and container.head.claim)


class Machine(stateful.RuleBasedStateMachine):
    """Steps name a container by ``which``, and an action of it by ``index``."""

    db = conf = None                # made by the test

    def __init__(self):
        super().__init__()
        self.records = Records(self.conf, self.db)
        self.containers, self.pull = [], None

    @stateful.initialize(names=st.tuples(st.sampled_from(CREATING), st.sampled_from(CREATING)))
    def begin(self, names):
        for name in names:
            accepted = self.records.ask_create(operation=name)
            self.containers.append(
                Container(accepted.container.uuid, Action(accepted.action.uuid, name)))

    def teardown(self):
        self.db.transact(lambda conn: [conn.execute(table.delete()) for table in (
            models.containers, models.actions, models.action_requests, models.pulls)])

    def pick(self, which, condition=lambda container: True):
        """That container, or the other one if only that will do."""
        first, second = self.containers[which], self.containers[1 - which]
        return first if condition(first) else second

    # Requests.

    @stateful.rule(which=WHICH, requests=st.lists(st.fixed_dictionaries({
        'name': st.sampled_from(ASKED), 'again': SELDOM, 'delete': SELDOM,
        'run_anyway': SELDOM, 'other': SELDOM, 'reject': RARELY, 'dry': RARELY,
        'limit': st.sampled_from((None, None, 3))}),
        min_size=1, max_size=4))
    @some(lambda container: container.status != 'Deleted')
    def ask(self, which, requests):
        for request in requests:
            self.ask_one(self.pick(which, lambda container: container.status != 'Deleted'),
                         **request)

    def ask_one(self, container, name, again, delete, run_anyway, other, reject, dry, limit):
        user = 'other' if other else 'user'
        # Most are acceptable and few are deletes, or little would ever happen.
        fits = [one for one in ASKED if container.projected() in ALLOWED[one][0]
                and (delete or not one.startswith('delete'))]
        if again and container.waiting and container.waiting[-1].name not in CREATING:
            name = container.waiting[-1].name
        elif fits:
            name = [*fits, *fits, name][ASKED.index(name) % (2 * len(fits) + 1)]
        operation, params = PARAMS.get(name, (name, {}))
        terms = lifecycle.Terms(
            on_predecessor_failure='run' if run_anyway else 'skip', dry_run=dry,
            if_busy='reject' if reject else 'queue', queue_limit=limit)
        before = self.rows(container)
        try:
            accepted = self.records.ask(operation, container.uuid, terms=terms,
                                        context=base.caller(user_id=user), **params)
        except exceptions.Error as exc:
            assert self.rows(container) == before
            assert exc.code == self.refusal(container, name, run_anyway, user, reject, limit), exc
            return
        assert self.refusal(container, name, run_anyway, user, reject, limit) is None
        if dry:
            assert self.rows(container) == before
            return
        twin = container.twin(name, run_anyway, user)
        assert accepted.folded == (twin is not None)
        if twin:
            assert accepted.action.uuid == twin.uuid
            twin.folded += 1
            return
        if name == 'delete force':
            self.make_way(container, accepted)
        container.actions.append(Action(accepted.action.uuid, name, run_anyway, user))

    @staticmethod
    def make_way(container, accepted):
        gone = []
        for one in container.waiting:
            if one.status == 'queued' and not one.tried:
                one.status = 'cancelled'
                gone.append(one.uuid)
                if one.name in CREATING:
                    container.status = 'Error'
            elif one.status == 'queued':
                one.asked, one.later = True, False
            else:
                one.asked, one.status = True, 'cancelling'
        assert list(accepted.cancelled) == gone

    @staticmethod
    def refusal(container, name, run_anyway, user, reject, limit):
        """The code of the error that a request gets, or None."""
        if container.status == 'Deleted':
            return 'container_not_found'
        if container.waiting and reject:
            return 'container_busy'
        if container.twin(name, run_anyway, user):
            return None
        waiting = container.waiting
        if name == 'delete force':
            waiting = [one for one in waiting
                       if one.is_delete or one.status != 'queued' or one.tried]
        if container.projected(waiting) not in ALLOWED[name][0]:
            return 'invalid_state'
        if limit and len(waiting) >= limit and not name.startswith('delete'):
            return 'queue_full'
        return None

    @stateful.rule(which=WHICH, index=st.integers(0, 3))
    @some(lambda container: len(container.waiting) > 1)
    def cancel(self, which, index):
        container = self.pick(which, lambda container: len(container.waiting) > 1)
        action = container.actions[-1 - index % len(container.actions)]
        try:
            row = self.records.cancel(action.uuid)
        except exceptions.TooLateToCancel:
            assert action.status not in ('queued', 'cancelling')
            assert action.status != 'running' or action.name not in UNDONE
            return
        assert action.status in ('queued', 'cancelling') or action.name in UNDONE
        if action.status == 'queued' and not action.tried:
            container.drop(action)
        elif action.status == 'queued':
            action.later = action.later and action.asked
            action.asked = True
        else:
            action.asked, action.status = True, 'cancelling'
        assert row.status == action.status

    # Conductors.

    @stateful.rule(which=WHICH)
    @some(lambda container: container.head and not container.head.claim)
    def claim(self, which):
        container = self.pick(
            which, lambda container: container.head and not container.head.claim)
        self.take(container)

    def take(self, container):
        claim = self.records.claim(container.uuid)
        head = container.head
        if head is None or head.status != 'queued' or head.later or head.pulling:
            assert claim is None
            return
        assert (claim.action.uuid, claim.first) == (head.uuid, not head.tried)
        head.claim, head.tried = claim, True
        head.status = 'cancelling' if head.asked else 'running'
        container.before = container.status
        container.status = DURING.get(head.name, container.status)

    @stateful.rule(which=WHICH, how=st.sampled_from((
        'succeeds', 'succeeds', 'succeeds', 'succeeds', 'fails', 'fails gone', 'fails unknown',
        'waits', 'is parked', 'is abandoned', 'misses its image', 'misses its image')))
    @some(is_running)
    def goes_on(self, which, how):
        container = self.pick(which, is_running)
        self.come_to(how, container)
        if container.head and not container.head.claim:
            self.take(container)

    def come_to(self, how, container):
        verb, _, detail = how.partition(' ')
        if how == 'is parked':
            verb = 'waits'
        elif how == 'is abandoned':
            verb = 'abandoned'
        getattr(self, verb)(container, container.head, detail)

    def succeeds(self, container, head, _):
        status = target(head.name, container.before)
        try:
            more = lifecycle.succeed(self.db, head.claim, Observed(status))
        except exceptions.Cancelled:
            # It is to be undone instead.
            assert head.status == 'cancelling' and head.name in UNDONE
            return
        assert head.status == 'running' or head.name not in UNDONE
        container.end(head, 'succeeded', status)
        assert more == bool(container.waiting)

    def fails(self, container, head, how):
        status = {'': 'Stopped', 'gone': 'Error', 'unknown': 'Unknown'}[how]
        more = lifecycle.fail(
            self.db, head.claim, ERROR, None if how else Observed(status), status)
        container.end(head, 'failed', status)
        assert more == bool(container.waiting)

    def waits(self, container, head, parked):
        lifecycle.requeue(self.db, head.claim, 'retrying', 'x', 60, parked=bool(parked))
        head.later = not head.asked or head.claim.action.cancel_requested_at is not None
        head.claim, head.status, container.status = None, 'queued', container.before

    def misses(self, container, head, _):
        if head.name not in UNDONE:
            return
        try:
            self.pull = lifecycle.wait_for_pull(self.db, head.claim)
        except exceptions.Cancelled:
            assert head.status == 'cancelling'
            return
        assert head.status == 'running'
        head.claim, head.status, container.status = None, 'queued', container.before
        head.pulling, head.tried = True, False

    def abandoned(self, container, head, _):
        """Its conductor dies, and comes back late."""
        claim = head.claim
        assert lifecycle.take_over(self.db, self.records.action(head.uuid))
        if head.name in INTERRUPTED:
            container.end(head, 'interrupted')
        else:
            head.claim, head.status, head.later = None, 'queued', False
        before = self.rows(container)
        for late in (lambda: lifecycle.succeed(self.db, claim, Observed('Dead')),
                     lambda: lifecycle.fail(self.db, claim, ERROR, Observed('Dead')),
                     lambda: lifecycle.requeue(self.db, claim, 'x', 'x', 0)):
            try:
                late()
            except exceptions.Fenced:
                continue
            raise AssertionError('a dead conductor wrote')
        assert self.rows(container) == before

    @stateful.rule(which=WHICH, left=st.sampled_from((None, 'Running', 'Stopped')))
    @some(lambda container: container.head and container.head.status == 'cancelling')
    def stops(self, which, left):
        """What was asked to stop does so."""
        container = self.pick(which, lambda container: (
            container.head and container.head.status == 'cancelling'))
        head = container.head
        lifecycle.end_cancelled(self.db, head.claim, left and Observed(left), ERROR)
        container.end(head, 'cancelled', left or 'Error')

    @stateful.rule()
    @some(lambda container: container.head and container.head.later)
    def time_passes(self):
        self.records.let_pass(61)
        for container in self.containers:
            for action in container.actions:
                action.later = False

    @stateful.rule()
    @stateful.precondition(lambda self: self.pull)
    def pull_ends(self):
        self.db.transact(lambda conn: conn.execute(
            pull_rows.table.update().values(status='succeeded', live_key=None)))
        self.db.transact(lambda conn: pull_rows.free_waiters(conn, self.pull))
        self.pull = None
        for container in self.containers:
            for action in container.actions:
                action.pulling = False

    @stateful.rule(which=WHICH, status=st.sampled_from(('Running', 'Stopped')))
    @some(lambda container: not container.waiting)
    def seen(self, which, status):
        """By the reconciler, which leaves busy containers alone."""
        container = self.pick(which)
        row = self.records.container(container.uuid)
        written = lifecycle.observe(self.db, row, Observed(status))
        assert written == (not container.waiting and container.status != 'Deleted')
        if written:
            container.status = status

    # What holds after each step.

    def rows(self, container):
        return (self.records.container(container.uuid),
                self.records.actions_of(container.uuid))

    @stateful.invariant()
    def agree(self):
        for container in self.containers:
            row, actions = self.rows(container)
            waiting, head = container.waiting, container.head
            assert [(one.uuid, word(one), one.status, one.coalesced) for one in actions] == [
                (one.uuid, one.name, one.status, one.folded) for one in container.actions]
            assert [one.sequence for one in actions] == list(range(1, len(actions) + 1))
            assert row.status == container.status
            assert row.projected_status == (container.projected() if waiting else None)
            assert row.task_state == (
                head and f'{PARAMS.get(head.name, (head.name,))[0]}-in-progress')
            assert row.running_action_uuid == (head.uuid if head and head.claim else None)
            may_run = bool(head and not head.claim and not head.pulling)
            assert (row.runnable_at is not None) == may_run
            if may_run:
                assert row.head_urgent == int(
                    head.is_delete or head.name in ('stop', 'kill', 'hup'))
            assert (row.live_name is None) == (container.status == 'Deleted')
            # Nothing rests in a transitional status.
            assert waiting or row.status not in ('Creating', 'Deleting', 'Rebuilding')


ERROR = {'code': 'engine_error', 'title': 'Refused', 'detail': 'no', 'stage': None,
         'hint': None, 'retriable': False}


class Records(base.RecordsMixin):

    def __init__(self, conf, db):
        self.conf, self.db = conf, db


class TestModel(base.DatabaseTestCase):

    time_limit = 300

    def test_any_order(self):
        self.make_bay()
        machine = type('Machine', (Machine,), {'conf': self.conf, 'db': self.db})
        stateful.run_state_machine_as_test(machine, settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None,
            derandomize=True, phases=PHASES, suppress_health_check=list(HealthCheck)))

    def test_the_model_speaks_of_the_whole_table(self):
        self.assertEqual({op.name for op in operations.of_kind(operations.ASYNC)},
                         {PARAMS.get(name, (name,))[0] for name in ALLOWED})
