# SPDX-License-Identifier: Apache-2.0
"""Images of a project on bays: pull, tag, delete, prune.

What is asked for is written to the image and to a row of ``pulls``, which a conductor claims and
carries out (``conductor/puller.py``); its end is told to the image by ``db/images.py``.  Asking
again for what is under way changes nothing.
"""

from oslo_db import exception as db_exc

from container_service import audit
from container_service import exceptions
from container_service import lifecycle
from container_service import references
from container_service import states
from container_service.db import bays
from container_service.db import idempotency
from container_service.db import images
from container_service.db import pulls
from container_service.db import registries
from container_service.db.base import run_again

IF_NOT_PRESENT = 'ifnotpresent'

_ATTEMPTS = 5

IMAGE = 'image'         # what an idempotency key stands for


def pull(context, db, *, reference, sources=None, bay=None, registry=None, policy=None,
         terms=lifecycle.Terms()):  # noqa: B008
    """Have an image on a bay; returns it, and whether the same request was made before.

    ``sources`` is a registries.Policy.  With the policy ``ifnotpresent`` one that the project has
    there already is left as it is.  Raises BayNotFound, BayRequired, RegistryNotFound,
    InvalidParameter, ImageBusy, NameTaken, IdempotencyMismatch, MadeAndGone.
    """
    uuid, pull_uuid = lifecycle.new_uuid(), lifecycle.new_uuid()

    def unit(conn):
        place = (bays.get(conn, bay, context.project_scope, bays.SHARE) if bay
                 else bays.only(conn, context.project_scope))
        asked, registry_uuid = references.parse(reference), None
        if registry is not None:
            registry_uuid, whole = registries.named(
                conn, context.project_id, registry, reference, field='repo')
            asked = references.parse(whole)
        else:
            registry_uuid = registries.of_image(conn, context.project_id, asked)
        if sources is not None:
            sources.check('repo', asked.domain)
        key = {'project_id': context.project_id, 'bay_uuid': place.uuid, 'repo': asked.name,
               'tag': asked.version}
        row = images.named(conn, **key)
        if row is not None:
            if row.local:
                raise exceptions.NameTaken(
                    f'The project has made an image {asked} on this bay. Delete it first.')
            if row.status in images.BUSY and row.status != images.PULLING:
                raise exceptions.ImageBusy(image=asked, status=row.status)
            if row.status == images.AVAILABLE and policy == IF_NOT_PRESENT:
                idempotency.insert(conn, context, terms, row.uuid, IMAGE)
                audit.record(conn, context, 'image:pull', audit.of_image(row))
                return images.find(conn, row.uuid)
        # Others must see whose it is before it is there.
        work = pulls.join(conn, place.uuid, str(asked), pull_uuid, registry_uuid)
        if row is not None and row.status == images.PULLING and row.pull_uuid != work:
            # With other credentials now: nobody looks how the other pull ends.
            audit.image_ended(conn, row, states.CANCELLED)
        made = images.put(conn, row, uuid, {
            **key, 'user_id': context.user_id, 'local': 0, 'image_pull_policy': policy,
            'status': images.PULLING, 'status_reason': None, 'asked_for': 1,
            **({'registry_uuid': registry_uuid} if registry_uuid else {}),
            'pull_uuid': work})
        idempotency.insert(conn, context, terms, made, IMAGE)
        return _begun(conn, context, 'image:pull', made, row)

    return _once(context, db, terms, unit)


def tag(context, db, ident, repo, name=None, terms=lifecycle.Terms()):  # noqa: B008
    """Give an image another name, by which its project knows it on its bay; as ``pull``.

    Raises ImageUnknown, ImageBusy, NameTaken, InvalidParameter, IdempotencyMismatch,
    MadeAndGone.
    """
    uuid, pull_uuid = lifecycle.new_uuid(), lifecycle.new_uuid()

    def unit(conn):
        source = images.lock(conn, ident, context.project_scope)
        if source.status != images.AVAILABLE:
            raise exceptions.ImageBusy(image=_words(source), status=source.status)
        try:
            target = references.local(source.project_id, repo, name)
        except ValueError as exc:
            raise exceptions.InvalidParameter(name='repo', reason=str(exc)) from None
        key, row = images.made(conn, source.project_id, source.bay_uuid, repo, name)
        if row is not None and (row.status in images.BUSY or row.uuid == source.uuid):
            raise exceptions.ImageBusy(image=_words(row), status=row.status)
        made = images.put(conn, row, uuid, {
            **key, 'user_id': context.user_id, 'local': 1, 'status': images.TAGGING,
            'status_reason': None, 'asked_for': 1, 'registry_uuid': None,
            'pull_uuid': pulls.begin(conn, images.TAG, source.bay_uuid,
                                     images.engine_name(source), pull_uuid, str(target))})
        idempotency.insert(conn, context, terms, made, IMAGE)
        return _begun(conn, context, 'image:tag', made)

    return _once(context, db, terms, unit)


def delete(context, db, ident, terms=lifecycle.Terms()):  # noqa: B008
    """Give an image up; its engine's image is removed with the last claim on it; as ``pull``.

    One that is being pulled is not pulled any further.  The image is None when it is gone.
    Raises ImageUnknown, ImageInUse, ImageBusy, IdempotencyMismatch.
    """
    return _delete(context, db, ident, context.project_scope, terms, 'image:delete')


def _delete(context, db, ident, project_id, terms, rule):
    pull_uuid = lifecycle.new_uuid()

    def unit(conn):
        row = images.lock(conn, ident, project_id)
        idempotency.insert(conn, context, terms, row.uuid, IMAGE)
        user = images.user_of(conn, row, row.project_id)
        if user:
            raise exceptions.ImageInUse(image=_words(row), user=user)
        if row.status == images.DELETING:
            return _begun(conn, context, rule, row.uuid, row)
        if row.status == images.TAGGING:
            raise exceptions.ImageBusy(image=_words(row), status=row.status)
        if row.status == images.PULLING:
            images.update(conn, row.uuid, {'status': images.ERROR})
            pulls.cancel_unless_waited_for(conn, row.pull_uuid)
            audit.image_ended(conn, row, states.CANCELLED)
        never_there = (row.image_id is None and row.status != images.PULLING
                       and row.registry_uuid is None)
        if never_there or images.is_shared(conn, row):
            images.delete(conn, row.uuid)
            audit.record(conn, context, rule, audit.of_image(row))
            return None
        images.update(conn, row.uuid, {
            'status': images.DELETING, 'status_reason': None,
            'pull_uuid': pulls.begin(conn, images.REMOVE, row.bay_uuid, images.engine_name(row),
                                     pull_uuid)})
        return _begun(conn, context, rule, row.uuid)

    return _once(context, db, terms, unit, may_be_gone=True)


def _begun(conn, context, rule, uuid, before=None):
    """The image with which something is done from now on; that goes into the audit trail.

    ``before`` is what it was until then.  Where the same was under way for a request already, this
    one began nothing and has no end of its own: there may be any number, and ends are written at
    once.
    """
    row = images.find(conn, uuid)
    same = before is not None and (before.status, before.pull_uuid) == (row.status, row.pull_uuid)
    folded = same and bool(before.asked_for or before.status == images.DELETING)
    record, outcome = ((audit.record_fold, audit.SUCCESS) if folded
                       else (audit.record, audit.PENDING))
    record(conn, context, rule, audit.of_image(row), outcome=outcome, action_uuid=row.pull_uuid)
    return row


def prune(context, db, bay=None):
    """Delete all images on a bay that nothing uses: of all projects, for administrators.

    Returns them as they were.  Raises BayNotFound, BayRequired.
    """
    with db.read() as conn:
        place = (bays.get(conn, bay, context.project_scope) if bay
                 else bays.only(conn, context.project_scope))
        scope = None if context.is_admin else context.project_scope
        found = images.of_bay(conn, place.uuid, scope)
    gone = []
    for uuid in found:
        with db.read() as conn:
            row = images.find(conn, uuid)
        try:
            if row is not None:
                _delete(context, db, uuid, scope, lifecycle.Terms(), 'image:prune')
                gone.append(row)
        except (exceptions.ImageInUse, exceptions.ImageBusy, exceptions.ImageUnknown):
            pass
    return gone


def _words(row):
    return references.join(row.repo, row.tag)


def _once(context, db, terms, unit, may_be_gone=False):
    """Run a transaction, unless the request was made before; as ``pull`` returns.

    Again when somebody made the same rows at the same time.
    """
    for attempts_left in reversed(range(_ATTEMPTS)):
        try:
            return db.transact(unit, run_again), False
        except (db_exc.DBDuplicateEntry, exceptions.Conflict, exceptions.NotFound) as exc:
            with db.read() as conn:
                if may_be_gone:
                    earlier = idempotency.earlier(conn, context.project_id, terms)
                    found = earlier and images.find(conn, earlier.resource_uuid)
                else:
                    earlier = found = idempotency.made(
                        conn, context.project_id, terms, images.find)
                if earlier is not None:
                    return found, True
            if not (attempts_left and isinstance(exc, db_exc.DBDuplicateEntry)):
                raise
