"""Worker threads: one that always takes the newest item, and one that finishes what it made."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestItemWorker(Generic[T]):
    """Calls `process(item)` in its own thread for the newest item; older waiting ones go.

    Every item is either processed, or counted once by `offer` or `left_out`.
    `offer` and `wake` use only operations that are atomic in CPython and take no lock, so a
    KeyboardInterrupt in the offering thread can never leave one locked.

    Args:
        process: handles one item; must not raise.
        ready: asked before an item is taken; while it is False the newest item waits for `wake`.
        name: name of the thread.
    """

    def __init__(
        self,
        process: Callable[[T], None],
        ready: Callable[[], bool] = lambda: True,
        name: str = "worker",
    ) -> None:
        self._process, self._ready = process, ready
        self._waiting: deque[T] = deque()
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._stopping = False
        # A daemon: an inference that outlasts the stop time must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, item: T) -> int:
        """Make `item` the newest; return how many waiting ones it replaced, 0 or 1.

        Only one thread may offer.
        """
        # The older one goes first, so that the thread never finds two.
        replaced = self._take_all()
        self._waiting.append(item)
        self.wake()
        return replaced

    def wake(self) -> None:
        """Let the thread look again, after `ready` may have changed."""
        self._wakes.put(True)

    def stop(self, timeout_s: float | None = None) -> bool:
        """Finish the item in work; tell whether the thread ended in time.

        A waiting item stays for `left_out`.
        """
        self._stopping = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def left_out(self) -> int:
        """Drop what still waits after `stop`; return how many items that were."""
        return self._take_all()

    def _take_all(self) -> int:
        taken = 0
        while True:
            try:
                self._waiting.popleft()
            except IndexError:
                return taken
            taken += 1

    def _run(self) -> None:
        while self._wakes.get() and not self._stopping:
            if not self._ready():
                continue
            try:
                item = self._waiting.popleft()
            except IndexError:
                continue
            self._process(item)


class OneBehind:
    """Runs jobs in its own thread, in order; the next one is accepted when the last one is done.

    So one thread can begin the next item while this one finishes the last, and nothing queues.

    Args:
        name: name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._free = threading.Semaphore()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, job: Callable[[], None]) -> None:
        """Run a job, which must not raise, as soon as the last one is done; wait until then.

        Only one thread may put.
        """
        self._free.acquire()
        self._jobs.put(job)

    def stop(self, timeout_s: float | None = None) -> bool:
        """Finish the job in work; tell whether the thread ended in time."""
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while job := self._jobs.get():
            job()
            self._free.release()
