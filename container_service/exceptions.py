# SPDX-License-Identifier: Apache-2.0
"""One tree of errors: a class is a message, an HTTP code and a stable error code.

Raise the nearest class close to the cause.  ``api/errors.py`` turns them into answers,
``conductor/runner.py`` into the error of an action.  Standard library only.
"""

import re

# As many characters fit into every column that is made for words, whatever they are.
_MOST_CHARACTERS = 4096

# Control characters, what ends a line, and halves of characters that no encoding takes.
_UNPRINTABLE = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+')


def printable(words):
    """Words on one line that can be logged and stored: those of a registry may be anything."""
    words = _UNPRINTABLE.sub(' ', str(words))
    return words if len(words) <= _MOST_CHARACTERS else words[:_MOST_CHARACTERS - 3] + '...'


class Error(Exception):
    """Base of all errors of this project.

    ``message`` is formatted with the keyword arguments, ``hint`` says what to do.  ``code`` is
    stable and catalogued in the documentation; clients may depend on it.
    """
    status = 500
    code = 'internal_error'
    title = 'Internal error'
    message = 'Something went wrong that was not foreseen. The log has the details.'
    hint = None
    retry_after = None          # seconds, for the Retry-After header

    def __init__(self, detail=None, **values):
        self.values = values
        self.detail = printable(detail if detail is not None else self.message % values)
        if 'hint' in values:
            self.hint = values['hint']
        super().__init__(self.detail)

    def to_dict(self):
        """What crosses the message bus; ``from_dict`` makes the same error of it."""
        return {'code': self.code, 'detail': self.detail, 'hint': self.hint}

    @staticmethod
    def from_dict(data):
        """The error that a dict of code, detail and hint stands for."""
        kind = _by_code().get(data.get('code'), Error)
        error = kind(data.get('detail'))
        error.hint = data.get('hint')
        return error


class Invalid(Error):
    status = 400
    code = 'invalid_request'
    title = 'Invalid request'
    message = 'The request is not valid.'


class InvalidParameter(Invalid):
    code = 'invalid_parameter'
    title = 'Invalid parameter'
    message = '%(name)s: %(reason)s.'


class HostileArchive(InvalidParameter):
    """An archive that would write outside of the place it is put to, or make devices."""
    code = 'hostile_archive'
    title = 'Archive is refused'


class UnknownParameter(Invalid):
    code = 'unknown_parameter'
    title = 'Unknown parameter'
    message = 'Unknown parameter: %(name)s. Known here: %(known)s.'


class InvalidBody(Invalid):
    code = 'invalid_body'
    title = 'Invalid body'
    message = 'The request body must be a JSON object: %(reason)s.'


class BayRequired(Invalid):
    code = 'bay_required'
    title = 'Which bay?'
    message = 'No bay was named and there is no single choice. Set bay_uuid to one of: %(bays)s.'


class Unauthorized(Error):
    status = 401
    code = 'unauthorized'
    title = 'Authentication required'
    message = 'The request carries no valid credentials.'
    hint = ('Give the credentials of a user that is allowed to be here: a token of Keystone or a '
            'user name and password, whichever WWW-Authenticate in the headers asks for.')


class Forbidden(Error):
    status = 403
    code = 'forbidden'
    title = 'Forbidden'
    message = 'Policy %(rule)s does not allow this.'


class NotFound(Error):
    status = 404
    code = 'not_found'
    title = 'Not found'
    message = 'There is nothing at this address.'


class ContainerNotFound(NotFound):
    code = 'container_not_found'
    title = 'Container not found'
    message = 'There is no container %(container)s.'


class ExecNotFound(NotFound):
    code = 'exec_not_found'
    title = 'Command not found'
    message = 'No command %(exec_id)s has been executed in this container.'


class ActionNotFound(NotFound):
    code = 'action_not_found'
    title = 'Action not found'
    message = 'There is no action %(action)s.'


class BayNotFound(NotFound):
    code = 'bay_not_found'
    title = 'Bay not found'
    message = 'There is no bay %(bay)s.'


class ConductorNotFound(NotFound):
    code = 'conductor_not_found'
    title = 'Conductor not found'
    message = 'There is no conductor %(wanted)s. There are: %(known)s.'


class ImageUnknown(NotFound):
    code = 'image_unknown'
    title = 'No such image'
    message = 'There is no image %(image)s here.'


class NoBayFits(Invalid):
    code = 'no_bay_fits'
    title = 'No bay fits'
    message = 'No bay that this project may use has %(wanted)s.'


class RegistryNotFound(NotFound):
    code = 'registry_not_found'
    title = 'Registry not found'
    message = 'There is no registry %(registry)s.'


class LimitsElsewhere(Forbidden):
    code = 'limits_elsewhere'
    title = 'Limits are set elsewhere'
    message = 'The limits of projects are kept in Keystone here.'
    hint = 'An administrator sets them with: openstack limit create, openstack limit set'


class QuotaExceeded(Forbidden):
    code = 'quota_exceeded'
    title = 'Quota exceeded'
    message = ('The quota of the project is %(limit)s %(resource)s; %(used)s are used, '
               '%(wanted)s more were asked for.')


class MethodNotAllowed(Error):
    status = 405
    code = 'method_not_allowed'
    title = 'Method not allowed'
    message = '%(method)s is not possible here.'


class NotAcceptable(Error):
    status = 406
    code = 'not_acceptable'
    title = 'Not acceptable'
    message = 'The answer is JSON; Accept must allow application/json.'


class UnsupportedVersion(NotAcceptable):
    code = 'unsupported_version'
    title = 'Unsupported API version'
    message = 'API version %(version)s is not supported. Use %(minimum)s to %(maximum)s or latest.'


class Conflict(Error):
    status = 409
    code = 'conflict'
    title = 'Conflict'
    message = 'The request conflicts with the present state.'


class ConductorAlive(Conflict):
    code = 'conductor_alive'
    title = 'Conductor is alive'
    message = 'Conductor %(name)s is not down: it cannot be forgotten.'
    hint = 'Drain it and wait until it has ended, or force it down if it is dead for sure.'


class ConductorDown(Conflict):
    code = 'conductor_down'
    title = 'Conductor is down'
    message = 'Conductor %(name)s is down: there is nothing to drain.'


class InvalidState(Conflict):
    code = 'invalid_state'
    title = 'Invalid state'
    message = 'Cannot %(operation)s container %(uuid)s in %(status)s state%(because)s.'


class Busy(Conflict):
    code = 'container_busy'
    title = 'Container is busy'
    message = 'Container %(uuid)s is busy with action %(action)s (%(operation)s).'
    hint = 'Wait for that action, or leave if_busy=reject out to be queued behind it.'


class TooLateToCancel(Conflict):
    code = 'too_late_to_cancel'
    title = 'Too late to cancel'
    message = 'Action %(action)s (%(operation)s) %(reason)s.'


class QueueFull(Conflict):
    code = 'queue_full'
    title = 'Queue of the container is full'
    message = 'Container %(uuid)s has %(count)d unfinished actions, which is the limit.'


class NameTaken(Conflict):
    code = 'name_taken'
    title = 'Name is taken'
    message = 'There is a %(kind)s named %(name)s already. Choose another name.'


class AmbiguousName(Conflict):
    code = 'ambiguous_name'
    title = 'Several have that name'
    message = 'There is more than one %(kind)s named %(name)s: %(uuids)s. Say which one by uuid.'


class ImageInUse(Conflict):
    code = 'image_in_use'
    title = 'Image is in use'
    message = 'Image %(image)s is used by %(user)s.'


class ImageBusy(Conflict):
    code = 'image_busy'
    title = 'Image is busy'
    message = 'Image %(image)s is %(status)s. Try again when that has ended.'


class NoTerminal(Conflict):
    code = 'no_terminal'
    title = 'There is no terminal'
    message = '%(what)s has no terminal.'


class BayInUse(Conflict):
    code = 'bay_in_use'
    title = 'Bay is in use'
    message = 'Bay %(bay)s still has containers (%(count)d). Delete them first.'


class RegistryInUse(Conflict):
    code = 'registry_in_use'
    title = 'Registry is in use'
    message = 'Registry %(registry)s is used by %(user)s.'


class BodyTooLarge(Error):
    status = 413
    code = 'body_too_large'
    title = 'Request body too large'
    message = 'The request body is larger than %(limit)d bytes.'


class ArchiveTooLarge(BodyTooLarge):
    code = 'archive_too_large'
    title = 'Archive too large'
    message = 'The archive of %(path)s is larger than %(limit)d bytes.'


class AddressTooLong(Error):
    status = 414
    code = 'address_too_long'
    title = 'Address too long'
    message = 'The %(what)s of the address has more than %(limit)d %(unit)s.'
    hint = 'Ask for less at once; a body may be larger than an address.'


class HeadersTooLarge(Error):
    status = 431
    code = 'headers_too_large'
    title = 'Headers too large'
    message = 'A request may have %(count)d headers, of %(limit)d bytes together.'


class UnsupportedMediaType(Error):
    status = 415
    code = 'unsupported_media_type'
    title = 'Unsupported media type'
    message = 'The body must be JSON, sent with Content-Type: application/json.'


class MadeAndGone(Error):
    status = 410
    code = 'made_and_gone'
    title = 'What was made is gone'
    message = ('The request with the Idempotency-Key %(key)s made the %(kind)s %(uuid)s, which is '
               'gone. Use a new key to make another one.')


class IdempotencyMismatch(Error):
    status = 422
    code = 'idempotency_mismatch'
    title = 'Idempotency key was used for something else'
    message = ('The Idempotency-Key %(key)s belongs to another request of this project. Use a '
               'new key for a new request.')


class TooManyActions(Error):
    status = 429
    code = 'too_many_actions'
    title = 'Too many unfinished actions'
    message = 'The project has %(count)d unfinished actions; its limit is %(limit)d.'


class TooManyRequests(Error):
    status = 429
    code = 'too_many_requests'
    title = 'Too many requests'
    message = 'Too many requests in a short time. Ask again when Retry-After says.'
    retry_after = 1


class Unavailable(Error):
    status = 503
    code = 'unavailable'
    title = 'Service unavailable'
    message = 'The service cannot do this now. Try again later.'
    retry_after = 5


class IdentityUnavailable(Unavailable):
    """Nobody can be asked who calls: Keystone, or the file of users."""
    code = 'identity_unavailable'
    title = 'Credentials cannot be checked'
    message = 'Whether the credentials are valid cannot be found out now. Try again later.'


class SystemFull(Unavailable):
    code = 'system_full'
    title = 'Too much is queued'
    # How many there are is mostly what other projects do.
    message = 'The service has as many unfinished actions as it takes. Try again later.'


class PoolFull(Unavailable):
    code = 'pool_full'
    title = 'Every conductor is full'
    message = 'Every conductor is working on as much as it can. Try again later.'


class TooManyWaiters(Unavailable):
    code = 'too_many_waiters'
    title = 'Too many waiting requests'
    message = ('Too many requests wait here, in all or of this project. Ask again without '
               'waiting, or later.')
    retry_after = 1


class SecretsUnavailable(Unavailable):
    code = 'secrets_unavailable'
    title = 'Secrets cannot be kept or read'
    message = 'The keys for secrets cannot be used.'
    hint = 'Tell an administrator: container-service-manage secrets create-key'


class LimitsUnavailable(Unavailable):
    code = 'limits_unavailable'
    title = 'Limits unavailable'
    message = ('Keystone does not tell the limits of the project. Nothing was changed; try again '
               'later.')


class DatabaseUnavailable(Unavailable):
    code = 'database_unavailable'
    title = 'Database unavailable'
    message = 'The database cannot be reached. Nothing was changed; try again later.'


class OutcomeUnknown(DatabaseUnavailable):
    code = 'outcome_unknown'
    title = 'Outcome unknown'
    message = ('The database stopped answering while it recorded this: whether it was accepted '
               'is not known.')
    hint = ('Send the same request with the same Idempotency-Key again; without a key look '
            'whether it was done before you send it again.')


class BusUnavailable(Unavailable):
    code = 'bus_unavailable'
    title = 'Message bus unavailable'
    message = ('No answer came over the message bus. Operations that answer 202 still work; '
               'try this one again later.')


class NoConductor(Unavailable):
    code = 'no_conductor_for_bay'
    title = 'No conductor for this bay'
    message = 'No live conductor reaches bay %(bay)s. Start one on its hosts.'


class CallsBusy(Unavailable):
    code = 'calls_busy'
    title = 'Too many calls'
    message = ('Too many blocking calls are in progress, in all or of this project. Try again '
               'shortly.')
    retry_after = 1


class GatewayTimeout(Error):
    status = 504
    code = 'timeout'
    title = 'Timed out'
    message = 'No result within %(seconds)d seconds.'


class ActionUnfinished(GatewayTimeout):
    code = 'action_unfinished'
    title = 'Action has not ended yet'
    message = ('Action %(action)s (%(operation)s) was accepted and goes on; it had not ended when '
               'this answer was due.')
    hint = 'Ask for that action to learn what became of it. Do not send the request again.'


class ExecuteTimeout(GatewayTimeout):
    code = 'execute_timeout'
    title = 'Command timed out'
    message = ('The command did not end within %(seconds)d seconds. Nothing was done about that: '
               'it may still be running in the container.')
    hint = 'End it from inside, for example with pkill, or stop the container.'


class ConductorSilent(GatewayTimeout):
    code = 'conductor_silent'
    title = 'Conductor does not answer'
    message = 'No conductor of the bay answers. Nothing was changed; try again later.'


class CallOutcomeUnknown(GatewayTimeout):
    code = 'call_outcome_unknown'
    title = 'Outcome of the call unknown'
    message = ('The conductor stopped answering after it was asked to %(operation)s: whether it '
               'did, or still will, is not known.')
    hint = 'Look what it may have done in the container before you ask again.'


class Fenced(Error):
    """Another conductor owns the container by now: drop the work, tell nobody."""
    code = 'fenced'
    title = 'Taken over'
    message = 'Another conductor has taken over container %(container)s.'


class Cancelled(Error):
    """The action was asked to stop, and this is where it could.  Told on the action."""
    status = 409
    code = 'cancelled'
    title = 'Cancelled'
    message = 'Cancelled on request.'


class DriverError(Error):
    """What a driver raises, and nothing else.  ``detail`` has the engine's own words.

    ``retriable``: the same request may succeed later without anybody changing anything.
    """
    status = 502
    code = 'engine_error'
    title = 'The container engine refused'
    message = 'The container engine could not do this.'
    retriable = False


class EngineUnreachable(DriverError):
    """The engine did not answer.  The outcome of the call in progress is unknown."""
    status = 503
    code = 'bay_unreachable'
    title = 'Bay unreachable'
    message = 'The container engine of the bay does not answer.'
    hint = 'Check that the engine of the bay runs and that its conductor can reach it.'
    retriable = True
    retry_after = 5


class OtherEngine(EngineUnreachable):
    """What answers is not the bay's engine; so that one does not, and nothing is done there."""
    code = 'other_engine'
    title = 'Another engine answers'
    message = ('Another engine answers at the endpoint of bay %(bay)s: its id is %(found)s, that '
               "of the bay's engine is %(known)s. If it was replaced on purpose: "
               'container-service reconcile %(bay)s --new-engine')
    hint = ('The hosts of a bay must all reach one and the same engine. If it was replaced on '
            'purpose, an administrator says so: container-service reconcile BAY --new-engine')


class EngineUnsupported(EngineUnreachable):
    """What answers speaks no version of the API that we speak; so nothing is done there."""
    code = 'engine_unsupported'
    title = 'Engine is not supported'
    message = ('The container engine of bay %(bay)s speaks API versions %(theirs)s; this release '
               'speaks %(ours)s.')
    hint = 'Use Docker Engine 20.10 or later, and a release of this service that knows it.'


class EngineContainerMissing(DriverError):
    status = 409
    code = 'container_missing'
    title = 'Container is not on its engine'
    message = 'The container is not on its engine any more: removed outside.'
    hint = 'Delete it and create it again.'


class ImageNotFound(DriverError):
    code = 'image_not_found'
    title = 'Image not found'
    message = 'The image %(image)s was not found.'
    hint = 'Check the name and tag of the image, and that the registry has it.'


class ImageAbsent(DriverError):
    """The engine does not have the image: it must be pulled before the container is made."""
    code = 'image_absent'
    title = 'Image is not on the engine'
    message = 'The image %(image)s is not on the engine.'


class PathNotFound(DriverError):
    status = 404
    code = 'path_not_found'
    title = 'Path not found in container'
    message = 'There is no %(path)s in the container.'


class RegistryRefused(DriverError):
    code = 'registry_refused'
    title = 'Registry refused'
    message = 'The registry of the image %(image)s does not let this project pull it.'
    hint = ('Check the name of the image, and username and password of the registry that it is '
            'pulled with.')


class PullStalled(DriverError):
    code = 'image_pull_stalled'
    title = 'Pull made no progress'
    message = 'The image %(image)s came no further for %(seconds)d seconds; the pull was ended.'
    hint = 'Check the registry and the network of the engine, then try again.'
    retriable = True


class PullFailed(DriverError):
    code = 'image_pull_failed'
    title = 'Image could not be pulled'
    message = 'The image %(image)s could not be pulled.'
    hint = 'Check that the engine of the bay can reach the registry.'


class StartFailed(DriverError):
    code = 'start_failed'
    title = 'Container could not be started'
    message = 'The engine could not start the container.'
    hint = 'Check the command: it must exist in the image and be executable.'


class EngineConflict(DriverError):
    """The engine has another container in the place of ours."""
    code = 'engine_conflict'
    title = 'Engine name is taken'
    message = 'The engine has another container named %(name)s that is not ours.'


class NetworkNotFound(DriverError):
    status = 404
    code = 'network_not_found'
    title = 'Network not found'
    message = '%(field)s: the engine of bay %(bay)s has no network %(network)s.'


class NetworkRefused(DriverError):
    status = 400
    code = 'network_refused'
    title = 'Network refused'
    message = ('%(field)s: containers cannot be attached to %(network)s: it is the network of '
               'the host itself, or none.')


class UnsupportedByDriver(DriverError):
    status = 400
    code = 'unsupported_by_driver'
    title = 'Not supported'
    message = 'The driver cannot do this.'


class WrongState(DriverError):
    """What the engine found when the operation's turn came does not allow it."""
    status = 409
    code = 'invalid_state'
    title = 'Invalid state'
    message = 'Cannot %(operation)s a container in %(status)s state.'


class Skipped(Error):
    """Told on an action, and to who waited for it."""
    status = 409
    code = 'skipped'
    title = 'Skipped'
    message = 'Not run, because an action before it did not succeed.'


class Interrupted(Error):
    """Told on an action, and to who waited for it."""
    status = 502
    code = 'interrupted'
    title = 'Interrupted'
    message = ('Its conductor ended while it ran, and it must not run twice: whether it took '
               'effect is not known.')


class DeadlineExceeded(Error):
    """Told on an action, never raised to a request."""
    status = 504
    code = 'deadline_exceeded'
    title = 'Deadline exceeded'
    message = 'It did not succeed within %(seconds)d seconds. Last: %(last)s'


class AttemptsExhausted(Error):
    """Told on an action, never raised to a request."""
    status = 502
    code = 'attempts_exhausted'
    title = 'Attempts exhausted'
    message = ('Each of its %(attempts)d attempts ended with the death of the conductor that '
               'made it, or with an error that should have passed.')
    hint = 'Look into the logs of the conductors before you ask for it again.'


def _subclasses(cls):
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _by_code():
    # DriverError's invalid_state shares its code with InvalidState: the first one wins.
    found = {}
    for kind in _subclasses(Error):
        found.setdefault(kind.code, kind)
    return found
