"""Small recordings of the wall scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wall_scene import (
    BODY_FROM_OPTICAL,
    CAMERA,
    PERIOD_NS,
    START_NS,
    base_from_lidar,
    cloud_of,
    wall_depth,
)

from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.geometry import Intrinsics, invert_transform


@pytest.fixture
def make_bag(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a recording; keyword arguments leave parts out or add some."""

    def make(
        name: str = "bag",
        *,
        frames: int = 4,
        lidar: bool = True,
        transforms: bool = True,
        lidar_delay_ns: int = 10_000_000,
        camera: Intrinsics | None = CAMERA,
        extra: Callable[[BagWriter, int], Any] = lambda writer, stamp_ns: None,
        storage: str = "mcap",
    ) -> Path:
        base_from_camera = BODY_FROM_OPTICAL.copy()
        base_from_camera[:3, 3] = [0.3, 0.0, 0.8]
        lidar_from_camera = invert_transform(base_from_lidar()) @ base_from_camera
        with BagWriter(tmp_path / name, storage) as writer:
            if transforms:
                links = [
                    ("base_link", "lidar", base_from_lidar()),
                    ("base_link", "camera", base_from_camera),
                ]
                writer.write_transforms("/tf_static", START_NS, links)
            for index in range(frames):
                stamp_ns = START_NS + index * PERIOD_NS
                rgb = np.full((CAMERA.height, CAMERA.width, 3), index, np.uint8)
                writer.write_image("/camera/image_raw", stamp_ns, "camera", rgb)
                if camera is not None:
                    writer.write_camera_info("/camera/camera_info", stamp_ns, "camera", camera)
                if lidar:
                    cloud = cloud_of(wall_depth(index), lidar_from_camera)
                    delayed_ns = stamp_ns + lidar_delay_ns
                    writer.write_points("/lidar/points", delayed_ns, "lidar", cloud)
                writer.write_depth("/ground_truth/depth", stamp_ns, "camera", wall_depth(index))
                extra(writer, stamp_ns)
        return tmp_path / name

    return make
