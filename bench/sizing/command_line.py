"""The options of script/bench: their --help, their checks, and the loads they ask for."""

import argparse
import os
import re
import time
from pathlib import Path

from common import machine
from common.arguments import seconds, whole_number, whole_numbers
from sizing import sweep

CHECKOUT = Path(__file__).resolve().parents[2]
MOST_CONNECTIONS = 1000000

DESCRIPTION = """\
Answers "how many workers?" with a number and its reason. It starts echopool on your own file with
one pool size after the other, puts load on it with echoload, which compares every byte, and repeats
that in rounds until it is sure, at most for three minutes. It prints a table, recommends a size,
and writes CSV, JSON and plots.

The recommendation is the smallest pool that is not worse than another, by 5 % in throughput or by
10 % in p99, for each load and for all together. A pool is worse where runs of the same rounds show
it, and not chance; where they show neither, it says which pools cannot be told apart."""

EXAMPLES = """\
examples:
  script/bench
      the default: pool sizes around the number of CPUs, 50 and 1000 connections of 64 bytes,
      8 of 64 KiB; at most three minutes
  script/bench -c /etc/echopool/echopool.conf --load 200x512,20x16k
      your file, your loads: 200 connections with messages of 512 bytes, 20 with 16 KiB
  script/bench --connections 10,100 --sizes 64,4k --workers 2,3,4
      every number of connections with every size
  script/bench --load 100x64 --rate 5000,20000
      an open loop: 5000 and 20000 messages a second, however slowly the server answers; latency
      counts from the moment when a message was due, so that a stall is not hidden
  script/bench --load 8x64+500
      a skewed load: 8 connections are busy, and 500 more are open and silent
  script/bench --load 50x64 --messages 10
      each connection closes after 10 messages, and another one comes
  script/bench -o pool.worker_connections=1 --arrivals 500 --messages 20 --poisson
      a thread for each client: 500 new connections a second, at random moments, each with 20
      messages; also says what Little's law gives
  script/bench --live
      one server that is resized by reload, as an operator would do it
  script/bench --limit 600
      a surer answer, in ten minutes

how to read the table:
  +-             half of the distance between the lowest and the highest round
  p50, p99       of a message; with --arrivals from the moment when a connection was due to its
                 first whole echo; without the generator's own delays, where the system tells them
  server CPU     of one echo; and how many CPUs the server used
  memory         resident (Pss), the highest that was seen
  in queue       how long connections waited for a worker
  limited by     what was at its limit: quota, machine, server, generator or none. Where it is the
                 generator, the figures are echoload's, not echopool's

The generator needs CPU, too: with the clients elsewhere a larger pool may be the best. For the
measurement echopool listens on 127.0.0.1, at any free port, anyone may connect, and it logs to
standard error at level info, whatever the file says of these.

Exit status: 0; 1 when a run failed or could not be made; 2 wrong usage or a wrong file."""


def sizes(text):
    """A list of message sizes as echoload takes them: 64, 64k, 64-1k."""
    words = text.split(",")
    if not all(map(sweep.size_is_right, words)):
        raise argparse.ArgumentTypeError(f"{text}: expected sizes as 64, 64k, 1M or 64-1k, from 1 "
                                         "to 16M, with commas between")
    return words


def pairs(text):
    """A list of loads, CONNECTIONSxSIZE or CONNECTIONSxSIZE+SILENT."""
    found = []
    for word in text.split(","):
        match = re.fullmatch(r"(\d{1,7})x([^+]*)(?:\+(\d{1,7}))?", word)
        count, size, silent = match.groups() if match else (0, "", None)
        if not (1 <= int(count) <= MOST_CONNECTIONS and sweep.size_is_right(size)
                and int(silent or 0) <= MOST_CONNECTIONS):
            raise argparse.ArgumentTypeError(f"{word}: expected CONNECTIONSxSIZE, as 50x64 or "
                                             f"8x64k, up to {MOST_CONNECTIONS}x16M, or with "
                                             "silent connections besides as 8x64+500")
        found.append((int(count), size, int(silent or 0)))
    return found


def parser():
    """The options; --help is where they are explained."""
    made = argparse.ArgumentParser(prog="script/bench", description=DESCRIPTION, epilog=EXAMPLES,
                                   formatter_class=argparse.RawDescriptionHelpFormatter,
                                   allow_abbrev=False)
    _add_server_options(made.add_argument_group("the server"))
    _add_load_options(made.add_argument_group("the loads"))
    _add_measurement_options(made.add_argument_group("the measurement"))
    return made


def _add_server_options(group):
    add = group.add_argument
    add("-c", "--config", metavar="FILE",
        default=os.path.relpath(CHECKOUT / "config" / "echopool.conf"),
        help="echopool's configuration file (%(default)s)")
    add("-o", "--set", metavar="PATH=VALUE", action="append", default=[], dest="overrides",
        help="override a setting of the file, as echopool does; may be given again")
    add("-w", "--workers", metavar="LIST", type=whole_numbers(1, 1024),
        help="pool sizes (around the number of CPUs)")
    add("--live", action="store_true",
        help="start one server and resize it by reload, on a copy of the file")
    add("--build", metavar="DIR", default=os.path.relpath(CHECKOUT / "build"),
        help="where echopool and bench/echoload were built (%(default)s)")


def _add_load_options(group):
    add = group.add_argument
    add("-l", "--load", metavar="LIST", type=pairs, dest="pairs",
        help="CONNECTIONSxSIZE, as 50x64,8x64k; sizes take k and M, or a range as 64-1k; +N adds "
             "N silent connections "
             f"({','.join(sweep.DEFAULT_LOADS)})")
    add("--connections", metavar="LIST", type=whole_numbers(1, MOST_CONNECTIONS),
        help="numbers of connections, each with each of --sizes; with --arrivals one: at most so "
             f"many at once ({sweep.MOST_AT_ONCE})")
    add("--sizes", metavar="LIST", type=sizes, help="sizes of messages (64)")
    add("--rate", metavar="LIST", type=whole_numbers(1, 9999999),
        help="open loop: messages a second over all connections")
    add("--arrivals", metavar="LIST", type=whole_numbers(1, 9999999),
        help="open loop: new connections a second; with --messages for each")
    add("--messages", metavar="N", type=whole_number(1, 1000000),
        help="messages on each connection, then it closes")
    add("--poisson", action="store_true", help="open loop at random moments, not at equal gaps")
    add("--pipeline", metavar="N", type=whole_number(1, 1024), help="messages in flight (1)")
    add("--idle", metavar="N", type=whole_number(1, 1000000),
        help="further connections that send nothing (0)")


def _add_measurement_options(group):
    add = group.add_argument
    add("--limit", metavar="SECONDS", type=seconds(1), default=170,
        help="it goes on until it is sure, at most for so long (%(default)s)")
    add("--rounds", metavar="N", type=whole_number(1, 1000),
        help="exactly so many rounds instead")
    add("--duration", metavar="SECONDS", type=seconds(0.05), default=0.6,
        help="measured time of each run (%(default)s)")
    add("--warmup", metavar="SECONDS", type=seconds(0), default=0.2,
        help="load before that, not measured (%(default)s)")
    add("--seed", metavar="N", type=whole_number(0, 9999999),
        default=time.time_ns() // 10**6 % 10**7,
        help="of the order of the runs and of random loads (another each time)")
    add("--threads", metavar="N", type=whole_number(1, 1024),
        help=f"threads of the generator ({machine.default_threads()})")
    add("--output", metavar="DIR", default="bench-results",
        help="where the files are written (%(default)s)")


def loads(options, worker_connections):
    """The Loads that the options ask for."""
    given = options.pairs or options.connections or options.sizes or options.rate
    if worker_connections == 1 and not (given or options.arrivals):
        options.arrivals = list(sweep.DEFAULT_ARRIVALS)
        options.messages = options.messages or sweep.DEFAULT_MESSAGES
        options.poisson = True
    common = {name: getattr(options, name) for name in ("messages", "poisson", "pipeline", "idle")}
    if options.arrivals:
        at_once = (options.connections or [sweep.MOST_AT_ONCE])[0]
        return [sweep.arriving(arrivals, size, at_once, common)
                for arrivals in options.arrivals for size in options.sizes or ["64"]]
    chosen = list(options.pairs or [])
    if options.connections or options.sizes:
        chosen += [(connections, size, 0) for connections in options.connections or [50]
                   for size in options.sizes or ["64"]]
    chosen = chosen or pairs(",".join(sweep.DEFAULT_LOADS))
    return [sweep.talking(connections, size, rate, {**common, "idle": silent or common["idle"]})
            for connections, size, silent in dict.fromkeys(chosen)
            for rate in options.rate or [None]]


def read():
    """The options of the command line; ends with usage when they are wrong."""
    made = parser()
    options = made.parse_args()
    _check(made, options)
    return options


def _check(made, options):
    if options.arrivals and (options.rate or options.pairs):
        made.error("--arrivals goes with --sizes, --connections and --messages, not with --rate or "
                   "--load")
    if options.arrivals and len(options.connections or []) > 1:
        made.error("--arrivals takes one number of --connections: how many there are at most")
    if options.rate and options.messages:
        made.error("--rate and --messages do not go together: on a schedule of messages the "
                   "connections stay open")
    if options.poisson and not (options.arrivals or options.rate):
        made.error("--poisson is about --arrivals or --rate: give one of them")
