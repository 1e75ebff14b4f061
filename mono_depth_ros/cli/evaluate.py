"""`mono_depth evaluate`: score depth on a recording against its LiDAR."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator, Mapping
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
from mono_depth_ros.cli.interruption import INTERRUPTED, interruptible
from mono_depth_ros.cli.predictor_source import PredictorSource
from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.progress import progress

if TYPE_CHECKING:
    from mono_depth_ros.evaluation.pipeline import Evaluation
    from mono_depth_ros.evaluation.scores import Summary
    from mono_depth_ros.evaluation.settings import EvaluationConfig

HELP = (
    "Score depth on a recording against its LiDAR (or a recorded depth image): AbsRel, SqRel, "
    "RMSE, RMSElog, log10, SILog, δ1 to δ3, per range bin, beside a constant-depth baseline."
)

_SWITCHES_HELP = "largest depth that is scored, metres (default: the profile's)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument(
        "bag",
        type=Path,
        nargs="+",
        help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag; several get a report each",
    )
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
        "--labels-topic",
        help="class numbers as mono8 images; scores the classes of a network that knows some",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the frames, where the CPU is the limit (default: 1)",
    )
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
    parser.add_argument(
        "--ego-mask",
        metavar="PNG",
        help="picture of the image's size; where it is not black, the image shows the robot itself "
        "and is not scored",
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
    from mono_depth_ros.evaluation.report import require_replaceable

    require_replaceable(args.out)
    config = build_config(args)
    config = replace(config, intervals=replace(config.intervals, **interval_settings(args)))
    gates = parse_gates(args.fail_if, config.range_bins_m)
    if args.live:
        from mono_depth_ros.cli.live import evaluate_live

        args.bag = _only(args.bag)
        return _gated(failures(gates, evaluate_live(args, config).summary, config.range_bins_m))
    sources = [PredictorSource.of(args, bag) for bag in args.bag]
    work = args.out.with_name(f"{args.out.name}.partial")
    with interruptible():
        if len(args.bag) == 1:
            summary, interrupted = _evaluate_one(args, config, sources[0], work)
        else:
            summary, interrupted = _evaluate_several(args, config, sources, work)
    if interrupted:
        sys.stdout.write(f"{interrupted}; the same command goes on from there\n")
        return INTERRUPTED
    shutil.rmtree(work, ignore_errors=True)
    return _gated(failures(gates, summary, config.range_bins_m))


def _only(bags: list[Path]) -> Path:
    if len(bags) > 1:
        raise ConfigError("--live plays one BAG; evaluate several one after the other")
    return bags[0]


def _evaluate_one(
    args: argparse.Namespace, config: EvaluationConfig, source: PredictorSource, work: Path
) -> tuple[Summary, str]:
    """Score one recording, write its report, print its table."""
    from mono_depth_ros.evaluation.report import PAGE, score_lines, write_report

    evaluation, about = _score(args.bag[0], config, source, work, args.workers)
    write_report(evaluation, args.out, about)
    sys.stdout.write("\n".join(score_lines(evaluation)) + "\n")
    sys.stdout.write("\n".join(_remarks(evaluation)) + f"; report: {args.out / PAGE}\n")
    return evaluation.summary, evaluation.interrupted


def _evaluate_several(
    args: argparse.Namespace, config: EvaluationConfig, sources: list[PredictorSource], work: Path
) -> tuple[Summary, str]:
    """Score recordings one after the other; write a report of each and one of all."""
    from mono_depth_ros.evaluation.collection import Collection, collection_lines, folder_names
    from mono_depth_ros.evaluation.folders import replacing_folder
    from mono_depth_ros.evaluation.report import PAGE, write_report

    collection = Collection(config)
    with replacing_folder(args.out) as out:
        for bag, name, source in zip(args.bag, folder_names(args.bag), sources, strict=True):
            try:
                evaluation, about = _score(bag, config, source, work / name, args.workers)
            except KeyboardInterrupt:
                collection.interrupted = f"interrupted before {name}"
                break
            write_report(evaluation, out / name, about)
            collection.add(name, evaluation)
            sys.stdout.write(f"{name}: " + "\n".join(_remarks(evaluation)) + "\n")
            if evaluation.interrupted:
                collection.interrupted = f"{name} {evaluation.interrupted}"
                break
        collection.write(out)
    sys.stdout.write("\n".join(collection_lines(collection)) + "\n")
    sys.stdout.write(f"report: {args.out / PAGE}\n")
    return collection.summary(), collection.interrupted


def _score(
    bag: Path, config: EvaluationConfig, source: PredictorSource, work: Path, workers: int
) -> tuple[Evaluation, dict[str, str]]:
    """Return the evaluation of one recording, and what its report says of the predictor."""
    from mono_depth_ros.evaluation.pipeline import evaluate_bag
    from mono_depth_ros.evaluation.work import Work

    with source.open() as predictor:
        about = source.about(predictor)
        evaluation = evaluate_bag(
            bag,
            predictor,
            config,
            track=lambda frames, total: progress(frames, total, f"evaluating {bag.name}"),
            work=Work(work, str(about), workers, source.open),
        )
    return evaluation, about


def _remarks(evaluation: Evaluation) -> Iterator[str]:
    """Yield what the table does not say."""
    summary, config = evaluation.summary, evaluation.config
    if evaluation.recording.damage:
        yield f"scored what can be read: {evaluation.recording.damage}"
    for warning in evaluation.diagnosis.warnings if evaluation.diagnosis else ():
        yield f"WARNING: {warning}"
    left_out = summary.unreadable_frames
    yield (
        f"{summary.frames} frames{f' ({left_out} unreadable left out)' if left_out else ''}, "
        f"profile {config.profile}, average over {config.protocol.average}"
    )


def _gated(failed: list[str]) -> int:
    sys.stderr.writelines(f"{line}\n" for line in failed)
    return GATE_FAILED if failed else 0


def build_config(args: argparse.Namespace) -> EvaluationConfig:
    """Return the configuration of --config with the other options put over it.

    Raises:
        ConfigError: a setting is unknown or impossible.
    """
    from mono_depth_ros.evaluation.protocols import cap_switches
    from mono_depth_ros.evaluation.settings import EvaluationConfig

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
        "ego_mask": args.ego_mask,
        # Only of `evaluate`.
        "labels_topic": getattr(args, "labels_topic", None),
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
