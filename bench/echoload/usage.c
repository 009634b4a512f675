/*
 * The help; see the header.
 */
#include "usage.h"

#include <stdio.h>

static const char help[] =
	"\n"
	"Loads a TCP echo server, compares every byte that comes back, and tells how fast it is.\n"
	"HOST is a name or an address, [::1]:7007 for IPv6; without it 127.0.0.1:7007.\n"
	"\n"
	"The load\n"
	"  -c, --connections N   connections that talk (50)\n"
	"  -t, --threads N       threads of the generator (1)\n"
	"  -s, --size N[-M]      bytes of a message, or from N to M at random; 4k, 1M (64)\n"
	"  -p, --pipeline N      messages in flight on a connection (1)\n"
	"  -m, --messages N      messages on each connection, then it closes and another opens (0: never)\n"
	"  -i, --idle N          further connections that send nothing (0)\n"
	"  -C, --connect-rate N  connections opened a second before the load starts (10000; 0: no limit)\n"
	"      --source A[-B]    connect from the addresses from A to B in turn: with many new\n"
	"                        connections a second, the ports of one do not suffice\n"
	"  -4, -6                only IPv4, only IPv6\n"
	"\n"
	"When a message is sent\n"
	"                        without these, when the answer to the last one is there (closed loop)\n"
	"  -r, --rate N          N messages a second on a schedule (open loop)\n"
	"  -a, --arrivals N      N new connections a second on a schedule, of --messages (1) each\n"
	"  -P, --poisson         random gaps in the schedule instead of equal ones\n"
	"      --seed N          the same random gaps and sizes again (another each time)\n"
	"\n"
	"The measurement\n"
	"  -d, --duration S      seconds that are measured (10; 0: until Ctrl-C)\n"
	"  -w, --warmup S        seconds before them under the same load (1)\n"
	"  -T, --timeout S       seconds after which a missing answer has timed out (5)\n"
	"  -S, --server PID      tell the CPU of this process and its children, too\n"
	"      --stop-on-error   end at the first fault\n"
	"      --strict          exit status 3 where the generator itself changed the figures\n"
	"\n"
	"The result\n"
	"  -j, --json FILE       all of it as JSON; - is the standard output, then without the table\n"
	"      --csv FILE        one line more in FILE, with a header where it is empty\n"
	"      --hist FILE       the whole distribution of the latency\n"
	"      --percentiles P,P of the latency, instead of 50,90,99,99.9\n"
	"      --label TEXT      a name for the run, in all results\n"
	"  -q, --quiet           no live line\n"
	"  -V, --version         print the version, and exit\n"
	"  -h, --help            print this, and exit\n"
	"\n"
	"  echoload -c 1000 127.0.0.1:7007              how much: as fast as 1,000 clients get answers\n"
	"  echoload -c 1000 -r 50000 -P 127.0.0.1:7007  how soon: at 50,000 messages a second\n"
	"  echoload -c 50 -m 1 127.0.0.1:7007           connect, one message, close\n"
	"\n"
	"In the open loop the latency counts from the moment when the schedule wanted the message\n"
	"sent, so that a stall of the server is not hidden. Exit status: 0 all right; 1 a byte was\n"
	"wrong, a connection failed, nothing was measured, or the system refused something; 2 wrong\n"
	"usage; 3 with --strict. See echoload(1).\n";

void usage_print_help(void)
{
	printf("%s%s", USAGE, help);
}
