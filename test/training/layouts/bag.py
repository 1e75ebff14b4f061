"""A small recording of a camera and a LiDAR that drive towards a wall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from layouts.stereo2015 import picture_of, street_depth

from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.geometry import Intrinsics, depth_to_points

START_NS = 1_776_863_762_100_071_637
PERIOD_NS = 500_000_000
# The LiDAR's x forward, y left, z up, in the camera's optical frame.
CAMERA_FROM_LIDAR = np.array([[0, -1, 0, 0.1], [0, 0, -1, -0.3], [1, 0, 0, -0.2], [0, 0, 0, 1.0]])


def write_bag(
    path: Path, frames: int = 8, size: tuple[int, int] = (96, 160), seed: int = 0
) -> Path:
    """Write a rosbag2 whose LiDAR measures every second pixel of every third row.

    Args:
        path: folder to create.
        frames: images, and sweeps 5 ms after them.
        size: (height, width) of the images.
        seed: of the first frame; each has one more than the one before it.
    """
    height, width = size
    camera = Intrinsics(0.6 * width, 0.6 * width, width / 2, height / 2, width, height)
    rotation, translation = CAMERA_FROM_LIDAR[:3, :3], CAMERA_FROM_LIDAR[:3, 3]
    with BagWriter(path) as writer:
        writer.write_transforms("/tf_static", START_NS, [("camera", "lidar", CAMERA_FROM_LIDAR)])
        for number in range(frames):
            stamp_ns = START_NS + number * PERIOD_NS
            depth_m = street_depth(height, width, seed + number)
            rgb = picture_of(depth_m, seed + number)
            writer.write_image("/camera/image_raw", stamp_ns, "camera", rgb)
            writer.write_camera_info("/camera/camera_info", stamp_ns, "camera", camera)
            seen = depth_to_points(depth_m, camera)[::3, ::2].reshape(-1, 3).astype(np.float64)
            points = np.zeros(len(seen), [(name, np.float32) for name in "xyz"])
            for name, column in zip("xyz", ((seen - translation) @ rotation).T, strict=True):
                points[name] = column
            writer.write_points("/lidar/points", stamp_ns + 5_000_000, "lidar", points)
    return path
