# SPDX-License-Identifier: Apache-2.0
"""Imported before everything else by what starts a process: chooses threads for oslo.service.

oslo.messaging imports oslo.service, which otherwise chooses eventlet at its first import.
"""

import warnings

from oslo_service import backend

# futurist imports eventlet wherever it is installed, and eventlet warns whoever imports it.
warnings.filterwarnings('ignore', message=r'\s*Eventlet is deprecated')

backend.init_backend(backend.BackendType.THREADING)
