# SPDX-License-Identifier: Apache-2.0
"""container-service-standalone: a whole deployment in one process, for one machine."""

import sys

from container_service import concurrency

concurrency.choose()

from oslo_config import cfg

from container_service import conf as options
from container_service import daemon
from container_service import standalone


def main():
    conf = cfg.CONF
    conf.register_cli_opts(standalone.CLI_OPTS)
    options.load(conf, sys.argv[1:])
    standalone.set_defaults(conf)
    with daemon.building():
        service = standalone.Standalone(conf)
    daemon.run(service)
