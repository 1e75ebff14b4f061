"""Clouds of picked pixels: organised ones keep their rows, dense ones only points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.clouds import CloudBuilder
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.filtered_clouds import FilteredCloudBuilder
from mono_depth_ros.geometry import Intrinsics

CAMERA = Intrinsics(fx=2.0, fy=4.0, cx=1.0, cy=0.5, width=5, height=3)
RGB = np.arange(45, dtype=np.uint8).reshape(3, 5, 3) + 100
depths = hnp.arrays(
    np.float32, (3, 5), elements=st.floats(0.5, 50, width=32) | st.just(np.float32(np.nan))
)


def build(depth_m, **config):
    return FilteredCloudBuilder(CAMERA, CloudConfig(**config))(depth_m, RGB)


def bits(points):
    return np.ascontiguousarray(points).view(np.uint32)


@given(depths)
def test_without_filters_the_cloud_is_that_of_the_builder(depth_m):
    np.testing.assert_array_equal(bits(build(depth_m)), bits(CloudBuilder(CAMERA)(depth_m, RGB)))


@pytest.mark.parametrize(("stride", "shape"), [(2, (2, 3, 4)), (3, (1, 2, 4)), (5, (1, 1, 4))])
@given(depth_m=depths)
def test_a_stride_picks_points_of_the_whole_cloud(depth_m, stride, shape):
    picked = build(depth_m, cloud_stride=stride)
    whole = CloudBuilder(CAMERA)(depth_m, RGB)[::stride, ::stride]
    assert picked.shape == shape
    np.testing.assert_allclose(picked, whole, rtol=1e-6)
    np.testing.assert_array_equal(bits(picked[..., 2:]), bits(whole[..., 2:]))


@given(depths, st.floats(1.0, 40.0))
def test_dense_clouds_are_the_points_of_organised_ones_in_their_order(depth_m, farthest_m):
    organised = build(depth_m, cloud_max_range_m=farthest_m)
    assert organised.shape == (3, 5, 4)
    kept = np.isfinite(organised[..., 2])
    range_m = np.linalg.norm(organised[..., :3][kept], axis=-1)
    assert (range_m <= farthest_m * (1 + 1e-6)).all()
    assert np.isnan(organised[~kept][:, :3]).all()
    whole = CloudBuilder(CAMERA)(depth_m, RGB)
    np.testing.assert_array_equal(bits(organised[..., 3:]), bits(whole[..., 3:]))
    dense = build(depth_m, cloud_max_range_m=farthest_m, cloud_layout="dense")
    np.testing.assert_array_equal(bits(dense), bits(organised[kept]))


def test_voxels_thin_the_dense_cloud():
    depth_m = np.full((3, 5), 4.0, np.float32)
    # x = 2 (u - 1), y = v - 0.5: cubes of 10 m left and right, each above and below.
    thinned = build(depth_m, cloud_layout="dense", cloud_voxel_size_m=10.0)
    np.testing.assert_allclose(
        thinned[:, :3], [[-2, -0.5, 4], [-2, 1, 4], [3, -0.5, 4], [3, 1, 4]], rtol=1e-6
    )
    everything_gone = build(
        depth_m, cloud_layout="dense", cloud_voxel_size_m=1.0, cloud_max_range_m=1.0
    )
    assert everything_gone.shape == (0, 4)


def test_the_next_frame_leaves_no_trace_and_does_not_change_depth():
    make = FilteredCloudBuilder(CAMERA, CloudConfig(cloud_max_range_m=10.0))
    near, far = (np.full((3, 5), depth, np.float32) for depth in (1.0, 20.0))
    assert np.isnan(make(far, RGB)[..., :3]).all()
    assert (far == 20.0).all()
    assert np.isfinite(make(near, RGB)).all()


@pytest.mark.parametrize("shape", [(4, 5), (3, 6)])
def test_depth_of_another_size_is_refused_with_any_stride(shape):
    with pytest.raises(ShapeError, match="depth is"):
        build(np.ones(shape, np.float32), cloud_stride=4)
