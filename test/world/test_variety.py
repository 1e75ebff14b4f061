"""What varies beyond the layout: each part on its own, and nothing without any."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.labels import Nyu
from mono_depth_ros.world import SensorModel, make_scene, training_frame
from mono_depth_ros.world.sensor import expose
from mono_depth_ros.world.textures import TEXTURES
from mono_depth_ros.world.variety import PARTS, parse_variety, require_parts

KINDS = ("rooms", "streets")
SCENE_PARTS = ("surfaces", "clutter", "light", "glass")


def same_solids(first, second):
    return len(first) == len(second) and all(
        np.array_equal(getattr(first, f.name), getattr(second, f.name)) for f in fields(first)
    )


def changed(kind, seed, part):
    """Return which of solids, materials, light and glass a part changes."""
    before, after = make_scene(kind, seed), make_scene(kind, seed, [part])
    return (
        not same_solids(before.solids, after.solids),
        not np.array_equal(before.materials, after.materials),
        before.lighting.light_colour != after.lighting.light_colour,
        before.depthless != after.depthless,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_changes_what_it_says(kind):
    assert changed(kind, 3, "surfaces") == (False, True, False, False)
    assert changed(kind, 3, "clutter") == (True, True, False, False)
    assert changed(kind, 3, "light") == (False, False, True, False)
    for part in ("cameras", "sensors"):
        assert changed(kind, 3, part) == (False,) * 4


def test_layout_makes_rooms_of_other_sizes():
    plain = [make_scene("rooms", seed).motion.size_m for seed in range(12)]
    wide = [make_scene("rooms", seed, ["layout"]).motion.size_m for seed in range(12)]
    assert max(map(max, plain)) <= 9.0 < max(map(max, wide))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_do_not_disturb_each_other(kind):
    """With all parts, light and the clutter's solids are what each part gives alone."""
    every = make_scene(kind, 5, SCENE_PARTS)
    lit = make_scene(kind, 5, ["light"])
    assert every.lighting.fill_direction == lit.lighting.fill_direction
    assert every.lighting.light_colour == lit.lighting.light_colour
    assert same_solids(every.solids, make_scene(kind, 5, ["clutter"]).solids)
    plain = make_scene(kind, 5)
    assert same_solids(every.solids.select(np.arange(len(plain.solids))), plain.solids)


@pytest.mark.parametrize("kind", KINDS)
def test_clutter_brings_its_own_materials(kind):
    plain, cluttered = make_scene(kind, 8), make_scene(kind, 8, ["clutter"])
    new = cluttered.solids.material[len(plain.solids) :]
    assert len(new) and new.min() == len(plain.materials)
    assert new.max() == len(cluttered.materials) - 1
    np.testing.assert_allclose(np.linalg.det(cluttered.solids.rotation), 1.0, atol=1e-9)


def test_clutter_stands_on_tops():
    """Something small stands on furniture: its lowest corner is at a top, over that solid."""
    plain, cluttered = make_scene("rooms", 4), make_scene("rooms", 4, ["clutter"])
    solids, count = cluttered.solids, len(plain.solids)
    tops_m = plain.solids.corners_m[..., 2].max(axis=1)
    lows_m = solids.corners_m[count:, :, 2].min(axis=1)
    assert sum(np.isclose(low, tops_m, atol=1e-6).any() for low in lows_m if low > 0.25) >= 2


def test_lamps_and_panes_keep_their_looks():
    plain, other = make_scene("rooms", 2), make_scene("rooms", 2, ["surfaces"])
    bright = plain.materials[:, 9] > 0
    assert bright.any()
    np.testing.assert_array_equal(plain.materials[bright], other.materials[bright])
    colours = other.materials[~bright][:, :6]
    assert colours.min() >= 0.01 - 1e-6 and colours.max() <= 0.97 + 1e-6


def test_no_depth_behind_glass():
    """Every pixel of a pane or mirror loses its depth, no other one does."""
    found = 0
    for seed in range(6):
        scene = make_scene("rooms", seed, ["glass"])
        camera = scene.camera.resized(80, 60)
        plain = training_frame("rooms", seed, 0, camera)
        frame = training_frame("rooms", seed, 0, camera, variety=["glass"])
        np.testing.assert_array_equal(frame.rgb, plain.rgb)
        lost = np.isnan(frame.depth_m) & ~np.isnan(plain.depth_m)
        np.testing.assert_array_equal(frame.depth_m[~lost], plain.depth_m[~lost])
        assert set(plain.labels[lost]) <= {Nyu.WINDOW, Nyu.MIRROR}
        assert np.isnan(frame.depth_m[plain.labels == Nyu.MIRROR]).all()
        found += int(lost.sum())
        panes = list(TEXTURES).index("outdoors")
        assert {row for row in scene.depthless if scene.materials[row, 13] == panes} == set(
            np.flatnonzero(scene.materials[:, 13] == panes)
        )
    assert found > 0


@pytest.mark.parametrize("kind", KINDS)
def test_cameras_stand_where_robots_have_them(kind):
    scene = make_scene(kind, 1)
    heights, pitches = [], []
    rng = np.random.default_rng(0)
    for _ in range(200):
        pose = scene.random_pose(rng, wide=True)
        heights.append(pose[2, 3])
        pitches.append(np.arcsin(-pose[2, 2]))
    low, high = {"rooms": (0.4, 2.0), "streets": (0.9, 2.4)}[kind]
    assert low <= min(heights) < low + 0.3 and high - 0.3 < max(heights) <= high
    assert np.std(pitches) > {"rooms": 0.15, "streets": 0.02}[kind]


def test_motion_blur_is_a_mean_along_the_way():
    """A bright column, moved by four pixels to the right, is a fifth as bright on five columns."""
    image = torch.zeros(3, 5, 40)
    image[:, :, 20] = 1.0
    still = SensorModel(blur_px=0.01, shot=0.0, read=0.0, vignette=0.0)
    rng = np.random.default_rng(0)
    moved = expose(image, replace(still, motion=(0.1, 0.0)), rng)
    assert set(np.flatnonzero(moved[2, :, 0])) == set(range(18, 23))
    assert len(np.unique(moved[2, 18:23, 0])) == 1
    assert set(np.flatnonzero(expose(image, still, rng)[2, :, 0])) == {20}


def test_colour_contrast_and_compression():
    rng = np.random.default_rng(0)
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    still = SensorModel(shot=0.0, read=0.0)
    plain = expose(image, still, rng).astype(float)
    grey = expose(image, replace(still, saturation=0.0), rng)
    assert np.ptp(grey, axis=2).max() == 0
    flat = expose(image, replace(still, contrast=0.5), rng).astype(float)
    np.testing.assert_allclose(flat, 0.45 * 255 + 0.5 * (plain - 0.45 * 255), atol=1.01)
    sharp = expose(image, replace(still, sharpening=1.0), rng).astype(float)
    assert sharp.std() > 1.2 * plain.std()
    squeezed = expose(image, replace(still, jpeg_quality=30), rng).astype(float)
    assert 1.0 < np.abs(squeezed - plain).mean() < 40.0
    # Red stays red.
    red = torch.zeros(3, 16, 16)
    red[0] = 1.0
    assert expose(red, replace(still, jpeg_quality=90), rng).mean(axis=(0, 1)).argmax() == 0


def test_parts_are_checked():
    assert require_parts(["light", "cameras", "light"]) == ("cameras", "light")
    assert parse_variety("all") == PARTS and parse_variety("") == ()
    assert parse_variety("glass,layout") == ("layout", "glass")
    with pytest.raises(ConfigError, match="no part 'weather'; choose from layout, cameras"):
        make_scene("rooms", 0, ["weather"])
    with pytest.raises(ConfigError, match="no part"):
        parse_variety("all,light")
