from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from turning_scene import rescaled, rotated, turning_frames, zoomed

from mono_depth_ros.errors import BagError, ConfigError
from mono_depth_ros.evaluation.diagnosis import diagnose, unit_factor
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.lidar_edges import find_edges
from mono_depth_ros.geometry import Intrinsics, project_points

POSE, FOCAL, UNIT = "extrinsics or time", "focal length", "unit"


@lru_cache(maxsize=8)
def recorded(kind, seed, frames, lidar="64", late_s=0.0):
    return turning_frames(kind, seed, frames=frames, lidar=lidar, late_s=late_s)


@pytest.fixture(scope="module")
def faultless():
    return recorded("rooms", 107, 8)


def groups(diagnosis):
    return [warning.partition(":")[0] for warning in diagnosis.warnings]


def test_no_fault_no_warning(faultless):
    found = diagnose(faultless)
    assert found.warnings == ()
    assert found.conclusive
    assert found.frames == 8
    assert np.abs(found.rotation_deg).max() < 0.5
    assert abs(found.time_offset_ms) < 20
    assert found.focal_scale == pytest.approx(1.0, abs=0.015)
    assert found.unit_factor == 1.0


@pytest.mark.parametrize("axis", range(3), ids=["pitch", "yaw", "roll"])
def test_rotated_extrinsics(faultless, axis):
    fault = np.zeros(3)
    fault[axis] = 2.0
    found = diagnose(rotated(faultless, fault))
    assert groups(found) == [POSE]
    # The estimate takes the fault back.
    np.testing.assert_allclose(found.rotation_deg, -fault, atol=0.5)
    assert found.best_score > 1.3 * found.score


def test_sweeps_taken_later_than_stamped():
    found = diagnose(recorded("rooms", 107, 8, late_s=0.1))
    assert groups(found) == [POSE]
    assert found.time_offset_ms == pytest.approx(100, abs=30)
    assert "ms later than their stamps" in found.warnings[0]


def test_what_the_stamps_say_is_allowed_for():
    late = recorded("rooms", 107, 8, late_s=0.1)
    stamped = [replace(f, truth_stamp_ns=f.stamp_ns + 100_000_000) for f in late]
    found = diagnose(stamped)
    assert found.warnings == ()
    assert abs(found.time_offset_ms) < 30
    # Unless the points had been moved to the image's stamp, which here they had not.
    assert diagnose(stamped, moved=True).time_offset_ms == pytest.approx(100, abs=30)


def test_wrong_focal_length(faultless):
    found = diagnose(zoomed(faultless, 1.1))
    assert groups(found) == [FOCAL]
    assert found.focal_scale == pytest.approx(1 / 1.1, abs=0.03)
    assert f"{found.focal_scale:.3f}" in found.warnings[0]


def test_small_errors_of_a_calibration_raise_nothing(faultless):
    assert diagnose(rotated(zoomed(faultless, 1.02), (0.3, 0.3, -0.3))).warnings == ()


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_wrong_unit(faultless, factor):
    found = diagnose(rescaled(faultless[:5], factor))
    assert groups(found) == [UNIT]
    assert found.unit_factor == pytest.approx(1 / factor)
    assert f"multiply them by {1 / factor:g}" in found.warnings[0]


def test_depth_images_are_judged_by_their_unit_only(faultless):
    depth_m = np.full((240, 320), 2500.0, np.float32)
    frames = [replace(f, lidar_points_m=None, depth_m=depth_m) for f in faultless[:2]]
    found = diagnose(frames)
    assert groups(found) == [UNIT]
    assert found.unit_factor == pytest.approx(0.001)
    assert not found.conclusive
    assert np.isnan(found.focal_scale)


def test_units_of_distances():
    assert unit_factor(np.array([np.nan, 0.0, 0.002, 0.005])) == 1000.0
    assert unit_factor(np.array([3.0, 900.0, 2.0])) == 1.0
    assert unit_factor(np.array([np.nan, 0.0])) == 1.0


def test_without_edges_nothing_is_claimed():
    rng = np.random.default_rng(0)
    camera = Intrinsics(100.0, 100.0, 79.5, 59.5, 160, 120)
    azimuth, elevation = np.meshgrid(np.radians(np.arange(-40, 40, 0.2)), np.radians(range(-9, 10)))
    wall_m = np.stack(
        [np.full(azimuth.shape, 3.0), 3 * np.tan(azimuth), 3 * np.tan(elevation) / np.cos(azimuth)],
        axis=-1,
    ).reshape(-1, 3)
    optical_from_body = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    frames = [
        Frame(
            i, i, rng.integers(0, 255, (120, 160, 3), np.uint8), camera, wall_m, optical_from_body
        )
        for i in range(3)
    ]
    found = diagnose(frames)
    assert not found.conclusive
    assert found.warnings == ()


def test_long_recordings_are_thinned(faultless):
    assert diagnose(faultless[:7], max_frames=3).frames in (2, 3)


def test_refusals(faultless):
    with pytest.raises(BagError, match="no frame"):
        diagnose([])
    with pytest.raises(BagError, match="image"):
        diagnose([replace(faultless[0], rgb=None)])
    with pytest.raises(ConfigError, match="max_frames"):
        diagnose(faultless, max_frames=0)


def test_frames_of_another_size_are_not_looked_at(faultless):
    other = replace(faultless[1], rgb=np.zeros((120, 160, 3), np.uint8))
    other = replace(other, camera=other.camera.resized(160, 120))
    assert diagnose([faultless[0], other, faultless[2]]).frames == 2


def test_edges_of_a_box_before_a_wall():
    """A board at 2 m, 1 m wide, before a wall at 4 m: its sides, not the wall's."""
    azimuth, elevation = np.meshgrid(
        np.radians(np.arange(-40, 40, 0.2)), np.radians(np.arange(-10, 10.1, 0.8))
    )
    ahead = np.cos(azimuth) * np.cos(elevation)
    direction = np.stack([ahead, np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], axis=-1)
    on_board = np.abs(2.0 * np.tan(azimuth)) < 0.5
    points_m = (direction * (np.where(on_board, 2.0, 4.0) / ahead)[..., None]).reshape(-1, 3)
    camera_from_lidar = np.array([[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
    camera = Intrinsics(200.0, 200.0, 159.5, 119.5, 320, 240)
    jumps = [kind for kind in find_edges(points_m, camera_from_lidar, camera) if kind.strong]
    along = next(kind for kind in jumps if not kind.across)
    middle_m = (along.first_m + along.second_m) / 2
    u_px, _, z_m = project_points(middle_m @ camera_from_lidar[:3, :3].T, camera)
    assert len(u_px) == 2 * 26
    np.testing.assert_allclose(z_m, 2.0, atol=0.01)
    np.testing.assert_allclose(np.sort(np.abs(u_px - 159.5)), 50.0, atol=0.7)
    assert len(next(kind for kind in jumps if kind.across).first_m) == 0


SWEEP = [("rooms", seed, "64") for seed in range(300, 308)]
SWEEP += [("streets", 300, "64"), ("streets", 301, "16")]


@pytest.mark.long
class TestManyScenes:
    """Rates over scenes that no threshold was chosen on; scenes without edges are left out."""

    FRAMES = 30

    def conclusive(self):
        scenes = []
        for kind, seed, lidar in SWEEP:
            frames = recorded(kind, seed, self.FRAMES, lidar)
            found = diagnose(frames)
            if found.conclusive:
                scenes.append((kind, seed, lidar, frames, found))
        assert len(scenes) >= len(SWEEP) / 2
        return scenes

    def test_hits_and_false_alarms(self):
        false_alarms, hits, cases = 0, 0, 0
        for kind, seed, lidar, frames, faultless in self.conclusive():
            false_alarms += bool(faultless.warnings)
            for axis in range(3):
                fault = 2.0 * np.eye(3)[axis]
                found = diagnose(rotated(frames, fault))
                off = np.abs(np.array(found.rotation_deg) + fault).max()
                hits += groups(found) == [POSE] and off < 0.5
            found = diagnose(recorded(kind, seed, self.FRAMES, lidar, late_s=0.1))
            hits += groups(found) == [POSE] and abs(found.time_offset_ms - 100) < 30
            found = diagnose(zoomed(frames, 0.9))
            hits += groups(found) == [FOCAL] and abs(found.focal_scale - 1 / 0.9) < 0.03
            cases += 5
        assert false_alarms == 0
        assert hits >= 0.9 * cases
