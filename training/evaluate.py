"""Score a checkpoint on held-out scenes: `python -m training.evaluate pwa_light_rooms`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.metrics import DepthErrors, depth_errors, mean_over_images
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.progress import progress
from mono_depth_ros.world import KINDS, make_scene, training_frame

# No recipe trains or validates on scenes from here on.
FIRST_TEST_SEED = 3_000_000


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
    predictor: DepthPredictor, kind: str, scenes: int, frames_per_scene: int = 2
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", help="name or .safetensors file")
    parser.add_argument("--kind", choices=tuple(KINDS), help="default: what it was trained on")
    parser.add_argument("--scenes", type=int, default=50, help="(default: %(default)s)")
    parser.add_argument("--frames-per-scene", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    options = parser.parse_args(arguments)
    try:
        predictor = DepthPredictor.load(options.checkpoint, InferenceConfig(device=options.device))
        kind = options.kind or predictor.info.recipe.get("data", {}).get("kind", "rooms")
        scores = score_on_world(predictor, kind, options.scenes, options.frames_per_scene)
    except MonoDepthError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("\n".join(_table(scores, predictor.info.name, kind)) + "\n")
    return 0


def _table(scores: WorldScores, name: str, kind: str) -> list[str]:
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


if __name__ == "__main__":
    sys.exit(main())
