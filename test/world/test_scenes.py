"""What every generated scene promises: layout, motion, labels, repeatability."""

from __future__ import annotations

import numpy as np
import pytest

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.labels import nyu40_to_4
from mono_depth_ros.world import make_scene, render

SEEDS = {"rooms": range(30), "streets": range(4)}
# Table from another source than the module's own: the four groups as printed in the literature.
STRUCTURE = {1, 8, 9, 12, 13, 16, 22, 28, 30, 38}
FURNITURE = {3, 4, 5, 6, 7, 10, 14, 15, 17, 24, 32, 33, 36, 39}


def test_nyu_40_to_4() -> None:
    expected = [
        1 if k == 2 else 2 if k in STRUCTURE else 3 if k in FURNITURE else 4 for k in range(1, 41)
    ]
    assert nyu40_to_4(np.arange(41, dtype=np.uint8)).tolist() == [0, *expected]


def test_unknown_kind_and_negative_seed_are_refused() -> None:
    with pytest.raises(ConfigError, match="rooms, streets"):
        make_scene("caves", 0)
    with pytest.raises(ConfigError, match="negative"):
        make_scene("rooms", -1)


@pytest.mark.parametrize("kind", SEEDS)
def test_same_seed_same_scene(kind: str) -> None:
    first, again, other = make_scene(kind, 5), make_scene(kind, 5), make_scene(kind, 6)
    np.testing.assert_array_equal(first.solids.centre_m, again.solids.centre_m)
    np.testing.assert_array_equal(first.materials, again.materials)
    assert (
        len(first.solids) != len(other.solids)
        or (first.solids.centre_m != other.solids.centre_m).any()
    )


@pytest.mark.parametrize("kind", SEEDS)
def test_solids_are_sound(kind: str) -> None:
    for seed in SEEDS[kind]:
        solids = make_scene(kind, seed).solids
        assert np.isfinite(solids.centre_m).all() and (solids.half_m > 0).all()
        unit = solids.rotation @ solids.rotation.transpose(0, 2, 1)
        assert np.abs(unit - np.eye(3)).max() < 1e-9
        assert solids.material.max() < len(make_scene(kind, seed).materials)


@pytest.mark.parametrize("kind", SEEDS)
def test_robot_keeps_clear_and_moves_smoothly(kind: str) -> None:
    for seed in SEEDS[kind]:
        scene = make_scene(kind, seed)
        times = np.arange(0.0, 10.0, 0.1)
        poses = np.stack([scene.pose(t) for t in times])
        steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
        assert steps.max() < (0.15 if kind == "rooms" else 1.3)
        turns = np.arccos(
            np.clip((np.einsum("nij,nij->n", poses[1:, :3, :3], poses[:-1, :3, :3]) - 1) / 2, -1, 1)
        )
        assert np.rad2deg(turns.max()) < 6.0
        if kind == "rooms":
            # Lamps may hang above and chairs stand below the camera; nothing comes closer than 20
            # cm.
            gaps = [scene.primitives(t).distance_m(poses[k, :3, 3]) for k, t in enumerate(times)]
            assert min(gaps) > 0.2
        else:
            assert 4.9 < (poses[-1, 0, 3] - poses[0, 0, 3]) / (times[-1] - times[0]) < 12.1


def test_rooms_are_indoors_and_labelled() -> None:
    for seed in range(6):
        scene = make_scene("rooms", seed)
        frame = render(scene, scene.pose(0.0), scene.camera.resized(64, 48))
        assert frame.labels.max() <= 40
        assert np.isfinite(frame.depth_m).mean() > 0.7
        assert {1, 2} & set(np.unique(frame.labels).tolist())
        assert 0.8 <= scene.pose(0.0)[2, 3] <= 2.0


def test_streets_have_road_ahead_and_train_ids() -> None:
    for seed in range(4):
        scene = make_scene("streets", seed)
        frame = render(scene, scene.pose(0.0), scene.camera.resized(104, 32))
        assert set(np.unique(frame.labels).tolist()) <= set(range(19))
        assert (frame.labels[-3:] == 0).mean() > 0.3
        assert np.isnan(frame.depth_m[frame.labels == 10]).all()
        assert np.nanmax(frame.depth_m) <= 80.0
        # KITTI's camera height: the road under the middle column is where a plane 1.65 m below puts
        # it.
        v = np.arange(28, 32)
        pitch = np.arcsin(-scene.pose(0.0)[2, 2])
        angle = np.arctan((v - frame.camera.cy) / frame.camera.fy) + pitch
        expected = scene.pose(0.0)[2, 3] / np.sin(angle) * np.cos(angle - pitch)
        road = frame.labels[28:32, 52] == 0
        np.testing.assert_allclose(frame.depth_m[28:32, 52][road], expected[road], rtol=0.01)


@pytest.mark.parametrize("kind", SEEDS)
def test_random_poses_stay_in_their_range(kind: str) -> None:
    scene, rng = make_scene(kind, 1), np.random.default_rng(0)
    poses = np.stack([scene.random_pose(rng) for _ in range(50)])
    assert (poses[:, 2, 3] >= 0.8).all() and (poses[:, 2, 3] <= 2.0).all()
    assert len(np.unique(poses[:, 0, 3].round(2))) > 10
    np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1.0, atol=1e-9)
