"""Byte for byte the same as cv_bridge and sensor_msgs_py, where a ROS 2 installation has them.

Neither has a wheel, so without a sourced ROS 2 these tests are skipped.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mono_depth_ros.decoding import (
    compressed_image_to_rgb,
    image_to_depth,
    image_to_rgb,
    point_cloud_fields,
    point_cloud_to_xyz,
)

pytestmark = pytest.mark.ros


@pytest.fixture
def bridge():
    reason = "cv_bridge is not installed; source a ROS 2 that has it"
    return pytest.importorskip("cv_bridge", reason=reason, exc_type=ImportError).CvBridge()


@pytest.fixture
def point_cloud2():
    reason = "sensor_msgs_py is not installed; source a ROS 2 that has it"
    return pytest.importorskip("sensor_msgs_py.point_cloud2", reason=reason, exc_type=ImportError)


def image_message(encoding, channels, dtype, height=6, width=8):
    from sensor_msgs.msg import Image

    shape = (height, width, channels)
    limit = 256 if dtype == np.uint8 else 65536
    pixels = np.random.default_rng(0).integers(0, limit, shape).astype(dtype)
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=width * channels * pixels.itemsize,
        data=pixels.tobytes(),
    )


@pytest.mark.parametrize(
    ("encoding", "channels"),
    [
        ("rgb8", 3),
        ("bgr8", 3),
        ("rgba8", 4),
        ("bgra8", 4),
        ("mono8", 1),
        ("bayer_rggb8", 1),
        ("bayer_bggr8", 1),
        ("bayer_gbrg8", 1),
        ("bayer_grbg8", 1),
        ("yuv422", 2),
        ("yuv422_yuy2", 2),
    ],
)
def test_pictures_of_eight_bits(bridge, encoding, channels):
    message = image_message(encoding, channels, np.uint8)
    expected = bridge.imgmsg_to_cv2(message, "rgb8")
    np.testing.assert_array_equal(image_to_rgb(message), expected)


def test_sixteen_bits_within_one(bridge):
    # cv_bridge scales by 255 / 65535 and rounds; the high byte differs from that by at most 1.
    message = image_message("mono16", 1, np.uint16)
    expected = bridge.imgmsg_to_cv2(message, "mono8").astype(int)
    assert np.abs(image_to_rgb(message)[..., 0] - expected).max() <= 1


def test_depth_in_millimetres(bridge):
    message = image_message("16UC1", 1, np.uint16)
    expected = bridge.imgmsg_to_cv2(message, "passthrough") / np.float32(1000)
    depth_m = image_to_depth(message)
    np.testing.assert_array_equal(np.nan_to_num(depth_m), expected.astype(np.float32))


def test_compressed_picture(bridge):
    from sensor_msgs.msg import CompressedImage

    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()
    message = CompressedImage(format="bgr8; jpeg compressed bgr8", data=data)
    expected = bridge.compressed_imgmsg_to_cv2(message, "rgb8")
    np.testing.assert_array_equal(compressed_image_to_rgb(message), expected)


def test_points(point_cloud2):
    from sensor_msgs.msg import PointCloud2, PointField

    dtype = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2")])
    stored = np.zeros(20, dtype)
    for seed, name in enumerate(dtype.names):
        stored[name] = np.random.default_rng(seed).integers(0, 99, 20)
    kinds = {"x": 7, "y": 7, "z": 7, "ring": 4}
    message = PointCloud2(
        height=4,
        width=5,
        fields=[
            PointField(name=name, offset=dtype.fields[name][1], datatype=kind, count=1)
            for name, kind in kinds.items()
        ],
        point_step=14,
        row_step=70,
        data=stored.tobytes(),
    )
    expected = point_cloud2.read_points(message)
    for name, values in point_cloud_fields(message).items():
        np.testing.assert_array_equal(values, expected[name])
    xyz = point_cloud_to_xyz(message)
    np.testing.assert_array_equal(xyz, np.stack([expected[name] for name in "xyz"], axis=1))
