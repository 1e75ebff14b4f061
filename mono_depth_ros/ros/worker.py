"""One worker thread that always takes the newest item; nothing queues."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class NewestItemWorker(Generic[T]):
    """Calls `process(item)` in its own thread for the newest item; older waiting ones go.

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
        self._newest: deque[T] = deque(maxlen=1)
        self._wakes: SimpleQueue[bool] = SimpleQueue()
        self._stopping = False
        # A daemon: an inference that outlasts the stop time must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def offer(self, item: T) -> bool:
        """Make `item` the newest; tell whether it replaced one that was still waiting."""
        replaced = bool(self._newest)
        self._newest.append(item)
        self.wake()
        return replaced

    def wake(self) -> None:
        """Let the thread look again, after `ready` may have changed."""
        self._wakes.put(True)

    def stop(self, timeout_s: float | None = None) -> bool:
        """Finish the item in work, drop a waiting one; tell whether the thread ended in time."""
        self._stopping = True
        self._newest.clear()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while self._wakes.get() and not self._stopping:
            if not self._ready():
                continue
            try:
                item = self._newest.popleft()
            except IndexError:
                continue
            self._process(item)
