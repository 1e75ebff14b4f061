"""A camera that never waits and a listener that counts: what a running depth node can do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.processes import private_ros_environment
from mono_depth_ros.ros.middleware import use_large_message_profile

IMAGE_TOPIC = "/camera/image_raw"
INFO_TOPIC = "/camera/camera_info"
_DEPTH_TOPIC = "/depth_node/depth/image"
_POINTS_TOPIC = "/depth_node/points"
_FRAME = "camera_optical_frame"
# Caches and buffers have their size after it.
_SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class NodeRate:
    """What a node did with a stream of images.

    Attributes:
        rate_hz: depth images per second.
        latency_ms: median time from publishing an image to receiving its depth.
        published: images sent in the measured time.
        received: depth images that came back in it.
    """

    rate_hz: float
    latency_ms: float
    published: int
    received: int


@contextmanager
def private_graph() -> Iterator[None]:
    """Start rclpy for a `with` block, in a domain of this process and those that it starts."""
    # Everything that ROS reads from the environment is read when rclpy starts.
    os.environ.update(private_ros_environment())
    use_large_message_profile()
    rclpy.init(args=[])
    try:
        yield
    finally:
        try_shutdown()


def measure_node(
    height: int,
    width: int,
    rate_hz: float,
    seconds: float,
    *,
    points: bool,
    ready: Callable[[], bool] = lambda: True,
    start_timeout_s: float = 120.0,
) -> NodeRate:
    """Send images at a steady rate to the running depth node and count its answers.

    The depth node must take its input from IMAGE_TOPIC and INFO_TOPIC; rclpy must be running.

    Args:
        height: of the images.
        width: of the images.
        rate_hz: more than the node can do measures its own rate.
        seconds: length of the measurement.
        points: subscribe to the cloud as well.
        ready: whether the node serves as it is to be measured.
        start_timeout_s: how long it may take until then, and to answer the first image.

    Raises:
        MonoDepthError: no depth came, or the node was not ready in time.
    """
    node = rclpy.create_node("mono_depth_benchmark")
    try:
        camera = _Camera(node, height, width, rate_hz)
        answers = _listen(node, points)
        camera.send(start_timeout_s, until=lambda: bool(answers) and ready())
        if not answers:
            raise MonoDepthError(f"no depth on {_DEPTH_TOPIC} within {start_timeout_s:.0f} s")
        if not ready():
            raise MonoDepthError(f"the node was not ready within {start_timeout_s:.0f} s")
        camera.send(_SETTLE_S)
        answers.clear()
        camera.sent_s.clear()
        elapsed_s = camera.send(seconds)
    finally:
        node.destroy_node()
    latencies_s = [came_s - camera.sent_s[t] for t, came_s in answers if t in camera.sent_s]
    if not latencies_s:
        raise MonoDepthError(f"no depth on {_DEPTH_TOPIC} in {elapsed_s:.0f} s of images")
    return NodeRate(
        rate_hz=len(answers) / elapsed_s,
        latency_ms=1e3 * float(np.median(latencies_s)),
        published=len(camera.sent_s),
        received=len(answers),
    )


def measure_starts(
    start: Callable[[], AbstractContextManager[object]],
    height: int,
    width: int,
    count: int,
    timeout_s: float = 60.0,
) -> list[float]:
    """Start a depth node again and again beside a camera of 10 Hz that is already there.

    Args:
        start: starts the process, which takes its input from IMAGE_TOPIC and INFO_TOPIC, for the
            length of a `with` block.
        height: of the camera's images.
        width: likewise.
        count: of starts.
        timeout_s: how long each may take.

    Returns:
        Seconds from each start to its first depth.

    Raises:
        MonoDepthError: no depth came, or the process failed.
    """
    node = rclpy.create_node("mono_depth_benchmark")
    try:
        camera = _Camera(node, height, width, 10.0)
        answers = _listen(node, points=False)
        camera.send(_SETTLE_S)
        times_s = []
        for _ in range(count):
            answers.clear()
            began_s = time.monotonic()
            with start():
                camera.send(timeout_s, until=lambda: bool(answers))
                if not answers:
                    raise MonoDepthError(f"no depth on {_DEPTH_TOPIC} within {timeout_s:.0f} s")
                times_s.append(answers[0][1] - began_s)
        return times_s
    finally:
        node.destroy_node()


class _Camera:
    """Publishes the same image again and again, with stamps of the monotonic clock."""

    def __init__(self, node: Node, height: int, width: int, rate_hz: float) -> None:
        self.sent_s: dict[int, float] = {}
        self._period_s = 1.0 / rate_hz
        self._images = node.create_publisher(Image, IMAGE_TOPIC, 1)
        self._infos = node.create_publisher(CameraInfo, INFO_TOPIC, 1)
        self._image, self._info = _messages(height, width)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)

    def send(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
        """Publish for `seconds` or until `until()`; return how long it took, seconds."""
        started_s = next_s = time.monotonic()
        while (now_s := time.monotonic()) < started_s + seconds and not until():
            if now_s >= next_s:
                self._publish()
                next_s += self._period_s
            wait_s = max(0.0, min(next_s - time.monotonic(), 0.01))
            self._executor.spin_once(timeout_sec=wait_s)
        return time.monotonic() - started_s

    def _publish(self) -> None:
        stamp_ns = time.monotonic_ns()
        for message in (self._info, self._image):
            message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        self.sent_s[stamp_ns] = time.monotonic()
        self._infos.publish(self._info)
        self._images.publish(self._image)


def _listen(node: Node, points: bool) -> list[tuple[int, float]]:
    """Subscribe to the node's outputs; return a list that grows by (stamp_ns, time) per depth."""
    answers: list[tuple[int, float]] = []

    def count(message: Image) -> None:
        stamp = message.header.stamp
        answers.append((stamp.sec * 10**9 + stamp.nanosec, time.monotonic()))

    node.create_subscription(Image, _DEPTH_TOPIC, count, qos_profile_sensor_data)
    if points:
        node.create_subscription(
            PointCloud2, _POINTS_TOPIC, lambda _: None, qos_profile_sensor_data, raw=True
        )
    return answers


def _messages(height: int, width: int) -> tuple[Image, CameraInfo]:
    rgb = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    image = Image(height=height, width=width, encoding="rgb8", step=3 * width, data=rgb.tobytes())
    fx = 0.8 * width
    cx, cy = width / 2 - 0.5, height / 2 - 0.5
    info = CameraInfo(
        height=height,
        width=width,
        k=[fx, 0.0, cx, 0.0, fx, cy, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fx, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )
    image.header.frame_id = info.header.frame_id = _FRAME
    return image, info
