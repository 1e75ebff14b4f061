"""KITTI's Velodyne sweeps as depth maps: the ground truth of the 697 Eigen test images.

This is what Monodepth2 scores its `eigen` split against, quirks included; they are told in
`mono_depth_ros.evaluation.kitti_velodyne`. For new work use `geometry.lidar_to_depth`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.kitti import Calibration, read_calibration, read_sweep
from mono_depth_ros.evaluation.kitti_velodyne import velodyne_depth_map

# "x": forward in the sensor's frame, as in Monodepth2's exported ground truth (about 0.28 m more
# on KITTI's car). "z": along the optical axis, as in its training loader.
Depth = Literal["x", "z"]


def project_velodyne(
    points_lidar_m: npt.NDArray[np.floating], calibration: Calibration, depth: Depth = "x"
) -> npt.NDArray[np.float32]:
    """Project a sweep as Monodepth2's `generate_depth_map` does.

    Args:
        points_lidar_m: (N, 3) or (N, 4) metres in the Velodyne's frame, x forward.
        calibration: camera 2 and the Velodyne's place; the camera has the size of the map.
        depth: which distance is stored.

    Returns:
        (H, W) float32 metres, NaN where no point lands.

    Raises:
        ShapeError: points are not (N, 3) or (N, 4).
    """
    camera = calibration.camera
    projection = camera.matrix @ calibration.camera_from_lidar[:3]
    size = (camera.height, camera.width)
    depth_m = velodyne_depth_map(points_lidar_m, projection, size, sensor_forward=depth == "x")
    return depth_m.astype(np.float32)


def read_velodyne_depth(
    scan: Path, day: Path, shape: tuple[int, int], depth: Depth = "x"
) -> npt.NDArray[np.float32]:
    """Read a sweep and project it into its image of camera 2.

    Args:
        scan: .bin of float32 x, y, z (metres) and reflectance.
        day: folder of calib_cam_to_cam.txt and calib_velo_to_cam.txt.
        shape: (H, W) of the image.
        depth: see `project_velodyne`.

    Returns:
        (H, W) float32 metres, NaN where no point lands.

    Raises:
        DataError: a file is missing or damaged, or the image has another size than the calibration.
    """
    points = read_sweep(scan).view(np.float32).reshape(-1, 4)
    return project_velodyne(points, _calibration(day, shape), depth)


@lru_cache(maxsize=16)
def _calibration(day: Path, shape: tuple[int, int]) -> Calibration:
    return read_calibration(day, shape)
