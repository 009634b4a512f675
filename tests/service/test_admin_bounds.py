"""What a client of the admin endpoint can cost, where it may come from, and what it leaves."""

import contextlib
import random
import re
import resource
import select
import socket
import time

import pytest

from clients import Crowd, dial
from harness import again_when_late, check_time, run_program, seconds, wait_for
from live import limited_to, served
from test_admin import ADMIN, PAGES, Answer, admin_address, ask, raw
from test_reload_listeners import free_port, listening
from test_systemd import handing_over, has_systemd

GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
KNOWN = {200, 400, 404, 405, 413, 414, 421, 431, 500, 501, 503, 505}
ONE = {"pool.workers": 1, **ADMIN}


@pytest.fixture(autouse=True)
def needs_endpoint():
    if "+admin" not in run_program("-V").stdout:
        pytest.skip("needs the admin endpoint: this build is without libmicrohttpd")


@pytest.fixture
def silent_clients():
    """A function that makes so many connections to an address, which send nothing."""
    with contextlib.ExitStack() as stack:
        def connect(address, count):
            socks = [stack.enter_context(socket.socket()) for _ in range(count)]
            for sock in socks:
                sock.setblocking(False)
                sock.connect_ex(address)
            return socks
        yield connect


@contextlib.contextmanager
def only_descriptors(server, count):
    """For a while the server may have so many, whatever it had counted on."""
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (count, limits[1]))
    yield
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)


def check_probes(address, count):
    """Each of so many probes must be answered, and nearly all of them soon.

    The very last of them is a matter of who else has the CPUs.
    """
    times = []
    for _ in range(count):
        begin = time.monotonic()
        assert Answer(address, "/livez").status == 200
        times.append(time.monotonic() - begin)
    times.sort()
    check_time(times[count * 9 // 10], seconds(0.05))
    check_time(times[-1], seconds(2))


@pytest.mark.parametrize("places", [4, 16])
@pytest.mark.parametrize("fewer", [0, 2])
@again_when_late
def test_500_probes_are_answered_when_everything_is_exhausted(start, silent_clients, places,
                                                              fewer):
    """Also where descriptors end before the places do: then a place is made all the same."""
    settings = {"pool.workers": 1, "pool.worker_connections": 4, "pool.queue_limit": 4,
                "timeouts.idle_when_full": 0, "timeouts.queue": 0, "admin.connections": places}
    server = start(ADMIN | settings, wrapper=limited_to(100))
    address = admin_address(server)
    served(server)
    server.hold(Crowd(server.address, 30))
    wait_for(lambda: server.figures()[1]["waiting"] == server.limits["queue_limit"])
    silent_clients(address, 200)
    wait_for(lambda: len(server.descriptors()) >= len(server.first_descriptors) + places)
    with only_descriptors(server, len(server.descriptors()) - fewer):
        check_probes(address, 500)


def test_without_descriptors_nobody_is_closed_for_nobody(start):
    """The call that accepts says so whether somebody waits or not."""
    server = start(ONE | {"admin.timeout": 0})
    with dial(admin_address(server), seconds(20)) as silent:
        wait_for(lambda: len(server.descriptors()) > len(server.first_descriptors))
        with only_descriptors(server, len(server.descriptors())):
            with dial(admin_address(server), seconds(20)) as last:  # has the spare one
                for _ in range(5):
                    server.figures()
                for sock in (silent, last):
                    sock.sendall(GET)
                    assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_running_out_of_descriptors_costs_no_cpu(start, silent_clients):
    server = start(ONE)
    with only_descriptors(server, len(server.descriptors())):
        silent_clients(admin_address(server), 50)
        server.assert_idle(share=0.1, interval=2.0)


def test_silent_clients_cost_no_cpu(start, silent_clients):
    server = start(ONE | {"admin.timeout": 0})
    silent_clients(admin_address(server), 100)
    assert ask(server, "/livez").status == 200
    server.assert_idle()


def test_the_oldest_makes_room_for_the_newest_and_nobody_else(start):
    server = start(ONE | {"admin.connections": 3, "admin.timeout": 0})
    address = admin_address(server)
    with contextlib.ExitStack() as stack:
        oldest, *others = [stack.enter_context(dial(address, seconds(20))) for _ in range(3)]
        wait_for(lambda: len(server.descriptors()) >= len(server.first_descriptors) + 3)
        assert Answer(address, "/livez").status == 200
        assert oldest.recv(1) == b""
        assert not select.select(others, [], [], 0)[0]
        for sock in others:
            sock.sendall(GET)
            assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_nobody_who_may_ask_is_closed_for_one_who_may_not(start):
    server = start(ONE | {"admin.connections": 1, "admin.timeout": 0, "admin.allow": ["127.0.0.1"]})
    address = admin_address(server)
    with dial(address, seconds(20)) as allowed:
        wait_for(lambda: len(server.descriptors()) > len(server.first_descriptors))
        with dial(address, seconds(20), "127.0.0.2") as denied:
            assert denied.recv(1) == b""
        allowed.sendall(GET)
        assert allowed.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_an_answer_that_nobody_reads_is_gone_after_its_time(start):
    server = start(ADMIN | {"admin.timeout": 0.5, "pool.workers": 600,
                            "pool.worker_connections": 2, "pool.queue_limit": 2})
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        sock.connect(admin_address(server))
        sock.sendall(GET.replace(b"livez", b"metrics"))
        wait_for(lambda: len(server.descriptors()) > len(server.first_descriptors))
        wait_for(lambda: len(server.descriptors()) == len(server.first_descriptors))


def test_no_timeout_is_none(start):
    server = start(ONE | {"admin.timeout": 0})
    with dial(admin_address(server), seconds(20)) as sock:
        sock.sendall(GET[:10])
        assert not select.select([sock], [], [], 0.5)[0]
        sock.sendall(GET[10:])
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_one_request_for_a_connection(start):
    assert raw(admin_address(start(ONE)), GET + GET).count(b"HTTP/1.1 ") == 1


def mutation(chance):
    """A request that is nearly right: cut, doubled, with bytes changed, and with odd heads."""
    method = chance.choice(["GET", "HEAD", "POST"])
    path = chance.choice([*PAGES, "/metrics?workers=0", "/?a=%41&b", "*", "http://a/livez"])
    more = chance.choice(["", "Accept: application/openmetrics-text\r\n", "Content-Length: 5\r\n",
                          "Transfer-Encoding: chunked\r\n", "Expect: 100-continue\r\n",
                          "Connection: keep-alive, upgrade\r\n", "Range: bytes=0-1\r\n"])
    data = bytearray(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode())
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data))
        odd = chance.choice([b"\r\n", b"\0", b" ", b":", b"%", b"5\r\nabcde\r\n", b"A" * 300,
                             bytes([chance.randrange(256)]), bytes(data[:60]), b""])
        data[at:at + chance.choice([0, 1, 9])] = odd
        data = data or bytearray(b"G")
    return bytes(data)


def status_of(answer):
    """The one status of an answer, after those that only say to go on; None: there is none."""
    while answer.startswith(b"HTTP/1.1 100 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    if not answer:
        return None
    assert b"\r\n\r\n" in answer
    return int(re.match(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n", answer)[1])


@pytest.mark.parametrize("seed", range(4))
def test_no_request_harms_it(start, seed):
    """Whatever is sent gets one known status or an end, and the server goes on."""
    server = start(ONE | {"admin.timeout": 0.3, "admin.connections": 64})
    address, chance = admin_address(server), random.Random(seed)
    for _ in range(10):
        batch = [mutation(chance) for _ in range(40)]
        socks = [dial(address, seconds(20)) for _ in batch]
        for sock, data in zip(socks, batch):
            with contextlib.suppress(ConnectionError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
        for sock, data in zip(socks, batch):
            answer = b""
            with sock, contextlib.suppress(ConnectionError):
                while part := sock.recv(1 << 18):
                    answer += part
            assert status_of(answer) in KNOWN | {None}, data
    assert ask(server, "/livez").status == 200
    served(server)


# It may come from systemd.

def needs_systemd():
    if not has_systemd():
        pytest.skip("needs a build with systemd")


def test_a_socket_named_admin_is_for_the_endpoint(start):
    """A reload leaves it as it is, and says so where the file asks for another."""
    needs_systemd()
    with socket.create_server(("127.0.0.1", 0)) as echo, \
            socket.create_server(("127.0.0.1", 0)) as admin:
        server = start({"pool.workers": 1},
                       **handing_over(echo, admin, names="echopool.socket:admin"))
        assert server.addresses == [echo.getsockname()]
        assert admin_address(server) == admin.getsockname()
    for workers, port in ((1, 9707), (2, 9707), (1, 9)):
        lines = server.reload({"pool.workers": workers, "admin.port": port})
        told = [line for line in lines if "admin.port changed, but the sockets came" in line]
        assert len(told) == (port != 9707)
        assert ask(server, "/livez").status == 200
        server.connect().echo()


def test_a_socket_named_admin_alone_leaves_listen_to_the_file(start):
    needs_systemd()
    with socket.create_server(("127.0.0.1", 0)) as admin:
        server = start({"pool.workers": 1, "listen.addresses": ["127.0.0.9"]},
                       **handing_over(admin, names="admin"))
        assert admin_address(server) == admin.getsockname()
    assert server.addresses[0][0] == "127.0.0.9"
    server.connect().echo()
    server.reload({"pool.workers": 1, "listen.addresses": ["127.0.0.8"]})
    assert server.addresses[0][0] == "127.0.0.8" and ask(server, "/livez").status == 200


# Nothing is left.

def test_it_is_off_by_default(start):
    server = start({"pool.workers": 1})
    assert len(listening(server)) == 1
    with_endpoint = start(ONE)
    assert len(with_endpoint.descriptors()) > len(server.descriptors())


def test_switched_off_it_leaves_no_connection_and_no_descriptor(start):
    server = start({"pool.workers": 1})
    server.reload(ONE | {"admin.timeout": 0})
    with dial(admin_address(server), seconds(20)) as sock:
        sock.sendall(GET[:10])
        wait_for(lambda: ask(server, "/livez").status == 200)
        server.reload({"pool.workers": 1})
        assert sock.recv(1) == b""
    assert server.descriptors().keys() == server.first_descriptors.keys()


def test_a_refused_reload_that_was_to_switch_it_on_leaves_no_descriptor(start):
    server = start({"pool.workers": 1})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server.reload(ONE | {"pool.workers": 1, "admin.addresses": ["127.0.0.2", "127.0.0.1"],
                             "admin.port": taken.getsockname()[1]})
    wait_for(lambda: server.descriptors().keys() == server.first_descriptors.keys())
    # It can be had, and the descriptors cannot.
    hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (30, 30))
    lines = server.reload(ONE | {"admin.connections": 64})
    assert any("descriptors is too low" in line for line in lines), lines
    assert server.descriptors().keys() == server.first_descriptors.keys()
    with contextlib.suppress(PermissionError):
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))


def test_a_refused_listener_does_not_move_it(start):
    server = start(ONE)
    address = admin_address(server)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server.reload(ONE | {"admin.port": free_port(), "listen.port": taken.getsockname()[1]})
    assert Answer(address, "/livez").status == 200


def test_reloaded_hosts_rules_and_times_hold_at_once(start):
    server = start(ONE)
    address = admin_address(server)
    with dial(address, seconds(20)) as slow:
        server.reload(ONE | {"admin.hosts": ["here"], "admin.timeout": 0.2})
        assert Answer(address, "/metrics", Host="here").status == 200
        assert slow.recv(1) == b""
    server.reload(ONE | {"admin.allow": ["192.0.2.1"]})
    with contextlib.suppress(ConnectionError):
        assert raw(address, GET) == b""


def main_sleeps(server):
    """How often the main thread has gone to sleep."""
    with open(f"/proc/{server.pid}/task/{server.pid}/status", encoding="ascii") as file:
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", file.read(), re.M)[1])


def test_while_nobody_looks_it_does_not_wake(start):
    server = start(ONE)
    client = served(server)
    assert ask(server, "/metrics").status == 200
    wait_for(lambda: len(server.descriptors()) == len(server.first_descriptors) + 1)
    server.assert_idle()  # by now it sleeps
    before, begin = main_sleeps(server), time.monotonic()
    for _ in range(500):
        client.echo()
    # Once a second it takes a sample for the status page.
    assert main_sleeps(server) - before <= time.monotonic() - begin + 1
