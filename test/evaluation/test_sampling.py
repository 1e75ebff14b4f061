"""Depth between pixel centres."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.evaluation.sampling import sample_depth, sampled_at
from mono_depth_ros.geometry import Intrinsics, lidar_into_image, lidar_to_depth

CAMERA = Intrinsics(40.0, 42.0, 31.5, 23.0, 64, 48)
V, U = np.indices((48, 64), dtype=np.float64)


def plane(a, b, c):
    """Depth of the plane n·p = 1 with n = (a, b, c): 1 / z is linear in u and v."""
    return lambda u, v: 1.0 / (a * (u - 31.5) / 40.0 + b * (v - 23.0) / 42.0 + c)


@given(
    a=st.floats(-0.1, 0.1), b=st.floats(-0.1, 0.1), c=st.floats(0.25, 2.0), seed=st.integers(0, 99)
)
def test_planes_are_exact(a, b, c, seed):
    depth = plane(a, b, c)
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(0, 63, 50), rng.uniform(0, 47, 50)
    np.testing.assert_allclose(sample_depth(depth(U, V), u, v), depth(u, v), rtol=1e-9)


def test_edges_holes_and_borders_take_the_nearest_pixel():
    depth_m = np.full((48, 64), 2.0)
    depth_m[:, 32:] = 5.0
    depth_m[10, 10] = np.nan
    u = np.array([31.4, 31.6, 9.6, 9.4, -0.4, 63.4, 20.0])
    v = np.array([20.0, 20.0, 10.0, 10.2, -0.4, 47.4, 20.0])
    np.testing.assert_array_equal(sample_depth(depth_m, u, v), [2, 5, np.nan, 2, 2, 5, 2])
    with pytest.raises(ShapeError, match="1 positions lie outside"):
        sample_depth(depth_m, np.array([63.5]), np.array([0.0]))


def test_the_point_that_the_reference_holds_is_sampled():
    """Two points on one pixel: the nearer one counts; the pixels without a point stay."""
    depth = plane(0.05, 0.3, 0.4)
    u, v = np.array([20.3, 20.4, 40.2]), np.array([30.4, 29.8, 12.0])
    z = depth(u, v) * [1.0, 0.9, 1.0]
    points = np.column_stack(((u - 31.5) / 40.0 * z, (v - 23.0) / 42.0 * z, z))
    reference_m = lidar_to_depth(points, np.eye(4), CAMERA)
    seen = lidar_into_image(points, np.eye(4), CAMERA)
    sampled = sampled_at(depth(U, V), reference_m, *seen)
    assert sampled[30, 20] == pytest.approx(depth(20.4, 29.8))
    assert sampled[12, 40] == pytest.approx(depth(40.2, 12.0))
    sampled[30, 20], sampled[12, 40] = depth(20, 30), depth(40, 12)
    np.testing.assert_array_equal(sampled, depth(U, V))
    # What was removed as occluded is not sampled.
    reference_m[30, 20] = np.nan
    again = sampled_at(depth(U, V), reference_m, *seen)
    assert again[30, 20] == depth(20, 30)
    with pytest.raises(ShapeError, match="agree in size"):
        sampled_at(np.ones((4, 4)), reference_m, *seen)
