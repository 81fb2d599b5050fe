# SPDX-License-Identifier: Apache-2.0
from container_service import real_threads  # noqa: F401 - must come first
