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


def add_rig_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare files in place of what a recording says of its sensors; `rig_settings` reads them."""
    parser.add_argument(
        "--camera-calibration",
        metavar="FILE",
        help="camera calibration YAML of camera_calibration, in place of camera_info",
    )
    parser.add_argument(
        "--extrinsics",
        metavar="FILE",
        help="YAML in place of /tf_static: camera_from_lidar as 4x4 rows, or translation_m and "
        "quaternion_xyzw, and camera_frame and lidar_frame to compare with BAG's",
    )


def rig_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of `FrameConfig` that were given."""
    given = {"camera_calibration": args.camera_calibration, "extrinsics": args.extrinsics}
    return {name: value for name, value in given.items() if value is not None}


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
