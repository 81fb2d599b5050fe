# SPDX-License-Identifier: Apache-2.0
"""Transitions and races on the databases of deployments.

The cases of the unit tests are run again on each server; the races are real ones, of threads
that are let go together.
"""

import datetime
import os
import threading

import sqlalchemy as sa

from container_service import bays
from container_service import exceptions
from container_service import lifecycle
from container_service import pulls
from container_service import states
from container_service.db import bays as bay_rows
from container_service.db import conductors
from container_service.db import containers
from container_service.db import models
from container_service.db import outages
from container_service.db import paging
from container_service.db import payloads
from container_service.db.base import now
from container_service.drivers.base import Observed
from container_service.tests import base
from container_service.tests.unit import test_acceptance
from container_service.tests.unit import test_cancel
from container_service.tests.unit import test_lifecycle
from container_service.tests.unit import test_pulls

THREADS = 8


class Races:
    """Needs a DatabaseTestCase on a server."""

    time_limit = 120

    def setUp(self):
        super().setUp()
        self.place = self.make_bay()
        self.deadlocks = []
        may_pass = outages.may_pass
        self.patch(outages, 'may_pass', lambda exc: may_pass(exc) and (
            self.deadlocks.append(exc), True)[1])
        self.addCleanup(lambda: self.assertEqual([], self.deadlocks))

    def race(self, *functions):
        """Run the functions at once; returns what each returned or raised."""
        start, outcomes = threading.Barrier(len(functions), timeout=30), [None] * len(functions)

        def run(number, function):
            start.wait()
            try:
                outcomes[number] = function()
            except Exception as exc:
                outcomes[number] = exc

        threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            self.assertFalse(thread.is_alive(), 'a thread hangs')
        return outcomes

    def running(self):
        uuid = self.create(operation='run')
        self.carry_out(uuid)
        return uuid

    def test_one_of_many_claimers_wins(self):
        for _ in range(10):
            uuid = self.create()
            self.submit('start', uuid)
            won = [claim for claim in self.race(*[lambda uuid=uuid: self.claim(uuid)] * THREADS)
                   if claim is not None]
            self.assertEqual(1, len(won), won)
            create, start = self.actions_of(uuid)
            self.assertEqual((states.ACTION_RUNNING, won[0].uuid, 1, states.QUEUED),
                             (create.status, create.claim_uuid, create.attempts, start.status))

    def test_submits_at_once_stand_in_one_line(self):
        uuid = self.running()
        accepted = self.race(*[lambda: self.submit('kill', uuid, signal='SIGHUP')] * THREADS)
        rows = self.actions_of(uuid)[1:]
        self.assertEqual(set(accepted), {row.uuid for row in rows})
        self.assertEqual(list(range(2, THREADS + 2)), [row.sequence for row in rows])
        self.assertEqual(THREADS + 2, self.container(uuid).next_sequence)

    def test_of_submits_that_exclude_each_other_one_is_accepted(self):
        for operation, params in (('stop', {}), ('pause', {}), ('delete', {'force': True})):
            uuid = self.running()
            outcomes = self.race(*[
                lambda o=operation, u=uuid, p=params, n=number: self.ask(
                    o, u, context=base.caller(user_id=f'user{n}'), **p)
                for number in range(THREADS)])
            refused = [one for one in outcomes if isinstance(one, exceptions.InvalidState)]
            self.assertEqual(THREADS - 1, len(refused), outcomes)
            self.assertEqual(2, len(self.actions_of(uuid)))

    def test_equal_submits_are_one(self):
        for operation, params in (('stop', {}), ('reboot', {}), ('delete', {'force': True})):
            uuid = self.running()
            found = self.race(
                *[lambda o=operation, u=uuid, p=params: self.submit(o, u, **p)] * THREADS)
            action, = set(found)
            self.assertEqual(THREADS - 1, self.action(action).coalesced)
            self.assertEqual(2, len(self.actions_of(uuid)))

    def test_one_key_is_one_action(self):
        """Also where the same request would be refused the second time."""
        uuid = self.running()
        for number, ask in enumerate((
                lambda terms: self.ask('kill', uuid, signal='SIGHUP', terms=terms),
                lambda terms: self.ask('stop', uuid, terms=terms),
                lambda terms: self.ask_create('web', terms=terms))):
            terms = lifecycle.Terms(key=f'key{number}', fingerprint='f', if_busy='queue')
            found = self.race(*[lambda ask=ask, terms=terms: ask(terms)] * THREADS)
            self.assertEqual([lifecycle.Accepted] * THREADS, [type(one) for one in found])
            self.assertEqual(1, len({one.action.uuid for one in found}))
            self.assertEqual(1, len([one for one in found if not one.replayed]))
        self.assertEqual(3, len(self.actions_of(uuid)))

    def test_a_cancel_against_a_claim(self):
        """Either it never ran, or whoever runs it is asked to stop."""
        for _ in range(10):
            uuid = self.create()
            action = self.actions_of(uuid)[0].uuid
            cancelled, claim = self.race(lambda action=action: self.cancel(action),
                                         lambda uuid=uuid: self.claim(uuid))
            if claim is None:
                self.assertEqual(states.CANCELLED, cancelled.status)
                self.assert_at_rest(uuid, states.ERROR)
            else:
                self.assertEqual(states.CANCELLING, cancelled.status)
                self.assertEqual(states.CANCELLING, self.action(action).status)

    def wait_for_pull(self, image):
        uuid = self.create(image=image)
        return uuid, self.claim(uuid)

    def test_those_that_miss_an_image_share_a_pull(self):
        for number in range(5):
            claims = [self.wait_for_pull(f'far/away:{number}')[1] for _ in range(THREADS)]
            found = self.race(*[lambda claim=claim: lifecycle.wait_for_pull(self.db, claim)
                                for claim in claims])
            self.assertEqual(1, len(set(found)), found)

    def test_cancels_and_comers_against_the_end_of_a_pull(self):
        """Nobody waits for what has ended, and nothing is offered that cannot be claimed."""
        for number in range(10):
            made = [self.wait_for_pull(f'far/away:{number}') for _ in range(4)]
            pull, = {lifecycle.wait_for_pull(self.db, claim) for _, claim in made[:3]}
            claim = pulls.claim(self.db, pull, base.Conductor())
            gone = [self.actions_of(uuid)[0].uuid for uuid, _ in made[:2]]
            ended, joined, *cancelled = self.race(
                lambda claim=claim: pulls.end(self.db, claim, states.SUCCEEDED),
                lambda late=made[3][1]: lifecycle.wait_for_pull(self.db, late),
                *[lambda action=action: self.cancel(action) for action in gone])
            self.assertEqual(['cancelled'] * 2, [one.status for one in cancelled])
            for uuid, _ in made[:2]:
                self.assert_at_rest(uuid, states.ERROR)
            self.assertIsNotNone(self.claim(made[2][0]))
            self.assertIn(made[2][0], ended)
            runnable = self.container(made[3][0]).runnable_at is not None
            self.assertEqual(joined == pull, runnable)

    def test_one_of_many_gets_the_name(self):
        outcomes = self.race(*[lambda: self.create('web')] * THREADS)
        refused = [one for one in outcomes if isinstance(one, exceptions.NameTaken)]
        self.assertEqual(THREADS - 1, len(refused), outcomes)
        with self.db.read() as conn:
            for table in (containers.table, models.actions):
                self.assertEqual(1, conn.execute(
                    sa.select(sa.func.count()).select_from(table)).scalar_one())

    def test_one_of_many_takes_over(self):
        uuid = self.create()
        claim = self.claim(uuid)
        row = self.action(claim.action.uuid)
        freed = self.race(*[lambda: lifecycle.take_over(self.db, row)] * THREADS)
        self.assertEqual([True], [one for one in freed if one is not False])
        self.assertEqual(claim.fence + 1, self.container(uuid).fence)

    def test_an_outcome_against_a_takeover(self):
        """Either it is written, or it is fenced and the action is free: never both."""
        for _ in range(10):
            uuid = self.create()
            claim = self.claim(uuid)
            row = self.action(claim.action.uuid)
            written, freed = self.race(
                lambda claim=claim: lifecycle.succeed(self.db, claim, Observed(states.CREATED)),
                lambda row=row: lifecycle.take_over(self.db, row))
            if freed is True:
                self.assertIsInstance(written, exceptions.Fenced)
                self.assertEqual([('create', states.QUEUED)], self.outcomes(uuid))
            else:
                self.assertEqual((False, False), (freed, written))
                self.assert_at_rest(uuid, states.CREATED)

    def test_a_submit_against_the_end_of_the_queue(self):
        """Whoever is second sees what the first left: nothing queued is forgotten."""
        for _ in range(10):
            uuid = self.create()
            claim = self.claim(uuid)
            start, _ = self.race(
                lambda uuid=uuid: self.submit('start', uuid),
                lambda claim=claim: lifecycle.succeed(self.db, claim, Observed(states.CREATED)))
            row = self.container(uuid)
            self.assertEqual(('start-in-progress', states.RUNNING),
                             (row.task_state, row.projected_status))
            self.assertEqual(start, self.claim(uuid).action.uuid)

    def test_an_observation_against_a_submit(self):
        for _ in range(10):
            uuid = self.running()
            row = self.container(uuid)
            _, submitted = self.race(
                lambda row=row: lifecycle.observe(self.db, row, Observed(states.STOPPED)),
                lambda uuid=uuid: self.submit('pause', uuid))
            status = self.container(uuid).status
            if isinstance(submitted, exceptions.InvalidState):
                self.assert_at_rest(uuid, states.STOPPED)
            else:
                self.assertEqual((states.RUNNING, 'pause-in-progress'),
                                 (status, self.container(uuid).task_state))

    def test_a_create_against_the_end_of_its_bay(self):
        """No container is left on a bay that is not there."""
        admin = base.caller('admins', is_admin=True)
        for number in range(5):
            bay = self.make_bay(f'bay{number}')
            created, deleted, _ = self.race(
                lambda bay=bay: self.accept_create(bay=bay.uuid),
                lambda bay=bay: bays.delete(admin, self.db, bay.uuid),
                lambda bay=bay: self.accept_create(bay=bay.uuid))
            with self.db.read() as conn:
                count = containers.count_on_bay(conn, bay.uuid)
            if deleted is False:
                self.assertIsInstance(created, exceptions.BayNotFound)
                self.assertEqual(0, count)
            else:
                self.assertIsInstance(deleted, exceptions.BayInUse)

    def test_a_storm(self):
        """Four callers and three conductors on three containers: all is done, in order, once."""
        uuids = [self.running() for _ in range(3)]
        submitted, stop = [], threading.Event()
        ended = []

        def ask(number):
            for i in range(8):
                uuid = uuids[(number + i) % len(uuids)]
                submitted.append(self.submit('kill', uuid, signal='SIGHUP'))

        def conduct():
            conductor = base.Conductor()
            while True:
                last = stop.is_set()
                found = False
                for uuid in uuids:
                    claim = self.claim(uuid, conductor)
                    if claim is not None:
                        found = True
                        lifecycle.progress(self.db, claim, stage='killing')
                        lifecycle.succeed(self.db, claim, Observed(states.RUNNING))
                        ended.append(claim.action.uuid)
                if last and not found:
                    return

        asking = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        failures = []

        def conductor():
            try:
                conduct()
            except Exception as exc:
                failures.append(exc)

        conducting = [threading.Thread(target=conductor) for _ in range(3)]
        for thread in asking + conducting:
            thread.start()
        for thread in asking:
            thread.join(60)
        stop.set()
        for thread in conducting:
            thread.join(60)
        self.assertEqual([], failures)
        self.assertEqual(32, len(submitted))
        self.assertEqual(sorted(submitted), sorted(ended))
        for uuid in uuids:
            self.assert_at_rest(uuid, states.RUNNING)
            rows = self.actions_of(uuid)
            self.assertEqual({states.SUCCEEDED}, {row.status for row in rows})
            self.assertEqual([1] * len(rows), [row.attempts for row in rows])
            for before, after in zip(rows, rows[1:]):
                self.assertLess(before.fence, after.fence)
                self.assertLessEqual(before.finished_at, after.started_at)

    def test_a_row_that_another_holds_is_waited_for(self):
        """What is read under the lock is what the other left, not what was there before."""
        uuid = self.create()
        locked, let_go = threading.Event(), threading.Event()
        self.addCleanup(let_go.set)

        def hold():
            def unit(conn):
                row = containers.lock_uuid(conn, uuid)
                locked.set()
                let_go.wait(30)
                containers.update(conn, uuid, {'projected_status': states.RUNNING,
                                               'next_sequence': row.next_sequence + 5})
            self.db.transact(unit)

        holder = threading.Thread(target=hold)
        holder.start()
        self.assertTrue(locked.wait(30))
        accepted = []
        submitter = threading.Thread(target=lambda: accepted.append(self.submit('stop', uuid)))
        submitter.start()
        submitter.join(0.3)
        self.assertEqual([], accepted)
        let_go.set()
        for thread in (holder, submitter):
            thread.join(30)
        self.assertEqual(7, self.action(accepted[0]).sequence)

    def test_an_archive_as_large_as_may_be(self):
        uuid = self.create()
        self.carry_out(uuid)
        data = os.urandom(self.conf.api.max_archive_bytes)
        action = self.submit('put_archive', uuid, path='/tmp', data=data)
        with self.db.read() as conn:
            self.assertEqual({'data': data}, payloads.of(conn, action))
        self.carry_out(uuid)
        with self.db.read() as conn:
            self.assertEqual({}, payloads.of(conn, action))

    def test_times_have_microseconds_and_are_the_databases(self):
        moment = datetime.datetime(2026, 2, 3, 4, 5, 6, 789012)
        uuid = self.create()
        self.change(containers.table, uuid, started_at=moment)
        self.assertEqual(moment, self.container(uuid).started_at)
        with self.db.read() as conn:
            before, after = conn.execute(sa.select(now(), now(90.5))).one()
        self.assertEqual(90.5, round((after - before).total_seconds(), 3))
        here = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        self.assertLess(abs((before - here).total_seconds()), 2)

    def test_the_clock_does_not_stand_still_in_a_transaction(self):
        """A lease must be measured from when it is written."""
        def unit(conn):
            first = conn.execute(sa.select(now())).scalar_one()
            conn.execute(sa.text({'mysql': 'DO SLEEP(0.05)',
                                  'postgresql': 'SELECT pg_sleep(0.05)'}[self.kind]))
            return (conn.execute(sa.select(now())).scalar_one() - first).total_seconds()

        self.assertGreaterEqual(self.db.transact(unit), 0.05)

    def test_containers_by_what_they_were_created_with(self):
        self.create('aa', auto_remove=True, memory_bytes=64 * 2 ** 20)
        self.create('bb', memory_bytes=640 * 2 ** 20, environment={'auto_remove': 'true'})
        self.create('cc', environment={'x': '"auto_remove":true,{"auto_remove":true}'})

        def found(**wanted):
            with self.db.read() as conn:
                rows, _ = containers.listing(conn, page=paging.Page(10), **wanted)
            return ''.join(row.name[0] for row in rows)

        for wanted, names in (({'auto_remove': True}, 'a'), ({'auto_remove': False}, 'bc'),
                              ({'memory': 64 * 2 ** 20}, 'a'), ({'memory': 2 ** 20}, '')):
            self.assertEqual(names, found(options=wanted), wanted)
        self.assertEqual('abc', found(filters={'bay_name': 'bay'}))
        with self.db.read() as conn:
            self.assertEqual([True, False, False], [
                bool(row.auto_remove) for row in containers.compared(conn, self.place.uuid)])

    def test_bays_by_label_and_which_one_fits(self):
        self.make_bay('east', labels={'availability_zone': 'east', 'a"b': 'c\\d'})
        self.make_bay('East', labels={'Availability_zone': 'East'})
        with self.db.read() as conn:
            for label, names in ((('availability_zone', None), ['east']),
                                 (('a"b', 'c\\d'), ['east']),
                                 (('Availability_zone', 'East'), ['East']), (('zone', None), [])):
                rows, _ = bay_rows.listing(conn, page=paging.Page(10), labels=[label])
                self.assertEqual(names, [row.name for row in rows], label)
            self.assertEqual('east', bay_rows.place(conn, 'project', zone='east').name)

    def test_a_lease(self):
        conductor = lifecycle.new_uuid()
        self.db.transact(lambda conn: conductors.insert(conn, 5, {
            'uuid': conductor, 'host': 'a', 'slot': 0, 'server': 'a.0'}))

        def renew():
            return self.db.transact(lambda conn: conductors.renew(conn, conductor, 5, {}))

        self.assertTrue(renew())
        self.let_pass(6)
        with self.db.read() as conn:
            self.assertEqual([], conductors.live(conn))
        self.assertTrue(renew())        # nobody has declared it dead
        self.assertFalse(self.db.transact(
            lambda conn: conductors.declare_silent(conn, conductor, 1)))
        self.assertTrue(self.db.transact(
            lambda conn: conductors.declare_silent(conn, conductor, 2)))
        self.assertFalse(renew())

    def test_a_name_is_free_again_as_often_as_you_like(self):
        for _ in range(3):
            uuid = self.create('web')
            self.submit('delete', uuid)
            self.carry_out(uuid)
            self.carry_out(uuid)

    def test_a_connection_that_the_server_ended(self):
        """Found out when it is used: the next use must not fail as well."""
        connections = [self.db.engine.connect() for _ in range(3)]
        own = {'mysql': 'SELECT CONNECTION_ID()', 'postgresql': 'SELECT pg_backend_pid()'}
        pids = [conn.exec_driver_sql(own[self.kind]).scalar_one() for conn in connections]
        for conn in connections:
            conn.close()
        end = {'mysql': 'KILL {}', 'postgresql': 'SELECT pg_terminate_backend({})'}
        admin = sa.create_engine(self.db.engine.url, poolclass=sa.pool.NullPool)
        with admin.connect() as conn:
            for pid in pids:
                conn.exec_driver_sql(end[self.kind].format(pid))
        uuid = self.create()
        self.submit('start', uuid)
        self.assertIsNotNone(self.claim(uuid))


class MariaDB(base.ServerDatabaseMixin):

    kind = 'mysql'


class PostgreSQL(base.ServerDatabaseMixin):

    kind = 'postgresql'


class TestRacesMariaDB(Races, MariaDB, base.DatabaseTestCase):

    def test_newer_rows_are_not_hidden(self):
        """By default they would be, from a first look on."""
        uuid = self.create()

        def unit(conn):
            before = containers.get(conn, uuid, 'project').next_sequence
            thread = threading.Thread(target=self.submit, args=('start', uuid))
            thread.start()
            thread.join(30)
            return before, containers.get(conn, uuid, 'project').next_sequence

        self.assertEqual((2, 3), self.db.transact(unit))


class TestRacesPostgreSQL(Races, PostgreSQL, base.DatabaseTestCase):
    pass


# The cases of the unit tests, again.
for _module in (test_lifecycle, test_acceptance, test_cancel, test_pulls):
    for _case in list(vars(_module).values()):
        if (isinstance(_case, type) and issubclass(_case, test_lifecycle.LifecycleCase)
                and _case.__module__ == _module.__name__ and _case.__name__.startswith('Test')):
            for _server in (MariaDB, PostgreSQL):
                _name = (f'{_module.__name__.rpartition("_")[2].title()}'
                         f'{_case.__name__.removeprefix("Test")}{_server.__name__}')
                globals()[_name] = type(_name, (_server, _case), {'__module__': __name__})
del _case
