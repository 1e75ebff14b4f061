"""Exact depth predicted, an exact LiDAR as the truth: what is left is the evaluator's own error.

Rigs are drawn at random: poses of camera and LiDAR, focal length, centre and size of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from mono_depth_ros.evaluation.frame_scoring import reference_of, score_frame
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.sampling import sampled_at
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.geometry import Intrinsics, invert_transform
from mono_depth_ros.prediction import Prediction
from mono_depth_ros.world import LIDARS, make_scene, render, scan
from mono_depth_ros.world.scene import BODY_FROM_OPTICAL, body_pose

SIZES = ((320, 240), (640, 480), (1242, 375), (800, 600))
QUIET = replace(LIDARS["64"], range_noise_m=0.0, dropout=0.0)
KEEP_ALL = EvaluationConfig(occlusion="none")
FILTERED = EvaluationConfig()


@dataclass(frozen=True)
class Errors:
    """Relative errors of the pixels with a truth, and which are more than 2 px from an edge."""

    relative: npt.NDArray[np.float64]
    away: npt.NDArray[np.bool_]

    @property
    def wrong(self) -> int:
        """Points more than 5 % off that no edge explains: they were seen through foreground."""
        return int((self.away & (self.relative > 0.05)).sum())

    @property
    def right(self) -> int:
        return int((self.away & (self.relative <= 0.05)).sum())


def draw_rig(kind: str, seed: int, above_m: float | None = None) -> tuple[Frame, np.ndarray]:
    """Return a frame without its image, and the exact depth of its camera."""
    rng = np.random.default_rng(seed)
    scene, time_s = make_scene(kind, seed), float(rng.uniform(0, 5))
    above_m = float(rng.uniform(-0.1, 0.3)) if above_m is None else above_m
    offset = body_pose(
        (rng.uniform(-0.4, 0.1), rng.uniform(-0.3, 0.3), above_m), *rng.normal(0, [0.3, 0.05, 0.05])
    )
    base_from_body = scene.base_from_camera.copy()
    base_from_body[:3, :3] = base_from_body[:3, :3] @ BODY_FROM_OPTICAL.T
    scene = replace(scene, base_from_lidar=base_from_body @ offset)
    width, height = SIZES[seed % len(SIZES)]
    focal = width * float(rng.uniform(0.5, 1.1))
    centre = (np.array([width, height]) - 1) / 2 + rng.uniform(-0.05, 0.05, 2) * [width, height]
    camera = Intrinsics(focal, focal * rng.uniform(0.95, 1.05), *centre, width, height)
    pose = scene.pose(time_s)
    points = scan(scene, time_s, QUIET)
    frame = Frame(
        stamp_ns=0,
        truth_stamp_ns=0,
        rgb=None,
        camera=camera,
        lidar_points_m=np.stack([points[axis] for axis in "xyz"], axis=1),
        camera_from_lidar=invert_transform(pose) @ scene.lidar_pose(time_s),
    )
    return frame, render(scene, pose, camera, time_s=time_s).depth_m


def errors(frame: Frame, depth_m: np.ndarray, config: EvaluationConfig) -> Errors:
    reference = reference_of(frame, config)
    reference_m = reference.depth_m
    sampled_m = sampled_at(depth_m, reference_m, *reference.points)
    filled = np.nan_to_num(depth_m, nan=1e3)
    kernel = np.ones((3, 3), np.uint8)
    edge = cv2.dilate(filled, kernel) > 1.05 * cv2.erode(filled, kernel)
    away = cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, 5) > 2
    scored = np.isfinite(reference_m) & np.isfinite(sampled_m) & (reference_m < 80.0)
    relative = np.abs(sampled_m - reference_m)[scored] / reference_m[scored]
    return Errors(relative, away[scored])


def check(kind: str, seed: int) -> float:
    """Check what holds on every rig; return the mean error more than 2 px from an edge."""
    frame, depth_m = draw_rig(kind, seed)
    found = errors(frame, depth_m, FILTERED)
    assert found.away.sum() > 1000
    assert found.relative[found.away & (found.relative < 0.05)].mean() < 1e-3
    if frame.camera.width >= 640:
        reference = reference_of(frame, FILTERED)
        assert score_frame(frame, Prediction(depth_m), reference, FILTERED).model.abs_rel < 0.01
    return float(found.relative[found.away].mean())


@pytest.mark.parametrize("seed", [900, 901, 902])
@pytest.mark.parametrize("kind", ["rooms", "streets"])
def test_the_evaluators_own_error_is_small(kind, seed):
    assert check(kind, seed) < 1e-3


@pytest.mark.long
def test_the_evaluators_own_error_is_small_on_many_rigs():
    """What hides behind a surface too near or too low for the LiDAR stays: 2 rigs of these 80."""
    means = [check(kind, seed) for kind in ("rooms", "streets") for seed in range(1000, 1040)]
    assert np.median(means) < 2e-4 and max(means) < 3e-3
    assert sum(mean >= 1e-3 for mean in means) <= 2


def occlusion(seeds) -> tuple[int, int, int, int]:
    """Return wrong points without and with the filter, right ones without and with it."""
    counts = np.zeros(4, int)
    for seed in seeds:
        frame, depth_m = draw_rig("streets", seed, above_m=0.5)
        before, after = (errors(frame, depth_m, config) for config in (KEEP_ALL, FILTERED))
        counts += [before.wrong, after.wrong, before.right, after.right]
    return tuple(counts)


def test_points_seen_through_foreground_are_cut():
    wrong, wrong_left, right, right_left = occlusion((901, 902, 905))
    assert wrong >= 50 and wrong_left * 10 <= wrong
    assert right_left >= 0.9 * right


@pytest.mark.long
def test_points_seen_through_foreground_are_cut_on_many_rigs():
    wrong, wrong_left, right, right_left = occlusion(range(1100, 1130))
    assert wrong >= 500 and wrong_left * 10 <= wrong
    assert right_left >= 0.9 * right


def test_pixel_sampling_is_worse_on_roads():
    frame, depth_m = draw_rig("streets", 901)
    reference = reference_of(frame, FILTERED)
    scores = [
        score_frame(
            frame, Prediction(depth_m), reference, EvaluationConfig(sampling=way)
        ).model.abs_rel
        for way in ("subpixel", "pixel")
    ]
    assert scores[1] > 1.5 * scores[0]
