# SPDX-License-Identifier: Apache-2.0
from container_service.tests.unit.client import stub

WEB = '/v1/containers/web'


class CommitTest(stub.CommandTest):

    def test_name_and_tag(self):
        self.service.answer('POST', f'{WEB}/commit', stub.action(operation='commit'), 202)
        for name, repository, tag in (('web:fixed', 'web', 'fixed'), ('web', 'web', 'latest'),
                                      ('team/web:1', 'team/web', '1')):
            self.stdout('commit', 'web', name)
            self.assertEqual({'repository': repository, 'tag': tag},
                             self.service.requests[-1].body)

    def test_what_came_of_it(self):
        self.service.answer('POST', f'{WEB}/commit', stub.action(operation='commit'), 202)
        self.service.answer('GET', f'/v1/actions/{stub.UUID}/wait', stub.action(
            'succeeded', operation='commit', result={'uuid': stub.OTHER_UUID}))
        self.assertRegex(self.stdout('commit', '--poll', 'web', 'web:fixed'),
                         rf'result +\| uuid={stub.OTHER_UUID}')

    def test_wrong_usage(self):
        self.refused('commit', 'web')


class NetworkTest(stub.CommandTest):

    def test_attach_and_detach(self):
        for word, argv, body in (
                ('attach', (), {'network': 'n'}),
                ('attach', ('--ip', '10.0.0.5'), {'network': 'n', 'fixed_ip': '10.0.0.5'}),
                ('detach', (), {'network': 'n'})):
            self.service.answer('POST', f'{WEB}/network_{word}', stub.action(
                operation=f'network_{word}'), 202)
            self.assertIn(f'| network {word} ', self.stdout('network', word, *argv, 'web', 'n'))
            self.assertEqual(body, self.service.requests[-1].body)

    def test_wrong_usage(self):
        for argv in (('attach', 'web'), ('attach', 'web', 'n', 'm'), ('detach', 'web'),
                     ('attach', '--ip', 'x', 'web', 'n'),
                     ('detach', '--ip', '10.0.0.5', 'a', 'n')):
            self.refused('network', *argv)
