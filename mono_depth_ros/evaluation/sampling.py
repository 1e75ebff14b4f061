"""Predictions where the LiDAR points are, not where the nearest pixel centres are.

A point lies up to half a pixel off the centre of its pixel. On a road that a camera sees at a flat
angle this is 3 % of the depth at 80 m, more than a good network's error.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import FloatArray, pixels_of

# Four neighbours whose depths differ by more lie on both sides of an edge.
_LARGEST_RATIO = 1.1


def sample_depth(
    depth_m: FloatArray, u_px: FloatArray, v_px: FloatArray
) -> npt.NDArray[np.float64]:
    """Return depth between pixel centres: bilinear in inverse depth, which is exact on planes.

    Across an edge, beside unknown depth and at the border it is the nearest pixel's: a mean of
    foreground and background is the depth of neither.

    Args:
        depth_m: (H, W) metres, NaN = unknown.
        u_px: (N,) positions across, from -0.5 to below W - 0.5.
        v_px: (N,) positions down, from -0.5 to below H - 0.5.

    Returns:
        (N,) metres.

    Raises:
        ShapeError: a position lies outside the image.
    """
    height, width = depth_m.shape
    rows, columns = pixels_of(u_px, v_px)
    if np.any((columns < 0) | (columns >= width) | (rows < 0) | (rows >= height)):
        raise ShapeError(f"some of {len(columns)} positions lie outside the {height}x{width} image")
    nearest = depth_m[rows, columns].astype(np.float64)
    left, top = np.floor(u_px).astype(np.int64), np.floor(v_px).astype(np.int64)
    inside = (left >= 0) & (top >= 0) & (left < width - 1) & (top < height - 1)
    left, top = left[inside], top[inside]
    corners = np.stack(
        [depth_m[top + down, left + right] for down in (0, 1) for right in (0, 1)]
    ).astype(np.float64)
    across, down = u_px[inside] - left, v_px[inside] - top
    weights = np.stack(
        [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        between = 1.0 / (weights / corners).sum(axis=0)
        # NaN among the four compares as false.
        smooth = (corners.min(axis=0) > 0) & (
            corners.max(axis=0) < _LARGEST_RATIO * corners.min(axis=0)
        )
    nearest[inside] = np.where(smooth, between, nearest[inside])
    return nearest


def sampled_at(
    prediction_m: FloatArray,
    reference_m: npt.NDArray[np.float32],
    u_px: FloatArray,
    v_px: FloatArray,
    depth_m: FloatArray,
) -> npt.NDArray[np.float64]:
    """Return the prediction with every pixel that has a LiDAR point sampled at that point.

    Args:
        prediction_m: (H, W) metres, NaN = unknown.
        reference_m: (H, W) of `geometry.render_depth` of the same points; pixels whose depth was
            removed since stay as they are.
        u_px: (N,) positions of the points in the image, across.
        v_px: (N,) down.
        depth_m: (N,) their depths, metres.

    Raises:
        ShapeError: the maps differ in size, or a point lies outside the image.
    """
    if prediction_m.shape != reference_m.shape:
        raise ShapeError(
            f"prediction {prediction_m.shape} and reference {reference_m.shape} must agree in size"
        )
    rows, columns = pixels_of(u_px, v_px)
    # The one point of its pixel that the reference holds.
    kept = reference_m[rows, columns] == depth_m.astype(np.float32)
    sampled = prediction_m.astype(np.float64)
    sampled[rows[kept], columns[kept]] = sample_depth(prediction_m, u_px[kept], v_px[kept])
    return sampled
