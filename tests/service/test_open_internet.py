"""A server that anyone may reach, under floods: the defaults, and what the manual recommends."""

import itertools
import re
import time
from pathlib import Path

import pytest

from clients import Client, dial
from floods import Flood
from harness import FULL, PLAIN, again_when_late, check_time, needs_root, seconds, unshared
from live import in_network_of

pytestmark = needs_root

MANUAL = Path(__file__).parents[2] / "man" / "echopool.8"
# Every address of the network is this machine's, and none is a loopback address.
NETWORK = "ip link set lo up; ip route add local 10.77.0.0/16 dev lo"
SERVER = "10.77.0.1"
FLOOD, FLOOD_BYTE_EVERY_S, FLOOD_WITHIN_S = 10_400, 4.0, 5.0
HONEST_EVERY_S = 7.0
LONG = FULL and PLAIN
SIEGE_S = 20 if LONG else 8


def recommended():
    """The settings of the manual's chapter, but for the addresses."""
    chapter = MANUAL.read_text(encoding="utf-8").split("\n.Sh ON THE OPEN INTERNET\n")[1]
    block = re.search(r"^\.Bd.*?\n(.*?)^\.Ed", chapter, re.M | re.S)[1]
    found = {f"{group}.{name}": float(value) if "." in value else int(value)
             for group, body in re.findall(r"^(\w+):\s*{(.*?)}", block, re.M | re.S)
             for name, value in re.findall(r"(\w+) = ([\d.]+);", body)
             if group != "listen"}
    assert "limits.connections_per_ip" in found, found
    return found


SETTINGS = {"defaults": dict, "recommended": recommended}


def siege(server, addresses):
    """Newcomers and an honest client beside a flood. Returns the seconds until each newcomer had
    its echo, in order."""
    flood = Flood(server.address, addresses, FLOOD, FLOOD_BYTE_EVERY_S, FLOOD_WITHIN_S)
    try:
        assert flood.ramped.wait(seconds(60))
        honest = Client(dial(server.address, seconds(30), "10.77.201.1"))
        honest.echo()
        begin = spoke = time.monotonic()
        took = []
        for i in itertools.count():
            source = f"10.77.{210 + i // 250}.{i % 250 + 1}"
            asked = time.monotonic()
            newcomer = Client(dial(server.address, seconds(30), source))
            newcomer.echo()
            took.append(time.monotonic() - asked)
            newcomer.close()
            time.sleep(0.1)  # the pace of newcomers
            if time.monotonic() - spoke >= HONEST_EVERY_S:
                honest.echo()
                spoke = time.monotonic()
                if spoke - begin >= SIEGE_S:
                    return sorted(took)
    finally:
        flood.close()


@again_when_late
@pytest.mark.parametrize("addresses", [1, 10, 160] if LONG else [160])
@pytest.mark.parametrize("settings", SETTINGS if LONG else ["recommended"])
def test_newcomers_are_served_while_a_flood_trickles(start, settings, addresses):
    server = start({"listen.addresses": [SERVER]} | SETTINGS[settings](),
                   wrapper=unshared("--net", NETWORK))
    took = in_network_of(server.pid, lambda: siege(server, addresses))
    print(f"{settings}, {addresses} addresses: {len(took)} newcomers, "
          f"p50 {took[len(took) // 2]:.3f} s, p99 {took[len(took) * 99 // 100]:.3f} s, "
          f"most {took[-1]:.3f} s")
    check_time(took[len(took) * 99 // 100], seconds(1.0))
