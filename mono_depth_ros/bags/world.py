"""The procedural world as a recording: camera, LiDAR, transforms and exact depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.world.catalogue import make_scene
from mono_depth_ros.world.recording import FIRST_STAMP_NS, RecordingConfig, moments

ODOM, BASE, CAMERA, LIDAR = "odom", "base_link", "camera_optical_frame", "lidar"


def write_world_bag(path: Path, config: RecordingConfig, storage: str = "mcap") -> Iterator[int]:
    """Write a rosbag2, yielding each frame's stamp in nanoseconds once it is in the bag.

    The bag gets its name when the iterator is exhausted.

    Raises:
        BagError: the bag cannot be written.
        DeviceError: the device does not exist.
    """
    scene = make_scene(config.kind, config.seed)
    mounting = [(BASE, CAMERA, scene.base_from_camera), (BASE, LIDAR, scene.base_from_lidar)]
    with BagWriter(path, storage) as writer:
        writer.write_transforms("/tf_static", FIRST_STAMP_NS, mounting)
        for moment in moments(config):
            stamp_ns, frame = moment.stamp_ns, moment.frame
            writer.write_transforms("/tf", stamp_ns, [(ODOM, BASE, moment.odom_from_base)])
            writer.write_camera_info("/camera/camera_info", stamp_ns, CAMERA, frame.camera)
            writer.write_image("/camera/image_raw", stamp_ns, CAMERA, frame.rgb)
            writer.write_points("/lidar/points", stamp_ns, LIDAR, moment.points)
            writer.write_depth("/ground_truth/depth", stamp_ns, CAMERA, frame.depth_m)
            if config.labels:
                writer.write_labels("/ground_truth/labels", stamp_ns, CAMERA, frame.labels)
            yield stamp_ns
