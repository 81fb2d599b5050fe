# SPDX-License-Identifier: Apache-2.0
"""container-service-api: the REST API as a daemon of its own."""

import sys

from container_service import concurrency

concurrency.choose()

from oslo_config import cfg

from container_service import conf as options
from container_service import daemon
from container_service import rpc
from container_service.api import app
from container_service.api import server
from container_service.db import base


def main():
    conf = options.load(cfg.CONF, sys.argv[1:])
    db = base.Database(conf, conf.api.database_timeout)
    with daemon.building():
        served = app.build(conf, db, rpc.transport(conf))
    daemon.run(server.Server(conf, served))
