"""How far an average would move with other images: percentile bootstrap.

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

FloatArray = npt.NDArray[np.float64]
Unit = Literal["image", "group"]
Average = Literal["images", "pixels"]

SCORES = tuple(field.name for field in fields(DepthErrors) if field.name != "count")

# Draws that are held in memory at once.
_BLOCK = 256
_RMSE_LOG, _SILOG, _MEAN_LOG = (SCORES.index(name) for name in ("rmse_log", "silog", "mean_log"))
_ROOTS = [SCORES.index("rmse_m"), _RMSE_LOG]


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
    errors: Sequence[DepthErrors],
    groups: Sequence[int | str],
    config: BootstrapConfig,
    average: Average = "images",
) -> Interval | None:
    """Return the interval of the average.

    Args:
        errors: per image; images without a pixel do not count.
        groups: of the images, in the same order.
        config: how.
        average: "images" weighs images equally, "pixels" pools all pixels.

    Returns:
        None without draws, or with fewer than two units, of which nothing can be said.
    """
    used = [(e, g) for e, g in zip(errors, groups, strict=True) if e.count]
    scores, units = _drawn([e for e, _ in used], [g for _, g in used], config, average)
    return _interval(scores, units, config.level)


def paired_interval(
    first: Sequence[DepthErrors],
    second: Sequence[DepthErrors],
    groups: Sequence[int | str],
    config: BootstrapConfig,
    average: Average = "images",
) -> Interval | None:
    """Return the interval of average(second) - average(first), every draw the same for both.

    Args:
        first: per image.
        second: of the same images in the same order; those without a pixel here or there do not
            count.
        groups: of the images, in the same order.
        config: how.
        average: as in `bootstrap_interval`.

    Returns:
        None without draws, or with fewer than two units.
    """
    pairs = zip(first, second, groups, strict=True)
    used = [(a, b, g) for a, b, g in pairs if a.count and b.count]
    kept = [g for _, _, g in used]
    # One seed and the same units: both calls draw the same images.
    before, units = _drawn([a for a, _, _ in used], kept, config, average)
    after, _ = _drawn([b for _, b, _ in used], kept, config, average)
    with np.errstate(invalid="ignore"):
        return _interval(after - before, units, config.level)


def _drawn(
    errors: Sequence[DepthErrors],
    groups: Sequence[int | str],
    config: BootstrapConfig,
    average: Average,
) -> tuple[FloatArray, int]:
    """Return the scores of every draw, (draws, M), none where nothing can be drawn, and U."""
    units = range(len(errors)) if config.unit == "image" else groups
    count = len(set(units))
    if not config.draws or count < 2:
        return np.empty((0, len(SCORES))), count
    values = np.array([[getattr(e, name) for name in SCORES] for e in errors], np.float64)
    # An infinite or NaN score makes every draw of it NaN.
    with np.errstate(invalid="ignore", over="ignore"):
        if average == "images":
            sums, sizes = _by_unit(values, np.ones(len(errors)), units)
            return _resampled_means(sums, sizes, config), count
        # Roots are no sums over pixels, their squares are.
        values[:, _ROOTS] **= 2
        pixels = np.array([e.count for e in errors], np.float64)
        sums, sizes = _by_unit(values, pixels, units)
        return _rooted(_resampled_means(sums, sizes, config)), count


def _rooted(means: FloatArray) -> FloatArray:
    variance = means[:, _RMSE_LOG] - means[:, _MEAN_LOG] ** 2
    means[:, _SILOG] = 100.0 * np.sqrt(np.maximum(variance, 0.0))
    means[:, _ROOTS] = np.sqrt(means[:, _ROOTS])
    return means


def _by_unit(
    values: FloatArray, weights: FloatArray, units: Sequence[int | str]
) -> tuple[FloatArray, FloatArray]:
    """Return weighted sums (U, M) of the rows (N, M) of each unit, and sums (U,) of weights."""
    _, index = np.unique(np.asarray(units), return_inverse=True)
    sums = np.zeros((int(index.max()) + 1, values.shape[1]))
    np.add.at(sums, index, values * weights[:, None])
    return sums, np.asarray(np.bincount(index, weights), np.float64)


def _resampled_means(sums: FloatArray, sizes: FloatArray, config: BootstrapConfig) -> FloatArray:
    """Return the weighted mean of every draw, (draws, M)."""
    rng = np.random.default_rng(config.seed)
    units = len(sizes)
    parts = []
    for start in range(0, config.draws, _BLOCK):
        rows = min(_BLOCK, config.draws - start)
        times = rng.multinomial(units, np.full(units, 1.0 / units), size=rows).astype(np.float64)
        parts.append((times @ sums) / (times @ sizes)[:, None])
    return np.concatenate(parts)


def _interval(scores: FloatArray, units: int, level: float) -> Interval | None:
    if not len(scores):
        return None
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(scores, (tail, 1.0 - tail), axis=0)
    return Interval(DepthErrors(units, *map(float, low)), DepthErrors(units, *map(float, high)))
