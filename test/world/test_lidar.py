"""LiDAR scans against hand-worked ranges and against the rendered depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from mono_depth_ros.geometry import invert_transform, project_points, transform_points
from mono_depth_ros.labels import City
from mono_depth_ros.world import LIDARS, Scene, make_scene, render, scan
from mono_depth_ros.world.lidar import LidarModel
from mono_depth_ros.world.scene import SceneBuilder
from mono_depth_ros.world.textures import Material

WHITE = Material(colour=(1.0, 1.0, 1.0))
EXACT = LidarModel(3, -30.0, 30.0, 360, 0.5, 100.0, range_noise_m=0.0, dropout=0.0)


def xyz(points: np.ndarray) -> np.ndarray:
    return np.stack([points[name] for name in "xyz"], axis=1).astype(np.float64)


def test_room_of_known_size(scene_of: Callable[..., Scene]) -> None:
    builder = SceneBuilder()
    p = builder.at(-0.27, 0.0, 1.5)
    p.box((-9, 3, -9), (9, 4, 9), City.WALL, WHITE)
    p.box((-9, -4, -9), (9, -3, 9), City.WALL, WHITE)
    p.box((5, -3, -9), (6, 3, 9), City.WALL, WHITE)
    p.box((-6, -3, -9), (-5, 3, 9), City.WALL, WHITE)
    points = scan(scene_of(builder), 0.0, EXACT)
    assert len(points) == 3 * 360
    level = points[points["ring"] == 1]
    np.testing.assert_allclose(
        np.maximum(np.abs(level["x"]) / 5, np.abs(level["y"]) / 3), 1.0, rtol=1e-5
    )
    assert np.abs(level["z"]).max() < 1e-5
    up = points[points["ring"] == 2]
    slope = np.arctan2(up["z"], np.hypot(up["x"], up["y"]))
    np.testing.assert_allclose(np.rad2deg(slope), 30.0, rtol=1e-5)
    # All points are of one instant. Firing order: from behind and counter-clockwise.
    assert not points["t"].any()
    quarter = level[90]
    np.testing.assert_allclose([quarter["x"], quarter["y"]], [0.0, -3.0], atol=1e-4)


def test_range_limits_and_dark_surfaces(scene_of: Callable[..., Scene]) -> None:
    builder = SceneBuilder()
    builder.at().box((20, -90, -90), (21, 90, 90), City.WALL, WHITE)
    scene = scene_of(builder)
    near_sighted = dataclasses.replace(EXACT, max_range_m=19.0)
    assert len(scan(scene, 0.0, near_sighted)) == 0
    bright = len(scan(scene, 0.0, EXACT))
    builder.at().box((20, -90, -90), (21, 90, 90), City.WALL, WHITE)
    dark = SceneBuilder()
    dark.at().box((20, -90, -90), (21, 90, 90), City.WALL, Material(colour=(0.01, 0.01, 0.01)))
    assert 0 < len(scan(scene_of(dark), 0.0, EXACT)) < 0.6 * bright


def test_noise_has_the_stated_deviation(scene_of: Callable[..., Scene]) -> None:
    builder = SceneBuilder()
    builder.at(-0.27, 0.0, 1.5).ellipsoid((0, 20, 0), (15, 15, 15), City.WALL, WHITE)
    scene = scene_of(builder)
    exact = scan(scene, 0.0, dataclasses.replace(EXACT, beams=40))
    noisy = scan(scene, 0.0, dataclasses.replace(EXACT, beams=40, range_noise_m=0.02))
    error = np.linalg.norm(xyz(noisy), axis=1) - np.linalg.norm(xyz(exact), axis=1)
    assert (
        len(error) > 1000
        and error.std() == pytest.approx(0.02, rel=0.1)
        and abs(error.mean()) < 0.003
    )


@pytest.mark.parametrize(("kind", "seed", "lidar"), [("rooms", 4, "16"), ("streets", 3, "64")])
def test_points_lie_on_the_rendered_depth(kind: str, seed: int, lidar: str) -> None:
    scene, time_s = make_scene(kind, seed), 1.0
    camera = scene.camera.resized(scene.camera.width // 2, scene.camera.height // 2)
    depth_m = render(scene, scene.pose(time_s), camera, time_s=time_s).depth_m
    model = dataclasses.replace(LIDARS[lidar], columns=900)
    points = transform_points(
        invert_transform(scene.base_from_camera) @ scene.base_from_lidar,
        xyz(scan(scene, time_s, model)),
    )
    u, v, z = project_points(points, camera)
    with np.errstate(invalid="ignore"):
        inside = (u > 1) & (u < camera.width - 2) & (v > 1) & (v < camera.height - 2)
    columns, rows = np.round(u[inside]).astype(int), np.round(v[inside]).astype(int)
    around = np.stack([depth_m[rows + dy, columns + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    # Away from edges the point lies between the depths of the pixels around it, up to five sigma of
    # range noise.
    smooth = (around.max(axis=0) - around.min(axis=0)) < 0.02 * around.mean(axis=0)
    low, high = around.min(axis=0) - 0.1, around.max(axis=0) + 0.1
    fits = (z[inside] >= low) & (z[inside] <= high)
    assert smooth.sum() > 500
    # The rest are points the LiDAR sees past an edge from its own place.
    assert fits[smooth].mean() > 0.97


def test_same_scan_twice_and_other_noise_per_index() -> None:
    scene, model = make_scene("rooms", 2), dataclasses.replace(LIDARS["16"], columns=180)
    first = scan(scene, 0.5, model, index=3)
    assert scan(scene, 0.5, model, index=3).tobytes() == first.tobytes()
    assert scan(scene, 0.5, model, index=4).tobytes() != first.tobytes()
