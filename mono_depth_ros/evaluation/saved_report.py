"""The files of an evaluation that programs read: scores.json and per_frame.csv.

scores.json, format 1. A number that JSON lacks is null for NaN, "inf" or "-inf":

    format          1; raised whenever a reader of the earlier format would misread a file
    scores          averages of the recording, as the protocol averages
      model, aligned, constant   scores as in `DepthErrors`, units in their names or its docstring:
                      the prediction, it after median scaling per image, one depth everywhere
      constant_m      that depth, metres
      bins            list of {low_m, high_m, scores as in `DepthErrors`}, the prediction by true
                      depth, low_m <= depth < high_m
      devkit          scores as in `DevkitErrors`
      frames          scored; unpredicted_frames and unreadable_frames are not
      truth_pixels    reference pixels that count, model.count of which were predicted
      median_scale    median over frames of median(reference) / median(prediction)
      scale_and_shift scores as in `DepthErrors` after a / prediction + b, fitted per image to
                      1 / reference by least squares: not metric
      mean_of_images, pooled, median_of_images   scores as in `DepthErrors` of the prediction:
                      images of equal weight, pixels of equal weight, median over images
      scale_flicker   median of |ln(scale / scale of the frame before)| over scored frames less than
                      0.5 s apart, scale as in median_scale; flicker_pairs are their number
    interval        null, or the interval of scores.model:
      units           number of what was drawn
      drawn           in words, what and how; as numbers in config.intervals
      low, high       ends, every score of `DepthErrors` but count
    protocol        every switch of `Protocol` as it was applied
    config          `EvaluationConfig`
    provenance      what the scores depend on, in words and numbers, for people
    details         pooled over all pixels, e = (prediction - reference) / reference of each; scores
                    are {count, abs_rel: mean |e|, bias: mean e, delta1}
      regions         list of nine {row, column, scores}, thirds of the image: upper, middle, lower
                      and left, centre, right
      ranges          list of {low_m, high_m, scores} by true depth, 12 bins per factor of ten;
                      empty ones are left out
      error_edges     ascending e, the last "inf"; error_counts the pixels between two of them
      confidence      ten of {low, high, confidence: mean of the pixels, scores} by the network's
                      confidence; none where it has no confidence
      classes         list of {name, scores} by the class that the network saw
      point_flicker   median over frames of what `PointFlicker` measures, null where nothing is;
                      point_flicker_frames are their number
      semantics       only where the recording has labels: {pixels, pixel_accuracy, mean_accuracy,
                      mean_iou, iou: by class name}
    interrupted     only where the evaluation was: how far it had come, in words
    left_out        what was not scored and why, see `left_out.left_out`
    live            only where a running node was scored: what `LiveTiming` and `StreamMatcher`
                    measured, times in ms, shares of 1, null where nothing was measured

Reports of earlier versions lack details, or of these confidence, classes and point_flicker;
scale_and_shift (here and below), mean_of_images, pooled, median_of_images and scale_flicker. They
are read as None, empty, without a pixel and NaN.

per_frame.csv has one line per scored frame, numbers as Python prints them, so that reading gives
the same bits. Columns: stamp_ns (the image's, unique), truth_stamp_ns, truth_pixels, median_scale,
then the fields of `DepthErrors` of the prediction, with aligned_ and constant_ in front those of
the two others, with LOW_HIGH_m_ in front those of every range bin, with devkit_ in front the
fields of `DevkitErrors`, and with scale_and_shift_ in front those of `DepthErrors`.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from mono_depth_ros.config import from_mapping, to_mapping
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.evaluation.bootstrap import Interval
from mono_depth_ros.evaluation.details import Details
from mono_depth_ros.evaluation.left_out import left_out
from mono_depth_ros.evaluation.pipeline import Evaluation
from mono_depth_ros.evaluation.protocols import Protocol
from mono_depth_ros.evaluation.record_values import count, errors, mapping, number
from mono_depth_ros.evaluation.saved_details import details_from, details_record
from mono_depth_ros.evaluation.scores import FrameScore, Summary
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.metrics import DepthErrors, DevkitErrors

FORMAT = 1
SCORES, PER_FRAME = "scores.json", "per_frame.csv"

_HEAD = ("stamp_ns", "truth_stamp_ns", "truth_pixels", "median_scale")
_COUNTS = ("frames", "unpredicted_frames", "unreadable_frames", "truth_pixels")
# Later additions to scores.
_LATER = ("scale_and_shift", "mean_of_images", "pooled", "median_of_images")
_PARTS = ("scores", "protocol", "config", "provenance")


@dataclass(frozen=True, slots=True)
class Report:
    """A report folder, read.

    Attributes:
        facts: `provenance` of scores.json.
        config: the settings.
        protocol: the switches as they were applied.
        summary: the averages.
        interval: of `summary.model`; None where nothing could be said.
        frames: scored frames by the stamp of their image, integer nanoseconds, in recorded order.
        details: where the error lies; None in reports of earlier versions.
    """

    facts: Mapping[str, Any]
    config: EvaluationConfig
    protocol: Protocol
    summary: Summary
    interval: Interval | None
    frames: Mapping[int, FrameScore]
    details: Details | None = None


def read_report(folder: str | Path) -> Report:
    """Read what `write_report` wrote.

    Raises:
        DataError: the folder is no report, or it is damaged or of another format.
    """
    folder = Path(folder)
    if not (folder / SCORES).is_file():
        raise DataError(f"{folder} holds no {SCORES}; give the folder that evaluate --out wrote")
    record = _read_scores(folder / SCORES)
    try:
        config = from_mapping(EvaluationConfig, record["config"], "config")
        protocol = from_mapping(Protocol, record["protocol"], "protocol")
        summary = _summary(record["scores"], config)
        interval = _interval(record.get("interval"))
        details = details_from(record["details"]) if "details" in record else None
    except (ValueError, ConfigError) as error:
        raise _damaged(folder / SCORES, error) from error
    try:
        frames = _read_frames(folder / PER_FRAME, config)
        _require_same_frames(frames, summary)
    except OSError as error:
        raise _damaged(folder / PER_FRAME, error.strerror) from error
    except (ValueError, csv.Error) as error:
        raise _damaged(folder / PER_FRAME, error) from error
    facts = MappingProxyType(record["provenance"])
    return Report(facts, config, protocol, summary, interval, frames, details)


def write_scores(
    evaluation: Evaluation,
    facts: Mapping[str, Any],
    path: Path,
    live: Mapping[str, Any] | None = None,
) -> None:
    """Write scores.json; `facts` becomes its provenance."""
    summary = asdict(evaluation.summary)
    edges = evaluation.config.range_bins_m
    summary["bins"] = [
        {"low_m": low, "high_m": high, **scores}
        for (low, high), scores in zip(pairwise(edges), summary["bins"], strict=True)
    ]
    record = {
        "format": FORMAT,
        "scores": summary,
        "interval": _interval_record(evaluation),
        "details": details_record(evaluation.details),
        "protocol": to_mapping(evaluation.config.protocol),
        "config": to_mapping(evaluation.config),
        "provenance": dict(facts),
        **({"interrupted": evaluation.interrupted} if evaluation.interrupted else {}),
        "left_out": left_out(evaluation),
        **({} if live is None else {"live": dict(live)}),
    }
    path.write_text(json_text(record), encoding="utf-8")


def write_frames(evaluation: Evaluation, path: Path) -> None:
    """Write per_frame.csv."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_columns(evaluation.config))
        writer.writerows(score.values() for score in evaluation.frames)


def json_text(record: Mapping[str, Any]) -> str:
    """Return a record as indented JSON; NaN becomes null, infinity a word."""
    return json.dumps(json_ready(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def json_ready(value: Any) -> Any:
    """Replace what JSON cannot hold: NaN by null, infinity by a word, arrays by lists."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return json_ready(value.tolist())
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _interval_record(evaluation: Evaluation) -> dict[str, Any] | None:
    interval = evaluation.interval()
    if interval is None:
        return None
    ends = {name: asdict(getattr(interval, name)) for name in ("low", "high")}
    for scores in ends.values():
        del scores["count"]
    units = interval.low.count
    return {"units": units, "drawn": evaluation.config.intervals.describe(units), **ends}


def _columns(config: EvaluationConfig) -> list[str]:
    names = [field.name for field in fields(DepthErrors)]
    bins = [f"{low:g}_{high:g}_m_" for low, high in pairwise(config.range_bins_m)]
    scores = [f"{part}{name}" for part in ("", "aligned_", "constant_", *bins) for name in names]
    devkit = [f"devkit_{field.name}" for field in fields(DevkitErrors)]
    return [*_HEAD, *scores, *devkit, *(f"{_LATER[0]}_{name}" for name in names)]


def _read_scores(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise _damaged(path, error) from error
    if not isinstance(record, dict):
        raise _damaged(path, "it is no mapping")
    found = record.get("format")
    if found != FORMAT:
        raise DataError(
            f"{path} has {'no format' if found is None else f'format {found!r}'}, this version "
            f"reads format {FORMAT}; evaluate the recording again with this version"
        )
    absent = [name for name in _PARTS if not isinstance(record.get(name), dict)]
    if absent:
        raise _damaged(path, f"it lacks {', '.join(absent)}")
    return record


def _summary(values: Mapping[str, Any], config: EvaluationConfig) -> Summary:
    edges = list(pairwise(config.range_bins_m))
    bins = values.get("bins")
    if not isinstance(bins, list) or len(bins) != len(edges):
        raise ValueError(f"scores.bins are not the {len(edges)} of config.range_bins_m")
    named: dict[str, Any] = {name: _later(values, name) for name in _LATER}
    named |= {name: count(values.get(name), f"scores.{name}") for name in _COUNTS}
    return Summary(
        model=errors(DepthErrors, values.get("model"), "scores.model"),
        aligned=errors(DepthErrors, values.get("aligned"), "scores.aligned"),
        constant=errors(DepthErrors, values.get("constant"), "scores.constant"),
        constant_m=number(values.get("constant_m", ""), "scores.constant_m"),
        bins=tuple(
            _bin(found, edge, f"scores.bins[{i}]")
            for i, (found, edge) in enumerate(zip(bins, edges, strict=True))
        ),
        devkit=errors(DevkitErrors, values.get("devkit"), "scores.devkit"),
        median_scale=number(values.get("median_scale", ""), "scores.median_scale"),
        scale_flicker=number(values.get("scale_flicker"), "scores.scale_flicker"),
        flicker_pairs=count(values.get("flicker_pairs", 0), "scores.flicker_pairs"),
        **named,
    )


def _later(values: Mapping[str, Any], name: str) -> DepthErrors:
    if name not in values:
        return DepthErrors.empty()
    return errors(DepthErrors, values[name], f"scores.{name}")


def _bin(values: Any, edge: tuple[float, float], where: str) -> DepthErrors:
    ends = tuple(number(mapping(values, where).get(key), where) for key in ("low_m", "high_m"))
    if ends != edge:
        raise ValueError(f"{where} is not the bin from {edge[0]:g} to {edge[1]:g} m")
    found = {name: value for name, value in values.items() if name not in ("low_m", "high_m")}
    return errors(DepthErrors, found, where)


def _interval(values: Any) -> Interval | None:
    if values is None:
        return None
    if not isinstance(values, dict):
        raise ValueError(f"interval is {values!r}")
    units = {"count": values.get("units")}
    low, high = (
        errors(DepthErrors, {**units, **mapping(values.get(end), f"interval.{end}")}, "interval")
        for end in ("low", "high")
    )
    return Interval(low, high)


def _read_frames(path: Path, config: EvaluationConfig) -> Mapping[int, FrameScore]:
    columns, bins, frames = _columns(config), len(config.range_bins_m) - 1, {}
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        header = next(lines, None)
        earlier = [name for name in columns if not name.startswith(_LATER[0])]
        later = header != earlier
        columns = columns if later else earlier
        if header != columns:
            raise ValueError(f"line 1 does not name the {len(columns)} columns {columns[0]} ...")
        for cells in lines:
            if len(cells) != len(columns):
                raise ValueError(
                    f"line {lines.line_num} has {len(cells)} cells, expected {len(columns)}"
                )
            try:
                frame = FrameScore.from_values(iter(cells), bins, later)
            except ValueError as error:
                raise ValueError(f"line {lines.line_num}: {error}") from error
            if frame.stamp_ns in frames:
                raise ValueError(f"line {lines.line_num} repeats the stamp {frame.stamp_ns}")
            frames[frame.stamp_ns] = frame
    return MappingProxyType(frames)


def _require_same_frames(frames: Mapping[int, FrameScore], summary: Summary) -> None:
    """Refuse a table that belongs to other averages, or has lost lines."""
    pixels = sum(frame.model.count for frame in frames.values())
    if (len(frames), pixels) != (summary.frames, summary.model.count):
        raise ValueError(
            f"it holds {len(frames)} frames of {pixels} pixels, {SCORES} has {summary.frames} of "
            f"{summary.model.count}"
        )


def _damaged(path: Path, reason: object) -> DataError:
    return DataError(f"{path} is damaged: {reason}; evaluate the recording again")
