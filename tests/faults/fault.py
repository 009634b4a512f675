"""What is to fail in one run, and what was seen of it."""

import collections
import dataclasses

from table import HANG, SHORT, SIGTERM, number_of, row_of

# Faults of these may cost log lines.
LOG_CALLS = ("write_log", "send_log", "sendto", "socket_unix")


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is to fail, and from which call on: written [SCENARIO/]CALL:ERROR[*BURST]:N[@child].
    """

    call: str
    error: str
    nth: int
    burst: int = 1
    scenario: str = "echo"
    process: str = "server"

    def __str__(self):
        scenario = "" if self.scenario == "echo" else self.scenario + "/"
        burst = "" if self.burst == 1 else f"*{self.burst}"
        process = "" if self.process == "server" else "@" + self.process
        return f"{scenario}{self.call}:{self.error}{burst}:{self.nth}{process}"

    @classmethod
    def parse(cls, text):
        text, _, process = text.partition("@")
        scenario, slash, rest = text.rpartition("/")
        call, error, nth = rest.split(":")
        error, _, burst = error.partition("*")
        return cls(call, error, int(nth), int(burst or 1), scenario if slash else "echo",
                   process or "server")

    @property
    def loses_log(self):
        """Whether lines may be missing: a datagram socket holds only some."""
        return self.call in LOG_CALLS or self.scenario == "syslog"

    @property
    def row(self):
        """What must follow."""
        return row_of(self.call, self.error, self.burst, self.scenario, self.process)

    def plan(self):
        """The environment that the library reads."""
        mode = {SHORT: "short", SIGTERM: "sigterm", HANG: "hang"}.get(self.error, "errno")
        return {"FAULT_CALL": self.call, "FAULT_MODE": mode, "FAULT_NTH": str(self.nth),
                "FAULT_ERRNO": str(number_of(self.error) if mode == "errno" else 0),
                "FAULT_BURST": str(self.burst), "FAULT_PROCESS": self.process}


@dataclasses.dataclass
class Result:
    """What was seen of one run."""

    fault: Fault
    stuck: str = ""          # what was waited for in vain
    ready: bool = False
    fired_at_ready: int = 0  # how many calls had failed when the program was ready
    fired_at_stop: int = 0   # ... and when the runner sent SIGTERM
    stop_sent: bool = False
    fired: int = 0
    where: int = 0
    first_threads: int = 0
    threads: int = 0
    reloads: list = dataclasses.field(default_factory=list)
    status: int = 0
    next_served: bool = False
    unanswered: list = dataclasses.field(default_factory=list)
    outcomes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    details: list = dataclasses.field(default_factory=list)
    first_descriptors: collections.Counter = None
    last_descriptors: collections.Counter = None
    calls: dict = dataclasses.field(default_factory=dict)
    calls_at_ready: dict = dataclasses.field(default_factory=dict)
    log: str = ""
