"""`mono_depth demo`: the whole chain for real, on a recording of the procedural world.

A world bag is played over DDS to a depth_node process of its own; what the node publishes is
recorded by a third process, scored against the world's LiDAR, and shown.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mono_depth_ros.bags.process import CAMERA_INFO_TOPIC, DEPTH_TOPIC, POINTS_TOPIC
from mono_depth_ros.errors import BagError
from mono_depth_ros.processes import private_ros_environment, running, wait_for
from mono_depth_ros.progress import progress

if TYPE_CHECKING:
    from mono_depth_ros.evaluation.pipeline import Evaluation

HELP = "run the whole chain: world, node over DDS, recording, score, report"

_IMAGE_TOPIC = "/camera/image_raw"
_INFO_TOPIC = "/camera/camera_info"
_START_TIMEOUT_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the demo shows of one kind of world; the seed is in no training set."""

    checkpoint: str
    seed: int
    range_bins_m: tuple[float, ...]
    viewer_m: float


_SCENES = {
    "rooms": _Scene("hgc_light_rooms", 2_000_004, (0.0, 2.0, 4.0, 6.0, 10.0), 1.5),
    "streets": _Scene("pwa_light_streets", 2_000_001, (0.0, 10.0, 20.0, 40.0, 80.0), 8.0),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the demo's few choices."""
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="results (default: %(default)s)"
    )
    parser.add_argument(
        "--kind", choices=tuple(_SCENES), default="streets", help="world (default: %(default)s)"
    )
    parser.add_argument("--checkpoint", help="name or file (default: the shipped one of the kind)")
    parser.add_argument(
        "--frames", type=int, default=40, help="of the recording (default: %(default)s)"
    )
    parser.add_argument(
        "--rate", type=float, default=0.5, help="replay speed, 1 = real time (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the chain, write the report and its pictures, print the scores."""
    from mono_depth_ros.evaluation.report import PAGE, score_lines, write_report

    started_s, scene = time.monotonic(), _SCENES[args.kind]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".demo.", dir=args.out.parent) as folder:
        work = Path(folder)
        _write_world(work / "world", args.kind, scene, args.frames)
        _replay_through_node(work, args.checkpoint or scene.checkpoint, args.frames, args.rate)
        evaluation = _score(work, scene)
        write_report(evaluation, args.out, {"world": f"procedural {args.kind}, no real data"})
        _draw(work, args.out, scene)
        for result in work.iterdir():
            shutil.move(result, args.out / result.name)
    sys.stdout.write("\n".join(score_lines(evaluation)) + "\n")
    sys.stdout.write(
        f"{evaluation.summary.frames} of {args.frames} frames of the procedural world "
        f"({args.kind}) in {time.monotonic() - started_s:.0f} s\n"
        f"look at {args.out / PAGE}, {args.out / 'depth.png'} and {args.out / 'cloud.png'}\n"
    )
    return 0


def _write_world(path: Path, kind: str, scene: _Scene, frames: int) -> None:
    from mono_depth_ros.bags.world import write_world_bag
    from mono_depth_ros.world.recording import RecordingConfig

    config = RecordingConfig(kind=kind, seed=scene.seed, frames=frames)
    for _ in progress(write_world_bag(path, config), frames, "rendering the world"):
        pass


def _replay_through_node(work: Path, checkpoint: str, frames: int, rate: float) -> None:
    """Play work/world to a depth_node process and record what it publishes in work/recorded."""
    module = ["-m", "mono_depth_ros.cli.main", "-v"]
    node = ["-m", "mono_depth_ros.ros.depth_process", "--ros-args"]
    node += ["-r", f"image:={_IMAGE_TOPIC}", "-r", f"camera_info:={_INFO_TOPIC}"]
    node += ["-p", f"checkpoint:={checkpoint}"]
    recorder = [*module, "record", str(work / "recorded"), "--topics"]
    recorder += [DEPTH_TOPIC, CAMERA_INFO_TOPIC, POINTS_TOPIC]
    player = [*module, "play", str(work / "world"), "--rate", str(rate)]
    player += ["--topics", _IMAGE_TOPIC, _INFO_TOPIC]
    player += ["--wait-for-subscribers", str(_START_TIMEOUT_S)]
    environment = private_ros_environment()
    logger.info(
        "playing to depth_node with %s, ROS domain %s", checkpoint, environment["ROS_DOMAIN_ID"]
    )
    with (
        running(recorder, work / "record.log", environment),
        running(node, work / "depth_node.log", environment),
        running(player, work / "play.log", environment) as playing,
    ):
        wait_for(playing, work / "play.log", 2 * _START_TIMEOUT_S + frames / rate)
        time.sleep(2.0)  # the last frame is still on its way through network and recorder


def _score(work: Path, scene: _Scene) -> Evaluation:
    from mono_depth_ros.evaluation.pipeline import evaluate_bag
    from mono_depth_ros.evaluation.recorded import RecordedDepth
    from mono_depth_ros.evaluation.settings import EvaluationConfig

    config = EvaluationConfig(
        switches={"cap_m": scene.range_bins_m[-1]}, range_bins_m=scene.range_bins_m
    )
    with RecordedDepth(work / "recorded", DEPTH_TOPIC) as depth:
        return evaluate_bag(
            work / "world",
            depth,
            config,
            track=lambda frames, total: progress(frames, total, "scoring against LiDAR"),
        )


def _draw(work: Path, out: Path, scene: _Scene) -> None:
    """Draw depth.png and cloud.png from the middle frame of the recording."""
    import numpy as np

    from mono_depth_ros.bags.reader import BagReader
    from mono_depth_ros.clouds import draw_cloud, view_from_above
    from mono_depth_ros.coloring import DepthColorizer
    from mono_depth_ros.decoding import (
        camera_info_to_intrinsics,
        image_to_depth,
        image_to_rgb,
        point_cloud_fields,
    )
    from mono_depth_ros.files import write_rgb

    with BagReader(work / "recorded") as recorded, BagReader(work / "world") as world:
        headers = [message.header for _, _, message in recorded.messages([CAMERA_INFO_TOPIC])]
        header = headers[len(headers) // 2]
        depth_m = image_to_depth(_message_of(recorded, DEPTH_TOPIC, header))
        camera = camera_info_to_intrinsics(_message_of(recorded, CAMERA_INFO_TOPIC, header))
        fields = point_cloud_fields(_message_of(recorded, POINTS_TOPIC, header))
        rgb = image_to_rgb(_message_of(world, _IMAGE_TOPIC, header))
    colorize = DepthColorizer(scene.range_bins_m[-1])
    write_rgb(out / "depth.png", np.hstack((rgb, colorize(depth_m))))
    points = np.column_stack([fields[name].ravel() for name in ("x", "y", "z", "rgb")])
    viewpoint = view_from_above(scene.viewer_m, 0.8 * scene.viewer_m, pitch_deg=18.0)
    write_rgb(out / "cloud.png", draw_cloud(points, camera, viewpoint, dot_px=3))


def _message_of(reader, topic: str, header):  # type: ignore[no-untyped-def]
    """Return the message of a topic with the stamp of `header`."""
    for _, _, message in reader.messages([topic]):
        if message.header.stamp == header.stamp:
            return message
    raise BagError(f"{reader.path} has no message on {topic} stamped {header.stamp}")
