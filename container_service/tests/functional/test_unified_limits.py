# SPDX-License-Identifier: Apache-2.0
"""Limits that are kept in a real Keystone, and what becomes of creations without it (S-15)."""

from oslo_config import cfg

from container_service import exceptions
from container_service import quotas
from container_service import unified
from container_service.tests import base
from container_service.tests import keystone


class TestUnifiedLimits(base.DatabaseTestCase):

    time_limit = 240

    def setUp(self):
        super().setUp()
        self.keystone = self.useFixture(keystone.Keystone('http://127.0.0.1:9517'))
        service, = self.keystone.ask('GET', 'services?type=container')['services']
        self.where = {'service_id': service['id'], 'region_id': keystone.REGION}
        self.keystone.ask('POST', 'registered_limits', {'registered_limits': [
            {**self.where, 'resource_name': name, 'default_limit': 5} for name in quotas.NAMES]})
        self.configure()
        self.conf.set_override('driver', 'unified', group='quotas')

    def configure(self):
        """The section that oslo.limit reads, from oslo's global object."""
        from oslo_limit import limit

        self.addCleanup(setattr, limit, '_SDK_CONNECTION', None)
        limit._SDK_CONNECTION = None
        conf = cfg.CONF
        conf([], project='container-service', default_config_files=[], default_config_dirs=[])
        self.addCleanup(conf.clear_override, 'auth_type', group='oslo_limit')
        conf.set_override('auth_type', 'password', group='oslo_limit')
        limit.opts.register_opts(conf)
        for name, value in (
                ('auth_url', self.keystone.url), ('username', 'admin'),
                ('password', keystone.PASSWORD), ('user_domain_id', 'default'),
                ('system_scope', 'all'), ('endpoint_service_type', 'container'),
                ('endpoint_region_name', keystone.REGION)):
            conf.set_override(name, value, group='oslo_limit')
            self.addCleanup(conf.clear_override, name, group='oslo_limit')

    def test_registered_limits_and_those_of_projects(self):
        one, two = self.keystone.projects['one'], self.keystone.projects['two']
        self.keystone.ask('POST', 'limits', {'limits': [
            {**self.where, 'project_id': two, 'resource_name': 'containers',
             'resource_limit': 7}]})
        made = quotas.make(self.conf, self.db)
        self.assertEqual(dict.fromkeys(quotas.NAMES, 5), made.limits())
        self.assertEqual(dict.fromkeys(quotas.NAMES, 5), made.limits(one))
        self.assertEqual({**dict.fromkeys(quotas.NAMES, 5), 'containers': 7}, made.limits(two))
        with self.db.read() as conn:
            self.assertRaises(exceptions.QuotaExceeded, made.guard(one), conn, {
                'cpu': 6, 'memory_bytes': quotas.MIB})
        # Nothing of it is known any more, and nobody answers.
        self.keystone.stop()
        made._source._known = unified.remembered.Remembered()
        self.assertRaises(exceptions.LimitsUnavailable, made.guard, one)
        self.assertEqual(self.conf.api.project_action_limit, made.most_actions(one))
