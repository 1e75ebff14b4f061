"""A comparison for people: lines for a terminal, and a folder with a self-contained page."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from mono_depth_ros.evaluation.bootstrap import SCORES
from mono_depth_ros.evaluation.comparison import (
    Comparison,
    Paired,
    comparison_record,
    frame_differences,
    verdict,
)
from mono_depth_ros.evaluation.folders import replacing_folder, require_replaceable_folder
from mono_depth_ros.evaluation.html import page, paragraph, table
from mono_depth_ros.evaluation.plots import Line, Step, histogram, legend, line_plot, step_plot
from mono_depth_ros.evaluation.report import COLUMNS, padded, score_cells
from mono_depth_ros.evaluation.saved_report import Report, json_text

RECORD, PAGE = "comparison.json", "comparison.html"

_PLOTTED = "abs_rel"
_TITLES = {**COLUMNS, "mean_log": ("mean log ratio", "{:.4f}")}


def write_comparison(comparison: Comparison, out: str | Path) -> Path:
    """Write the folder of a comparison; it appears at once, complete.

    Args:
        comparison: what `compare_reports` returned.
        out: folder to create; an earlier comparison there is replaced.

    Returns:
        The path of comparison.html.

    Raises:
        DataError: `out` exists and is no comparison, or cannot be written.
    """
    out = Path(out)
    require_replaceable_comparison(out)
    with replacing_folder(out) as folder:
        (folder / RECORD).write_text(json_text(comparison_record(comparison)), encoding="utf-8")
        (folder / PAGE).write_text(comparison_html(comparison), encoding="utf-8")
    return out / PAGE


def require_replaceable_comparison(out: Path) -> None:
    """Check that a comparison may be written to `out`.

    Raises:
        DataError: it exists and is neither an empty folder nor an earlier comparison.
    """
    require_replaceable_folder(out, RECORD, "comparison")


def comparison_lines(comparison: Comparison) -> list[str]:
    """Return the tables as lines of text, for a terminal."""
    lines = padded(_report_rows(comparison))
    for paired in comparison.paired:
        heading = f"{paired.name} minus {_first_name(comparison)}: {_drawn(comparison, paired)}"
        lines += ["", heading, *padded(_difference_rows(paired))]
    return lines


def comparison_html(comparison: Comparison) -> str:
    """Return the page."""
    parts = [("Reports", table(*_split(_report_rows(comparison))))]
    warned = [paired for paired in comparison.paired if paired.warnings]
    if warned:
        rows = [[paired.name, text] for paired in warned for text in paired.warnings]
        parts.append(("Warnings: these may not be comparable", table([], rows)))
    for paired in comparison.paired:
        text = (
            f"{_drawn(comparison, paired)} An interval that excludes 0 is a difference beyond the "
            "frames' luck of the draw. One interval in twenty of 95 % errs, so of many scores one "
            "may exclude 0 by chance."
        )
        heading = f"{paired.name} minus {_first_name(comparison)}"
        parts.append((heading, table(*_split(_difference_rows(paired))) + paragraph(text)))
    parts += _plots(comparison)
    facts = [["", *comparison.reports], *_fact_rows(comparison)]
    parts.append(("What was compared", table(*_split(facts))))
    return page(f"Depth compared: {', '.join(comparison.reports)}", parts)


def _plots(comparison: Comparison) -> Iterator[tuple[str, str]]:
    names, reports = list(comparison.reports), list(comparison.reports.values())
    title, _ = COLUMNS[_PLOTTED]
    start_ns = min((ns for report in reports for ns in report.frames), default=0)
    lines = [_line(report, start_ns) for report in reports]
    over_time = line_plot(lines, "time since the first frame, s", title)
    yield f"{title} of every frame", legend(names) + over_time
    for number, paired in enumerate(comparison.paired, start=1):
        differences = frame_differences(comparison, paired, _PLOTTED)
        above, below = (sum(sign * value > 0 for value in differences) for sign in (1, -1))
        heading = f"{title} per frame, {paired.name} minus {names[0]}"
        text = paragraph(f"Of {len(differences)} frames, larger in {above}, smaller in {below}.")
        label = f"difference of {title}"
        yield heading, text + histogram(differences, label, "frames", number)
    steps = [
        Step(report.config.range_bins_m, [getattr(e, _PLOTTED) for e in report.summary.bins])
        for report in reports
    ]
    by_range = step_plot(steps, "true depth, m", title)
    yield f"{title} by range, all frames of each report", legend(names) + by_range


def _line(report: Report, start_ns: int) -> Line:
    frames = sorted(report.frames.items())
    return Line(
        [(stamp_ns - start_ns) / 1e9 for stamp_ns, _ in frames],
        [getattr(frame.model, _PLOTTED) for _, frame in frames],
    )


def _report_rows(comparison: Comparison) -> list[list[str]]:
    header = ["", "profile", "frames", "covered", *(title for title, _ in COLUMNS.values())]
    return [header, *(_report_row(*item) for item in comparison.reports.items())]


def _report_row(name: str, report: Report) -> list[str]:
    summary = report.summary
    coverage = "" if math.isnan(summary.coverage) else f"{summary.coverage:.1%}"
    profile = report.config.profile
    return [name, profile, str(summary.frames), coverage, *score_cells(summary.model)]


def _difference_rows(paired: Paired) -> list[list[str]]:
    rows = [["score", "first", "this", "difference", "from", "to", "the interval"]]
    for score in SCORES:
        title, form = _TITLES[score]
        signed, difference = form.replace("{:", "{:+"), paired.differences[score]
        averages = [form.format(getattr(side, score)) for side in (paired.first, paired.this)]
        ends = (difference.value, difference.low, difference.high)
        cells = ["" if math.isnan(value) else signed.format(value) for value in ends]
        rows.append([title, *averages, *cells, verdict(score, difference)])
    return rows


def _fact_rows(comparison: Comparison) -> list[list[str]]:
    reports = comparison.reports.values()
    names = dict.fromkeys(name for report in reports for name in report.facts)
    return [[name, *(str(report.facts.get(name, "")) for report in reports)] for name in names]


def _drawn(comparison: Comparison, paired: Paired) -> str:
    count = f"{len(paired.stamps_ns)} shared frames"
    if not paired.units:
        return f"{count}; no interval: {comparison.intervals.missing()}."
    return f"{count}; {comparison.intervals.describe(paired.units)}."


def _first_name(comparison: Comparison) -> str:
    return next(iter(comparison.reports))


def _split(rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return rows[0], rows[1:]
