"""`mono_depth import-kitti`: a KITTI raw drive becomes a rosbag2."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mono_depth_ros.progress import progress

HELP = (
    "Turn a KITTI raw drive (the *_sync folder, its calibration files beside it) into a rosbag2 "
    "with rectified camera, camera_info, LiDAR and /tf_static."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.add_argument("drive", type=Path, help="e.g. 2011_09_26/2011_09_26_drive_0001_sync")
    parser.add_argument("bag", type=Path, help="rosbag2 folder to create")
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="file format (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Import the drive and say what was written."""
    from mono_depth_ros.bags.kitti import import_drive

    summary = import_drive(
        args.drive,
        args.bag,
        storage=args.storage,
        track=lambda items, total: progress(items, total, "importing"),
    )
    sys.stdout.write(
        f"{args.bag}: {summary.images} images, {summary.sweeps} LiDAR sweeps, "
        f"stamps from {summary.clock}\n"
    )
    return 0
