"""How far a mean over images would move with other images: percentile bootstrap.

Images of one scene or drive resemble each other, so drawing whole groups gives the wider, more
honest interval where a data set has few of them (28 drives in KITTI's Eigen test).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.metrics import DepthErrors

Unit = Literal["image", "group"]

# Draws that are held in memory at once.
_BLOCK = 256


@dataclass(frozen=True, slots=True)
class BootstrapConfig:
    """How intervals are drawn.

    Attributes:
        draws: resampled data sets; 0 gives no intervals.
        level: share of them inside the interval.
        unit: what is drawn with replacement, single images or whole groups (scenes, drives).
        seed: of the draws.
    """

    draws: int = 1000
    level: float = 0.95
    unit: Unit = "image"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 0 or not 0.0 < self.level < 1.0:
            raise ConfigError(
                f"bootstrap needs draws >= 0 and a level between 0 and 1, got {self.draws} and "
                f"{self.level}"
            )


@dataclass(frozen=True, slots=True)
class Interval:
    """Ends of the interval of every score; `count` of both is the number of units drawn."""

    low: DepthErrors
    high: DepthErrors


def bootstrap_interval(
    errors: Sequence[DepthErrors], groups: Sequence[str], config: BootstrapConfig
) -> Interval | None:
    """Return the interval of the mean over images.

    Args:
        errors: per image; images without a pixel do not count.
        groups: of the images, in the same order.
        config: how.

    Returns:
        None without draws, or with fewer than two units, of which nothing can be said.
    """
    used = [(e, g) for e, g in zip(errors, groups, strict=True) if e.count]
    if not config.draws or not used:
        return None
    names = [field.name for field in fields(DepthErrors) if field.name != "count"]
    values = np.array([[getattr(e, name) for name in names] for e, _ in used])
    units = range(len(used)) if config.unit == "image" else [group for _, group in used]
    sums, sizes = _by_unit(values, list(units))
    if len(sizes) < 2:
        return None
    means = _resampled_means(sums, sizes, config)
    tail = (1.0 - config.level) / 2.0
    low, high = np.quantile(means, (tail, 1.0 - tail), axis=0)
    return Interval(
        DepthErrors(len(sizes), *map(float, low)), DepthErrors(len(sizes), *map(float, high))
    )


def _by_unit(
    values: npt.NDArray[np.float64], units: Sequence[int | str]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the sums (U, M) and sizes (U,) of the rows (N, M) of each unit."""
    _, index = np.unique(np.asarray(units), return_inverse=True)
    sums = np.zeros((int(index.max()) + 1, values.shape[1]))
    np.add.at(sums, index, values)
    return sums, np.bincount(index).astype(np.float64)


def _resampled_means(
    sums: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], config: BootstrapConfig
) -> npt.NDArray[np.float64]:
    """Return the mean over images of every draw, (draws, M)."""
    rng = np.random.default_rng(config.seed)
    units = len(sizes)
    parts = []
    for start in range(0, config.draws, _BLOCK):
        rows = min(_BLOCK, config.draws - start)
        times = rng.multinomial(units, np.full(units, 1.0 / units), size=rows).astype(np.float64)
        parts.append((times @ sums) / (times @ sizes)[:, None])
    return np.concatenate(parts)
