"""What the depth node subscribes to: a camera's images, raw or compressed, and its camera_info."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mono_depth_ros.ros.camera_view import has_latched_publisher
from mono_depth_ros.ros.parameters import NodeConfig, Reliability
from mono_depth_ros.ros.qos_events import explain_publishers

ImageMessage: TypeAlias = Image | CompressedImage


class Inputs:
    """The subscriptions of a depth node.

    Args:
        node: creates them.
        config: transport and reliability.
        on_image: called with every image.
        on_camera_info: called with every camera_info.
        prefix: of the topics' names, `front/` for those of a camera called front.
    """

    def __init__(
        self,
        node: LifecycleNode,
        config: NodeConfig,
        on_image: Callable[[ImageMessage], Any],
        on_camera_info: Callable[[CameraInfo], Any],
        prefix: str = "",
    ) -> None:
        self._node, self._on_image, self._on_camera_info = node, on_image, on_camera_info
        self._prefix = prefix
        self._subscriptions: dict[str, Any] = {}
        qos = QoSProfile(
            depth=1,
            reliability=reliability_of(config.image_reliability),
            durability=DurabilityPolicy.VOLATILE,
        )
        self._subscribe("camera_info", CameraInfo, "camera_info", on_camera_info, qos)
        if config.image_transport != "compressed":
            self._subscribe("raw", Image, "image", self._on_raw_image, qos)
        if config.image_transport != "raw":
            self._subscribe("compressed", CompressedImage, "image/compressed", on_image, qos)

    @property
    def image_topics(self) -> list[str]:
        """Resolved names of the topics that images are expected on."""
        return [
            subscription.topic_name
            for key, subscription in self._subscriptions.items()
            if "camera_info" not in key
        ]

    def topic_of(self, image: ImageMessage) -> str:
        """Return the resolved name of the topic that an image came on."""
        compressed = isinstance(image, CompressedImage)
        return self._resolved("image/compressed" if compressed else "image")

    def hear_latched_camera_info(self) -> str:
        """Subscribe to a camera_info that was sent before; return the topic's name.

        Only where one is: a driver that keeps nothing for late subscribers would warn of this
        subscription in its log.
        """
        topic = self._resolved("camera_info")
        key = "latched_camera_info"
        if key not in self._subscriptions and has_latched_publisher(self._node, topic):
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._subscribe(key, CameraInfo, "camera_info", self._on_camera_info, qos)
        return topic

    def close(self) -> None:
        """Destroy the subscriptions."""
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _subscribe(
        self, key: str, kind: Any, topic: str, callback: Callable[[Any], Any], qos: QoSProfile
    ) -> None:
        self._subscriptions[key] = self._node.create_subscription(
            kind,
            f"{self._prefix}{topic}",
            callback,
            qos,
            event_callbacks=explain_publishers(
                self._node, self._resolved(topic), "image_reliability"
            ),
        )

    def _resolved(self, topic: str) -> str:
        return self._node.resolve_topic_name(f"{self._prefix}{topic}")

    def _on_raw_image(self, image: Image) -> None:
        compressed = self._subscriptions.pop("compressed", None)
        if compressed is not None:
            # A camera that sends both: keep the lossless one and spare it the encoding.
            self._node.destroy_subscription(compressed)
        self._on_image(image)


def reliability_of(name: Reliability) -> ReliabilityPolicy:
    """Return the QoS policy of a parameter's value."""
    return ReliabilityPolicy.RELIABLE if name == "reliable" else ReliabilityPolicy.BEST_EFFORT
