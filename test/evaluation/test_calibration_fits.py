"""Robust fits of metric scale: answers by hand, outliers, floors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mono_depth_ros.errors import CalibrationError, ShapeError
from mono_depth_ros.evaluation.calibration_fits import fit_floor, fit_scale, fit_scale_shift
from mono_depth_ros.geometry import Intrinsics, depth_to_points
from mono_depth_ros.world.catalogue import make_scene
from mono_depth_ros.world.recording import camera_of
from mono_depth_ros.world.render import render

CAMERA = Intrinsics(fx=60.0, fy=60.0, cx=47.5, cy=31.5, width=96, height=64)

# What a wrong pixel measured instead of the truth g, given random numbers r in [0, 1).
OUTLIERS = {
    "behind": lambda g, r: g * (1.5 + 5 * r),
    "in front": lambda g, r: g * (0.1 + 0.5 * r),
    "one depth": lambda g, r: np.full_like(g, 3.0),
    "anywhere": lambda g, r: 0.3 + 40 * r,
}


def spoiled(g, share, kind, rng):
    wrong = rng.permutation(g.size)[: round(share * g.size)]
    g = g.copy()
    g[wrong] = OUTLIERS[kind](g[wrong], rng.random(wrong.size))
    return g


def test_scale_is_the_median_of_ratios():
    # Ratios 2, 2, 2.5, 3 and 50: the median is 2.5, wherever the pixels lie.
    p = np.array([1.0, 10.0, 2.0, 1.0, 4.0], np.float32)
    g = np.array([2.0, 20.0, 5.0, 3.0, 200.0], np.float32)
    assert fit_scale(p, g).depth_scale == 2.5
    assert fit_scale(p, g).inverse_depth_shift_per_m == 0.0


def test_scale_and_shift_of_exact_data():
    p = np.array([0.5, 1, 2, 4, 8] * 2)
    fit = fit_scale_shift(p, 1 / (0.8 / p + 0.05))
    assert fit.depth_scale == pytest.approx(1 / 0.8, rel=1e-9)
    assert fit.inverse_depth_shift_per_m == pytest.approx(0.05, rel=1e-9)


any_seed = st.integers(0, 2**32 - 1)
any_outlier = st.sampled_from(sorted(OUTLIERS))


@given(scale=st.floats(0.1, 10.0), seed=any_seed, kind=any_outlier)
@settings(max_examples=40)
def test_scale_survives_30_percent_of_outliers(scale, seed, kind):
    """Exactly without noise, within 2 % with 2 % of noise."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.5, 20.0, 500)
    assert fit_scale(p, spoiled(scale * p, 0.3, kind, rng)).depth_scale == pytest.approx(scale)
    noisy = scale * p * (1 + 0.02 * rng.standard_normal(p.size))
    found = fit_scale(p, spoiled(noisy, 0.3, kind, rng)).depth_scale
    assert found == pytest.approx(scale, rel=0.02)


@given(
    scale=st.floats(0.3, 3.0), shift_per_m=st.floats(-0.01, 0.3), seed=any_seed, kind=any_outlier
)
@settings(max_examples=40)
@example(scale=1.0, shift_per_m=0.0, seed=0, kind="one depth")
def test_scale_and_shift_survive_30_percent_of_outliers(scale, shift_per_m, seed, kind):
    """To 1e-6 without noise; with 1 % of noise calibrated depth is within 3 % everywhere."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.5, 20.0, 500)
    g = 1 / (1 / (scale * p) + shift_per_m)
    fit = fit_scale_shift(p, spoiled(g, 0.3, kind, rng))
    assert fit.depth_scale == pytest.approx(scale, rel=1e-6)
    assert fit.inverse_depth_shift_per_m == pytest.approx(shift_per_m, abs=1e-6)
    noisy = g * (1 + 0.01 * rng.standard_normal(g.size))
    fit = fit_scale_shift(p, spoiled(noisy, 0.3, kind, rng))
    np.testing.assert_allclose(fit.apply(p), g, rtol=0.03)


def test_fits_say_why_they_are_impossible():
    some = np.linspace(1.0, 5.0, 20)
    with pytest.raises(ShapeError):
        fit_scale(some, some[1:])
    with pytest.raises(CalibrationError, match="0 pixels"):
        fit_scale(some[:0], some[:0])
    with pytest.raises(CalibrationError, match=r"9 pixels.*needs 10"):
        fit_scale_shift(some[:9], some[:9])
    with pytest.raises(CalibrationError, match="too little to tell scale from shift"):
        fit_scale_shift(np.linspace(2.0, 2.05, 20), some)
    with pytest.raises(CalibrationError, match="falls"):
        fit_scale_shift(some, some[::-1])


def floor_and_wall(height_m=1.2, wall_m=4.0, pitch_rad=0.0, roll_rad=0.0):
    """Return (H, W) depth of a floor that ends at a wall across the way."""
    rays = depth_to_points(np.ones((64, 96), np.float32), CAMERA).astype(np.float64)
    down = np.array(
        [
            np.sin(roll_rad),
            np.cos(roll_rad) * np.cos(pitch_rad),
            np.cos(roll_rad) * np.sin(pitch_rad),
        ]
    )
    ahead = np.cross([1.0, 0.0, 0.0], down)
    ahead /= np.linalg.norm(ahead)
    with np.errstate(divide="ignore"):
        on_floor, on_wall = height_m / (rays @ down), wall_m / (rays @ ahead)
    on_floor[on_floor <= 0] = np.inf
    return np.minimum(on_floor, on_wall), down


@pytest.mark.parametrize(("pitch_rad", "roll_rad"), [(0.0, 0.0), (0.3, 0.0), (0.5, 0.15)])
def test_floor_before_a_wall(pitch_rad, roll_rad):
    depth_m, down = floor_and_wall(pitch_rad=pitch_rad, roll_rad=roll_rad)
    floor = fit_floor(depth_to_points(depth_m, CAMERA))
    assert floor.height_m == pytest.approx(1.2, rel=1e-4)
    np.testing.assert_allclose(floor.down, down, atol=1e-4)
    on_floor = floor.contains(depth_to_points(depth_m, CAMERA).reshape(-1, 3))
    assert floor.share == pytest.approx(on_floor.mean())


@pytest.mark.parametrize("scale", [0.1, 30.0])
def test_the_floor_is_found_at_any_scale_in_noise_and_holes(scale):
    rng = np.random.default_rng(1)
    depth_m = floor_and_wall(wall_m=8.0)[0] * scale * (1 + 0.03 * rng.standard_normal((64, 96)))
    depth_m[rng.random(depth_m.shape) < 0.3] = np.nan
    assert fit_floor(depth_to_points(depth_m, CAMERA)).height_m == pytest.approx(
        1.2 * scale, rel=0.02
    )


def test_a_table_is_no_floor():
    """A large table at half the height, the floor beyond it: the lower plane is the floor."""
    table = floor_and_wall(height_m=0.6, wall_m=8.0)[0]
    depth_m = floor_and_wall(wall_m=8.0)[0]
    depth_m[50:, 5:91] = table[50:, 5:91]
    assert fit_floor(depth_to_points(depth_m, CAMERA)).height_m == pytest.approx(1.2, rel=1e-3)


def test_without_a_floor_there_is_none():
    wall, points = np.full((64, 96), 3.0), depth_to_points(floor_and_wall()[0], CAMERA)
    assert fit_floor(depth_to_points(wall, CAMERA)) is None
    assert fit_floor(points * [1, -1, 1]) is None  # a ceiling
    assert fit_floor(points[:30]) is None
    assert fit_floor(points[-1, :40]) is None
    assert fit_floor(np.full((64, 96, 3), np.nan)) is None
    noise = np.random.default_rng(0).uniform(-5, 5, (4000, 3))
    assert fit_floor(noise) is None


def test_the_floor_of_a_rendered_room_gives_the_scale():
    scene = make_scene("rooms", 4)
    camera, pose = camera_of(scene, (96, 128)), scene.pose(0.0)
    depth_m = 0.7 * render(scene, pose, camera).depth_m
    floor = fit_floor(depth_to_points(depth_m, camera))
    assert pose[2, 3] / floor.height_m == pytest.approx(1 / 0.7, rel=0.02)
