"""Ctrl-C and SIGTERM without half-finished work.

rclpy's own handlers invalidate the context while other threads still publish, and a terminal under
`ros2 launch` delivers SIGINT twice. Programs here start rclpy with `SignalHandlerOptions.NO` and
use one of these instead.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def ignore_signals() -> None:
    """Ignore SIGINT and SIGTERM from now on, to the end of the process."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def raise_on_first_signal() -> None:
    """Turn the first SIGINT or SIGTERM into KeyboardInterrupt; ignore all later ones."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        ignore_signals()
        raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, interrupt)


class StopRequest:
    """Asked between the steps of a program whether it should stop; never interrupts one."""

    def __init__(self) -> None:
        self.requested = False

    @classmethod
    def on_signals(cls) -> StopRequest:
        """Return a request that SIGINT and SIGTERM set; to be called in the main thread."""
        request = cls()

        def note(_number: int, _frame: FrameType | None) -> None:
            ignore_signals()
            request.requested = True

        for number in _SIGNALS:
            signal.signal(number, note)
        return request

    def sleep_until(self, monotonic_s: float) -> bool:
        """Sleep until time.monotonic() is `monotonic_s`, False at once when stopping meanwhile."""
        while not self.requested:
            left_s = monotonic_s - time.monotonic()
            if left_s <= 0:
                return True
            time.sleep(min(left_s, 0.1))
        return False
