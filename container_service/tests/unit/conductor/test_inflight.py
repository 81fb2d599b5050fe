# SPDX-License-Identifier: Apache-2.0
"""The in-flight map, with real threads and no clock: events say what happens when."""

import collections
import threading

from container_service.conductor import inflight
from container_service.tests import base

WAIT = 10        # seconds until a test that hangs is a failure


class Store:
    """What is to be done, as SQL would know it; ``work`` and ``pick`` of an InFlight."""

    def __init__(self, **queues):
        self.lock = threading.Lock()
        self.queues = {name: collections.deque(queue) for name, queue in queues.items()}
        self.done = []                  # (container, item) in the order they ended
        self.working = collections.Counter()
        self.most_of_one = 0            # most slots that worked on one container at once
        self.most = 0                   # most slots at work at once
        self.idle = threading.Condition(self.lock)
        self.before = lambda name: None
        self.after = lambda name, found: None

    def add(self, name, item):
        with self.lock:
            self.queues.setdefault(name, collections.deque()).append(item)

    def work(self, name):
        self.before(name)
        with self.lock:
            self.working[name] += 1
            self.most_of_one = max(self.most_of_one, self.working[name])
            self.most = max(self.most, sum(1 for count in self.working.values() if count))
            queue = self.queues.get(name)
            found = bool(queue)
            if found:
                self.done.append((name, queue.popleft()))
            self.idle.notify_all()
        self.after(name, found)
        with self.lock:
            self.working[name] -= 1
        return found

    def pick(self, leave_out):
        with self.lock:
            return next((name for name, queue in self.queues.items()
                         if queue and name not in leave_out), None)

    def wait_done(self, count):
        with self.lock:
            return self.idle.wait_for(lambda: len(self.done) >= count, WAIT)


class InFlightCase(base.TestCase):

    executor = 'threaded'

    def make(self, store, workers=4, pick=None):
        made = inflight.InFlight(self.executor, workers, store.work, pick or store.pick)
        # Idle threads of the pool notice only within a second that they are to go.
        self.addCleanup(made._executor.shutdown, wait=False)
        return made

    def gate(self):
        """An event to hold work with, that never outlives the test."""
        event = threading.Event()
        self.addCleanup(event.set)
        return event

    def wait(self, event):
        self.assertTrue(event.wait(WAIT), 'did not come')

    def drained(self, made):
        """Wait until nothing is in flight."""
        with made._condition:
            self.assertTrue(made._condition.wait_for(lambda: not made._slots, WAIT))


class TestOrder(InFlightCase):

    def test_the_actions_of_a_container_in_order_by_one_slot(self):
        store = Store(a=range(20))
        made = self.make(store)
        self.assertEqual(inflight.ACCEPTED, made.wake('a'))
        self.assertTrue(store.wait_done(20))
        self.drained(made)
        self.assertEqual([('a', i) for i in range(20)], store.done)
        self.assertEqual(1, store.most_of_one)

    def test_a_container_in_flight_gets_no_second_slot(self):
        store = Store(a=[1])
        entered, release = self.gate(), self.gate()
        store.before = lambda name: (entered.set(), release.wait(WAIT))
        made = self.make(store)
        made.wake('a')
        self.wait(entered)
        self.assertEqual([inflight.FOLDED] * 5, [made.wake('a') for _ in range(5)])
        self.assertEqual({'a'}, made.snapshot())
        self.assertIn('a', made)
        release.set()
        self.drained(made)
        self.assertEqual(1, store.most_of_one)
        self.assertEqual(0, len(made))

    def test_containers_are_worked_on_side_by_side(self):
        store = Store(a=[1], b=[1])
        together = threading.Barrier(2, timeout=WAIT)
        first = {'a', 'b'}
        store.before = lambda name: name in first and (first.remove(name), together.wait())
        made = self.make(store, workers=2)
        made.wake('a')
        made.wake('b')
        self.assertTrue(store.wait_done(2))


class TestNoWakeIsLost(InFlightCase):

    def test_a_wake_between_nothing_left_and_gone(self):
        """The work comes after the slot looked, the wake before it leaves."""
        store = Store()
        looked, release = self.gate(), self.gate()

        def after(name, found):
            if not found and not looked.is_set():
                looked.set()
                release.wait(WAIT)

        store.after = after
        made = self.make(store, pick=lambda leave_out: None)
        made.wake('a')
        self.wait(looked)
        store.add('a', 1)
        self.assertEqual(inflight.FOLDED, made.wake('a'))
        release.set()
        self.drained(made)
        self.assertEqual([('a', 1)], store.done)

    def test_a_wake_while_the_slot_asks_for_the_next_container(self):
        store = Store()
        picking, release = self.gate(), self.gate()

        def pick(leave_out):
            if not picking.is_set():
                picking.set()
                release.wait(WAIT)
            return None

        made = self.make(store, pick=pick)
        made.wake('a')
        self.wait(picking)
        store.add('a', 1)
        self.assertEqual(inflight.FOLDED, made.wake('a'))
        release.set()
        self.drained(made)
        self.assertEqual([('a', 1)], store.done)

    def test_a_wake_for_another_that_found_the_pool_full_while_the_slot_asked(self):
        """Dropped after the pick had looked: the slot must look again before it goes."""
        store = Store(a=[1])
        picking, release = self.gate(), self.gate()

        def pick(leave_out):
            found = store.pick(leave_out)
            if not picking.is_set():
                picking.set()
                release.wait(WAIT)
            return found

        made = self.make(store, workers=1, pick=pick)
        made.wake('a')
        self.wait(picking)
        store.add('b', 1)
        self.assertEqual(inflight.FULL, made.wake('b'))
        release.set()
        self.drained(made)
        self.assertEqual([('a', 1), ('b', 1)], store.done)

    def test_many_threads_let_go_together(self):
        """Each adds work, then wakes: nobody ever looks again, and yet all of it is done."""
        threads, rounds, names = 8, 25, 'abcde'
        for workers in (1, 3, 8):
            store = Store()
            made = self.make(store, workers=workers)
            start = threading.Barrier(threads, timeout=WAIT)

            def ring(number, start=start, store=store, made=made):
                start.wait()
                for i in range(rounds):
                    name = names[(number + i) % len(names)]
                    store.add(name, (number, i))
                    made.wake(name)

            ringers = [threading.Thread(target=ring, args=(number,)) for number in range(threads)]
            for thread in ringers:
                thread.start()
            for thread in ringers:
                thread.join(WAIT)
            self.assertTrue(store.wait_done(threads * rounds), f'{len(store.done)} done')
            self.drained(made)
            self.assertEqual(threads * rounds, len(store.done))
            self.assertEqual(1, store.most_of_one)
            self.assertLessEqual(store.most, workers)


class TestFullPool(InFlightCase):

    def test_a_full_pool_counts_and_drops(self):
        store = Store(a=[1], b=[1])
        entered, release = self.gate(), self.gate()
        store.before = lambda name: (entered.set(), release.wait(WAIT))
        made = self.make(store, workers=1)
        made.wake('a')
        self.wait(entered)
        self.assertEqual(0, made.full)
        self.assertEqual([inflight.FULL] * 2, [made.wake('b'), made.wake('b')])
        self.assertEqual((2, {'a'}), (made.full, made.snapshot()))

    def test_a_freed_slot_picks_the_next(self):
        """Nobody wakes b or c again, and there is no sweep here."""
        store = Store(a=[1], b=[1, 2], c=[1])
        entered, release = self.gate(), self.gate()
        store.before = lambda name: (entered.set(), release.wait(WAIT))
        made = self.make(store, workers=1)
        made.wake('a')
        self.wait(entered)
        made.wake('b')
        made.wake('c')
        release.set()
        self.drained(made)
        self.assertEqual([('a', 1), ('b', 1), ('b', 2), ('c', 1)], store.done)

    def test_it_does_not_pick_what_another_slot_works_on(self):
        store = Store(a=[1], b=[1])
        held = {name: (self.gate(), self.gate()) for name in 'ab'}
        left_out = []

        def before(name):
            entered, release = held[name]
            entered.set()
            release.wait(WAIT)

        def pick(leave_out):
            left_out.append(set(leave_out))
            return store.pick(leave_out)

        store.before = before
        made = self.make(store, workers=2, pick=pick)
        made.wake('a')
        made.wake('b')
        for entered, _ in held.values():
            self.wait(entered)
        held['b'][1].set()
        self.assertTrue(store.wait_done(1))
        with made._condition:
            self.assertTrue(made._condition.wait_for(lambda: len(made) == 1, WAIT))
        # Its own container may have something that there was no room for a moment ago.
        self.assertEqual([{'a'}], left_out)
        held['a'][1].set()
        self.drained(made)
        self.assertEqual([('b', 1), ('a', 1)], store.done)

    def test_no_more_slots_than_workers(self):
        store = Store(**{f'c{i}': range(5) for i in range(20)})
        made = self.make(store, workers=3)
        for name in list(store.queues):
            made.wake(name)
        self.assertTrue(store.wait_done(100))
        self.drained(made)
        self.assertLessEqual(store.most, 3)


class TestErrors(InFlightCase):

    def test_a_container_leaves_when_its_work_raises(self):
        """Else no wake would ever reach it again."""
        store = Store(a=[1])
        store.before = lambda name: 1 / 0
        made = self.make(store)
        made.wake('a')
        self.drained(made)
        self.assertIn('ZeroDivisionError', self.log.output)
        store.before = lambda name: None
        self.assertEqual(inflight.ACCEPTED, made.wake('a'))
        self.assertTrue(store.wait_done(1))

    def test_the_slot_is_free_again_when_pick_raises(self):
        store = Store(a=[1], b=[1])
        made = self.make(store, workers=1, pick=lambda leave_out: 1 / 0)
        made.wake('a')
        self.drained(made)
        self.assertEqual(inflight.ACCEPTED, made.wake('b'))
        self.assertTrue(store.wait_done(2))

    def test_a_pool_that_takes_nothing_leaves_no_container_behind(self):
        made = self.make(Store())
        made._executor.shutdown()
        self.assertRaises(RuntimeError, made.wake, 'a')
        self.assertEqual(0, len(made))


class TestStop(InFlightCase):

    def test_it_waits_for_what_runs_and_takes_nothing_new(self):
        store = Store(a=[1, 2], b=[1])
        entered, release = self.gate(), self.gate()
        store.before = lambda name: (entered.set(), release.wait(WAIT))
        made = self.make(store)
        made.wake('a')
        self.wait(entered)
        left, waits = [], self.gate()
        wait_for = made._condition.wait_for
        made._condition.wait_for = lambda *args: (waits.set(), wait_for(*args))[1]
        stopper = threading.Thread(target=lambda: left.append(made.stop(WAIT)))
        stopper.start()
        self.wait(waits)
        self.assertEqual(inflight.STOPPING, made.wake('b'))
        release.set()
        stopper.join(WAIT)
        self.assertEqual([set()], left)
        self.assertEqual([('a', 1)], store.done)        # a's second is for others

    def test_it_tells_what_it_did_not_wait_for(self):
        store = Store(a=[1])
        entered, release = self.gate(), self.gate()
        store.before = lambda name: (entered.set(), release.wait(WAIT))
        made = self.make(store)
        made.wake('a')
        self.wait(entered)
        self.assertEqual({'a'}, made.stop(0))
        release.set()
        self.drained(made)

    def test_what_it_leaves_is_told(self):
        """Peers can be rung for it: here for what was woken again, and what has more to do."""
        left, entered, release = [], threading.Semaphore(0), self.gate()

        def work(name):
            entered.release()
            release.wait(WAIT)
            return name == 'more'

        made = inflight.InFlight(self.executor, 4, work, lambda leave_out: None,
                                 left=left.append)
        self.addCleanup(made._executor.shutdown, wait=False)
        for name in ('more', 'again', 'nothing'):
            made.wake(name)
            self.assertTrue(entered.acquire(timeout=WAIT))
        made.wake('again')
        made.drain()
        release.set()
        self.assertEqual(set(), made.stop(WAIT))
        self.assertEqual(['again', 'more'], sorted(left))

    def test_idle(self):
        made = self.make(Store())
        self.assertEqual(set(), made.stop(WAIT))
        self.assertEqual(inflight.STOPPING, made.wake('a'))


class TestSynchronous(InFlightCase):
    """No pool: whoever wakes does the work."""

    executor = 'synchronous'

    def test_the_caller_works(self):
        store = Store(a=[1, 2])
        threads = set()
        store.before = lambda name: threads.add(threading.current_thread())
        made = self.make(store)
        self.assertEqual(inflight.ACCEPTED, made.wake('a'))
        self.assertEqual([('a', 1), ('a', 2)], store.done)
        self.assertEqual({threading.current_thread()}, threads)
        self.assertEqual(0, len(made))

    def test_it_takes_the_next_container_too(self):
        store = Store(a=[1], b=[1])
        self.make(store).wake('a')
        self.assertEqual([('a', 1), ('b', 1)], store.done)

    def test_a_wake_from_within_is_folded(self):
        store = Store(a=[1])
        said = []
        made = self.make(store)

        def after(name, found):
            if found and not said:
                store.add('a', 2)
                said.append(made.wake('a'))

        store.after = after
        made.wake('a')
        self.assertEqual([inflight.FOLDED], said)
        self.assertEqual([('a', 1), ('a', 2)], store.done)

    def test_an_error_does_not_reach_the_caller(self):
        store = Store(a=[1])
        store.before = lambda name: 1 / 0
        made = self.make(store)
        self.assertEqual(inflight.ACCEPTED, made.wake('a'))
        self.assertEqual(0, len(made))


class TestLanes(base.TestCase):

    @staticmethod
    def admitted(workers, bays, *asked):
        """Let actions, given as (bay, urgent), in one after the other; returns who got in."""
        lanes, slots, told = inflight.Lanes(workers), [], []
        for bay, urgent in asked:
            told.append(lanes.has_room(slots, bay, urgent, bays))
            if told[-1]:
                slots.append(inflight._Slot(bay=bay, urgent=urgent))
        return told

    def count(self, workers, bays, bay='a', urgent=False):
        return sum(self.admitted(workers, bays, *[(bay, urgent)] * (workers + 5)))

    def test_some_are_kept_for_urgent_actions(self):
        for workers, most in ((1, 1), (2, 1), (8, 7), (32, 31), (100, 95)):
            self.assertEqual(most, self.count(workers, 1))
            self.assertEqual(workers, self.count(workers, 1, urgent=True))

    def test_one_bay_leaves_a_quarter_to_the_others(self):
        for workers, most in ((1, 1), (4, 3), (8, 6), (32, 24)):
            self.assertEqual(most, self.count(workers, 2, urgent=True))
        for workers, most in ((1, 1), (2, 1), (4, 2), (8, 5), (32, 23)):
            self.assertEqual(most, self.count(workers, 2))

    def test_urgent_actions_of_a_bay_that_hangs_leave_room_for_another(self):
        stops = [('a', True)] * 12
        self.assertEqual([True] * 6 + [False] * 6 + [True, False, True],
                         self.admitted(8, 2, *stops, ('b', False), ('b', False), ('b', True)))

    def test_what_is_run_by_its_caller_takes_no_room(self):
        lanes = inflight.Lanes(2)
        extra = [inflight._Slot(bay='a', extra=True)] * 5
        self.assertTrue(lanes.has_room(extra, 'a', False, 2))


class TestAdmission(InFlightCase):
    """Actions that run are held by events; what each asked for is in its name."""

    def make_lanes(self, workers, bays=1, policy=inflight.QUEUE, **queues):
        """Containers whose names begin with their bay; those with ! are urgent."""
        self.store = Store(**{name: collections.deque(queue) for name, queue in queues.items()})
        self.held = {name: (self.gate(), self.gate()) for name in queues}
        self.refused = []

        def work(name):
            if not self.store.queues.get(name):
                return False
            if not made.admit(name, name[0], name.endswith('_urgent')):
                self.refused.append(name)
                return False
            entered, release = self.held[name]
            entered.set()
            release.wait(WAIT)
            self.store.work(name)
            return bool(self.store.queues[name])

        def pick(leave_out):
            urgent_only, sated, full = made.room()
            with self.store.lock:
                for name, queue in self.store.queues.items():
                    urgent = name.endswith('_urgent')
                    if queue and name not in leave_out and name[0] not in full and (
                            urgent or not (urgent_only or name[0] in sated)):
                        return name
            return None

        made = inflight.InFlight(self.executor, workers, work, pick, bays=lambda: bays,
                                 policy=policy)
        self.addCleanup(made._executor.shutdown, wait=False)
        return made

    def entered(self, *names):
        for name in names:
            self.wait(self.held[name][0])

    def release(self, *names):
        for name in names:
            self.held[name][1].set()

    def settled(self, made, count):
        with made._condition:
            self.assertTrue(made._condition.wait_for(lambda: len(made._slots) == count, WAIT))

    def test_an_urgent_action_does_not_wait_behind_the_others(self):
        made = self.make_lanes(2, a=[1], a2=[1], a_urgent=[])
        made.wake('a')
        self.entered('a')
        made.wake('a2')
        self.settled(made, 1)                  # it asked, and left its slot
        self.assertEqual((['a2'], 1, True), (self.refused, made.full, made.is_full))
        self.store.add('a_urgent', 1)
        made.wake('a_urgent')
        self.entered('a_urgent')
        self.release('a_urgent', 'a')
        self.entered('a2')                     # nobody woke it again
        self.release('a2')
        self.settled(made, 0)
        self.assertEqual({'a', 'a2', 'a_urgent'}, {name for name, _ in self.store.done})
        self.assertFalse(made.is_full)

    def test_a_bay_leaves_room_for_others(self):
        made = self.make_lanes(8, bays=2, **{f'a{number}': [1] for number in range(7)}, b1=[])
        for name in self.store.queues:
            if name[0] == 'a':
                made.wake(name)
        self.settled(made, 5)
        self.assertEqual((False, {'a'}, set()), made.room())
        self.assertEqual(2, len(self.refused))
        self.store.add('b1', 1)
        made.wake('b1')
        self.entered('b1')
        self.release(*self.held)
        self.settled(made, 0)
        self.assertEqual(8, len(self.store.done))

    def test_the_lane_is_chosen_again_after_each_action(self):
        """An urgent action may not carry the next one in with it."""
        made = self.make_lanes(2, a=[1], b=[1, 2])
        urgent = [True]
        admit = made.admit
        made.admit = lambda name, bay, _: admit(name, bay, name == 'b' and urgent[0])
        made.wake('a')
        self.entered('a')
        made.wake('b')
        self.entered('b')
        urgent[0] = False
        self.release('b')
        self.settled(made, 1)
        self.assertEqual(['b'], self.refused)
        self.release('a')
        self.settled(made, 0)
        self.assertEqual(3, len(self.store.done))

    def test_full_when_only_the_reserved_slots_are_left(self):
        """It said so only when those were taken too, which hardly ever came to be."""
        made = self.make_lanes(2, a=[1])
        self.assertFalse(made.is_full)
        made.wake('a')
        self.entered('a')
        self.assertTrue(made.is_full)

    def test_caller_runs(self):
        made = self.make_lanes(2, policy=inflight.CALLER_RUNS, a=[1], b=[1], c=[1])
        made.wake('a')
        self.entered('a')
        ran = []
        before = self.store.before
        self.store.before = lambda name: (ran.append(threading.current_thread()), before(name))
        self.release('b')
        self.assertEqual(inflight.ACCEPTED, made.wake('b', caller_may_run=True))
        self.assertEqual([threading.current_thread()], ran)
        self.assertEqual(([('b', 1)], 1, {'a'}), (self.store.done, made.full, made.snapshot()))
        # Who must not be held up leaves it to the pool.
        made.wake('c')
        self.settled(made, 1)
        self.assertEqual(['c'], self.refused)

    def test_the_caller_runs_what_is_next_of_the_same_container(self):
        made = self.make_lanes(1, policy=inflight.CALLER_RUNS, a=[1], b=[1, 2])
        made.wake('a')
        self.entered('a')
        self.release('b')
        made.wake('b', caller_may_run=True)
        self.assertEqual([('b', 1), ('b', 2)], self.store.done)

    def test_a_wake_of_what_the_caller_runs_is_not_lost(self):
        made = self.make_lanes(1, policy=inflight.CALLER_RUNS, a=[1], b=[1])
        made.wake('a')
        self.entered('a')
        self.release('b')
        drain, said = made._drain, []

        def drained(name):
            drain(name)
            if name == 'b' and not said:
                self.store.add('b', 2)
                said.append(made.wake('b', caller_may_run=True))

        made._drain = drained
        made.wake('b', caller_may_run=True)
        self.assertEqual(([inflight.FOLDED], [('b', 1), ('b', 2)]), (said, self.store.done))

    def test_an_error_of_what_the_caller_runs_leaves_nothing_behind(self):
        made = self.make_lanes(1, policy=inflight.CALLER_RUNS, a=[1], b=[1])
        made.wake('a')
        self.entered('a')
        self.release('b')
        self.store.before = lambda name: 1 / 0
        made.wake('b', caller_may_run=True)
        self.assertIn('ZeroDivisionError', self.log.output)
        self.assertEqual({'a'}, made.snapshot())
        self.store.before = lambda name: None

    def test_the_other_policies_never_run_in_the_caller(self):
        for policy in (inflight.QUEUE, inflight.REJECT):
            made = self.make_lanes(1, policy=policy, a=[1], b=[1])
            made.wake('a')
            self.entered('a')
            self.assertEqual(inflight.FULL, made.wake('b', caller_may_run=True))
            self.release('a', 'b')
            self.settled(made, 0)
            self.assertEqual([('a', 1), ('b', 1)], self.store.done)

    def test_what_is_not_in_flight_is_not_admitted(self):
        made = self.make_lanes(2, a=[1])
        self.assertFalse(made.admit('a', 'a', False))
        made.stop(0)
        self.assertFalse(made.admit('a', 'a', True))
