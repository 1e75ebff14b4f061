"""`mono_depth record`: record topics of the ROS graph into a bag."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

HELP = (
    "Record topics of the ROS graph into a rosbag2 until Ctrl-C. "
    "A topic is subscribed when its publisher appears."
)

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mono_depth record`."""
    parser.add_argument("out", type=Path, help="bag folder to write; must not exist")
    parser.add_argument(
        "--topics", nargs="+", required=True, metavar="TOPIC", help="topics to record"
    )
    parser.add_argument(
        "--storage", choices=("mcap", "sqlite3"), default="mcap", help="storage (default: mcap)"
    )
    parser.add_argument(
        "--duration", type=float, metavar="S", help="stop after S seconds (default: at Ctrl-C)"
    )


def run(args: argparse.Namespace) -> int:
    """Record until Ctrl-C, SIGTERM or the end of the duration, then finish the bag."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import try_shutdown

    from mono_depth_ros.ros.interruption import StopRequest
    from mono_depth_ros.ros.middleware import use_large_message_profile
    from mono_depth_ros.ros.recorder import record_bag

    topics = [topic if topic.startswith("/") else f"/{topic}" for topic in args.topics]
    stop = StopRequest.on_signals()
    use_large_message_profile()
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node("mono_depth_record", start_parameter_services=False)
        recorded = record_bag(node, args.out, topics, stop, args.storage, args.duration)
    finally:
        try_shutdown()
    logger.info(
        "%s: %s", args.out, ", ".join(f"{topic} {count}" for topic, count in recorded.items())
    )
    return 0
