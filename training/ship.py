"""Score a checkpoint and ship it: `python -m training.ship runs/NAME/best.safetensors --root DIR`.

The checkpoint goes into the package with its scores, and a model card beside it: what it was
trained on, how well it does on world test set v1 and, zero-shot, on real frames, how fast it is,
and what it is not good for. One that is worse than what is shipped under its name is refused.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mono_depth_ros.atomic import replacing
from mono_depth_ros.checkpoint import CheckpointInfo, copy_checkpoint, load_network, read_info
from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.models.presets import count_parameters
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.world import make_scene
from training.config import CHECKOUT
from training.evaluation.real_frames import load_sets
from training.evaluation.real_scores import (
    SetScores,
    for_scene,
    scene_of,
    score_lines,
    score_real_frames,
)
from training.evaluation.world import WorldScores, score_on_world, world_lines

SHIPPED = CHECKOUT / "mono_depth_ros" / "checkpoints"
# So many scenes of the test set are scored again by the tests.
SAMPLE = 16
_FRAMES = CHECKOUT / "config/evaluation/real_frames.yaml"
_KEPT = ("abs_rel", "rmse_m", "rmse_log", "delta1")
_TIMED_RUNS, _WARM_UP_RUNS = 20, 3
_NOT_FOR = {
    "rooms": (
        "anything that must not fail: it has never seen a photograph in training",
        "outdoors, distances beyond 10 m, fisheye and other images that are not rectified",
        "glass and mirrors, of which it learned no depth",
        "thin things and sharp edges: its grid is coarse, see the image size above",
    ),
    "streets": (
        "anything that must not fail: it has never seen a photograph in training",
        "indoors, distances beyond 80 m, fisheye and other images that are not rectified",
        "night, snow and heavy rain, which its world does not have",
        "traffic jams, markets and whatever else its world does not have",
    ),
}


def ship(checkpoint: Path, root: Path | None, force: bool = False) -> list[str]:
    """Score a checkpoint, write it and its card into the package, return the card.

    Args:
        checkpoint: .safetensors file of a run on the procedural world.
        root: folder of the real frames; None leaves them out.
        force: also replace a checkpoint that scores better.

    Raises:
        ConfigError: the shipped checkpoint of this name scores better.
        CheckpointError: it cannot be read.
        ConfigError, DataError: see `score_real_frames` and `score_on_world`.
    """
    network, info = load_network(checkpoint)
    kind = scene_of(info)
    predictor = DepthPredictor(network, info, InferenceConfig(device="cpu"))
    world = score_on_world(predictor, kind)
    scores = {**_named(f"world_test_v1_{kind}", asdict(world.model))}
    target = SHIPPED / f"{info.name}.safetensors"
    if not force:
        _require_better(scores, target, f"world_test_v1_{kind}.abs_rel")
    sample = score_on_world(predictor, kind, SAMPLE)
    scores |= _named(f"world_test_v1_{kind}_first_{SAMPLE}", asdict(sample.model))
    real: list[SetScores] = []
    if root is not None:
        real = score_real_frames(predictor, for_scene(load_sets(_FRAMES), kind), root)
        for part in real:
            scores |= _named(f"zero_shot_{part.name}", asdict(part.metric))
            scores |= _named(f"zero_shot_{part.name}_median_aligned", asdict(part.aligned))
    info = replace(info, scores={**info.scores, **scores})
    copy_checkpoint(checkpoint, target, info)
    lines = list(_card(info, kind, count_parameters(network), target, world, real, predictor))
    with replacing(target.with_suffix(".md")) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def _named(place: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{place}.{name}": values[name] for name in _KEPT}


def _require_better(scores: Mapping[str, float], target: Path, key: str) -> None:
    if not target.exists():
        return
    old = read_info(target).scores.get(key)
    if old is not None and scores[key] >= old:
        raise ConfigError(
            f"{target.stem} is shipped with {key} {old:.4f}, this one has {scores[key]:.4f}; a "
            "checkpoint is only replaced by a better one (--force does it nevertheless)"
        )


def _card(
    info: CheckpointInfo,
    kind: str,
    parameters: int,
    path: Path,
    world: WorldScores,
    real: Sequence[SetScores],
    predictor: DepthPredictor,
) -> Iterator[str]:
    """Yield the lines of a model card."""
    recipe, data = info.recipe, info.recipe["data"]["world"]
    camera = make_scene(kind, 0).camera
    milliseconds = _milliseconds(predictor, kind)
    hours = recipe["seconds"] / 3600.0
    yield from (
        f"# {info.name}",
        "",
        f"Trained on a procedural world alone, {_start_of(recipe)}.",
        "",
        "| | |",
        "|---|---|",
        f"| network | {info.network}, {parameters / 1e6:.2f} M parameters, "
        f"{path.stat().st_size / 1e6:.1f} MB |",
        f"| image | {info.image_size.height}x{info.image_size.width}; other cameras are "
        "letterboxed to it and their focal length is taken into account |",
        f"| depth | to {info.settings['max_depth_m']:g} m |",
        f"| data | procedural {kind}, scenes {data['train_seeds'][0]} to "
        f"{data['train_seeds'][1] - 1}, {data['frames_per_scene']} frames of each; varied: "
        f"{', '.join(data.get('variety', ())) or 'nothing beyond layout and pose'}; focal length "
        f"±{100 * data['focal_jitter']:.0f} % |",
        f"| training | {recipe['steps_done']} steps of {recipe['batch_size']} images, "
        f"{hours:.1f} h |",
        f"| speed | {milliseconds:.1f} ms for an image of {camera.width}x{camera.height}, PyTorch "
        f"on a CPU with {torch.get_num_threads()} threads |",
        f"| retrain | `python -m training.train config/training/{info.name}.yaml` |",
        "",
        "## Procedural world",
        "",
        "```",
        *world_lines(world, info.name, kind),
        "```",
        "",
    )
    if real:
        yield from ("## Real frames, zero-shot", "")
        yield "A handful of frames; sets for choosing may have decided between checkpoints."
        yield from ("", "```", *score_lines({info.name: real}), "```", "")
    yield from ("## Not good for", "", *(f"* {line}" for line in _NOT_FOR[kind]))


def _start_of(recipe: Mapping[str, Any]) -> str:
    if source := recipe.get("initial_checkpoint"):
        same = " where both have the same parts" if recipe.get("initial_checkpoint_except") else ""
        return f"from the weights of {Path(source).stem}{same}"
    if source := recipe.get("initial_encoder"):
        return f"the encoder from that of {Path(source).stem}, the rest from random weights"
    return "from random weights"


def _milliseconds(predictor: DepthPredictor, kind: str) -> float:
    camera = make_scene(kind, 0).camera
    rgb = np.random.default_rng(0).integers(0, 255, (camera.height, camera.width, 3), np.uint8)
    seconds = []
    for _ in range(_WARM_UP_RUNS + _TIMED_RUNS):
        began = time.perf_counter()
        predictor(rgb, camera)
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds[_WARM_UP_RUNS:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help=".safetensors file of a run")
    parser.add_argument("--root", type=Path, metavar="DIR", help="of the real frames")
    parser.add_argument("--force", action="store_true", help="replace a better one, too")
    options = parser.parse_args(arguments)
    try:
        lines = ship(options.checkpoint, options.root, options.force)
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
