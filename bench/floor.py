# SPDX-License-Identifier: Apache-2.0
"""The floor of accepting: a bare Pecan application, one INSERT and one cast for each request.

No control plane that answers 202 after it has written the work down and told somebody can do
with less.  So it has no validation, no policy, no middleware, no lock, and nothing of ours in
it: SQLAlchemy's own engine, and a client of the bus that is made once.

    python -m bench.floor PORT THREADS     on cheroot, as container-service-api is
    gunicorn 'bench.floor:application()'   on another server

BENCH_DATABASE_URL and BENCH_TRANSPORT_URL say where to.  Both are connected to at the first
request, hence after a fork.
"""

import os
import sys
import uuid

from cheroot import wsgi
from oslo_config import cfg
import oslo_messaging
import pecan
import sqlalchemy as sa

# The queue is declared by whoever runs us: a cast to a topic without one is dropped, and cheaper.
TOPIC = 'bench-floor'
SERVER = 'bench'
EXCHANGE = 'container-service'

metadata = sa.MetaData()
operations = sa.Table(
    'bench_floor', metadata,
    sa.Column('id', sa.BigInteger, primary_key=True),
    sa.Column('uuid', sa.String(36), nullable=False, index=True),
    sa.Column('status', sa.String(16), nullable=False),
    sa.Column('created_at', sa.DateTime, server_default=sa.func.now()))


class Root:

    def __init__(self):
        # As many connections as container_service.conf asks for.
        self._engine = sa.create_engine(
            os.environ['BENCH_DATABASE_URL'], pool_size=16, max_overflow=48)
        cfg.CONF([], project=EXCHANGE)
        oslo_messaging.set_transport_defaults(control_exchange=EXCHANGE)
        transport = oslo_messaging.get_rpc_transport(cfg.CONF, os.environ['BENCH_TRANSPORT_URL'])
        cfg.CONF.set_default('rabbit_quorum_queue', True, group='oslo_messaging_rabbit')
        self._client = oslo_messaging.get_rpc_client(
            transport, oslo_messaging.Target(topic=TOPIC)).prepare(server=SERVER, retry=0)

    @pecan.expose('json')
    def op(self):
        made = str(uuid.uuid4())
        with self._engine.begin() as conn:
            conn.execute(operations.insert().values(uuid=made, status='queued'))
        self._client.cast({}, 'wake', container_uuid=made)
        pecan.response.status = 202
        return {'uuid': made}


def application():
    return pecan.make_app(Root(), debug=False)


def main():
    port, threads = map(int, sys.argv[1:])
    wsgi.Server(('127.0.0.1', port), application(), numthreads=threads,
                request_queue_size=1024).start()


if __name__ == '__main__':
    main()
