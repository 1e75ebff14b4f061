"""`mono_depth evaluate --live`: the bag through the real nodes, scored while it plays."""

from __future__ import annotations

import argparse
import logging
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mono_depth_ros.errors import BagError, ConfigError
from mono_depth_ros.processes import private_ros_environment, running, wait_for

if TYPE_CHECKING:
    from mono_depth_ros.bags.topics import Topics
    from mono_depth_ros.evaluation.saved_report import Report
    from mono_depth_ros.evaluation.settings import EvaluationConfig

_START_TIMEOUT_S = 120.0
# The network may take that long for the last image of the bag.
_LAST_DEPTH_S = 3.0
_REPORT_TIMEOUT_S = 3600.0
_MODULES = {
    "depth_node": "mono_depth_ros.ros.depth_process",
    "evaluator_node": "mono_depth_ros.ros.evaluator_node",
}
_DEPTH_TOPIC = "/depth_node/depth/image"

logger = logging.getLogger(__name__)


def evaluate_live(args: argparse.Namespace, config: EvaluationConfig) -> Report:
    """Play the bag to a depth node, let the evaluator node score it; print what it wrote.

    Args:
        args: of `mono_depth evaluate`.
        config: settings for the evaluator.

    Raises:
        ConfigError: an option asks for what cannot be done live.
        BagError: the bag is unreadable, lacks a topic, or is damaged and that is not accepted.
        MonoDepthError: one of the processes failed; the message shows its last lines.
    """
    from mono_depth_ros.bags.reader import BagReader
    from mono_depth_ros.bags.topics import find_topics
    from mono_depth_ros.config import to_mapping
    from mono_depth_ros.evaluation.live import require_live
    from mono_depth_ros.evaluation.saved_report import read_report

    if args.checkpoint is None:
        raise ConfigError("--live runs the depth node; give its --checkpoint")
    require_live(config)
    frames = config.frames
    with BagReader(args.bag) as bag:
        topics = find_topics(bag, frames.image_topic, frames.camera_info_topic, frames.truth_topic)
        damage = bag.damage((topics.image, topics.camera_info, topics.truth))
    if damage and not frames.accept_damaged:
        raise BagError(f"{damage}; without --refuse-damaged what can be read would be played")
    with tempfile.TemporaryDirectory(prefix="mono_depth_live_") as folder:
        work = Path(folder)
        _write_yaml(work / "settings.yaml", to_mapping(config))
        _write_parameters(
            work / "depth_node.yaml",
            checkpoint=args.checkpoint,
            device=args.device,
            calibration_file=str(args.calibration.absolute()) if args.calibration else "",
        )
        _write_parameters(
            work / "evaluator_node.yaml",
            out=str(args.out.absolute()),
            bag=str(args.bag.absolute()),
            config=str(work / "settings.yaml"),
            note=f"checkpoint {args.checkpoint}, bag played at {args.rate:g} of its speed",
            damage=damage,
            use_sim_time=True,
        )
        _run_nodes(work, args.bag, topics, args.rate)
    report = read_report(args.out)
    if damage:
        sys.stdout.write(f"played what can be read: {damage}\n")
    sys.stdout.write("\n".join(_lines(report, args.out)) + "\n")
    return report


def _run_nodes(work: Path, bag: Path, topics: Topics, rate: float) -> None:
    """Run depth node, evaluator node and player until the report is written."""
    image = topics.image.removesuffix("/compressed")
    camera = {
        "image": image,
        "image/compressed": f"{image}/compressed",
        "camera_info": topics.camera_info,
    }
    scored = {**camera, "points": topics.truth, "depth": _DEPTH_TOPIC}
    player = [
        "-m",
        "mono_depth_ros.cli.main",
        "-v",
        "play",
        str(bag),
        "--clock",
        "--accept-damaged",
    ]
    player += ["--rate", str(rate), "--wait-for-subscribers", str(_START_TIMEOUT_S)]
    player += ["--topics", topics.image, topics.camera_info, topics.truth]
    environment = private_ros_environment()
    logger.info("playing %s, ROS domain %s", bag, environment["ROS_DOMAIN_ID"])
    logs = {name: work / f"{name}.log" for name in ("depth_node", "evaluator_node", "play")}
    with (
        running(_node("depth_node", work, camera), logs["depth_node"], environment) as depth,
        running(_node("evaluator_node", work, scored), logs["evaluator_node"], environment) as ev,
        running(player, logs["play"], environment) as playing,
    ):
        while playing.poll() is None:
            _require_alive({logs["depth_node"]: depth, logs["evaluator_node"]: ev})
            time.sleep(0.2)
        wait_for(playing, logs["play"], 1.0)
        time.sleep(_LAST_DEPTH_S)
        ev.send_signal(signal.SIGINT)
        wait_for(ev, logs["evaluator_node"], _REPORT_TIMEOUT_S)


def _node(name: str, work: Path, remaps: dict[str, str]) -> list[str]:
    arguments = ["-m", _MODULES[name], "--ros-args"]
    arguments += ["--params-file", str(work / f"{name}.yaml")]
    for old, new in remaps.items():
        arguments += ["-r", f"{old}:={new}"]
    return arguments


def _require_alive(processes: dict[Path, subprocess.Popen[bytes]]) -> None:
    for log, process in processes.items():
        if process.poll() is not None:
            wait_for(process, log, 1.0)
            raise ConfigError(f"{log.stem} ended before the bag did")


def _write_parameters(path: Path, **parameters: Any) -> None:
    # A file, because on the command line a path with a colon or blank would be read as YAML.
    _write_yaml(path, {"/**": {"ros__parameters": parameters}})


def _write_yaml(path: Path, values: dict[str, Any]) -> None:
    import yaml

    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def _lines(report: Report, out: Path) -> list[str]:
    from mono_depth_ros.evaluation.report import COLUMNS, PAGE, padded, score_cells

    summary = report.summary
    header = ["", *(title for title, _ in COLUMNS.values())]
    rows = [
        header,
        ["prediction, live", *score_cells(summary.model)],
        [f"constant {summary.constant_m:.2f} m", *score_cells(summary.constant)],
    ]
    left_out = f"{summary.unpredicted_frames} without a depth"
    return [*padded(rows), f"{summary.frames} frames, {left_out}; report: {out / PAGE}"]
