"""`mono_depth benchmark`: what a checkpoint and the messages cost on this computer."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mono_depth_ros import DEFAULT_CHECKPOINT
from mono_depth_ros.atomic import replacing
from mono_depth_ros.cli.arguments import image_size
from mono_depth_ros.cli.processes import private_ros_environment, running

HELP = "measure frame rates on this computer: the bare predictor and the node over DDS"

_WARM_UP_RUNS = 10
# What decoding, messages and DDS may cost beside the network: rate >= 1 / (T + 8 ms).
_OVERHEAD_GOAL_MS = 8.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare checkpoint, image size and length."""
    parser.add_argument(
        "--checkpoint", default=DEFAULT_CHECKPOINT, help="name or file (default: %(default)s)"
    )
    parser.add_argument(
        "--size", type=image_size, default="640x480", help="camera image (default: %(default)s)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="per measurement (default: %(default)s)"
    )
    parser.add_argument(
        "--evaluator",
        action="store_true",
        help="also what `mono_depth evaluate` costs per frame beside the predictor (600 MB on disk "
        "for a while)",
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write the figures."""
    height, width = args.size
    bare_ms = _bare_predictor_ms(args, height, width)
    rows: dict[str, Any] = {
        "checkpoint": args.checkpoint,
        "image": f"{width}x{height}",
        "cpu_cores": os.cpu_count(),
        "bare_predictor_ms": bare_ms,
        "bare_predictor_hz": 1e3 / bare_ms,
        "goal_hz": 1e3 / (bare_ms + _OVERHEAD_GOAL_MS),
    }
    rows.update(_node_rates(args, height, width, bare_ms))
    rows.update(_message_costs(height, width))
    if args.evaluator:
        from mono_depth_ros.cli.benchmark_evaluator import evaluator_costs

        rows.update(evaluator_costs(args.checkpoint, args.device, height, width))
    for name, value in rows.items():
        text = f"{value:.2f}" if isinstance(value, float) else str(value)
        sys.stdout.write(f"{name:<36}{text}\n")
    if args.json:
        with replacing(args.json) as temporary:
            temporary.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def _bare_predictor_ms(args: argparse.Namespace, height: int, width: int) -> float:
    """Return the median time of one call, image in to depth out, milliseconds."""
    import numpy as np

    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

    predictor = DepthPredictor.load(args.checkpoint, InferenceConfig(device=args.device))
    rgb = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    for _ in range(_WARM_UP_RUNS):
        predictor(rgb, None)
    times_s, end_s = [], time.perf_counter() + args.seconds
    while time.perf_counter() < end_s:
        started_s = time.perf_counter()
        predictor(rgb, None)
        times_s.append(time.perf_counter() - started_s)
    return 1e3 * float(np.median(times_s))


def _node_rates(
    args: argparse.Namespace, height: int, width: int, bare_ms: float
) -> dict[str, float]:
    """Return rate and latency of a node process fed faster than it can work."""
    from mono_depth_ros.ros.middleware import use_large_message_profile

    # Everything that ROS reads from the environment is read when rclpy starts.
    os.environ.update(private_ros_environment())
    use_large_message_profile()
    import rclpy
    from rclpy.utilities import try_shutdown

    from mono_depth_ros.ros.load import IMAGE_TOPIC, INFO_TOPIC, measure_node

    command = ["-m", "mono_depth_ros.ros.depth_process", "--ros-args"]
    command += ["-p", f"checkpoint:={args.checkpoint}", "-p", f"device:={args.device}"]
    command += ["-r", f"image:={IMAGE_TOPIC}", "-r", f"camera_info:={INFO_TOPIC}"]
    figures = {}
    rclpy.init(args=[])
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, points in (("node_depth", False), ("node_depth_and_cloud", True)):
                with running(command, Path(folder) / "depth_node.log", dict(os.environ)):
                    rate = measure_node(height, width, 1.1e3 / bare_ms, args.seconds, points=points)
                figures[f"{name}_hz"] = rate.rate_hz
                figures[f"{name}_latency_ms"] = rate.latency_ms
                figures[f"{name}_share_of_bare"] = rate.rate_hz * bare_ms / 1e3
    finally:
        try_shutdown()
    return figures


def _message_costs(height: int, width: int) -> dict[str, float]:
    """Return what the large messages cost to build, here and with the usual libraries."""
    from mono_depth_ros.ros.message_costs import measure_message_costs

    return measure_message_costs(height, width)
