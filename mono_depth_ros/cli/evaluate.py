"""`mono_depth evaluate`: score depth on a recording against its LiDAR."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mono_depth_ros.cli.arguments import (
    GATE_FAILED,
    add_calibration,
    add_interval_arguments,
    add_rig_arguments,
    interval_settings,
    rig_settings,
)
from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.progress import progress

if TYPE_CHECKING:
    from mono_depth_ros.evaluation.pipeline import EvaluationConfig

HELP = (
    "Score depth on a recording against its LiDAR (or a recorded depth image): AbsRel, SqRel, "
    "RMSE, RMSElog, log10, SILog, δ1 to δ3, per range bin, beside a constant-depth baseline."
)

_SWITCHES_HELP = "largest depth that is scored, metres (default: the profile's)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", help="file, or name of a shipped checkpoint")
    source.add_argument("--depth-topic", help="score depth that is already recorded on this topic")
    parser.add_argument(
        "--depth-bag", type=Path, help="recording with --depth-topic, if it is not BAG"
    )
    add_calibration(parser)
    parser.add_argument("--out", type=Path, required=True, help="report folder to write")
    add_truth_arguments(parser)
    add_interval_arguments(parser)
    parser.add_argument(
        "--live",
        action="store_true",
        help="play BAG to the real depth node and score what it publishes, with latency and drops",
    )
    parser.add_argument(
        "--rate", type=float, default=1.0, help="bag seconds per second with --live (default: 1)"
    )
    parser.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit with status 3 when it holds, for example 'abs_rel>0.12', 'bins[0-10].delta1<0.9'"
        " or 'coverage<0.8'; may be repeated",
    )


def add_truth_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `build_config` reads, and the device."""
    parser.add_argument("--config", type=Path, help="YAML of settings, see config/evaluation")
    parser.add_argument("--profile", help="evaluation protocol (default: lidar)")
    parser.add_argument("--image-topic", help="default: found by type")
    parser.add_argument("--camera-info-topic", help="default: the image's sibling")
    parser.add_argument(
        "--unrectified",
        action="store_true",
        help="the images are not rectified: take the lens distortion of camera_info out of them",
    )
    add_rig_arguments(parser)
    parser.add_argument("--lidar-topic", help="default: found by type")
    parser.add_argument("--truth-depth-topic", help="score against this depth image, not LiDAR")
    parser.add_argument(
        "--fixed-frame",
        metavar="FRAME",
        help="frame in which the robot's motion during a sweep is undone, or none for sweeps that "
        "the driver has compensated (default: found in /tf or the odometry)",
    )
    parser.add_argument(
        "--odometry-topic", help="poses, where /tf has none (default: the only one)"
    )
    parser.add_argument(
        "--sweeps", type=int, metavar="N", help="merge the N sweeps around an image"
    )
    parser.add_argument("--max-depth", type=float, metavar="M", help=_SWITCHES_HELP)
    parser.add_argument("--max-frames", type=int, metavar="N", help="take N evenly spread frames")
    parser.add_argument(
        "--refuse-damaged",
        action="store_true",
        help="end with an error if BAG is damaged, instead of scoring what can be read",
    )
    parser.add_argument("--tolerance-ms", type=float, help="largest stamp distance (default: 50)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the report, print the table."""
    from mono_depth_ros.evaluation.gates import failures, parse_gates
    from mono_depth_ros.evaluation.pipeline import evaluate_bag
    from mono_depth_ros.evaluation.report import (
        PAGE,
        require_replaceable,
        score_lines,
        write_report,
    )

    require_replaceable(args.out)
    config = build_config(args)
    config = replace(config, intervals=replace(config.intervals, **interval_settings(args)))
    gates = parse_gates(args.fail_if, config.range_bins_m)
    if args.live:
        from mono_depth_ros.cli.live import evaluate_live

        return _gated(failures(gates, evaluate_live(args, config).summary, config.range_bins_m))
    with ExitStack() as stack:
        predictor, about = _predictor(args, stack)
        evaluation = evaluate_bag(
            args.bag,
            predictor,
            config,
            track=lambda frames, total: progress(frames, total, "evaluating"),
        )
    write_report(evaluation, args.out, about)
    summary = evaluation.summary
    sys.stdout.write("\n".join(score_lines(evaluation)) + "\n")
    if evaluation.recording.damage:
        sys.stdout.write(f"scored what can be read: {evaluation.recording.damage}\n")
    for warning in evaluation.diagnosis.warnings if evaluation.diagnosis else ():
        sys.stdout.write(f"WARNING: {warning}\n")
    left_out = summary.unreadable_frames
    sys.stdout.write(
        f"{summary.frames} frames{f' ({left_out} unreadable left out)' if left_out else ''}, "
        f"profile {config.profile}, average over "
        f"{config.protocol.average}; report: {args.out / PAGE}\n"
    )
    return _gated(failures(gates, summary, config.range_bins_m))


def _gated(failed: list[str]) -> int:
    sys.stderr.writelines(f"{line}\n" for line in failed)
    return GATE_FAILED if failed else 0


def build_config(args: argparse.Namespace) -> EvaluationConfig:
    """Return the configuration of --config with the other options put over it.

    Raises:
        ConfigError: a setting is unknown or impossible.
    """
    from mono_depth_ros.evaluation.pipeline import EvaluationConfig
    from mono_depth_ros.evaluation.protocols import cap_switches

    values: dict[str, Any] = load_yaml(args.config) if args.config else {}
    if args.truth_depth_topic and args.lidar_topic:
        raise ConfigError("--lidar-topic and --truth-depth-topic name two truths; give one")
    frames = {
        "image_topic": args.image_topic,
        "camera_info_topic": args.camera_info_topic,
        "rectified": False if args.unrectified else None,
        "truth": "depth" if args.truth_depth_topic else None,
        "truth_topic": args.truth_depth_topic or args.lidar_topic,
        "tolerance_ms": args.tolerance_ms,
        "max_frames": args.max_frames,
        "accept_damaged": False if args.refuse_damaged else None,
        "fixed_frame": args.fixed_frame,
        "odometry_topic": args.odometry_topic,
        "sweeps": args.sweeps,
        **rig_settings(args),
    }
    _override(values, "frames", frames)
    if args.profile is not None:
        values["profile"] = args.profile
    if args.max_depth is not None:
        profile = values.get("profile", EvaluationConfig().profile)
        _override(values, "switches", cap_switches(profile, args.max_depth))
    return from_mapping(EvaluationConfig, values)


def _override(values: dict[str, Any], section: str, given: Mapping[str, Any]) -> None:
    present = {key: value for key, value in given.items() if value is not None}
    if present:
        earlier = values.get(section, {})
        if not isinstance(earlier, Mapping):
            raise ConfigError(f"{section} must be a mapping of settings, got {earlier!r}")
        values[section] = {**earlier, **present}


def _predictor(args: argparse.Namespace, stack: ExitStack) -> tuple[Any, dict[str, str]]:
    if args.depth_topic:
        if args.calibration:
            raise ConfigError("--calibration is for --checkpoint; recorded depth stays as it is")
        from mono_depth_ros.evaluation.recorded import RecordedDepth

        bag = args.depth_bag or args.bag
        recorded = stack.enter_context(RecordedDepth(bag, args.depth_topic))
        return recorded, {"prediction": f"recorded on {args.depth_topic} of {bag.name}"}
    if args.depth_bag:
        raise ConfigError("--depth-bag needs --depth-topic, the topic to score in it")
    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

    inference = InferenceConfig(device=args.device)
    predictor = DepthPredictor.load(args.checkpoint, inference, args.calibration)
    info, used = predictor.info, predictor.config
    return predictor, {
        "prediction": f"checkpoint {info.name} ({info.network})",
        "checkpoint sha256": info.sha256,
        "trained on": info.training_data,
        "calibration": f"scale {used.depth_scale:g}, shift {used.inverse_depth_shift_per_m:g} 1/m",
        "device": str(predictor.device),
    }
