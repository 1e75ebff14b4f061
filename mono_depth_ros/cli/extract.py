"""`mono_depth extract`: the images and LiDAR depth of a bag as training data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mono_depth_ros.cli.arguments import add_rig_arguments, rig_settings
from mono_depth_ros.progress import progress

HELP = (
    "Write the rectified images of a recording and the LiDAR points on them, as 16-bit depth, to a "
    "folder that `python -m training.prepare bag` takes."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare bag, folder, topics and what to leave out."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    parser.add_argument("out", type=Path, help="folder to create")
    parser.add_argument("--image-topic", help="default: found by type")
    parser.add_argument("--camera-info-topic", help="default: the image's sibling")
    parser.add_argument("--lidar-topic", help="default: found by type")
    parser.add_argument(
        "--unrectified",
        action="store_true",
        help="the images are not rectified: take the lens distortion of camera_info out of them",
    )
    parser.add_argument(
        "--camera-from-lidar",
        type=float,
        nargs=7,
        metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
        help="metres and quaternion, where the recording has no /tf_static",
    )
    add_rig_arguments(parser)
    parser.add_argument("--tolerance-ms", type=float, help="largest stamp distance (default: 50)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take every N-th image")
    parser.add_argument(
        "--min-change",
        type=float,
        default=1.0,
        metavar="LEVELS",
        help="skip an image whose grey values differ by less from the last one taken, 0 takes all "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--occlusion",
        choices=("opposite", "none"),
        default="opposite",
        help="opposite: drop points that the camera cannot see (default)",
    )
    parser.add_argument(
        "--image-format", choices=("jpg", "png"), default="jpg", help="default: %(default)s"
    )


def run(args: argparse.Namespace) -> int:
    """Extract the bag and say how many frames were written and left out."""
    from mono_depth_ros.config import from_mapping
    from mono_depth_ros.evaluation.extract import ExtractConfig, extract_bag

    frames = {
        "image_topic": args.image_topic,
        "camera_info_topic": args.camera_info_topic,
        "truth_topic": args.lidar_topic,
        "tolerance_ms": args.tolerance_ms,
        "rectified": False if args.unrectified else None,
        "camera_from_lidar": args.camera_from_lidar,
        **rig_settings(args),
    }
    values = {name: getattr(args, name) for name in ("every", "min_change", "occlusion")}
    values["image_format"] = args.image_format
    values["frames"] = {key: value for key, value in frames.items() if value is not None}
    summary = extract_bag(
        args.bag,
        args.out,
        from_mapping(ExtractConfig, values),
        track=lambda frames, total: progress(frames, total, "extracting"),
    )
    sys.stdout.write(
        f"{args.out}: {summary.written} frames; left out: {summary.still} without motion, "
        f"{summary.empty} without LiDAR points in the image, {summary.unreadable} unreadable\n"
    )
    return 0
