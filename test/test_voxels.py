"""One point per cube: by hand, against a loop over the points, and numpy against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mono_depth_ros.voxels import thin_to_voxels

clouds = st.tuples(
    hnp.arrays(np.float32, (40, 3), elements=st.floats(-2, 2, width=32)),
    hnp.arrays(np.uint8, (40, 3)),
)


def cloud(xyz, rgb):
    points = np.zeros((len(xyz), 4), np.float32)
    points[:, :3] = xyz
    points.view(np.uint8)[:, 12:15] = np.asarray(rgb, np.uint8)[:, ::-1]
    return points


def colors_of(points):
    return np.ascontiguousarray(points[:, 3:]).view(np.uint8)[:, 2::-1]


def test_two_cubes_by_hand():
    # Cubes of 1 m: the first two points share the one at the origin, -0.25 is in another.
    points = cloud(
        [[0.25, 0.5, 0.75], [0.75, 0.5, 0.25], [-0.25, 0.5, 0.5]],
        [[10, 20, 30], [13, 20, 31], [7, 8, 9]],
    )
    centroids = thin_to_voxels(points, 1.0)
    np.testing.assert_array_equal(centroids[:, :3], [[-0.25, 0.5, 0.5], [0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(colors_of(centroids), [[7, 8, 9], [12, 20, 31]])
    # Both are equally near: the first stands for the cube, with its own colour.
    nearest = thin_to_voxels(points, 1.0, "nearest")
    np.testing.assert_array_equal(nearest, points[[2, 0]])
    points[1, 0] = 0.5
    np.testing.assert_array_equal(thin_to_voxels(points, 1.0, "nearest"), points[[2, 1]])


def reference(points, side_m, which):
    cubes = {}
    for point, color in zip(points, colors_of(points), strict=True):
        cell = tuple(np.floor(point[:3] * np.float32(1.0 / side_m)).astype(int))
        cubes.setdefault(cell, []).append((point[:3].astype(np.float64), color))
    thinned = []
    for cell in sorted(cubes):
        xyz, rgb = map(np.array, zip(*cubes[cell], strict=True))
        if which == "centroid":
            thinned.append([*xyz.mean(axis=0), *np.floor(rgb.mean(axis=0) + 0.5)])
        else:
            x, y, z = xyz.astype(np.float32).T
            first = np.argmin((x * x + y * y) + z * z)
            thinned.append([*xyz[first], *rgb[first]])
    return np.array(thinned)


@pytest.mark.parametrize("which", ["centroid", "nearest"])
@given(made=clouds, side_m=st.sampled_from([0.1, 0.5, 1.5]))
@settings(max_examples=50)
def test_thinning_equals_a_loop_and_torch_equals_numpy(made, side_m, which):
    points = cloud(*made)
    expected = reference(points, side_m, which)
    thinned = thin_to_voxels(points, side_m, which)
    np.testing.assert_allclose(thinned[:, :3], expected[:, :3], rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(colors_of(thinned), expected[:, 3:])
    tensor = thin_to_voxels(torch.from_numpy(points), side_m, which)
    assert tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy().view(np.uint32), thinned.view(np.uint32))


@pytest.mark.parametrize("which", ["centroid", "nearest"])
@given(made=clouds)
@settings(max_examples=20)
def test_thinning_twice_changes_nothing_and_every_cube_keeps_its_point(made, which):
    points = cloud(*made)
    once = thin_to_voxels(points, 0.5, which)
    cells = np.floor(once[:, :3] * np.float32(2.0))
    assert len(np.unique(cells, axis=0)) == len(once)
    np.testing.assert_array_equal(thin_to_voxels(once, 0.5, which), once)
    assert {*map(tuple, cells)} == {*map(tuple, np.floor(points[:, :3] * np.float32(2.0)))}


@pytest.mark.parametrize("which", ["centroid", "nearest"])
def test_an_empty_cloud_stays_empty_and_far_points_do_no_harm(which):
    assert thin_to_voxels(np.zeros((0, 4), np.float32), 0.1, which).shape == (0, 4)
    far = cloud([[1e15, 0.0, 1.0], [0.0, 0.0, 1.0]], [[1, 1, 1]] * 2)
    np.testing.assert_array_equal(thin_to_voxels(far, 0.005, which), far[::-1])
