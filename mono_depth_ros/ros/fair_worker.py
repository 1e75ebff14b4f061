"""One worker thread for several sources: the newest item of each, and every source in its turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class FairWorker(Generic[T]):
    """Calls `process(items)` in its own thread with the newest items of sources that have one.

    A round takes at most one item of a source and begins with the source after the last one that
    was taken, so that none waits for more than its share of rounds however often others offer. The
    older of two waiting items of a source goes. As `NewestItemWorker` it takes no lock in `offer`.

    Args:
        sources: how many there are; they are called by their number.
        most: items per round; see the attribute.
        process: handles a round, [(source, item), ...]; must not raise.
        ready: asked with a source before its item is taken; False: it waits for `wake`.
        name: name of the thread.

    Attributes:
        most: items per round, from the next round on.
    """

    def __init__(
        self,
        sources: int,
        most: int,
        process: Callable[[Sequence[tuple[int, T]]], None],
        ready: Callable[[int], bool] = lambda source: True,
        name: str = "fair_worker",
    ) -> None:
        self.most, self._process, self._ready = most, process, ready
        self._waiting: list[deque[T]] = [deque() for _ in range(sources)]
        self._first = 0
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, source: int, item: T) -> int:
        """Make `item` the newest of a source; return how many waiting ones it replaced, 0 or 1.

        Only one thread may offer.
        """
        # The older one goes first, so that the thread never finds two.
        replaced = self.left_out(source)
        self._waiting[source].append(item)
        self.wake()
        return replaced

    def wake(self) -> None:
        """Let the thread look again, after `ready` may have changed."""
        self._wakes.put(True)

    def stop(self, timeout_s: float | None = None) -> bool:
        """Finish the round in work; tell whether the thread ended in time.

        Waiting items stay for `left_out`.
        """
        self._stopping = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def left_out(self, source: int) -> int:
        """Drop what waits of a source; return how many items that were."""
        taken = 0
        while True:
            try:
                self._waiting[source].popleft()
            except IndexError:
                return taken
            taken += 1

    def _take_round(self) -> list[tuple[int, T]]:
        sources = len(self._waiting)
        taken: list[tuple[int, T]] = []
        for step in range(sources):
            source = (self._first + step) % sources
            if len(taken) >= self.most:
                break
            if not self._waiting[source] or not self._ready(source):
                continue
            try:
                taken.append((source, self._waiting[source].popleft()))
            except IndexError:
                continue  # a newer one is just being put in its place, and wakes us again
        if taken:
            self._first = (taken[-1][0] + 1) % sources
        return taken

    def _run(self) -> None:
        while self._wakes.get() and not self._stopping:
            # Of every item that stays there is a wake left, so one round per wake is enough.
            if items := self._take_round():
                self._process(items)
