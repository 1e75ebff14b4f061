"""Reports side by side, and whether they differ by more than the frames' luck of the draw.

Two predictions on the same frames meet the same hard and easy scenes. Their difference is
therefore resampled frame by frame (or block by block) in pairs, which gives a far narrower
interval than the two intervals of the averages do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mono_depth_ros.config import to_mapping
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.bootstrap import SCORES, Interval
from mono_depth_ros.evaluation.intervals import IntervalConfig, difference_interval
from mono_depth_ros.evaluation.saved_report import Report
from mono_depth_ros.metrics import DepthErrors, mean_over_images, pool_over_pixels

FORMAT = 1

# Of these more is better, of the signed mean_log neither, of all others less.
_MORE_IS_BETTER = ("delta1", "delta2", "delta3")
_SIGNED = ("mean_log",)
# Facts that say what was scored, and settings that say nothing about it.
_FACTS = ("recording", "image topic", "truth")
_IDLE_SETTINGS = ("profile", "switches", "pictures", "extremes", "intervals")
_TOPIC_SETTINGS = ("frames.image_topic", "frames.truth_topic", "frames.camera_info_topic")


@dataclass(frozen=True, slots=True)
class Difference:
    """One score of a report minus that of the first on the same frames.

    Attributes:
        value: the difference, in the unit of the score.
        low: lower end of its interval, NaN without one.
        high: upper end.
    """

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero; False without one."""
        return self.low > 0.0 or self.high < 0.0


@dataclass(frozen=True, slots=True)
class Paired:
    """A report against the first one.

    Attributes:
        name: of the report.
        stamps_ns: frames that both scored, ascending stamps of their images.
        units: what was drawn from them, number of blocks or frames; 0 without an interval.
        first: average of the first report over these frames.
        this: average of this report over them.
        differences: by name of the score.
        warnings: why the two may not be comparable.
    """

    name: str
    stamps_ns: tuple[int, ...]
    units: int
    first: DepthErrors
    this: DepthErrors
    differences: Mapping[str, Difference]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of `compare_reports`.

    Attributes:
        reports: by name, the first is the one that the others are compared with.
        intervals: how intervals were drawn.
        paired: the others, in order.
    """

    reports: Mapping[str, Report]
    intervals: IntervalConfig
    paired: tuple[Paired, ...]


def compare_reports(
    reports: Mapping[str, Report], intervals: IntervalConfig | None = None
) -> Comparison:
    """Compare reports with the first one.

    Averages are taken as the first report's protocol does.

    Args:
        reports: two or more, by a name for people; the order counts.
        intervals: how the intervals of differences are drawn.

    Raises:
        ConfigError: there are fewer than two.
    """
    if len(reports) < 2:
        raise ConfigError(f"comparing needs two or more reports, got {len(reports)}")
    intervals = intervals or IntervalConfig()
    (_, first), *others = reports.items()
    paired = tuple(_pair(name, first, other, intervals) for name, other in others)
    return Comparison(MappingProxyType(dict(reports)), intervals, paired)


def report_names(folders: Sequence[Path]) -> list[str]:
    """Return a short name for each report folder: as much of its path's end as tells them apart."""
    paths = [folder.resolve() for folder in folders]
    length = 1
    while len({path.parts[-length:] for path in paths}) < len(set(paths)):
        length += 1
    names: list[str] = []
    for path in paths:
        name = "/".join(path.parts[-length:])
        again = sum(earlier == path for earlier in paths[: len(names)])
        names.append(f"{name} ({again + 1})" if again else name)
    return names


def frame_differences(comparison: Comparison, paired: Paired, score: str) -> list[float]:
    """Return report minus first of one score, per frame in the order of `paired.stamps_ns`."""
    first = next(iter(comparison.reports.values())).frames
    this = comparison.reports[paired.name].frames
    return [
        getattr(this[stamp_ns].model, score) - getattr(first[stamp_ns].model, score)
        for stamp_ns in paired.stamps_ns
    ]


def verdict(score: str, difference: Difference) -> str:
    """Return in words what an interval says about a difference."""
    if math.isnan(difference.low):
        return "no interval"
    if not difference.excludes_zero:
        return "includes 0"
    if score in _SIGNED:
        return "excludes 0"
    better = (difference.value > 0) == (score in _MORE_IS_BETTER)
    return f"excludes 0, {'better' if better else 'worse'}"


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as plain values for JSON.

    format (1); intervals, the settings of `IntervalConfig`; reports, a list of {name, provenance,
    protocol, scores, coverage, interval}; paired, a list of {name, shared_frames, units, first,
    this, differences: {score: {value, low, high, excludes_zero}}, warnings}.
    """
    return {
        "format": FORMAT,
        "intervals": to_mapping(comparison.intervals),
        "reports": [_report_record(*item) for item in comparison.reports.items()],
        "paired": [
            {
                "name": paired.name,
                "shared_frames": len(paired.stamps_ns),
                "units": paired.units,
                "first": asdict(paired.first),
                "this": asdict(paired.this),
                "differences": {
                    score: {**asdict(found), "excludes_zero": found.excludes_zero}
                    for score, found in paired.differences.items()
                },
                "warnings": list(paired.warnings),
            }
            for paired in comparison.paired
        ],
    }


def _pair(name: str, first: Report, other: Report, intervals: IntervalConfig) -> Paired:
    both = sorted(
        stamp_ns
        for stamp_ns, frame in first.frames.items()
        if frame.model.count and stamp_ns in other.frames and other.frames[stamp_ns].model.count
    )
    before = [first.frames[stamp_ns].model for stamp_ns in both]
    after = [other.frames[stamp_ns].model for stamp_ns in both]
    average = mean_over_images if first.protocol.average == "images" else pool_over_pixels
    ours, theirs = average(before), average(after)
    interval = difference_interval(both, before, after, first.protocol.average, intervals)
    return Paired(
        name=name,
        stamps_ns=tuple(both),
        units=interval.low.count if interval else 0,
        first=ours,
        this=theirs,
        differences={score: _difference(score, ours, theirs, interval) for score in SCORES},
        warnings=tuple(_warnings(first, other, both)),
    )


def _difference(
    score: str, first: DepthErrors, this: DepthErrors, interval: Interval | None
) -> Difference:
    value = getattr(this, score) - getattr(first, score)
    if interval is None:
        return Difference(value, math.nan, math.nan)
    return Difference(value, getattr(interval.low, score), getattr(interval.high, score))


def _warnings(first: Report, other: Report, shared_ns: Sequence[int]) -> list[str]:
    """Return what makes the two scores incomparable, in words."""
    found = [
        f"{fact} is {other.facts.get(fact)!r}, in the first report {first.facts.get(fact)!r}"
        for fact in _FACTS
        if other.facts.get(fact) != first.facts.get(fact)
    ]
    ours, theirs = _settings(first), _settings(other)
    found += [
        f"{key} is {theirs.get(key)!r}, in the first report {ours.get(key)!r}"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]
    if not shared_ns:
        return [*found, "no frame was scored in both reports"]
    missing = len(first.frames) - len(shared_ns), len(other.frames) - len(shared_ns)
    if any(missing):
        found.append(
            f"frames differ: {missing[0]} of the first report and {missing[1]} of this one are not "
            f"among the {len(shared_ns)} that both scored"
        )
    return found + _pixel_warnings(first, other, shared_ns)


def _pixel_warnings(first: Report, other: Report, shared_ns: Sequence[int]) -> list[str]:
    pairs = [(first.frames[stamp_ns], other.frames[stamp_ns]) for stamp_ns in shared_ns]
    truths = sum(
        (a.truth_stamp_ns, a.truth_pixels) != (b.truth_stamp_ns, b.truth_pixels) for a, b in pairs
    )
    if truths:
        return [f"the truth differs in {truths} of {len(pairs)} shared frames"]
    if any(a.model.count != b.model.count for a, b in pairs):
        pixels = sum(a.truth_pixels for a, _ in pairs)
        shares = (
            sum(frame.model.count for frame in side) / pixels for side in zip(*pairs, strict=True)
        )
        return [
            "scored pixels differ: predictions cover {:.2%} of the truth's pixels in the first "
            "report, {:.2%} in this one".format(*shares)
        ]
    return []


def _settings(report: Report) -> dict[str, Any]:
    """Return everything that was set, by dotted name; topics as they were found, not as asked."""
    config = to_mapping(report.config)
    flat: dict[str, Any] = {"profile": config["profile"]}
    flat |= {f"switch {key}": value for key, value in to_mapping(report.protocol).items()}
    for key, value in config.items():
        if isinstance(value, dict) and key not in _IDLE_SETTINGS:
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        elif key not in _IDLE_SETTINGS:
            flat[key] = value
    return {key: value for key, value in flat.items() if key not in _TOPIC_SETTINGS}


def _report_record(name: str, report: Report) -> dict[str, Any]:
    interval = report.interval
    return {
        "name": name,
        "provenance": dict(report.facts),
        "protocol": to_mapping(report.protocol),
        "scores": asdict(report.summary.model),
        "coverage": report.summary.coverage,
        "interval": None if interval is None else asdict(interval),
    }
