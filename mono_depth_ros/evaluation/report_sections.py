"""The sections of a report's page beside its tables: summary, pictures, plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from mono_depth_ros.evaluation.details import REGION_COLUMNS, REGION_ROWS, Details
from mono_depth_ros.evaluation.html import (
    cards,
    folded,
    heat_map,
    heat_maps,
    note,
    paragraph,
    picture_legend,
    picture_rows,
    table,
)
from mono_depth_ros.evaluation.pipeline import Evaluation
from mono_depth_ros.evaluation.plots import (
    SHARES_COLOUR,
    Line,
    bar_plot,
    legend,
    line_plot,
    log_plot,
)
from mono_depth_ros.evaluation.pooled_errors import PooledErrors
from mono_depth_ros.evaluation.products import Products
from mono_depth_ros.evaluation.scores import FLICKER_GAP_S, Summary

# An AbsRel, or a share of pixels outside delta1, of this much has the last colour of the map.
_WORST_REGION = 0.5


def summary_section(evaluation: Evaluation) -> str:
    """Return the most important numbers in large letters, and what they mean in a sentence."""
    summary = evaluation.summary
    model, interval = summary.model, evaluation.interval()
    spread = "mean relative error"
    if interval is not None:
        spread += f", {interval.low.abs_rel:.3f} to {interval.high.abs_rel:.3f}"
    sentence = _sentence(summary)
    if evaluation.interrupted:
        sentence = f"Not complete: {evaluation.interrupted}. {sentence}"
    return paragraph(sentence) + cards(
        [
            ("AbsRel", f"{model.abs_rel:.3f}", spread),
            ("δ1", f"{model.delta1:.1%}", "pixels within a factor of 1.25"),
            ("RMSE", f"{model.rmse_m:.2f} m", "far pixels weigh most"),
            ("scale", f"{summary.median_scale:.3f}", "truth / prediction, 1 is metric"),
            ("scale flicker", _share(summary.scale_flicker), "median change per frame"),
            *_point_flicker_card(evaluation.details),
            ("covered", _share(summary.coverage), f"of {summary.truth_pixels:,} truth pixels"),
            ("frames", str(summary.frames), _unscored(summary)),
        ]
    )


def _point_flicker_card(details: Details) -> list[tuple[str, str, str]]:
    if not details.point_flicker_frames:
        return []
    return [("point flicker", _share(details.point_flicker), "median change of static points")]


def flicker_text(evaluation: Evaluation) -> str:
    """Return the flicker of the scale and of single points in words."""
    summary = evaluation.summary
    if not summary.flicker_pairs:
        return f"none: no two scored frames are less than {FLICKER_GAP_S:g} s apart"
    return (
        f"{summary.scale_flicker:.2%}, median |ln| of the ratio of the scales of "
        f"{summary.flicker_pairs} neighbouring frames less than {FLICKER_GAP_S:g} s apart; "
        + _point_flicker_text(evaluation.details)
    )


def _point_flicker_text(details: Details) -> str:
    if not details.point_flicker_frames:
        return "that of single points needs LiDAR and the robot's poses"
    return (
        f"that of single static points {details.point_flicker:.2%}, median over "
        f"{details.point_flicker_frames} frames of their median"
    )


def picture_sections(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield (heading, HTML) of the frames that were drawn."""
    legend_of_colours = picture_legend(evaluation.config.range_bins_m[-1])
    for heading, frames in (("Worst frames", evaluation.worst), ("Best frames", evaluation.best)):
        if frames:
            yield heading, legend_of_colours + picture_rows(frames)
    if evaluation.pictures:
        rows = legend_of_colours + picture_rows(evaluation.pictures)
        if evaluation.worst:
            rows = folded(f"show {len(evaluation.pictures)} frames", rows)
        yield "Frames, evenly spread", rows


def plot_sections(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """Yield (heading, HTML) of the plots."""
    details = evaluation.details
    yield "Error against range", _range_plot(details)
    yield "Relative error of pixels", _error_histogram(details)
    yield "Where in the image", _region_maps(details)
    if details.products.confidence:
        yield "Confidence", _confidence_plot(details.products)
    if details.products.classes:
        yield "Classes", _class_table(details.products)
    yield "Over time", _time_plots(evaluation)


def _sentence(summary: Summary) -> str:
    model, constant = summary.model, summary.constant
    if not model.count:
        return "No pixel of the truth was predicted."
    direction = "near" if summary.median_scale > 1 else "far"
    compared = "less" if constant.abs_rel < model.abs_rel else "more"
    factor = max(summary.median_scale, 1.0 / summary.median_scale)
    return (
        f"The predicted depth is off by {model.abs_rel:.1%} on average, in half of the images "
        f"it is too {direction} by a factor of {factor:.3f} or more. One constant depth of "
        f"{summary.constant_m:.2f} m everywhere would be off by {constant.abs_rel:.1%}, which is "
        f"{compared}. With the scale of every image corrected by its truth, "
        f"{summary.aligned.abs_rel:.1%} remain."
    )


def _unscored(summary: Summary) -> str:
    missing = summary.unpredicted_frames + summary.unreadable_frames
    return f"scored, {missing} left out" if missing else "all matched ones scored"


def _share(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.1%}"


def _range_plot(details: Details) -> str:
    ranges = details.ranges
    total = sum(r.errors.count for r in ranges)
    if not total:
        return paragraph("No pixel was predicted.")
    middles_m = [math.sqrt(r.low_m * r.high_m) for r in ranges]
    lines = [
        Line(middles_m, [r.errors.abs_rel for r in ranges]),
        Line(middles_m, [r.errors.bias for r in ranges]),
    ]
    shares = [(r.low_m, r.high_m, r.errors.count / total) for r in ranges]
    tallest = max(share for *_, share in shares)
    grey = (
        f'<p class="note"><span style="color:{SHARES_COLOUR}">&#9632;</span> share of pixels per '
        f"bin, the tallest {tallest:.1%}. Pooled over all pixels; bias above 0 is too far.</p>"
    )
    names = legend(["AbsRel, mean |p - g| / g", "bias, mean (p - g) / g"])
    return names + log_plot(lines, shares, "true depth, m", "relative error") + grey


def _error_histogram(details: Details) -> str:
    total = sum(details.error_counts)
    if not total:
        return paragraph("No pixel was predicted.")
    *inside, beyond = details.error_counts
    *edges, _ = details.error_edges
    percent = [100 * count / total for count in inside]
    plot = bar_plot(percent, edges, "(prediction - truth) / truth", "pixels, %")
    return plot + note(
        f"Left of 0 is too near. {beyond / total:.2%} of the pixels lie further right, "
        "at twice the true depth or more."
    )


def _confidence_plot(products: Products) -> str:
    bins = [found for found in products.confidence if found.errors.count]
    total = sum(found.errors.count for found in bins)
    said = [found.confidence for found in bins]
    lines = [Line(said, [found.errors.delta1 for found in bins]), Line(said, said)]
    rows = [
        [
            f"{found.low:.1f} to {found.high:.1f}",
            f"{found.errors.count / total:.1%}",
            f"{found.confidence:.3f}",
            f"{found.errors.delta1:.3f}",
            f"{found.errors.abs_rel:.3f}",
        ]
        for found in bins
    ]
    return (
        legend(["δ1 of the pixels", "what a calibrated confidence would have"])
        + line_plot(lines, "confidence of the network", "share within a factor of 1.25")
        + table(["confidence", "pixels", "mean", "δ1", "AbsRel"], rows)
        + note(
            "Confidence is meant as the probability of an error within a factor of 1.25. Mean "
            f"distance from that: {products.calibration_error:.3f}."
        )
    )


def _class_table(products: Products) -> str:
    semantics = products.semantics
    total = sum(found.errors.count for found in products.classes)
    rows = [
        [
            found.name,
            f"{found.errors.count / total:.1%}",
            f"{found.errors.abs_rel:.4f}",
            f"{found.errors.bias:+.4f}",
            f"{found.errors.delta1:.4f}",
            *([] if semantics is None else [_number(semantics.iou.get(found.name, math.nan))]),
        ]
        for found in products.classes
    ]
    header = ["class, as predicted", "pixels", "AbsRel", "bias", "δ1"]
    if semantics is None:
        return table(header, rows) + note("The recording has no labels to judge the classes by.")
    return table([*header, "IoU"], rows) + note(
        f"Of {semantics.pixels:,} labelled pixels {semantics.pixel_accuracy:.2%} have the right "
        f"class; mean IoU {semantics.mean_iou:.4f}."
    )


def _region_maps(details: Details) -> str:
    total = sum(region.count for region in details.regions)

    def of(
        title: str, score: Callable[[PooledErrors], float], bad: Callable[[float], float]
    ) -> str:
        cells = [
            (bad(score(r)), _number(score(r)), f"{r.count / total:.1%}" if r.count else "no pixel")
            for r in details.regions
        ]
        rows = [cells[start : start + 3] for start in (0, 3, 6)]
        return heat_map(title, (REGION_ROWS, REGION_COLUMNS), rows)

    maps = [
        of("AbsRel", lambda r: r.abs_rel, lambda value: value / _WORST_REGION),
        of("δ1", lambda r: r.delta1, lambda value: (1 - value) / _WORST_REGION),
    ]
    return heat_maps(maps) + note(
        "Thirds of the image's height and width, pooled over all pixels; small: the share of all "
        f"pixels. The darkest orange is an AbsRel of {_WORST_REGION:g}, or a δ1 of "
        f"{1 - _WORST_REGION:g}, or worse."
    )


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def _time_plots(evaluation: Evaluation) -> str:
    table_of_frames = evaluation.table()
    stamps_ns = table_of_frames.stamps_ns[:, 0]
    order = np.argsort(stamps_ns, kind="stable")
    start_ns = int(stamps_ns.min()) if stamps_ns.size else 0
    seconds = ((stamps_ns[order] - start_ns) / 1e9).tolist()
    label = "time since the first scored frame, s"
    errors = [
        Line(seconds, [found[i].abs_rel for i in order.tolist()])
        for found in (table_of_frames.errors("model"), table_of_frames.errors("aligned"))
    ]
    scales = [Line(seconds, table_of_frames.scales[order].tolist())]
    return (
        legend(["AbsRel of the prediction", "after median alignment, without its error of scale"])
        + line_plot(errors, label, "AbsRel")
        + line_plot(scales, label, "median truth / prediction")
        + note(f"Scale flicker from frame to frame: {flicker_text(evaluation)}.")
    )
