"""The load generator's command line: what is wrong is told, what is right is documented."""

import json
import re
import subprocess

import pytest

from echoload import at, measure_well, needs_echoload, run
from harness import CHECKOUT, error_lines
from odd_servers import EchoServer, NotListening

pytestmark = needs_echoload

MANUAL = CHECKOUT / "man" / "echoload.1"

WRONG = [
    (("-c", 0), "--connections", "1 to 1000000"),
    (("-c", "many"), "--connections", "1 to 1000000"),
    (("-c", "5x"), "--connections", "1 to 1000000"),
    (("-c", 4294967297), "--connections", "1 to 1000000"),
    (("-c", "-1"), "--connections", "1 to 1000000"),
    (("-c", ""), "--connections", "1 to 1000000"),
    (("-t", 0), "--threads", "1 to"),
    (("-c", 2, "-t", 3), "--threads", "--connections"),
    (("-s", 0), "--size", "1 to 16M"),
    (("-s", "17M"), "--size", "1 to 16M"),
    (("-s", "20-10"), "--size", "64-4k"),
    (("-s", "10-"), "--size", "64-4k"),
    (("-s", "10-20-30"), "--size", "64-4k"),
    (("-s", "1G"), "--size", "1 to 16M"),
    (("-p", 1025), "--pipeline", "1 to 1024"),
    (("-m", "-1"), "--messages", "0 to"),
    (("-i", "x"), "--idle", "0 to 1000000"),
    (("-d", "-1"), "--duration", "0.001 to 86400, or 0"),
    (("--seed", "x"), "--seed", "0 to"),
    (("--percentiles", "50,100"), "--percentiles", "between 0 and 100"),
    (("--percentiles", "1,2,3,4,5,6,7,8,9"), "--percentiles", "1 to 8"),
    (("--percentiles", "50,"), "--percentiles", "between 0 and 100"),
    (("-d", "nan"), "--duration", "0.001 to 86400"),
    (("-w", "-1"), "--warmup", "0.001 to 86400, or 0"),
    (("-T", "inf"), "--timeout", "0.001 to 86400"),
    (("-r", "-5"), "--rate", "or 0"),
    (("-r", "5/s"), "--rate", "or 0"),
    (("-a", "1e99"), "--arrivals", "or 0"),
    (("-C", "x"), "--connect-rate", "or 0"),
    (("-r", 5, "-a", 5), "--rate", "--arrivals"),
    (("-P",), "--poisson", "--rate"),
    (("-r", 5, "-m", 5), "--messages", "--rate"),
    (("-j", "-", "--csv", "-"), "--json", "standard output"),
    (("-S", "echopool"), "--server", "number"),
    (("127.0.0.1:1", "127.0.0.1:2"), "127.0.0.1:2", "one"),
    (("127.0.0.1:70000",), "70000", "65535"),
    (("127.0.0.1:0",), '"0"', "65535"),
    (("127.0.0.1:",), "127.0.0.1:", "65535"),
    (("[::1",), "[::1", "]"),
    (("",), "HOST"),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: " ".join(map(str, case[0])))
def test_wrong_usage_is_told_in_one_sentence(case):
    arguments, *words = case
    result = run(*arguments)
    assert result.returncode == 2 and result.stdout == ""
    [line] = error_lines(result)
    assert line.startswith("echoload: ")
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize("arguments", [("-6", "127.0.0.1:7007"), ("-4", "[::1]:7007")])
def test_an_address_of_the_other_family_is_told(arguments):
    result = run(*arguments)
    assert result.returncode != 0 and result.stdout == ""
    [line] = error_lines(result)
    assert arguments[1] in line and {"-4": "IPv4", "-6": "IPv6"}[arguments[0]] in line


def test_a_server_process_that_is_not_there_is_told():
    ended = subprocess.Popen(["true"])
    ended.wait()
    with EchoServer() as server:
        result = run("-S", ended.pid, "-w", 0, "-d", 0.2, at(server.address))
    assert result.returncode != 0
    [line] = error_lines(result)
    assert str(ended.pid) in line


def test_too_low_a_limit_of_descriptors_is_told():
    limited = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"]
    result = run("-c", 90, "-i", 10, wrapper=limited)
    assert result.returncode == 1 and result.stdout == ""
    [line] = error_lines(result)
    assert "100 connections" in line and "40" in line


@pytest.mark.parametrize("arguments", [["-x"], ["--nonsense"], ["-c"], ["--csv"]])
def test_an_unknown_option_points_to_help(arguments):
    result = run(*arguments)
    assert result.returncode == 2 and result.stdout == ""
    assert "--help" in result.stderr


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(option):
    result = run(option)
    assert result.returncode == 0 and result.stderr == ""
    assert re.fullmatch(r"echoload \d+\.\d+\.\d+\n", result.stdout)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_goes_to_stdout_and_fits_a_terminal(option):
    result = run(option)
    assert result.returncode == 0 and result.stderr == ""
    assert result.stdout.startswith("Usage: echoload ")
    assert [line for line in result.stdout.splitlines() if len(line) > 100] == []


def help_options():
    """The options of --help, each with its line."""
    found = {}
    for line in run("--help").stdout.splitlines():
        if match := re.match(r" +((?:(?:-\w|--[\w-]+)(?:, )?)+)(?= |$)", line):
            for option in match[1].split(", "):
                found[option] = line
    return found


def manual_options():
    """The options of the manual page, each with the text of its entry."""
    found = {}
    text = MANUAL.read_text(encoding="utf-8")
    parts = re.split(r"^\.It Fl (.*)$", text, flags=re.MULTILINE)
    for names, body in zip(parts[1::2], parts[2::2]):
        for name in re.findall(r"(?:^|Fl |, )(-?[\w-]+)(?= Ar| ,|$)", names):
            found["-" + name] = body
    return found


def test_the_manual_page_has_every_option_of_help_and_no_other():
    assert set(manual_options()) == set(help_options()) != set()


def test_the_manual_page_and_help_give_the_same_defaults():
    manual = manual_options()
    for option, line in help_options().items():
        if default := re.search(r"(?<!--messages )\((\d+)(?:[:;].*)?\)$", line):
            assert f"\nDefault: {default[1]}.\n" in manual[option], option


def test_the_manual_page_gives_the_defaults_that_are_in_effect():
    with NotListening() as server:
        options = json.loads(run("-j", "-", at(server.address)).stdout)["options"]
    assert options.pop("poisson") is False
    assert isinstance(options.pop("seed"), int)
    assert options.pop("size_min") == options["size_max"]
    in_effect = {key.removesuffix("_s").removesuffix("_max").replace("_", "-"): value
                 for key, value in options.items()}
    manual = {}
    for option, text in manual_options().items():
        if option.startswith("--") and (default := re.search(r"^Default: (\d+)\.$", text, re.M)):
            manual[option[2:]] = int(default[1])
    assert manual == in_effect


@pytest.mark.parametrize("source, used", [
    ("127.0.0.9", {"127.0.0.9"}),
    ("127.0.0.2-127.0.0.4", {"127.0.0.2", "127.0.0.3", "127.0.0.4"}),
    ("127.0.0.255-127.0.1.1", {"127.0.0.255", "127.0.1.0", "127.0.1.1"}),
])
def test_connections_come_from_the_source_in_turn(source, used):
    with EchoServer() as server:
        measure_well(server.address, "--source", source, "-c", 6)
        peers = [peer[0] for peer in server.peers]
    assert set(peers) == used
    assert {peers.count(address) for address in used} == {6 // len(used)}


@pytest.mark.parametrize("source", ["192.0.2.1", "192.0.2.1-192.0.2.9"])
def test_a_source_that_the_machine_does_not_have_is_told(source):
    with EchoServer() as server:
        result = run("--source", source, "-d", 600, at(server.address))
        assert server.accepted == 0
    assert result.returncode == 1 and result.stdout == ""
    [line] = error_lines(result)
    assert line == "echoload: --source: 192.0.2.1: this machine does not have the address"


@pytest.mark.parametrize("source", ["x", "127.0.0.2-", "-127.0.0.2", "127.0.0.2-127.0.0.1", "::1",
                                    "127.0.0.1-::1", "127.0.0.1-127.2.0.0"])
def test_a_wrong_source_is_told(source):
    result = run("--source", source, "127.0.0.1:7007")
    assert result.returncode == 2 and result.stdout == ""
    [line] = error_lines(result)
    assert line.startswith("echoload: --source: ") and f'"{source}"' in line
