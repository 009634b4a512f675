#!/usr/bin/python3
"""Measures how much of echopool's CPU time is its own, and not the kernel's; --help explains it."""

import argparse
import os
import select
import socket
import sys
import time
from contextlib import ExitStack

from common import command, process, server

EPILOG = "It needs an idle machine: what others do costs misses of the cache, which are user time."
TARGET = 0.08
WORKERS = 2
CLIENTS = 50
MESSAGE = b"0123456789abcdef" * 4


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split(";", maxsplit=1)[0] + ".",
                                     epilog=EPILOG)
    parser.add_argument("--build", default="build", metavar="DIR",
                        help="where echopool was built (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N",
                        help="the best of so many counts, as ticks are but samples (%(default)s)")
    parser.add_argument("--duration", type=float, default=5.0, metavar="SECONDS",
                        help="of each round (%(default)s)")
    return parser.parse_args(arguments)


def connected(stack, running):
    """Connects the clients, which the stack closes."""
    clients = [stack.enter_context(socket.create_connection((server.HOST, running.port)))
               for _ in range(CLIENTS)]
    return {client.fileno(): client for client in clients}


def talk(clients, duration):
    """Every client sends, waits for the echo, and sends again."""
    read, write = os.read, os.write
    end = time.monotonic() + duration
    with select.epoll() as poll:
        for fd in clients:
            poll.register(fd, select.EPOLLIN)
            write(fd, MESSAGE)
        while time.monotonic() < end:
            for fd, _ in poll.poll(5):
                read(fd, 65536)
                write(fd, MESSAGE)
        for fd in clients:
            read(fd, 65536)


def share(running, clients, duration):
    """The share of user time while the clients talk."""
    before = process.cpu_ticks(running.pid)
    talk(clients, duration)
    user, system = (now - then for now, then in zip(process.cpu_ticks(running.pid), before))
    return user / max(1, user + system)


def fail(text, status):
    """One sentence on standard error, and the exit status."""
    print(f"bench/user_time.py: {text}", file=sys.stderr)
    return status


def main():
    options = parse(sys.argv[1:])
    program = os.path.abspath(os.path.join(options.build, "echopool"))
    missing = command.missing_program([program])
    if missing:
        return fail(missing, 1)
    with ExitStack() as stack:
        running = stack.enter_context(server.echopool(program, None, [f"pool.workers={WORKERS}"]))
        clients = connected(stack, running)
        shares = [share(running, clients, options.duration)
                  for _ in range(max(1, options.rounds))]
    best = min(shares)
    found = ", ".join(f"{100 * each:.1f}" for each in shares)
    print(f"user time: {found} % of echopool's CPU time; at most {100 * TARGET:.0f} %: "
          f"{'reached' if best <= TARGET else 'NOT REACHED'}")
    return 0 if best <= TARGET else 1


if __name__ == "__main__":
    sys.exit(command.run(main, fail))
