# SPDX-License-Identifier: Apache-2.0
"""Network namespaces: a daemon in one reaches what the suite hands it, and nothing else.

There is no cable into a namespace.  Sockets that listen on its loopback interface are made in it
once and handed out, and whoever has them answers from outside: the fault proxy.  It needs root,
or user namespaces that anybody may make.

``python -m faults.namespace FD PORT...`` is the process that makes one and ends.
"""

import array
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys

from faults import process

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


class Namespace:
    """A network namespace with listening sockets on its 127.0.0.1, ``listeners`` by port.

    It lasts, whatever processes come and go in it.
    """

    def __init__(self, ports):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            maker = subprocess.Popen(
                [sys.executable, '-m', 'faults.namespace', str(theirs.fileno()),
                 *map(str, ports)], pass_fds=[theirs.fileno()])
            theirs.close()
            _, fds, _, _ = socket.recv_fds(ours, 1, len(ports) + 2)
            if maker.wait() or len(fds) < len(ports) + 1:
                raise process.Broken('cannot make a network namespace: that takes root, or '
                                     'user namespaces that anybody may make')
        sockets = [socket.socket(fileno=fd) for fd in fds[:len(ports)]]
        self.listeners = dict(zip(ports, sockets))
        self.fds = fds[len(ports):]           # of the network, and of the user namespace

    def inside(self, command):
        """The command line that runs a command in it; the process must be passed ``fds``."""
        options = [f'--net=/proc/self/fd/{self.fds[0]}']
        if len(self.fds) > 1:
            options += [f'--user=/proc/self/fd/{self.fds[1]}', '--preserve-credentials']
        return ['nsenter', *options, '--', *command]

    def close(self):
        """Let go of it; whoever has the listening sockets closes those."""
        for fd in self.fds:
            os.close(fd)


def _unshare():
    """Enter a new network namespace; returns the paths of what was made."""
    uid, gid, made = os.geteuid(), os.getegid(), ['net']
    flags = _CLONE_NEWNET
    if uid != 0:
        flags |= _CLONE_NEWUSER
        made.append('user')
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    if uid != 0:
        for name, text in (('setgroups', 'deny'), ('uid_map', f'{uid} {uid} 1'),
                           ('gid_map', f'{gid} {gid} 1')):
            with open(f'/proc/self/{name}', 'w') as file:
                file.write(text)
    return [f'/proc/self/ns/{name}' for name in made]


def _loopback_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = array.array('B', struct.pack('16sh14x', b'lo', 0))
        fcntl.ioctl(sock, _SIOCGIFFLAGS, request)
        flags, = struct.unpack_from('h', request, 16)
        struct.pack_into('h', request, 16, flags | _IFF_UP)
        fcntl.ioctl(sock, _SIOCSIFFLAGS, request)


def _listener(port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(('127.0.0.1', port))
    sock.listen(1024)
    return sock


def main():
    channel = socket.socket(fileno=int(sys.argv[1]))
    paths = _unshare()
    _loopback_up()
    listeners = [_listener(int(port)) for port in sys.argv[2:]]
    namespaces = [os.open(path, os.O_RDONLY) for path in paths]
    socket.send_fds(channel, [b'.'], [sock.fileno() for sock in listeners] + namespaces)


if __name__ == '__main__':
    main()
