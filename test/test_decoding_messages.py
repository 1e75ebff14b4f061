"""The decoder reads real rclpy messages, rosbags messages and their serialised bytes alike."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mono_depth_ros.decoding import (
    camera_info_to_intrinsics,
    compressed_image_to_rgb,
    image_to_depth,
    image_to_rgb,
    point_cloud_fields,
    point_cloud_to_xyz,
)
from mono_depth_ros.errors import CalibrationError, DecodingError
from mono_depth_ros.geometry import Intrinsics


class RclpyMessages:
    """Builds messages of the rclpy Python classes."""

    def __init__(self):
        self.msg = pytest.importorskip("sensor_msgs.msg", reason="needs the ROS message packages")

    def __call__(self, name, /, **values):
        message = getattr(self.msg, name)()
        for key, value in values.items():
            setattr(message, key, value.tobytes() if isinstance(value, np.ndarray) else value)
        return message


class RosbagsMessages:
    """Builds messages as rosbags reads them from a bag: encoded to CDR and decoded again."""

    def __init__(self):
        typesys = pytest.importorskip("rosbags.typesys", reason="needs rosbags")
        self.store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)

    def __call__(self, name, /, **values):
        types = self.store.types
        stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=2)
        if name != "PointField":
            values["header"] = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
        if name == "CameraInfo":
            values = {"distortion_model": "", "d": np.zeros(0), "r": np.eye(3).ravel()} | values
            values |= {key: np.array(values[key], np.float64) for key in "kp"}
            values["roi"] = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            values |= {"binning_x": 0, "binning_y": 0}
        typename = f"sensor_msgs/msg/{name}"
        message = types[typename](**values)
        if name == "PointField":
            return message
        return self.store.deserialize_cdr(self.store.serialize_cdr(message, typename), typename)


@pytest.fixture(
    params=[pytest.param(RclpyMessages, marks=pytest.mark.ros), RosbagsMessages],
    ids=["rclpy", "rosbags"],
)
def make(request):
    return request.param()


def test_image(make):
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    values = {"height": 2, "width": 4, "is_bigendian": 0, "step": 12, "data": pixels.reshape(-1)}
    np.testing.assert_array_equal(image_to_rgb(make("Image", encoding="rgb8", **values)), pixels)
    bgr = image_to_rgb(make("Image", encoding="bgr8", **values))
    np.testing.assert_array_equal(bgr, pixels[..., ::-1])


def test_empty_image(make):
    values = {"height": 0, "width": 0, "is_bigendian": 0, "step": 0, "data": np.zeros(0, np.uint8)}
    with pytest.raises(DecodingError, match="image is empty"):
        image_to_rgb(make("Image", encoding="rgb8", **values))


def test_compressed_image(make):
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    data = cv2.imencode(".png", pixels[..., ::-1])[1].reshape(-1)
    rgb = compressed_image_to_rgb(
        make("CompressedImage", format="rgb8; png compressed bgr8", data=data)
    )
    np.testing.assert_array_equal(rgb, pixels)


def test_depth(make):
    data = np.frombuffer(np.array([1.25, np.nan, 0], "<f4").tobytes(), np.uint8)
    message = make("Image", height=1, width=3, encoding="32FC1", is_bigendian=0, step=12, data=data)
    np.testing.assert_array_equal(image_to_depth(message), [[1.25, np.nan, np.nan]])


def test_camera_info(make):
    k = [500.0, 0, 319.5, 0, 510.0, 239.5, 0, 0, 1]
    filled = make("CameraInfo", width=640, height=480, k=k, p=[0.0] * 12)
    assert camera_info_to_intrinsics(filled) == Intrinsics(500, 510, 319.5, 239.5, 640, 480)
    empty = make("CameraInfo", width=640, height=480, k=[0.0] * 9, p=[0.0] * 12)
    with pytest.raises(CalibrationError, match="not calibrated"):
        camera_info_to_intrinsics(empty)


def test_point_cloud(make):
    dtype = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("ring", "<u2")])
    stored = np.array([(1, 2, 3, 4), (5, 6, 7, 8)], dtype)
    fields = [
        make("PointField", name=name, offset=offset, datatype=datatype, count=1)
        for name, offset, datatype in (("x", 0, 7), ("y", 4, 7), ("z", 8, 7), ("ring", 12, 4))
    ]
    message = make(
        "PointCloud2",
        height=1,
        width=2,
        fields=fields,
        is_bigendian=False,
        point_step=14,
        row_step=28,
        data=np.frombuffer(stored.tobytes(), np.uint8),
        is_dense=True,
    )
    np.testing.assert_array_equal(point_cloud_to_xyz(message), [[1, 2, 3], [5, 6, 7]])
    np.testing.assert_array_equal(point_cloud_fields(message)["ring"], [4, 8])


def test_camera_info_with_the_capital_letters_of_ros_1():
    typesys = pytest.importorskip("rosbags.typesys", reason="needs rosbags")
    types = typesys.get_typestore(typesys.Stores.ROS1_NOETIC).types
    stamp = types["builtin_interfaces/msg/Time"](sec=1, nanosec=2)
    message = types["sensor_msgs/msg/CameraInfo"](
        header=types["std_msgs/msg/Header"](seq=0, stamp=stamp, frame_id="camera"),
        height=2,
        width=4,
        distortion_model="",
        D=np.zeros(0),
        K=np.array([5.0, 0, 1, 0, 6, 0.5, 0, 0, 1]),
        R=np.zeros(9),
        P=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )
    assert camera_info_to_intrinsics(message) == Intrinsics(5, 6, 1, 0.5, 4, 2)
