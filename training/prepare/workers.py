"""Work on many files at once. Decoding and hashing release Python's lock, so threads do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mono_depth_ros.progress import progress

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def over_all(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int | None, label: str
) -> Iterator[Result]:
    """Yield function(item) in the order of the items, and report progress.

    Args:
        function: safe to run in several threads.
        items: what to work through.
        workers: threads; None for one per core.
        label: what is being done, for the reader.
    """
    pool = ThreadPoolExecutor(workers or usable_cores())
    try:
        yield from progress(pool.map(function, items), len(items), label)
    finally:
        # After Ctrl-C nobody wants to wait for thousands of files.
        pool.shutdown(wait=True, cancel_futures=True)
