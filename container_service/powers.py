# SPDX-License-Identifier: Apache-2.0
"""What a container may be given of its host where the operator has opened it.  Standard library
only.

Each has a rule of policy, which is closed to everybody by default.  What a container was given is
in its spec under ``opened``, written when the request was allowed; drivers go by that alone.
"""

import posixpath

PRIVILEGED = 'privileged'            # all capabilities and devices
HOST_NETWORK = 'host_network'        # the network of the host itself
BIND_MOUNTS = 'bind_mounts'          # directories of the host

RULES = {power: f'container:create_{power}' for power in (PRIVILEGED, HOST_NETWORK, BIND_MOUNTS)}

HOST = 'host'                        # the network of that name

# Whoever has one of these has the host, or all containers of it; nobody can open them.
_NEVER = ('/proc', '/sys', '/dev', '/run/docker', '/run/docker.sock', '/run/containerd',
          '/run/podman', '/run/crio', '/var/lib/docker', '/var/lib/containerd',
          '/var/lib/containers')


def of(spec):
    """What was opened for a container."""
    return tuple(spec.get('opened') or ())


def refused(path, socket=None):
    """Why a path of the host can never be mounted, to complete "must ..."; None when it may.

    ``socket`` is that of the engine, where one is known.
    """
    if (not path.startswith('/') or path.startswith('//') or posixpath.normpath(path) != path
            or not path.isprintable()):
        return 'be an absolute path without . and .. in it'
    real = _run(path)
    for never in (*_NEVER, *([_run(socket)] if socket else ())):
        if _is_below(real, never) or _is_below(never, real):
            return f'not be / nor have to do with {never}'
    if posixpath.basename(path).endswith('.sock'):
        return 'not be a socket'
    return None


def is_allowed(path, allowed):
    """Whether a path is one of those that the operator allows.

    Only such a path itself: what is below one may be a link that a container made, and lead
    anywhere on the host.  For the same reason one of them is nothing worth below another.
    """
    return path in allowed and not any(
        _is_below(path, other) for other in allowed if other != path)


def _run(path):
    """A path by the name that its directory has: /var/run leads to /run."""
    return path.removeprefix('/var') if _is_below(path, '/var/run') else path


def _is_below(path, other):
    return path == other or path.startswith(f'{other.rstrip("/")}/')
