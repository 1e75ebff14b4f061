"""At most so many per second, of events that come when they come."""

from __future__ import annotations

import math


class RateLimit:
    """Lets the first event of every period pass.

    Counting from the event before instead would halve the rate of a camera whose period is a hair
    shorter than what is asked for: every second image would come too early.
    """

    def __init__(self) -> None:
        self._period_began_s = -math.inf

    def passes(self, now_s: float, most_hz: float) -> bool:
        """Tell whether an event passes.

        Args:
            now_s: when it comes, seconds, never less than before.
            most_hz: the limit, which may change from event to event; 0 for none.
        """
        period_s = 1.0 / most_hz if most_hz else 0.0
        elapsed_s = now_s - self._period_began_s
        if elapsed_s < period_s:
            return False
        next_one = elapsed_s < 2 * period_s
        self._period_began_s = self._period_began_s + period_s if next_one else now_s
        return True
