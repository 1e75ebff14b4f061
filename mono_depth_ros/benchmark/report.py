"""The figures of a benchmark as text, as JSON, and as a plot of error against run time."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from mono_depth_ros import __version__
from mono_depth_ros.benchmark.cameras import CamerasRow
from mono_depth_ros.benchmark.networks import NetworkRow
from mono_depth_ros.benchmark.nodes import NodeRow
from mono_depth_ros.benchmark.recordings import ReadingRow
from mono_depth_ros.evaluation.plots import Dot, scatter_plot, standalone
from mono_depth_ros.timing import Timing

FORMAT = 3


@dataclass(slots=True)
class Figures:
    """What was measured in one run.

    Attributes:
        computer: what it was measured on.
        networks: networks alone.
        cameras: predictors with several images.
        nodes: nodes over DDS.
        start: of a node process, to its first depth.
        messages: see `ros.message_costs.measure_message_costs`; empty if not measured.
        reading: recordings.
        evaluator: see `evaluator_costs`; empty if not measured.
    """

    computer: dict[str, Any]
    networks: list[NetworkRow] = field(default_factory=list)
    cameras: list[CamerasRow] = field(default_factory=list)
    nodes: list[NodeRow] = field(default_factory=list)
    start: Timing | None = None
    messages: dict[str, float] = field(default_factory=dict)
    reading: list[ReadingRow] = field(default_factory=list)
    evaluator: dict[str, float] = field(default_factory=dict)


def computer(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on."""
    on_gpu = device.type == "cuda"
    return {
        "version": __version__,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name(device) if on_gpu else "CPU",
        "threads": torch.get_num_threads(),
        "pytorch": torch.__version__,
        "python": platform.python_version(),
    }


def as_json(figures: Figures) -> dict[str, Any]:
    """Return all figures as plain values, None where there is no number."""
    return {"format": FORMAT, **_plain(asdict(figures))}


def text_lines(figures: Figures) -> Iterator[str]:
    """Yield tables for people, in the order of measuring."""
    yield ", ".join(f"{name} {value}" for name, value in figures.computer.items())
    if figures.networks:
        yield ""
        yield "network alone: one image of uint8 to depth"
        columns = ("", "size", "backend", "precision", "ms", "95 %", "times", "AbsRel", "change")
        yield from _table(columns, [_network_cells(row) for row in figures.networks])
        for row in figures.networks:
            if row.problem:
                yield f"  {row.backend} in {row.precision}: {row.problem}"
    if figures.cameras:
        yield ""
        yield f"predictor, one image of each of {figures.cameras[0].cameras} cameras"
        titles = ("", "", "in turn, ms", "in one run, ms", "times")
        yield from _table(titles, [_cameras_cells(row) for row in figures.cameras])
    if figures.nodes:
        yield ""
        yield "node in a process of its own, over DDS, fed faster than it works"
        columns = ("", "", "outputs", "network ms", "predictor ms", "Hz", "goal", "beside", "age")
        yield from _table(columns, [_node_cells(row) for row in figures.nodes])
        yield "  goal: 1 / (network + 6 ms); beside: ms per frame beside the network"
    if figures.start is not None:
        yield ""
        yield (
            f"node from its start to the first depth, of {figures.start.runs} starts: median "
            f"{figures.start.median_ms:.0f} ms, 95 % below {figures.start.p95_ms:.0f} ms"
        )
    for title, values in (
        ("messages: building them here and in the usual way", figures.messages),
        ("evaluator", figures.evaluator),
    ):
        if values:
            yield ""
            yield title
            yield from _table(("", ""), [(name, f"{value:.2f}") for name, value in values.items()])
    if figures.reading:
        yield ""
        yield "recordings: from an mcap file to arrays"
        rows = [(r.content, f"{r.message_ms:.2f}", f"{r.mb_per_s:.0f}") for r in figures.reading]
        yield from _table(("", "ms", "MB/s"), rows)


def write_plot(rows: Sequence[NetworkRow], path: Path) -> None:
    """Write AbsRel over run time as SVG: a dot per checkpoint and way, a colour per way.

    As Fig. 6 of Kim et al. 2020 compares networks; here the error is that on world frames.
    """
    scored = [row for row in rows if math.isfinite(row.abs_rel)]
    ways = list(dict.fromkeys(f"{row.backend} {row.precision}" for row in scored))
    # The label stands at the slowest way, where nothing of the same network is in its way.
    slowest = {row.network: row for row in sorted(scored, key=lambda row: row.timing.median_ms)}
    dots = [
        Dot(
            row.timing.median_ms,
            row.abs_rel,
            ways.index(f"{row.backend} {row.precision}"),
            row.network if row is slowest[row.network] else "",
        )
        for row in scored
    ]
    plot = scatter_plot(dots, "ms per image", "AbsRel on world frames")
    path.write_text(standalone(plot, ways), encoding="utf-8")


def _network_cells(row: NetworkRow) -> tuple[str, ...]:
    return (
        row.network,
        f"{row.height}x{row.width}",
        row.backend,
        row.precision,
        _number(row.timing.median_ms, ".1f"),
        _number(row.timing.p95_ms, ".1f"),
        _number(row.times_faster, ".2f"),
        _number(row.abs_rel, ".4f"),
        _number(row.abs_rel_change, "+.2%"),
    )


def _cameras_cells(row: CamerasRow) -> tuple[str, ...]:
    return (
        row.backend,
        row.precision,
        f"{row.in_turn_ms:.1f}",
        f"{row.together_ms:.1f}",
        f"{row.times_faster:.2f}",
    )


def _node_cells(row: NodeRow) -> tuple[str, ...]:
    return (
        row.backend,
        row.precision,
        row.outputs,
        f"{row.network_ms:.1f}",
        f"{row.predictor_ms:.1f}",
        f"{row.rate_hz:.1f}",
        f"{row.goal_hz:.1f}",
        f"{row.overhead_ms:.1f}",
        f"{row.latency_ms:.1f}",
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for cells in (columns, *rows) if any(columns) else rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield f"  {'  '.join(padded)}".rstrip()


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
