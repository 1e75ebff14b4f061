"""Replays a bag onto the ROS graph: real publishers, the recorded bytes, the recorded pace."""

from __future__ import annotations

import importlib
import logging
import math
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import Qos, QosDurability, QosReliability
from rosgraph_msgs.msg import Clock

from mono_depth_ros.bags.reader import BagReader, describe
from mono_depth_ros.errors import BagError, ConfigError
from mono_depth_ros.ros.interruption import StopRequest

logger = logging.getLogger(__name__)

CLOCK_TOPIC = "/clock"
_NS_PER_S = 1_000_000_000
_DEFAULT_DEPTH = 5
_MOST_LATCHED = 1000


@dataclass(frozen=True)
class PlayOptions:
    """How a bag is replayed.

    Attributes:
        rate: bag seconds per second.
        loop: start again at the end, until stopped.
        clock_hz: rate of /clock in wall time; None publishes none.
        start_offset_s: bag time that is left out at the start; latched topics (/tf_static) are
            published all the same.
        topics: names to play; None plays all.
        remaps: recorded topic name to published name.
        accept_damaged: play what can be read of a damaged bag and warn; else an error follows.
        wait_for_subscribers_s: longest wait until every played topic has a subscriber; 0 starts at
            once.

    Raises:
        ConfigError: a number is out of range.
    """

    rate: float = 1.0
    loop: bool = False
    clock_hz: float | None = None
    start_offset_s: float = 0.0
    topics: tuple[str, ...] | None = None
    remaps: Mapping[str, str] = field(default_factory=dict)
    accept_damaged: bool = False
    wait_for_subscribers_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rate", "clock_hz"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ConfigError(f"{name} is {value}; it must be positive")
        for name in ("start_offset_s", "wait_for_subscribers_s"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 0 or more seconds")


class BagPlayer:
    """Publishes one open bag through one node.

    Args:
        bag: open reader.
        node: creates the publishers; needs no executor.
        options: what to play and how.
        stop: asked between messages.

    Attributes:
        published: topic (after remapping) to number of messages published so far.

    Raises:
        BagError: a topic asked for is not in the bag, or no topic of the bag can be published here.
    """

    def __init__(self, bag: BagReader, node: Node, options: PlayOptions, stop: StopRequest) -> None:
        self._bag, self._options, self._stop = bag, options, stop
        self._node = node
        self._publishers = self._create_publishers(_chosen_topics(bag, options))
        self._clock = node.create_publisher(Clock, CLOCK_TOPIC, 1) if options.clock_hz else None
        self.published = {publisher.topic_name: 0 for publisher in self._publishers.values()}

    def play(self) -> bool:
        """Publish the bag, again and again with `loop`; False when it was stopped before the end.

        Raises:
            BagError: the bag is damaged and that is not accepted; every message that can be read
                was published.
        """
        self._wait_for_subscribers()
        finished = self._play_once()
        while finished and self._options.loop:
            if not any(self.published.values()):
                raise BagError(
                    f"{self._bag.path} has nothing to loop over from second "
                    f"{self._options.start_offset_s:g} on; lower the start offset"
                )
            finished = self._play_once()
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=1.0))
        return finished

    def _create_publishers(self, topics: Collection[str]) -> dict[str, Publisher]:
        publishers, missing = {}, {}
        for topic in topics:
            msgtype = self._bag.topics[topic]
            message_class = find_message_class(msgtype)
            if message_class is None:
                missing[topic] = msgtype
                continue
            qos = publisher_qos(topic, self._bag.qos.get(topic, ()), self._bag.counts.get(topic, 0))
            name = self._options.remaps.get(topic, topic)
            publishers[topic] = self._node.create_publisher(message_class, name, qos)
        if missing:
            logger.warning(
                "not played, their message packages are not installed: %s", describe(missing)
            )
        if not publishers:
            raise BagError(
                f"{self._bag.path} has no topic that can be played here; "
                f"it has {describe(self._bag.topics)}"
            )
        return publishers

    def _wait_for_subscribers(self) -> None:
        deadline_s = time.monotonic() + self._options.wait_for_subscribers_s
        while lonely := [
            p.topic_name for p in self._publishers.values() if not p.get_subscription_count()
        ]:
            if time.monotonic() >= deadline_s:
                if self._options.wait_for_subscribers_s:
                    logger.warning("nobody subscribes to %s; playing anyway", ", ".join(lonely))
                return
            if not self._stop.sleep_until(time.monotonic() + 0.02):
                return

    def _play_once(self) -> bool:
        timeline: _Timeline | None = None
        for topic, log_time_ns, cdr in self._readable():
            if timeline is None:
                timeline = _Timeline(log_time_ns, self._options)
            publisher = self._publishers[topic]
            early = log_time_ns < timeline.from_ns
            if early and publisher.qos_profile.durability != DurabilityPolicy.TRANSIENT_LOCAL:
                continue
            if not early and not self._sleep_until(timeline, timeline.wall_s(log_time_ns)):
                return False
            publisher.publish(bytes(cdr))
            self.published[publisher.topic_name] += 1
        return not self._stop.requested

    def _readable(self) -> Iterator[tuple[str, int, bytes]]:
        try:
            for topic, _, log_time_ns, cdr in self._bag.raw_messages(tuple(self._publishers)):
                yield topic, log_time_ns, cdr
        except BagError as error:
            if not self._options.accept_damaged:
                raise
            logger.warning("%s; all that can be read was played", error)

    def _sleep_until(self, timeline: _Timeline, wall_s: float) -> bool:
        """Sleep to a wall time, publishing /clock meanwhile."""
        if self._clock is not None:
            while timeline.next_clock_s <= wall_s:
                if not self._stop.sleep_until(timeline.next_clock_s):
                    return False
                self._publish_clock(timeline.bag_ns(timeline.next_clock_s))
                timeline.next_clock_s += timeline.clock_period_s
        return self._stop.sleep_until(wall_s)

    def _publish_clock(self, time_ns: int) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(time_ns, _NS_PER_S)
        assert self._clock is not None
        self._clock.publish(message)


class _Timeline:
    """Maps bag time (ns) to time.monotonic() of one pass."""

    def __init__(self, first_ns: int, options: PlayOptions) -> None:
        self.from_ns = first_ns + round(options.start_offset_s * _NS_PER_S)
        self._start_s, self._rate = time.monotonic(), options.rate
        self.next_clock_s = self._start_s
        self.clock_period_s = 1.0 / options.clock_hz if options.clock_hz else math.inf

    def wall_s(self, bag_ns: int) -> float:
        return self._start_s + (bag_ns - self.from_ns) / _NS_PER_S / self._rate

    def bag_ns(self, wall_s: float) -> int:
        return self.from_ns + round((wall_s - self._start_s) * self._rate * _NS_PER_S)


def find_message_class(msgtype: str) -> Any | None:
    """Return the class of e.g. "sensor_msgs/msg/Image"; None where its package is missing."""
    package, _, name = msgtype.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def publisher_qos(topic: str, recorded: Collection[Qos], count: int) -> QoSProfile:
    """Choose the QoS of a replayed topic: as recorded, else reliable; latched ones keep all.

    Args:
        topic: recorded name.
        recorded: QoS of the recorded publishers; may be empty.
        count: messages in the bag.
    """
    latched = topic == "/tf_static" or any(
        q.durability == QosDurability.TRANSIENT_LOCAL for q in recorded
    )
    best_effort = bool(recorded) and all(
        q.reliability == QosReliability.BEST_EFFORT for q in recorded
    )
    return QoSProfile(  # type: ignore[no-untyped-call]
        depth=min(max(count, 1), _MOST_LATCHED) if latched else _DEFAULT_DEPTH,
        reliability=ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _chosen_topics(bag: BagReader, options: PlayOptions) -> list[str]:
    named = set(options.topics or ()) | set(options.remaps)
    unknown = sorted(named - set(bag.topics))
    if unknown:
        raise BagError(
            f"{bag.path} has no topic {', '.join(unknown)}; it has {describe(bag.topics)}"
        )
    chosen = options.topics if options.topics is not None else sorted(bag.topics)
    # Our own /clock follows the rate; a recorded one beside it would make time jump.
    return [topic for topic in chosen if options.clock_hz is None or topic != CLOCK_TOPIC]
