"""Why nothing arrives: QoS that does not fit, in words and with what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import qos_policy_name_from_kind

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks


def explain_publishers(
    topic: str, log: Callable[[str], Any], parameter: str
) -> SubscriptionEventCallbacks:
    """Return callbacks that log why a publisher is not heard.

    Args:
        topic: as it was subscribed.
        log: takes the line.
        parameter: of the node, sets the reliability.
    """

    def incompatible(event: Any) -> None:
        policy = _policy(event)
        reliability = policy == "RELIABILITY"
        remedy = f"set {parameter} to best_effort" if reliability else "change the publisher's"
        log(
            f"a publisher of {topic} offers less {policy} than this node asks for, so nothing of "
            f"it arrives; {remedy}"
        )

    return SubscriptionEventCallbacks(incompatible_qos=incompatible)


def explain_subscriptions(topic: str, log: Callable[[str], Any]) -> PublisherEventCallbacks:
    """Return callbacks that log why a subscriber gets nothing; `topic` as it is published."""

    def incompatible(event: Any) -> None:
        policy = _policy(event)
        remedy = {
            "RELIABILITY": "set the parameter output_reliability to reliable",
            "DURABILITY": "let it ask for volatile, depth is not kept for late subscribers",
        }.get(policy, "change the subscriber's")
        log(
            f"a subscriber of {topic} asks for more {policy} than this node offers, so it gets "
            f"nothing; {remedy}"
        )

    return PublisherEventCallbacks(incompatible_qos=incompatible)


def _policy(event: Any) -> str:
    return str(qos_policy_name_from_kind(event.last_policy_kind))
