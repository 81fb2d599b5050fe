# SPDX-License-Identifier: Apache-2.0
"""container-service-conductor: the daemon that carries actions out."""

import sys

from container_service import concurrency

concurrency.of_command_line()

from oslo_config import cfg

from container_service import conf as options
from container_service import daemon
from container_service import rpc
from container_service.conductor import service
from container_service.db import base


def main():
    conf = options.load(cfg.CONF, sys.argv[1:])
    seconds = min(conf.conductor.database_timeout, conf.conductor.lease / 3)
    daemon.run(service.Conductor(conf, base.Database(conf, seconds), rpc.transport(conf)))
