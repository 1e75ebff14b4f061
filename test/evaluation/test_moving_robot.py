"""A recording of a robot that drives and turns: sweeps are moved to the image's stamp."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mono_depth_ros.bags.messages import TYPESTORE, _header, stamp_ns
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import BagError, ConfigError
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frames import Recording
from mono_depth_ros.geometry import Intrinsics, invert_transform, quaternion_from_matrix
from mono_depth_ros.world.scene import body_pose, optical_pose

CAMERA = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
START_NS, SWEEP_NS, MS = 1_700_000_000_000_000_000, 100_000_000, 1_000_000
# The image is taken while its sweep is under way.
IMAGE_DELAY_NS = 40 * MS
BASE_FROM_CAMERA = optical_pose((0.3, 0.0, 0.8))
BASE_FROM_LIDAR = body_pose((0.0, 0.1, 1.2), 0.3)
DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("time", "<f4")])


def odom_from_base(time_s: float) -> np.ndarray:
    """10 m/s along a circle of 20 m: half a radian per second."""
    return body_pose(
        (20 * np.sin(0.5 * time_s), 20 * (1 - np.cos(0.5 * time_s)), 0.0), 0.5 * time_s
    )


def landmarks() -> np.ndarray:
    """Points of the world, odom frame, ahead of where the robot drives."""
    rng = np.random.default_rng(0)
    return np.column_stack(
        (rng.uniform(12, 30, 400), rng.uniform(-8, 16, 400), rng.uniform(0, 3, 400))
    )


def sweep(start_ns: int) -> np.ndarray:
    """The landmarks as the moving LiDAR measures them, one after the other."""
    points = landmarks()
    cloud = np.zeros(len(points), DTYPE)
    cloud["time"] = np.linspace(0.0, 0.0999, len(points))
    for k, point in enumerate(points):
        time_s = (start_ns - START_NS) / 1e9 + float(cloud["time"][k])
        lidar_from_odom = invert_transform(odom_from_base(time_s) @ BASE_FROM_LIDAR)
        cloud["x"][k], cloud["y"][k], cloud["z"][k] = (lidar_from_odom @ [*point, 1.0])[:3]
    return cloud


def odometry(pose_ns: int, pose: np.ndarray):
    types = TYPESTORE.types
    x, y, z, w = map(float, quaternion_from_matrix(pose[:3, :3]))
    zero = types["geometry_msgs/msg/Vector3"](x=0.0, y=0.0, z=0.0)
    return types["nav_msgs/msg/Odometry"](
        header=_header(pose_ns, "odom"),
        child_frame_id="base_link",
        pose=types["geometry_msgs/msg/PoseWithCovariance"](
            pose=types["geometry_msgs/msg/Pose"](
                position=types["geometry_msgs/msg/Point"](*map(float, pose[:3, 3])),
                orientation=types["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w),
            ),
            covariance=np.zeros(36),
        ),
        twist=types["geometry_msgs/msg/TwistWithCovariance"](
            twist=types["geometry_msgs/msg/Twist"](linear=zero, angular=zero),
            covariance=np.zeros(36),
        ),
    )


def make_bag(path: Path, poses: str, frames: int = 4, last_pose_ms: int = 700) -> Path:
    """Write sweeps, images 40 ms later, and poses every 5 ms on /tf or on /odom."""
    with BagWriter(path) as writer:
        links = [("base_link", "lidar", BASE_FROM_LIDAR), ("base_link", "camera", BASE_FROM_CAMERA)]
        writer.write_transforms("/tf_static", START_NS, links)
        for step in range(-20, last_pose_ms // 5):
            pose_ns = START_NS + 5 * MS * step
            pose = odom_from_base(5e-3 * step)
            if poses == "tf":
                writer.write_transforms("/tf", pose_ns, [("odom", "base_link", pose)])
            elif poses == "odometry":
                writer.write_message("/odom", pose_ns, odometry(pose_ns, pose))
        for index in range(frames):
            start_ns = START_NS + index * SWEEP_NS
            image_ns = start_ns + IMAGE_DELAY_NS
            writer.write_points("/lidar/points", start_ns, "lidar", sweep(start_ns))
            rgb = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
            writer.write_image("/camera/image_raw", image_ns, "camera", rgb)
            writer.write_camera_info("/camera/camera_info", image_ns, "camera", CAMERA)
    return path


def in_camera(frame) -> np.ndarray:
    """The points of a frame in the optical frame."""
    points = np.column_stack((frame.lidar_points_m, np.ones(len(frame.lidar_points_m))))
    return (frame.camera_from_lidar @ points.T).T[:, :3]


def truth(frame) -> np.ndarray:
    """The landmarks in the optical frame at the image's stamp."""
    time_s = (frame.stamp_ns - START_NS) / 1e9
    camera_from_odom = invert_transform(odom_from_base(time_s) @ BASE_FROM_CAMERA)
    return (camera_from_odom @ np.column_stack((landmarks(), np.ones(400))).T).T[:, :3]


@pytest.mark.parametrize("poses", ["tf", "odometry"])
def test_every_point_is_moved_to_the_stamp_of_the_image(tmp_path, poses):
    recording = Recording(make_bag(tmp_path / "bag", poses), FrameConfig())
    assert recording.rig.fixed_frame == "odom"
    frames = list(recording.frames(with_images=False))
    assert len(frames) == 4
    for frame in frames:
        # Poses every 5 ms on a circle, and float32: less than a millimetre.
        np.testing.assert_allclose(in_camera(frame), truth(frame), atol=1e-3)
    # Taken as they are, the points are off by half a metre and more.
    plain = Recording(tmp_path / "bag", FrameConfig(fixed_frame="none"))
    assert plain.rig.fixed_frame == ""
    frame = next(iter(plain.frames(with_images=False)))
    assert np.linalg.norm(in_camera(frame) - truth(frame), axis=1).max() > 0.5


def test_sweeps_are_merged(tmp_path):
    bag = make_bag(tmp_path / "bag", "tf")
    frames = list(Recording(bag, FrameConfig(sweeps=3)).frames(with_images=False))
    assert [len(frame.lidar_points_m) for frame in frames] == [1200] * 4
    for frame in frames:
        for part in np.split(in_camera(frame), 3):
            np.testing.assert_allclose(part, truth(frame), atol=1e-3)


def test_without_motion_nothing_is_moved(tmp_path):
    bag = make_bag(tmp_path / "bag", "none")
    recording = Recording(bag, FrameConfig())
    assert recording.rig.fixed_frame == ""
    frame = next(iter(recording.frames(with_images=False)))
    cloud = sweep(START_NS)
    np.testing.assert_array_equal(frame.lidar_points_m[:, 0], cloud["x"])
    with pytest.raises(BagError, match="no transform between 'odom' and 'lidar'"):
        Recording(bag, FrameConfig(fixed_frame="odom"))
    with pytest.raises(BagError, match="has no nav_msgs/msg/Odometry on /odom; it has none"):
        Recording(bag, FrameConfig(odometry_topic="/odom"))
    with pytest.raises(BagError, match="3 sweeps of one image need a fixed frame"):
        Recording(bag, FrameConfig(sweeps=3))


def test_frames_without_a_pose_are_left_out_and_named(tmp_path):
    """Poses end at 215 ms; one 100 ms old still counts."""
    bag = make_bag(tmp_path / "bag", "tf", last_pose_ms=220)
    recording = Recording(bag, FrameConfig())
    assert len(list(recording.frames(with_images=False))) == 3
    (reason,) = recording.unreadable.values()
    assert "its sweep has no pose" in reason and "odom -> base_link" in reason


def test_settings_that_do_not_go_together():
    with pytest.raises(ConfigError, match="1 where fixed_frame is none"):
        FrameConfig(sweeps=2, fixed_frame="none")
    with pytest.raises(ConfigError, match="must be 1 or more"):
        FrameConfig(sweeps=0)


def test_the_command_says_what_was_done_to_the_sweeps(tmp_path):
    bag = make_bag(tmp_path / "bag", "tf")
    with BagReader(bag) as reader, BagWriter(tmp_path / "depth") as writer:
        for _, _, message in reader.messages(["/camera/image_raw"]):
            depth_m = np.full((CAMERA.height, CAMERA.width), 10.0, np.float32)
            writer.write_depth("/depth", stamp_ns(message.header), "camera", depth_m)
    arguments = ["evaluate", str(bag), "--depth-topic", "/depth", "--depth-bag"]
    arguments += [str(tmp_path / "depth"), "--out", str(tmp_path / "report")]
    for more, expected in (
        ([], "moved to the image's stamp in frame odom"),
        (["--sweeps", "3"], "3 per image, moved to the image's stamp in frame odom"),
        (["--fixed-frame", "none"], "as recorded"),
    ):
        assert main([*arguments, *more]) == 0
        scores = json.loads((tmp_path / "report/scores.json").read_text())
        assert scores["provenance"]["sweeps"] == expected
        assert scores["provenance"]["prediction taken"] == "at every LiDAR point"
    assert main([*arguments, "--odometry-topic", "/odom"]) == 1
