"""bench/peers, which echopool and echoload are held against: that they do what they stand for."""

import json
import os
import select
import socket
import subprocess
from pathlib import Path

import pytest

from clients import Client
from common.server import Server, free_port
from comparing import peers
from harness import PROGRAM, seconds, wait_for

BUILD = Path(PROGRAM).parent
PLAIN_CLIENT = BUILD / "bench" / "peers" / "plain_client"
needs_plain_client = pytest.mark.skipif(not PLAIN_CLIENT.exists(),
                                        reason="needs the plain client: it is built with echoload")


@pytest.fixture(params=[key for key in peers.WHAT if key != peers.OWN])
def peer(request, tmp_path):
    """Each of the peers that are there, running."""
    found = peers.find(BUILD, [request.param])[-1]
    if found.missing:
        pytest.skip(f"needs a peer that is missing: {found.missing}")
    port = free_port()
    with Server(found.command(port, tmp_path), port, name=found.name, ready=found.ready) as server:
        yield server


@pytest.fixture(scope="module", name="data")
def much_data():
    """More than the kernel keeps for a client that does not read."""
    return os.urandom(4_194_301) * 16


def connect(server):
    return Client.connect(("127.0.0.1", server.port), timeout=seconds(10))


def send_until_stalled(client, data):
    """Sends without reading until nothing more fits for a while; returns the bytes sent."""
    client.sock.setblocking(False)
    sent = 0
    while select.select([], [client.sock], [], 0.2)[1]:
        assert sent < len(data), "the server reads without an end for a client that does not"
        sent += client.sock.send(data[sent:sent + 100_000])
    client.sock.settimeout(seconds(10))
    return sent


def test_every_byte_comes_back_to_a_client_that_reads_late(peer, data):
    client = connect(peer)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sent = send_until_stalled(client, data)
    assert sent > 65536
    assert client.receive(sent) == data[:sent]
    client.echo()
    client.finish()
    client.expect_eof()


def test_clients_that_vanish_leave_the_others_alone(peer, data):
    other = connect(peer)
    for vanish_with in ("nothing", "an echo", "much pending"):
        client = connect(peer)
        if vanish_with == "an echo":
            client.send(b"never read")
        elif vanish_with == "much pending":
            send_until_stalled(client, data)
        client.reset()
        other.echo()
    connect(peer).echo()


def test_xinetd_runs_for_a_user_without_a_name(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4242424)
    peers._xinetd_command("xinetd", 7007, tmp_path)
    assert "    user = 4242424\n" in (tmp_path / "xinetd.conf").read_text(encoding="utf-8")


@needs_plain_client
def test_the_plain_client_counts_its_echoes(start):
    server = start({"pool.workers": 1})
    done = subprocess.run([PLAIN_CLIENT, str(server.address[1]), "7", "100000", "0.2"],
                          capture_output=True, text=True, timeout=seconds(20), check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == ["echoes", "seconds", "cpu_s", "us_per_echo"]
    assert found["echoes"] > 0 and 0.2 <= found["seconds"] < seconds(10)
    assert found["us_per_echo"] == pytest.approx(found["cpu_s"] * 1e6 / found["echoes"], rel=0.01)
    wait_for(lambda: server.figures()[0][0]["taken"] == 7)
    taken = server.figures()[0][0]
    # What was under way at the end was not waited for.
    assert 0 <= taken["received_bytes"] - found["echoes"] * 100000 <= 7 * 100000


@needs_plain_client
@pytest.mark.parametrize("arguments", [(), ("7007", "1", "64"), ("0", "1", "64", "1"),
                                       ("7007", "0", "64", "1"), ("7007", "1", "x", "1"),
                                       ("7007", "1", "64", "0")])
def test_wrong_usage_of_the_plain_client_is_told(arguments):
    done = subprocess.run([PLAIN_CLIENT, *arguments], capture_output=True, text=True,
                          timeout=seconds(10), check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and done.stdout == ""


@needs_plain_client
def test_the_plain_client_says_when_nobody_listens():
    done = subprocess.run([PLAIN_CLIENT, str(free_port()), "1", "64", "1"], capture_output=True,
                          text=True, timeout=seconds(10), check=False)
    assert (done.returncode, done.stderr) == (1, "plain_client: connect: Connection refused\n")
