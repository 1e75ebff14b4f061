"""Scores on the procedural world: freshly rendered frames of scenes that no recipe trains on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.metrics import DepthErrors, depth_errors, mean_over_images
from mono_depth_ros.progress import progress
from mono_depth_ros.world import make_scene, training_frame

# No recipe trains or validates on scenes from here on.
FIRST_TEST_SEED = 3_000_000

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


def score_on_world(
    predictor: Predictor, kind: str, scenes: int, frames_per_scene: int = 2
) -> WorldScores:
    """Score on freshly rendered frames of the kind's own camera, exact depth as truth.

    Args:
        predictor: what is scored, as node and evaluator run it.
        kind: rooms or streets.
        scenes: from `FIRST_TEST_SEED` on.
        frames_per_scene: views of each.
    """
    camera = make_scene(kind, FIRST_TEST_SEED).camera
    errors, truths_m = [], []
    views = [(FIRST_TEST_SEED + s, i) for s in range(scenes) for i in range(frames_per_scene)]
    for seed, index in progress(views, len(views), f"scoring on {kind}"):
        frame = training_frame(kind, seed, index, camera)
        errors.append(depth_errors(predictor(frame.rgb, frame.camera), frame.depth_m))
        truths_m.append(frame.depth_m)
    constant_m = float(np.nanmedian(np.stack(truths_m)))
    constant = [depth_errors(np.full(t.shape, constant_m), t) for t in truths_m]
    return WorldScores(
        mean_over_images(errors), mean_over_images(constant), constant_m, len(errors)
    )


def world_lines(scores: WorldScores, name: str, kind: str) -> list[str]:
    """Return the scores as lines of text."""
    rows = {name: scores.model, f"constant {scores.constant_m:.2f} m": scores.constant}
    names = [key for key in asdict(scores.model) if key not in ("count", "mean_log")]
    width = max(map(len, rows))
    lines = [f"procedural world, {kind}, {scores.images} images of held-out scenes"]
    lines.append(" " * width + "".join(f"{key:>10}" for key in names))
    for label, errors in rows.items():
        values = (getattr(errors, key) for key in names)
        cells = "".join(f"{'-' if math.isnan(v) else f'{v:.4f}':>10}" for v in values)
        lines.append(f"{label:<{width}}{cells}")
    return lines
