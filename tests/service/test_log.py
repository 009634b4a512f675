"""What the log says: a line at each end of a connection, and the levels."""

import re
import signal
import time

import pytest

from clients import Crowd
from harness import seconds, wait_for, without_file
from live import client_from


@pytest.fixture
def server(start):
    return start({"log.connections": True, "timeouts.drain": seconds(0.2)})


def test_a_line_when_it_comes_and_one_when_it_goes(server):
    client = server.connect()
    name = client.name
    client.echo(b"x" * 64)
    port = server.address[1]
    accepted = server.log.wait(r"^info: connection accepted peer=(\S+) local=(\S+)$")[0]
    assert accepted.groups() == (name, f"127.0.0.1:{port}")
    client.close()
    closed = server.log.wait(r"^info: connection closed peer=(\S+) received=(\d+) sent=(\d+) "
                             r"seconds=(\d+\.\d+) reason=(\S+)$")[0]
    assert closed[1] == name
    assert (closed[2], closed[3], closed[5]) == ("64", "64", "client")
    assert float(closed[4]) < seconds(5)


def test_ipv6_peers_are_in_brackets(start):
    server = start({"listen.addresses": ["::1"], "log.connections": True})
    client = server.connect()
    name = client.name
    client.echo()
    client.close()
    server.log.wait(r"connection accepted peer=" + re.escape(name) + r" local=\[::1\]:\d+$")
    server.log.wait(r"connection closed peer=" + re.escape(name) + " ")


def test_a_reset_is_called_a_reset(server):
    client = server.connect()
    client.echo()
    client.reset()
    server.log.wait(r"connection closed .*received=13 sent=13 .*reason=reset")


def test_a_drained_connection_tells_its_bytes(server):
    client = server.connect()
    client.echo(b"x" * 100)
    server.stop()
    assert len(server.log.matching(r"received=100 sent=100 .*reason=drain")) == 1


def test_what_could_not_be_given_back_shows_in_the_bytes(server):
    crowd = Crowd(server.address, 1)
    [sent] = crowd.fill(b"x" * 65536).values()
    crowd.reset()
    closed = server.log.wait(r"connection closed .*received=(\d+) sent=(\d+) ")[0]
    assert int(closed[2]) <= int(closed[1]) <= sent


def test_seconds_are_those_from_the_accept_to_the_close(server):
    earliest = time.monotonic()
    client = server.connect()
    server.log.wait("connection accepted")
    latest = time.monotonic()
    time.sleep(0.4)  # the time that is measured
    first_end = time.monotonic()
    client.close()
    told = float(server.log.wait(r"connection closed .*seconds=(\d+\.\d+)")[0][1])
    last_end = time.monotonic()
    assert first_end - latest - 0.001 <= told <= last_end - earliest + 0.001


def test_many_connections_give_whole_lines(launch, memory_file):
    """Into a file, as a pipe may be full before it is read."""
    with open(memory_file, "wb") as log:
        server = launch({"log.connections": True, "log.rate": 0, "pool.workers": 4},
                        stderr=log).wait_listening()
    crowd = Crowd(server.address, 1000, wait=False)
    crowd.exchange()
    crowd.close()
    closed = re.compile(r"^info: connection closed peer=.* reason=client$", re.M)
    wait_for(lambda: len(closed.findall(memory_file.read_text())) == 1000)
    text = memory_file.read_text()
    lines = [line for line in text.splitlines() if "connection" in line.split()[1]]
    assert len([line for line in lines if line.startswith("info: connection accepted")]) == 1000
    assert len(lines) == 2000
    peers = {re.search(r"peer=(\S+)", line)[1] for line in lines}
    assert len(peers) == 1000


def test_lines_that_clients_cause_are_limited_and_the_others_counted(start):
    settings = {"access.deny": ["127.0.0.2"], "log.connections": True, "log.rate": 1}
    server = start(settings)
    begin = time.monotonic()
    for _ in range(200):
        client_from(server, "127.0.0.2").expect_closed()
    wait_for(lambda: server.figures()[1]["denied"] == 200)
    end = time.monotonic()
    written = server.log.matching(r"^info: connection (accepted|closed) peer=127\.0\.0\.2:")
    assert 1 <= len(written) <= 10 + (end - begin) + 1
    server.reload(settings | {"log.rate": 0})
    mark = server.log.mark()
    for _ in range(50):
        client_from(server, "127.0.0.2").expect_closed()
    server.log.wait("reason=denied$", count=50, start=mark)
    server.stop()
    told = server.log.matching(r"^info: \d+ lines about connections were left out; see log.rate$")
    left_out = sum(int(line.split()[1]) for line in told)
    written = server.log.matching("^info: connection ")
    assert len(written) + left_out == 500


def test_connections_are_not_logged_unless_asked_for(start):
    server = start()
    client = server.connect()
    client.echo()
    client.close()
    server.stop()
    assert not server.log.matching("connection (accepted|closed)")


@pytest.mark.parametrize("level, wanted", [("error", set()), ("warning", {"warning"}),
                                           ("info", {"warning", "info"})])
def test_the_level_filters(launch, level, wanted):
    """A warning: SIGHUP without a file under nohup. Information: all the rest."""
    options = without_file(f"log.level={level}", "log.connections=true", nohup=True)
    server = launch(**options).wait_listening()
    server.connect().echo()
    server.send_signal(signal.SIGHUP)
    server.send_signal(signal.SIGUSR1)
    server.close_clients()
    server.stop()
    levels = {line.split(":")[0] for line in server.log.matching()}
    assert levels == wanted


def test_every_line_starts_with_its_level(start):
    server = start({"log.level": "debug", "log.connections": True})
    server.connect().echo()
    server.figures()
    server.close_clients()
    server.stop()
    lines = server.log.matching()
    assert lines and all(re.match("(error|warning|info|debug): [^ ]", line) for line in lines)
    assert len(lines) == len([line for line in lines if line.isprintable()])


def test_the_stop_is_told(server):
    mark = server.log.mark()
    server.stop()
    assert server.log.matching("^info: ", mark)
