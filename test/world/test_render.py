"""Depth, labels, light and bytes of rendered frames."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mono_depth_ros.errors import DeviceError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.labels import City
from mono_depth_ros.world import Frame, Scene, make_scene, render
from mono_depth_ros.world.scene import Actor, SceneBuilder, optical_pose
from mono_depth_ros.world.textures import TEXTURES, Material

GREY = Material()


def test_a_wall_across_the_view_has_one_depth(
    scene_of: Callable[..., Scene], camera: Intrinsics
) -> None:
    builder = SceneBuilder()
    builder.at().box((4, -50, -50), (5, 50, 50), City.BUILDING, GREY)
    frame = render(scene_of(builder), optical_pose((0, 0, 1.5)), camera)
    # Ray length would grow to 4 · sqrt(1 + 0.79² + 0.59²) in the corners; depth along the axis
    # stays 4.
    np.testing.assert_allclose(frame.depth_m, 4.0, rtol=1e-6)
    assert (frame.labels == City.BUILDING).all()
    assert (
        frame.rgb.shape == (48, 64, 3)
        and frame.rgb.dtype == np.uint8
        and frame.depth_m.dtype == np.float32
    )


def test_floor_depth_follows_from_camera_height(
    scene_of: Callable[..., Scene], camera: Intrinsics
) -> None:
    builder = SceneBuilder()
    builder.at().box((-1000, -1000, -1), (1000, 1000, 0), City.ROAD, GREY)
    frame = render(scene_of(builder, max_depth_m=20.0), optical_pose((0, 0, 1.5)), camera)
    below = np.arange(48) - camera.cy
    expected = np.where(below > 0, 1.5 * camera.fy / np.where(below > 0, below, 1), np.nan)
    expected[expected > 20.0] = np.nan
    np.testing.assert_allclose(frame.depth_m, np.repeat(expected[:, None], 64, 1), rtol=1e-5)
    # Beyond the range the road is still road; above the horizon there is sky.
    assert (frame.labels[24:] == City.ROAD).all() and np.isnan(frame.depth_m[24]).all()
    assert (frame.labels[:24] == City.SKY).all()


def test_pitch_and_yaw_point_where_they_say(scene_of: Callable[..., Scene]) -> None:
    camera = Intrinsics(40.0, 40.0, 0.0, 0.0, 1, 1)
    builder = SceneBuilder()
    builder.at().box((-100, -100, -1), (100, 100, 0), City.ROAD, GREY)
    builder.at().box((-100, 7, 0), (100, 8, 9), City.WALL, GREY)
    scene = scene_of(builder)
    down = render(scene, optical_pose((0, 0, 1.5), 0.0, np.deg2rad(30)), camera)
    assert down.depth_m[0, 0] == pytest.approx(3.0, rel=1e-5)
    left = render(scene, optical_pose((0, 0, 1.5), np.pi / 2), camera)
    assert left.depth_m[0, 0] == pytest.approx(7.0, rel=1e-5) and left.labels[0, 0] == City.WALL


def test_nearer_solid_hides_the_farther(scene_of: Callable[..., Scene], camera: Intrinsics) -> None:
    builder = SceneBuilder()
    builder.at().box((10, -50, -50), (11, 50, 50), City.BUILDING, GREY)
    builder.at().ellipsoid((6, 0, 1.5), (1, 1, 1), City.VEGETATION, GREY)
    frame = render(
        scene_of(builder), optical_pose((0, 0, 1.5)), Intrinsics(40.0, 40.0, 32.0, 24.0, 65, 49)
    )
    assert (
        frame.depth_m[24, 32] == pytest.approx(5.0, rel=1e-6)
        and frame.labels[24, 32] == City.VEGETATION
    )
    assert (
        frame.depth_m[0, 0] == pytest.approx(10.0, rel=1e-6) and frame.labels[0, 0] == City.BUILDING
    )
    # The outline of the unit ball at 6 m: tan = 1 / sqrt(35), so 6.76 px beside the centre.
    assert frame.labels[24, 32 + 6] == City.VEGETATION and frame.labels[24, 32 + 7] == City.BUILDING


def test_actor_moves_with_time(scene_of: Callable[..., Scene]) -> None:
    builder = SceneBuilder()
    car = builder.moving(Actor((10.0, 0.0, 0.0), np.pi, 2.0))
    car.box((-1, -1, 0), (1, 1, 3), City.CAR, GREY)
    scene, camera = scene_of(builder), Intrinsics(40.0, 40.0, 0.0, 0.0, 1, 1)
    assert render(scene, scene.pose(0.0), camera, time_s=0.0).depth_m[0, 0] == pytest.approx(
        9.0, rel=1e-6
    )
    assert render(scene, scene.pose(0.0), camera, time_s=1.5).depth_m[0, 0] == pytest.approx(
        6.0, rel=1e-6
    )


def test_a_plate_throws_a_shadow(scene_of: Callable[..., Scene], camera: Intrinsics) -> None:
    builder = SceneBuilder()
    builder.at().box((-50, -50, -1), (50, 50, 0), City.ROAD, Material(contrast=0.0))
    lit = render(scene_of(builder), optical_pose((0, 0, 1.5), 0.0, 0.6), camera)
    # The sun stands in the zenith; the plate above x = 2 .. 4 is out of the view.
    builder.at().box((2, -1, 6), (4, 1, 6.1), City.BUILDING, GREY)
    shaded = render(scene_of(builder), optical_pose((0, 0, 1.5), 0.0, 0.6), camera)
    np.testing.assert_array_equal(lit.depth_m, shaded.depth_m)
    points_v = np.array([1.5 / np.tan(0.6)])
    assert 2.0 < points_v[0] < 4.0
    centre, corner = (24, 32), (47, 0)
    ratio = (shaded.rgb[centre].mean() / shaded.rgb[corner].mean()) / (
        lit.rgb[centre].mean() / lit.rgb[corner].mean()
    )
    assert ratio < 0.8


def test_every_texture_gives_colours(scene_of: Callable[..., Scene], camera: Intrinsics) -> None:
    for name in TEXTURES:
        builder = SceneBuilder()
        builder.at().box(
            (4, -9, -9),
            (5, 9, 9),
            City.WALL,
            Material(name, (0.6, 0.5, 0.4), (0.2, 0.3, 0.1), seed=5),
        )
        frame = render(scene_of(builder), optical_pose((0, 0, 1.5)), camera)
        assert 20 < frame.rgb.mean() < 235, name


def small(kind: str, seed: int, device: str = "cpu") -> Frame:
    scene = make_scene(kind, seed)
    camera = scene.camera.resized(96, 64)
    return render(scene, scene.pose(2.0), camera, time_s=2.0, noise_index=7, device=device)


def digest(frame: Frame) -> str:
    data = frame.rgb.tobytes() + frame.depth_m.tobytes() + frame.labels.tobytes()
    return hashlib.sha256(data).hexdigest()


def test_same_bytes_again_with_other_threads_and_in_a_fresh_process() -> None:
    kinds = ("rooms", "streets")
    first = [digest(small(kind, 11)) for kind in kinds]
    assert [digest(small(kind, 11)) for kind in kinds] == first
    assert digest(small("rooms", 12)) != first[0]
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    try:
        assert [digest(small(kind, 11)) for kind in kinds] == first
    finally:
        torch.set_num_threads(threads)
    paths = [*sys.path, str(Path(__file__).parent)]
    code = f"""
import sys
sys.path[:0] = {paths}
from test_render import digest, small
print(*(digest(small(kind, 11)) for kind in {kinds}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == first


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this computer")
@pytest.mark.parametrize("kind", ["rooms", "streets"])
def test_gpu_depth_equals_cpu_depth(kind: str) -> None:
    cpu, gpu = small(kind, 11), small(kind, 11, "cuda")
    both = np.isfinite(cpu.depth_m) & np.isfinite(gpu.depth_m)
    inner = np.zeros_like(both)
    same = cpu.labels[1:-1, 1:-1]
    inner[1:-1, 1:-1] = (cpu.labels[:-2, 1:-1] == same) & (cpu.labels[2:, 1:-1] == same)
    inner[1:-1, 1:-1] &= (cpu.labels[1:-1, :-2] == same) & (cpu.labels[1:-1, 2:] == same)
    error = np.abs(cpu.depth_m - gpu.depth_m)[both & inner]
    assert np.quantile(error, 0.995) < 1e-4
    assert (np.isfinite(cpu.depth_m) == np.isfinite(gpu.depth_m)).mean() > 0.999


def test_a_gpu_that_is_not_there_is_an_error(
    scene_of: Callable[..., Scene], camera: Intrinsics
) -> None:
    builder = SceneBuilder()
    builder.at().box((4, -1, -1), (5, 1, 1), City.WALL, GREY)
    for device in ("cuda:77", "quantum"):
        with pytest.raises(DeviceError):
            render(scene_of(builder), optical_pose((0, 0, 0)), camera, device=device)
