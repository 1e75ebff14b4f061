"""Recorded images and depth follow the distortion of their own camera_info."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mono_depth_ros.bags.messages import camera_info_message
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.rectification import (
    Rectifier,
    distortion_maps,
    read_lenses,
)
from mono_depth_ros.geometry import Intrinsics

CAMERA = Intrinsics(fx=50.0, fy=52.0, cx=31.0, cy=23.5, width=64, height=48)
V, U = np.indices((48, 64), dtype=np.float64)
X, Y = (U - 31.0) / 50.0, (V - 23.5) / 52.0
R2 = X**2 + Y**2


def test_a_broken_camera_info_does_not_hide_later_lenses(tmp_path):
    info = camera_info_message(3, "camera", CAMERA)
    info.d[0] = 0.1
    with BagWriter(tmp_path / "bag") as writer:
        writer.write_camera_info("/camera_info", 1, "camera", CAMERA)
        writer.write_raw("/camera_info", "sensor_msgs/msg/CameraInfo", 2, b"\0\1")
        writer.write_message("/camera_info", 3, info)
    rectifier = Rectifier(read_lenses(tmp_path / "bag", "/camera_info"))
    assert rectifier.seen(CAMERA, 1).all() and not rectifier.seen(CAMERA, 3).all()


def write_infos(path, lenses):
    with BagWriter(path) as writer:
        for number, (model, coefficients) in enumerate(lenses):
            info = camera_info_message(number * 1000, "camera", CAMERA)
            info.distortion_model, info.d = model, np.array(coefficients, float)
            writer.write_message("/camera_info", number * 1000, info)
    return path


def test_images_follow_the_maps_of_their_own_camera_info(tmp_path):
    # Pincushion: the corners of the pinhole image lie outside what the camera saw.
    lenses = [("plumb_bob", (0.0,) * 5), ("plumb_bob", (0.3, 0.0, 0.0, 0.0, 0.0))]
    rectify = Rectifier(read_lenses(write_infos(tmp_path / "bag", lenses), "/camera_info"))
    ramp = np.repeat((3 * U).astype(np.uint8)[..., None], 3, axis=2)
    np.testing.assert_array_equal(rectify.image(ramp, CAMERA, 400), ramp)
    assert rectify.seen(CAMERA, 400).all()
    rgb, seen = rectify.image(ramp, CAMERA, 700), rectify.seen(CAMERA, 700)
    source_u, source_v = 50.0 * X * (1 + 0.3 * R2) + 31.0, 52.0 * Y * (1 + 0.3 * R2) + 23.5
    inside = (source_u >= 0) & (source_u <= 63) & (source_v >= 0) & (source_v <= 47)
    np.testing.assert_array_equal(seen, inside)
    assert not seen[0, 0]
    assert (rgb[0, 0] == 0).all()
    # OpenCV interpolates at 1/32 px.
    assert abs(rgb[seen][:, 0] - 3 * source_u[seen]).max() < 0.5 + 3 / 32
    # Depth is never mixed: each pixel takes that of the nearest one.
    depth_m = np.where(U < 32, 1.0, 5.0).astype(np.float32)
    straight_m = rectify.depth(depth_m, CAMERA, 700)
    assert set(np.unique(straight_m[seen])) == {1.0, 5.0} and np.isnan(straight_m[0, 0])
    away = abs(source_u - 31.5) > 0.6
    expected = np.where(source_u < 31.5, 1.0, 5.0)
    np.testing.assert_array_equal(straight_m[seen & away], expected[seen & away])


def test_a_bag_without_the_topic_is_an_error(tmp_path):
    with pytest.raises(BagError, match="no topic /nowhere"):
        read_lenses(write_infos(tmp_path / "bag", [("", ())]), "/nowhere")


def test_the_maps_undo_what_the_lens_did():
    """OpenCV's own point undistortion is the inverse of the maps."""
    lens = ("plumb_bob", (-0.33, 0.11, 0.001, -0.0005, -0.01))
    map_u, map_v = distortion_maps(lens, CAMERA)
    points = np.stack([map_u, map_v], axis=-1).reshape(-1, 1, 2)
    back = cv2.undistortPointsIter(
        points,
        CAMERA.matrix,
        np.array(lens[1]),
        None,
        CAMERA.matrix,
        (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-9),
    )
    np.testing.assert_allclose(back.reshape(48, 64, 2), np.stack([U, V], -1), atol=1e-3)
