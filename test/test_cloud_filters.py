"""Which pixels become points: by hand, against five-line references, and numpy against torch."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mono_depth_ros.cloud_filters import CloudConfig, CloudFilter, is_at_maximum, is_flying
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.geometry import Intrinsics, depth_to_points

NAN = np.nan
CAMERA = Intrinsics(fx=2.0, fy=4.0, cx=1.0, cy=1.0, width=4, height=3)
depths = hnp.arrays(
    np.float32, (3, 4), elements=st.floats(0.125, 90, width=32) | st.just(np.float32(NAN))
)
shares = hnp.arrays(np.float32, (3, 4), elements=st.floats(0, 1, width=32))
labels = hnp.arrays(np.uint8, (3, 4), elements=st.integers(0, 2))


def kept(depth_m, camera=CAMERA, **config):
    return CloudFilter(camera, CloudConfig(**config))(np.asarray(depth_m, np.float32))


def test_only_depths_become_points():
    depth_m = [[1.0, NAN, np.inf, -1.0], [0.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, NAN]]
    np.testing.assert_array_equal(kept(depth_m), [[1, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 0]])


def test_range_is_the_distance_from_the_camera_not_depth():
    # Column 3 of row 1: x = (3 - 1) / 2 z = z, y = 0, so range is z times the root of 2.
    depth_m = np.full((3, 4), NAN)
    depth_m[1] = [3.0, 3.0, 3.0, 3.0]
    expected = np.zeros((3, 4), bool)
    expected[1] = [True, True, True, False]  # 3.35, 3, 3.35, 4.24
    np.testing.assert_array_equal(kept(depth_m, cloud_max_range_m=4.0), expected)
    expected[1] = [True, False, True, True]
    np.testing.assert_array_equal(kept(depth_m, cloud_min_range_m=3.1), expected)


def test_heights_count_from_the_camera_or_from_the_ground():
    # Rows 0, 1, 2 look up by 1/4, ahead, down by 1/4: at 4 m points are 1 m above, level, below.
    depth_m = np.full((3, 4), 4.0)
    rows = kept(depth_m, cloud_min_height_m=-0.5, cloud_max_height_m=0.5)
    np.testing.assert_array_equal(rows.all(axis=1), [False, True, False])
    rows = kept(depth_m, cloud_max_height_m=1.5, cloud_camera_height_m=1.2)  # 2.2, 1.2, 0.2 m
    np.testing.assert_array_equal(rows.all(axis=1), [False, True, True])
    # Looking straight down, depth is what lies below the camera: 2 m up, all points are 2 m down.
    rows = kept(
        depth_m, cloud_min_height_m=-1.0, cloud_camera_height_m=2.0, cloud_camera_pitch_deg=90.0
    )
    assert not rows.any()


def test_flying_pixels_are_those_behind_a_neighbour():
    # 2.1 is 5 % behind 2.0; the pole one pixel wide, 2.0 between two 9.0, stays.
    row = np.array([[2.0, 2.0, 2.1, 2.5, 6.0, 6.0, NAN, 9.0, 2.0, 9.0]], np.float32)
    expected = [[0, 0, 0, 1, 1, 0, 0, 1, 0, 1]]
    np.testing.assert_array_equal(is_flying(row, 0.1), expected)
    np.testing.assert_array_equal(is_flying(row.T.copy(), 0.1), np.transpose(expected))


@given(depths, st.floats(0.01, 2.0))
def test_flying_pixels_equal_a_loop_over_neighbours(depth_m, jump):
    padded = np.pad(depth_m, 1, constant_values=NAN)
    allowed = padded * np.float32(1.0 + jump)
    neighbours = (allowed[1:-1, :-2], allowed[1:-1, 2:], allowed[:-2, 1:-1], allowed[2:, 1:-1])
    expected = np.any([depth_m > limit for limit in neighbours], axis=0)
    np.testing.assert_array_equal(is_flying(depth_m, jump), expected)


@given(depths)
def test_of_every_edge_the_nearest_pixel_stays(depth_m):
    if np.isfinite(depth_m).any():
        assert not is_flying(depth_m, 0.05)[np.unravel_index(np.nanargmin(depth_m), (3, 4))]


@pytest.mark.parametrize("stride", [1, 2, 3])
@given(depth_m=depths)
@settings(max_examples=30)
def test_range_and_heights_equal_those_of_the_lifted_points(depth_m, stride):
    config = {
        "cloud_stride": stride, "cloud_min_range_m": 1.0, "cloud_max_range_m": 30.0,
        "cloud_min_height_m": 0.1, "cloud_max_height_m": 5.0, "cloud_camera_height_m": 1.0,
        "cloud_camera_pitch_deg": 10.0,
    }  # fmt: skip
    x, y, z = np.moveaxis(depth_to_points(depth_m, CAMERA).astype(np.float64), -1, 0)
    range_m = np.sqrt(x**2 + y**2 + z**2)
    height_m = 1.0 - (y * math.cos(math.radians(10)) + z * math.sin(math.radians(10)))
    sure = np.ones_like(range_m, bool)
    for value, limit in ((range_m, 1), (range_m, 30), (height_m, 0.1), (height_m, 5)):
        sure &= ~(np.abs(value - limit) < 1e-4)
    expected = (range_m >= 1) & (range_m <= 30) & (height_m >= 0.1) & (height_m <= 5)
    every = (slice(None, None, stride),) * 2
    np.testing.assert_array_equal(
        kept(depth_m, **config)[sure[every]], expected[every][sure[every]]
    )


def test_stride_keeps_what_neighbours_in_the_whole_image_say():
    depth_m = np.full((3, 4), 2.0, np.float32)
    depth_m[0, 1] = 1.0  # pixels (0, 0) and (0, 2) are behind it; (1, 1) too, which is not picked
    keep = kept(depth_m, cloud_stride=2, cloud_max_depth_jump=0.5)
    np.testing.assert_array_equal(keep, [[False, False], [True, True]])


def test_confidence_ego_mask_and_sky_by_hand():
    depth_m = np.full((3, 4), 76.5, np.float32)
    confidence = np.tile(np.float32([0.1, 0.5, 0.6, 1.0]), (3, 1))
    gate = CloudFilter(CAMERA, CloudConfig(cloud_min_confidence=0.5))
    np.testing.assert_array_equal(gate(depth_m, confidence), [[0, 1, 1, 1]] * 3)
    ego = np.zeros((3, 4), bool)
    ego[2] = True
    masked = CloudFilter(CAMERA, CloudConfig(), ego)
    np.testing.assert_array_equal(masked(depth_m).all(axis=1), [True, True, False])
    semantics = np.tile(np.uint8([0, 10, 1, 10]), (3, 1))
    labelled = CloudFilter(CAMERA, CloudConfig(cloud_drop_sky=True), sky_label=10)
    np.testing.assert_array_equal(labelled(depth_m, semantics=semantics), [[1, 0, 1, 0]] * 3)
    # Without that class, what is within 5 % of the largest depth is sky: 76 m and more of 80.
    by_depth = CloudFilter(CAMERA, CloudConfig(cloud_drop_sky=True))
    assert not by_depth(depth_m, largest_depth_m=80.0).any()
    assert by_depth(depth_m, largest_depth_m=81.0).all()
    np.testing.assert_array_equal(is_at_maximum(np.float32([75.9, 76.1, NAN]), 80.0), [0, 1, 0])


@given(
    depth_m=depths,
    confidence=shares,
    semantics=labels,
    stride=st.integers(1, 3),
    jump=st.sampled_from([0.0, 0.05, 0.3]),
    limits=st.tuples(st.floats(0, 5), st.floats(5.5, 90), st.floats(-5, 0), st.floats(0.1, 5)),
    sky_label=st.sampled_from([None, 1]),
)
def test_torch_answers_what_numpy_answers(
    depth_m, confidence, semantics, stride, jump, limits, sky_label
):
    config = CloudConfig(
        cloud_stride=stride, cloud_max_depth_jump=jump, cloud_drop_sky=True,
        cloud_min_confidence=0.4, cloud_min_range_m=limits[0], cloud_max_range_m=limits[1],
        cloud_min_height_m=limits[2], cloud_max_height_m=limits[3], cloud_camera_pitch_deg=7.0,
    )  # fmt: skip
    keep = CloudFilter(CAMERA, config, semantics == 2, sky_label)
    arrays = (depth_m, confidence, semantics)
    expected = keep(*arrays, largest_depth_m=80.0)
    answer = keep(*map(torch.from_numpy, arrays), largest_depth_m=80.0)
    assert isinstance(answer, torch.Tensor)
    np.testing.assert_array_equal(answer.numpy(), expected)
    np.testing.assert_array_equal(keep(*arrays, largest_depth_m=80.0), expected)


def test_the_defaults_keep_all_and_each_filter_says_that_it_does_not():
    assert CloudFilter(CAMERA, CloudConfig()).keeps_all
    for change in (
        {"cloud_min_range_m": 1.0}, {"cloud_max_height_m": 1.0}, {"cloud_min_confidence": 0.5},
        {"cloud_max_depth_jump": 0.1}, {"cloud_drop_sky": True},
    ):  # fmt: skip
        assert not CloudFilter(CAMERA, replace(CloudConfig(), **change)).keeps_all
    assert not CloudFilter(CAMERA, CloudConfig(), np.zeros((3, 4), bool)).keeps_all


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"cloud_stride": 0}, "cloud_stride is 0; allowed is 1 to 64"),
        ({"cloud_min_confidence": 1.5}, "cloud_min_confidence is 1.5"),
        ({"cloud_min_range_m": 5.0, "cloud_max_range_m": 5.0}, "cloud_min_range_m < cloud_max"),
        ({"cloud_min_height_m": 1.0, "cloud_max_height_m": 0.0}, "cloud_min_height_m < cloud"),
        ({"cloud_voxel_size_m": 0.001, "cloud_layout": "dense"}, "0 .off. or 0.005"),
        ({"cloud_voxel_size_m": 0.1}, "set cloud_layout to dense first"),
    ],
)
def test_impossible_settings_are_refused(values, reason):
    with pytest.raises(ConfigError, match=reason):
        CloudConfig(**values)
