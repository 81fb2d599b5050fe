# SPDX-License-Identifier: Apache-2.0
"""The commands on images: what the project has on bays."""

import time
import uuid

from container_service import references
from container_service.client import actions
from container_service.client import asking
from container_service.client import base
from container_service.client import http
from container_service.client import outcomes
from container_service.client import progress
from container_service.client import wait
from container_service.client import words

FIELDS = ('uuid', 'repo', 'tag', 'image_id', 'digest', 'size', 'host', 'bay_uuid', 'status',
          'status_reason', 'progress', 'registry_id', 'local', 'image_pull_policy', 'project_id',
          'user_id', 'created_at', 'updated_at')
ERROR = 'Error'
_BUSY = frozenset(('Pulling', 'Tagging', 'Deleting'))
_SHOWN_OF_ID = 12


def _size(image, now):
    return words.size(int(image['size'])) if image.get('size') else ''


def _short_id(image, now):
    return (image.get('image_id') or '').removeprefix('sha256:')[:_SHOWN_OF_ID]


class ListImages(base.ListCommand):
    """List the images that the project has on bays."""

    path = 'images'
    fields = FIELDS
    brief = ('repo', 'tag', 'image_id', 'size', 'host', 'status', 'created_at')
    long = ('uuid', *brief, 'status_reason')
    computed = {'size': _size, 'image_id': _short_id}

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--repo', help='Only those of this name.')
        parser.add_argument('--tag', help='Only those with this tag.')
        parser.add_argument('--bay', type=base.reference, help='Only those on this bay.')
        parser.add_argument('--status', type=str.capitalize,
                            help='Only those in this status, for example Available.')

    def query(self, parsed_args):
        return {key: getattr(parsed_args, key) for key in ('repo', 'tag', 'bay', 'status')}


class ShowImage(base.ShowCommand):
    """Show an image."""

    arguments = 'IMAGE'
    fields = FIELDS
    computed = {'size': _size}
    hides_empty = True

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_image(parser)

    def take_action(self, parsed_args):
        found = find(self.client, parsed_args.image, parsed_args.bay)
        self.print_one(parsed_args, self.client.get(f'images/{found}'))


class _ChangeImage(base.ShowCommand):
    """Ends in an image at which something is done, and with --poll waits for the end of that."""

    fields = FIELDS
    computed = {'size': _size}
    hides_empty = True
    changes = True
    operation = None
    _epilog = ('Exit status: 0 success (without --poll: accepted), 1 failed, 2 wrong usage, '
               '4 timed out waiting, 130 Ctrl-C.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_poll(parser)

    def change(self, path, body):
        answer, _ = asking.change(self.client, 'POST', path, key=str(uuid.uuid4()), body=body,
                                  on_trouble=self.tell_trouble)
        return answer

    def finish(self, parsed_args, image):
        """Wait if asked to, print the image; return the exit code."""
        code, lines = outcomes.EXIT_SUCCESS, []
        if deadline(parsed_args) is not None and image['status'] in _BUSY:
            code, image, lines = self._wait(image, deadline(parsed_args))
        elif image['status'] == ERROR:
            code, lines = outcomes.EXIT_FAILED, _failed(image)
        self.print_one(parsed_args, image)
        self.say(*lines)
        return code

    def _wait(self, image, deadline):
        try:
            with progress.on(self.app.stderr) as seen:
                for image in wait.polled(                   # noqa: B020 - the newest one counts
                        self.client, f'images/{image["uuid"]}',
                        lambda state: state['status'] not in _BUSY, deadline=deadline,
                        on_trouble=seen.trouble):
                    seen.show({'operation': self.operation, 'container_name': name_of(image),
                               'status': 'running', 'stage': image['status'].lower(),
                               'progress': image.get('progress')})
        except wait.TimedOut as exc:
            image = exc.last or image
            return outcomes.EXIT_TIMED_OUT, image, [
                f'{self.operation} of {name_of(image)} has not ended yet; it goes on.',
                f'look again: container-service image show {image["uuid"]}']
        if image['status'] == ERROR:
            return outcomes.EXIT_FAILED, image, _failed(image)
        return outcomes.EXIT_SUCCESS, image, []


class PullImage(_ChangeImage):
    """Have an image on a bay; where it is there already, its newest state."""

    arguments = 'IMAGE'
    operation = 'pull'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--bay', type=base.reference,
                            help='Name or uuid of the bay; needed where there are several.')
        parser.add_argument('--registry', metavar='REGISTRY',
                            help='Registry whose credentials to pull with, by name or uuid.')
        parser.add_argument('--if-not-present', action='store_true',
                            help='Leave it as it is if the project has it there already.')
        parser.add_argument('image', metavar='IMAGE', help='Image, for example alpine:3.20.')

    def take_action(self, parsed_args):
        body = {'repo': parsed_args.image, 'bay_uuid': parsed_args.bay,
                'registry': parsed_args.registry,
                'image_pull_policy': 'ifnotpresent' if parsed_args.if_not_present else None}
        return self.finish(parsed_args, self.change(
            'images', {key: value for key, value in body.items() if value}))


class TagImage(_ChangeImage):
    """Give an image another name on its bay, for this project."""

    arguments = 'IMAGE NAME[:TAG]'
    operation = 'tag'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_image(parser)
        parser.add_argument('repo', metavar='NAME[:TAG]', help='The other name.')

    def take_action(self, parsed_args):
        found = find(self.client, parsed_args.image, parsed_args.bay)
        return self.finish(parsed_args, self.change(
            f'images/{found}/tag', {'repo': parsed_args.repo}))


class DeleteImages(base.Command):
    """Remove images; refused for those that a container uses."""

    arguments = 'IMAGE [IMAGE ...]'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_poll(parser)
        _add_image(parser, 'images', nargs='+')

    def take_action(self, parsed_args):
        until = deadline(parsed_args)
        return self.each(parsed_args.images,
                         lambda image: self._delete(parsed_args, image, until))

    def _delete(self, parsed_args, image, until):
        found = find(self.client, image, parsed_args.bay)
        asking.change(self.client, 'DELETE', f'images/{found}', key=str(uuid.uuid4()),
                      on_trouble=self.tell_trouble)
        if until is None:
            return
        try:
            *_, last = wait.polled(self.client, f'images/{found}',
                                   lambda state: state['status'] not in _BUSY, deadline=until)
        except http.ApiError as exc:
            if exc.status == 404:
                return
            raise
        except wait.TimedOut as exc:
            raise http.ApiError(status=504, detail='It has not ended yet; it goes on.') from exc
        raise http.ApiError(status=409, detail=last.get('status_reason') or last['status'])


class PruneImages(base.ListCommand):
    """Remove the images that nothing uses, and list them."""

    paged = False
    fields = FIELDS
    brief = ('repo', 'tag', 'size', 'host')
    computed = {'size': _size}
    changes = True

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--bay', type=base.reference, help='Only those on this bay.')

    def take_action(self, parsed_args):
        answer, _ = asking.change(
            self.client, 'POST', 'images/prune', key=str(uuid.uuid4()),
            body={'bay_uuid': parsed_args.bay} if parsed_args.bay else {},
            on_trouble=self.tell_trouble)
        self.print_list(parsed_args, answer['images'])
        if self.app.stderr.isatty() and not answer['images']:
            self.say('Every image is used.')


def find(client, image, bay=None):
    """The uuid of an image that the user named by that or by its name.  Raises ApiError."""
    try:
        return str(uuid.UUID(image))
    except ValueError:
        pass
    try:
        asked = references.parse(image)
    except ValueError as exc:
        raise base.UsageError(f'{image!r} {exc}.') from exc
    query = {'repo': asked.name, 'tag': asked.version, **({'bay': bay} if bay else {})}
    found, _ = client.pages('images', 'images', query)
    if not found:
        raise http.ApiError(status=404, detail=f'There is no image {asked} here.')
    if len(found) > 1:
        places = ', '.join(sorted(str(one.get('host')) for one in found))
        raise http.ApiError(status=409, detail=f'{asked} is on several bays: {places}.',
                            hint='say which one with --bay')
    return found[0]['uuid']


def name_of(image):
    return references.join(image['repo'], image['tag'])


def deadline(parsed_args):
    """Until when to wait, on the monotonic clock; None without --poll."""
    seconds = parsed_args.poll_timeout
    if seconds is None and not parsed_args.poll:
        return None
    return time.monotonic() + (actions.DEFAULT_POLL_SECONDS if seconds is None else seconds)


def _failed(image):
    return [f'{name_of(image)}: {image.get("status_reason") or image["status"]}']


def _add_poll(parser):
    parser.add_argument('--poll', action='store_true',
                        help='Wait for the outcome and end with it.')
    parser.add_argument('--poll-timeout', metavar='SECONDS', type=base.number,
                        help='Wait at most this long (implies --poll); default '
                             f'{actions.DEFAULT_POLL_SECONDS}. It goes on all the same.')


def _add_image(parser, dest='image', **how):
    parser.add_argument('--bay', type=base.reference,
                        help='The bay that it is on; needed where an image of that name is on '
                             'several.')
    parser.add_argument(dest, metavar='IMAGE', type=base.reference,
                        help='Name such as alpine:3.20, or uuid.', **how)


COMMANDS = {'image list': ListImages, 'image show': ShowImage, 'image pull': PullImage,
            'image tag': TagImage, 'image delete': DeleteImages, 'image prune': PruneImages}
