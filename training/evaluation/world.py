"""Scores on the procedural world: world test set v1, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.metrics import DepthErrors, depth_errors, mean_over_images
from mono_depth_ros.progress import progress
from training.evaluation.world_test import SCENES, test_frames

Predictor = Callable[[npt.NDArray[np.uint8], Intrinsics], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class WorldScores:
    """Means over images of the procedural world.

    Attributes:
        model: the checkpoint.
        constant: one depth for all pixels, the median of all true depths.
        constant_m: that depth.
        images: how many were scored.
    """

    model: DepthErrors
    constant: DepthErrors
    constant_m: float
    images: int


def score_on_world(predictor: Predictor, kind: str, scenes: int = SCENES) -> WorldScores:
    """Score one predictor; see `scores_on_world`."""
    return scores_on_world({"": predictor}, kind, scenes)[""]


def scores_on_world(
    predictors: Mapping[str, Predictor], kind: str, scenes: int = SCENES
) -> dict[str, WorldScores]:
    """Score on world test set v1, exact depth as truth, in one pass over the frames.

    Args:
        predictors: what is scored, by name, as node and evaluator run it.
        kind: rooms or streets.
        scenes: of the test set, one frame each; all by default.

    Raises:
        DataError: see `world_test.test_frames`.
    """
    errors: dict[str, list[DepthErrors]] = {name: [] for name in predictors}
    truths_m = []
    for frame in progress(test_frames(kind, scenes), scenes, f"scoring on {kind}"):
        for name, predictor in predictors.items():
            errors[name].append(depth_errors(predictor(frame.rgb, frame.camera), frame.depth_m))
        truths_m.append(frame.depth_m)
    constant_m = float(np.nanmedian(np.stack(truths_m)))
    constant = mean_over_images([depth_errors(np.full(t.shape, constant_m), t) for t in truths_m])
    return {
        name: WorldScores(mean_over_images(found), constant, constant_m, len(found))
        for name, found in errors.items()
    }


def world_lines(scores: WorldScores, name: str, kind: str) -> list[str]:
    """Return the scores as lines of text."""
    rows = {name: scores.model, f"constant {scores.constant_m:.2f} m": scores.constant}
    names = [key for key in asdict(scores.model) if key not in ("count", "mean_log")]
    width = max(map(len, rows))
    lines = [f"world test set v1, procedural {kind}, {scores.images} of {SCENES} images"]
    lines.append(" " * width + "".join(f"{key:>10}" for key in names))
    for label, errors in rows.items():
        values = (getattr(errors, key) for key in names)
        cells = "".join(f"{'-' if math.isnan(v) else f'{v:.4f}':>10}" for v in values)
        lines.append(f"{label:<{width}}{cells}")
    return lines
