"""One run of one server under one load, and the choice of echopool's pool size.

Whatever goes wrong in a run becomes a row with "error"; nothing is raised.
"""

import subprocess
import tempfile
from contextlib import contextmanager
from typing import NamedTuple

from common import interrupt, load, server
from comparing import peers
from sizing import recommend, sweep

UNFINISHED = "the sweep did not reach every size; the size of the file was taken."


class Bench(NamedTuple):
    """What all runs share: the programs, the operator's file, echopool's overrides, the generator.

    timing are echoload's options for every run: duration, warmup, threads.
    """

    program: str
    echoload: str
    config: str
    overrides: list
    timing: dict

    def options(self, case):
        """echoload's options for a load, the same for every server."""
        threads = min(self.timing["threads"], case.options["connections"])
        return {**self.timing, **case.options, "threads": threads}


def _started(bench, peer, workers, directory):
    """The server, ready to be entered."""
    if peer.command is None:
        size = [f"pool.workers={workers}"] if workers else []
        return server.echopool(bench.program, bench.config, [*bench.overrides, *size])
    port = server.free_port()
    return server.Server(peer.command(port, directory), port, name=peer.name, ready=peer.ready)


def _measured(bench, peer, case, workers, seed, directory):
    with _started(bench, peer, workers, directory) as running:
        with server.Watch(running) as watch:
            result = load.run(bench.echoload, running.target, server=running.pid, seed=seed,
                              **bench.options(case))
        status = running.process.poll()
        if status is not None:
            raise server.ServerFailed(f"{peer.name} died with status {status} under the load")
    row = load.row(result)
    row["memory_bytes"] = watch.memory_bytes or None
    # Processes that ended before they were counted would seem to have given CPU back.
    if (row["cpu_server_us_per_echo"] or 0) <= 0:
        row["cpu_server_us_per_echo"] = None
    if not row["ok"]:
        row["failure"] = load.failure_text(row)
    return row


def what_failed(row):
    """What went wrong in a run that is not ok."""
    return row.get("error") or row["failure"]


@contextmanager
def _temporary():
    """A directory for the block, which no interruption leaves behind."""
    with interrupt.held():
        made = tempfile.TemporaryDirectory(prefix="echopool-compare-")
    try:
        yield made.name
    finally:
        with interrupt.held():
            made.cleanup()


def run(bench, peer, case, workers=None, seed=1):
    """The row of one run, without "load", "peer" and "round"; workers is for echopool alone."""
    try:
        with _temporary() as directory:
            row = _measured(bench, peer, case, workers, seed, directory)
    except (server.ServerFailed, load.LoadFailed, OSError, subprocess.SubprocessError) as error:
        row = {"ok": False, "error": " ".join(str(error).split())}
    if peer.key == peers.OWN:
        row["workers"] = workers
    return row


def choose_workers(bench, cases, sizes, count, progress):
    """{load's key: (the pool size by recommend.py's rule, the reason)}; the size may be None.

    Every load runs on every size, in count rounds, without what cannot be chosen any more. A sweep
    that ends in its first round chooses nothing: it may not have reached the best size.
    """
    runs = sweep.Sweep(bench.program, bench.echoload, bench.config, bench.overrides,
                       live=False, timing={})
    wanted = [sweep.Load(case.key, bench.options(case)) for case in cases]
    try:
        runs.run(wanted, sizes, progress, count)
    except (server.ServerFailed, load.LoadFailed, OSError) as error:
        progress.say(f"failed: the sweep of pool sizes: {error}")
    if len(runs.rows) < len(cases) * len(sizes):
        return dict.fromkeys((case.key for case in cases), (None, UNFINISHED))
    found = {}
    for case in cases:
        advice = recommend.for_load([row for row in runs.rows if row["load"] == case.key])
        found[case.key] = advice.workers, advice.reason
    return found
