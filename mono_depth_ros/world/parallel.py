"""Running independent jobs on all cores, results in order."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

import torch

from mono_depth_ros.errors import DataError

Job = TypeVar("Job")
Result = TypeVar("Result")


def worker_count(workers: int | None, device: torch.device, jobs: int) -> int:
    """Number of processes: one for a GPU, else `workers` or all usable cores, at most `jobs`."""
    if device.type != "cpu":
        return 1
    return max(1, min(workers or len(os.sched_getaffinity(0)), jobs))


def run_ordered(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Iterator[Result]:
    """Yield function(job) for every job in order; a few jobs ahead are worked on meanwhile.

    Args:
        function: importable by name, since it runs in other processes when workers > 1.
        jobs: picklable.
        workers: processes, each with one thread; 1 runs everything in this process.

    Raises:
        DataError: a worker process died.
    """
    if workers <= 1:
        yield from map(function, jobs)
        return
    queue: deque[Future[Result]] = deque()
    todo = iter(jobs)
    # spawn: torch's thread pools do not survive fork.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(1,))
    try:
        queue.extend(pool.submit(function, job) for job in islice(todo, 2 * workers))
        while queue:
            result = queue.popleft().result()
            queue.extend(pool.submit(function, job) for job in islice(todo, 1))
            yield result
    except BrokenProcessPool as error:
        raise DataError(
            "a rendering process was killed, perhaps for memory; use fewer workers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
