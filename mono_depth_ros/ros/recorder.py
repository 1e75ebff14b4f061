"""Records topics of the ROS graph into a bag, for machines without `ros2 bag`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from mono_depth_ros.bags import messages
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.errors import BagError
from mono_depth_ros.ros.interruption import StopRequest
from mono_depth_ros.ros.player import find_message_class

logger = logging.getLogger(__name__)

_SPIN_PERIOD_S = 0.1
_DISCOVERY_PERIOD_S = 0.2
_DRAIN_S = 0.2
_QUEUE_DEPTH = 20


class TopicRecorder:
    """Subscribes topics as their publishers appear and writes every message with its receive time.

    Args:
        node: creates the subscriptions; somebody spins it.
        writer: open bag.
        topics: absolute names.

    Attributes:
        recorded: topic to number of messages written.
    """

    def __init__(self, node: Node, writer: BagWriter, topics: Sequence[str]) -> None:
        self._node, self._writer = node, writer
        self._waiting = list(dict.fromkeys(topics))
        self.recorded = dict.fromkeys(self._waiting, 0)

    def subscribe_new(self) -> None:
        """Subscribe to those topics that have a publisher by now; name what cannot be recorded."""
        for topic in list(self._waiting):
            publishers = self._node.get_publishers_info_by_topic(topic)
            if publishers:
                self._subscribe(topic, publishers)
                self._waiting.remove(topic)

    def _subscribe(self, topic: str, publishers: list[TopicEndpointInfo]) -> None:
        msgtype = publishers[0].topic_type
        message_class = find_message_class(msgtype)
        # A topic that cannot be recorded must not cost the recording of the others.
        if message_class is None or msgtype not in messages.TYPESTORE.fielddefs:
            lack = "is not installed" if message_class is None else "is not part of ROS 2 Jazzy"
            logger.warning("%s is not recorded: its type %s %s", topic, msgtype, lack)
            return

        def write(cdr: bytes) -> None:
            self._writer.write_raw(topic, msgtype, time.time_ns(), cdr)
            self.recorded[topic] += 1

        self._node.create_subscription(
            message_class, topic, write, subscription_qos(publishers), raw=True
        )
        logger.info("recording %s (%s)", topic, msgtype)


def record_bag(
    node: Node,
    path: Path,
    topics: Sequence[str],
    stop: StopRequest,
    storage: str = "mcap",
    duration_s: float | None = None,
) -> dict[str, int]:
    """Record topics until stopped, or for `duration_s` seconds, and finish the bag.

    Returns:
        Topic to number of messages.

    Raises:
        BagError: nothing was received, or the bag cannot be written.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end_s = None if duration_s is None else time.monotonic() + duration_s
    with BagWriter(path, storage=storage) as writer:
        recorder = TopicRecorder(node, writer, topics)
        look_s = time.monotonic()
        while not stop.requested and (end_s is None or time.monotonic() < end_s):
            if time.monotonic() >= look_s:
                recorder.subscribe_new()
                look_s = time.monotonic() + _DISCOVERY_PERIOD_S
            executor.spin_once(timeout_sec=_SPIN_PERIOD_S)
        # What had arrived before the stop is still in the middleware's queues.
        drained_s = time.monotonic() + _DRAIN_S
        while time.monotonic() < drained_s:
            executor.spin_once(timeout_sec=0.02)
        if not any(recorder.recorded.values()):
            raise BagError(
                f"nothing came on {', '.join(recorder.recorded)}; "
                "check the names and ROS_DOMAIN_ID of the publishers"
            )
    for topic in (topic for topic, count in recorder.recorded.items() if not count):
        logger.warning("nothing came on %s", topic)
    return recorder.recorded


def subscription_qos(publishers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """Return the strictest QoS that every one of the publishers offers."""
    profiles = [publisher.qos_profile for publisher in publishers]
    reliable = all(profile.reliability == ReliabilityPolicy.RELIABLE for profile in profiles)
    latched = all(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in profiles)
    return QoSProfile(  # type: ignore[no-untyped-call]
        depth=_QUEUE_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
