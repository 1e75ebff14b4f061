"""Plots as inline SVG: no plotting library on the robot, no script in the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain, pairwise

import numpy as np

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")

_WIDTH_PX, _HEIGHT_PX = 900, 300
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 70, 15, 12, 48
# Dots are drawn on lines of at most this many points.
_DOTS = 120
# A line breaks where two frames are further apart than this many typical distances.
_GAP = 5.0
_MOST_BARS = 40
# Of the plot's height, what the tallest bar of shares behind lines takes.
_SHARES_HEIGHT = 1 / 3
SHARES_COLOUR = "#dde3e8"


@dataclass(frozen=True, slots=True)
class Line:
    """Values over x, ascending; NaN breaks the line."""

    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Step:
    """Values over bins of x: N + 1 ascending edges, N values; NaN leaves a bin out."""

    edges: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Dot:
    """A labelled dot of a series."""

    x: float
    y: float
    series: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class _Axes:
    x: tuple[float, float]
    y: tuple[float, float]

    def x_px(self, value: float) -> float:
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return _LEFT_PX + share * (_WIDTH_PX - _LEFT_PX - _RIGHT_PX)

    def y_px(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return _HEIGHT_PX - _BOTTOM_PX - share * (_HEIGHT_PX - _TOP_PX - _BOTTOM_PX)


def colour(index: int) -> str:
    """Return the colour of the series with this number; after the last they begin again."""
    return COLOURS[index % len(COLOURS)]


def legend(names: Sequence[str]) -> str:
    """Return the names with the colours in which plots draw series of these numbers."""
    entries = (
        f'<span style="color:{colour(i)}">&#9632;</span> {escape(name)}'
        for i, name in enumerate(names)
    )
    return f"<p>{' &#160; '.join(entries)}</p>"


def line_plot(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """Draw lines from zero up, in the order of `legend`."""
    axes = _Axes(
        _span([x for line in lines for x in line.x]),
        _span([0.0, *(y for line in lines for y in line.y)]),
    )
    marks = (mark for i, line in enumerate(lines) for mark in _line_marks(line, colour(i), axes))
    return _svg(axes, marks, x_label, y_label)


def scatter_plot(dots: Sequence[Dot], x_label: str, y_label: str) -> str:
    """Draw dots over a logarithmic axis, y from zero up, in the colours of `legend`."""
    places = [math.log10(dot.x) for dot in dots]
    axes = _Axes(_around(places), _span([0.0, *(dot.y for dot in dots)]))
    marks = (mark for dot in dots for mark in _dot_marks(dot, axes))
    return _svg(axes, marks, x_label, y_label, _log_ticks(axes))


def standalone(plot: str, names: Sequence[str]) -> str:
    """Return a plot with the legend of its series as an SVG file of its own."""
    entries = "\n".join(
        f'<rect x="{_LEFT_PX}" y="{_HEIGHT_PX + 6 + 18 * i}" width="11" height="11" '
        f'fill="{colour(i)}"/><text x="{_LEFT_PX + 18}" y="{_HEIGHT_PX + 16 + 18 * i}">'
        f"{escape(name)}</text>"
        for i, name in enumerate(names)
    )
    height = _HEIGHT_PX + 18 * len(names) + 12
    opened = plot.replace(
        f'<svg viewBox="0 0 {_WIDTH_PX} {_HEIGHT_PX}"',
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH_PX} {height}"',
    )
    ground = f'<rect width="{_WIDTH_PX}" height="{height}" fill="#fff"/>'
    start = opened.index(">") + 1
    return f"{opened[:start]}{ground}{opened[start:].removesuffix('</svg>')}{entries}\n</svg>\n"


def step_plot(steps: Sequence[Step], x_label: str, y_label: str) -> str:
    """Draw values as wide as their bins, from zero up; an endless bin stops at the plot's side."""
    edges = [edge for step in steps for edge in _used_edges(step)]
    finite = [edge for edge in edges if math.isfinite(edge)]
    if len(finite) < len(edges):
        finite.append(max(finite, default=1.0) * 1.25)
    axes = _Axes(_span(finite), _span([0.0, *(y for step in steps for y in step.y)]))
    marks = (mark for i, step in enumerate(steps) for mark in _step_marks(step, colour(i), axes))
    return _svg(axes, marks, x_label, y_label)


def histogram(values: Sequence[float], x_label: str, y_label: str, series: int = 0) -> str:
    """Draw how often values occur, with a line at zero; what is not finite is left out.

    Args:
        values: (N,), of any unit.
        x_label: what they are.
        y_label: what is counted.
        series: number of the colour.
    """
    finite = [value for value in values if math.isfinite(value)]
    low, high = _span([0.0, *finite])
    bars = min(max(math.ceil(math.sqrt(len(finite))), 5), _MOST_BARS)
    # Multiples of the step, so that no bar mixes both sides of zero.
    step = _round_step((high - low) / bars)
    edges = step * np.arange(math.floor(low / step), math.ceil(high / step) + 1)
    counts, _ = np.histogram(finite, edges)
    top = max(1.05 * float(counts.max()), 1.0)
    return _bars(counts.tolist(), edges.tolist(), top, (x_label, y_label), series)


def bar_plot(heights: Sequence[float], edges: Sequence[float], x_label: str, y_label: str) -> str:
    """Draw bars from zero up, with a line at zero of x.

    Args:
        heights: (N,), finite and not negative.
        edges: (N + 1,) finite ends of the bars, ascending.
        x_label: what the edges are.
        y_label: what the heights are.
    """
    top = 1.05 * max(heights, default=0.0) or 1.0
    return _bars(heights, edges, top, (x_label, y_label), 0)


def log_plot(
    lines: Sequence[Line], shares: Sequence[tuple[float, float, float]], x_label: str, y_label: str
) -> str:
    """Draw lines over a logarithmic axis, in the order of `legend`, above bars of shares.

    Args:
        lines: their x is positive.
        shares: (low, high, share) of each bar, 0 < low < high; bars have no axis, only proportions.
        x_label: what x is.
        y_label: what the lines show.
    """
    ends = [math.log10(end) for low, high, _ in shares for end in (low, high)]
    moved = [Line([math.log10(x) for x in line.x], line.y) for line in lines]
    axes = _Axes(
        (min(ends, default=0.0), max(ends, default=1.0)),
        _span([0.0, *(y for line in lines for y in line.y)]),
    )
    marks = (mark for i, line in enumerate(moved) for mark in _line_marks(line, colour(i), axes))
    return _svg(axes, chain(_share_marks(shares, axes), marks), x_label, y_label, _log_ticks(axes))


def _bars(
    heights: Sequence[float],
    edges: Sequence[float],
    top: float,
    labels: tuple[str, str],
    series: int,
) -> str:
    axes = _Axes((edges[0], edges[-1]), (0.0, top))
    return _svg(axes, _bar_marks(heights, edges, series, axes), *labels)


def _share_marks(shares: Sequence[tuple[float, float, float]], axes: _Axes) -> Iterator[str]:
    floor = _HEIGHT_PX - _BOTTOM_PX
    tallest = max((share for *_, share in shares), default=0.0) or 1.0
    for low, high, share in shares:
        left, right = axes.x_px(math.log10(low)), axes.x_px(math.log10(high))
        height = share / tallest * _SHARES_HEIGHT * (floor - _TOP_PX)
        yield (
            f'<rect x="{left:.1f}" y="{floor - height:.1f}" width="{right - left:.1f}" '
            f'height="{height:.1f}" fill="{SHARES_COLOUR}"/>'
        )
    if axes.y[0] < 0:
        zero, right = axes.y_px(0.0), _WIDTH_PX - _RIGHT_PX
        yield (
            f'<line x1="{_LEFT_PX}" x2="{right}" y1="{zero:.1f}" y2="{zero:.1f}" stroke="#888" '
            'stroke-dasharray="5 3"/>'
        )


def _line_marks(line: Line, ink: str, axes: _Axes) -> Iterator[str]:
    for part in _unbroken(line):
        points = [(axes.x_px(x), axes.y_px(y)) for x, y in part]
        if len(points) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            yield f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="1.5"/>'
        if len(points) == 1 or len(line.x) <= _DOTS:
            yield from (
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{ink}"/>' for x, y in points
            )


def _dot_marks(dot: Dot, axes: _Axes) -> Iterator[str]:
    x, y = axes.x_px(math.log10(dot.x)), axes.y_px(dot.y)
    yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour(dot.series)}"/>'
    if dot.label:
        yield f'<text x="{x + 8:.1f}" y="{y + 4:.1f}">{escape(dot.label)}</text>'


def _unbroken(line: Line) -> Iterator[list[tuple[float, float]]]:
    distances = [after - before for before, after in pairwise(line.x)]
    longest = _GAP * float(np.median(distances)) if distances else math.inf
    part: list[tuple[float, float]] = []
    for x, y in zip(line.x, line.y, strict=True):
        if part and (not math.isfinite(y) or x - part[-1][0] > longest):
            yield part
            part = []
        if math.isfinite(y):
            part.append((x, y))
    if part:
        yield part


def _used_edges(step: Step) -> Iterator[float]:
    for ends, value in zip(pairwise(step.edges), step.y, strict=True):
        if math.isfinite(value):
            yield from ends


def _step_marks(step: Step, ink: str, axes: _Axes) -> Iterator[str]:
    for (low, high), value in zip(pairwise(step.edges), step.y, strict=True):
        if not math.isfinite(value):
            continue
        left, right = (axes.x_px(min(edge, axes.x[1])) for edge in (low, high))
        y = axes.y_px(value)
        yield (
            f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{ink}" '
            'stroke-width="2.5"/>'
        )
        yield f'<circle cx="{(left + right) / 2:.1f}" cy="{y:.1f}" r="3.5" fill="{ink}"/>'


def _bar_marks(
    counts: Sequence[float], edges: Sequence[float], series: int, axes: _Axes
) -> Iterator[str]:
    floor = axes.y_px(0.0)
    for (low, high), count in zip(pairwise(edges), counts, strict=True):
        left, right, top = axes.x_px(low), axes.x_px(high), axes.y_px(count)
        yield (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" '
            f'height="{floor - top:.1f}" fill="{colour(series)}" stroke="#fff"/>'
        )
    zero = axes.x_px(0.0)
    yield (
        f'<line x1="{zero:.1f}" x2="{zero:.1f}" y1="{_TOP_PX}" y2="{floor:.1f}" stroke="#222" '
        'stroke-dasharray="5 3"/>'
    )


def _svg(
    axes: _Axes,
    marks: Iterator[str],
    x_label: str,
    y_label: str,
    x_ticks: Sequence[tuple[float, str]] | None = None,
) -> str:
    middle_y = (_TOP_PX + _HEIGHT_PX - _BOTTOM_PX) / 2
    middle_x = (_LEFT_PX + _WIDTH_PX - _RIGHT_PX) / 2
    title = escape(f"{y_label} over {x_label}")
    if x_ticks is None:
        x_ticks = [(value, f"{value:g}") for value in ticks(*axes.x)]
    body = "\n".join([*_grid(axes, x_ticks), *marks])
    return (
        f'<svg viewBox="0 0 {_WIDTH_PX} {_HEIGHT_PX}" role="img" aria-label="{title}" '
        f'style="width:100%;max-width:{_WIDTH_PX}px" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="#222">\n<title>{title}</title>\n{body}\n'
        f'<text x="{middle_x}" y="{_HEIGHT_PX - 8}" text-anchor="middle">{escape(x_label)}</text>\n'
        f'<text transform="translate(14 {middle_y}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>\n</svg>"
    )


def _grid(axes: _Axes, x_ticks: Sequence[tuple[float, str]]) -> Iterator[str]:
    bottom, right = _HEIGHT_PX - _BOTTOM_PX, _WIDTH_PX - _RIGHT_PX
    for place, label in x_ticks:
        x = axes.x_px(place)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP_PX}" y2="{bottom}" stroke="#eee"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>'
    for value in ticks(*axes.y):
        y = axes.y_px(value)
        yield f'<line x1="{_LEFT_PX}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eee"/>'
        yield f'<text x="{_LEFT_PX - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    yield f'<path d="M{_LEFT_PX} {_TOP_PX}V{bottom}H{right}" fill="none" stroke="#888"/>'


def ticks(low: float, high: float) -> list[float]:
    """Return four to ten round numbers between two ends, at steps of 1, 2 or 5 times 10^n."""
    step = _round_step((high - low) / 8)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Rounded, because 3 * 0.1 is not 0.3.
    digits = max(-math.floor(math.log10(step)), 0)
    return [round(i * step, digits) + 0.0 for i in range(first, last + 1)]


def _log_ticks(axes: _Axes) -> list[tuple[float, str]]:
    """Return places and labels of 1, 2 and 5 times 10^n on an axis of decimal logarithms."""
    low, high = axes.x
    values = [
        first * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for first in (1, 2, 5)
    ]
    return [(math.log10(v), f"{v:g}") for v in values if low <= math.log10(v) <= high]


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2 or 5 times 10^n that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next((step for step in (power, 2 * power, 5 * power) if step >= least), 10 * power)


def _around(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of decimal logarithms with more air on the right, for labels."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    width = max(high - low, 0.5)
    return low - 0.05 * width, high + 0.35 * width


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the finite values with 3 % of air, never the same number twice."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.5 * abs(low) or 0.5e-3
        return low - half, high + half
    air = 0.03 * (high - low)
    return low - (air if low < 0 else 0.0), high + air
