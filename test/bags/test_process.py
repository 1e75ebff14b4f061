"""A processed bag: headers, depth and cloud agree; bad frames and damage cost only themselves."""

from __future__ import annotations

import logging
import sqlite3

import numpy as np
import pytest

from mono_depth_ros.bags.messages import camera_info_message
from mono_depth_ros.bags.process import (
    CAMERA_INFO_TOPIC,
    DEPTH_TOPIC,
    POINTS_TOPIC,
    ProcessConfig,
    process_bag,
)
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.decoding import (
    camera_info_to_intrinsics,
    image_to_depth,
    point_cloud_fields,
)
from mono_depth_ros.errors import BagError
from mono_depth_ros.geometry import Intrinsics, project_points

CAMERA = Intrinsics(30.0, 32.0, 15.5, 9.5, 32, 20)
START_NS = 1_776_863_762_100_071_637


def red_is_depth(rgb, camera):
    """A predictor whose answer can be told from the image: red / 10 metres, 0 is unknown."""
    assert camera == CAMERA
    depth_m = rgb[..., 0].astype(np.float32) / 10
    depth_m[depth_m == 0] = np.nan
    return depth_m


def write_input(path, sizes=((20, 32),) * 3):
    rng = np.random.default_rng(0)
    images = []
    with BagWriter(path) as writer:
        writer.write_transforms("/tf_static", START_NS, [("base_link", "eye", np.eye(4))])
        for i, size in enumerate(sizes):
            stamp_ns = START_NS + i * 100_000_007
            images.append((stamp_ns, rng.integers(0, 255, (*size, 3), np.uint8)))
            writer.write_image("/camera/image_raw", stamp_ns, "eye", images[-1][1])
            writer.write_camera_info("/camera/camera_info", stamp_ns, "eye", CAMERA)
    return images


def read(path, topic):
    with BagReader(path) as reader:
        return [(log_time, message) for _, log_time, message in reader.messages([topic])]


def test_every_frame_keeps_its_header_and_its_pixels(tmp_path):
    images = write_input(tmp_path / "in")
    assert process_bag(tmp_path / "in", tmp_path / "out", red_is_depth) == {"written": 3}
    depths, infos, clouds = (
        read(tmp_path / "out", topic) for topic in (DEPTH_TOPIC, CAMERA_INFO_TOPIC, POINTS_TOPIC)
    )
    for (stamp_ns, rgb), *results in zip(images, depths, infos, clouds, strict=True):
        for log_time, message in results:
            assert log_time == stamp_ns
            assert message.header.stamp.sec * 10**9 + message.header.stamp.nanosec == stamp_ns
            assert message.header.frame_id == "eye"
        (_, depth), (_, info), (_, cloud) = results
        assert camera_info_to_intrinsics(info) == CAMERA
        expected = red_is_depth(rgb, CAMERA)
        np.testing.assert_array_equal(image_to_depth(depth), expected)
        assert (cloud.height, cloud.width, cloud.point_step) == (20, 32, 16)
        fields = point_cloud_fields(cloud)
        z_m = fields["z"].reshape(20, 32)
        np.testing.assert_array_equal(z_m, expected)
        xyz = np.column_stack([fields[axis].ravel() for axis in "xyz"])
        u_px, v_px, _ = project_points(xyz, CAMERA)
        v, u = np.indices((20, 32))
        seen = np.isfinite(xyz[:, 2])
        np.testing.assert_allclose(u_px[seen], u.ravel()[seen], atol=1e-2)
        np.testing.assert_allclose(v_px[seen], v.ravel()[seen], atol=1e-2)
    assert len(read(tmp_path / "out", "/tf_static")) == 1


def test_input_can_be_copied_and_clouds_left_out(tmp_path):
    write_input(tmp_path / "in")
    config = ProcessConfig(points=False, copy_input=True, storage="sqlite3")
    process_bag(tmp_path / "in", tmp_path / "out", red_is_depth, config)
    with BagReader(tmp_path / "in") as before, BagReader(tmp_path / "out") as after:
        assert set(after.topics) == {*before.topics, DEPTH_TOPIC, CAMERA_INFO_TOPIC}
        copied = [record for record in after.raw_messages() if record[0] in before.topics]
        assert sorted(copied) == sorted(before.raw_messages())


def test_a_frame_of_another_size_is_left_out_and_named(tmp_path, caplog):
    write_input(tmp_path / "in", [(20, 32), (10, 32), (20, 32)])

    def predictor(rgb, camera):
        if rgb.shape[:2] != (camera.height, camera.width):
            from mono_depth_ros.errors import ShapeError

            raise ShapeError(f"image is {rgb.shape}")
        return red_is_depth(rgb, camera)

    with caplog.at_level(logging.WARNING):
        outcomes = process_bag(tmp_path / "in", tmp_path / "out", predictor)
    assert outcomes == {"written": 2, "ShapeError": 1}
    assert "left out: image is (10, 32, 3)" in caplog.text


def test_what_lies_before_the_damage_is_written(tmp_path):
    write_input(tmp_path / "in", [(20, 32)] * 40)
    (file,) = (tmp_path / "in").glob("*.mcap")
    data = file.read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(BagError, match=r"holds \d+ readable frames"):
        process_bag(cut, tmp_path / "out", red_is_depth)
    with BagReader(cut) as reader, pytest.raises(BagError):
        images = 0
        for _ in reader.messages(["/camera/image_raw"]):
            images += 1
    assert 0 < images < 40
    assert len(read(tmp_path / "out", DEPTH_TOPIC)) == images


def test_a_bag_without_camera_is_refused_before_anything_is_written(tmp_path):
    with BagWriter(tmp_path / "in") as writer:
        writer.write_transforms("/tf_static", START_NS, [("a", "b", np.eye(4))])
    with pytest.raises(BagError, match="no camera image"):
        process_bag(tmp_path / "in", tmp_path / "out", red_is_depth)
    assert not (tmp_path / "out").exists()


def test_topics_of_unknown_types_are_not_copied_and_named_once(tmp_path, caplog):
    with BagWriter(tmp_path / "in", "sqlite3") as writer:
        for i in range(2):
            stamp_ns = START_NS + i
            image = np.full((20, 32, 3), 50, np.uint8)
            writer.write_image("/camera/image_raw", stamp_ns, "eye", image)
            writer.write_camera_info("/camera/camera_info", stamp_ns, "eye", CAMERA)
            cdr = b"\0\1\0\0\5"
            writer.write_raw("/odd", "my_msgs/msg/Odd", stamp_ns, cdr, definition="uint8 a")
    (file,) = (tmp_path / "in").glob("*.db3")
    connection = sqlite3.connect(file)
    # Humble and older record no definitions.
    connection.executescript("DELETE FROM message_definitions; UPDATE schema SET schema_version=3")
    connection.close()
    config = ProcessConfig(copy_input=True)
    with caplog.at_level(logging.WARNING):
        outcomes = process_bag(file, tmp_path / "out", red_is_depth, config)
    assert outcomes == {"written": 2}
    assert caplog.text.count("/odd is not copied") == 1
    with BagReader(tmp_path / "out") as reader:
        assert "/odd" not in reader.topics
        assert reader.counts["/camera/image_raw"] == 2


@pytest.mark.parametrize(("rectified", "fx"), [(True, 30.0), (False, 33.0)])
def test_unrectified_images_take_k(tmp_path, rectified, fx):
    info = camera_info_message(START_NS, "eye", CAMERA)
    info.k[0] = 33.0
    with BagWriter(tmp_path / "in") as writer:
        writer.write_image("/camera/image_raw", START_NS, "eye", np.ones((20, 32, 3), np.uint8))
        writer.write_message("/calibration", START_NS, info)
    seen = []

    def predictor(rgb, camera):
        seen.append(camera.fx)
        return np.ones((20, 32), np.float32)

    config = ProcessConfig(camera_info_topic="/calibration", rectified=rectified)
    assert process_bag(tmp_path / "in", tmp_path / "out", predictor, config) == {"written": 1}
    assert seen == [fx]
