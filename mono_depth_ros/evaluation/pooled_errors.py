"""Errors of all pixels of a recording that fall into bins, as sums that can be added up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.metrics import DELTA_BASE

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


def no_sums(bins: int) -> Sums:
    """Return the sums (4, bins) of no pixel: count, sum |e|, sum e, pixels within delta1."""
    return np.zeros((4, bins))


def error_values(prediction_m: Sums, reference_m: Sums) -> Sums:
    """Return what each of N pixels adds to the sums, (4, N)."""
    p, g = prediction_m, reference_m
    error = (p - g) / g
    with np.errstate(divide="ignore"):
        close = np.maximum(p / g, g / p) < DELTA_BASE
    return np.stack([np.ones(p.size), np.abs(error), error, close])


def binned(places: npt.NDArray[np.integer], values: Sums, bins: int) -> Sums:
    """Sum the rows of values (R, N) by the bins that the N pixels fall into: (R, bins)."""
    return np.stack([np.bincount(places, row, minlength=bins) for row in values])


def pooled(sums: Sums) -> list[PooledErrors]:
    """Return the errors of every bin of sums (4, bins)."""
    return [
        PooledErrors(int(count), *(float(value / count) for value in rest))
        if count
        else PooledErrors(0, math.nan, math.nan, math.nan)
        for count, *rest in sums.T
    ]
