# SPDX-License-Identifier: Apache-2.0
"""The application for WSGI servers: ``container_service.wsgi.api:application``.

Reads container-service.conf from oslo's usual places, or the file that the environment variable
CONTAINER_SERVICE_CONFIG names.  It opens no connection before its first request, so servers may
load it before they fork.
"""

import os

from oslo_config import cfg

from container_service import conf as options
from container_service import exceptions
from container_service import rpc
from container_service.api import app
from container_service.db import base


def _application():
    named = os.environ.get('CONTAINER_SERVICE_CONFIG')
    conf = options.load(cfg.CONF, ['--config-file', named] if named else [])
    if conf.api.auth_strategy == 'none' and not conf.api.allow_unauthenticated:
        # The server in front decides who reaches it, and nobody would be asked who they are.
        raise exceptions.Error(
            'auth_strategy is none: everybody who reaches this WSGI application would be '
            'administrator. Set [api] auth_strategy, or allow_unauthenticated if another guard '
            'is in front of it.')
    return app.build(conf, base.Database(conf, conf.api.database_timeout), rpc.transport(conf))


application = _application()
