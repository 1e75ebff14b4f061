"""The fast messages and those of the usual way are the same messages."""

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from ros_support import random_rgb
from std_msgs.msg import Header

from mono_depth_ros.decoding import point_cloud_fields
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.ros.encoding import CloudEncoder, depth_to_image
from mono_depth_ros.ros.message_costs import (
    UsualCloud,
    measure_message_costs,
    usual_depth_image,
)

pytestmark = pytest.mark.ros

HEADER = Header(frame_id="camera_optical_frame")
DEPTH_M = np.random.default_rng(0).uniform(0.3, 80.0, (48, 64)).astype(np.float32)
DEPTH_M[::7, ::5] = np.nan


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


def test_depth_images_of_both_ways_are_equal():
    ours = over_the_wire(depth_to_image(DEPTH_M, HEADER))
    assert ours == over_the_wire(usual_depth_image(DEPTH_M, HEADER))


def test_clouds_of_both_ways_are_equal():
    camera = Intrinsics(50.0, 52.0, 31.0, 24.5, 64, 48)
    rgb = random_rgb(1, 48, 64)
    ours = over_the_wire(CloudEncoder(camera).encode(DEPTH_M, rgb, HEADER))
    usual = over_the_wire(UsualCloud(camera)(DEPTH_M, rgb, HEADER))
    for name in ("header", "height", "width", "fields", "point_step", "row_step", "is_dense"):
        assert getattr(ours, name) == getattr(usual, name), name
    a, b = point_cloud_fields(ours), point_cloud_fields(usual)
    for name in ("z", "rgb"):
        assert a[name].tobytes() == b[name].tobytes()
    for name in ("x", "y"):  # the order of the operations differs
        np.testing.assert_allclose(a[name], b[name], rtol=1e-6)


def test_the_measurement_names_both_ways():
    rows = measure_message_costs(48, 64)
    assert set(rows) == {
        f"{message}_message_{what}"
        for message in ("depth", "cloud")
        for what in ("ms", "usual_ms", "times_faster")
    }
    assert all(value > 0 for value in rows.values())
