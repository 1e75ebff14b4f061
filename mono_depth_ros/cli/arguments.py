"""Arguments and exit status that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

# Exit status of a command whose work is done and whose result a --fail-if condition refuses.
GATE_FAILED = 3


def image_size(text: str) -> tuple[int, int]:
    """Parse WxH into (height, width)."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"size {text!r} must look like 640x480 (width x height)")
    return int(height), int(width)


def add_calibration(parser: argparse.ArgumentParser) -> None:
    """Declare --calibration of the commands that run a network."""
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="metric calibration of this checkpoint"
    )


def add_interval_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how bootstrap intervals are drawn; `interval_settings` reads it."""
    parser.add_argument(
        "--draw",
        choices=("block", "frame"),
        help="what intervals draw: blocks of neighbouring frames, which resemble each other, or "
        "single frames (default: block)",
    )
    parser.add_argument(
        "--block-s", type=float, metavar="S", help="seconds of a block (default: 1)"
    )
    parser.add_argument("--draws", type=int, metavar="N", help="0 for no intervals (default: 1000)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the draws (default: 0)")


def interval_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of `IntervalConfig` that were given."""
    given = {"unit": args.draw, "block_s": args.block_s, "draws": args.draws, "seed": args.seed}
    return {name: value for name, value in given.items() if value is not None}
