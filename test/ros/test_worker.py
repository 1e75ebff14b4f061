"""Newest item wins; stopping never hangs; problems are counted and do not flood the log."""

import threading

from mono_depth_ros.ros.tally import FrameTally
from mono_depth_ros.ros.worker import NewestItemWorker

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
