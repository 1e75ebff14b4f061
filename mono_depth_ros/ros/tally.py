"""What became of the frames: counts by outcome, and a log line per problem that does not flood."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

SERVED = "published"
SERVED_EMPTY = "published without any depth"
_SERVED = (SERVED, SERVED_EMPTY)
EMPTY_DEPTH = (
    "depth of this frame is NaN everywhere: the network's answer is not finite, or nothing lies "
    "between min_depth_m and max_depth_m"
)


class FrameTally:
    """Thread-safe counts of outcomes with log lines throttled per outcome.

    Every frame is received once and gets one outcome, so that received = served + dropped as soon
    as none waits or is in work.

    Args:
        log: writes one line, e.g. `node.get_logger().warning`.
        period_s: shortest time between two lines of one outcome. Wall time, because simulated time
            may stand still.

    Attributes:
        received: frames that came.
        last_received_s: when the last one came, `time.monotonic`; at first when counting began.
        last_drop: outcome of the last frame that was not served; empty where all were.
    """

    def __init__(self, log: Callable[[str], object], period_s: float = 5.0) -> None:
        self._log, self._period_s = log, period_s
        self._counts: Counter[str] = Counter()
        self._logged_s: dict[str, float] = {}
        self._lock = threading.RLock()
        self.received = 0
        self.last_received_s = time.monotonic()
        self.last_drop = ""

    def receive(self) -> None:
        """Count a frame that came; one thread calls this."""
        self.received += 1
        self.last_received_s = time.monotonic()

    def count(self, outcome: str, frames: int = 1) -> None:
        """Count the outcome of frames silently."""
        if not frames:
            return
        with self._lock:
            self._counts[outcome] += frames
            if outcome not in _SERVED:
                self.last_drop = outcome

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

    @property
    def served(self) -> int:
        """Frames whose depth was published, NaN everywhere or not."""
        with self._lock:
            return sum(self._counts[outcome] for outcome in _SERVED)

    @property
    def served_empty(self) -> int:
        """Frames of these whose depth is NaN everywhere."""
        with self._lock:
            return self._counts[SERVED_EMPTY]

    @property
    def drops(self) -> dict[str, int]:
        """Frames that were not served, by reason."""
        return {why: count for why, count in self.counts.items() if why not in _SERVED}

    @property
    def dropped(self) -> int:
        """Frames that were not served, whatever the reason."""
        return sum(self.drops.values())

    def summary(self) -> str:
        """Return the counts as one line."""
        return (
            ", ".join(f"{outcome}: {count}" for outcome, count in sorted(self.counts.items()))
            or "no frames"
        )
