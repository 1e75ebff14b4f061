"""The projected LiDAR maps that older KITTI papers scored against, quirks included.

For new work use `geometry.lidar_to_depth`: this function exists only to make published numbers
comparable. Its quirks, all from the evaluation code of Monodepth and Monodepth2: points are dropped
by the sensor's x, not by camera z; pixels are round(u) - 1 (a MATLAB index used as if it counted
from zero); and duplicates are found with a row stride of width - 1, so that the last pixel of a row
and the first of the next row count as one, and the first listed takes the nearer depth.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ShapeError


def velodyne_depth_map(
    points_lidar_m: npt.NDArray[np.floating],
    projection: npt.ArrayLike,
    size: tuple[int, int],
    *,
    sensor_forward: bool = False,
) -> npt.NDArray[np.float64]:
    """Project a Velodyne sweep as Monodepth2's `generate_depth_map` does.

    Args:
        points_lidar_m: (N, 3) or (N, 4) metres in the LiDAR frame, x forward.
        projection: (3, 4) pixels from homogeneous LiDAR points, P_rect_02 R_rect_00 [R|T].
        size: (height, width) of the image.
        sensor_forward: store the LiDAR's x (their exported ground truth, about 0.26 m more)
            instead of camera z (their training loader).

    Returns:
        (H, W) float64 metres, NaN where no point lands.

    Raises:
        ShapeError: points are not (N, 3) or (N, 4).
    """
    points = np.asarray(points_lidar_m)
    if points.ndim != 2 or points.shape[1] not in (3, 4):
        raise ShapeError(f"LiDAR points have shape {points.shape}; pass (N, 3) or (N, 4) metres")
    height, width = size
    points = points[points[:, 0] >= 0, :3].astype(np.float64)
    homogeneous = np.hstack([points, np.ones((len(points), 1))])
    projected = homogeneous @ np.asarray(projection, np.float64).T
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = np.round(projected[:, 0] / projected[:, 2]) - 1
        rows = np.round(projected[:, 1] / projected[:, 2]) - 1
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    columns, rows = columns[inside].astype(np.int64), rows[inside].astype(np.int64)
    values = points[inside, 0] if sensor_forward else projected[inside, 2]

    depth_m = np.zeros((height, width))
    depth_m[rows, columns] = values
    _keep_nearest(depth_m, rows, columns, values)
    depth_m[depth_m <= 0] = np.nan
    return depth_m


def _keep_nearest(
    depth_m: npt.NDArray[np.float64],
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
) -> None:
    """Give the first pixel of each group of equal (wrong) indices the group's nearest depth."""
    flat = rows * (depth_m.shape[1] - 1) + columns
    _, first, group, sizes = np.unique(
        flat, return_index=True, return_inverse=True, return_counts=True
    )
    nearest = np.full(sizes.size, np.inf)
    np.minimum.at(nearest, group, values)
    shared = sizes > 1
    depth_m[rows[first[shared]], columns[first[shared]]] = nearest[shared]
