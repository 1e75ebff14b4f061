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

from mono_depth_ros.evaluation.pooled_errors import (
    PooledErrors,
    Sums,
    binned,
    error_values,
    no_sums,
    pooled,
)
from mono_depth_ros.evaluation.products import Products, ProductSums
from mono_depth_ros.evaluation.protocols import Pixels
from mono_depth_ros.prediction import Prediction

# Thirds of the image's height and width.
REGION_ROWS = ("upper", "middle", "lower")
REGION_COLUMNS = ("left", "centre", "right")

# 12 bins per factor of ten, 0.1 m to 1 km.
_RANGE_EDGES_M = 10.0 ** (np.arange(-12, 37) / 12)
# Relative errors in steps of 2.5 %; a positive prediction is never 100 % or more too near.
_ERROR_EDGES = np.append(np.arange(-40, 41) / 40, math.inf)


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
        products: the error by confidence and class.
        point_flicker: median over frames of what `PointFlicker` measures; NaN where it does not.
        point_flicker_frames: number of those frames.
    """

    regions: tuple[PooledErrors, ...]
    ranges: tuple[RangeErrors, ...]
    error_edges: tuple[float, ...]
    error_counts: tuple[int, ...]
    products: Products = field(default_factory=Products)
    point_flicker: float = math.nan
    point_flicker_frames: int = 0


@dataclass(slots=True)
class DetailSums:
    """Sums of `Details`, frame by frame; pixels whose prediction is not finite are left out."""

    _regions: Sums = field(default_factory=lambda: no_sums(9))
    _ranges: Sums = field(default_factory=lambda: no_sums(_RANGE_EDGES_M.size - 1))
    _errors: npt.NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(_ERROR_EDGES.size - 1, np.int64)
    )
    _products: ProductSums = field(default_factory=ProductSums)
    # A number per frame, of which the median is wanted.
    _flickers: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def add(
        self,
        pixels: Pixels,
        prediction: Prediction | None = None,
        labels: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Add one frame; `labels` (H, W) are the stored ones, see `label_map`.

        Raises:
            ShapeError: the labels have another size than the prediction.
        """
        known = np.isfinite(pixels.prediction_m) & (pixels.reference_m > 0)
        p, g = pixels.prediction_m[known], pixels.reference_m[known]
        height, width = pixels.shape
        regions = 3 * (3 * pixels.rows[known] // height) + 3 * pixels.columns[known] // width
        values = error_values(p, g)
        self._regions += binned(regions, values, 9)
        ranges = np.searchsorted(_RANGE_EDGES_M, g, side="right") - 1
        bins = _RANGE_EDGES_M.size - 1
        inside = (ranges >= 0) & (ranges < bins)
        self._ranges += binned(ranges[inside], values[:, inside], bins)
        places = np.searchsorted(_ERROR_EDGES, values[2], side="right") - 1
        self._errors += np.bincount(places[places >= 0], minlength=self._errors.size)
        if prediction is not None:
            rows, columns = pixels.rows[known], pixels.columns[known]
            self._products.add(rows, columns, values, prediction)
            if labels is not None:
                self._products.add_labels(prediction, labels)

    def add_flicker(self, flicker: float) -> None:
        """Add what `PointFlicker` says of one frame, NaN for nothing."""
        if not math.isnan(flicker):
            self._flickers = np.append(self._flickers, flicker)

    def merge(self, other: DetailSums) -> None:
        """Add the frames of another one."""
        self._regions += other._regions
        self._ranges += other._ranges
        self._errors += other._errors
        self._products.merge(other._products)
        self._flickers = np.append(self._flickers, other._flickers)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the sums, for a file; `from_arrays` reads them."""
        return {
            "regions": self._regions,
            "ranges": self._ranges,
            "errors": self._errors,
            "flickers": self._flickers,
            **self._products.arrays(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> DetailSums:
        """Return the sums that `arrays` gave."""
        products = ProductSums.from_arrays(arrays)
        regions, ranges, errors = arrays["regions"], arrays["ranges"], arrays["errors"]
        return cls(regions, ranges, errors, products, arrays["flickers"])

    def value(self) -> Details:
        """Return what was summed so far."""
        edges = pairwise(_RANGE_EDGES_M.tolist())
        ranges = zip(edges, pooled(self._ranges), strict=True)
        return Details(
            regions=tuple(pooled(self._regions)),
            ranges=tuple(RangeErrors(*ends, errors) for ends, errors in ranges if errors.count),
            error_edges=tuple(_ERROR_EDGES.tolist()),
            error_counts=tuple(self._errors.tolist()),
            products=self._products.value(),
            point_flicker=float(np.median(self._flickers)) if self._flickers.size else math.nan,
            point_flicker_frames=self._flickers.size,
        )
