"""Newest item wins; stopping never hangs; problems are counted and do not flood the log."""

import threading

import numpy as np
import pytest

from mono_depth_ros.ros.rate_limit import RateLimit
from mono_depth_ros.ros.tally import FrameTally
from mono_depth_ros.ros.worker import NewestItemWorker, OneBehind

WAIT_S = 15.0


class Gate:
    """A process function that waits for permission and records what it got."""

    def __init__(self):
        self.items, self.entered, self.go_on = [], threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, item):
        self.items.append(item)
        self.entered.release()
        assert self.go_on.acquire(timeout=WAIT_S)


def test_only_the_newest_waiting_item_is_processed():
    gate = Gate()
    worker = NewestItemWorker(gate)
    worker.start()
    worker.offer(0)
    assert gate.entered.acquire(timeout=WAIT_S)
    assert [worker.offer(item) for item in (1, 2, 3)] == [False, True, True]
    gate.go_on.release()
    assert gate.entered.acquire(timeout=WAIT_S)
    assert gate.items == [0, 3]
    gate.go_on.release()
    assert worker.stop(WAIT_S)
    assert gate.items == [0, 3]


def test_items_wait_until_ready():
    ready, done, items = [False], threading.Event(), []
    worker = NewestItemWorker(lambda item: (items.append(item), done.set()), lambda: ready[0])
    worker.start()
    worker.offer("first")
    worker.offer("second")
    assert not done.wait(0.1)
    ready[0] = True
    worker.wake()
    assert done.wait(WAIT_S)
    assert worker.stop(WAIT_S) and items == ["second"]


def test_stop_reports_an_item_that_outlasts_the_timeout_and_drops_the_waiting_one():
    gate = Gate()
    worker = NewestItemWorker(gate)
    worker.start()
    worker.offer(0)
    assert gate.entered.acquire(timeout=WAIT_S)
    worker.offer(1)
    assert not worker.stop(0.05)
    gate.go_on.release()
    assert worker.stop(WAIT_S)
    assert gate.items == [0] and worker.left_out() == 1 and worker.left_out() == 0


def test_every_item_is_processed_or_counted_once():
    """Offered as fast as possible to a thread that is about as fast."""
    processed = []
    worker = NewestItemWorker(processed.append)
    worker.start()
    replaced = sum(worker.offer(item) for item in range(20_000))
    assert worker.stop(WAIT_S)
    assert len(processed) + replaced + worker.left_out() == 20_000
    assert processed == sorted(set(processed))


def test_stop_before_start_is_fine():
    assert NewestItemWorker(print).stop(0.1)


def test_tally_counts_everything_and_logs_each_reason_once_per_period():
    lines = []
    tally = FrameTally(lines.append, period_s=60.0)
    for _ in range(3):
        tally.drop("DecodingError", "no such encoding")
    tally.drop("ShapeError", "too small")
    tally.count("published")
    assert tally.counts == {"DecodingError": 3, "ShapeError": 1, "published": 1}
    assert len(lines) == 2 and "no such encoding" in lines[0] and "too small" in lines[1]
    assert tally.summary() == "DecodingError: 3, ShapeError: 1, published: 1"


def test_tally_logs_again_after_the_period():
    lines = []
    tally = FrameTally(lines.append, period_s=0.0)
    tally.drop("a", "x")
    tally.drop("a", "x")
    assert len(lines) == 2 and "2 so far" in lines[1]


@pytest.mark.parametrize(("most_hz", "passed"), [(0.0, 300), (10.0, 100), (7.0, 70), (60.0, 300)])
def test_a_limit_holds_on_average_though_images_are_not_punctual(most_hz, passed):
    """Ten seconds of a camera of 30 Hz, each image up to 2 ms early or late."""
    came_s = np.arange(300) / 30 + np.random.default_rng(0).uniform(-0.002, 0.002, 300)
    limit = RateLimit()
    taken_s = [now_s for now_s in came_s if limit.passes(now_s, most_hz)]
    assert abs(len(taken_s) - passed) <= 1
    # Never more than one above the limit in any second.
    if most_hz:
        ends = np.searchsorted(taken_s, np.array(taken_s) + 1.0)
        assert (ends - np.arange(len(taken_s))).max() <= most_hz + 1


def test_a_new_limit_holds_at_once():
    limit = RateLimit()
    assert limit.passes(0.0, 0.01) and not limit.passes(5.0, 0.01)
    assert limit.passes(5.0, 1.0) and not limit.passes(5.9, 1.0)
    assert limit.passes(5.9, 0.0) and limit.passes(5.9, 0.0)


def test_one_job_runs_behind_and_the_next_waits_for_it():
    gate, accepted = Gate(), []
    behind = OneBehind("test")
    behind.start()

    def put_three():
        for number in range(3):
            behind.put(lambda number=number: gate(number))
            accepted.append(number)

    putting = threading.Thread(target=put_three)
    putting.start()
    for number in range(3):
        assert gate.entered.acquire(timeout=WAIT_S)
        # The next one is not accepted before this one is done.
        assert accepted in ([*range(number)], [*range(number + 1)])
        gate.go_on.release()
    putting.join(WAIT_S)
    assert behind.stop(WAIT_S)
    assert gate.items == accepted == [0, 1, 2]


def test_a_job_that_outlasts_the_stop_is_told():
    gate = Gate()
    behind = OneBehind("test")
    behind.start()
    behind.put(lambda: gate(0))
    assert gate.entered.acquire(timeout=WAIT_S)
    assert not behind.stop(0.05)
    gate.go_on.release()
    assert behind.stop(WAIT_S)
