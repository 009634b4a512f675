"""The options of bench/compare.py, and the help that says how to read the result."""

import argparse
import os
import re
import time
from pathlib import Path

from common import machine
from common.arguments import seconds, whole_number
from comparing import peers
from comparing.loads import LOADS

ROOT = Path(__file__).resolve().parents[2]

DESCRIPTION = """\
Measures echopool side by side with the servers that one would run instead of it. The same
generator, echoload, puts the same loads on all of them and compares every byte. Each figure is told
beside its ratio to the best.

For each load it first finds echopool's pool size by the rule of script/bench, in a short sweep.
Then every server runs under every load once in each round, in an order of chance, all with the
same seed. Each run has a server that was started for it. Reported is the median of the rounds.
Then only echopool and the best of the others run, in pairs, until it is known within 3 % how
many times as fast one is, or the time is over: the best of many is partly so by luck. A server
that this machine does not have is listed with the reason; one that dies or loses connections is
listed with what happened, and is not the best of anything."""

EXAMPLES = """\
servers, for --peers:
{peers}

loads, for --loads:
{loads}

examples:
  bench/compare.py
      everything; the sweep, 5 rounds of 2 s, and pairs: about half an hour on 2 CPUs
  bench/compare.py --loads 50,1000 --peers epoll,uv
      two loads; echopool beside two others
  bench/compare.py --workers 1
      one worker under every load, and no sweep
  bench/compare.py --workers 50=1,1000=2
      for these two loads the sizes that an earlier run has found, for the others a sweep
  bench/compare.py --quick
      a first look in a minute: one round, one worker for each CPU; too short to rank anything

how to read the tables:
  of best        the figure divided by the best of its column: at most 1 for throughput, at least 1
                 for latency, CPU and memory
  surely         where that ratio is, in 95 of 100 such comparisons, from pairs of runs of the same
                 rounds; "even" where that holds 1: the two cannot be told apart
  +-             half of the distance between the lowest and the highest round
  p50 to p99.9   of a message. A server that answers sooner is also asked sooner, so read them
                 together with the throughput
  memory         resident (Pss) of all its processes, the highest that was seen
  wrong bytes, starved, failed
                 the worst of the rounds: bytes that differ from what was sent, connections on which
                 no message was answered, connections that were refused, reset, closed or timed out

The generator runs on the same machine and needs CPU, too; where a note says that it was at its
limit, the servers differ more than the figures show. Measure on a machine that does nothing else.
All servers have TCP_NODELAY; those of this project read 64 KiB at once, as echopool does.
echopool's worker_connections is raised to hold all clients of a load where it is less.

Files: compare.txt (what is printed), compare.json, compare-medians.csv, compare-runs.csv, and the
plots compare.svg and compare.png.

Exit status: 0; 1 when a run of echopool failed or nothing could be measured; 2 wrong usage or a
wrong file."""


def some_of(known, what):
    """A parser for a list of keys; the order is that of the known ones."""
    def parse(text):
        words = text.split(",")
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(
                    f"{word}: there is no such {what}; expected one of {', '.join(known)}")
        return [key for key in known if key in words]
    return parse


def pool_sizes(text):
    """A parser for pool sizes: N for every load, or LOAD=N,LOAD=N; a dictionary by load's key."""
    known = [case.key for case in LOADS]
    words = [f"{key}={text}" for key in known] if re.fullmatch(r"\d+", text) else text.split(",")
    found = {}
    for word in words:
        key, _, size = word.partition("=")
        if key not in known or not re.fullmatch(r"\d{1,4}", size) or not 1 <= int(size) <= 1024:
            raise argparse.ArgumentTypeError(
                f"{text}: expected a number from 1 to 1024, or LOAD=N,LOAD=N as 50=1,1000=2")
        found[key] = int(size)
    return found


def _listed(entries):
    return "\n".join(f"  {key:<9} {what}" for key, what in entries)


def parser():
    """The options; --help is where they are explained."""
    epilog = EXAMPLES.format(peers=_listed(peers.WHAT.items()),
                             loads=_listed((case.key, case.title) for case in LOADS))
    made = argparse.ArgumentParser(prog="bench/compare.py", description=DESCRIPTION, epilog=epilog,
                                   formatter_class=argparse.RawDescriptionHelpFormatter,
                                   allow_abbrev=False)
    _add_server_options(made.add_argument_group("the servers"))
    _add_measurement_options(made.add_argument_group("the measurement"))
    return made


def _add_server_options(group):
    add = group.add_argument
    add("-p", "--peers", metavar="LIST", type=some_of(list(peers.WHAT), "server"),
        help="only these beside echopool (all)")
    add("-w", "--workers", metavar="SIZES", type=pool_sizes,
        help="echopool's pool size: N, or LOAD=N,LOAD=N (found by a sweep)")
    add("-c", "--config", metavar="FILE", help="echopool's configuration file (its defaults)")
    add("-o", "--set", metavar="PATH=VALUE", action="append", default=[], dest="overrides",
        help="override a setting of echopool, as echopool does; may be given again")
    add("--build", metavar="DIR", default=os.environ.get("BUILD", str(ROOT / "build")),
        help="where all was built (BUILD of the environment, or build)")
    add("--program", metavar="FILE", help="another echopool than that of --build")
    add("--echoload", metavar="FILE", help="another echoload than that of --build")


def _add_measurement_options(group):
    add = group.add_argument
    add("-l", "--loads", metavar="LIST", type=some_of([case.key for case in LOADS], "load"),
        help="only these (all)")
    add("--rounds", metavar="N", type=whole_number(1, 1000),
        help="how often each is measured (5)")
    add("--limit", metavar="SECONDS", type=seconds(0),
        help="for how long pairs go on at most; 0: no pairs (600)")
    add("--seed", metavar="N", type=whole_number(0, 9999999),
        default=time.time_ns() // 10**6 % 10**7,
        help="of the order of the runs and of random loads (another each time)")
    add("--duration", metavar="SECONDS", type=seconds(0.05),
        help="measured time of each run (2)")
    add("--warmup", metavar="SECONDS", type=seconds(0),
        help="load before that, not measured (0.5)")
    add("--threads", metavar="N", type=whole_number(1, 1024),
        default=machine.default_threads(), help="threads of the generator (%(default)s)")
    add("--quick", action="store_true",
        help="one round of 0.5 s, one worker for each CPU, no sweep, no pairs, unless told "
             "otherwise")
    add("--output", metavar="DIR", default="bench-results",
        help="where the files are written (%(default)s)")


def parse(words):
    """The options of these arguments, with what depends on other options filled in."""
    options = parser().parse_args(words)
    usual = (1, 0.5, 0.2, 0) if options.quick else (5, 2.0, 0.5, 600)
    for name, value in zip(("rounds", "duration", "warmup", "limit"), usual):
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.workers is None:
        options.workers = pool_sizes(str(machine.cpus())) if options.quick else {}
    # A program without "/" in its path is searched in PATH.
    options.build = os.path.abspath(options.build)
    options.program = os.path.abspath(options.program or f"{options.build}/echopool")
    options.echoload = os.path.abspath(options.echoload or f"{options.build}/bench/echoload")
    return options
