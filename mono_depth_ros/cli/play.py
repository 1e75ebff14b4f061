"""`mono_depth play`: replay a bag onto the ROS graph."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from mono_depth_ros.errors import ConfigError

HELP = (
    "Replay a bag onto the ROS graph with real publishers: the recorded bytes, pace and QoS. "
    "Topics whose message package is not installed are skipped and named."
)

logger = logging.getLogger(__name__)

# The rate at which `ros2 bag play --clock` publishes.
_CLOCK_HZ = 40.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mono_depth play`."""
    parser.add_argument("bag", type=Path, help="rosbag2 folder, .mcap, .db3 or ROS 1 .bag")
    parser.add_argument(
        "--rate", type=float, default=1.0, help="bag seconds per second (default: 1)"
    )
    parser.add_argument("--loop", action="store_true", help="start again at the end, until Ctrl-C")
    parser.add_argument(
        "--clock",
        type=float,
        nargs="?",
        const=_CLOCK_HZ,
        metavar="HZ",
        help=f"publish /clock (default {_CLOCK_HZ:g} Hz)",
    )
    parser.add_argument(
        "--start-offset",
        type=float,
        default=0.0,
        metavar="S",
        help="leave out the first S seconds of the bag",
    )
    parser.add_argument(
        "--topics", nargs="+", metavar="TOPIC", help="play these only (default: all)"
    )
    parser.add_argument(
        "--remap", nargs="+", default=[], metavar="A:=B", help="publish topic A under the name B"
    )
    parser.add_argument(
        "--wait-for-subscribers",
        type=float,
        default=0.0,
        metavar="S",
        help="wait up to S seconds until every played topic has a subscriber",
    )
    parser.add_argument(
        "--accept-damaged",
        action="store_true",
        help="play what can be read of a damaged BAG and warn, instead of ending with an error",
    )


def run(args: argparse.Namespace) -> int:
    """Play the bag to its end or until Ctrl-C."""
    import rclpy
    from rclpy.signals import SignalHandlerOptions
    from rclpy.utilities import try_shutdown

    from mono_depth_ros.bags.reader import BagReader
    from mono_depth_ros.ros.interruption import StopRequest
    from mono_depth_ros.ros.middleware import use_large_message_profile
    from mono_depth_ros.ros.player import BagPlayer, PlayOptions

    options = PlayOptions(
        rate=args.rate,
        loop=args.loop,
        clock_hz=args.clock,
        start_offset_s=args.start_offset,
        topics=tuple(map(_absolute, args.topics)) if args.topics else None,
        remaps=dict(map(_remap, args.remap)),
        accept_damaged=args.accept_damaged,
        wait_for_subscribers_s=args.wait_for_subscribers,
    )
    stop = StopRequest.on_signals()
    use_large_message_profile()
    with BagReader(args.bag) as bag:
        rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        try:
            node = rclpy.create_node("mono_depth_play", start_parameter_services=False)
            player = BagPlayer(bag, node, options, stop)
            finished = player.play()
            counts = ", ".join(f"{topic} {count}" for topic, count in player.published.items())
            logger.info("%s: %s", "played" if finished else "stopped", counts)
        finally:
            try_shutdown()
    return 0


def _absolute(topic: str) -> str:
    return topic if topic.startswith("/") else f"/{topic}"


def _remap(text: str) -> tuple[str, str]:
    old, separator, new = text.partition(":=")
    if not separator or not old or not new:
        raise ConfigError(f"remap {text!r} must look like /recorded/name:=/published/name")
    return _absolute(old), _absolute(new)
