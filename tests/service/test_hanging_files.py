"""A reload whose file, or whose program, is on a file system that no longer answers."""

import shutil
import signal
import time

import pytest

from hanging_files import LOOKUP, OPEN, READ, Mount
from harness import PROGRAM, configuration, exec_wrapper, needs_root, seconds, wait_for

pytestmark = needs_root

SETTINGS = {"listen.addresses": ["127.0.0.1"], "listen.port": 0, "pool.workers": 1,
            "timeouts.drain": 0.5}
# Where the child hangs: on the way to the file, in it, and on the way to the program.
HANGS = pytest.mark.parametrize("operation, name", [(LOOKUP, "f.conf"), (READ, "f.conf"),
                                                    (OPEN, "echopool")])


class Served:
    """A server whose file and program are on that file system."""

    def __init__(self, start, directory):
        files, mounted = directory / "files", directory / "mounted"
        files.mkdir()
        mounted.mkdir()
        self.conf = files / "f.conf"
        self.write(SETTINGS)
        shutil.copy(PROGRAM, files / "echopool")
        self.mount = Mount(files, mounted)
        there = exec_wrapper(f"sys.argv[1], sys.argv[3] = '{mounted}/echopool', "
                             f"'{mounted}/f.conf'")
        self.server = start(wrapper=[*self.mount.wrapper, *there])

    def write(self, settings):
        self.conf.write_text(configuration(settings), encoding="ascii")


@pytest.fixture
def served(start, tmp_path):
    made = Served(start, tmp_path)
    yield made
    # The program is in there, so it ends first.
    made.mount.go_on()
    made.server.finish()
    made.mount.close()


def reload_figures(server):
    mark = server.log.mark()
    server.figures()
    return server.log.wait(r"reload (applied=\d+ refused=\d+)$", start=mark)[0][1]


def hang_up(server):
    """SIGHUP; returns where its lines begin."""
    mark = server.log.mark()
    server.send_signal(signal.SIGHUP)
    server.log.wait("SIGHUP: reading", start=mark)
    return mark


@HANGS
def test_reloads_are_refused_until_it_answers_again(served, operation, name):
    server, mount = served.server, served.mount
    client = server.connect()
    client.echo()
    mount.hang(operation, name)
    mark = hang_up(server)
    assert reload_figures(server) == "applied=0 refused=0"
    client.echo()
    server.log.wait("^error: reload: .*2000 ms", start=mark)
    server.log.wait(r"^error: reload: the child \(process \d+\) does not end", start=mark)
    server.log.wait("^error: reload: the settings stay as they are", start=mark)
    mark = hang_up(server)
    server.log.wait("^error: reload: the child of an earlier reload .* stay as they are",
                    start=mark)
    assert reload_figures(server) == "applied=0 refused=2"
    client.echo()
    mark = server.log.mark()
    mount.go_on()
    server.log.wait("reload: the child that did not end has ended", start=mark)
    served.write(SETTINGS | {"pool.workers": 2})
    server.reload()
    assert server.limits["workers"] == 2
    assert reload_figures(server) == "applied=1 refused=2"


@HANGS
@pytest.mark.parametrize("moment", ["reading", "given up"])
def test_sigterm_drains_and_ends_it(served, operation, name, moment):
    server, mount = served.server, served.mount
    client = server.connect()
    client.echo()
    mount.hang(operation, name)
    mark = hang_up(server)
    if moment == "given up":
        server.log.wait("does not end", start=mark)
    begin = time.monotonic()
    server.send_signal(signal.SIGTERM)
    wait_for(server.refuses)
    # The child that is left has none of the server's sockets, so the client hears of the end.
    client.expect_closed()
    assert server.process.wait(seconds(10)) == 0
    assert time.monotonic() - begin < 0.5 + seconds(1)
    mount.go_on()
