"""A camera, a LiDAR and a wall whose depths can be worked out by hand."""

from __future__ import annotations

import numpy as np

from mono_depth_ros.geometry import Intrinsics, depth_to_points

CAMERA = Intrinsics(fx=20.0, fy=20.0, cx=7.5, cy=5.5, width=16, height=12)
# Optical axes in a robot's body frame: x right is -y, y down is -z, z forward is x.
BODY_FROM_OPTICAL = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]], float)
PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000


def base_from_lidar() -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = [0.1, 0.2, 0.9]
    return matrix


def wall_depth(index: int) -> np.ndarray:
    """Return (H, W) the depth of a wall whose left half is at 2 + index and right half at 4 m."""
    depth_m = np.full((CAMERA.height, CAMERA.width), 4.0, np.float32)
    depth_m[:, : CAMERA.width // 2] = 2.0 + index
    return depth_m


def cloud_of(depth_m: np.ndarray, lidar_from_camera: np.ndarray) -> np.ndarray:
    """Return the structured cloud that a LiDAR would measure of this depth image."""
    points = depth_to_points(depth_m, CAMERA).reshape(-1, 3).astype(np.float64)
    moved = points @ lidar_from_camera[:3, :3].T + lidar_from_camera[:3, 3]
    cloud = np.zeros(len(moved), [(name, np.float32) for name in "xyz"])
    for column, name in enumerate("xyz"):
        cloud[name] = moved[:, column]
    return cloud
