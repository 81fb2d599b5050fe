# SPDX-License-Identifier: Apache-2.0
"""Registries of a project: where its images come from, and the credentials for it.

A password is encrypted before it is written and read by conductors only, when they pull
(``conductor/puller.py``): no answer, message, log or action has it.
"""

import fnmatch

from oslo_db import exception as db_exc

from container_service import audit
from container_service import egress
from container_service import exceptions
from container_service import lifecycle
from container_service import references
from container_service.db import idempotency
from container_service.db import images
from container_service.db import registries
from container_service.db.base import run_again


class Policy:
    """Which registries images may come from."""

    def __init__(self, conf):
        self._listed = [each.strip().lower() for each in conf.images.allowed_registries]
        self._way = egress.for_users(conf)

    def check(self, name, domain):
        """Raise InvalidParameter, which names ``name``, unless it may be asked for a registry.

        Nothing is resolved: that is for ``check_where_it_leads``.
        """
        try:
            self._check(domain, self._way.check_literal)
        except egress.Refused as exc:
            raise exceptions.InvalidParameter(
                name=name, reason=f'is of the registry {domain}, which {exc}') from None

    def check_image(self, conn, name, project_id, bay_uuid, image):
        """The same for an image, unless it is one that the project has made on the bay."""
        try:
            self.check(name, references.parse(image).domain)
        except exceptions.InvalidParameter:
            # Asked only now: of most images it need not be.
            if not images.wanted(conn, project_id, bay_uuid, image).local:
                raise

    def check_where_it_leads(self, image):
        """Raise PullFailed unless an engine may be told to pull this image now.

        The engine resolves the name once more, so this keeps honest names from leading astray;
        against names that change their mind only a list helps.
        """
        domain = references.parse(image).domain
        try:
            self._check(domain, self._way.addresses)
        except egress.Refused as exc:
            raise exceptions.PullFailed(f'The registry {domain} {exc}.') from None
        except OSError as exc:
            failed = exceptions.PullFailed(
                f'The name of the registry {domain} cannot be resolved.')
            failed.retriable = True
            raise failed from exc

    def _check(self, domain, look):
        domain = domain.lower()
        if self._listed and not any(fnmatch.fnmatchcase(domain, each) for each in self._listed):
            raise egress.Refused(f'is not allowed here: {", ".join(self._listed)}')
        if domain == references.DEFAULT_DOMAIN or domain in self._listed:
            return
        host, _, port = domain.partition(':')
        look(egress.host(host), int(port or 443))


def create(context, db, keys, *, domain, name=None, username=None, password=None,
           terms=lifecycle.Terms()):  # noqa: B008
    """Record a registry; with an idempotency key used before, find the one made then.

    Returns (registry, whether it was made before).  Raises NameTaken, SecretsUnavailable,
    InvalidParameter, IdempotencyMismatch, MadeAndGone.
    """
    _check(username, password)
    uuid = lifecycle.new_uuid()
    values = {
        'uuid': uuid, 'project_id': context.project_id, 'user_id': context.user_id,
        'name': name, 'domain': domain, 'username': username,
        'password': keys.encrypt(password) if password is not None else None}

    def unit(conn):
        idempotency.insert(conn, context, terms, uuid, 'registry')
        registries.insert(conn, values)
        audit.record(
            conn, context, 'registry:create',
            audit.Target('registry', uuid, name, context.project_id),
            fields=audit.fields({'name': name, 'domain': domain, 'username': username,
                                 'password': password}))
        return registries.find(conn, uuid)

    try:
        return db.transact(unit, landed=lambda conn: registries.find(conn, uuid)), False
    except db_exc.DBDuplicateEntry:
        with db.read() as conn:
            earlier = idempotency.made(conn, context.project_id, terms, registries.find)
            if earlier is not None:
                return earlier, True
        raise exceptions.NameTaken(kind='registry', name=name) from None


def _check(username, password):
    if (username is None) != (password is None):
        missing = 'username' if username is None else 'password'
        raise exceptions.InvalidParameter(
            name=missing, reason='is required: username and password go together')


def update(context, db, keys, ident, changes):
    """Change a registry; returns it as it is then.

    Another domain or username asks for the password again: else who may change a registry could
    have the password, which nobody may read, sent to a server of his own.  Raises
    RegistryNotFound, NameTaken, SecretsUnavailable, InvalidParameter, RegistryInUse.
    """
    values = dict(changes)
    if values.get('password') is not None:
        values['password'] = keys.encrypt(values['password'])

    def unit(conn):
        row = registries.get(conn, ident, context.project_scope, lock=True)
        after = {**row._mapping, **values}
        _check(after['username'], after['password'])
        for name in ('domain', 'username'):
            if (after[name] != row._mapping[name] and row.password is not None
                    and 'password' not in values):
                raise exceptions.InvalidParameter(
                    name='password', reason=f'must be given again with another {name}')
        if after['domain'] != row.domain:
            _refuse_while_used(conn, row)
        registries.update(conn, row.uuid, values)
        audit.record(conn, context, 'registry:update', audit.Target.of('registry', row),
                     fields=sorted(changes))
        return registries.find(conn, row.uuid)

    try:
        return db.transact(unit, run_again)
    except db_exc.DBDuplicateEntry:
        raise exceptions.NameTaken(kind='registry', name=values['name']) from None


def delete(context, db, ident, terms=lifecycle.Terms()):  # noqa: B008
    """Forget a registry that nothing uses; returns whether the same request did so before.

    Raises RegistryNotFound, RegistryInUse, IdempotencyMismatch.
    """
    deleting = []

    def unit(conn):
        row = registries.get(conn, ident, context.project_scope, lock=True)
        deleting[:] = [row.uuid]
        idempotency.insert(conn, context, terms, row.uuid, 'registry')
        _refuse_while_used(conn, row)
        registries.delete(conn, row.uuid)
        audit.record(conn, context, 'registry:delete', audit.Target.of('registry', row))

    try:
        db.transact(unit, landed=lambda conn: registries.find(conn, deleting[0]) is None or None)
        return False
    except (db_exc.DBDuplicateEntry, exceptions.RegistryNotFound, exceptions.RegistryInUse):
        with db.read() as conn:
            if idempotency.earlier(conn, context.project_id, terms) is None:
                raise
        return True


def _refuse_while_used(conn, row):
    user = registries.used_by(conn, row)
    if user:
        raise exceptions.RegistryInUse(registry=row.name or row.uuid, user=user)


def credentials(db, keys, pull):
    """What the engine is given to pull with: {username, password}; None for nothing.

    Raises SecretsUnavailable, RegistryNotFound.
    """
    if pull.registry_uuid is None:
        return None
    with db.read() as conn:
        row = registries.find(conn, pull.registry_uuid)
    if row is None:
        raise exceptions.RegistryNotFound(registry=pull.registry_uuid)
    # Once more where they are used: what is sent elsewhere cannot be taken back.
    if references.parse(pull.image).domain.lower() != row.domain:
        raise exceptions.Conflict(
            f'The registry {row.name or row.uuid} is for {row.domain}: it does not have the '
            f'image {pull.image}.')
    if row.password is None:
        return None
    return {'username': row.username, 'password': keys.decrypt(row.password)}
