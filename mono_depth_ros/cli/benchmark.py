"""`mono_depth benchmark`: what networks, node, messages and recordings cost on this computer."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mono_depth_ros import DEFAULT_CHECKPOINT
from mono_depth_ros.atomic import replacing
from mono_depth_ros.cli.arguments import image_size

if TYPE_CHECKING:
    import torch

    from mono_depth_ros.benchmark.networks import Execution, NetworkRow
    from mono_depth_ros.benchmark.report import Figures

logger = logging.getLogger(__name__)

HELP = (
    "measure speed and accuracy on this computer, by backend and precision, and the node over DDS"
)

PARTS = ("messages", "reading", "networks", "cameras", "node", "start", "evaluator")
# The evaluator writes 600 MB for a while.
_DEFAULT_PARTS = PARTS[:-1]
# Of the preset that is also timed at the camera's size, in the default run.
_PRESET = "pwa_light"
_FULL_SIZES = ((240, 320), (480, 640))
_FRAMES, _FULL_FRAMES = 32, 128
_STARTS, _FULL_STARTS = 3, 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is measured and for how long."""
    parser.add_argument(
        "--checkpoint", default=DEFAULT_CHECKPOINT, help="name or file (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=image_size, default="640x480", help="camera image (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="all shipped checkpoints on more frames, all light presets at two sizes, the node "
        "with every backend, the evaluator",
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="per measurement (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="also draw error against run time"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write the figures."""
    from mono_depth_ros.benchmark.report import Figures, computer, text_lines
    from mono_depth_ros.device import resolve_device

    device = resolve_device(args.device)
    parts = args.only or (PARTS if args.full else _DEFAULT_PARTS)
    figures = Figures(computer(device))
    height, width = args.size
    # First, in a fresh process: later its memory is warm, which flatters those who allocate much.
    if "messages" in parts:
        from mono_depth_ros.ros.message_costs import measure_message_costs

        figures.messages = measure_message_costs(height, width)
    if "reading" in parts:
        from mono_depth_ros.benchmark.recordings import measure_reading

        figures.reading = measure_reading(height, width)
    if "networks" in parts:
        figures.networks = _networks(args, device)
    ways = _ways_of_predictor(args.full, figures.networks)
    if "cameras" in parts:
        from mono_depth_ros.benchmark.cameras import measure_cameras

        figures.cameras = measure_cameras(
            args.checkpoint, args.device, ways, height, width, args.seconds
        )
    if "node" in parts:
        from mono_depth_ros.benchmark.nodes import measure_nodes

        figures.nodes = measure_nodes(
            args.checkpoint, args.device, ways, height, width, args.seconds
        )
    if "start" in parts:
        from mono_depth_ros.benchmark.nodes import measure_node_starts

        starts = _FULL_STARTS if args.full else _STARTS
        figures.start = measure_node_starts(args.checkpoint, args.device, height, width, starts)
    if "evaluator" in parts:
        from mono_depth_ros.benchmark.evaluator import evaluator_costs

        figures.evaluator = evaluator_costs(args.checkpoint, args.device, height, width)
    for line in text_lines(figures):
        sys.stdout.write(f"{line}\n")
    _write(args, figures)
    return 0


def _write(args: argparse.Namespace, figures: Figures) -> None:
    from mono_depth_ros.benchmark.report import as_json, write_plot

    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(as_json(figures), indent=2) + "\n", encoding="utf-8")
    if args.plot:
        with replacing(args.plot) as temporary:
            write_plot(figures.networks, temporary)


def _networks(args: argparse.Namespace, device: torch.device) -> list[NetworkRow]:
    from mono_depth_ros.benchmark.networks import measure_checkpoint, measure_preset
    from mono_depth_ros.checkpoint import shipped_checkpoints
    from mono_depth_ros.models.base import ImageSize
    from mono_depth_ros.models.presets import shipped_presets

    names, presets, sizes, frames = [args.checkpoint], [_PRESET], [args.size], _FRAMES
    if args.full:
        names = list(shipped_checkpoints())
        presets = [name for name in shipped_presets() if name.endswith("_light")]
        sizes, frames = list(_FULL_SIZES), _FULL_FRAMES
    rows: list[NetworkRow] = []
    for name in names:
        logger.info("%s: all backends and precisions, speed and error", name)
        rows += measure_checkpoint(name, device, args.seconds, frames)
    for name in presets:
        for size in sizes:
            logger.info("%s with random weights at %dx%d", name, *size)
            rows += measure_preset(name, ImageSize(*size), device, args.seconds)
    return rows


def _ways_of_predictor(full: bool, measured: Sequence[NetworkRow]) -> list[Execution]:
    """Return PyTorch and the fastest ways that were measured; all of them in a full run."""
    from mono_depth_ros.benchmark.networks import EAGER, fastest

    rows = [row for row in measured if row.weights == "shipped"]
    found = rows if full else [fastest(rows, reduced) for reduced in (False, True)]
    ways = [(row.backend, row.precision) for row in found if row is not None and not row.problem]
    return list(dict.fromkeys([EAGER, *ways]))
