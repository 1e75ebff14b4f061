"""Depth in millimetres, by hand and there and back."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mono_depth_ros.millimetres import depth_to_millimetres


def test_millimetres_by_hand():
    depth_m = np.float32([1.0, 0.25, 1.2346, 0.0004, 65.535, 65.5354, 65.536, 80.0])
    codes = depth_to_millimetres(depth_m)
    assert codes.dtype == np.uint16
    np.testing.assert_array_equal(codes, [1000, 250, 1235, 0, 65535, 65535, 0, 0])


def test_what_is_no_depth_is_0():
    nothing = np.float32([np.nan, np.inf, -np.inf, -0.001, -1.0, 0.0, 3e38])
    np.testing.assert_array_equal(depth_to_millimetres(nothing), 0)


@given(hnp.arrays(np.float32, (2, 3), elements=st.floats(0.0009765625, 65.5, width=32)))
def test_depth_comes_back_to_half_a_millimetre(depth_m):
    back_m = depth_to_millimetres(depth_m).astype(np.float64) / 1000
    assert np.abs(back_m - depth_m).max() <= 0.5e-3 + 4e-6  # the product rounds to 24 bits
