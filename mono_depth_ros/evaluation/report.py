"""An evaluation as files: scores.json, per_frame.csv and a self-contained report.html.

`saved_report` describes the first two and reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Any

from mono_depth_ros import __version__
from mono_depth_ros.evaluation.diagnosis import Diagnosis
from mono_depth_ros.evaluation.folders import replacing_folder, require_replaceable_folder
from mono_depth_ros.evaluation.html import note, page, table
from mono_depth_ros.evaluation.left_out import left_out_rows
from mono_depth_ros.evaluation.pipeline import Evaluation
from mono_depth_ros.evaluation.report_sections import (
    flicker_text,
    picture_sections,
    plot_sections,
    summary_section,
)
from mono_depth_ros.evaluation.saved_report import PER_FRAME, SCORES, write_frames, write_scores
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.metrics import DepthErrors

PAGE = "report.html"

_ALIGNED = (
    "Interval: {}. Aligned rows are not metric: they are what remains when every image is fitted "
    "to its truth, by one factor, or by a scale and a shift of inverse depth (least squares), as "
    "papers on relative depth do. A robot has no such truth."
)

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
    evaluation: Evaluation,
    out: str | Path,
    about: Mapping[str, Any] | None = None,
    live: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report folder; it appears at once, complete.

    Args:
        evaluation: what `evaluate_bag` returned.
        out: folder to create; an earlier report there is replaced.
        about: further facts for the page and scores.json, such as the checkpoint's name and hash.
        live: what was measured of a running node, if the depth came from one.

    Returns:
        The path of report.html.

    Raises:
        DataError: `out` exists and is no report, or cannot be written.
    """
    out = Path(out)
    require_replaceable(out)
    facts = {**provenance(evaluation), **(about or {}), **_versions()}
    with replacing_folder(out) as folder:
        write_scores(evaluation, facts, folder / SCORES, live)
        write_frames(evaluation, folder / PER_FRAME)
        (folder / PAGE).write_text(_page(evaluation, facts, live), encoding="utf-8")
    return out / PAGE


def score_lines(evaluation: Evaluation) -> list[str]:
    """Return the score table as lines of text, for a terminal."""
    header = ["", *(title for title, _ in COLUMNS.values())]
    return padded([header, *([name, *cells] for name, cells in score_rows(evaluation))])


def padded(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of equal columns, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def score_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """Return (name, formatted scores) of the model, its interval, the baselines and range bins."""
    summary, edges = evaluation.summary, evaluation.config.range_bins_m
    bins = zip(pairwise(edges), summary.bins, strict=True)
    other = ("pooled over all pixels", summary.pooled)
    if evaluation.config.protocol.average == "pixels":
        other = ("mean of images", summary.mean_of_images)
    return [
        ("prediction", score_cells(summary.model)),
        *_interval_rows(evaluation),
        (f"constant {summary.constant_m:.2f} m", score_cells(summary.constant)),
        ("prediction, median-aligned per image", score_cells(summary.aligned)),
        ("prediction, scale-and-shift aligned, not metric", score_cells(summary.scale_and_shift)),
        (f"prediction, {other[0]}", score_cells(other[1])),
        ("prediction, median of images", score_cells(summary.median_of_images)),
        *(
            (f"prediction at {low:g} to {high:g} m", score_cells(bin_))
            for (low, high), bin_ in bins
        ),
    ]


def interval_text(evaluation: Evaluation) -> str:
    """Return in words what the interval is of, or why there is none."""
    config, interval = evaluation.config.intervals, evaluation.interval()
    if interval is None:
        return f"none: {config.missing()}"
    return config.describe(interval.low.count)


def provenance(evaluation: Evaluation) -> dict[str, Any]:
    """Return everything the scores depend on, in words and numbers."""
    config, recording, summary = evaluation.config, evaluation.recording, evaluation.summary
    protocol = config.protocol
    return {
        "recording": recording.path.name,
        **({"damage": recording.damage} if recording.damage else {}),
        **({"interrupted": evaluation.interrupted} if evaluation.interrupted else {}),
        "image topic": recording.topics.image,
        "truth": _truth_text(evaluation),
        "occlusion rule": _occlusion_text(config),
        **_geometry_facts(evaluation),
        "set-up of camera and LiDAR": setup_text(evaluation.diagnosis),
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
        "of them predicted": f"{summary.coverage:.2%}",
        "median scale (1 = metric)": f"{summary.median_scale:.4f}",
        "scale flicker": flicker_text(evaluation),
        "interval of the prediction's scores": interval_text(evaluation),
    }


def setup_text(diagnosis: Diagnosis | None) -> str:
    """Say what looks wrong with the set-up, or that nothing does."""
    if diagnosis is None:
        return "not checked"
    if diagnosis.warnings:
        return "; ".join(diagnosis.warnings)
    if not diagnosis.conclusive:
        return "not known: too few edges that image and LiDAR share"
    return f"nothing looks wrong ({diagnosis.frames} frames)"


def _truth_text(evaluation: Evaluation) -> str:
    recording, expected = evaluation.recording, evaluation.config.protocol.truth
    kind = "LiDAR" if evaluation.config.frames.truth == "lidar" else "depth image"
    text = f"{kind} of the recording, {recording.topics.truth}"
    if evaluation.config.profile == "lidar":
        return text
    return f"{text} (the profile's own truth is: {expected})"


def _geometry_facts(evaluation: Evaluation) -> dict[str, str]:
    """Say what was done to images and sweeps before they were compared."""
    config, fixed_frame = evaluation.config, evaluation.recording.fixed_frame
    facts = {"images": "rectified as recorded" if config.frames.rectified else "rectified here"}
    if config.frames.truth == "depth":
        return facts
    moved = "as recorded"
    if fixed_frame:
        count = config.frames.sweeps
        moved = f"{count} per image, " if count > 1 else ""
        moved += f"moved to the image's stamp in frame {fixed_frame}"
    where = "at every LiDAR point" if config.sampling == "subpixel" else "at pixel centres"
    return {**facts, "sweeps": moved, "prediction taken": where}


def _occlusion_text(config: EvaluationConfig) -> str:
    if config.frames.truth == "depth":
        return "none, the truth is a depth image"
    if config.occlusion == "none":
        return "nearest point per pixel only"
    return (
        "nearest point per pixel; points more than "
        f"{config.occlusion_gap:.0%} behind neighbours on two opposite sides, or seen past them by "
        "the LiDAR alone, are dropped"
    )


def _interval_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    interval = evaluation.interval()
    if interval is None:
        return []
    # The first column counts pixels, of which an end of an interval has none.
    level = f"{100 * evaluation.config.intervals.level:g} %"
    return [
        (f"  {level} of draws, from", ["", *score_cells(interval.low)[1:]]),
        (f"  {level} of draws, to", ["", *score_cells(interval.high)[1:]]),
    ]


def score_cells(errors: DepthErrors) -> list[str]:
    """Return the scores as text, one cell per entry of `COLUMNS`."""
    return [form.format(getattr(errors, name)) for name, (_, form) in COLUMNS.items()]


def _page(evaluation: Evaluation, facts: Mapping[str, Any], live: Mapping[str, Any] | None) -> str:
    header = ["", *(title for title, _ in COLUMNS.values())]
    rows = [[name, *cells] for name, cells in score_rows(evaluation)]
    facts_rows = [[name, str(value)] for name, value in facts.items()]
    devkit = evaluation.summary.devkit
    parts = [
        ("Summary", summary_section(evaluation)),
        ("Scores", table(header, rows) + note(_ALIGNED.format(interval_text(evaluation)))),
    ]
    if evaluation.config.profile == "kitti-benchmark":
        pairs = [[name, f"{value:.4f}"] for name, value in asdict(devkit).items()]
        parts.append(("KITTI leaderboard terms", table([], pairs)))
    if live is not None:
        live_rows = [[name, fact_text(value)] for name, value in live.items()]
        parts.append(("Live", table([], live_rows)))
    parts += [*picture_sections(evaluation), *plot_sections(evaluation)]
    left_out = left_out_rows(evaluation) or [["nothing", ""]]
    parts.append(("What was left out", table([], left_out)))
    parts.append(("What was compared", table([], facts_rows)))
    return page(f"Depth against truth: {evaluation.recording.path.name}", parts)


def fact_text(value: Any) -> str:
    """Return a measured value as text, in four digits."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {fact_text(item)}" for name, item in value.items()) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
    require_replaceable_folder(out, SCORES, "evaluation report")
