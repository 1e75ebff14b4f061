from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.evaluation.association import match_nearest

stamps = st.lists(st.integers(0, 50), max_size=12).map(
    lambda values: [1_776_863_762_100_071_637 + value for value in values]
)


def test_19_digit_stamps_match_exactly():
    start = 1_776_863_762_100_071_637
    lidar_ns = start + np.array([0, 100_000_000])
    image_ns = start + np.array([40_000_000, 60_000_001, 500_000_000])
    matches = match_nearest(image_ns, lidar_ns, max_gap_ns=50_000_000)
    np.testing.assert_array_equal(matches, [0, 1, -1])


def test_the_gap_is_inclusive_to_the_nanosecond():
    assert match_nearest([0], [50], 50).tolist() == [0]
    assert match_nearest([0], [51], 50).tolist() == [-1]


def test_a_sweep_serves_only_its_nearest_image():
    # A 30 Hz camera and a 10 Hz LiDAR.
    assert match_nearest([0, 33, 67, 100], [30, 105], 50).tolist() == [-1, 0, -1, 1]


def test_order_does_not_matter_and_ties_take_the_earlier():
    assert match_nearest([100, 0], [95, 4], 10).tolist() == [0, 1]
    assert match_nearest([10], [20, 0], 10).tolist() == [1]
    assert match_nearest([0, 20], [10], 10).tolist() == [0, -1]


def test_nothing_to_match():
    assert match_nearest([], [1], 5).tolist() == []
    assert match_nearest([1], [], 5).tolist() == [-1]


def test_float_seconds_and_negative_gaps_are_refused():
    with pytest.raises(ShapeError, match="integer nanoseconds"):
        match_nearest([0.5], [1], 5)
    with pytest.raises(ConfigError):
        match_nearest([1], [1], -1)


@given(stamps, stamps, st.integers(0, 60))
def test_matches_are_mutual_nearest_and_one_to_one(query, reference, gap):
    matches = match_nearest(query, reference, gap)
    used = [m for m in matches if m >= 0]
    assert len(used) == len(set(used))
    for q, m in zip(query, matches.tolist(), strict=True):
        nearest = min((abs(q - r) for r in reference), default=None)
        if m >= 0:
            assert abs(q - reference[m]) == nearest <= gap
            assert all(abs(q - reference[m]) <= abs(other - reference[m]) for other in query)
        elif nearest is not None and nearest <= gap:
            # Left out: every nearest reference has an equally near or nearer query, which got it.
            rivals = [r for r in reference if abs(q - r) == nearest]
            assert any(
                abs(other - r) <= nearest for r in rivals for other in query if other != q
            ) or (query.count(q) > 1)
