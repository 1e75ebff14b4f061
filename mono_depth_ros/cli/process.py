"""`mono_depth process`: a bag with depth, camera_info and cloud for every image of a bag."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mono_depth_ros import DEFAULT_CHECKPOINT
from mono_depth_ros.cli.arguments import add_calibration
from mono_depth_ros.progress import progress

HELP = "write a bag with depth, camera_info and point cloud, original stamps"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare bags, checkpoint, topics and outputs."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    parser.add_argument("out", type=Path, help="rosbag2 folder to create")
    parser.add_argument(
        "--checkpoint", default=DEFAULT_CHECKPOINT, help="name or file (default: %(default)s)"
    )
    parser.add_argument("--image-topic", help="default: found by type")
    parser.add_argument("--camera-info-topic", help="default: the image's sibling")
    parser.add_argument(
        "--unrectified",
        action="store_true",
        help="the images are not rectified: use K instead of P of camera_info",
    )
    parser.add_argument("--no-points", action="store_true", help="leave out the clouds")
    parser.add_argument("--copy-input", action="store_true", help="keep all input messages too")
    parser.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)"
    )
    add_calibration(parser)


def run(args: argparse.Namespace) -> int:
    """Process the bag and say how many frames were written and left out."""
    from mono_depth_ros.bags.process import ProcessConfig, process_bag
    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

    config = ProcessConfig(
        image_topic=args.image_topic,
        camera_info_topic=args.camera_info_topic,
        rectified=not args.unrectified,
        points=not args.no_points,
        copy_input=args.copy_input,
        storage=args.storage,
    )
    outcomes = process_bag(
        args.bag,
        args.out,
        DepthPredictor.load(args.checkpoint, InferenceConfig(device=args.device), args.calibration),
        config,
        track=lambda records, count: progress(records, count, "processing"),
    )
    counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
    sys.stdout.write(f"{args.out}: {counts or 'no images'}\n")
    return 0
