"""An evaluation as text, side by side, and as JSON for `python -m training.results`."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from mono_depth_ros.atomic import replacing
from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.config import to_mapping
from mono_depth_ros.evaluation.report import COLUMNS, padded
from mono_depth_ros.evaluation.saved_report import json_ready
from mono_depth_ros.metrics import DepthErrors, DevkitErrors
from training.evaluation.profiles import describe
from training.evaluation.run import Evaluation
from training.evaluation.scores import ProfileScores

FORMAT = 1

_DEVKIT_COLUMNS = {
    "silog": "SILog",
    "sq_rel_percent": "sqErrRel %",
    "abs_rel_percent": "absErrRel %",
    "irmse_per_km": "iRMSE 1/km",
    "imae_per_km": "iMAE 1/km",
    "rmse_mm": "RMSE mm",
    "mae_mm": "MAE mm",
}
_MISSING = "-"


def evaluation_lines(evaluation: Evaluation, name: str) -> list[str]:
    """Return the evaluation as lines of text.

    Args:
        evaluation: what `evaluate` returned.
        name: of the checkpoint or of the folder of predictions.
    """
    manifest = evaluation.manifest
    rows = [["", "images", *(title for title, _ in COLUMNS.values())]]
    for scores in evaluation.profiles:
        rows += _profile_rows(scores, evaluation)
    lines = [f"{name} on {manifest.dataset} ({manifest.layout})", *padded(rows)]
    lines += _devkit_lines(evaluation)
    lines += _semantic_lines(evaluation)
    if evaluation.ordinal is not None:
        o = evaluation.ordinal
        lines += [
            "",
            f"classes of depth, {len(o.confusion)} of equal width in ln(depth), under "
            f"{evaluation.profiles[0].profile.name}: {o.accuracy:.4f} of {o.pixels} pixels in the "
            f"right one, {o.within_one:.4f} at most one off, {o.mean_distance:.2f} off on average",
        ]
    lines.append("")
    for scores in evaluation.profiles:
        lines.append(f"{scores.profile.name}: {describe(scores.profile)}; {_counts(scores)}")
    if evaluation.absent:
        lines.append(f"not prepared, so not scored: {', '.join(evaluation.absent)}")
    if evaluation.left_out:
        lines.append(f"LEFT OUT, {len(evaluation.left_out)} images that could not be scored:")
        lines += [f"  {line}" for line in evaluation.left_out]
    return lines


def write_scores(
    path: Path, evaluation: Evaluation, info: CheckpointInfo | None, about: Mapping[str, Any]
) -> None:
    """Write everything as JSON; NaN becomes null.

    Args:
        path: file to write.
        evaluation: what `evaluate` returned.
        info: of the checkpoint that predicted, where it is known.
        about: further facts: how the predictions were made, warnings.
    """
    manifest, config = evaluation.manifest, evaluation.config
    record = {
        "format": FORMAT,
        "checkpoint": None if info is None else to_mapping(info),
        "about": dict(about),
        "dataset": manifest.dataset,
        "layout": manifest.layout,
        "split_sha256": dict(manifest.digests),
        "bootstrap": to_mapping(config.bootstrap),
        "profiles": {s.profile.name: _profile_record(s, evaluation) for s in evaluation.profiles},
        "absent": list(evaluation.absent),
        "left_out": list(evaluation.left_out),
        "semantics": None if evaluation.semantics is None else asdict(evaluation.semantics),
        "ordinal": None if evaluation.ordinal is None else asdict(evaluation.ordinal),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        text = json.dumps(json_ready(record), indent=1, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_per_image(path: Path, evaluation: Evaluation) -> None:
    """Write one CSV line per profile and image."""
    names = [field.name for field in fields(DepthErrors)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["profile", "image", "group", "truth_pixels", *names])
        for scores in evaluation.profiles:
            for image in scores.images:
                values = [getattr(image.errors, name) for name in names]
                head = [scores.profile.name, image.name, image.group, image.truth_pixels]
                writer.writerow([*head, *values])


def _profile_rows(scores: ProfileScores, evaluation: Evaluation) -> Iterator[list[str]]:
    yield [scores.profile.name, str(_scored(scores)), *_cells(scores.errors)]
    config = evaluation.config.bootstrap
    interval = scores.interval(config)
    if interval is not None:
        drawn = f"{interval.low.count} {config.unit}s"
        for end, errors in (("from", interval.low), ("to", interval.high)):
            yield [f"  {config.level:.0%} of draws {end}", drawn, "", *_cells(errors)[1:]]
    for name, errors in scores.strata.items():
        if errors.count:
            yield [f"  {name}", "", *_cells(errors)]


def _devkit_lines(evaluation: Evaluation) -> list[str]:
    rows = [["", *_DEVKIT_COLUMNS.values()]]
    for scores in evaluation.profiles:
        if scores.profile.protocol.missing == "devkit-fill":
            values = (getattr(scores.devkit, name) for name in _DEVKIT_COLUMNS)
            rows.append([scores.profile.name, *(_number(value, "{:.3f}") for value in values)])
    return ["", "in the units of KITTI's leaderboard", *padded(rows)] if rows[1:] else []


def _semantic_lines(evaluation: Evaluation) -> list[str]:
    s = evaluation.semantics
    if s is None:
        return []
    worst_first = sorted((v, name) for name, v in s.iou.items() if not math.isnan(v))
    return [
        "",
        f"classes of {s.pixels} labelled pixels: pixel accuracy {s.pixel_accuracy:.4f}, mean "
        f"accuracy {s.mean_accuracy:.4f}, mean IoU {s.mean_iou:.4f}",
        "IoU " + ", ".join(f"{name} {value:.3f}" for value, name in reversed(worst_first)),
    ]


def _profile_record(scores: ProfileScores, evaluation: Evaluation) -> dict[str, Any]:
    interval = scores.interval(evaluation.config.bootstrap)
    return {
        "split": scores.profile.split,
        "truth": scores.profile.truth,
        "protocol": to_mapping(scores.profile.protocol),
        "images": _scored(scores),
        "without_truth": scores.without_truth,
        "truth_pixels": scores.truth_pixels,
        "scores": asdict(scores.errors),
        "devkit": asdict(scores.devkit),
        "interval": None
        if interval is None
        else {"low": asdict(interval.low), "high": asdict(interval.high)},
        "strata": {name: asdict(errors) for name, errors in scores.strata.items()},
    }


def _scored(scores: ProfileScores) -> int:
    return sum(image.errors.count > 0 for image in scores.images)


def _counts(scores: ProfileScores) -> str:
    empty = len(scores.images) - _scored(scores)
    text = f"{_scored(scores)} images, {scores.errors.count} of {scores.truth_pixels} pixels"
    if empty:
        text += f", {empty} images without a pixel that counts"
    if scores.without_truth:
        text += f", {scores.without_truth} without truth"
    return text


def _cells(errors: DepthErrors | DevkitErrors) -> list[str]:
    return [_number(getattr(errors, name), form) for name, (_, form) in COLUMNS.items()]


def _number(value: float, form: str) -> str:
    return _MISSING if isinstance(value, float) and math.isnan(value) else form.format(value)
