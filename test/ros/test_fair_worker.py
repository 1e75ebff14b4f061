"""Rounds over several sources: newest items, at most so many, nobody is passed over."""

from __future__ import annotations

import threading

import pytest

from mono_depth_ros.ros.fair_worker import FairWorker

pytestmark = pytest.mark.ros


class Rounds:
    """A worker whose rounds are let through one by one."""

    def __init__(self, sources, most, ready=lambda source: True):
        self.rounds, self._go, self._done = [], threading.Semaphore(0), threading.Semaphore(0)
        self.worker = FairWorker(sources, most, self._process, ready)
        self.worker.start()

    def _process(self, items):
        self._go.acquire(timeout=15.0)
        self.rounds.append(list(items))
        self._done.release()

    def go(self):
        self._go.release()
        assert self._done.acquire(timeout=15.0)
        return self.rounds[-1]

    def busy(self):
        """Occupy the worker with an item of source 0, so that what follows waits."""
        self.worker.offer(0, "busy")
        while self.worker._waiting[0]:
            pass


@pytest.fixture
def rounds():
    made = []

    def make(*args, **kwargs):
        made.append(Rounds(*args, **kwargs))
        return made[-1]

    yield make
    for found in made:
        found._go.release(1000)
        assert found.worker.stop(15.0)


def test_a_round_takes_the_newest_of_every_source(rounds):
    r = rounds(3, 3)
    r.busy()
    assert [r.worker.offer(0, item) for item in "abc"] == [0, 1, 1]
    assert r.worker.offer(2, "z") == 0
    assert r.go() == [(0, "busy")]
    # The source after the last one that was served comes first.
    assert r.go() == [(2, "z"), (0, "c")]


def test_a_small_round_goes_on_where_the_last_one_ended(rounds):
    r = rounds(4, 1)
    r.busy()
    served = []
    for number in range(12):
        for source in range(4):
            r.worker.offer(source, number)
        served += [source for source, _ in r.go()]
    assert served == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]


def test_a_source_that_offers_ten_times_as_often_gets_its_share_only(rounds):
    r = rounds(2, 1)
    r.busy()
    served = []
    for number in range(10):
        for _ in range(10):
            r.worker.offer(0, number)
        r.worker.offer(1, number)
        served += [source for source, _ in r.go()]
    assert served.count(0) == served.count(1) == 5


def test_who_is_not_ready_waits_and_holds_up_nobody(rounds):
    ready = {1}
    r = rounds(2, 2, ready=lambda source: source in ready)
    r.worker.offer(0, "a")
    r.worker.offer(1, "b")
    assert r.go() == [(1, "b")]
    ready.add(0)
    r.worker.wake()
    assert r.go() == [(0, "a")]


def test_what_waits_at_the_end_is_counted(rounds):
    r = rounds(2, 2)
    r.busy()
    r.worker.offer(1, "b")
    r._go.release()
    r.worker._stopping = True
    assert r.worker.stop(15.0)
    assert [r.worker.left_out(source) for source in range(2)] == [0, 1]
