"""Score a checkpoint: `python -m training.evaluate CHECKPOINT`.

On prepared data under all named profiles of the data set side by side, or on world test set v1, of
the procedural world; where neither --data nor --kind says, on what the checkpoint was trained on.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mono_depth_ros.checkpoint import CheckpointInfo, load_network, read_info
from mono_depth_ros.config import with_overrides
from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.evaluation.bootstrap import BootstrapConfig
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.progress import progress
from mono_depth_ros.world import KINDS
from training.config import CHECKOUT
from training.evaluation.ordinal import draw_confusion
from training.evaluation.predict import (
    Source,
    add_view_arguments,
    load_source,
    parse_view,
    recipe_view,
)
from training.evaluation.report import evaluation_lines, write_per_image, write_scores
from training.evaluation.run import (
    Evaluation,
    EvaluationConfig,
    chosen_profiles,
    evaluate,
    seen_in_training,
)
from training.evaluation.saved import PredictionWriter, SavedSource
from training.evaluation.strata import parse_ranges
from training.evaluation.world import score_on_world, world_lines
from training.evaluation.world_test import SCENES
from training.manifest import Manifest, read_manifest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        folder = _data_folder(options)
        lines = _world(options) if folder is None else _prepared(options, folder)
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", help="name or .safetensors file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the network, of how the same weights answer: inference=hard",
    )
    world = parser.add_argument_group("procedural world")
    world.add_argument("--kind", choices=tuple(KINDS), help="default: what it was trained on")
    world.add_argument(
        "--scenes", type=int, default=SCENES, help="of world test set v1 (default: all %(default)s)"
    )
    _add_data_arguments(parser.add_argument_group("prepared data"))
    return parser


def _add_data_arguments(data: argparse._ArgumentGroup) -> None:
    data.add_argument("--data", type=Path, metavar="DIR", help="what training.prepare wrote")
    data.add_argument(
        "--profile",
        action="append",
        default=[],
        metavar="NAME[@CAP]",
        help="kitti-garg, kitti-garg@50 for a cap of 50 m, ...; may be given several times "
        "(default: all of the data set)",
    )
    data.add_argument("--split", default="", help="in place of the profiles' own splits")
    data.add_argument("--flip", action="store_true", help="average with the mirrored image")
    add_view_arguments(data)
    data.add_argument("--save-predictions", type=Path, metavar="DIR", help="float32 .npy files")
    data.add_argument("--predictions", type=Path, metavar="DIR", help="score these instead")
    data.add_argument("--png-scale", type=float, help="they are PNG files, codes per metre")
    data.add_argument("--ranges", help="of true depth, metres, e.g. 0-4,4-8,8-inf")
    data.add_argument(
        "--classes",
        choices=("none", "nyu4", "nyu13", "nyu40"),
        default="nyu4",
        help="of NYU's labels, for scores per class (default: %(default)s)",
    )
    data.add_argument("--no-edges", action="store_true", help="no scores near depth edges")
    data.add_argument("--draws", type=int, default=1000, help="of the bootstrap; 0 for none")
    data.add_argument(
        "--draw", choices=("image", "group"), default="image", help="single images, or scenes"
    )
    data.add_argument("--seed", type=int, default=0, help="of the draws")
    data.add_argument("--strict", action="store_true", help="a damaged file is an error")
    data.add_argument("--out", type=Path, metavar="FILE", help="scores as .json")
    data.add_argument("--per-image", type=Path, metavar="FILE", help="scores of images as .csv")
    data.add_argument("--confusion", type=Path, metavar="FILE", help="of depth classes, .png")


def _data_folder(options: argparse.Namespace) -> Path | None:
    """Return the prepared data to score on, None for the procedural world."""
    if (options.checkpoint is None) == (options.predictions is None):
        raise ConfigError("name a checkpoint or --predictions, one of the two")
    if options.data is not None:
        if options.kind is not None:
            raise ConfigError("--kind is the procedural world, --data is not; give one of the two")
        return Path(options.data)
    if options.checkpoint is None:
        raise ConfigError("--predictions needs --data, the folder that training.prepare wrote")
    if options.kind is None:
        for part in read_info(options.checkpoint).recipe.get("data", {}).get("prepared") or ():
            return CHECKOUT / part["folder"]
    return None


def _world(options: argparse.Namespace) -> list[str]:
    network, info = load_network(options.checkpoint, with_overrides({}, options.setting))
    predictor = DepthPredictor(network, info, InferenceConfig(device=options.device))
    data = predictor.info.recipe.get("data", {})
    # Recipes of the first checkpoints had no section for the world.
    kind = options.kind or (data.get("world") or data).get("kind", "rooms")
    scores = score_on_world(predictor, kind, options.scenes)
    return world_lines(scores, predictor.info.name, kind)


def _prepared(options: argparse.Namespace, folder: Path) -> list[str]:
    """Score on prepared data, write what is asked for, return the report."""
    manifest = read_manifest(folder)
    config = _evaluation_config(options)
    source, info, about = _source(options, manifest)
    profiles, _ = chosen_profiles(manifest, config)
    warnings = [] if info is None else seen_in_training(info, manifest, profiles)
    writer = None
    if options.save_predictions is not None:
        splits = list(dict.fromkeys(profile.split for profile in profiles))
        writer = PredictionWriter(options.save_predictions, manifest, splits, info, about)
    evaluation = evaluate(
        source,
        manifest,
        config,
        info=info,
        writer=writer,
        track=lambda jobs, total: progress(jobs, total, "evaluating"),
    )
    _write(options, evaluation, info, {**about, "warnings": warnings})
    name = info.name if info is not None else str(options.predictions)
    how = ", ".join(f"{key} {value}" for key, value in about.items())
    lines = [*evaluation_lines(evaluation, name), f"how it was predicted: {how}"]
    return lines + [f"WARNING: {line}" for line in warnings]


def _evaluation_config(options: argparse.Namespace) -> EvaluationConfig:
    return EvaluationConfig(
        profiles=tuple(options.profile),
        split=options.split,
        ranges=parse_ranges(options.ranges) if options.ranges else None,
        edges=not options.no_edges,
        classes=options.classes,
        bootstrap=BootstrapConfig(draws=options.draws, unit=options.draw, seed=options.seed),
        strict=options.strict,
    )


def _source(
    options: argparse.Namespace, manifest: Manifest
) -> tuple[Source, CheckpointInfo | None, dict[str, Any]]:
    """Return what predicts, whose checkpoint it is, and how it predicts, in words."""
    if options.predictions is not None:
        of_networks = (options.flip, options.crop, options.size, options.setting)
        if any(of_networks) or options.save_predictions:
            raise ConfigError(
                "--flip, --crop, --size, --setting and --save-predictions need a checkpoint"
            )
        saved = SavedSource(options.predictions, options.png_scale)
        saved.require_made_for(manifest)
        return saved, saved.info, {"predictions": str(options.predictions), **saved.about}
    if options.png_scale is not None:
        raise ConfigError("--png-scale belongs to --predictions")
    view = parse_view(options.crop, options.size)
    settings = with_overrides({}, options.setting)
    source = load_source(options.checkpoint, options.device, options.flip, view, settings)
    view = view or recipe_view(source.info)
    seen = "letterboxed frame" if view is None else f"crop {view.crop}, {_size_text(view.size)}"
    return source, source.info, {"view": seen, "flip averaging": options.flip}


def _size_text(size: ImageSize | None) -> str:
    return "own size" if size is None else f"resized to {size.height}x{size.width}"


def _write(
    options: argparse.Namespace,
    evaluation: Evaluation,
    info: CheckpointInfo | None,
    about: dict[str, Any],
) -> None:
    if options.out is not None:
        write_scores(options.out, evaluation, info, about)
    if options.per_image is not None:
        write_per_image(options.per_image, evaluation)
    if options.confusion is not None and evaluation.ordinal is not None:
        options.confusion.parent.mkdir(parents=True, exist_ok=True)
        draw_confusion(options.confusion, evaluation.ordinal.confusion)


if __name__ == "__main__":
    sys.exit(main())
