"""How the threads run, and a pool whose threads the system refuses."""

import os
import re
from pathlib import Path

from harness import UNUSED_USER, error_lines, exec_wrapper, run_program, wait_for

MANY = 64
FEW = 20


def limited_to(threads):
    """A command prefix: a user who may have so many threads (root is not bound by that limit)."""
    become = f"os.setgroups([]); os.setgid({UNUSED_USER}); os.setuid({UNUSED_USER}); "
    return exec_wrapper((become if os.geteuid() == 0 else "") + "import resource as r; "
                        f"r.setrlimit(r.RLIMIT_NPROC, ({threads}, {threads}))")


def test_a_pool_that_cannot_start_says_which_error_and_exits_1(public_program):
    result = run_program("-o", f"pool.workers={MANY}", "-o", "listen.port=0",
                         wrapper=limited_to(FEW), program=public_program, cwd="/")
    assert result.returncode == 1
    [line] = [line for line in error_lines(result) if line.startswith("error:")]
    assert "Resource temporarily unavailable" in line
    assert re.search(rf"\b{MANY}\b", line), line


def policies(server):
    """The scheduling policy of each thread, by the thread's name."""
    return {(task / "comm").read_text().strip(): os.sched_getscheduler(int(task.name))
            for task in Path(f"/proc/{server.pid}/task").iterdir()}


def test_the_acceptor_interrupts_no_worker(start):
    server = start({"pool.workers": 2})
    # Each thread names itself, which may be after the server is ready.
    wait_for(lambda: policies(server).keys() >= {"acceptor", "worker-0", "worker-1"})
    wait_for(lambda: policies(server)["acceptor"] == os.SCHED_BATCH)
    assert policies(server)["worker-0"] == policies(server)["worker-1"] == os.SCHED_OTHER
