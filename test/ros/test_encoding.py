"""Messages built from arrays, read back through the real serialisation."""

import struct

import numpy as np
import pytest
import torch
from rclpy.serialization import deserialize_message, serialize_message
from ros_support import make_camera_info, random_rgb, with_header
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from mono_depth_ros.coloring import DepthColorizer
from mono_depth_ros.decoding import image_to_depth, image_to_rgb, point_cloud_fields
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.ros.encoding import (
    CloudEncoder,
    camera_info_of_depth,
    depth_to_color_image,
    depth_to_image,
)

pytestmark = pytest.mark.ros

HEADER = Header(frame_id="camera_optical_frame")
HEADER.stamp.sec, HEADER.stamp.nanosec = 1_700_000_000, 123_456_789


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


def depth_with_holes(height, width, seed=0):
    depth_m = np.random.default_rng(seed).uniform(0.3, 80.0, (height, width)).astype(np.float32)
    depth_m[::7, ::5] = np.nan
    return depth_m


def test_depth_image_arrives_bit_for_bit():
    depth_m = depth_with_holes(48, 64)
    image = over_the_wire(depth_to_image(depth_m, HEADER))
    assert (image.height, image.width, image.encoding, image.step) == (48, 64, "32FC1", 256)
    assert image.is_bigendian == 0
    assert image.header == HEADER
    assert image_to_depth(image).tobytes() == depth_m.tobytes()


def test_depth_image_equals_one_built_through_the_setters():
    depth_m = depth_with_holes(5, 7)
    plain = Image(
        header=HEADER, height=5, width=7, encoding="32FC1", step=28, data=depth_m.tobytes()
    )
    assert over_the_wire(depth_to_image(depth_m, HEADER)) == over_the_wire(plain)


@pytest.mark.parametrize(
    "depth_m",
    [
        np.zeros((4, 5), np.float64),
        np.zeros((4, 5, 1), np.float32),
        np.zeros((4, 10), np.float32)[:, ::2],
    ],
)
def test_depth_of_another_layout_is_refused(depth_m):
    with pytest.raises(ShapeError, match="C-contiguous"):
        depth_to_image(depth_m, HEADER)


def test_cloud_of_two_pixels_by_hand():
    # Columns 0 and 1 of a camera with fx 2, fy 4, cx 0, cy 1 at row 0: x = u / 2 z, y = -1 / 4 z.
    encoder = CloudEncoder(Intrinsics(2.0, 4.0, 0.0, 1.0, 2, 1))
    rgb = np.array([[[255, 128, 1], [10, 20, 30]]], np.uint8)
    cloud = over_the_wire(encoder.encode(np.array([[8.0, np.nan]], np.float32), rgb, HEADER))
    assert bytes(cloud.data[:16]) == struct.pack("<3f4B", 0.0, -2.0, 8.0, 1, 128, 255, 0)
    assert np.isnan(np.frombuffer(cloud.data, "<f4")[4:7]).all()
    assert bytes(cloud.data[28:]) == bytes([30, 20, 10, 0])
    fields = [(field.name, field.offset, field.datatype, field.count) for field in cloud.fields]
    assert fields == [("x", 0, 7, 1), ("y", 4, 7, 1), ("z", 8, 7, 1), ("rgb", 12, 7, 1)]
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 2, 16, 32)
    assert not cloud.is_bigendian and not cloud.is_dense
    assert cloud.header == HEADER


@pytest.mark.parametrize(
    "camera",
    [
        Intrinsics(518.9, 519.5, 325.6, 253.7, 640, 480),
        Intrinsics(721.5, 721.5, 609.6, 172.9, 1242, 375),
    ],
    ids=["nyu", "kitti"],
)
def test_cloud_keeps_depth_bits_and_projects_back(camera):
    depth_m = depth_with_holes(camera.height, camera.width)
    rgb = random_rgb(3, camera.height, camera.width)
    rgb.flags.writeable = False  # as a view of a received message is
    cloud = over_the_wire(CloudEncoder(camera).encode(depth_m, rgb, HEADER))
    fields = point_cloud_fields(cloud)
    assert fields["z"].tobytes() == depth_m.tobytes()
    packed = np.ascontiguousarray(fields["rgb"]).view(np.uint8).reshape(-1, 4)
    np.testing.assert_array_equal(packed[:, 2::-1].reshape(rgb.shape), rgb)
    assert not packed[:, 3].any()
    valid = ~np.isnan(depth_m)
    x, y, z = (fields[name].reshape(depth_m.shape).astype(np.float64) for name in "xyz")
    rows, columns = np.indices(depth_m.shape)
    assert np.abs(camera.fx * x / z + camera.cx - columns)[valid].max() < 1e-3
    assert np.abs(camera.fy * y / z + camera.cy - rows)[valid].max() < 1e-3
    assert np.isnan(x[~valid]).all() and np.isnan(y[~valid]).all()


def test_cloud_equals_one_built_through_the_setters():
    encoder = CloudEncoder(Intrinsics(80.0, 80.0, 3.0, 2.0, 8, 6))
    fast = encoder.encode(depth_with_holes(6, 8), random_rgb(0, 6, 8), HEADER)
    plain = PointCloud2(
        header=fast.header, height=6, width=8, fields=list(fast.fields), is_bigendian=False,
        point_step=16, row_step=128, is_dense=False, data=fast._data.tobytes(),
    )  # fmt: skip
    # Compared as text: equality of the arrays of two messages is bytewise there, NaN included.
    assert str(over_the_wire(fast)) == str(over_the_wire(plain))


def test_cloud_without_holes_is_dense_and_the_next_frame_leaves_no_trace():
    encoder = CloudEncoder(Intrinsics(80.0, 80.0, 3.0, 2.0, 8, 6))
    first = over_the_wire(
        encoder.encode(np.full((6, 8), np.nan, np.float32), random_rgb(0, 6, 8), HEADER)
    )
    second = over_the_wire(encoder.encode(np.ones((6, 8), np.float32), random_rgb(1, 6, 8), HEADER))
    assert not first.is_dense and second.is_dense
    assert np.isfinite(np.frombuffer(second.data, np.float32)).all()
    assert np.isnan(point_cloud_fields(first)["z"]).all()


def test_cloud_refuses_other_sizes():
    encoder = CloudEncoder(Intrinsics(80.0, 80.0, 3.0, 2.0, 8, 6))
    with pytest.raises(ShapeError, match="camera"):
        encoder.encode(np.ones((8, 6), np.float32), random_rgb(0, 6, 8), HEADER)
    with pytest.raises(ShapeError, match="colours"):
        encoder.encode(np.ones((6, 8), np.float32), random_rgb(0, 8, 6), HEADER)


def test_camera_info_of_depth_changes_the_header_only():
    info = with_header(make_camera_info(), 5, "camera")
    result = camera_info_of_depth(info, HEADER)
    assert result.header == HEADER
    assert (info.header.frame_id, info.header.stamp.nanosec) == ("camera", 5)
    result.header = info.header
    assert over_the_wire(result) == over_the_wire(info)
    assert isinstance(result, CameraInfo)


def test_depth_colours_run_from_red_to_blue_and_black_is_unknown():
    depth_m = np.array([[0.0, 5.0, 10.0, 500.0, np.nan]], np.float32)
    image = over_the_wire(depth_to_color_image(depth_m, DepthColorizer(10.0), HEADER))
    assert (image.encoding, image.step, image.width) == ("rgb8", 15, 5)
    near, middle, far, beyond, unknown = image_to_rgb(image)[0].astype(int)
    assert near.argmax() == 0 and middle.argmax() == 1 and far.argmax() == 2
    np.testing.assert_array_equal(far, beyond)
    np.testing.assert_array_equal(unknown, 0)
    assert image.header == HEADER


@pytest.mark.parametrize("color_map", ["turbo", "viridis", "grey"])
def test_depth_colours_of_a_tensor_are_those_of_an_array(color_map):
    depth_m = np.append(np.linspace(0.0, 12.0, 2000), np.nan).astype(np.float32).reshape(3, 667)
    colorizer = DepthColorizer(10.0, color_map)
    from_array = depth_to_color_image(depth_m, colorizer, HEADER)
    from_tensor = depth_to_color_image(torch.from_numpy(depth_m), colorizer, HEADER)
    assert over_the_wire(from_tensor) == over_the_wire(from_array)


def test_depth_colours_follow_a_new_image_size():
    colorizer = DepthColorizer(10.0)
    for shape in ((4, 6), (3, 5)):
        assert colorizer(np.ones(shape, np.float32)).shape == (*shape, 3)
