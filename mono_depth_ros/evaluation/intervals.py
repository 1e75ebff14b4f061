"""Intervals of the scores of one recording, whose frames are no independent samples.

Neighbouring frames show nearly the same scene and nearly the same error, so drawing single frames
promises too narrow an interval. Drawing whole blocks of about a second keeps what lies within a
block together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.bootstrap import (
    Average,
    BootstrapConfig,
    Interval,
    bootstrap_interval,
    paired_interval,
)
from mono_depth_ros.metrics import DepthErrors

# Percentile intervals of fewer units are known to be too narrow.
FEW_UNITS = 10


@dataclass(frozen=True, slots=True)
class IntervalConfig:
    """How the intervals of a recording's scores are drawn.

    Attributes:
        draws: resampled recordings; 0 gives no intervals.
        level: share of them inside the interval.
        unit: what is drawn with replacement: "block", frames whose stamps lie in the same
            `block_s`, counted from the first frame, or single frames.
        block_s: length of a block, seconds.
        seed: of the draws.
    """

    draws: int = 1000
    level: float = 0.95
    unit: Literal["block", "frame"] = "block"
    block_s: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        # At least a nanosecond, the unit of stamps.
        if not 1e-9 <= self.block_s < math.inf:
            raise ConfigError(
                f"block_s must be a positive number of seconds, got {self.block_s}; to draw single "
                "frames set unit: frame"
            )
        self.bootstrap()

    def bootstrap(self) -> BootstrapConfig:
        """Return the same in the terms of `bootstrap_interval`.

        Raises:
            ConfigError: draws or level are impossible.
        """
        unit: Literal["image", "group"] = "image" if self.unit == "frame" else "group"
        return BootstrapConfig(self.draws, self.level, unit, self.seed)

    def describe(self, units: int) -> str:
        """Return in words what an interval over so many units is."""
        what = "single frames" if self.unit == "frame" else f"blocks of {self.block_s:g} s"
        text = f"{100 * self.level:g} % of {self.draws} draws of {units} {what}, seed {self.seed}"
        if units < FEW_UNITS:
            text += f"; {units} are few, the true interval is wider"
        return text

    def missing(self) -> str:
        """Return in words why there is no interval."""
        if not self.draws:
            return "none was asked for (0 draws)"
        if self.unit == "frame":
            return "fewer than 2 frames were scored"
        return f"the scored frames lie in fewer than 2 blocks of {self.block_s:g} s"


def block_of(stamps_ns: Sequence[int], block_s: float) -> list[int]:
    """Return the number of the block each stamp lies in; the earliest stamp begins block 0.

    Args:
        stamps_ns: integer nanoseconds, in any order.
        block_s: length of a block, seconds, at least 1e-9.
    """
    block_ns = round(block_s * 1e9)
    start_ns = min(stamps_ns, default=0)
    return [(stamp_ns - start_ns) // block_ns for stamp_ns in stamps_ns]


def frame_interval(
    stamps_ns: Sequence[int],
    errors: Sequence[DepthErrors],
    average: Average,
    config: IntervalConfig,
) -> Interval | None:
    """Return the interval of a recording's average; None where nothing can be said.

    Args:
        stamps_ns: of the frames, integer nanoseconds.
        errors: of the frames, in the same order; frames without a pixel do not count.
        average: "images" weighs frames equally, "pixels" pools all pixels.
        config: how.
    """
    blocks = block_of(stamps_ns, config.block_s)
    return bootstrap_interval(errors, blocks, config.bootstrap(), average)


def difference_interval(
    stamps_ns: Sequence[int],
    first: Sequence[DepthErrors],
    second: Sequence[DepthErrors],
    average: Average,
    config: IntervalConfig,
) -> Interval | None:
    """Return the interval of average(second) - average(first) of the same frames.

    Arguments and None as in `frame_interval`; frames without a pixel in either do not count.
    """
    blocks = block_of(stamps_ns, config.block_s)
    return paired_interval(first, second, blocks, config.bootstrap(), average)
