"""Times of several ways of doing one thing, taken in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

_WARM_UP_RUNS, _LEAST_RUNS = 3, 5


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of one way: median and 95th percentile, milliseconds, and of how many runs."""

    median_ms: float
    p95_ms: float
    runs: int


def time_in_turns(ways: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, Timing]:
    """Run all ways in turn, so that another program slows all of them alike.

    Args:
        ways: name → what is timed.
        seconds: for all of them together; each runs five times at least, after three that do not
            count.
    """
    for way in ways.values():
        for _ in range(_WARM_UP_RUNS):
            way()
    times_ms: dict[str, list[float]] = {name: [] for name in ways}
    rounds, end_s = 0, time.perf_counter() + seconds
    while rounds < _LEAST_RUNS or time.perf_counter() < end_s:
        for name, way in ways.items():
            started_s = time.perf_counter()
            way()
            times_ms[name].append(1e3 * (time.perf_counter() - started_s))
        rounds += 1
    return {
        name: Timing(float(np.median(found)), float(np.percentile(found, 95)), len(found))
        for name, found in times_ms.items()
    }
