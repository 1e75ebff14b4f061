"""An evaluation as files: scores.json, per_frame.csv and a self-contained report.html."""

from __future__ import annotations

import csv
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

from mono_depth_ros import __version__
from mono_depth_ros.config import to_mapping
from mono_depth_ros.errors import DataError
from mono_depth_ros.evaluation.html import page, picture_rows, table
from mono_depth_ros.evaluation.pipeline import Evaluation, EvaluationConfig, FrameScore
from mono_depth_ros.metrics import DepthErrors

SCORES, PER_FRAME, PAGE = "scores.json", "per_frame.csv", "report.html"

COLUMNS = {
    "count": ("pixels", "{:d}"),
    "abs_rel": ("AbsRel", "{:.4f}"),
    "sq_rel": ("SqRel m", "{:.4f}"),
    "rmse_m": ("RMSE m", "{:.3f}"),
    "rmse_log": ("RMSElog", "{:.4f}"),
    "log10": ("log10", "{:.4f}"),
    "silog": ("SILog", "{:.2f}"),
    "delta1": ("δ1", "{:.4f}"),
    "delta2": ("δ2", "{:.4f}"),
    "delta3": ("δ3", "{:.4f}"),
}


def write_report(
    evaluation: Evaluation, out: str | Path, about: Mapping[str, Any] | None = None
) -> Path:
    """Write the report folder; it appears at once, complete.

    Args:
        evaluation: what `evaluate_bag` returned.
        out: folder to create; an earlier report there is replaced.
        about: further facts for the page and scores.json, such as the checkpoint's name and hash.

    Returns:
        The path of report.html.

    Raises:
        DataError: `out` exists and is no report, or cannot be written.
    """
    out = Path(out)
    require_replaceable(out)
    facts = {**provenance(evaluation), **(about or {}), **_versions()}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=f".{out.name}.unfinished-", dir=out.parent))
        try:
            folder = workplace / "report"
            folder.mkdir()
            (folder / SCORES).write_text(_scores_text(evaluation, facts), encoding="utf-8")
            _write_frames(evaluation, folder / PER_FRAME)
            (folder / PAGE).write_text(_page(evaluation, facts), encoding="utf-8")
            if out.exists():
                out.rename(workplace / "replaced")
            folder.rename(out)
        finally:
            shutil.rmtree(workplace, ignore_errors=True)
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror}; choose another folder") from error
    return out / PAGE


def score_lines(evaluation: Evaluation) -> list[str]:
    """Return the score table as lines of text, for a terminal."""
    rows = score_rows(evaluation)
    header = ["", *(title for title, _ in COLUMNS.values())]
    cells = [header, *([name, *cells] for name, cells in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in cells
    ]


def score_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """Return (name, formatted scores) of the model, the baselines and the range bins."""
    summary, edges = evaluation.summary, evaluation.config.range_bins_m
    bins = zip(pairwise(edges), summary.bins, strict=True)
    return [
        ("prediction", _cells(summary.model)),
        (f"constant {summary.constant_m:.2f} m", _cells(summary.constant)),
        ("prediction, median-aligned per image", _cells(summary.aligned)),
        *((f"prediction at {low:g} to {high:g} m", _cells(bin_)) for (low, high), bin_ in bins),
    ]


def provenance(evaluation: Evaluation) -> dict[str, Any]:
    """Return everything the scores depend on, in words and numbers."""
    config, recording, summary = evaluation.config, evaluation.recording, evaluation.summary
    protocol = config.protocol
    coverage = summary.model.count / summary.truth_pixels if summary.truth_pixels else math.nan
    return {
        "recording": recording.path.name,
        "image topic": recording.topics.image,
        "truth": _truth_text(evaluation),
        "occlusion rule": _occlusion_text(config),
        "profile": config.profile,
        "grid and crop": f"{protocol.grid} frame, crop {protocol.crop}",
        "range": f"{protocol.min_m:g} m to {protocol.cap_m:g} m, "
        + ("ends included" if protocol.cap_inclusive else "ends excluded"),
        "prediction clamped to": str(protocol.clamp_m or "not clamped"),
        "missing prediction": protocol.missing,
        "alignment": protocol.alignment,
        "average over": protocol.average,
        "images, truths in the recording": f"{recording.images}, {recording.truths}",
        "frames matched": f"{len(recording.pairs)}, within {config.frames.tolerance_ms:g} ms",
        "frames scored": summary.frames,
        "frames without a prediction": summary.unpredicted_frames,
        "frames unreadable, left out": summary.unreadable_frames,
        "truth pixels": summary.truth_pixels,
        "of them predicted": f"{coverage:.2%}",
        "median scale (1 = metric)": f"{summary.median_scale:.4f}",
    }


def _truth_text(evaluation: Evaluation) -> str:
    recording, expected = evaluation.recording, evaluation.config.protocol.truth
    kind = "LiDAR" if evaluation.config.frames.truth == "lidar" else "depth image"
    text = f"{kind} of the recording, {recording.topics.truth}"
    if evaluation.config.profile == "lidar":
        return text
    return f"{text} (the profile's own truth is: {expected})"


def _occlusion_text(config: EvaluationConfig) -> str:
    if config.frames.truth == "depth":
        return "none, the truth is a depth image"
    if config.occlusion == "none":
        return "nearest point per pixel only"
    return (
        "nearest point per pixel; points more than "
        f"{config.occlusion_gap:.0%} behind neighbours on two opposite sides are dropped"
    )


def _cells(errors: DepthErrors) -> list[str]:
    return [form.format(getattr(errors, name)) for name, (_, form) in COLUMNS.items()]


def _scores_text(evaluation: Evaluation, facts: Mapping[str, Any]) -> str:
    summary = asdict(evaluation.summary)
    edges = evaluation.config.range_bins_m
    summary["bins"] = [
        {"low_m": low, "high_m": high, **errors}
        for (low, high), errors in zip(pairwise(edges), summary["bins"], strict=True)
    ]
    record = {
        "scores": summary,
        "protocol": to_mapping(evaluation.config.protocol),
        "config": to_mapping(evaluation.config),
        "provenance": dict(facts),
    }
    return json.dumps(_json_ready(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _json_ready(value: Any) -> Any:
    """Replace what JSON cannot hold: NaN by null, infinity by a word."""
    if isinstance(value, Mapping):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf"
    return value


def _write_frames(evaluation: Evaluation, path: Path) -> None:
    names = [field.name for field in fields(DepthErrors)]
    header = ["stamp_ns", "truth_stamp_ns", "truth_pixels", "median_scale", *names]
    header += [f"{row}_{name}" for row in ("aligned", "constant") for name in names]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(_frame_row(score, names) for score in evaluation.frames)


def _frame_row(score: FrameScore, names: list[str]) -> list[Any]:
    errors = (score.model, score.aligned, score.constant)
    values = [getattr(part, name) for part in errors for name in names]
    return [score.stamp_ns, score.truth_stamp_ns, score.truth_pixels, score.scale, *values]


def _page(evaluation: Evaluation, facts: Mapping[str, Any]) -> str:
    header = ["", *(title for title, _ in COLUMNS.values())]
    rows = [[name, *cells] for name, cells in score_rows(evaluation)]
    facts_rows = [[name, str(value)] for name, value in facts.items()]
    devkit = evaluation.summary.devkit
    parts = [
        ("Scores", table(header, rows)),
        ("What was compared", table([], facts_rows)),
        ("Frames", picture_rows(evaluation.pictures, evaluation.config.range_bins_m[-1])),
    ]
    if evaluation.config.profile == "kitti-benchmark":
        pairs = [[name, f"{value:.4f}"] for name, value in asdict(devkit).items()]
        parts.insert(1, ("KITTI leaderboard terms", table([], pairs)))
    return page(f"Depth against truth: {evaluation.recording.path.name}", parts)


def _versions() -> dict[str, str]:
    found = {"mono_depth_ros": __version__}
    for package in ("torch", "numpy", "opencv-python-headless", "rosbags"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not from PyPI"
    return found


def require_replaceable(out: Path) -> None:
    """Check that a report may be written to `out`, before the work of an evaluation.

    Raises:
        DataError: it exists and is neither an empty folder nor an earlier report.
    """
    if out.exists() and not (out.is_dir() and ((out / SCORES).exists() or not any(out.iterdir()))):
        raise DataError(f"{out} exists and is no evaluation report; choose another folder")
