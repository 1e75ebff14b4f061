"""Transforms of the running robot, where ROS has the message package for them."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.live_rig import RecentPoses

_MOST_STATIC, _MOST_MOVING = 100, 100


def follow_transforms(node: Node, poses: RecentPoses, lock: threading.Lock) -> None:
    """Add what comes on /tf and /tf_static to `poses`, holding `lock`.

    Raises:
        ConfigError: tf2_msgs is not installed.
    """
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError as error:
        raise ConfigError(
            "the transform between camera and LiDAR is not known: set `bag` to a recording with "
            "/tf_static, or `config` to a YAML with frames.camera_from_lidar; the topics /tf and "
            "/tf_static need tf2_msgs, which is not installed"
        ) from error

    def add(message: Any, *, static: bool) -> None:
        with lock:
            poses.add(message, static=static)

    latched = QoSProfile(depth=_MOST_STATIC, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(TFMessage, "/tf_static", lambda m: add(m, static=True), latched)
    node.create_subscription(TFMessage, "/tf", lambda m: add(m, static=False), _MOST_MOVING)
