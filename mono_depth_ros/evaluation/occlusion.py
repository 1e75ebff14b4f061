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

# Parts of the image height: about two beams of a 64-beam LiDAR and one of a 16-beam LiDAR.
_ROWS_PART, _COLUMNS_PART = 1 / 24, 1 / 60


def drop_occluded(
    depth_m: npt.NDArray[np.floating],
    relative_gap: float = 0.15,
    window_px: tuple[int, int] | None = None,
) -> npt.NDArray[np.float32]:
    """Remove sparse depths that lie behind their neighbours on two opposite sides.

    A pixel is removed when nearer points lie both above and below it, or both left and right of it,
    each nearer by more than `relative_gap` of its depth. On a plane inverse depth changes linearly
    along an image line, so it cannot be nearer on both sides: floors and walls stay complete as
    long as their depth changes by less than `relative_gap` from one pixel to the next, which the
    searched strips are wide. Not caught is the outermost row of points along a silhouette.

    Args:
        depth_m: (H, W) sparse, metres, NaN where there is no point.
        relative_gap: 0.15 means nearer than 85 % of the pixel's own depth.
        window_px: how many rows up and down and columns left and right are searched; by default
            1/24 and 1/60 of the image height.

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
    depth = np.where(np.isfinite(depth_m), depth_m, np.inf).astype(np.float32)
    limit = depth * (1.0 - relative_gap)
    above = np.zeros((2 * rows + 1, 3), np.uint8)
    above[:rows] = 1
    left = np.zeros((3, 2 * columns + 1), np.uint8)
    left[:, :columns] = 1
    nearer = [
        cv2.erode(depth, kernel) < limit for kernel in (above, above[::-1], left, left[:, ::-1])
    ]
    hidden = (nearer[0] & nearer[1]) | (nearer[2] & nearer[3])
    return np.where(hidden | np.isinf(depth), np.float32(np.nan), depth)
