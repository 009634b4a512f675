"""The command line and the file: what is printed, and what is refused before anything starts."""

import os
import re
import socket

import pytest

from clients import need_descriptors
from harness import configuration, error_lines, run_program
from live import printed


@pytest.fixture
def port_in_use():
    """A port on 127.0.0.1 that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


@pytest.fixture
def write(tmp_path):
    """A function that writes a configuration file and returns its path."""
    def write_file(text):
        file = tmp_path / "test.conf"
        file.write_text(text)
        return file
    return write_file


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_names_the_features_and_the_libraries(option):
    result = run_program(option)
    assert result.returncode == 0
    assert re.search(r"^echopool \d+\.\d+", result.stdout)
    assert re.search(r"[+-]systemd", result.stdout)
    assert re.search(r"libconfig\W+\d+\.\d+", result.stdout)
    assert result.stderr == ""


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_goes_to_stdout_and_names_every_option(option):
    result = run_program(option)
    assert result.returncode == 0 and result.stderr == ""
    for short, long in (("-c", "--config"), ("-t", "--test"), ("-T", "--print"), ("-o", "--set"),
                        ("-V", "--version"), ("-h", "--help")):
        assert short in result.stdout and long in result.stdout


@pytest.mark.parametrize("arguments", [["-x"], ["--nonsense"], ["-c"], ["-o"], ["surplus"],
                                       ["-t", "surplus"]])
def test_a_wrong_command_line_exits_2_and_points_to_help(arguments):
    result = run_program(*arguments)
    assert result.returncode == 2 and result.stdout == ""
    assert "--help" in result.stderr


@pytest.mark.parametrize("option", ["-t", "--test"])
def test_a_right_file_is_told_in_one_line_and_nothing_is_bound(option, write, port_in_use):
    file = write(configuration({"listen.addresses": ["127.0.0.1"], "listen.port": port_in_use}))
    result = run_program(option, "-c", file)
    said = (result.stdout + result.stderr).splitlines()
    assert result.returncode == 0 and len(said) == 1 and str(file) in said[0]


def test_an_empty_file_is_right(write):
    assert run_program("-t", "-c", write("")).returncode == 0


@pytest.mark.parametrize("option", ["-t", "--test", None])
def test_a_wrong_file_gives_every_error_at_once_and_starts_nothing(option, write, port_in_use):
    file = write(f"listen: {{ port = {port_in_use}; backlog = 0; }};\n"
                 "pool:\n{\n"
                 "    workers = 16.0;\n"
                 "    worker_conections = 5;\n"
                 "    queue_limit = 4294967312;\n"
                 '    queue_full = "drop";\n'
                 "};\n")
    result = run_program(*([option] if option else []), "-c", file)
    assert result.returncode == 2
    lines = error_lines(result)
    for line_number, word in ((1, "backlog"), (4, "workers"), (5, "worker_conections"),
                              (6, "queue_limit"), (7, "queue_full")):
        assert any(re.search(rf"{file}:{line_number}: .*{word}", line) for line in lines), lines
    assert any("worker_connections" in line for line in lines)
    assert not any("in use" in line for line in lines)


@pytest.mark.parametrize("path, sentence", [("/nonexistent/echopool.conf", "No such file"),
                                            ("/tmp", "irectory")])
def test_a_file_that_cannot_be_read_exits_2_and_says_why(path, sentence):
    result = run_program("-t", "-c", path)
    assert result.returncode == 2
    assert any(path in line and sentence in line for line in error_lines(result))


@pytest.mark.parametrize("override", ["pool.workers=many", "pool.workers=-1", "pool.nothing=1",
                                      "pool.workers", "=1", "log.level=loud"])
def test_a_wrong_override_exits_2_and_names_it(override):
    result = run_program("-t", "-o", override)
    assert result.returncode == 2
    assert any(override.split("=")[0] in line for line in error_lines(result))


def test_print_shows_the_defaults():
    settings = printed()
    assert settings["listen.port"] == "7007"
    assert settings["pool.worker_connections"] == "4096"
    assert settings["limits.buffer_bytes"] == "65536"


def test_overrides_win_over_the_file_and_the_last_one_wins(write):
    file = write(configuration({"pool.workers": 3, "pool.queue_limit": 9}))
    settings = printed("-c", file, "-o", "pool.workers=5", "--set", "pool.workers=7",
                       "-o", "pool.queue_full=reject", "-o", 'listen.addresses=["::1"]',
                       "-o", "timeouts.idle=1.5")
    assert settings["pool.workers"] == "7"
    assert settings["pool.queue_limit"] == "9"
    assert settings["pool.queue_full"].strip('"') == "reject"
    assert "::1" in settings["listen.addresses"] and "127" not in settings["listen.addresses"]
    assert float(settings["timeouts.idle"]) == 1.5


def test_what_is_printed_can_be_given_back():
    first = printed("-o", "pool.workers=3", "-o", "timeouts.drain=0.25", "-o", "log.level=debug")
    again = []
    for path, value in first.items():
        again += ["-o", f"{path}={value}"]
    assert printed(*again) == first


@pytest.mark.parametrize("addresses", [["0.0.0.0", "127.0.0.1"], ["127.0.0.1", "0.0.0.0"]])
def test_a_wildcard_beside_an_address_it_covers_is_an_error(write, addresses):
    result = run_program("-t", "-c", write(configuration({"listen.addresses": addresses})))
    assert result.returncode == 2
    assert any("addresses" in line and "0.0.0.0" in line for line in error_lines(result))


def test_the_defaults_start_without_a_warning(start):
    need_descriptors(4096 * len(os.sched_getaffinity(0)) + 1024 + 100)
    assert not start().log.matching("^(warning|error):")
