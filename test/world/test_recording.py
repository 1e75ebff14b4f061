"""World bags, read back with the rosbags library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mono_depth_ros.bags.world import write_world_bag
from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.geometry import transform_from_quaternion
from mono_depth_ros.world import make_scene
from mono_depth_ros.world.recording import FIRST_STAMP_NS, RecordingConfig, moments

rosbags_reader = pytest.importorskip("rosbags.highlevel")

TOPICS = {
    "/camera/image_raw": "sensor_msgs/msg/Image",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/lidar/points": "sensor_msgs/msg/PointCloud2",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/ground_truth/depth": "sensor_msgs/msg/Image",
}


def stamp_ns(header) -> int:
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def matrix(transform) -> np.ndarray:
    t, q = transform.transform.translation, transform.transform.rotation
    return transform_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_bag_holds_what_the_sensors_saw(tmp_path: Path, storage: str) -> None:
    config = RecordingConfig("rooms", 4, 3, 10.0, "16", (48, 64), "cpu", 1)
    expected = list(moments(config))
    assert list(write_world_bag(tmp_path / "bag", config, storage)) == [
        FIRST_STAMP_NS + k * 100_000_000 for k in range(3)
    ]
    received: dict[str, list] = {topic: [] for topic in TOPICS}
    with rosbags_reader.AnyReader([tmp_path / "bag"]) as reader:
        assert {c.topic: c.msgtype for c in reader.connections} == TOPICS
        for connection, log_ns, raw in reader.messages():
            received[connection.topic].append((log_ns, reader.deserialize(raw, connection.msgtype)))
    assert [len(received[topic]) for topic in TOPICS] == [3, 3, 3, 3, 1, 3]
    scene = make_scene("rooms", 4)
    static = {t.child_frame_id: t for t in received["/tf_static"][0][1].transforms}
    assert {t.header.frame_id for t in static.values()} == {"base_link"}
    np.testing.assert_allclose(
        matrix(static["camera_optical_frame"]), scene.base_from_camera, atol=1e-9
    )
    np.testing.assert_allclose(matrix(static["lidar"]), scene.base_from_lidar, atol=1e-9)
    for k, moment in enumerate(expected):
        _, image = received["/camera/image_raw"][k]
        assert (
            stamp_ns(image.header) == moment.stamp_ns
            and image.header.frame_id == "camera_optical_frame"
        )
        assert image.encoding == "rgb8" and bytes(image.data) == moment.frame.rgb.tobytes()
        _, info = received["/camera/camera_info"][k]
        np.testing.assert_allclose(info.k.reshape(3, 3), moment.frame.camera.matrix)
        _, depth = received["/ground_truth/depth"][k]
        assert depth.encoding == "32FC1" and bytes(depth.data) == moment.frame.depth_m.tobytes()
        _, cloud = received["/lidar/points"][k]
        assert cloud.header.frame_id == "lidar" and cloud.width * cloud.height == len(moment.points)
        _, tf = received["/tf"][k]
        assert (tf.transforms[0].header.frame_id, tf.transforms[0].child_frame_id) == (
            "odom",
            "base_link",
        )
        np.testing.assert_allclose(matrix(tf.transforms[0]), moment.odom_from_base, atol=1e-9)


def test_classes_are_recorded_on_request(tmp_path: Path) -> None:
    command = ["world", str(tmp_path / "bag"), "--frames", "2", "--size", "32x24", "--labels"]
    assert main([*command, "--lidar", "16", "--device", "cpu", "--workers", "1"]) == 0
    config = RecordingConfig("rooms", 0, 2, 10.0, "16", (24, 32), "cpu", 1)
    with rosbags_reader.AnyReader([tmp_path / "bag"]) as reader:
        chosen = [c for c in reader.connections if c.topic == "/ground_truth/labels"]
        found = [
            reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages(connections=chosen)
        ]
    for message, moment in zip(found, moments(config), strict=True):
        assert message.encoding == "mono8" and stamp_ns(message.header) == moment.stamp_ns
        assert bytes(message.data) == moment.frame.labels.tobytes()


def test_impossible_recordings_are_refused() -> None:
    for wrong in ({"frames": 0}, {"rate_hz": 0.0}, {"lidar": "32"}):
        with pytest.raises(ConfigError):
            RecordingConfig(**wrong)


def test_command_writes_a_bag_and_a_dataset(tmp_path: Path, capsys) -> None:
    common = ["--size", "32x24", "--device", "cpu", "--workers", "1"]
    bag = ["world", str(tmp_path / "bag"), "--frames", "2", "--lidar", "16", "--kind", "streets"]
    assert main([*bag, *common]) == 0
    assert (tmp_path / "bag/metadata.yaml").exists()
    data = ["world", str(tmp_path / "data"), "--dataset", "--seeds", "5:7"]
    assert main([*data, "--frames-per-scene", "2", *common]) == 0
    assert len(list((tmp_path / "data/rgb").glob("*.jpg"))) == 4
    assert "4 frames of 2 rooms" in capsys.readouterr().out


def test_command_refuses_what_it_cannot_do(tmp_path: Path, capsys) -> None:
    out = str(tmp_path / "out")
    assert main(["world", out, "--kind", "caves"]) == 1
    assert main(["world", out, "--dataset", "--seeds", "4:4"]) == 1
    assert main(["world", out, "--frames", "0"]) == 1
    assert not (tmp_path / "out").exists()
    assert "caves" in capsys.readouterr().err
    for wrong in (["--size", "640"], ["--seeds", "3"]):
        with pytest.raises(SystemExit):
            main(["world", out, *wrong])
