"""A look at the ROS graph and its cameras; as a program it prints a section per line, as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import get_rmw_implementation_identifier, try_shutdown
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mono_depth_ros.doctor.cameras import SeenCamera, SeenImage, cameras_of, check_cameras
from mono_depth_ros.doctor.findings import Section
from mono_depth_ros.doctor.graph import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    check_graph,
    depth_node_names,
)
from mono_depth_ros.doctor.middleware import Computer, check_middleware
from mono_depth_ros.qos_rules import Endpoint
from mono_depth_ros.ros.camera_view import has_latched_publisher
from mono_depth_ros.ros.endpoints import endpoints_of_graph

NODE_NAME = "mono_depth_doctor"
# Every subscription costs somebody's network; a look at so many topics is enough for a report.
_MOST_TOPICS = 24
# Who missed an announcement hears the next one after 3 s.
_LEAST_DISCOVERY_S, _MOST_DISCOVERY_S = 3.5, 12.0
# So long nothing new has come when everybody is known.
_SETTLED_S = 1.0
_LISTEN_S = 4.0
_TYPES = {IMAGE: Image, COMPRESSED_IMAGE: CompressedImage, CAMERA_INFO: CameraInfo}


def look() -> list[Section]:
    """Find out who is there, then listen to the cameras; takes 8 to 16 seconds."""
    node = rclpy.create_node(NODE_NAME, start_parameter_services=False, enable_rosout=False)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    endpoints = _discover(node, executor)
    ears = _Ears(node, endpoints)
    _spin(executor, _LISTEN_S)
    # Once more: who came late is in the report too.
    endpoints = endpoints_of_graph(node)
    ears.close()
    ros = Section("ROS", {"distribution": os.environ.get("ROS_DISTRO", "not sourced (wheels)")})
    rmw = get_rmw_implementation_identifier()
    cameras = check_cameras(ears.cameras(), ears.now_ns(), _LISTEN_S)
    if ears.left_out:
        cameras.facts["not listened to"] = ", ".join(ears.left_out)
    return [ros, check_middleware(Computer.here(), rmw), check_graph(endpoints), cameras]


class _Ears:
    """Subscriptions to all camera topics, best effort, that keep the last message of each."""

    def __init__(self, node: Node, endpoints: list[Endpoint]) -> None:
        self._node = node
        self._infos: dict[str, SeenCamera] = {}
        self._images: dict[str, SeenImage] = {}
        self._clock_ns: int | None = None
        self._subscriptions = []
        outputs = depth_node_names(endpoints)
        topics = sorted(
            {
                (end.topic, end.message_type)
                for end in endpoints
                # What a depth node publishes follows from its input.
                if end.publishes and end.message_type in _TYPES and end.node not in outputs
            }
        )
        self.left_out = [topic for topic, _ in topics[_MOST_TOPICS:]]
        for topic, kind in topics[:_MOST_TOPICS]:
            self._listen(topic, kind)
        if any(end.topic == "/clock" and end.publishes for end in endpoints):
            from rosgraph_msgs.msg import Clock

            self._subscribe(Clock, "/clock", self._on_clock, latched=False)

    def cameras(self) -> list[SeenCamera]:
        """Return what was heard."""
        return cameras_of(list(self._images.values()), self._infos)

    def now_ns(self) -> int:
        """Return the graph's time: of /clock where it was heard, else of this computer."""
        return time.time_ns() if self._clock_ns is None else self._clock_ns

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _listen(self, topic: str, kind: str) -> None:
        latched = has_latched_publisher(self._node, topic)
        if kind == CAMERA_INFO:
            self._infos[topic] = SeenCamera(topic)
            heard: Callable[[Any], None] = lambda message: self._on_info(topic, message)  # noqa: E731
        else:
            self._images[topic] = SeenImage(topic, compressed=kind == COMPRESSED_IMAGE)
            heard = lambda message: self._on_image(topic, message)  # noqa: E731
        self._subscribe(_TYPES[kind], topic, heard, latched)

    def _subscribe(
        self, kind: Any, topic: str, heard: Callable[[Any], None], latched: bool
    ) -> None:
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        reliability = ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=5, durability=durability, reliability=reliability)
        self._subscriptions.append(self._node.create_subscription(kind, topic, heard, qos))

    def _on_info(self, topic: str, message: CameraInfo) -> None:
        seen = self._infos[topic]
        self._infos[topic] = replace(seen, count=seen.count + 1, info=message)

    def _on_image(self, topic: str, message: Any) -> None:
        seen, stamp = self._images[topic], message.header.stamp
        self._images[topic] = replace(
            seen,
            count=seen.count + 1,
            height=0 if seen.compressed else message.height,
            width=0 if seen.compressed else message.width,
            encoding=message.format if seen.compressed else message.encoding,
            frame_id=message.header.frame_id,
            stamp_ns=stamp.sec * 10**9 + stamp.nanosec,
            size_bytes=len(message.data),
        )

    def _on_clock(self, message: Any) -> None:
        self._clock_ns = message.clock.sec * 10**9 + message.clock.nanosec


def _discover(node: Node, executor: SingleThreadedExecutor) -> list[Endpoint]:
    began_s = changed_s = time.monotonic()
    known: list[Endpoint] = []
    while True:
        _spin(executor, 0.2)
        found, now_s = endpoints_of_graph(node), time.monotonic()
        if len(found) != len(known):
            known, changed_s = found, now_s
        settled = now_s - changed_s >= _SETTLED_S and now_s - began_s >= _LEAST_DISCOVERY_S
        if settled or now_s - began_s >= _MOST_DISCOVERY_S:
            return found


def _spin(executor: SingleThreadedExecutor, seconds: float) -> None:
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        executor.spin_once(timeout_sec=left_s)


def main() -> None:
    """Print the sections."""
    # What libraries print on the way must not end up in the JSON.
    output, sys.stdout = sys.stdout, sys.stderr
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        for section in look():
            print(json.dumps(section.to_mapping()), file=output)
    finally:
        try_shutdown()


if __name__ == "__main__":
    main()
