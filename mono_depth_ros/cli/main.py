"""Entry point of the `mono_depth` command.

A subcommand is a module of this package with `HELP`, `add_arguments(parser)` and `run(args)`.
It is imported only when asked for, so that `mono_depth models` needs no ROS and
`mono_depth --help` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from mono_depth_ros import __version__
from mono_depth_ros.errors import MonoDepthError

logger = logging.getLogger(__name__)

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "evaluate": "score the depth of a bag's camera against its LiDAR",
        "calibrate": "fit the metric scale of a network to a robot's own sensors",
        "compare": "set evaluation reports against the first of them, frame by frame",
        "import-kitti": "turn a KITTI raw drive into a rosbag2",
        "image": "depth, preview and point cloud of picture files",
        "extract": "images and LiDAR depth of a bag as training data",
        "process": "write a bag with depth, camera_info and point cloud, original stamps",
        "play": "replay a bag onto the ROS graph",
        "doctor": "look for what keeps depth from coming: ROS, DDS, QoS, cameras, GPU, checkpoint",
        "record": "record topics of the ROS graph into a bag",
        "world": "write a bag or a training set of the procedural world",
        "models": "list networks and shipped checkpoints",
        "export": "a checkpoint as an ONNX file, checked against PyTorch",
        "benchmark": "speed and accuracy on this computer: network, node over DDS, messages, bags",
        "demo": "run the whole chain: world, node over DDS, recording, score, report",
    }
)

_ROS_HINT = "source a ROS 2 installation or run `pip install -r requirements-ros.txt`"
_INSTALL_HINTS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                "rclpy",
                "rosgraph_msgs",
                "builtin_interfaces",
                "sensor_msgs",
                "std_msgs",
                "std_srvs",
                "geometry_msgs",
                "diagnostic_msgs",
                "lifecycle_msgs",
            ),
            _ROS_HINT,
        ),
        "open3d": "run `pip install -r requirements-open3d.txt` and install libusb-1.0-0",
        "cv2": "run `pip install 'opencv-python-headless>=4.8,<5'`",
        "yaml": "run `pip install PyYAML`",
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: arguments without the program's name; those of the process by default.

    Returns:
        0 on success, 1 when the command failed with a reason on stderr, 3 when it succeeded and a
        --fail-if condition holds for its result, 130 when interrupted.

    Raises:
        SystemExit: by argparse, with 0 for --help and --version and 2 for wrong arguments.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = _parser(arguments).parse_args(arguments)
        _configure_logging(args.verbose)
        status = args.run(args)
    except MonoDepthError as error:
        return _failed(str(error), error)
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        # A broken import inside this package is our fault and deserves its traceback.
        if package in ("", "mono_depth_ros"):
            raise
        hint = _INSTALL_HINTS.get(package, f"run `pip install {package}`")
        return _failed(f"this command needs {package}: {hint}", error)
    except OSError as error:
        return _failed(str(error), error)
    except KeyboardInterrupt:
        sys.stderr.write("mono_depth: interrupted\n")
        return 130
    return int(status)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; only the subcommand that `arguments` name is imported."""
    parser = argparse.ArgumentParser(
        prog="mono_depth",
        description="Metric depth from one camera: score, convert, replay, demonstrate.",
    )
    _add_verbose(parser, default=False)
    parser.add_argument("--version", action="version", version=f"mono_depth {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # No option in front of the command takes a value, so the first plain word is the command.
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name != chosen:
            subparsers.add_parser(name, help=summary)
            continue
        module = importlib.import_module(f"mono_depth_ros.cli.{name.replace('-', '_')}")
        subparser = subparsers.add_parser(name, help=summary, description=module.HELP)
        # Suppressed, the default does not undo an option in front of the command.
        _add_verbose(subparser, default=argparse.SUPPRESS)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def _add_verbose(parser: argparse.ArgumentParser, default: bool | str) -> None:
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default,
        help="log details, and show where an error came from",
    )


def _configure_logging(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s" if verbose else "%(message)s",
    )
    logging.getLogger("mono_depth_ros").setLevel(logging.DEBUG if verbose else logging.INFO)


def _failed(reason: str, error: BaseException) -> int:
    logger.debug("traceback of the error below", exc_info=error)
    sys.stderr.write(f"mono_depth: error: {reason}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
