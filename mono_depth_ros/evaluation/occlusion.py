"""Points that the LiDAR sees and the camera does not.

The LiDAR stands beside the camera, so it looks past edges of near objects at surfaces behind them.
Projected into the image those far points fall onto the near object, between its own points, and
would be taken for its depth.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.geometry import Intrinsics, true_pixels

# Parts of the image height: about two beams of a 64-beam LiDAR and one of a 16-beam LiDAR.
_ROWS_PART, _COLUMNS_PART = 1 / 24, 1 / 60
# How far near points are swept, as a part of the image height, and in which steps.
_SWEEP_PART, _SWEEP_STEP_PX = 1 / 8, 3
# Points nearer to the LiDAR's plane project anywhere.
_LEAST_DISTANCE_M = 0.05


def drop_occluded(
    depth_m: npt.NDArray[np.floating],
    relative_gap: float = 0.15,
    window_px: tuple[int, int] | None = None,
    camera: Intrinsics | None = None,
    lidar_in_camera_m: npt.ArrayLike | None = None,
) -> npt.NDArray[np.float32]:
    """Remove sparse depths that lie behind their neighbours on two opposite sides.

    A pixel is removed when nearer points lie both above and below it, or both left and right of it,
    each nearer by more than `relative_gap` of its depth. On a plane inverse depth changes linearly
    along an image line, so it cannot be nearer on both sides: floors and walls stay complete as
    long as their depth changes by less than `relative_gap` from one pixel to the next, which the
    searched strips are wide.

    Where camera and LiDAR are given, near points also count for what they hide along their
    parallax. A near point that the LiDAR sees at x' and the camera at x hides from the camera what
    the LiDAR sees past it: of the points between x and x' those whose own parallax is less than
    what is left of the way. This reaches up to the silhouette, where no near point lies on the
    other side.

    Args:
        depth_m: (H, W) sparse, metres, NaN where there is no point.
        relative_gap: 0.15 means nearer than 85 % of the pixel's own depth; along the parallax,
            which a surface cannot hide itself by, half of it.
        window_px: how many rows up and down and columns left and right are searched; by default
            1/24 and 1/60 of the image height.
        camera: of the depth map.
        lidar_in_camera_m: (3,) where the LiDAR is, optical frame; needs `camera`.

    Returns:
        (H, W) float32, the same with NaN where a point was removed.

    Raises:
        ConfigError: the gap is not between 0 and 1 or the window is empty.
    """
    height = depth_m.shape[0]
    by_height = (max(round(height * part), 1) for part in (_ROWS_PART, _COLUMNS_PART))
    rows, columns = window_px or by_height
    if not 0.0 < relative_gap < 1.0 or rows < 1 or columns < 1:
        raise ConfigError(
            f"occlusion gap {relative_gap}, window {rows}x{columns} px: the gap must lie between 0 "
            "and 1, the window have at least one pixel"
        )
    # Everything is asked at the points alone, of which a sweep has far fewer than an image pixels.
    v, u = true_pixels(np.isfinite(depth_m))
    z = depth_m[v, u].astype(np.float32)
    nearness = np.zeros(depth_m.shape, np.float32)
    nearness[v, u] = 1.0 / z
    hidden = _surpassed(nearness, v, u, nearness[v, u] / (1.0 - relative_gap), rows, columns)
    if camera is not None and lidar_in_camera_m is not None:
        lidar_m = np.asarray(lidar_in_camera_m, np.float32)
        swept_px, parallax_px = _swept(v, u, z, camera, lidar_m)
        limit_px = parallax_px / (1.0 - 0.5 * relative_gap) + np.float32(0.5)
        hidden |= _surpassed(swept_px, v, u, limit_px, rows, columns)
    kept = np.full(depth_m.shape, np.nan, np.float32)
    kept[v[~hidden], u[~hidden]] = z[~hidden]
    return kept


def _surpassed(
    values: npt.NDArray[np.float32],
    v: npt.NDArray[np.int64],
    u: npt.NDArray[np.int64],
    limit: npt.NDArray[np.float32],
    rows: int,
    columns: int,
) -> npt.NDArray[np.bool_]:
    """Return where values on two opposite sides within the window are above a point's limit.

    Args:
        values: (H, W), 0 or more.
        v: (N,) rows of the points.
        u: (N,) their columns.
        limit: (N,) of the points, 0 or more.
        rows: how far is looked up and down; three columns wide.
        columns: how far left and right; three rows wide.
    """
    vertical, horizontal = np.ones((rows, 3), np.uint8), np.ones((3, columns), np.uint8)
    # Each strip ends one pixel before the point itself, hence the row or column of zeros in front.
    framed = cv2.copyMakeBorder(values, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    above = cv2.dilate(framed, vertical, anchor=(1, rows - 1))[v, u + 1] > limit
    below = cv2.dilate(framed, vertical, anchor=(1, 0))[v + 2, u + 1] > limit
    left = cv2.dilate(framed, horizontal, anchor=(columns - 1, 1))[v + 1, u] > limit
    right = cv2.dilate(framed, horizontal, anchor=(0, 1))[v + 1, u + 2] > limit
    return np.asarray((above & below) | (left & right))


def _swept(
    v: npt.NDArray[np.int64],
    u: npt.NDArray[np.int64],
    z: npt.NDArray[np.float32],
    camera: Intrinsics,
    lidar_m: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Sweep all points from where the camera sees them towards where the LiDAR would.

    Returns:
        (H, W) pixels of parallax left to the point that has most of it left there, 0 where none
        passes; (N,) each point's own parallax.
    """
    height, width = camera.height, camera.width
    away = z - lidar_m[2]
    seen = away > _LEAST_DISTANCE_M
    away = np.where(seen, away, np.float32(1.0))
    across = camera.fx * ((u - camera.cx) / camera.fx * z - lidar_m[0]) / away + camera.cx - u
    down = camera.fy * ((v - camera.cy) / camera.fy * z - lidar_m[1]) / away + camera.cy - v
    parallax = np.where(seen, np.hypot(across, down), 0.0).astype(np.float32)
    # Ascending, so that of two points on one pixel the larger value is written last.
    order = np.argsort(parallax)
    length = parallax[order]
    step = np.maximum(length, 1e-6)
    column, row = u[order].astype(np.float32), v[order].astype(np.float32)
    across = (across[order] / step).astype(np.float32)
    down = (down[order] / step).astype(np.float32)
    swept = np.zeros(height * width, np.float32)
    longest = min(float(length[-1]) if length.size else 0.0, _SWEEP_PART * height)
    for way in range(0, int(longest) + 1, _SWEEP_STEP_PX):
        first = np.searchsorted(length, way)
        at_column = np.rint(column[first:] + np.float32(way) * across[first:])
        at_row = np.rint(row[first:] + np.float32(way) * down[first:])
        inside = (at_column >= 0) & (at_column < width) & (at_row >= 0) & (at_row < height)
        pixel = at_row[inside].astype(np.int64) * width + at_column[inside].astype(np.int64)
        left = length[first:][inside] - np.float32(way)
        more = left > swept[pixel]
        swept[pixel[more]] = left[more]
    kernel = np.ones((_SWEEP_STEP_PX, _SWEEP_STEP_PX), np.uint8)
    return np.asarray(cv2.dilate(swept.reshape(height, width), kernel)), parallax
