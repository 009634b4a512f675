"""Every wrong configuration file of FAULTS.md, by its number, at start and on reload.

At start each is told by file and line, with exit status 2 and nothing bound. On reload it is told
as well, the settings stay as they are, and nobody notices.
"""

import os
import re
import socket
import threading
import time
from pathlib import Path

import pytest

from clients import need_descriptors
from harness import (ENGINE, PLAIN, Server, again_when_late, as_libconfig, check_time,
                     configuration, error_lines, exec_wrapper, needs_root, run_program, seconds,
                     wait_for)
from load import Load

NOBODY = 65534
UNPRIVILEGED_PORTS = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
STAY = "the settings stay as they are"

# Were a wrong file applied by half, a second client of the same address would be refused.
CHANGE = b"limits: { connections_per_ip = 1; };\n"


class Text:
    """A file with CHANGE in its first line and the wrong text behind it, or in front (first)."""

    def __init__(self, text, said, line=1, first=False):
        self.text = text.encode() if isinstance(text, str) else text
        self.said = said
        self.line = line if first else line + 1
        self.first = first

    def put(self, file):
        text = self.text.replace(b"{file}", os.fsencode(file))
        content = text + b"\n" + CHANGE if self.first else CHANGE + text
        file.with_suffix(".new").write_bytes(content)
        file.with_suffix(".new").replace(file)


class Special:
    """Something that is no file of text: make(path) puts it there."""

    line = None

    def __init__(self, make, said):
        self.make = make
        self.said = said

    def put(self, file):
        file.unlink(missing_ok=True)
        self.make(file)


def pool(text):
    return f"pool: {{ {text} }};"


def workers(value, said="pool.workers: .*whole number"):
    return Text(pool(f"workers = {value};"), said)


def include(path):
    return Text(f'\n@include "{path}"\n', "@include: found an include", 2)


ZEROS = os.path.join("/dev", "zero")
NO_CLOSE = "not closed"
SAID_TWICE = "second time"

WRONG = {
    "01-missing": Special(lambda path: None, "No such file"),
    "02-directory": Special(lambda path: path.mkdir(), "directory"),
    "04-symlink-loop": Special(lambda path: path.symlink_to(path), "symbolic links"),
    "05-fifo": Special(os.mkfifo, "FIFO"),
    "06-dev-zero": Special(lambda path: path.symlink_to(ZEROS), "device"),
    "07-too-large": Special(lambda path: path.write_bytes(b"\n" * 65537), "64 KiB"),
    "08-50-MB-string": Special(
        lambda path: path.write_bytes(b'a = "' + b"x" * 50_000_000 + b'";\n'), "64 KiB"),
    "08-60-kB-string": Text('log: { level = "' + "x" * 60_000 + '"; };', "log.level: "),
    "09-100000-keys": Special(
        lambda path: path.write_text("".join(f"a{i} = 1;\n" for i in range(100_000))), "64 KiB"),
    "09-as-many-keys-as-fit": Text("".join(f"a{i}=1;\n" for i in range(7000)), "a0: .*unknown"),
    "10-huge-array": Special(
        lambda path: path.write_text("access: { deny = [ " + '"::1",' * 1_000_000), "64 KiB"),
    "10-1025-rules": Text(
        f"access: {{ deny = {as_libconfig([f'10.0.{i // 256}.{i % 256}' for i in range(1025)])};"
        " };", "access.deny: .*1025"),
    "12-unclosed-comment": Text("/* pool: {\n workers = 3;\n", NO_CLOSE),
    "13-unterminated-string": Text('log: {\nlevel = "info;\n};', NO_CLOSE, 2),
    "14-garbage": Text("]]] %&!", r"found what libconfig refuses \(syntax error\)"),
    "15-byte-order-mark": Text(b"\xef\xbb\xbf", "byte order mark", first=True),
    "16-utf-16": Text(pool("workers = 3;").encode("utf-16"), "UTF-16", first=True),
    "17-control-byte": Text("# \x1b[31m", "control byte"),
    "18-nul": Text("pool: {\n\0 };", "NUL", 2),
    "19-nul-in-a-string": Text('log: { level = "in\0fo"; };', "NUL"),
    "19-escaped-nul-in-a-string": Text('log: { level = "info\\x00"; };', "log.level: .*NUL"),
    "20-not-utf-8": Text(b"# caf\xe9", "UTF-8"),
    "21-unknown-escape": Text('log: { level = "\\info"; };', "log.level: .*escape"),
    "23-2147483648": workers(2147483648),
    "24-4294974996": Text("listen: { port = 4294974996; };", "listen.port: .*4294974996"),
    "25-9223372036854775807": workers(9223372036854775807),
    "26-twenty-digits": workers("99999999999999999999"),
    "27-hex-over-32-bits": workers("0x100000001"),
    "28-L-suffix": workers("8L"),
    "29-leading-zero": workers("010"),
    "30-negative": workers(-1),
    "31-zero-queue": Text(pool("queue_limit = 0;"), "pool.queue_limit: .*from 1 to"),
    "32-too-many-workers": workers(1025),
    "34-float": workers("16.0"),
    "35-string": workers('"16"'),
    "36-bool": workers("true"),
    "37-array": workers("[ 16 ]"),
    "38-group": workers("{ x = 16; }"),
    "39-1e999": workers("1e999"),
    "39-1e999-seconds": Text("timeouts: { drain = 1e999; };", "timeouts.drain: .*seconds"),
    "40-mixed-array": Text('listen: { addresses = [ "127.0.0.1", 5 ]; };',
                           r"listen.addresses: found what .* \(mismatched element type in array\)"),
    "41-unknown-key": Text(pool("wrokers = 8;"), "pool.wrokers: .*did you mean pool.workers"),
    "42-doubled-key": Text(pool("workers = 3;\nworkers = 3;"), f"pool.workers: .*{SAID_TWICE}", 2),
    "42-doubled-group": Text(pool("workers = 3;") + "\n" + pool(""), f"pool: .*{SAID_TWICE}", 2),
    "43-wrong-case": Text(pool("Workers = 8;"), "pool.Workers: .*did you mean pool.workers"),
    "44-nesting": Text("a:{" * 9 + "}" * 9, "8 levels of nesting"),
    "44-nesting-60000": Text("a = " + "(" * 60_000, "8 levels of nesting"),
    "45-include-itself": include("{file}"),
    "45-include-missing": include("missing.conf"),
    "45-include-a-directory": include("/"),
    "45-include-etc-passwd": include("/etc/passwd"),
    "45-include-in-a-group": Text(pool('\n@include "/etc/passwd"\n'), "@include: ", 2),
    "46-port-70000": Text("listen: { port = 70000; };", "listen.port: found 70000"),
    "47-malformed-address": Text('listen: { addresses = [ "127.0.0.300" ]; };',
                                 "listen.addresses: .*127.0.0.300"),
    "48-malformed-cidr": Text('access: { deny = [ "10.0.0.0/33" ]; };',
                              "access.deny: .*10.0.0.0/33"),
    "48-cidr-with-host-bits": Text('access: { allow = [ "10.0.0.1/8" ]; };',
                                   "access.allow: .*10.0.0.1/8"),
    "49-idle-when-full-longer-than-idle": Text(
        "timeouts: { idle = 1;\nidle_when_full = 2; };", "timeouts.idle_when_full: found 2", 2),
}


def check_told(lines, file, fault):
    """Some line names file, line and fault, and all say what would be right."""
    place = re.escape(str(file)) + (f":{fault.line}: " if fault.line else ": ")
    assert any(re.search(f"{place}.*{fault.said}", line) for line in lines), lines
    for line in lines:
        assert "expected" in line or "did you mean" in line or "more errors" in line, line


def remove(file):
    """Takes away what an earlier try may have put there."""
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)


def on_free_port(**more):
    """Settings of the command line, which win over whatever the file says."""
    return {"overrides": ['listen.addresses=["127.0.0.1"]', "listen.port=0"], **more}


@pytest.mark.parametrize("name", WRONG)
@again_when_late
def test_at_start_it_is_told_by_line_and_nothing_is_bound(name, tmp_path):
    file = tmp_path / "echopool.conf"
    remove(file)
    WRONG[name].put(file)
    begin = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        result = run_program("-c", file, "-o", 'listen.addresses=["127.0.0.1"]',
                             "-o", f"listen.port={taken}")
    took = time.monotonic() - begin
    assert result.returncode == 2 and result.stdout == ""
    check_told(error_lines(result), file, WRONG[name])
    check_time(took, seconds(2))


def state(server):
    """What must not change, seen from outside."""
    return {"ready": (server.addresses, server.limits), "threads": server.threads(),
            "descriptors": server.descriptors()}


def check_refused(server, lines):
    """The reload was refused, with a closing line; returns its other error lines."""
    errors = [line for line in lines if line.startswith("error: ")]
    assert STAY in errors[-1]
    assert not any("changed from" in line for line in lines), lines
    return errors[:-1] or errors


@pytest.mark.parametrize("name", WRONG)
@again_when_late
def test_on_reload_it_is_told_by_line_and_nothing_changes(name, start):
    server = start({"pool.workers": 2}, **on_free_port())
    client = server.connect()
    client.echo()
    before = state(server)
    WRONG[name].put(server.file)
    begin = time.monotonic()
    lines = server.reload()
    took = time.monotonic() - begin
    assert state(server) == before
    errors = [line.removeprefix("error: ") for line in check_refused(server, lines)]
    assert all(line.startswith("reload: ") for line in errors)
    check_told(errors, server.file, WRONG[name])
    client.echo()
    server.connect().echo()
    mark = server.log.mark()
    server.figures()
    server.log.wait(r"\breload applied=0 refused=1$", start=mark)
    check_time(took, seconds(2))


def test_all_of_them_in_a_row_under_load(start):
    """Again and again: no memory, no descriptor and no client is lost."""
    server = start({"pool.workers": 2}, **on_free_port())
    load = Load(server.address)
    try:
        memory = []
        for _ in range(3):
            for fault in WRONG.values():
                if server.file.is_dir():
                    server.file.rmdir()
                fault.put(server.file)
                check_refused(server, server.reload())
                load.check()
            memory.append(server.memory())
        load.wait_round()
        assert not PLAIN or memory[2] - memory[0] < 256 << 10, memory
        load.finish()
        wait_for(lambda: server.descriptors() == server.first_descriptors)
    finally:
        load.close()


def test_11_an_empty_file_is_the_defaults(start):
    need_descriptors(4096 * len(os.sched_getaffinity(0)) + 1024 + 100)
    server = start({"pool.workers": 3, "pool.queue_limit": 7}, **on_free_port())
    server.file.write_text("")
    lines = server.reload()
    assert any("pool.queue_limit changed from 7 to 1024" in line for line in lines), lines
    assert f"warning: reload: {server.file} sets nothing but defaults; is it empty?" in lines
    assert server.limits["queue_limit"] == 1024
    server.connect().echo()


def test_an_empty_file_that_changes_nothing_is_not_mentioned(start):
    need_descriptors(4096 * len(os.sched_getaffinity(0)) + 1024 + 100)
    server = start(**on_free_port())
    for text in ("", "# nothing", "pool: { workers = 0; };"):
        server.file.write_text(text)
        server.reload()
        assert not server.log.matching("^warning")
    server.reload({"pool.queue_limit": 7})
    assert not server.log.matching("^warning")


def test_22_lines_may_end_in_cr_and_lf(start):
    server = start({"pool.workers": 1})
    text = configuration({"listen.addresses": ["127.0.0.1"], "listen.port": 0, "pool.workers": 2})
    server.file.write_bytes(text.replace("\n", "\r\n").encode())
    server.reload()
    assert server.limits["workers"] == 2
    printed = run_program("-T", "-c", server.file)
    assert "pool.workers=2\n" in printed.stdout and printed.returncode == 0


def test_33_more_connections_than_descriptors_are_clamped_with_the_numbers(start):
    asked = {"pool.workers": 1, "pool.worker_connections": 1000, "pool.queue_limit": 900}
    limited = exec_wrapper("import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (100, 100))")
    small = {"pool.workers": 1, "pool.worker_connections": 5, "pool.queue_limit": 5}
    first = start(asked, wrapper=limited)
    again = start(small, wrapper=limited)
    assert again.limits == {"workers": 1, "worker_connections": 5, "queue_limit": 5,
                            "engine": ENGINE or "epoll"}
    again.reload(asked)
    assert again.limits == first.limits and first.limits["worker_connections"] < 100
    for server in (first, again):
        [told] = server.log.matching("^warning: .*descriptors")
        bounds = [bound for bound in first.limits.values() if isinstance(bound, int)]
        for number in (100, 1000, 900, *bounds):
            assert re.search(rf"\b{number}\b", told), told
        server.connect().echo()


def test_33_a_pool_that_no_division_fits_is_refused(start):
    limited = exec_wrapper("import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (100, 100))")
    server = start({"pool.workers": 1, "pool.queue_limit": 7}, wrapper=limited)
    before = state(server)
    lines = server.reload({"pool.workers": 500, "pool.queue_limit": 8,
                           "listen.addresses": ["127.0.0.2", "127.0.0.1"]})
    assert "500 workers" in check_refused(server, lines)[0]
    assert state(server) == before
    assert server.refuses(("127.0.0.2", server.address[1]))
    server.connect().echo()


@pytest.fixture
def nobodys(public_program):
    """A server of the user nobody, with its file where nobody may read it."""
    become = exec_wrapper(f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); "
                          f"sys.argv[1] = {public_program!r}")
    server = Server(Path(public_program).parent, {"pool.workers": 1}, wrapper=become, cwd="/")
    try:
        yield server.wait_ready()
    finally:
        server.finish()


@needs_root
def test_03_an_unreadable_file(nobodys, public_program):
    nobodys.file.chmod(0o600)
    before = state(nobodys)
    errors = check_refused(nobodys, nobodys.reload())
    assert f"reload: {nobodys.file}: cannot be read: Permission denied; expected" in errors[0]
    assert state(nobodys) == before
    nobodys.connect().echo()
    result = run_program("-c", nobodys.file, program=public_program, user=NOBODY, group=NOBODY,
                         extra_groups=[], cwd="/")
    assert result.returncode == 2
    assert f"{nobodys.file}: cannot be read: Permission denied" in result.stderr


@needs_root
def test_50_a_privileged_port_without_the_right(nobodys):
    """At the start: test_start.py."""
    if int(Path(UNPRIVILEGED_PORTS).read_text(encoding="ascii")) <= 7:
        pytest.skip(f"needs privileged ports: {UNPRIVILEGED_PORTS} lets everyone bind port 7")
    before = state(nobodys)
    lines = nobodys.reload({"listen.port": 7, "pool.workers": 3})
    errors = check_refused(nobodys, lines)
    assert "127.0.0.1:7: Permission denied" in errors[0]
    assert state(nobodys) == before
    nobodys.connect().echo()


def test_51_a_port_in_use(start):
    """At the start: test_start.py."""
    server = start({"pool.workers": 1})
    before = state(server)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        lines = server.reload({"listen.port": port, "pool.workers": 3, "pool.queue_limit": 7})
    assert f"127.0.0.1:{port}: Address already in use" in check_refused(server, lines)[0]
    assert state(server) == before
    server.connect().echo()


def test_52_an_address_that_is_not_ours(start):
    """At the start: test_start.py."""
    server = start({"pool.workers": 1})
    before = state(server)
    addresses = ["127.0.0.2", "127.0.0.1", "192.0.2.1"]
    lines = server.reload({"listen.addresses": addresses, "pool.workers": 3})
    assert "192.0.2.1" in check_refused(server, lines)[0]
    assert state(server) == before
    assert server.refuses(("127.0.0.2", server.address[1]))
    server.connect().echo()


class Flipper:
    """Replaces a file by one content and the other in turn, as fast as it can, until close()."""

    def __init__(self, file, contents):
        self._ended = threading.Event()
        self._file = file
        self._contents = contents
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        new = self._file.with_suffix(".flip")
        while not self._ended.is_set():
            for content in self._contents:
                new.write_text(content)
                new.replace(self._file)

    def close(self):
        self._ended.set()
        self._thread.join(10)


PADDING = "#" + "x" * 60_000 + "\n"
TWO_CONTENTS = [pool(f"\nworkers = {n};\n{PADDING}queue_limit = {n}0;\n") for n in (1, 3)]


def check_one_content(workers_now, queue_limit):
    assert queue_limit == workers_now * 10, (workers_now, queue_limit)


def test_53_a_file_replaced_while_it_is_read_has_one_content(start):
    server = start({"pool.workers": 1, "pool.queue_limit": 10}, **on_free_port())
    flipper = Flipper(server.file, TWO_CONTENTS)
    try:
        for _ in range(40):
            lines = server.reload()
            assert not any(line.startswith("error") for line in lines), lines
            check_one_content(server.limits["workers"], server.limits["queue_limit"])
            printed = run_program("-T", "-c", server.file).stdout
            check_one_content(*(int(re.search(rf"^pool.{name}=(\d+)$", printed, re.M)[1])
                                for name in ("workers", "queue_limit")))
    finally:
        flipper.close()
    server.connect().echo()


def test_54_a_file_that_others_may_write_is_a_warning(start):
    server = start({"pool.workers": 1})
    server.configure({"pool.workers": 2})
    server.file.chmod(0o666)
    lines = server.reload()
    warning = rf"{server.file}: .*others may write to it \(mode 0666\); expected mode 0644$"
    assert any(re.match(f"warning: reload: {warning}", line) for line in lines), lines
    assert server.limits["workers"] == 2
    result = run_program("-t", "-c", server.file)
    assert result.returncode == 0 and re.search(warning, result.stderr, re.M)


def by_group(file):
    file.chmod(0o664)


def by_owner(file):
    os.chown(file, NOBODY, -1)


def by_directory(file):
    file.parent.chmod(0o777)


def by_group_of_directory(file):
    file.parent.chmod(0o775)


def by_owner_of_directory(file):
    file.parent.chmod(0o1777)
    os.chown(file.parent, NOBODY, -1)


def by_directory_of_target(file):
    target = file.parent / "target" / file.name
    target.parent.mkdir()
    target.parent.chmod(0o777)
    file.rename(target)
    file.symlink_to(target)


def by_link(file):
    target = file.with_name("target.conf")
    file.rename(target)
    file.symlink_to(target)
    os.chown(file, NOBODY, -1, follow_symlinks=False)


@needs_root
@pytest.mark.parametrize("change, said", [
    (by_group, r"that its group may write to it \(mode 0664\); expected mode 0644$"),
    (by_owner, "that user 65534 owns it; expected root, or who runs echopool$"),
    (by_directory, r"that others may write to its directory \(mode 0777\); expected mode 0755$"),
    (by_group_of_directory,
     r"that its group may write to its directory \(mode 0775\); expected mode 0755$"),
    (by_owner_of_directory,
     "that user 65534 owns its directory; expected root, or who runs echopool$"),
    (by_directory_of_target,
     r"that others may write to its target's directory \(mode 0777\); expected mode 0755$"),
    (by_link, "a symbolic link of user 65534; expected one of root, or of who runs echopool$"),
])
def test_who_else_may_change_the_file_is_told(start, change, said):
    server = start({"pool.workers": 1})
    warning = rf"{server.file}: found {said}"
    assert not server.log.matching("warning: .*: found ")
    change(server.file)
    lines = server.reload()
    told = [line for line in lines if re.search(": found ", line)]
    assert len(told) == 1 and re.match(f"warning: reload: {warning}", told[0]), lines
    result = run_program("-t", "-c", server.file)
    assert result.returncode == 0
    assert re.search(f"^warning: {warning}", result.stderr, re.M), result.stderr
    again = run_program("-c", server.file, "-o", "listen.addresses=[\"192.0.2.1\"]")
    assert re.search(f"^warning: {warning}", again.stderr, re.M), again.stderr


def test_all_that_may_change_the_file_are_told_beside_50_errors(tmp_path):
    file = tmp_path / "public" / "echopool.conf"
    file.parent.mkdir()
    file.write_text(pool("\n" + "".join(f"key{i} = 1;\n" for i in range(60))))
    file.chmod(0o666)
    file.parent.chmod(0o777)
    result = run_program("-t", "-c", file)
    assert result.returncode == 2
    lines = error_lines(result)
    assert len(lines) == 2 + 50 + 1 and "and 10 more errors" in lines[-1]
    assert all(line.startswith("warning: ") for line in lines[:2])


def test_all_errors_of_a_file_are_told_at_once_and_at_most_50(start):
    server = start(**on_free_port())
    server.file.write_text(pool("\n" + "".join(f"key{i} = 1;\n" for i in range(60))))
    lines = check_refused(server, server.reload())
    assert len(lines) == 51 and "and 10 more errors" in lines[-1]
    for i, line in enumerate(lines[:50]):
        assert f"{server.file}:{i + 2}: pool.key{i}: " in line


def test_a_wrong_file_made_right_is_applied(start):
    server = start({"pool.workers": 1})
    WRONG["14-garbage"].put(server.file)
    check_refused(server, server.reload())
    server.reload({"pool.workers": 2})
    assert server.limits["workers"] == 2
    wait_for(lambda: server.threads() <= 5)
    server.connect().echo()
