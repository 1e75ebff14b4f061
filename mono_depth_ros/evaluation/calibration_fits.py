"""Robust fits of metric scale on plain arrays; the same input gives the same answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.calibration import DepthCalibration
from mono_depth_ros.errors import CalibrationError
from mono_depth_ros.metrics import require_same_shape

FloatArray = npt.NDArray[np.floating]

_SEED = 0
# Random minimal samples. With half of the points bad, 500 pairs miss a clean one with 1e-62; with
# a fifth of the lower half of the points on the floor, 1000 triples miss with 3e-4.
_PAIRS, _TRIPLES = 500, 1000
# Points on which the samples are judged; the final fits take all.
_JUDGES = 5_000

# Tukey's biweight: 95 % efficient on normal errors, and no weight at all beyond 4.7 sigma.
_TUKEY_SIGMAS = 4.685
_MAD_TO_SIGMA = 1.4826
_STEPS = 50
# Relative spread (95th to 5th percentile of the inverse predictions) below which scale and shift
# cannot be told apart.
_LEAST_SPREAD = 0.05

# A point belongs to a plane within 5 % of the camera's own height over it, whatever the scale.
FLOOR_TOLERANCE = 0.05
# A floor covers at least so much of the points, after deducting the points below it.
FLOOR_SHARE = 0.15
# The floor's normal is within 45 degrees of the image's vertical.
_LEAST_DOWN = math.cos(math.radians(45.0))
_FEWEST_FLOOR_POINTS = 50
_FLOOR_STEPS = 10


@dataclass(frozen=True, slots=True)
class FloorPlane:
    """A floor in the optical frame: the points p with down @ p = height_m.

    Attributes:
        down: (3,) unit vector from the camera towards the floor.
        height_m: of the camera over the floor, in the metres of the points.
        share: of the points that lie on it.
    """

    down: npt.NDArray[np.float64]
    height_m: float
    share: float

    def contains(self, points_m: FloatArray) -> npt.NDArray[np.bool_]:
        """Return (N,) which points (N, 3) lie on it, within 5 % of the height."""
        return _on(self.down / self.height_m, points_m)


def fit_scale(prediction_m: FloatArray, truth_m: FloatArray) -> DepthCalibration:
    """Return the median of truth / prediction, in which every pixel has one vote, near or far.

    Args:
        prediction_m: (N,) metres, all positive.
        truth_m: (N,) metres, all positive.

    Raises:
        ShapeError: the arrays differ in length.
        CalibrationError: they are empty.
    """
    p, g = _pairs(prediction_m, truth_m, fewest=1)
    return DepthCalibration(float(np.median(g / p)))


def fit_scale_shift(prediction_m: FloatArray, truth_m: FloatArray) -> DepthCalibration:
    """Fit 1 / truth = a / prediction + b; depth_scale is 1 / a and the shift b.

    Iteratively reweighted least squares in inverse depth with Tukey's biweight, started from the
    line of least median residual through two points, so up to half of the pixels may be wrong. In
    inverse depth near pixels count more: 1 % of 2 m moves it as much as 10 % of 20 m.

    Args:
        prediction_m: (N,) metres, all positive.
        truth_m: (N,) metres, all positive.

    Raises:
        ShapeError: the arrays differ in length.
        CalibrationError: there are fewer than 10 pixels, the predictions are nearly all the same,
            or the best line falls: then nearer predictions are farther away in truth.
    """
    p, g = _pairs(prediction_m, truth_m, fewest=10)
    x, y = 1.0 / p, 1.0 / g
    low, middle, high = np.percentile(x, (5, 50, 95))
    if high - low < _LEAST_SPREAD * middle:
        raise CalibrationError(
            f"predictions lie between {1 / high:.3g} and {1 / low:.3g} m, too little to tell scale "
            "from shift; record nearer and farther things, or fit with --method scale"
        )
    a, b = _least_median_line(x, y)
    for _ in range(_STEPS):
        weights = _biweight(y - (a * x + b), least_sigma=1e-6 * float(np.median(y)))
        last, (a, b) = (a, b), _weighted_line(x, y, weights)
        if abs(a - last[0]) <= 1e-12 * abs(a) and abs(b - last[1]) <= 1e-12 * middle:
            break
    if not a > 0:
        raise CalibrationError(
            f"the best line, 1/truth = {a:.3g}/prediction + {b:.3g}, falls: the predictions do not "
            "follow the truth; check topics and transform, or fit with --method scale"
        )
    return DepthCalibration(1.0 / a, b)


def fit_floor(points_m: FloatArray) -> FloorPlane | None:
    """Find the floor in a cloud of any scale.

    RANSAC over planes m @ p = 1 whose normal is within 45 degrees of the image's vertical and which
    lie below the camera. A plane's score is the share of points within 5 % of its height, less the
    share of points more than 15 % below it, because a table has floor below it and a floor nothing.
    The best plane is refined by reweighted least squares on its points. Noise of 3 % of the depth
    costs 1 % of the height where a third of the image is floor, up to 6 % where a fifth is.

    Args:
        points_m: (..., 3) in the optical frame (y down), metres; NaN points are left out.

    Returns:
        The plane, or None where none scores 0.15 or more.
    """
    points = np.asarray(points_m, np.float64).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1) & (points[:, 2] > 0)]
    if len(points) < _FEWEST_FLOOR_POINTS:
        return None
    planes = _candidate_planes(points)
    if len(planes) == 0:
        return None
    judges = points[_spread(len(points), _JUDGES)]
    best = planes[int(np.argmax([_floor_score(plane, judges, soft=True) for plane in planes]))]
    for _ in range(_FLOOR_STEPS):
        inliers = points[_on(best, points)]
        if len(inliers) < _FEWEST_FLOOR_POINTS:
            return None
        # Feet of walls and furniture lie within the tolerance too, all of them above the floor.
        roots = np.sqrt(_biweight(inliers @ best - 1.0, least_sigma=1e-4))
        best = np.linalg.lstsq(inliers * roots[:, None], roots, rcond=None)[0]
    if not _faces_down(best[None])[0] or _floor_score(best, points) < FLOOR_SHARE:
        return None
    height_m = 1.0 / float(np.linalg.norm(best))
    return FloorPlane(best * height_m, height_m, float(np.mean(_on(best, points))))


def _pairs(
    prediction_m: FloatArray, truth_m: FloatArray, fewest: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    require_same_shape(prediction_m, truth_m)
    if np.size(truth_m) < fewest:
        raise CalibrationError(
            f"{np.size(truth_m)} pixels have both prediction and truth; this fit needs {fewest}"
        )
    return np.asarray(prediction_m, np.float64), np.asarray(truth_m, np.float64)


def _spread(count: int, wanted: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, count - 1, min(count, wanted)).astype(np.int64)


def _least_median_line(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[float, float]:
    """Return slope and offset of the pair's line with the least median absolute residual."""
    rng = np.random.default_rng(_SEED)
    first, second = rng.integers(0, x.size, (2, _PAIRS))
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = (y[second] - y[first]) / (x[second] - x[first])
    usable = np.isfinite(slopes)
    slopes, offsets = slopes[usable], (y[first] - slopes * x[first])[usable]
    judges = rng.permutation(x.size)[:_JUDGES]
    medians = [
        np.median(np.abs(y[judges] - a * x[judges] - b))
        for a, b in zip(slopes, offsets, strict=True)
    ]
    best = int(np.argmin(medians))
    return float(slopes[best]), float(offsets[best])


def _biweight(residuals: npt.NDArray[np.float64], least_sigma: float) -> npt.NDArray[np.float64]:
    # Exact data have no spread; below the least sigma rounding would decide.
    sigma = max(_MAD_TO_SIGMA * float(np.median(np.abs(residuals))), least_sigma)
    return np.clip(1.0 - (residuals / (_TUKEY_SIGMAS * sigma)) ** 2, 0.0, None) ** 2


def _weighted_line(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> tuple[float, float]:
    total = weights.sum()
    mean_x, mean_y = weights @ x / total, weights @ y / total
    variance = weights @ (x - mean_x) ** 2
    if not variance > 0:
        raise CalibrationError(
            "most predictions are one and the same depth; record nearer and farther things, or fit "
            "with --method scale"
        )
    a = float(weights @ ((x - mean_x) * (y - mean_y)) / variance)
    return a, float(mean_y - a * mean_x)


def _candidate_planes(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (K, 3) planes m through random triples of the lower half of the image."""
    rows = points[:, 1] / points[:, 2]
    lower = points[rows >= np.median(rows)]
    corners = lower[np.random.default_rng(_SEED).integers(0, len(lower), (3, _TRIPLES))]
    normals = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        planes = normals / np.sum(normals * corners[0], axis=1, keepdims=True)
    planes = planes[np.isfinite(planes).all(axis=1)]
    return planes[_faces_down(planes)]


def _faces_down(planes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return planes[:, 1] > _LEAST_DOWN * np.linalg.norm(planes, axis=1)


def _on(plane: FloatArray, points: FloatArray) -> npt.NDArray[np.bool_]:
    return np.abs(points @ plane - 1.0) < FLOOR_TOLERANCE


def _floor_score(plane: FloatArray, points: FloatArray, *, soft: bool = False) -> float:
    """Return the share of points on the plane less that far below it.

    `soft` lets a point count the less the farther it lies from the plane: among planes that differ
    little, the number of points within the tolerance would prefer one that bends up into a wall.
    """
    excess = points @ plane - 1.0
    closeness = 1.0 - (excess / FLOOR_TOLERANCE) ** 2
    on = np.clip(closeness, 0.0, None) if soft else closeness > 0.0
    return float(np.mean(on) - np.mean(excess > 3.0 * FLOOR_TOLERANCE))
