"""Millimetres, maps, labels, filtered clouds and camera_info of another size, over the wire."""

import struct

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from ros_support import HEIGHT, WIDTH, make_camera_info, random_rgb
from sensor_msgs.msg import RegionOfInterest
from std_msgs.msg import Header

from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.decoding import camera_info_to_intrinsics, image_to_depth, point_cloud_fields
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.ros.camera_view import CameraView
from mono_depth_ros.ros.encoding import (
    CloudEncoder,
    depth_to_millimetre_image,
    labels_to_image,
    map_to_image,
)

pytestmark = pytest.mark.ros

HEADER = Header(frame_id="camera_optical_frame")
HEADER.stamp.sec, HEADER.stamp.nanosec = 1_700_000_000, 123_456_789
# Column u of row v at depth z is the point ((u - 1) / 2 z, (v - 0) / 4 z, z).
CAMERA = Intrinsics(2.0, 4.0, 1.0, 0.0, 3, 2)


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


def test_millimetres_arrive_as_two_bytes_each():
    depth_m = np.array([[1.5, np.nan, 70.0], [0.25, 65.535, 2.0]], np.float32)
    image = over_the_wire(depth_to_millimetre_image(depth_m, HEADER))
    assert (image.height, image.width, image.encoding, image.step) == (2, 3, "16UC1", 6)
    assert image.is_bigendian == 0 and image.header == HEADER
    assert bytes(image.data) == struct.pack("<6H", 1500, 0, 0, 250, 65535, 2000)
    expected_m = np.array([[1.5, np.nan, np.nan], [0.25, 65.535, 2.0]], np.float32)
    np.testing.assert_array_equal(image_to_depth(image), expected_m)


def test_maps_and_labels_arrive_as_they_are():
    confidence = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    image = over_the_wire(map_to_image(confidence, HEADER))
    assert (image.height, image.width, image.encoding, image.step) == (3, 4, "32FC1", 16)
    assert bytes(image.data) == confidence.tobytes()
    attention = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    second = over_the_wire(map_to_image(attention[..., 1], HEADER))
    assert bytes(second.data) == struct.pack("<12f", *range(1, 24, 2))
    labels = over_the_wire(labels_to_image(np.array([[0, 18], [255, 1]], np.uint8), HEADER))
    assert (labels.height, labels.width, labels.encoding, labels.step) == (2, 2, "mono8", 2)
    assert bytes(labels.data) == bytes([0, 18, 255, 1]) and labels.header == HEADER


def test_a_dense_cloud_has_one_row_of_points_only():
    depth_m = np.array([[4.0, np.nan, 2.0], [4.0, 8.0, 9.0]], np.float32)
    rgb = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    # 9 m at column 2, row 1 is 10.3 m away.
    config = CloudConfig(cloud_layout="dense", cloud_max_range_m=10.0)
    cloud = over_the_wire(CloudEncoder(CAMERA, config).encode(depth_m, rgb, HEADER))
    assert (cloud.height, cloud.width, cloud.point_step, cloud.row_step) == (1, 4, 16, 64)
    assert cloud.is_dense and cloud.header == HEADER
    points = [(-2, 0, 4, 2, 1, 0), (1, 0, 2, 8, 7, 6), (-2, 1, 4, 11, 10, 9), (0, 2, 8, 14, 13, 12)]
    assert bytes(cloud.data) == b"".join(struct.pack("<3f4B", *point, 0) for point in points)


def test_an_organised_cloud_with_a_stride_keeps_rows_and_nan():
    depth_m = np.array([[4.0, 1.0, 2.0], [4.0, 8.0, 9.0]], np.float32)
    config = CloudConfig(cloud_stride=2, cloud_max_range_m=3.0)
    cloud = over_the_wire(CloudEncoder(CAMERA, config).encode(depth_m, random_rgb(0, 2, 3), HEADER))
    assert (cloud.height, cloud.width, cloud.row_step, cloud.is_dense) == (1, 2, 32, False)
    fields = point_cloud_fields(cloud)
    np.testing.assert_array_equal(fields["x"], [np.nan, 1.0])
    np.testing.assert_array_equal(fields["z"], [np.nan, 2.0])


def test_a_cloud_without_any_point_is_empty_and_valid():
    config = CloudConfig(cloud_layout="dense")
    nothing = np.full((2, 3), np.nan, np.float32)
    cloud = over_the_wire(CloudEncoder(CAMERA, config).encode(nothing, random_rgb(0, 2, 3), HEADER))
    assert (cloud.height, cloud.width, cloud.row_step, len(cloud.data)) == (1, 0, 0, 0)
    assert cloud.is_dense


@pytest.mark.parametrize("rectified", [True, False])
def test_camera_info_of_a_resized_picture_is_the_pinhole_camera_at_that_size(rectified):
    """Cut and binned by the driver: the picture is 96x64 of a 400x300 sensor."""
    info = make_camera_info(300, 400, 160.0)
    info.p = [160.0, 0.0, 199.5, -16.0, 0.0, 160.0, 149.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.binning_x = info.binning_y = 2
    info.roi = RegionOfInterest(x_offset=100, y_offset=80, width=2 * WIDTH, height=2 * HEIGHT)
    view = CameraView(info, rectified=rectified)
    # Binned: fx 80, cx (199.5 - 100 + 0.5) / 2 - 0.5, cy (149.5 - 80 + 0.5) / 2 - 0.5.
    assert view.camera == Intrinsics(80.0, 80.0, 49.5, 34.5, WIDTH, HEIGHT)
    half = view.camera.resized(WIDTH // 2, HEIGHT // 2)
    small = over_the_wire(view.camera_info(HEADER, half))
    assert (small.width, small.height, small.header) == (WIDTH // 2, HEIGHT // 2, HEADER)
    # Halved again: fx 40, cx 50 / 2 - 0.5, cy 35 / 2 - 0.5; the baseline is 16 / 160 m throughout.
    np.testing.assert_allclose(small.k, [40, 0, 24.5, 0, 40, 17, 0, 0, 1])
    np.testing.assert_allclose(small.p, [40, 0, 24.5, -4, 0, 40, 17, 0, 0, 0, 1, 0])
    assert list(small.r) == [1, 0, 0, 0, 1, 0, 0, 0, 1] and not any(small.d)
    assert (small.binning_x, small.roi) == (0, RegionOfInterest())
    assert camera_info_to_intrinsics(small) == half
    assert view.camera_info(HEADER, view.camera) == view.camera_info(HEADER)


def test_what_the_lens_did_not_see_is_hidden_at_every_size():
    info = make_camera_info()
    info.d = [0.4, 0.0, 0.0, 0.0, 0.0]  # a pincushion: the picture's corners were not seen
    view = CameraView(info, rectified=False)
    view.picture(random_rgb(0))
    whole, half = np.ones((HEIGHT, WIDTH), np.float32), np.ones((32, 48), np.float32)
    view.hide_unseen(whole)
    view.hide_unseen(half)
    unseen = np.isnan(whole)
    assert unseen[0, 0] and not unseen.all() and unseen.any()
    blocks = unseen.reshape(32, 2, 48, 2).any(axis=(1, 3))
    np.testing.assert_array_equal(np.isnan(half), blocks)
