"""`mono_depth world`: a bag or a training set of the procedural world."""

from __future__ import annotations

import argparse
from pathlib import Path

from mono_depth_ros.cli.arguments import image_size
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.progress import progress

HELP = "write a bag or a training set of the procedural world"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mono_depth world`."""
    parser.add_argument("out", type=Path, help="bag or data set folder to write")
    parser.add_argument(
        "--kind", default="rooms", help="rooms (up to 10 m) or streets (up to 80 m)"
    )
    parser.add_argument(
        "--size", type=image_size, help="image size WxH (default: the kind's own camera)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--workers", type=int, help="processes on the CPU (default: all cores)")
    bag = parser.add_argument_group("bag (default)")
    bag.add_argument("--seed", type=int, default=0, help="scene to drive or walk through")
    bag.add_argument(
        "--frames", type=int, default=100, help="camera frames, each with a LiDAR scan"
    )
    bag.add_argument("--rate", type=float, default=10.0, help="frames per second")
    bag.add_argument("--storage", choices=("mcap", "sqlite3"), default="mcap")
    bag.add_argument("--lidar", choices=("64", "16"), default="64", help="number of beams")
    bag.add_argument(
        "--labels", action="store_true", help="record the class of every pixel as well"
    )
    data = parser.add_argument_group("training set")
    data.add_argument(
        "--dataset", action="store_true", help="write rgb, depth and labels instead of a bag"
    )
    data.add_argument(
        "--seeds", type=_seeds, default=range(100), help="scenes FIRST:LAST (LAST left out)"
    )
    data.add_argument("--frames-per-scene", type=int, default=16, help="views of every scene")
    data.add_argument(
        "--format", choices=("jpg", "png"), default="jpg", help="of the colour images"
    )
    data.add_argument(
        "--focal-jitter", type=float, default=0.0, help="vary the focal length by this share"
    )
    data.add_argument(
        "--variety",
        default="",
        metavar="PART,...",
        help="what else varies: all, or some of layout, cameras, sensors, surfaces, clutter, "
        "light, glass (default: none)",
    )


def run(args: argparse.Namespace) -> int:
    """Write what was asked for."""
    return _write_dataset(args) if args.dataset else _write_bag(args)


def _write_bag(args: argparse.Namespace) -> int:
    from mono_depth_ros.bags.world import write_world_bag
    from mono_depth_ros.world.recording import RecordingConfig

    config = RecordingConfig(
        kind=args.kind,
        seed=args.seed,
        frames=args.frames,
        rate_hz=args.rate,
        lidar=args.lidar,
        size=args.size,
        device=args.device,
        labels=args.labels,
        workers=args.workers,
    )
    for _ in progress(write_world_bag(args.out, config, args.storage), config.frames, "frames"):
        pass
    print(f"{args.out}: {config.frames} frames of {config.kind} {config.seed}")
    return 0


def _write_dataset(args: argparse.Namespace) -> int:
    from mono_depth_ros.world.catalogue import make_scene
    from mono_depth_ros.world.dataset import dataset_frames
    from mono_depth_ros.world.recording import camera_of
    from mono_depth_ros.world.variety import parse_variety

    if not len(args.seeds):
        raise ConfigError(
            "--seeds names no scene; write FIRST:LAST with LAST above FIRST, for example 0:200"
        )
    camera = camera_of(make_scene(args.kind, args.seeds[0]), args.size)
    frames = dataset_frames(
        args.out,
        args.kind,
        args.seeds,
        args.frames_per_scene,
        camera,
        args.device,
        args.workers,
        focal_jitter=args.focal_jitter,
        image_format=args.format,
        variety=parse_variety(args.variety),
    )
    total = len(args.seeds) * args.frames_per_scene
    for _ in progress(frames, total, "frames"):
        pass
    print(f"{args.out}: {total} frames of {len(args.seeds)} {args.kind}")
    return 0


def _seeds(text: str) -> range:
    """Parse FIRST:LAST."""
    first, colon, last = text.partition(":")
    if not (colon and first.isdigit() and last.isdigit()):
        raise argparse.ArgumentTypeError(f"seeds {text!r} must look like 0:200")
    return range(int(first), int(last))
