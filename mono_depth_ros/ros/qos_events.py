"""Why nothing arrives: QoS that does not fit, in words and with what to do about it."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

from mono_depth_ros.qos_rules import mismatches
from mono_depth_ros.ros.endpoints import endpoints_of_topic


def explain_publishers(node: Node, topic: str, parameter: str) -> SubscriptionEventCallbacks:
    """Return callbacks that log which publisher is not heard, and why.

    Args:
        node: subscribes, and logs.
        topic: resolved name.
        parameter: of the node, sets the reliability.
    """

    def incompatible(event: Any) -> None:
        policy = _policy(event)
        reliability = policy == "RELIABILITY"
        remedy = f"set {parameter} to best_effort" if reliability else "change the publisher's"
        node.get_logger().warning(
            f"a publisher of {topic} offers less {policy} than this node asks for, so nothing of "
            f"it arrives; {remedy}{_names(node, topic, hearing=True)}"
        )

    return SubscriptionEventCallbacks(incompatible_qos=incompatible)


def explain_subscriptions(node: Node, topic: str) -> PublisherEventCallbacks:
    """Return callbacks that log which subscriber gets nothing, and why.

    Args:
        node: publishes, and logs.
        topic: resolved name.
    """

    def incompatible(event: Any) -> None:
        policy = _policy(event)
        remedy = {
            "RELIABILITY": "set the parameter output_reliability to reliable",
            "DURABILITY": "let it ask for volatile, depth is not kept for late subscribers",
        }.get(policy, "change the subscriber's")
        node.get_logger().warning(
            f"a subscriber of {topic} asks for more {policy} than this node offers, so it gets "
            f"nothing; {remedy}{_names(node, topic, hearing=False)}"
        )

    return PublisherEventCallbacks(incompatible_qos=incompatible)


def _names(node: Node, topic: str, *, hearing: bool) -> str:
    """Return whom the graph shows on the other side, as the end of a line; it may know none yet."""
    own = node.get_fully_qualified_name()
    sides = [
        (pair.subscription.node, pair.publisher.node)[:: 1 if hearing else -1]
        for pair in mismatches(endpoints_of_topic(node, topic))
    ]
    names = sorted({other for mine, other in sides if mine == own})
    return f" (this is {', '.join(names)})" if names else ""


def _policy(event: Any) -> str:
    return str(qos_policy_name_from_kind(event.last_policy_kind))
