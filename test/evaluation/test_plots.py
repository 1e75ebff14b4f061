from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from mono_depth_ros.evaluation.plots import (
    Line,
    Step,
    bar_plot,
    histogram,
    legend,
    line_plot,
    log_plot,
    step_plot,
    ticks,
)

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg):
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '))


def points(svg):
    return [
        [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        for line in parsed(svg).iter(f"{SVG}polyline")
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.3, 0.5, [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (0.0, 80.0, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0]),
        (0.13, 0.131, [0.13, 0.1302, 0.1304, 0.1306, 0.1308, 0.131]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == expected


def test_a_line_keeps_the_proportions_of_its_values():
    ((a, b, c),) = points(line_plot([Line([0, 1, 3], [0.0, 2.0, 1.0])], "s", "AbsRel"))
    assert (c[0] - a[0]) == pytest.approx(3 * (b[0] - a[0]), abs=0.3)
    assert (a[1] - b[1]) == pytest.approx(2 * (a[1] - c[1]), abs=0.3)


def test_a_line_breaks_at_nan_and_at_gaps():
    x = [0, 1, 2, 3, 4, 20, 21]
    lines = points(line_plot([Line(x, [1, 1, math.nan, 1, 1, 1, 1])], "s", "m"))
    assert [len(line) for line in lines] == [2, 2, 2]


def test_histogram_counts_and_never_mixes_both_sides_of_zero():
    svg = histogram([-0.4, -0.1, 0.1, 0.2, 0.3, math.nan], "difference", "frames")
    bars = [bar for bar in parsed(svg).iter(f"{SVG}rect") if float(bar.get("height"))]
    heights = [float(bar.get("height")) for bar in bars]
    assert sum(heights) / min(heights) == pytest.approx(5, abs=0.05)
    (zero,) = [line for line in parsed(svg).iter(f"{SVG}line") if line.get("stroke-dasharray")]
    at = float(zero.get("x1"))
    for bar in bars:
        left, right = float(bar.get("x")), float(bar.get("x")) + float(bar.get("width"))
        assert right <= at + 0.11 or left >= at - 0.11


@pytest.mark.parametrize("values", [[], [0.0], [0.0] * 9, [1e-12], [math.nan], [-3.0]])
def test_plots_of_next_to_nothing(values):
    parsed(histogram(values, "x", "y"))
    parsed(line_plot([Line(range(len(values)), values)], "x", "y"))


def test_steps_are_as_wide_as_their_bins_and_endless_ones_end():
    svg = step_plot([Step([0, 10, 30, math.inf], [0.1, 0.2, 0.3])], "m", "AbsRel")
    lines = [line for line in parsed(svg).iter(f"{SVG}line") if line.get("stroke-width")]
    widths = [float(line.get("x2")) - float(line.get("x1")) for line in lines]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.3)
    assert 0 < widths[2] < widths[1]
    empty = step_plot([Step([0, 10, 80], [0.1, math.nan])], "m", "AbsRel")
    # What nobody scored takes no room.
    assert "80" not in re.findall(r">([\d.]+)</text>", empty)


def test_names_are_escaped():
    assert "a&lt;b" in legend(["a<b"])
    assert "&lt;s&gt;" in line_plot([], "<s>", "y")


def test_log_plot_spaces_factors_evenly_and_scales_its_bars():
    shares = [(1.0, 10.0, 0.75), (10.0, 100.0, 0.25)]
    line = Line([1.0, 10.0, 100.0], [0.5, -0.5, 0.0])
    svg = log_plot([line], shares, "true depth, m", "relative error")
    ((a, b, c),) = points(svg)
    assert b[0] - a[0] == pytest.approx(c[0] - b[0], abs=0.2)
    tall, low = (float(bar.get("height")) for bar in parsed(svg).iter(f"{SVG}rect"))
    assert tall == pytest.approx(3 * low, abs=0.2)
    labels = [text.text for text in parsed(svg).iter(f"{SVG}text")]
    assert [text for text in ("1", "2", "5", "10", "20", "50", "100") if text in labels] == [
        *("1", "2", "5", "10", "20", "50", "100")
    ]


def test_bar_plot_keeps_proportions():
    svg = bar_plot([1.0, 4.0], [-1.0, 0.0, 1.0], "error", "pixels, %")
    low, tall = (float(bar.get("height")) for bar in parsed(svg).iter(f"{SVG}rect"))
    assert tall == pytest.approx(4 * low, abs=0.2)
