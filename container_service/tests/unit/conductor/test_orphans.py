# SPDX-License-Identifier: Apache-2.0
"""What is on an engine and belongs to nobody, and what nobody knows."""

import uuid as uuid_module

from container_service import audit
from container_service import bays as bay_rules
from container_service import exceptions
from container_service import states
from container_service.conductor import runner
from container_service.db import actions
from container_service.db import bays
from container_service.db import containers
from container_service.db import events
from container_service.db import paging
from container_service.db import settings
from container_service.db import strays
from container_service.drivers import base as drivers
from container_service.drivers import fake
from container_service.tests.unit.conductor import base

UNKNOWN = '6b0b3e0c-0000-4000-8000-000000000001'


class OrphanCase(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.here.reconcile()
        self.grace = self.conf.conductor.orphan_grace
        self.deployment = settings.deployment(self.db)

    def late(self, uuid, **values):
        """Let the engine carry out a create that was given up; returns what it made."""
        row = self.container(uuid)
        seen = runner.as_driver_sees(row, row.fence, self.deployment)
        return self.engine.create_late(drivers.Container(**{**vars(seen), **values}))

    def deleted(self):
        uuid = self.running()
        self.submit('delete', uuid, force=True)
        self.here.sweep()
        self.here.hear()
        return uuid

    def never_made(self, how):
        """A container whose creation ended like that, and nothing is on the engine."""
        uuid = self.create()
        if how == 'cancelled':
            self.cancel(self.actions_of(uuid)[0].uuid)
        else:
            self.engine.fail('create', times=1)
            self.here.sweep()
        return uuid

    def stray(self, **labels):
        """What a restored database does not know."""
        return self.engine.add_foreign(f'cs-{UNKNOWN}-1', {
            drivers.LABEL_DEPLOYMENT: self.deployment, drivers.LABEL_CONTAINER: UNKNOWN,
            drivers.LABEL_GENERATION: '1', **labels})

    def after_list(self, function):
        """Let something happen once, right after the engine's list was read."""
        listed, todo = fake.FakeDriver.list, [function]

        def listing(*args):
            yield from listed(*args)
            if todo:
                todo.pop()()

        self.patch(fake.FakeDriver, 'list', listing)

    def wait_out(self):
        self.here.clock.advance(self.grace)
        self.here.work()

    def kinds(self):
        return [event.type for event in self.events()]

    def on_engine(self, known):
        return known.engine_id in self.engine.containers


class TestOrphans(OrphanCase):

    def assert_goes(self, known, uuid):
        """After its grace, not before."""
        self.here.hear()
        self.here.clock.advance(self.grace - 10)
        self.here.work()
        self.assertTrue(self.on_engine(known))
        self.here.clock.advance(10)
        self.here.work()
        self.assertFalse(self.on_engine(known))
        told = self.trail(action='remove/orphan')[-1]
        self.assertEqual((audit.SERVICE, None, uuid, known.engine_id), (
            told.authenticated_by, told.user_id, told.target_uuid, told.details['engine_id']))
        event = self.events(events.ORPHAN_REMOVED)[-1]
        self.assertEqual((uuid, 'project', self.place.uuid, known.engine_id),
                         (event.container_uuid, event.project_id, event.bay_uuid,
                          event.detail['engine_id']))

    def assert_stays(self, known):
        for _ in range(3):
            self.here.hear()
            self.wait_out()
            self.here.reconcile()
        self.assertTrue(self.on_engine(known))

    def test_of_a_deleted_container(self):
        uuid = self.deleted()
        self.assert_goes(self.late(uuid), uuid)
        self.assertEqual([], self.strays())

    def test_that_only_a_list_shows(self):
        uuid = self.deleted()
        known = self.late(uuid)
        self.engine.history.clear()
        self.here.reconcile()
        self.wait_out()
        self.assertFalse(self.on_engine(known))

    def test_that_was_there_before_anybody_watched(self):
        uuid = self.deleted()
        known = self.late(uuid)
        self.here.reconciler.stop()
        other = self.another()
        other.reconcile()
        other.clock.advance(self.grace)
        other.work()
        self.assertFalse(self.on_engine(known))

    def test_of_a_cancelled_create(self):
        """Who cancelled was promised that nothing is left."""
        uuid = self.never_made('cancelled')
        before = self.container(uuid)
        known = self.late(uuid)
        self.here.hear()
        self.here.reconcile()
        self.assertEqual(before, self.container(uuid))
        self.assert_goes(known, uuid)
        self.here.reconcile()
        self.assertEqual(before, self.container(uuid))

    def test_of_a_create_that_was_under_way_when_it_was_listed(self):
        """What is looked at again when the action has ended is not always what was listed."""
        uuid = self.never_made('cancelled')
        self.change(containers.table, uuid, task_state='create-in-progress')
        self.late(uuid)
        self.here.reconcile()
        self.engine.remove_outside(uuid)
        self.change(containers.table, uuid, task_state=None)
        before = self.container(uuid)
        known = self.late(uuid)
        self.here.work()
        self.assertEqual(before, self.container(uuid))
        self.assert_goes(known, uuid)

    def test_of_a_cancelled_create_made_between_two_looks(self):
        """Its engine made it after it was listed, and before it was asked for by name."""
        uuid = self.never_made('cancelled')
        self.late(uuid)
        self.engine.remove_outside(uuid)
        before, made = self.container(uuid), []
        self.after_list(lambda: made.append(self.late(uuid)))
        self.here.hear()
        self.assertEqual(before, self.container(uuid))
        self.assert_goes(made[0], uuid)

    def test_made_after_the_list_of_a_pass_was_read(self):
        """The pass looks at the container, and takes its events; this one is of another."""
        uuid = self.running()
        self.here.hear()
        observer, = self.here.reconciler.observers.values()
        observer._interval = 10 ** 6
        self.engine.exit(uuid, 3)
        made = []

        def happen():
            made.append(self.late(uuid, generation=0))
            observer.follow(False, quiet_seconds=0)

        self.after_list(happen)
        self.here.reconcile()
        self.assert_at_rest(uuid, states.STOPPED)
        self.here.work()
        self.wait_out()
        self.assertFalse(self.on_engine(made[0]))

    def test_of_a_failed_create_is_taken_for_what_it_is(self):
        uuid = self.never_made('failed')
        known = self.late(uuid)
        self.here.hear()
        self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual(known.engine_id, self.container(uuid).engine_id)
        self.assert_stays(known)
        self.submit('start', uuid)
        self.here.sweep()
        self.assert_at_rest(uuid, states.RUNNING)

    def test_of_an_earlier_generation(self):
        uuid = self.running()
        known = self.late(uuid, generation=0)
        self.assert_goes(known, uuid)
        self.assert_at_rest(uuid, states.RUNNING)

    def test_not_while_an_action_is_under_way(self):
        uuid = self.running()
        known = self.late(uuid, generation=0)
        self.submit('pause', uuid)
        claim = self.claim(uuid)
        self.assert_stays(known)
        self.assertIsNotNone(claim)

    def test_not_what_has_become_wanted_within_its_grace(self):
        uuid = self.never_made('cancelled')
        known = self.late(uuid)
        self.here.hear()
        self.change(actions.table, self.actions_of(uuid)[0].uuid, status=states.FAILED)
        self.wait_out()
        self.assertTrue(self.on_engine(known))

    def test_not_without_the_watch(self):
        """Another conductor watches by now; this one was suspended in between."""
        uuid = self.deleted()
        known = self.late(uuid)
        self.here.hear()
        self.change(bays.table, self.place.uuid, watcher_uuid='other')
        self.wait_out()
        self.assertTrue(self.on_engine(known))

    def test_not_without_the_lease(self):
        uuid = self.deleted()
        known = self.late(uuid)
        self.here.hear()
        observer, = self.here.reconciler.observers.values()
        self.here.clock.advance(max(self.grace, self.conf.conductor.lease))
        observer.work()
        self.assertTrue(self.on_engine(known))

    def test_an_engine_that_is_away_when_it_is_time(self):
        uuid = self.deleted()
        known = self.late(uuid)
        self.here.hear()
        self.engine.unreachable = True
        self.wait_out()
        self.engine.unreachable = False
        self.here.work()
        self.assertFalse(self.on_engine(known))

    def test_one_of_another_deployment_or_without_label_or_name(self):
        uuid = self.deleted()
        name = f'cs-{uuid}-1'
        ours = {drivers.LABEL_DEPLOYMENT: self.deployment, drivers.LABEL_CONTAINER: uuid,
                drivers.LABEL_GENERATION: '1'}
        foreign = [self.engine.add_foreign(name, labels) for labels in (
            {}, {**ours, drivers.LABEL_DEPLOYMENT: 'other'},
            {drivers.LABEL_CONTAINER: uuid, drivers.LABEL_GENERATION: '1'})]
        for known in foreign:
            self.assert_stays(known)
        self.assertEqual([], self.strays())
        misnamed = self.engine.add_foreign('web', ours)
        self.assert_stays(misnamed)
        stray, = self.strays()
        self.assertEqual((strays.MISNAMED, 'web', uuid, misnamed.engine_id),
                         (stray.reason, stray.name, stray.container_uuid, stray.engine_id))


class TestLabelTrust(OrphanCase):
    """S-17: what lacks one of name, label and deployment is never removed, whoever made it."""

    def lookalikes(self, uuid):
        labels = {drivers.LABEL_DEPLOYMENT: self.deployment, drivers.LABEL_CONTAINER: uuid,
                  drivers.LABEL_GENERATION: '1'}
        name = f'cs-{uuid}-1'
        return {
            'name': [self.engine.add_foreign(f'{name}{more}', labels)
                     for more in ('0', '-1', '.old')]
            + [self.engine.add_foreign(f'x{name}', labels),
               self.engine.add_foreign(name.upper(), labels)],
            'label': [self.engine.add_foreign(name, without(labels, drivers.LABEL_CONTAINER)),
                      self.engine.add_foreign(name, {**labels, drivers.LABEL_CONTAINER: ''})],
            'deployment': [
                self.engine.add_foreign(name, without(labels, drivers.LABEL_DEPLOYMENT)),
                self.engine.add_foreign(name, {
                    **labels, drivers.LABEL_DEPLOYMENT: f'{self.deployment}0'})]}

    def assert_all_stay(self, kind):
        uuid = self.deleted()
        known = self.lookalikes(uuid)[kind]
        for _ in range(3):
            self.here.hear()
            self.wait_out()
            self.here.reconcile()
        self.assertEqual([True] * len(known), [self.on_engine(one) for one in known])
        # What has all three goes, so there was somebody who could.
        late = self.late(self.deleted())
        self.here.hear()
        self.wait_out()
        self.assertFalse(self.on_engine(late))

    def test_without_the_name(self):
        self.assert_all_stay('name')

    def test_without_the_label(self):
        self.assert_all_stay('label')

    def test_without_the_deployment(self):
        self.assert_all_stay('deployment')

    def test_the_deployment_cannot_be_guessed(self):
        self.assertEqual(4, uuid_module.UUID(self.deployment).version)


def without(labels, name):
    return {key: value for key, value in labels.items() if key != name}


class TestStrays(OrphanCase):

    def want(self, what, engine_ids='all', project='project'):
        bay_rules.reconcile(self.admin, self.db, 'bay', project_id=project,
                            **{what: engine_ids})
        self.here.reconcile()

    def test_is_told_once_and_never_removed(self):
        known = self.stray()
        for _ in range(3):
            self.here.hear()
            self.here.reconcile()
            self.wait_out()
        self.assertTrue(self.on_engine(known))
        stray, = self.strays()
        self.assertEqual(
            (known.engine_id, known.name, UNKNOWN, 1, 'foreign:latest', states.RUNNING,
             strays.UNKNOWN, None, None),
            (stray.engine_id, stray.name, stray.container_uuid, stray.generation, stray.image,
             stray.status, stray.reason, stray.wanted, stray.error))
        event, = self.events()
        self.assertEqual((events.STRAY_FOUND, None, known.engine_id),
                         (event.type, event.project_id, event.detail['engine_id']))
        self.assertEqual(1, self.bay(self.place.uuid).strays)

    def test_a_new_watcher_does_not_tell_again(self):
        self.stray()
        self.here.reconcile()
        self.here.reconciler.stop()
        self.another().reconcile()
        self.assertEqual(([events.STRAY_FOUND], 1), (self.kinds(), len(self.strays())))

    def test_that_goes_is_forgotten(self):
        known = self.stray()
        self.here.reconcile()
        del self.engine.containers[known.engine_id]
        self.here.reconcile()
        self.assertEqual(([], 0), (self.strays(), self.bay(self.place.uuid).strays))

    def test_of_a_later_generation_than_is_known(self):
        """The database was restored from before a rebuild."""
        uuid = self.running()
        known = self.late(uuid, generation=2)
        self.here.hear()
        self.wait_out()
        self.assertTrue(self.on_engine(known))
        self.assertEqual([strays.TOO_NEW], [stray.reason for stray in self.strays()])

    def test_of_a_container_of_another_bay(self):
        self.addCleanup(fake.FakeEngine.forget, 'second')
        uuid = self.running()
        other = self.make_bay('second', 'fake://second')
        self.change(containers.table, uuid, bay_uuid=other.uuid)
        self.here.reconcile()
        self.here.reconcile()
        self.assertEqual({(self.place.uuid, strays.ELSEWHERE)},
                         {(stray.bay_uuid, stray.reason) for stray in self.strays()})

    def test_one_engine_that_is_two_bays(self):
        """Each watcher sees the containers of both, and touches those of its own."""
        uuid, gone = self.running(), self.deleted()
        other = self.make_bay('again', self.place.endpoint)
        known = self.late(gone)
        for _ in range(3):
            self.here.reconcile()
        self.assertEqual([], self.strays())
        self.assert_at_rest(uuid, states.RUNNING)
        self.wait_out()
        self.assertFalse(self.on_engine(known))
        self.assertEqual([self.place.uuid], [
            event.bay_uuid for event in self.events(events.ORPHAN_REMOVED)])
        self.assertNotEqual(other.uuid, self.place.uuid)

    def test_removed_on_request(self):
        known = self.stray()
        self.here.reconcile()
        self.want(strays.REMOVE, [known.engine_id])
        self.assertFalse(self.on_engine(known))
        self.assertEqual([('user', known.engine_id)], [
            (row.user_id, row.details['engine_id']) for row in self.trail(action='remove/stray')])
        self.assertEqual(([], [events.STRAY_FOUND, events.STRAY_REMOVED], 0),
                         (self.strays(), self.kinds(), self.bay(self.place.uuid).strays))

    def test_only_those_that_were_named(self):
        known = self.stray()
        self.here.reconcile()
        other = self.stray()
        self.here.reconcile()
        self.want(strays.REMOVE, [other.engine_id])
        self.assertEqual((True, False), (self.on_engine(known), self.on_engine(other)))

    def test_adopted_on_request(self):
        known = self.stray(**{drivers.LABEL_NAME: 'web'})
        self.here.reconcile()
        self.want(strays.ADOPT, project='theirs')
        row = self.container(UNKNOWN)
        self.assertEqual(
            ('theirs', 'user', 'web', states.RUNNING, known.engine_id, 1, 'foreign:latest'),
            (row.project_id, row.user_id, row.name, row.status, row.engine_id, row.generation,
             row.image))
        self.assert_at_rest(UNKNOWN, states.RUNNING)
        self.assertEqual([('user', UNKNOWN, 'theirs')], [
            (row.user_id, row.target_uuid, row.project_id)
            for row in self.trail(action='adopt/stray')])
        event = self.events(events.STRAY_ADOPTED)[0]
        self.assertEqual(('theirs', UNKNOWN), (event.project_id, event.container_uuid))
        self.assertEqual([], self.strays())

    def test_what_was_adopted_is_a_container_like_any_other(self):
        known = self.stray()
        self.here.reconcile()
        self.want(strays.ADOPT)
        name = self.container(UNKNOWN).name
        self.assertEqual(f'adopted-{UNKNOWN[:8]}', name)
        for operation, status in (('stop', states.STOPPED), ('start', states.RUNNING)):
            self.submit(operation, name)
            self.here.sweep()
            self.assert_at_rest(UNKNOWN, status)
        self.submit('delete', name, force=True)
        self.here.sweep()
        self.assertFalse(self.on_engine(known))
        self.here.reconcile()
        self.assertEqual([], self.strays())

    def test_adopted_with_its_options(self):
        """A restore from before the container was made."""
        uuid = self.running('web', labels={'a': 'b'}, command=['sleep', '1000'])
        spec = self.container(uuid).spec
        for table in (containers.table, containers.container_labels):
            self.db.transact(lambda conn, table=table: conn.execute(table.delete()))
        self.here.clock.advance(3600)
        self.here.reconcile()
        self.here.reconcile()
        self.want(strays.ADOPT)
        row = self.container(uuid)
        self.assertEqual((spec, 'web'), (row.spec, row.name))
        with self.db.read() as conn:
            found, _ = containers.listing(conn, labels=[('a', 'b')],
                                          page=paging.Page(limit=10))
        self.assertEqual([uuid], [row.uuid for row in found])

    def test_adopted_under_another_name_when_its_own_is_taken(self):
        self.running('web')
        self.stray(**{drivers.LABEL_NAME: 'web'})
        self.here.reconcile()
        self.want(strays.ADOPT)
        self.assertEqual(f'web-{UNKNOWN[:8]}', self.container(UNKNOWN).name)

    def test_what_cannot_be_adopted_says_why(self):
        uuid = self.running()
        ours = {drivers.LABEL_DEPLOYMENT: self.deployment}
        self.engine.add_foreign('a-copy', {**ours, drivers.LABEL_CONTAINER: uuid,
                                           drivers.LABEL_GENERATION: '1'})
        self.engine.add_foreign('no-label', ours)
        self.here.reconcile()
        self.want(strays.ADOPT)
        self.assertEqual([(f'There is, or was, a container with uuid {uuid}.', None),
                          ('It cannot be adopted: its labels name no container. Remove it, or '
                           'make a container of its image.', None)],
                         [(stray.error, stray.wanted) for stray in self.strays()])

    def test_what_has_power_over_its_host_cannot_be_adopted(self):
        known = self.stray()
        known.networks = ('host',)
        self.here.reconcile()
        self.want(strays.ADOPT)
        [stray] = self.strays()
        self.assertIn('it has more than what is made here (host_network)', stray.error)
        [told] = self.trail(action='adopt/stray')
        self.assertEqual(
            (audit.FAILURE, 'conflict', 'user', UNKNOWN, known.engine_id),
            (told.outcome, told.code, told.user_id, told.target_uuid, told.details['engine_id']))

    def test_what_has_anything_more_cannot_be_adopted(self):
        self.engine.add_foreign(f'cs-{UNKNOWN}-1', self.stray().labels, powers=['volumes'])
        self.here.reconcile()
        self.want(strays.ADOPT)
        [stray] = self.strays()
        self.assertIn('(volumes)', stray.error)

    def test_what_is_gone_before_it_is_settled(self):
        for what, outcome in ((strays.ADOPT, (audit.FAILURE, 'not_found')),
                              (strays.REMOVE, (audit.SUCCESS, None))):
            known = self.stray()
            self.here.reconcile()
            del self.engine.containers[known.engine_id]
            self.want(what)
            [told] = self.trail(action=f'{what}/stray')
            self.assertEqual(outcome, (told.outcome, told.code))

    def test_one_whose_secrets_cannot_be_kept_holds_up_no_other(self):
        known = self.stray(**{drivers.LABEL_SECRET: 'A'})
        known.variables = {'A': 'hunter2'}
        other = self.engine.add_foreign('no-label', {drivers.LABEL_DEPLOYMENT: self.deployment})
        self.here.reconcile()
        bay_rules.reconcile(self.admin, self.db, 'bay', adopt=[known.engine_id],
                            remove=[other.engine_id])
        self.here.reconcile()
        self.assertFalse(self.on_engine(other))
        [stray] = self.strays()
        self.assertIsNone(stray.wanted)
        self.assertIn('No keys are configured', stray.error)
        self.assertNotIn('Traceback', self.log.output)

    def test_what_is_wanted_is_done_once_the_engine_answers(self):
        known = self.stray()
        self.here.reconcile()
        self.engine.unreachable = True
        self.want(strays.REMOVE)
        self.assertEqual(strays.REMOVE, self.strays()[0].wanted)
        self.engine.unreachable = False
        self.here.work()
        self.here.work()
        self.assertFalse(self.on_engine(known))

    def test_what_is_wanted_is_done_by_the_next_watcher(self):
        known = self.stray()
        self.here.reconcile()
        self.here.reconciler.stop()
        bay_rules.reconcile(self.admin, self.db, 'bay', remove='all')
        self.another().reconcile()
        self.assertFalse(self.on_engine(known))

    def test_removal_is_fenced(self):
        known = self.stray()
        self.here.reconcile()
        observer, = self.here.reconciler.observers.values()

        def lose_watch(driver, deployment, engine_id, **values):
            self.change(bays.table, self.place.uuid, watcher_uuid='other')
            return describe(driver, deployment, engine_id)

        describe = fake.FakeDriver.describe
        self.patch(fake.FakeDriver, 'describe', lose_watch)
        self.want(strays.REMOVE)
        self.assertTrue(self.on_engine(known))
        self.assertRaises(exceptions.Fenced, observer.fence)

    def test_a_bay_that_is_deleted_forgets_them(self):
        known = self.stray()
        self.here.reconcile()
        bay_rules.delete(self.admin, self.db, 'bay')
        self.assertEqual([], self.strays())
        self.assertTrue(self.on_engine(known))

