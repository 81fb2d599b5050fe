# SPDX-License-Identifier: Apache-2.0
"""The version of what is installed."""

import functools
import importlib.metadata


@functools.cache
def version():
    """The installed version, or ``unknown`` when run from a tree that is not installed."""
    try:
        return importlib.metadata.version('container_service')
    except importlib.metadata.PackageNotFoundError:
        return 'unknown'
