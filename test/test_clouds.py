"""Clouds: points, colours, the PLY file, the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mono_depth_ros.clouds import POINT, CloudBuilder, draw_cloud, view_from_above, write_ply
from mono_depth_ros.coloring import DepthColorizer
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import Intrinsics, depth_to_points

CAMERA = Intrinsics(fx=2.0, fy=4.0, cx=1.0, cy=0.5, width=3, height=2)
DEPTH_M = np.array([[4.0, 4.0, 4.0], [4.0, np.nan, 8.0]], np.float32)
RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) + 200


def test_points_are_those_of_geometry_and_colours_are_bgr0():
    points = CloudBuilder(CAMERA)(DEPTH_M, RGB)
    np.testing.assert_array_equal(points[..., :3], depth_to_points(DEPTH_M, CAMERA))
    assert points.view(POINT)["z"][0, 0, 0] == 4.0
    color = np.ascontiguousarray(points[..., 3:]).view(np.uint8)
    np.testing.assert_array_equal(color[0, 1], [205, 204, 203, 0])
    # Bright red would be NaN with an alpha of 255, and filters would drop the point.
    assert np.isfinite(points[..., 3]).all()


@given(
    hnp.arrays(np.uint8, (2, 3, 3)),
    hnp.arrays(np.float32, (2, 3), elements=st.floats(0.125, 90, width=32)),
)
def test_colour_never_reads_as_nan_and_depth_is_kept(rgb, depth_m):
    points = CloudBuilder(CAMERA)(depth_m, rgb)
    assert np.isfinite(points).all()
    np.testing.assert_array_equal(points[..., 2], depth_m)


def test_wrong_sizes_are_refused():
    with pytest.raises(ShapeError, match="depth"):
        CloudBuilder(CAMERA)(DEPTH_M[:1], RGB)
    with pytest.raises(ShapeError, match="depth"):
        CloudBuilder(CAMERA)(DEPTH_M.astype(np.float64), RGB)
    with pytest.raises(ShapeError, match="colours"):
        CloudBuilder(CAMERA)(DEPTH_M, RGB[:, :2])


def read_ply(path):
    header, _, body = path.read_bytes().partition(b"end_header\n")
    assert header.splitlines()[1] == b"format binary_little_endian 1.0"
    kind = [("xyz", "<f4", 3), ("rgb", "u1", 3)]
    return header.decode(), np.frombuffer(body, kind)


def test_ply_holds_the_finite_points(tmp_path):
    assert write_ply(tmp_path / "cloud.ply", CloudBuilder(CAMERA)(DEPTH_M, RGB)) == 5
    header, vertices = read_ply(tmp_path / "cloud.ply")
    assert "element vertex 5" in header
    np.testing.assert_array_equal(vertices["xyz"][0], [-2, -0.5, 4])
    np.testing.assert_array_equal(vertices["rgb"][0], [200, 201, 202])
    np.testing.assert_array_equal(vertices["xyz"][4], [4, 1, 8])
    assert [path.name for path in tmp_path.iterdir()] == ["cloud.ply"]


def test_open3d_reads_the_same_points(tmp_path):
    open3d = pytest.importorskip("open3d", reason="open3d is an optional extra")
    points = CloudBuilder(CAMERA)(DEPTH_M, RGB)
    write_ply(tmp_path / "cloud.ply", points)
    cloud = open3d.io.read_point_cloud(str(tmp_path / "cloud.ply"))
    finite = np.isfinite(points[..., 2])
    np.testing.assert_allclose(np.asarray(cloud.points), points[finite][:, :3])
    np.testing.assert_allclose(np.asarray(cloud.colors) * 255, RGB[finite], atol=1e-3)
    depth = open3d.geometry.Image(DEPTH_M)
    pinhole = open3d.camera.PinholeCameraIntrinsic(3, 2, 2.0, 4.0, 1.0, 0.5)
    oracle = open3d.geometry.PointCloud.create_from_depth_image(
        depth, pinhole, depth_scale=1.0, depth_trunc=100.0
    )
    np.testing.assert_allclose(np.asarray(oracle.points), points[finite][:, :3], atol=1e-6)


def test_picture_from_the_camera_itself_shows_the_image():
    depth_m = np.full((2, 3), 5.0, np.float32)
    picture = draw_cloud(CloudBuilder(CAMERA)(depth_m, RGB), CAMERA, np.eye(4), dot_px=1)
    np.testing.assert_array_equal(picture, RGB)


def test_nearer_points_hide_farther_ones():
    points = np.zeros((2, 4), np.float32)
    points[:, 2] = (3.0, 6.0)
    points.view(np.uint8)[:, 12:15] = [[1, 2, 3], [7, 8, 9]]  # B, G, R
    picture = draw_cloud(points, Intrinsics(2, 2, 1, 1, 3, 3), np.eye(4), dot_px=1)
    np.testing.assert_array_equal(picture[1, 1], [3, 2, 1])
    assert (picture[0, 0] == 24).all()


def test_view_from_above_sees_the_ground_lower_and_farther():
    viewer_from_camera = view_from_above(distance_m=2.0, raise_m=1.0, pitch_deg=0.0)
    np.testing.assert_allclose(viewer_from_camera @ [0, 0, 5, 1], [0, 1, 7, 1])
    # Looking down by 90 degrees, what was ahead is up in the picture (negative y).
    down = view_from_above(0.0, 0.0, 90.0)
    np.testing.assert_allclose(down @ [0, 0, 5, 1], [0, -5, 0, 1], atol=1e-12)


def test_colours_go_from_red_to_blue_and_unknown_is_black():
    depth_m = np.array([[0.0, 10.0, np.nan, 50.0]], np.float32)
    near, far, unknown, beyond = DepthColorizer(10.0)(depth_m)[0].astype(int)
    assert near[0] > near[2] and far[2] > far[0]
    assert (unknown == 0).all()
    np.testing.assert_array_equal(beyond, far)
