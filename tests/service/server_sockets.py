"""The sockets of the program under test, looked at through copies of its own descriptors."""

import ctypes
import os
import re
import socket
import struct

import pytest

SYS_PIDFD_GETFD = 438
TCP_NOTSENT_LOWAT = 25
TCPI_SACKED = 28  # where in struct tcp_info; of a listening socket it is the backlog


def copy_of(server, number):
    """A copy of a descriptor of the server, as a socket."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(server.pid)
    try:
        copy = libc.syscall(SYS_PIDFD_GETFD, process, number, 0)
    finally:
        os.close(process)
    if copy < 0:
        pytest.skip(f"needs pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return socket.socket(fileno=copy)


def sockets(server):
    """Copies of the server's internet sockets: {True: those that listen, False: the accepted}."""
    found = {True: [], False: []}
    for number, name in server.descriptors().items():
        if re.match("socket:", name):
            sock = copy_of(server, number)
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                found[bool(listens)].append(sock)
    return found


def backlog_of(listener):
    """The backlog that the kernel gives a listening socket."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCPI_SACKED + 4)
    return struct.unpack_from("I", info, TCPI_SACKED)[0]
