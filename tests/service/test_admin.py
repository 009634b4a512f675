"""The admin endpoint: probes, metrics, status, whatever becomes of the pool and of its clients."""

import contextlib
import http.client
import json
import os
import re
import resource
import signal
import socket
import time
from pathlib import Path

import pytest

import preload
from clients import Client, dial, need_descriptors
from harness import again_when_late, before, check_time, needs_epoll, seconds, span, wait_for
from live import run_program

prometheus = pytest.importorskip("prometheus_client.openmetrics.parser",
                                 reason="needs a module that is not installed: prometheus_client")

ADMIN = {"admin.addresses": ["127.0.0.1"], "admin.port": 0}
TINY = {"pool.workers": 2, "pool.worker_connections": 1, "pool.queue_limit": 2,
        "timeouts.idle_when_full": 0, **ADMIN}
PAGES = ["/livez", "/readyz", "/metrics", "/status.txt", "/status.json", "/", "/status.css",
         "/status.js"]


@pytest.fixture(autouse=True)
def needs_endpoint():
    if "+admin" not in run_program("-V").stdout:
        pytest.skip("needs the admin endpoint: this build is without libmicrohttpd")


def admin_address(server, start=0):
    """Where the endpoint of a server is."""
    host, port = server.log.wait(r"admin endpoint on (\S+):(\d+)$", start=start)[0].groups()
    return host, int(port)


class Answer:
    """What one request was answered."""

    def __init__(self, address, path, method="GET", **headers):
        connection = http.client.HTTPConnection(*address, timeout=seconds(20))
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            self.status, self.headers = response.status, response.headers
            self.text = response.read().decode()


def ask(server, path, *arguments, **headers):
    return Answer(admin_address(server), path, *arguments, **headers)


def raw(address, data, timeout=20):
    """What is answered to these bytes until the connection ends."""
    with socket.create_connection(address, timeout=seconds(timeout)) as sock:
        sock.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := sock.recv(65536):
                answer += part
        return answer


def samples(server, path="/metrics"):
    """{(name, labels as a tuple of pairs): value} of /metrics, which must be right."""
    found = ask(server, path, Accept="application/openmetrics-text; version=1.0.0")
    assert found.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = list(prometheus.text_string_to_metric_families(found.text))
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families for sample in family.samples}


def value(server, name, **labels):
    return samples(server)[name, tuple(sorted(labels.items()))]


def wait_value(server, wanted, name, **labels):
    """Waits until a sample has this value: a body may be that of a moment ago."""
    return wait_for(lambda: value(server, name, **labels) == wanted, what=f"{name} {wanted}")


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_answered_and_nothing_is_kept(start, path):
    server = start(ADMIN)
    got, head = ask(server, path), ask(server, path, "HEAD")
    assert got.status == head.status == 200 and got.text and not head.text
    for answer in (got, head):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Connection"] == "close"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_only_get_and_head_are_answered(start, method):
    server = start(ADMIN)
    found = raw(admin_address(server), f"{method} /livez HTTP/1.1\r\nHost: localhost\r\n"
                "Content-Length: 3\r\n\r\nabc".encode())
    assert found.startswith(b"HTTP/1.1 405 ") and b"\r\nAllow: GET, HEAD\r\n" in found
    server.connect().echo()


@pytest.mark.parametrize("host, status", [
    ("localhost", 200), ("LOCALHOST:9", 200), ("127.0.0.1:1234", 200), ("[::1]:80", 200),
    ("echo.example.net", 200), ("Echo.Example.Net:80", 200), ("evil.example", 421),
    ("localhost.evil.example", 421), ("evil.example:127", 421), ("127.0.0.1.evil", 421),
    ("[::1", 421), ("[::1]evil", 421), ("localhost:x", 421), ("", 421), ("a" * 300, 421)])
def test_a_host_that_is_not_ours_is_misdirected(start, host, status):
    server = start({**ADMIN, "admin.hosts": ["echo.example.net"]})
    assert ask(server, "/metrics", Host=host).status == status
    assert ask(server, "/livez", Host=host).status == status


def test_probes_without_a_host_are_answered_and_unknown_pages_are_not_there(start):
    server = start(ADMIN)
    address = admin_address(server)
    assert raw(address, b"GET /readyz HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\nok\n")
    assert raw(address, b"GET /metrics HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 421 ")
    for path in ("/x", "/livez/", "/../etc/passwd", "//livez"):
        assert ask(server, path).status == 404
    wait_value(server, 4, "echopool_admin_requests_total", path="other", code="404")
    wait_value(server, 1, "echopool_admin_requests_total", path="/readyz", code="200")


@pytest.mark.parametrize("data, status", [
    (b"GET /livez HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", (b"431", b"")),
    (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", (b"414", b"431", b"")),
    (b"\x00\xff\r\n\r\n", (b"400", b"405", b"")), (b"GET\r\n\r\n", (b"400", b"421", b"404", b"")),
    (b"GET /livez HTTP/9.9\r\n\r\n", (b"505", b"400", b"200")),
    (b"\r\n" * 100, (b"", b"400"))])
def test_bad_requests_end_and_harm_nobody(start, data, status):
    server = start({**ADMIN, "admin.timeout": 1.0})
    found = b""
    with contextlib.suppress(ConnectionError):
        found = raw(admin_address(server), data)
    assert found[9:12] in status, found[:200]
    assert ask(server, "/livez").status == 200


# What is told.

def test_metrics_are_right_in_both_formats_and_tell_what_clients_did(start):
    server = start({"pool.workers": 2, "timeouts.queue": 0.2, **ADMIN})
    client = server.connect()
    client.send(b"x" * 1000)
    client.receive(1000)
    wait_value(server, 1000, "echopool_sent_bytes_total")  # counted when the kernel has them
    found = samples(server)
    assert found["echopool_connections", ()] == 1
    assert found["echopool_connections_accepted_total", ()] == 1
    assert found["echopool_received_bytes_total", ()] == 1000
    assert sum(found["echopool_worker_sent_bytes_total", (("worker", str(i)),)]
               for i in range(2)) == 1000
    assert found["echopool_queue_wait_seconds_count", ()] == 1
    assert found["echopool_queue_wait_seconds_bucket", (("le", "+Inf"),)] == 1
    assert found["echopool_listener_backlog_limit", (("listener", "%s:%d" % server.address),)] > 0
    assert 0 < time.time() - found["process_start_time_seconds", ()] < seconds(60)
    assert found["process_max_fds", ()] == resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[0]
    client.close()
    wait_value(server, 1, "echopool_connections_closed_total", reason="client")
    plain = ask(server, "/metrics")
    assert plain.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = set(re.findall(r"^# TYPE (\S+)", plain.text, re.M))
    assert {re.sub(r"_total$", "", name) for name in names} == {
        re.sub(r"_(total|bucket|sum|count)$", "", name) for name, _ in samples(server)}
    without = ask(server, "/metrics?workers=0").text
    assert "echopool_worker_cpu" not in without and "echopool_workers 2\n" in without


def schedstat(server):
    """What the kernel tells of each worker: seconds on a CPU, and waiting for one."""
    found = {}
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        if match := re.fullmatch(r"worker-(\d+)\n", (task / "comm").read_text()):
            ran, waited = (task / "schedstat").read_text().split()[:2]
            found[match[1]] = int(ran) / 1e9, int(waited) / 1e9
    return found


def test_cpu_and_wait_for_a_cpu_are_the_kernels(start):
    server = start({"pool.workers": 2, **ADMIN})
    client = server.connect()
    for _ in range(200):
        client.echo()
    before_, found, after = schedstat(server), samples(server), schedstat(server)
    assert len(before_) == 2
    for worker in before_:
        for i, name in enumerate(("cpu", "runqueue")):
            told = found[f"echopool_worker_{name}_seconds_total", (("worker", worker),)]
            assert before_[worker][i] - 1e-6 <= told <= after[worker][i] + 1e-6, name
    assert max(ran for ran, _ in before_.values()) > 0


def test_who_does_not_read_is_told_as_owing(start):
    server = start({"pool.workers": 2, **ADMIN})
    client = server.connect()
    client.sock.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while True:
            client.sock.sendall(b"x" * 65536)
    wait_for(lambda: sum(number for (name, _), number in samples(server).items()
                         if name == "echopool_worker_owing_connections") == 1)
    server.reload({"pool.workers": 1, **ADMIN})  # it is handed over, or stays
    wait_value(server, 1, "echopool_worker_owing_connections", worker="0")
    assert ask(server, "/status.txt").text.startswith(
        "Clients do not read: 1 of 1 are owed bytes.\n")
    assert not status(server)["pool"]["well"]
    client.close()
    wait_value(server, 0, "echopool_worker_owing_connections", worker="0")


def test_counters_never_fall_as_the_pool_shrinks(start):
    server = start({"pool.workers": 4, **ADMIN})
    for _ in range(8):
        server.connect().echo()
    earlier = samples(server)
    server.reload({"pool.workers": 1, **ADMIN})
    wait_value(server, 3, "echopool_workers_left_total")
    later = samples(server)
    assert later["echopool_config_reloads_total", (("result", "applied"),)] == 1
    for (name, labels), before_ in earlier.items():
        if name.endswith(("_total", "_count", "_bucket")) and (name, labels) in later:
            assert later[name, labels] >= before_, name


def holders(server):
    """The lines of /status.txt about who holds the workers, each cut after the peer."""
    found = re.findall(r"^(held by +\d+|oldest|most bytes|longest silent)  +([\d.]+(?::\d+)?)",
                       ask(server, "/status.txt").text, re.M)
    return [(" ".join(what.split()), peer) for what, peer in found]


def test_who_holds_the_workers_is_told_while_somebody_looks(start):
    server = start({"pool.workers": 2, **ADMIN})
    silent, heavy, other = (
        server.hold(Client(dial(server.address, seconds(20), f"127.0.0.{host}")))
        for host in (2, 3, 3))
    silent.echo(b"x")
    heavy.echo(b"x" * 1000)
    other.echo(b"x" * 100)
    one, two, three = silent.name, heavy.name, other.name
    # The first look asks; nobody waits for the answers.
    assert holders(server) == [("held by 2", "127.0.0.3"), ("held by 1", "127.0.0.2")]
    found = wait_for(lambda: len(now := holders(server)) == 2 + 3 * 3 and now)
    assert found[2:] == [*[("oldest", peer) for peer in (one, two, three)],
                         *[("most bytes", peer) for peer in (two, three, one)],
                         *[("longest silent", peer) for peer in (one, two, three)]]
    silent.echo(b"x")
    wait_for(lambda: holders(server)[-3:] == [("longest silent", peer)
                                              for peer in (two, three, one)])
    told = status(server)["holders"]
    assert told["by_connections"] == [{"address": "127.0.0.3", "connections": 2},
                                      {"address": "127.0.0.2", "connections": 1}]
    assert [(of["peer"], of["bytes"]) for of in told["most_bytes"]] == [
        (two, 2000), (three, 200), (one, 4)] and not told["workers_missing"]
    rows = re.findall(r"<tr><th[^>]*>(oldest|most bytes|longest silent)</th><td>([^<]*)",
                      ask(server, "/").text)
    assert rows == holders(server)[2:]
    server.reload({"pool.workers": 2, **ADMIN, "admin.peers": False})
    assert not holders(server) and "127.0.0.3" not in ask(server, "/").text
    assert not status(server)["holders"]["by_connections"]


def test_a_saturated_pool_says_since_when_for_how_long_and_what_is_wrong(start):
    server = start(TINY)
    held = [server.connect() for _ in range(2)]
    for client in held:
        client.echo()
    assert ask(server, "/status.txt").text.startswith("All is well.\n")
    begin = time.time()
    waiting = server.connect()
    wait_value(server, 1, "echopool_queue_length")
    since = value(server, "echopool_pool_saturated_since_timestamp_seconds")
    assert begin - 0.1 <= since <= time.time() + 0.1
    wait_for(lambda: value(server, "echopool_queue_oldest_wait_seconds") > 0)
    assert re.match(r"Saturated for \d+\.\d s: 1 waits, no worker has room; 127.0.0.1 holds 2 of "
                    r"2\.\n", ask(server, "/status.txt").text)
    wait_for(lambda: re.search(r"^saturated +(0\.[1-9]|[1-9]\d*\.\d) s in all, 1 times$",
                               ask(server, "/status.txt").text, re.M))
    assert ask(server, "/livez").status == ask(server, "/readyz").status == 200
    held[0].close()
    waiting.echo()
    wait_value(server, 0, "echopool_pool_saturated_since_timestamp_seconds")
    found = samples(server)
    assert found["echopool_pool_saturations_total", ()] == 1
    assert 0 < found["echopool_pool_saturated_seconds_total", ()] < time.time() - begin + 0.1


def test_the_page_counts_the_waits_that_nobody_ended(start):
    server = start({**TINY, "timeouts.queue": 0.3})
    for _ in range(2):
        server.connect().echo()
    server.connect().expect_closed()
    wait, = re.findall(r'<dd id="wait">(\d+\.\d) ms<', ask(server, "/").text)
    assert float(wait) >= 300


def test_a_refused_reload_is_told(start):
    server = start(ADMIN)
    assert value(server, "echopool_config_last_reload_successful") == 1
    server.file.write_text("nonsense")
    server.reload()
    wait_value(server, 0, "echopool_config_last_reload_successful")
    wait_value(server, 1, "echopool_config_reloads_total", result="refused")
    assert ask(server, "/status.txt").text.startswith("The last reload was refused")


def status(server):
    return json.loads(ask(server, "/status.json").text)


def test_json_tells_the_same_as_the_metrics(start):
    server = start(TINY)
    for client in [server.connect() for _ in range(2)]:
        client.echo()
    server.connect()
    wait_for(lambda: status(server)["queue"]["length"] == 1)
    found = status(server)
    assert list(found) == ["schema", "version", "pool", "queue", "listeners", "workers", "holders",
                           "refused", "reload", "history"]
    assert found["pool"]["connections"] == 2 and not found["pool"]["well"]
    assert found["pool"]["verdict"].startswith("Saturated for ")
    assert found["holders"]["by_connections"] == [{"address": "127.0.0.1", "connections": 2}]
    assert found["listeners"][0]["address"] == "%s:%d" % server.address
    metrics = ask(server, "/metrics").text
    for worker in found["workers"]:
        assert (f'echopool_worker_taken_total{{worker="{worker["worker"]}"}} {worker["taken"]}\n'
                in metrics)
    wait_for(lambda: status(server)["history"]["seconds"])


def test_of_many_workers_the_busiest_are_shown(start):
    server = start(ADMIN | {"pool.workers": 70})
    page = ask(server, "/").text
    assert "<caption>20 of 70, the busiest</caption>" in page
    assert page.count('<th scope="row" data-value=') == 20


# Probes.

def test_ready_says_no_when_saturated_for_longer_than_wanted(start):
    server = start({**TINY, "admin.unready_after": 0.3})
    held = [server.connect() for _ in range(3)]
    answer = wait_for(lambda: (found := ask(server, "/readyz")).status == 503 and found)
    assert "saturated" in answer.text
    wait_value(server, 0, "echopool_ready")
    held[0].close()
    wait_for(lambda: ask(server, "/readyz").status == 200)


def test_in_the_lame_duck_time_only_ready_says_no(start):
    server = start({"timeouts.lame_duck": 600, **ADMIN})
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGTERM)
    server.log.wait("SIGTERM: /readyz says no for 600.0 s, then the drain begins")
    answer = ask(server, "/readyz")
    assert answer.status == 503 and "lame_duck" in answer.text
    assert ask(server, "/livez").status == 200
    client.echo()
    server.connect().echo()
    time.sleep(0.2)  # a second signal that comes at once is the same wish
    assert server.stop() < seconds(10)


def test_after_the_lame_duck_time_the_drain_begins(start):
    server = start({"timeouts.lame_duck": 0.3, "timeouts.drain": 600, **ADMIN})
    client = server.connect()
    client.echo()
    server.send_signal(signal.SIGTERM)
    server.log.wait("SIGTERM: draining connections=1")
    answer = ask(server, "/readyz")
    assert answer.status == 503 and "drain" in answer.text
    wait_value(server, 1, "echopool_draining")
    client.echo()
    client.close()
    assert server.wait_exit() == 0


@needs_epoll
def test_a_worker_that_hangs_is_told_by_live_after_ten_seconds(start, tmp_path):
    server = start({"pool.workers": 2, **ADMIN},
                   env=preload.build(tmp_path) | {"HANG_IN_RECV": "HANG"})
    server.connect().send(b"HANG")
    server.connect().echo()
    assert ask(server, "/livez").status == 200
    answer = wait_for(lambda: (found := ask(server, "/livez")).status == 503 and found, timeout=30)
    assert re.fullmatch(r"Worker \d hangs\.\n", answer.text)
    server.process.kill()  # nothing else ends it
    server.wait_exit()


# Bounds.

@again_when_late
def test_a_request_that_trickles_is_gone_after_its_time(start):
    timeout = span(1.0)
    server = start({**ADMIN, "admin.timeout": timeout})
    begin = time.monotonic()
    with socket.create_connection(admin_address(server), timeout=seconds(20)) as sock:
        with contextlib.suppress(ConnectionError):
            for byte in b"GET /livez HTTP/1.1\r\nX: " + b"x" * 10_000:
                sock.send(bytes([byte]))
                time.sleep(0.01)
        assert not sock.recv(100)
    assert time.monotonic() - begin >= timeout
    check_time(time.monotonic() - begin, timeout + seconds(1))


def test_silent_clients_keep_no_probe_out_when_all_is_exhausted(start):
    """Pool, queue and descriptors are used up, and 200 clients hold the endpoint."""
    need_descriptors(600)
    server = start({**TINY, "admin.connections": 4})
    address = admin_address(server)
    for _ in range(8):  # two are served, two wait, the others are in the backlog
        server.connect()
    wait_value(server, 2, "echopool_queue_length")
    silent = [socket.create_connection(address, timeout=seconds(20)) for _ in range(200)]
    used = len(os.listdir(f"/proc/{server.pid}/fd"))
    limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
    try:
        for _ in range(100):
            assert Answer(address, "/livez").status == 200
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        for sock in silent:
            sock.close()


def test_a_client_that_is_not_allowed_is_closed_at_once(start):
    server = start({**ADMIN, "admin.allow": ["127.0.0.2"]})
    with contextlib.suppress(ConnectionError):
        assert raw(admin_address(server), b"GET /livez HTTP/1.0\r\n\r\n") == b""
    with before(time.monotonic() + seconds(20)):
        with socket.create_connection(admin_address(server), timeout=seconds(20),
                                      source_address=("127.0.0.2", 0)) as sock:
            sock.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")


# Reload.

def test_a_reload_switches_it_on_moves_it_and_switches_it_off(start):
    server = start({"pool.workers": 1})
    lines = server.reload({"pool.workers": 1, **ADMIN})
    assert any("admin.addresses changed from [ ] to" in line for line in lines), lines
    mark = server.log.mark()
    first = admin_address(server)
    assert Answer(first, "/livez").status == 200
    server.reload({"pool.workers": 1, **ADMIN, "admin.addresses": ["127.0.0.2"]})
    second = admin_address(server, mark)
    assert second == ("127.0.0.2", first[1]) and Answer(second, "/livez").status == 200
    with pytest.raises(ConnectionRefusedError):
        Answer(first, "/livez")
    server.reload({"pool.workers": 1})
    with pytest.raises(ConnectionRefusedError):
        Answer(second, "/livez")
    server.connect().echo()


def test_a_reload_whose_endpoint_cannot_be_had_changes_nothing(start):
    server = start({"pool.workers": 1, **ADMIN})
    with socket.create_server(("127.0.0.1", 0)) as taken:
        lines = server.reload({"pool.workers": 3, **ADMIN, "admin.port": taken.getsockname()[1]})
    assert any("Address already in use" in line for line in lines), lines
    assert server.limits["workers"] == 1 and ask(server, "/livez").status == 200
