"""Starting: the ready line, addresses that the system refuses, and a world without IPv6."""

import os
import re
import signal
import socket

import pytest

import preload
from common import machine
from harness import error_lines, exec_wrapper, needs_root, run_program, unshared

NOBODY = 65534
UNPRIVILEGED_PORTS = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


def test_the_ready_line_tells_addresses_and_bounds(start):
    server = start({"listen.addresses": ["127.0.0.1", "127.0.0.2"], "pool.workers": 2,
                    "pool.worker_connections": 100, "pool.queue_limit": 50})
    [line] = server.log.matching("ready on ")
    assert re.match(r"info: ready on 127\.0\.0\.1:\d+, 127\.0\.0\.2:\d+; ", line)
    assert server.limits["workers"] == 2
    assert server.limits["worker_connections"] == 100
    assert server.limits["queue_limit"] == 50


def test_port_0_is_one_free_port_for_all_addresses(start):
    server = start({"listen.addresses": ["127.0.0.1", "127.0.0.2", "::1"]})
    ports = {port for _, port in server.addresses}
    assert len(server.addresses) == 3 and len(ports) == 1 and ports != {0}
    for address in server.addresses:
        server.connect(address).echo()


def test_workers_0_is_one_for_each_cpu(start):
    server = start({"pool.workers": 0})
    assert server.limits["workers"] == machine.cpus()


def test_workers_0_counts_only_the_cpus_it_may_use(start):
    one = min(os.sched_getaffinity(0))
    server = start({"pool.workers": 0}, wrapper=exec_wrapper(f"os.sched_setaffinity(0, [{one}])"))
    assert server.limits["workers"] == 1


def test_threads_are_workers_and_at_most_three_more(start):
    server = start({"pool.workers": 8})
    assert 9 <= server.threads() <= 12


def refused(*arguments, **options):
    """Starts the program, expects exit status 1, and returns its one error line."""
    result = run_program(*arguments, **options)
    assert result.returncode == 1, (result.returncode, result.stderr)
    errors = [line for line in error_lines(result) if line.startswith("error:")]
    assert len(errors) == 1, result.stderr
    return errors[0]


def on(address, port):
    return ["-o", f'listen.addresses=["{address}"]', "-o", f"listen.port={port}"]


@pytest.mark.parametrize("address, family", [("127.0.0.1", socket.AF_INET),
                                             ("::1", socket.AF_INET6)])
def test_a_port_in_use_exits_1_with_the_address(address, family):
    with socket.create_server((address, 0), family=family) as other:
        port = other.getsockname()[1]
        line = refused(*on(address, port))
    shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    assert shown in line and "in use" in line


def test_a_port_that_a_connection_has_as_its_own_is_told_as_what_it_may_be():
    with socket.create_server(("127.0.0.1", 0)) as other, \
            socket.create_connection(other.getsockname()) as connection:
        line = refused(*on(*connection.getsockname()))
    assert "in use" in line and "a connection from there" in line


def test_a_second_instance_is_refused(start):
    server = start()
    assert "in use" in refused(*on(*server.address))
    server.connect().echo()


def test_an_address_that_is_not_ours_exits_1():
    line = refused("-o", 'listen.addresses=["127.0.0.1", "192.0.2.1"]', "-o", "listen.port=0")
    assert "192.0.2.1" in line and "assign" in line


@needs_root
def test_a_privileged_port_as_nobody_exits_1(public_program):
    with open(UNPRIVILEGED_PORTS, encoding="ascii") as file:
        if int(file.read()) <= 7:
            pytest.skip(f"needs privileged ports: {UNPRIVILEGED_PORTS} lets everyone bind port 7")
    line = refused(*on("127.0.0.1", 7), program=public_program, cwd="/",
                   user=NOBODY, group=NOBODY, extra_groups=[])
    assert "127.0.0.1:7:" in line and "ermission denied" in line


def in_namespace(script):
    """A command prefix: a network namespace of its own, set up by the script."""
    return unshared("--net", f"ip link set lo up; {script}")


NO_IPV6 = [pytest.param("sysctl -qw net.ipv6.conf.all.disable_ipv6=1", id="disabled"),
           pytest.param("ip -6 address flush dev lo", id="no-address")]


def with_somaxconn(count):
    return in_namespace(f"echo {count} > /proc/sys/net/core/somaxconn")


def test_a_backlog_that_the_kernel_cuts_is_told_with_both_numbers(start):
    server = start({"listen.backlog": 500}, wrapper=with_somaxconn(100))
    [line] = server.log.matching("^warning: .*backlog")
    for number in (500, 100):
        assert re.search(rf"\b{number}\b", line), line
    assert "somaxconn" in line


def test_a_backlog_that_the_kernel_gives_is_not_mentioned(start):
    server = start({"listen.backlog": 100}, wrapper=with_somaxconn(100))
    assert not server.log.matching("backlog|somaxconn")


@pytest.mark.parametrize("script", NO_IPV6)
def test_ipv6_loopback_that_is_absent_is_a_warning(start, script):
    server = start({"listen.addresses": ["127.0.0.1", "::1"]}, wrapper=in_namespace(script))
    assert [host for host, _ in server.addresses] == ["127.0.0.1"]
    assert any("::1" in line for line in server.log.matching("^warning:"))


def test_ipv6_loopback_first_and_absent_leaves_one_port_for_the_rest(start):
    server = start({"listen.addresses": ["::1", "127.0.0.1", "127.0.0.2"]},
                   wrapper=in_namespace(NO_IPV6[0].values[0]))
    assert [host for host, _ in server.addresses] == ["127.0.0.1", "127.0.0.2"]
    assert len({port for _, port in server.addresses}) == 1


def test_the_wildcards_of_both_families_share_a_port(start):
    """Only in a namespace of its own, so that nobody else can reach it."""
    server = start({"listen.addresses": ["::", "0.0.0.0"]}, wrapper=in_namespace("true"))
    assert [host for host, _ in server.addresses] == ["::", "0.0.0.0"]
    assert server.addresses[0][1] == server.addresses[1][1]


def test_ipv6_loopback_alone_and_absent_exits_1():
    refused(*on("::1", 0), wrapper=in_namespace(NO_IPV6[0].values[0]))


def test_started_with_0_1_2_closed(launch):
    server = launch(wrapper=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]).wait_listening()
    held = server.descriptors()
    assert [held[number] for number in range(3)] == ["/dev/null"] * 3
    server.connect().echo()


@pytest.mark.parametrize("soft", [64, 6])
def test_the_soft_descriptor_limit_is_raised_to_the_hard_one(start, soft):
    server = start(wrapper=exec_wrapper(
        "import resource as r; hard = r.getrlimit(r.RLIMIT_NOFILE)[1]; "
        f"r.setrlimit(r.RLIMIT_NOFILE, ({soft}, hard))"))
    server.connect().echo()
    with open(f"/proc/{server.pid}/limits", encoding="ascii") as file:
        [line] = [line for line in file if line.startswith("Max open files")]
    assert line.split()[3] == line.split()[4]


def test_descriptors_are_not_inherited_by_children(start):
    """Everything the program opens is close-on-exec, accepted sockets too."""
    server = start()
    server.connect().echo()
    for number in server.descriptors():
        if number > 2:
            with open(f"/proc/{server.pid}/fdinfo/{number}", encoding="ascii") as file:
                flags = int(re.search(r"flags:\s+(\d+)", file.read())[1], 8)
            assert flags & os.O_CLOEXEC, server.descriptors()[number]


def signalled_while_it_reads_its_file(launch, number, directory):
    """A program that gets a signal just before it opens its file."""
    return launch(env=preload.build(directory) | {"SIGNAL_AT_OPEN": str(int(number))})


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGPIPE])
def test_a_signal_during_the_start_does_not_end_it(launch, tmp_path, number):
    server = signalled_while_it_reads_its_file(launch, number, tmp_path).wait_ready()
    server.connect().echo()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_during_the_start_is_answered(launch, tmp_path, number):
    server = signalled_while_it_reads_its_file(launch, number, tmp_path).wait_ready()
    server.log.wait({signal.SIGHUP: "SIGHUP: ", signal.SIGUSR1: "queue waiting="}[number])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_during_the_start_is_a_stop(launch, tmp_path, number):
    assert signalled_while_it_reads_its_file(launch, number, tmp_path).wait_exit() == 0
