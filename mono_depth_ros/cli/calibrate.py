"""`mono_depth calibrate`: fit the metric scale of a network to a robot's own sensors."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mono_depth_ros.calibration import load_calibration, save_calibration
from mono_depth_ros.cli.evaluate import add_truth_arguments, build_config
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.progress import progress

if TYPE_CHECKING:
    from mono_depth_ros.calibration import CalibrationFile, Method
    from mono_depth_ros.evaluation.calibrate import CalibrateConfig

HELP = (
    "Fit the metric scale of a network to LiDAR or a recorded depth image, to the known height of "
    "the camera over the floor, or to one measured distance. Fits on the even frames, reports on "
    "the odd ones, and writes the file that --calibration and the node's calibration_file take."
)

_ROWS = {"median_abs_rel": "median relative error", "abs_rel": "AbsRel", "delta1": "δ1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    parser.add_argument("--checkpoint", required=True, help="file, or name of a shipped checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="calibration file to write, YAML")
    truth = parser.add_mutually_exclusive_group()
    truth.add_argument(
        "--method",
        choices=("scale", "scale-shift"),
        help="scale (default): median of truth / prediction; scale-shift: 1/truth = a/prediction "
        "+ b, robust least squares",
    )
    truth.add_argument(
        "--camera-height", type=float, metavar="M", help="height of the camera over the floor"
    )
    truth.add_argument(
        "--distance", type=float, metavar="M", help="distance along the optical axis at --pixel"
    )
    parser.add_argument(
        "--pixel", nargs=2, type=int, metavar=("U", "V"), help="column and row, from 0"
    )
    parser.add_argument(
        "--frame", type=int, metavar="N", help="image of the bag with --pixel (default: 0)"
    )
    add_truth_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Fit, write the file, print the table."""
    from mono_depth_ros.evaluation.calibrate import calibrate_bag
    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

    _require_replaceable(args.out)
    config = _calibrate_config(args)
    calibration = calibrate_bag(
        args.bag,
        DepthPredictor.load(args.checkpoint, InferenceConfig(device=args.device)),
        config,
        track=lambda frames, total: progress(frames, total, "calibrating"),
    )
    save_calibration(args.out, calibration)
    sys.stdout.write("\n".join([*table_lines(calibration), f"calibration: {args.out}"]) + "\n")
    return 0


def table_lines(calibration: CalibrationFile) -> list[str]:
    """Return scale, range and residuals as lines of text, for a terminal."""
    before, after = calibration.before, calibration.after
    shift = calibration.inverse_depth_shift_per_m
    scale = f"depth_scale {calibration.depth_scale:.4f}"
    if calibration.method == "scale-shift":
        scale += f", inverse_depth_shift_per_m {shift:.5f}"
    low_m, high_m = calibration.fitted_range_m
    rows = [(title, getattr(before, name), getattr(after, name)) for name, title in _ROWS.items()]
    unit = "heights" if calibration.method == "camera-height" else "pixels"
    return [
        f"{scale} by {calibration.method}, from {low_m:.2f} to {high_m:.2f} m",
        f"fitted on {calibration.frames} frames, {calibration.pixels} {unit}; "
        f"{calibration.frames_left_out} frames left out",
        f"{f'on {calibration.residuals_on}':<24}{'before':>10}{'after':>10}",
        *(f"{title:<24}{old:>10.4f}{new:>10.4f}" for title, old, new in rows),
        f"{unit:<24}{before.pixels:>10d}{after.pixels:>10d}",
    ]


def _calibrate_config(args: argparse.Namespace) -> CalibrateConfig:
    from mono_depth_ros.evaluation.calibrate import CalibrateConfig

    given = [f"--{name}" for name in ("pixel", "frame") if getattr(args, name) is not None]
    if args.distance is None and given:
        raise ConfigError(
            f"{' and '.join(given)} without --distance M, the distance measured there"
        )
    if args.distance is not None and args.pixel is None:
        raise ConfigError("--distance needs --pixel U V, where it was measured")
    values: dict[str, Any] = {
        "camera_height_m": args.camera_height,
        "distance_m": args.distance,
        "pixel_uv": args.pixel and tuple(args.pixel),
        "frame": args.frame,
    }
    method: Method = args.method or "scale"
    if args.camera_height is not None:
        method = "camera-height"
    if args.distance is not None:
        method = "distance"
    present = {name: value for name, value in values.items() if value is not None}
    return CalibrateConfig(method=method, evaluation=build_config(args), **present)


def _require_replaceable(out: Path) -> None:
    """Refuse to overwrite what is no calibration, before the work."""
    if not out.exists():
        return
    try:
        load_calibration(out)
    except ConfigError as error:
        raise DataError(f"{out} exists and is no calibration; choose another name") from error
