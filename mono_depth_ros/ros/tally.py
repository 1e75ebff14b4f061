"""What became of the frames: counts by outcome, and a log line per problem that does not flood."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable


class FrameTally:
    """Thread-safe counts of outcomes with log lines throttled per outcome.

    Args:
        log: writes one line, e.g. `node.get_logger().warning`.
        period_s: shortest time between two lines of one outcome. Wall time, because simulated time
            may stand still.
    """

    def __init__(self, log: Callable[[str], object], period_s: float = 5.0) -> None:
        self._log, self._period_s = log, period_s
        self._counts: Counter[str] = Counter()
        self._logged_s: dict[str, float] = {}
        self._lock = threading.RLock()

    def count(self, outcome: str) -> None:
        """Count one frame silently."""
        with self._lock:
            self._counts[outcome] += 1

    def drop(self, reason: str, text: str) -> None:
        """Count one dropped frame and say why, at most once per period and reason."""
        self.count(reason)
        self.warn(reason, f"frame dropped: {text} ({self.counts[reason]} so far for this reason)")

    def warn(self, reason: str, text: str) -> None:
        """Log `text` unless `reason` was logged within the period."""
        now_s = time.monotonic()
        with self._lock:
            if now_s - self._logged_s.get(reason, -self._period_s) < self._period_s:
                return
            self._logged_s[reason] = now_s
        self._log(text)

    @property
    def counts(self) -> dict[str, int]:
        """Frames by outcome so far."""
        with self._lock:
            return dict(self._counts)

    def summary(self) -> str:
        """Return the counts as one line."""
        return (
            ", ".join(f"{outcome}: {count}" for outcome, count in sorted(self.counts.items()))
            or "no frames"
        )
