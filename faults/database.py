# SPDX-License-Identifier: Apache-2.0
"""A database of a run, an account for each daemon, and a record of which account wrote what.

The record is a trigger on the table of actions, in this database only.  It tells a write that
was accepted from an old claim from one of the claim of now, which the rows at the end do not.
"""

import contextlib
import secrets

import sqlalchemy as sa

from container_service.db import models
from faults import process

_AUDIT = sa.Table(
    'faults_audit', sa.MetaData(),
    sa.Column('id', sa.BigInteger, primary_key=True, autoincrement=True),
    sa.Column('at', models.Time), sa.Column('who', sa.String(80)),
    sa.Column('action_uuid', sa.String(36)), sa.Column('container_uuid', sa.String(36)),
    sa.Column('old_status', sa.String(16)), sa.Column('status', sa.String(16)),
    sa.Column('old_claim', sa.String(36)), sa.Column('claim', sa.String(36)),
    sa.Column('fence', sa.BigInteger), sa.Column('wrote', sa.Integer))

_COLUMNS = [column.name for column in _AUDIT.columns if column.name != 'id']

# What a conductor writes of work in progress; ``wrote`` says that some of it was changed.
_WRITES = ('stage', 'remembered', 'error', 'finished_at')

_MYSQL = f'''
CREATE TRIGGER faults_audit AFTER UPDATE ON actions FOR EACH ROW
  INSERT INTO faults_audit ({', '.join(f'`{name}`' for name in _COLUMNS)})
  SELECT UTC_TIMESTAMP(6), SUBSTRING_INDEX(SESSION_USER(), '@', 1), NEW.uuid, NEW.resource_uuid,
         OLD.status, NEW.status, OLD.claim_uuid, NEW.claim_uuid, NEW.fence,
         NOT ({' AND '.join(f'OLD.{name} <=> NEW.{name}' for name in _WRITES)})
  FROM DUAL
  WHERE NOT (OLD.status <=> NEW.status AND OLD.claim_uuid <=> NEW.claim_uuid
             AND {' AND '.join(f'OLD.{name} <=> NEW.{name}' for name in _WRITES)})
'''

_POSTGRESQL = f'''
CREATE FUNCTION faults_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  wrote boolean := {' OR '.join(f'OLD.{name} IS DISTINCT FROM NEW.{name}' for name in _WRITES)};
BEGIN
  IF wrote OR OLD.status IS DISTINCT FROM NEW.status
      OR OLD.claim_uuid IS DISTINCT FROM NEW.claim_uuid THEN
    INSERT INTO faults_audit ({', '.join(f'"{name}"' for name in _COLUMNS)})
    VALUES (clock_timestamp() AT TIME ZONE 'utc', session_user, NEW.uuid, NEW.resource_uuid,
            OLD.status, NEW.status, OLD.claim_uuid, NEW.claim_uuid, NEW.fence, wrote::int);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER faults_audit AFTER UPDATE ON actions
  FOR EACH ROW EXECUTE FUNCTION faults_audit();
'''

# What is asked of each kind of server.  An account is dropped with whatever it may still own.
_SQL = {
    'mysql': {
        'none': 'information_schema', 'audit': _MYSQL,
        'create': 'CREATE DATABASE {name} CHARACTER SET utf8mb4',
        'drop': 'DROP DATABASE IF EXISTS {name}',
        'add': "CREATE USER '{user}'@'%%' IDENTIFIED BY '{password}'",
        'grant': "GRANT ALL PRIVILEGES ON {name}.* TO '{user}'@'%%'",
        'remove': "DROP USER '{user}'@'%%'"},
    'postgresql': {
        'none': 'postgres', 'audit': _POSTGRESQL,
        'create': "CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0",
        'drop': 'DROP DATABASE IF EXISTS {name} WITH (FORCE)',
        'add': "CREATE ROLE {user} LOGIN PASSWORD '{password}'",
        # So that what one makes belongs to all of them; session_user still tells who it was.
        'grant': 'GRANT {owner} TO {user};'
                 'ALTER ROLE {user} IN DATABASE {name} SET role = {owner}',
        'remove': 'DROP ROLE {user}'},
}


class Database:
    """``kind`` is mysql or postgresql; ``server`` is the URL of an account that may create
    databases and accounts, to which a name is appended; ``stack`` has its end.
    """

    def __init__(self, kind, server, name, stack):
        self.kind, self.name = kind, name
        self._sql, self._server = _SQL[kind], server
        self.secrets = []
        self._execute('create')
        stack.callback(self._drop)
        # Faults are for others: this connection goes round the proxies.
        self.engine = sa.create_engine(server + name, pool_pre_ping=True)
        stack.callback(self.engine.dispose)
        self._stack = stack

    def _drop(self):
        def dropped():
            # The server needs a moment to see that the sessions of the daemons are gone, and
            # only they, or a superuser, may end them.
            with contextlib.suppress(sa.exc.DBAPIError):
                self._execute('drop')
                return True

        process.wait_for(dropped, f'database {self.name} cannot be dropped', 20)

    def _execute(self, step, **values):
        admin = sa.create_engine(self._server + self._sql['none'], poolclass=sa.pool.NullPool,
                                 isolation_level='AUTOCOMMIT')
        with admin.connect() as conn:
            conn.exec_driver_sql(self._sql[step].format(name=self.name, **values))

    @property
    def address(self):
        """Where the server listens, as HOST:PORT."""
        url = sa.make_url(self._server)
        return f'{url.host}:{url.port}'

    def account(self, daemon):
        """Make an account for a daemon; returns what tells its URL behind a link on a port."""
        user, password = f'{self.name}_{daemon}', f'planted-{secrets.token_hex(8)}'
        self._execute('add', user=user, password=password)
        # Before the database is dropped it may still have rights in it.
        self._stack.callback(self._execute, 'remove', user=user)
        self._execute('grant', user=user, owner=sa.make_url(self._server).username)
        self.secrets.append(password)
        url = sa.make_url(self._server).set(username=user, password=password,
                                            host='127.0.0.1', database=self.name)
        return lambda port: url.set(port=port).render_as_string(hide_password=False)

    def watch(self):
        """Begin to record who changes actions; the schema must be there."""
        _AUDIT.create(self.engine)
        with self.engine.begin() as conn:
            conn.exec_driver_sql(self._sql['audit'])

    def audit(self, containers):
        """What was recorded of containers, in order; ``who`` is the name of the daemon."""
        c = _AUDIT.c
        who = sa.func.replace(c.who, f'{self.name}_', '').label('who')
        return self.rows(
            sa.select(*(who if column is c.who else column for column in c))
            .where(c.container_uuid.in_(containers)).order_by(c.id))

    def rows(self, query):
        """Read; while the server is down, wait for it.  Raises Broken."""
        def read():
            with contextlib.suppress(sa.exc.OperationalError):
                with self.engine.connect() as conn:
                    return (conn.execute(query).all(),)

        return process.wait_for(read, 'the database does not answer', pause=0.2)[0]
