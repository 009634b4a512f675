"""One run: the program with one fault, its clients, and what came of it.

Each scenario is another way to start the program; the steps are the same. What
is seen goes into a Result, which judge.py looks at.
"""

import os
import re
import resource
import signal
import socket
import tempfile

from fault import LOG_CALLS, Result
from peers import EXACT, Crowd, Peer, payload
from program import LISTEN_FDS_START, Program, Stuck, seconds
from table import HANG

# More than one client for each place, so that the queue is used too.
SETTINGS = {
    "listen.addresses": '[ "127.0.0.1", "::1" ]',
    "listen.port": "0",
    "pool.workers": "2",
    "pool.worker_connections": "3",
    "pool.queue_limit": "2",
    "limits.buffer_bytes": "16384",
    "timeouts.drain": "5",
    "log.connections": "true",
}
# What each scenario changes.
CHANGES = {
    "echo": {},
    "systemd": {"pool.workers": "0"},
    "syslog": {"log.target": '"syslog"'},
    "socket": {},
    "closed": {},
    "reload": {},
    # Each has a port of its own: of the echo service that of IPv4, of the endpoint that of IPv6.
    "admin": {"listen.addresses": '[ "127.0.0.1" ]', "admin.addresses": '[ "::1" ]',
              "admin.port": "0"},
}
SCENARIOS = tuple(CHANGES)
PAGES = ("/", "/livez", "/metrics", "/readyz", "/status.css", "/status.js", "/status.json",
         "/status.txt")

ADDRESSES = '[ "127.0.0.1", "::1" ]'
# What the scenario "reload" changes on the way: more of everything, then less.
RELOADS = (
    {"pool.workers": "4", "listen.addresses": '[ "127.0.0.1", "::1", "127.0.0.2" ]',
     "access.deny": '[ "192.0.2.0/24", "2001:db8::/32" ]'},
    {"pool.workers": "1", "pool.queue_limit": "20", "listen.addresses": ADDRESSES},
)


def is_possible(name, symbols):
    """Whether a program that imports these functions has what the scenario is about."""
    needed = {"reload": "fork", "systemd": "sd_listen_fds_with_names",
              "admin": "MHD_start_daemon"}
    return name not in needed or needed[name] in symbols


def write_settings(path, settings):
    """Writes a configuration file from {"group.name": text}."""
    groups = {}
    for name, value in settings.items():
        group, key = name.split(".")
        groups.setdefault(group, []).append(f"{key} = {value};")
    with open(path, "w", encoding="ascii") as file:
        for group, lines in groups.items():
            file.write(f"{group}: {{ {' '.join(lines)} }};\n")


def fetch(address, page):
    """Whether the admin endpoint answers a request for a page with a whole answer."""
    try:
        with socket.create_connection(address, timeout=seconds(5)) as sock:
            sock.sendall(f"GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
    except ConnectionError:
        return False
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    return head.startswith(b"HTTP/1.1 200 ") and length and len(body) == int(length[1])


class Run:
    """The steps of one run, in order."""

    def __init__(self, injector, fault, directory):
        self.injector = injector
        self.fault = fault
        self.directory = directory
        self.result = Result(fault)
        self.crowd = Crowd()
        self.listener = self.notify = self.syslog = None
        self.inherited_address = None
        self.program = None
        self.path = os.path.join(directory, "echopool.conf")
        self.settings = {}

    def _datagrams(self, name):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.setblocking(False)
        made.bind(os.path.join(self.directory, name))
        return made

    def _prepare(self, pid):
        """In the child: what the scenario's way of starting asks for."""
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Less than it may have, so that it has something to raise.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
        scenario = self.fault.scenario
        if scenario == "closed":
            os.close(0)
            os.close(1)
        if scenario == "syslog":
            return {"FAULT_SYSLOG": self.syslog.getsockname()}
        if scenario != "systemd":
            return {}
        os.dup2(self.listener.fileno(), LISTEN_FDS_START)
        return {"LISTEN_PID": str(pid), "LISTEN_FDS": "1",
                "NOTIFY_SOCKET": self.notify.getsockname()}

    def start(self):
        """Starts the program in the way of the scenario."""
        scenario = self.fault.scenario
        if scenario == "systemd":
            self.notify = self._datagrams("notify")
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
            self.inherited_address = self.listener.getsockname()
        if scenario == "syslog":
            self.syslog = self._datagrams("syslog")
        self.settings = SETTINGS | CHANGES[scenario]
        write_settings(self.path, self.settings)
        self.program = Program(self.injector, self.directory, ["-c", self.path],
                               self.fault.plan(),
                               stderr_is_socket=scenario == "socket", prepare=self._prepare,
                               more_log=self.syslog)

    def _is_ready(self):
        """Ready by its own word; where that line may be lost, by what it does."""
        program = self.program
        if b"ready on " in program.log:
            return True
        return (self.fault.call in LOG_CALLS and program.page.fired > 0 and
                (self.listener or any(program.page.ports)) and program.is_quiet())

    def _addresses(self):
        """An IPv4 and an IPv6 address of the program; the same one twice if it has only one."""
        if self.inherited_address:
            return [self.inherited_address] * 2
        port_v4, port_v6 = self.program.page.ports
        if self.fault.scenario == "admin":
            port_v6 = 0
        found = [(host, port) for host, port in (("127.0.0.1", port_v4), ("::1", port_v6)) if port]
        return [found[0], found[-1]]

    def wait_ready(self):
        """False when the program has ended instead."""
        program, result = self.program, self.result
        program.wait(self._is_ready, "readiness")
        if program.has_ended() or not self._is_ready():
            return False
        if self.listener or self.syslog:
            # The C library's time zone and libsystemd's notice take a descriptor for a moment.
            program.wait_quiet("rest after readiness")
        if self.listener:
            self.listener.close()
        result.ready = True
        result.fired_at_ready = program.page.fired
        result.first_descriptors = program.descriptors()
        result.first_threads = program.threads()
        result.calls_at_ready = program.page.all_calls()
        return True

    def _add(self, name, address, number, size, **how):
        return self.crowd.add(Peer(name, address, payload(number, size), **how))

    def converse(self):
        """The clients at once: small, large, slow, half-closing, resetting and silent ones."""
        v4, v6 = self._addresses()
        small = self._add("small", v4, 1, 2_000, piece=400)
        large = self._add("large", v4, 2, 100_000)
        slow = self._add("slow", v4, 3, 400_000, slow=True)
        half = self._add("half-closing", v6, 4, 40_000, half_close=True)
        self._add("resetting", v4, 5, 1_000, piece=500, reset=True)
        late = self._add("late", v6, 6, 0)
        self.crowd.run([small, half], until=self.program.has_ended)
        self.program.send_signal(signal.SIGUSR1)
        if self.fault.scenario == "reload":
            self.reload_all()
        self.crowd.run([large, slow], until=self.program.has_ended)
        late.extend(payload(7, 5_000))
        self.crowd.run(until=self.program.has_ended)

    def reload(self, changes):
        """Has other settings read, while the clients go on; returns the new line of readiness."""
        program, start = self.program, len(self.program.log)
        write_settings(self.path, self.settings | changes)
        program.send_signal(signal.SIGHUP)

        def is_done():
            program.read_log()
            return re.search(rb"ready on .*", program.log[start:]) or self.is_leaving()

        self.crowd.run(until=is_done, even_if_served=True, what="a reload")
        ready = re.search(r"ready on (.*?); workers=(\d+)",
                          program.log[start:].decode(errors="replace"))
        if ready:
            self.result.reloads.append((ready[1].count(",") + 1, int(ready[2])))

    def reload_all(self):
        """More, less, and as it was: again, if the fault has had that refused."""
        for changes in RELOADS:
            self.reload(changes)
        for _ in range(self.fault.burst + 1):
            if not self.is_leaving():
                self.reload({})

    def probe(self):
        """Every page of the endpoint is answered; each fault may end one connection."""
        if self.fault.scenario != "admin" or self.is_leaving():
            return
        address = "::1", self.program.page.ports[1]
        answered = []
        for _ in range(self.fault.burst + 1):
            answered = [fetch(address, page) for page in PAGES]
            if all(answered):
                break
        self.result.unanswered = [page for page, good in zip(PAGES, answered) if not good]

    def rest(self):
        """Open connections that have nothing to say cost nothing; nor do closed ones."""
        if self.program.has_ended():
            return
        self.program.wait_quiet("rest with open connections")
        self.crowd.look()
        for peer in self.crowd.peers:
            peer.close()

    def is_leaving(self):
        """Whether the fault has made the program drain or end."""
        return self.program.has_ended() or (self.program.page.fired > 0 and
                                            self.fault.row.leaves)

    def serve_next(self):
        """A newcomer is served; each fault may end one more."""
        for attempt in range(self.fault.burst + 1):
            if self.is_leaving():
                return
            peer = self._add("next", self._addresses()[attempt % 2], 8 + attempt, 3_000)
            self.crowd.run([peer], until=self.program.has_ended)
            self.crowd.look()
            if peer.outcome == EXACT:
                self.result.next_served = True
                peer.close()
                return

    def count_descriptors(self):
        """As many as at first, once the last client's end has been seen."""
        program, result = self.program, self.result
        if self.is_leaving():
            return
        try:
            program.wait(lambda: program.descriptors() == result.first_descriptors,
                         "the closing of all descriptors", timeout=2)
        except Stuck:
            pass
        last, threads = program.descriptors(), program.threads()
        if self.is_leaving():  # since then: what it has open says nothing
            return
        result.last_descriptors, result.threads = last, threads
        program.wait_quiet("rest without connections")

    def hang_in_drain(self):
        """One more reload, whose child may be the one that hangs, at the moment of the stop."""
        program, start = self.program, len(self.program.log)
        program.send_signal(signal.SIGHUP)
        program.wait(lambda: program.page.fired or b"ready on" in program.log[start:],
                     "the last reload")

    def drain(self):
        """A client that is being served goes on being served after SIGTERM."""
        program, result = self.program, self.result
        if not self.is_leaving():
            last = self._add("last", self._addresses()[0], 30, 2_000)
            self.crowd.run([last], until=program.has_ended)
            if not self.is_leaving():
                result.fired_at_stop = program.page.fired
                result.stop_sent = True
                if self.fault.error == HANG and self.fault.process == "child":
                    self.hang_in_drain()
                program.send_signal(signal.SIGTERM)
            if not self.fault.loses_log:
                program.wait_log(b"draining", "the drain")
            last.extend(payload(31, 20_000))
            self.crowd.run([last], until=program.has_ended)
            self.crowd.look()
            last.close()
        program.wait_end()

    def steps(self):
        self.start()
        if not self.wait_ready():
            return
        self.converse()
        self.probe()
        self.rest()
        self.serve_next()
        self.count_descriptors()
        self.drain()

    def finish(self):
        """Gives everything back and fills in the result."""
        result = self.result
        for peer in self.crowd.peers:
            result.outcomes[peer.outcome] += 1
            if peer.detail:
                result.details.append(f"{peer.name}: {peer.outcome}: {peer.detail}")
        self.crowd.close()
        if self.program:
            page = self.program.page
            result.fired, result.where = page.fired, page.where
            result.calls = page.all_calls()
            self.program.close()
            result.status = self.program.status
            result.log = self.program.log.decode(errors="replace")
        for sock in (self.listener, self.notify, self.syslog):
            if sock:
                sock.close()


def run(injector, fault):
    """Runs the scenario of the fault under it and returns the Result."""
    with tempfile.TemporaryDirectory(prefix="echopool-fault.") as directory:
        one = Run(injector, fault, directory)
        try:
            one.steps()
        except Stuck as stuck:
            one.result.stuck = f"{stuck}\n{one.program.state()}" if one.program else str(stuck)
        finally:
            one.finish()
        return one.result
