"""Flicker of static points: by hand on a wall, through a bag of a robot that moves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mono_depth_ros.bags.world import write_world_bag
from mono_depth_ros.evaluation import work as work_module
from mono_depth_ros.evaluation.frame_scoring import reference_of
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.pipeline import evaluate_bag
from mono_depth_ros.evaluation.point_flicker import PointFlicker
from mono_depth_ros.evaluation.recorded import RecordedDepth
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.world.recording import RecordingConfig

CAMERA = Intrinsics(fx=40.0, fy=40.0, cx=31.5, cy=23.5, width=64, height=48)
CONFIG = EvaluationConfig(occlusion="none", pictures=0, check_setup=False)
MS = 1_000_000


def wall_points() -> np.ndarray:
    """A wall 5 m in front of where the camera starts: 30 by 20 points."""
    x, y = np.meshgrid(np.linspace(-1.9, 1.9, 30), np.linspace(-1.4, 1.4, 20))
    return np.stack([x.ravel(), y.ravel(), np.full(600, 5.0)], axis=1)


def frame_at(z_m: float, stamp_ns: int, points_m: np.ndarray | None = None) -> Frame:
    """Return what a camera with a LiDAR in the same place sees from `z_m` nearer to the wall."""
    pose = np.eye(4)
    pose[2, 3] = z_m
    points_m = wall_points() if points_m is None else points_m
    return Frame(
        stamp_ns,
        stamp_ns,
        None,
        CAMERA,
        (points_m - [0, 0, z_m]).astype(np.float32),
        np.eye(4),
        fixed_from_camera=pose,
    )


def look(flicker: PointFlicker, frame: Frame, depth_m: float) -> float:
    prediction_m = np.full((48, 64), depth_m, np.float32)
    return flicker.look(frame, prediction_m, reference_of(frame, CONFIG))


def test_a_wall_by_hand():
    """10 % too far, then 21 %: every point's ratio grows by 1.1, although its depth shrinks."""
    flicker = PointFlicker()
    assert math.isnan(look(flicker, frame_at(0.0, 0), 5.5))
    value = look(flicker, frame_at(1.0, 100 * MS), 4.0 * 1.21)
    assert value == pytest.approx(math.log(1.1), rel=1e-5)
    assert look(flicker, frame_at(1.0, 200 * MS), 4.0 * 1.21) == pytest.approx(0.0, abs=1e-9)


def test_what_moves_does_not_count():
    """Two thirds of the wall have come 1 m nearer; there even a steady prediction is no flicker."""
    flicker, moved = PointFlicker(), wall_points()
    look(flicker, frame_at(0.0, 0), 5.0)
    nearer = moved[:, 0] < 0.6
    moved[nearer, 2] = 4.0
    assert look(flicker, frame_at(0.0, 100 * MS, moved), 5.0) == pytest.approx(0.0, abs=1e-9)
    # Now all of it has moved, or was elsewhere before.
    moved[:, 2] = 3.0
    assert math.isnan(look(flicker, frame_at(0.0, 200 * MS, moved), 5.0))


@pytest.mark.parametrize(
    "second",
    [
        frame_at(1.0, 500 * MS),
        frame_at(1.0, 0),
        replace(frame_at(1.0, 100 * MS), fixed_from_camera=None),
        frame_at(1.0, 100 * MS, wall_points()[:19]),
    ],
    ids=["half a second later", "same stamp", "no pose", "19 points"],
)
def test_where_nothing_can_be_said(second):
    flicker = PointFlicker()
    look(flicker, frame_at(0.0, 0), 5.0)
    assert math.isnan(look(flicker, second, 4.0))


class Scaled:
    """Recorded depth, every other frame 5 % farther."""

    def __init__(self, recorded):
        self.recorded = recorded

    def predict_frame(self, frame):
        depth_m = self.recorded.predict_frame(frame)
        odd = round((frame.stamp_ns % 1e9) / 1e8) % 2
        return depth_m * 1.05 if odd else depth_m


def test_a_walk_through_a_room_in_one_go_and_in_parts(tmp_path, monkeypatch):
    bag = tmp_path / "room"
    recording = RecordingConfig(frames=6, lidar="16", size=(240, 320))
    assert len(list(write_world_bag(bag, recording))) == 6
    with RecordedDepth(bag, "/ground_truth/depth") as exact:
        steady = evaluate_bag(bag, exact, CONFIG)
        # Truth taken between pixels, and noise of the LiDAR's range.
        assert steady.details.point_flicker < 0.005 and steady.details.point_flicker_frames == 5
        whole = evaluate_bag(bag, Scaled(exact), CONFIG)
        assert whole.details.point_flicker == pytest.approx(math.log(1.05), rel=0.1)
        monkeypatch.setattr(work_module, "PART_FRAMES", 2)
        parts = evaluate_bag(bag, Scaled(exact), CONFIG)
    assert repr(list(parts.frames)) == repr(list(whole.frames))
    assert parts.details.point_flicker == whole.details.point_flicker
    assert parts.details.point_flicker_frames == 5
