"""A deliberate fault in a recording's set-up is named by the evaluation of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mono_depth_ros.bags.world import write_world_bag
from mono_depth_ros.cli.main import main
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frames import Recording
from mono_depth_ros.evaluation.pipeline import evaluate_bag
from mono_depth_ros.evaluation.report import setup_text
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.geometry import quaternion_from_matrix
from mono_depth_ros.world.recording import RecordingConfig
from mono_depth_ros.world.scene import rotation_y


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    """A robot that turns in a room, exact calibration."""
    path = tmp_path_factory.mktemp("world") / "bag"
    config = RecordingConfig(kind="rooms", seed=11, frames=24, size=(240, 320))
    for _ in write_world_bag(path, config):
        pass
    return path


def rotated(bag) -> list[float]:
    """The extrinsics turned by 2 degrees about the camera's vertical axis."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_y(np.radians(2.0))
    matrix = matrix @ Recording(bag, FrameConfig()).camera_from_lidar
    return [*matrix[:3, 3].tolist(), *quaternion_from_matrix(matrix[:3, :3]).tolist()]


def constant(rgb, camera):
    return np.full(rgb.shape[:2], 3.0, np.float32)


def test_without_fault_nothing_is_said(bag):
    evaluation = evaluate_bag(bag, constant)
    assert evaluation.recording.fixed_frame == "odom"
    assert evaluation.diagnosis.conclusive and evaluation.diagnosis.warnings == ()
    assert setup_text(evaluation.diagnosis) == "nothing looks wrong (24 frames)"


def test_turned_extrinsics_are_named_in_the_report_and_on_the_terminal(bag, tmp_path, capsys):
    config = EvaluationConfig(frames=FrameConfig(camera_from_lidar=tuple(rotated(bag))))
    diagnosis = evaluate_bag(bag, constant, config).diagnosis
    (warning,) = diagnosis.warnings
    assert warning.startswith("extrinsics or time:")
    # The correction turns back.
    assert np.linalg.norm(np.subtract(diagnosis.rotation_deg, (0, -2, 0))) < 0.5
    settings = tmp_path / "settings.yaml"
    settings.write_text(json.dumps({"frames": {"camera_from_lidar": rotated(bag)}}))
    arguments = ["evaluate", str(bag), "--depth-topic", "/ground_truth/depth"]
    arguments += ["--config", str(settings), "--out", str(tmp_path / "report")]
    assert main(arguments) == 0
    assert "WARNING: extrinsics or time:" in capsys.readouterr().out
    scores = json.loads((tmp_path / "report/scores.json").read_text())
    assert scores["provenance"]["set-up of camera and LiDAR"].startswith("extrinsics or time:")


def test_the_check_can_be_left_out(bag):
    evaluation = evaluate_bag(bag, constant, EvaluationConfig(check_setup=False))
    assert evaluation.diagnosis is None and setup_text(None) == "not checked"
