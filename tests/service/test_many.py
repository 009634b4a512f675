"""As many connections as the descriptors here allow, at once and through a small queue."""

import contextlib
import multiprocessing
import queue
from threading import BrokenBarrierError

import pytest

from clients import Crowd, need_descriptors
from harness import FULL, TIME_FACTOR, seconds, wait_for

ALL = 19_000 if FULL else 3_000
CHILDREN = 2
WAVE = 500


def enough_local_ports():
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = map(int, file.read().split())
    return high - low > ALL // CHILDREN + 1000


def hold_connections(address, count, all_there, answers):
    """In a child: connects in waves, each echoed once; when everybody is there, all once more."""
    crowds, answer = [], "echoed twice"
    try:
        for _ in range(count // WAVE):
            crowds.append(Crowd(address, WAVE, timeout=seconds(30)))
            crowds[-1].exchange()
        all_there.wait(seconds(60))
        for crowd in crowds:
            crowd.exchange()
            assert not crowd.any_closed(within=0)
        all_there.wait(seconds(60))
    except Exception as failure:  # whatever it is, the parent tells it
        all_there.abort()
        answer = repr(failure)
    answers.put(answer)


@pytest.mark.alone  # it takes most of the local ports
@pytest.mark.skipif(
    TIME_FACTOR > 1, reason="needs a build that nothing slows: sanitizers take more memory")
def test_thousands_at_once_through_a_small_queue_are_each_echoed_twice(start):
    need_descriptors(ALL + 200)
    if not enough_local_ports():
        pytest.skip("needs more local ports: net.ipv4.ip_local_port_range")
    server = start({"listen.addresses": ["127.0.0.1", "127.0.0.2"], "listen.backlog": 4096,
                    "pool.workers": 4, "pool.worker_connections": ALL // 4 + 10,
                    "pool.queue_limit": 16})
    threads, descriptors = server.threads(), len(server.descriptors())
    context = multiprocessing.get_context("spawn")
    all_there, answers = context.Barrier(CHILDREN + 1), context.Queue()
    children = [context.Process(target=hold_connections, daemon=True,
                                args=(address, ALL // CHILDREN, all_there, answers))
                for address in server.addresses]
    for child in children:
        child.start()
    try:
        with contextlib.suppress(BrokenBarrierError):  # whoever broke it tells why
            all_there.wait(seconds(60))
            held = server.connections()
            all_there.wait(seconds(60))
        assert answer_of_each(answers) == ["echoed twice"] * CHILDREN
    finally:
        for child in children:
            child.kill()
            child.join()
    assert held == ALL
    assert server.threads() == threads
    wait_for(lambda: server.connections() == 0)
    wait_for(lambda: len(server.descriptors()) == descriptors)
    figures = server.figures()[1]
    assert (figures["accepted"], figures["rejected"], figures["expired"]) == (ALL, 0, 0)
    server.assert_idle()


def answer_of_each(answers):
    try:
        return [answers.get(timeout=seconds(10)) for _ in range(CHILDREN)]
    except queue.Empty:
        return ["a child said nothing"]
