"""Score checkpoints on real frames: `python -m training.zero_shot CHECKPOINT... --root DIR`.

The frames are named in a YAML file and lie below DIR; nobody trains on them. Every checkpoint is
run like the node runs it and scored on the sets of its scene, beside one constant depth.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

from mono_depth_ros.atomic import replacing
from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.errors import ConfigError, DataError, MonoDepthError
from mono_depth_ros.evaluation.saved_report import json_ready
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from training.config import CHECKOUT
from training.evaluation.real_frames import RealSet, Scene, Use, load_sets
from training.evaluation.real_scores import (
    SetScores,
    for_scene,
    scene_of,
    score_lines,
    score_real_frames,
)

FORMAT = 1
_FRAMES = CHECKOUT / "config/evaluation/real_frames.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        lines = _run(options)
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", nargs="+", help="name or .safetensors file")
    parser.add_argument(
        "--frames",
        type=Path,
        default=_FRAMES,
        metavar="FILE.yaml",
        help="the sets (default: config/evaluation/real_frames.yaml)",
    )
    parser.add_argument(
        "--root", type=Path, required=True, metavar="DIR", help="where the paths of the sets start"
    )
    parser.add_argument("--use", choices=get_args(Use), help="sets for this alone (default: all)")
    parser.add_argument(
        "--scene", choices=get_args(Scene), help="default: what each checkpoint was trained on"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="scores as .json")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="a PNG per checkpoint and set")
    return parser


def _run(options: argparse.Namespace) -> list[str]:
    """Score every checkpoint, write what is asked for, return the table."""
    sets = _chosen_sets(options)
    infos: dict[str, CheckpointInfo] = {}
    scores: dict[str, list[SetScores]] = {}
    for label in dict.fromkeys(options.checkpoint):
        predictor = DepthPredictor.load(label, InferenceConfig(device=options.device))
        infos[label] = predictor.info
        chosen = for_scene(sets, options.scene or scene_of(predictor.info))
        pictures = None if options.pictures is None else options.pictures / _folder_name(label)
        scores[label] = score_real_frames(predictor, chosen, options.root, pictures)
    if options.json is not None:
        write_scores(options.json, infos, scores)
    return [*score_lines(scores), *_warnings(infos)]


def _chosen_sets(options: argparse.Namespace) -> list[RealSet]:
    sets = load_sets(options.frames)
    if not options.root.is_dir():
        raise DataError(f"--root {options.root} is no folder; give the one that the sets start at")
    chosen = [part for part in sets if options.use in (None, part.use)]
    if not chosen:
        raise ConfigError(f"{options.frames} has no set for {options.use}; leave out --use")
    return chosen


def write_scores(
    path: Path,
    infos: Mapping[str, CheckpointInfo],
    scores: Mapping[str, Sequence[SetScores]],
) -> None:
    """Write the scores as JSON under a temporary name, then rename; NaN becomes null.

    Args:
        path: file to write.
        infos: label of a checkpoint to what it says about itself.
        scores: the same labels to what `score_real_frames` returned.
    """
    checkpoints = [
        {
            "checkpoint": label,
            "name": infos[label].name,
            "sha256": infos[label].sha256,
            "sets": [asdict(part) for part in found],
        }
        for label, found in scores.items()
    ]
    record = json_ready({"format": FORMAT, "checkpoints": checkpoints})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def _folder_name(label: str) -> str:
    """Return a checkpoint's name or path as the name of one folder."""
    return re.sub(r"[^\w.-]+", "_", label.removesuffix(".safetensors")).strip("._") or "checkpoint"


def _warnings(infos: Mapping[str, CheckpointInfo]) -> list[str]:
    return [
        f"WARNING: {label} learnt from {part['folder']}; if that holds these frames or frames of "
        "the same scenes, its scores are not zero-shot"
        for label, info in infos.items()
        for part in info.recipe.get("data", {}).get("prepared") or ()
    ]


if __name__ == "__main__":
    sys.exit(main())
