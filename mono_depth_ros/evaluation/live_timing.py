"""How long depth takes, how old it is, and how much of it is missing, seen by a listener."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np

_PERCENTILES = (50, 95, 99)
# Stamps farther from the clock than this are of another clock: a replay without its /clock.
_SAME_CLOCK_MS = 60_000.0
_MOST_REMEMBERED = 1000


class LiveTiming:
    """Latency, age and share of missing depths of a running node.

    Latency is the time from receiving an image to receiving the depth of the same stamp; both are
    received here, so that no clock but this computer's takes part. Age is the time on the ROS clock
    since the image's stamp. Memory holds 16 bytes per depth.

    Attributes:
        images: how many came, each stamp once.
        depths: how many came.
    """

    def __init__(self) -> None:
        self.images = self.depths = 0
        self._received_ns: dict[int, int] = {}
        self._early_ns: dict[int, int] = {}
        self._latencies_ms = array("d")
        self._ages_ms = array("d")
        self._images_before = 0
        self._started = False

    def add_image(self, stamp_ns: int, received_ns: int) -> None:
        """Note an image; its camera_info would do as well."""
        if stamp_ns in self._received_ns:
            return
        self.images += 1
        self._images_before += not self._started
        _remember(self._received_ns, stamp_ns, received_ns)
        if stamp_ns in self._early_ns:
            self._answer(stamp_ns, self._early_ns.pop(stamp_ns))

    def add_depth(self, stamp_ns: int, received_ns: int, age_ms: float) -> None:
        """Note a depth image."""
        self.depths += 1
        self._ages_ms.append(age_ms)
        if stamp_ns not in self._received_ns:
            # Between two topics nothing keeps the order.
            _remember(self._early_ns, stamp_ns, received_ns)
            return
        self._answer(stamp_ns, received_ns)

    def facts(self, ros_clock: str) -> dict[str, Any]:
        """Return what was measured; None where nothing was.

        Args:
            ros_clock: the clock of the ages, in words.
        """
        answerable = self.images - self._images_before if self._started else 0
        answered = len(self._latencies_ms)
        ages_ms = np.array(self._ages_ms)
        same_clock = ages_ms.size > 0 and abs(float(np.median(ages_ms))) < _SAME_CLOCK_MS
        return {
            "images_seen": self.images,
            "depths_received": self.depths,
            "images_before_first_depth": self._images_before,
            "drop_share": 1.0 - answered / answerable if answerable else None,
            **_percentiles("latency", np.array(self._latencies_ms)),
            **_percentiles("age", ages_ms if same_clock else ages_ms[:0]),
            "age_clock": ros_clock if same_clock else f"{ros_clock}, not that of the stamps",
        }

    def _answer(self, stamp_ns: int, depth_ns: int) -> None:
        if not self._started:
            self._started = True
            self._images_before -= sum(image >= stamp_ns for image in self._received_ns)
        self._latencies_ms.append((depth_ns - self._received_ns[stamp_ns]) / 1e6)


def _remember(times_ns: dict[int, int], stamp_ns: int, time_ns: int) -> None:
    times_ns[stamp_ns] = time_ns
    if len(times_ns) > _MOST_REMEMBERED:
        del times_ns[next(iter(times_ns))]


def _percentiles(name: str, values_ms: np.ndarray) -> dict[str, float | None]:
    return {
        f"{name}_p{share}_ms": float(np.percentile(values_ms, share)) if values_ms.size else None
        for share in _PERCENTILES
    }
