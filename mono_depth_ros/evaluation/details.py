"""Where the error lies: by place in the image, by true depth, by sign; pooled over all pixels.

Sums only, so that memory does not grow with the recording.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.evaluation.protocols import Pixels
from mono_depth_ros.metrics import DELTA_BASE

# Thirds of the image's height and width.
REGION_ROWS = ("upper", "middle", "lower")
REGION_COLUMNS = ("left", "centre", "right")

# 12 bins per factor of ten, 0.1 m to 1 km.
_RANGE_EDGES_M = 10.0 ** (np.arange(-12, 37) / 12)
# Relative errors in steps of 2.5 %; a positive prediction is never 100 % or more too near.
_ERROR_EDGES = np.append(np.arange(-40, 41) / 40, math.inf)

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PooledErrors:
    """Errors over all pixels of a recording that lie in one bin; e = (p - g) / g of a pixel.

    Attributes:
        count: pixels; 0 makes the others NaN.
        abs_rel: mean |e|.
        bias: mean e, above 0 where the prediction is too far.
        delta1: share of pixels with max(p / g, g / p) < 1.25.
    """

    count: int
    abs_rel: float
    bias: float
    delta1: float


@dataclass(frozen=True, slots=True)
class RangeErrors:
    """Errors of pixels by true depth, low_m <= depth < high_m (metres)."""

    low_m: float
    high_m: float
    errors: PooledErrors


@dataclass(frozen=True, slots=True)
class Details:
    """Where the error of a recording lies.

    Attributes:
        regions: nine thirds of thirds of the image, row by row, from the upper left on.
        ranges: logarithmic bins of true depth that hold a pixel, ascending.
        error_edges: N + 1 ascending edges of relative error e, the last one infinite.
        error_counts: N numbers of pixels, edge <= e < next edge.
    """

    regions: tuple[PooledErrors, ...]
    ranges: tuple[RangeErrors, ...]
    error_edges: tuple[float, ...]
    error_counts: tuple[int, ...]


def _sums_of(bins: int) -> Sums:
    # Rows: count, sum |e|, sum e, pixels within delta1.
    return np.zeros((4, bins))


@dataclass(slots=True)
class DetailSums:
    """Sums of `Details`, frame by frame; pixels whose prediction is not finite are left out."""

    _regions: Sums = field(default_factory=lambda: _sums_of(9))
    _ranges: Sums = field(default_factory=lambda: _sums_of(_RANGE_EDGES_M.size - 1))
    _errors: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(_ERROR_EDGES.size - 1, np.int64)
    )

    def add(self, pixels: Pixels) -> None:
        """Add one frame."""
        known = np.isfinite(pixels.prediction_m) & (pixels.reference_m > 0)
        p, g = pixels.prediction_m[known], pixels.reference_m[known]
        height, width = pixels.shape
        regions = 3 * (3 * pixels.rows[known] // height) + 3 * pixels.columns[known] // width
        error = (p - g) / g
        with np.errstate(divide="ignore"):
            close = np.maximum(p / g, g / p) < DELTA_BASE
        values = np.stack([np.ones(p.size), np.abs(error), error, close])
        self._regions += _binned(regions, values, 9)
        ranges = np.searchsorted(_RANGE_EDGES_M, g, side="right") - 1
        bins = _RANGE_EDGES_M.size - 1
        inside = (ranges >= 0) & (ranges < bins)
        self._ranges += _binned(ranges[inside], values[:, inside], bins)
        places = np.searchsorted(_ERROR_EDGES, error, side="right") - 1
        self._errors += np.bincount(places[places >= 0], minlength=self._errors.size)

    def merge(self, other: DetailSums) -> None:
        """Add the frames of another one."""
        self._regions += other._regions
        self._ranges += other._ranges
        self._errors += other._errors

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the sums, for a file; `from_arrays` reads them."""
        return {"regions": self._regions, "ranges": self._ranges, "errors": self._errors}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> DetailSums:
        """Return the sums that `arrays` gave."""
        return cls(arrays["regions"], arrays["ranges"], arrays["errors"])

    def value(self) -> Details:
        """Return what was summed so far."""
        edges = pairwise(_RANGE_EDGES_M.tolist())
        ranges = zip(edges, _pooled(self._ranges), strict=True)
        return Details(
            regions=tuple(_pooled(self._regions)),
            ranges=tuple(RangeErrors(*ends, errors) for ends, errors in ranges if errors.count),
            error_edges=tuple(_ERROR_EDGES.tolist()),
            error_counts=tuple(self._errors.tolist()),
        )


def _binned(places: npt.NDArray[np.int64], values: Sums, bins: int) -> Sums:
    return np.stack([np.bincount(places, row, minlength=bins) for row in values])


def _pooled(sums: Sums) -> list[PooledErrors]:
    return [
        PooledErrors(int(count), *(float(value / count) for value in rest))
        if count
        else PooledErrors(0, math.nan, math.nan, math.nan)
        for count, *rest in sums.T
    ]
