"""Geometry against values worked out by hand, and its properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mono_depth_ros.errors import CalibrationError, ShapeError
from mono_depth_ros.geometry import (
    Intrinsics,
    depth_to_points,
    invert_transform,
    lidar_to_depth,
    points_to_depth,
    project_points,
    quaternion_from_matrix,
    transform_from_quaternion,
    transform_points,
)

CAMERA = Intrinsics(fx=2.0, fy=4.0, cx=1.0, cy=0.5, width=3, height=2)

finite = st.floats(-100, 100)
unit = st.floats(-1, 1)
quaternions = st.tuples(unit, unit, unit, unit).filter(lambda q: math.hypot(*q) > 0.1)
translations = st.tuples(finite, finite, finite)


def test_wall_lifts_to_exact_points():
    depth_m = np.array([[4.0, 4.0, 4.0], [4.0, np.nan, 8.0]], np.float32)
    points_m = depth_to_points(depth_m, CAMERA)
    # x = (u - 1) / 2 * z, y = (v - 0.5) / 4 * z
    np.testing.assert_array_equal(points_m[0], [[-2, -0.5, 4], [0, -0.5, 4], [2, -0.5, 4]])
    np.testing.assert_array_equal(points_m[1, 2], [4, 1, 8])
    assert np.isnan(points_m[1, 1]).all()
    assert points_m.dtype == np.float32


def test_depth_of_another_size_is_refused():
    with pytest.raises(ShapeError, match="resized"):
        depth_to_points(np.ones((3, 2), np.float32), CAMERA)


@given(
    hnp.arrays(np.float32, (2, 3), elements=st.floats(0.125, 100, width=32)),
    st.floats(0.5, 900),
    st.floats(0.5, 900),
    st.floats(-5, 5),
    st.floats(-5, 5),
)
def test_lifted_points_project_back_to_their_pixel(depth_m, fx, fy, cx, cy):
    camera = Intrinsics(fx, fy, cx, cy, 3, 2)
    u_px, v_px, z_m = project_points(depth_to_points(depth_m, camera).reshape(-1, 3), camera)
    v, u = np.indices((2, 3))
    np.testing.assert_allclose(u_px, u.ravel(), atol=1e-2)
    np.testing.assert_allclose(v_px, v.ravel(), atol=1e-2)
    np.testing.assert_array_equal(z_m, depth_m.ravel())


def test_resizing_keeps_the_image_corners():
    """The corner (-0.5, -0.5) and its ray stay where they are: cx' = s (cx + 0.5) - 0.5."""
    half = Intrinsics(100, 90, 31.5, 23.5, 64, 48).resized(32, 24)
    assert half == Intrinsics(50, 45, 15.5, 11.5, 32, 24)
    assert Intrinsics(100, 90, 10, 20, 64, 48).windowed(4, -2, 30, 60) == Intrinsics(
        100, 90, 6, 22, 30, 60
    )


def test_nearest_point_wins_and_pixel_borders_are_half_way():
    # z = 2: u = x + 1, v = 2 y + 0.5
    points_m = np.array(
        [
            [0.0, 0.0, 2.0],  # u = 1, v = 0.5 -> row 1
            [0.0, -0.1, 2.0],  # v = 0.3 -> row 0
            [0.0, -0.2, 4.0],  # u = 1, v = 0.3, behind the one before
            [1.499, 0.0, 2.0],  # u = 2.499 -> column 2
            [1.5, 0.0, 2.0],  # u = 2.5, just outside
            [-1.5, 0.0, 2.0],  # u = -0.5 -> column 0
            [0.0, 0.0, -2.0],  # behind the camera
            [0.0, 0.0, 0.0],
        ]
    )
    expected = np.array([[np.nan, 2, np.nan], [2, 2, 2]], np.float32)
    np.testing.assert_array_equal(points_to_depth(points_m, CAMERA), expected)


def test_lidar_is_moved_before_projection_and_depth_is_along_the_axis():
    # LiDAR x forward, y left, z up; camera 1 m ahead of it: z_cam = x - 1, x_cam = -y, y_cam = -z.
    camera_from_lidar = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, -1], [0, 0, 0, 1.0]])
    points_lidar_m = np.array([[5.0, 2.0, 0.0], [np.nan, 0, 0], [np.inf, 0, 0]])
    # x_cam = -2, z_cam = 4: u = 2 * -2 / 4 + 1 = 0, v = 0.5 -> row 1; depth 4, not the ray's 4.47.
    depth_m = lidar_to_depth(points_lidar_m, camera_from_lidar, CAMERA)
    assert depth_m[1, 0] == 4.0
    assert np.isnan(depth_m).sum() == 5
    with pytest.raises(ShapeError):
        lidar_to_depth(np.ones((4, 4)), camera_from_lidar, CAMERA)


def test_quarter_turn_by_hand():
    parent_from_child = transform_from_quaternion([1, 2, 3], [0, 0, math.sqrt(0.5), math.sqrt(0.5)])
    np.testing.assert_allclose(
        transform_points(parent_from_child, np.array([[1.0, 0, 0]])), [[1, 3, 3]]
    )


@given(quaternions, translations)
def test_quaternions_and_inverses_round_trip(quaternion, translation_m):
    a_from_b = transform_from_quaternion(translation_m, quaternion)
    np.testing.assert_allclose(a_from_b @ invert_transform(a_from_b), np.eye(4), atol=1e-9)
    again = transform_from_quaternion(translation_m, quaternion_from_matrix(a_from_b[:3, :3]))
    np.testing.assert_allclose(again, a_from_b, atol=1e-9)


@pytest.mark.parametrize(
    "values",
    [(0, 1, 0, 0, 4, 4), (1, float("nan"), 0, 0, 4, 4), (1, 1, 0, 0, 0, 4), (-1, 1, 0, 0, 4, 4)],
)
def test_impossible_intrinsics_are_refused(values):
    with pytest.raises(CalibrationError):
        Intrinsics(*values)


def test_empty_quaternion_is_refused():
    with pytest.raises(CalibrationError, match="no length"):
        transform_from_quaternion([0, 0, 0], [0, 0, 0, 0])
