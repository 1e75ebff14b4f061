"""Depth errors: what papers print, what the KITTI leaderboard prints, and how images are averaged.

All in float64. g = reference depth, p = predicted depth, metres; d = ln p - ln g.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ShapeError

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

DELTA_BASE = 1.25


@dataclass(frozen=True, slots=True)
class DepthErrors:
    """Errors over the pixels of one image, one range bin or a whole data set.

    Attributes:
        count: pixels compared; 0 makes every score NaN.
        abs_rel: mean |p - g| / g.
        sq_rel: mean (p - g)^2 / g, metres (Eigen's form; the KITTI devkit divides by g^2).
        rmse_m: root of mean (p - g)^2, metres.
        rmse_log: root of mean d^2.
        log10: mean |log10 p - log10 g|.
        silog: 100 sqrt(mean d^2 - (mean d)^2), never below 0 through rounding.
        delta1: share of pixels with max(p / g, g / p) < 1.25, strictly.
        delta2: the same below 1.25^2.
        delta3: the same below 1.25^3.
        mean_log: mean d, signed; exp of it is the factor by which depth is too far.
    """

    count: int
    abs_rel: float
    sq_rel: float
    rmse_m: float
    rmse_log: float
    log10: float
    silog: float
    delta1: float
    delta2: float
    delta3: float
    mean_log: float

    @classmethod
    def empty(cls) -> DepthErrors:
        """Return the errors of no pixel: count 0, scores NaN."""
        return cls(0, *[math.nan] * 10)


@dataclass(frozen=True, slots=True)
class DevkitErrors:
    """Errors of the official KITTI depth development kit, in the units of its leaderboards.

    Attributes:
        count: pixels compared; 0 makes every score NaN.
        silog: 100 sqrt(mean d^2 - (mean d)^2).
        sq_rel_percent: 100 mean (g - p)^2 / g^2 (`sqErrorRel`).
        abs_rel_percent: 100 mean |g - p| / g (`absErrorRel`).
        irmse_per_km: root of mean (1/g - 1/p)^2, 1/km.
        imae_per_km: mean |1/g - 1/p|, 1/km.
        rmse_mm: root of mean (g - p)^2, millimetres.
        mae_mm: mean |g - p|, millimetres.
    """

    count: int
    silog: float
    sq_rel_percent: float
    abs_rel_percent: float
    irmse_per_km: float
    imae_per_km: float
    rmse_mm: float
    mae_mm: float


def depth_errors(
    prediction_m: FloatArray, reference_m: FloatArray, mask: BoolArray | None = None
) -> DepthErrors:
    """Compare two depth arrays where both have a depth.

    Args:
        prediction_m: any shape, metres, NaN = unknown.
        reference_m: same shape, metres, NaN = no measurement.
        mask: same shape, True where to compare; None compares everywhere.

    Returns:
        The errors over all pixels where both are finite and the reference is above zero.

    Raises:
        ShapeError: shapes differ.
    """
    require_same_shape(prediction_m, reference_m)
    valid = np.isfinite(prediction_m) & np.isfinite(reference_m) & (np.asarray(reference_m) > 0)
    if mask is not None:
        require_same_shape(mask, reference_m)
        valid &= mask
    return pixel_errors(prediction_m[valid], reference_m[valid])


def pixel_errors(prediction_m: FloatArray, reference_m: FloatArray) -> DepthErrors:
    """Return the errors of pixels already chosen, (N,) each; a NaN or zero prediction shows."""
    if prediction_m.size == 0:
        return DepthErrors.empty()
    p, g = np.asarray(prediction_m, np.float64), np.asarray(reference_m, np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        difference = p - g
        log_ratio = np.log(p) - np.log(g)
        ratio = np.maximum(p / g, g / p)
        return DepthErrors(
            count=p.size,
            abs_rel=float(np.mean(np.abs(difference) / g)),
            sq_rel=float(np.mean(difference**2 / g)),
            rmse_m=_root_mean_square(difference),
            rmse_log=_root_mean_square(log_ratio),
            log10=float(np.mean(np.abs(log_ratio))) / math.log(10.0),
            silog=100.0 * scale_invariant_log(log_ratio),
            delta1=float(np.mean(ratio < DELTA_BASE)),
            delta2=float(np.mean(ratio < DELTA_BASE**2)),
            delta3=float(np.mean(ratio < DELTA_BASE**3)),
            mean_log=float(np.mean(log_ratio)),
        )


def devkit_errors(prediction_m: FloatArray, reference_m: FloatArray) -> DevkitErrors:
    """Return the leaderboard errors of pixels already chosen, (N,) metres each."""
    if prediction_m.size == 0:
        return DevkitErrors(0, *[math.nan] * 7)
    p, g = np.asarray(prediction_m, np.float64), np.asarray(reference_m, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        difference, inverse = p - g, 1.0 / g - 1.0 / p
        return DevkitErrors(
            count=p.size,
            silog=100.0 * scale_invariant_log(np.log(p) - np.log(g)),
            sq_rel_percent=100.0 * float(np.mean((difference / g) ** 2)),
            abs_rel_percent=100.0 * float(np.mean(np.abs(difference) / g)),
            irmse_per_km=1000.0 * _root_mean_square(inverse),
            imae_per_km=1000.0 * float(np.mean(np.abs(inverse))),
            rmse_mm=1000.0 * _root_mean_square(difference),
            mae_mm=1000.0 * float(np.mean(np.abs(difference))),
        )


def scale_invariant_log(log_ratio: FloatArray, variance_focus: float = 1.0) -> float:
    """Return sqrt(mean d^2 - variance_focus (mean d)^2), 0 where rounding makes it negative.

    1.0 is the KITTI definition; GLPDepth and Depth Anything V2 print 0.5 under the same name.
    """
    value = np.mean(log_ratio**2) - variance_focus * np.mean(log_ratio) ** 2
    return float(np.sqrt(np.maximum(value, 0.0)))


def median_scale(prediction_m: FloatArray, reference_m: FloatArray) -> float:
    """Return median(reference) / median(prediction), the factor of median-aligned scores.

    Scores after this factor say nothing about metric scale and are labelled so wherever printed.
    """
    return float(np.median(reference_m) / np.median(prediction_m))


def scale_and_shift(prediction_m: FloatArray, reference_m: FloatArray) -> tuple[float, float]:
    """Return a and b that minimise the sum of (a / p + b - 1 / g)^2.

    Networks of relative depth are judged after this fit. It undoes an unknown scale and, in inverse
    depth, an unknown shift, so scores after it say even less about metric scale than `median_scale`
    leaves to say.

    Args:
        prediction_m: (N,) p, positive metres.
        reference_m: (N,) g, positive metres.

    Returns:
        a (no unit) and b (1/metre). Where all predictions are equal a is 0 and b the mean of 1 / g;
        NaN without a pixel.
    """
    if prediction_m.size == 0:
        return math.nan, math.nan
    x, y = 1.0 / np.asarray(prediction_m, np.float64), 1.0 / np.asarray(reference_m, np.float64)
    x_mean, y_mean = float(np.mean(x)), float(np.mean(y))
    spread = float(np.mean((x - x_mean) ** 2))
    a = float(np.mean((x - x_mean) * (y - y_mean))) / spread if spread > 0 else 0.0
    return a, y_mean - a * x_mean


def mean_over_images(errors: Sequence[DepthErrors]) -> DepthErrors:
    """Average images with equal weight, leaving out images without a pixel; `count` is the sum."""
    used = [e for e in errors if e.count]
    if not used:
        return DepthErrors.empty()
    return DepthErrors(count=sum(e.count for e in used), **_means(used))


def mean_over_images_devkit(errors: Sequence[DevkitErrors]) -> DevkitErrors:
    """Average leaderboard errors over images with equal weight, leaving out empty images."""
    used = [e for e in errors if e.count]
    if not used:
        return DevkitErrors(0, *[math.nan] * 7)
    return DevkitErrors(count=sum(e.count for e in used), **_means(used))


def median_over_images(errors: Sequence[DepthErrors]) -> DepthErrors:
    """Return the median of every score over images that have a pixel; `count` is the sum."""
    used = [e for e in errors if e.count]
    if not used:
        return DepthErrors.empty()
    names = [field.name for field in fields(DepthErrors) if field.name != "count"]
    medians = {name: float(np.median([getattr(e, name) for e in used])) for name in names}
    return DepthErrors(count=sum(e.count for e in used), **medians)


def pool_over_pixels(errors: Sequence[DepthErrors]) -> DepthErrors:
    """Return the errors as if the pixels of all images lay in one image."""
    used = [e for e in errors if e.count]
    if not used:
        return DepthErrors.empty()
    counts = np.array([e.count for e in used], np.float64)

    def pooled(values: list[float]) -> float:
        return float(counts @ np.array(values) / counts.sum())

    mean_log = pooled([e.mean_log for e in used])
    mean_square_log = pooled([e.rmse_log**2 for e in used])
    return DepthErrors(
        count=int(counts.sum()),
        abs_rel=pooled([e.abs_rel for e in used]),
        sq_rel=pooled([e.sq_rel for e in used]),
        rmse_m=math.sqrt(pooled([e.rmse_m**2 for e in used])),
        rmse_log=math.sqrt(mean_square_log),
        log10=pooled([e.log10 for e in used]),
        silog=100.0 * math.sqrt(max(mean_square_log - mean_log**2, 0.0)),
        delta1=pooled([e.delta1 for e in used]),
        delta2=pooled([e.delta2 for e in used]),
        delta3=pooled([e.delta3 for e in used]),
        mean_log=mean_log,
    )


def require_same_shape(a: npt.NDArray, b: npt.NDArray) -> None:
    """Raise ShapeError unless both arrays have the same shape."""
    if np.shape(a) != np.shape(b):
        raise ShapeError(
            f"prediction is {np.shape(a)}, reference is {np.shape(b)}; resize the prediction to "
            "the reference's grid first"
        )


def _root_mean_square(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _means(errors: Sequence[DepthErrors] | Sequence[DevkitErrors]) -> dict[str, float]:
    names = [field.name for field in fields(errors[0]) if field.name != "count"]
    return {name: float(np.mean([getattr(error, name) for error in errors])) for name in names}
