# SPDX-License-Identifier: Apache-2.0
"""The commands on the service itself: which conductors there are, and what an administrator says
of them.
"""

from container_service.client import asking
from container_service.client import base
from container_service.client import http
from container_service.client import words

FIELDS = (
    'name', 'state', 'version', 'workers', 'in_flight', 'queued', 'pool_full',
    'heartbeat_age_seconds', 'draining', 'disabled', 'disabled_reason', 'forced_down',
    'saturation_policy', 'host', 'incarnation', 'created_at')


def _state(service, now):
    """What it is, and what was said of it."""
    down, said = service['state'] != 'up', []
    if service.get('forced_down'):
        return 'forced down'
    if service.get('draining') and not down:
        said.append('draining')
    if service.get('disabled'):
        said.append('disabled')
    return ', '.join(['down', *said] if down else said or ['up'])


def _heartbeat(service, now):
    seconds = service.get('heartbeat_age_seconds')
    return '' if seconds is None else f'{words.span(seconds)} ago'


def _times(service, now):
    count = service.get('pool_full')
    return '' if count is None else {0: 'never', 1: 'once'}.get(count, f'{count} times')


class ListServices(base.ListCommand):
    """List the conductors: which are up, how busy they are, how often they were full.

    in_flight is the number of actions that one is running. As of its last heartbeat, queued is how
    many more it could begin with if it had room, and pool_full how often it had none.
    """
    path = 'services'
    fields = FIELDS
    brief = ('name', 'state', 'version', 'workers', 'in_flight', 'queued', 'pool_full',
             'heartbeat')
    long = (*brief, 'disabled_reason', 'saturation_policy', 'host', 'incarnation', 'created_at')
    computed = {'state': _state, 'heartbeat': _heartbeat, 'pool_full': _times}
    paged = False


class ChangeServices(base.Command):
    """Something that is said of conductors, each named by its name or its host's."""

    arguments = 'CONDUCTOR [CONDUCTOR ...]'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('conductors', metavar='CONDUCTOR', nargs='+', type=base.reference,
                            help='Name of a conductor, or of a host for all that run there.')

    def take_action(self, parsed_args):
        return self.each(parsed_args.conductors,
                         lambda conductor: self.one(parsed_args, conductor))

    def one(self, parsed_args, conductor):
        """Do it to what the user named, and tell the outcome for each conductor."""
        answer = self.change('PUT', f'services/{self.name}', conductor,
                             **self.details(parsed_args))
        for service in answer.get('services') or [answer['service']]:
            self.say(f'Conductor {service["name"]} {self.outcome(parsed_args, service)}')

    def change(self, method, path, conductor, **details):
        """Send the change for a name or, if there is none such, for a host."""
        for key in ('name', 'host'):
            try:
                answer, _ = asking.change(
                    self.client, method, path, harmless=True, on_trouble=self.tell_trouble,
                    params={key: conductor, **details})
                return answer
            except http.ApiError as exc:
                if exc.code != 'conductor_not_found' or key == 'host':
                    raise

    def details(self, parsed_args):
        return {}


class Enable(ChangeServices):
    """Let conductors take work again."""

    name = 'enable'

    def outcome(self, parsed_args, service):
        if service['forced_down']:
            return 'is enabled, but still forced down; see service force-down --unset.'
        if service['state'] != 'up':
            return 'is enabled; it takes work as soon as it is up.'
        if service['draining']:
            return 'is enabled, but it ends: it was drained.'
        return 'takes work again.'


class Disable(ChangeServices):
    """Let conductors take nothing new; what runs there goes on.

    It holds until service enable, also when the conductor is restarted.
    """
    name = 'disable'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--reason', metavar='TEXT', help='Why, for those who wonder.')

    def details(self, parsed_args):
        return {'disabled_reason': parsed_args.reason} if parsed_args.reason else {}

    def outcome(self, parsed_args, service):
        if service['state'] != 'up':
            return 'is down; it will take nothing when it is up again.'
        return f'takes nothing new; {_still_running(service)}'


class Drain(ChangeServices):
    """Let conductors finish what they run, and end.

    Their process ends with exit status 0. What is queued is left to others.
    """
    name = 'drain'

    def outcome(self, parsed_args, service):
        return f'takes nothing new and ends when it has finished; {_still_running(service)}'


class ForceDown(ChangeServices):
    """Take the work of conductors from them at once, for others to go on with.

    For one whose machine is dead for sure. One that is alive all the same takes nothing more until
    --unset.
    """
    name = 'force_down'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--unset', action='store_true',
                            help='Let it take work again, if it is alive or started.')

    def details(self, parsed_args):
        return {'forced_down': not parsed_args.unset}

    def outcome(self, parsed_args, service):
        if not parsed_args.unset:
            return (f'is forced down; {_taken_over(service)} Its last heartbeat was '
                    f'{_heartbeat(service, None)}.')
        if service['state'] != 'up':
            return 'is not forced down any more; it takes work as soon as it is up.'
        if service['disabled']:
            return 'is not forced down any more, but still disabled; see service enable.'
        return 'is not forced down any more; it takes work again.'


class Delete(ChangeServices):
    """Forget conductors that are down, and what was said of them."""

    def one(self, parsed_args, conductor):
        self.change('DELETE', 'services', conductor)
        self.say(f'Conductor {conductor} is forgotten.')


def _taken_over(service):
    count = service.get('in_flight') or 0
    if not count:
        return 'nothing was running there.'
    return f'others take over the {"action" if count == 1 else f"{count} actions"} that it ran.'


def _still_running(service):
    count = service.get('in_flight') or 0
    if not count:
        return 'nothing is running there.'
    return f'{count} {"action is" if count == 1 else "actions are"} still running there.'


COMMANDS = {
    'service list': ListServices, 'service disable': Disable, 'service enable': Enable,
    'service drain': Drain, 'service force-down': ForceDown, 'service delete': Delete}
