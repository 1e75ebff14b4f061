"""The ends of a topic as the graph knows them, in the words of `qos_rules`."""

from __future__ import annotations

import math
from typing import Any

from rclpy.node import Node

from mono_depth_ros.qos_rules import Endpoint, Qos

# What rmw reports where nothing was set: zero, or the largest duration.
_UNLIMITED_NS = 2**62


def endpoints_of_topic(node: Node, topic: str) -> list[Endpoint]:
    """Return all publishers and subscriptions of a topic, by its fully qualified name."""
    publishers = node.get_publishers_info_by_topic(topic)
    subscriptions = node.get_subscriptions_info_by_topic(topic)
    return [
        *(_endpoint(topic, info, True) for info in publishers),
        *(_endpoint(topic, info, False) for info in subscriptions),
    ]


def endpoints_of_graph(node: Node) -> list[Endpoint]:
    """Return the ends of all topics, without those of `node` itself."""
    own = node.get_fully_qualified_name()
    return [
        end
        for topic, _ in node.get_topic_names_and_types()
        for end in endpoints_of_topic(node, topic)
        if end.node != own
    ]


def _endpoint(topic: str, info: Any, publishes: bool) -> Endpoint:
    name = f"{info.node_namespace.rstrip('/')}/{info.node_name}"
    profile = info.qos_profile
    qos = Qos(
        reliability=_policy(profile.reliability, ("reliable", "best_effort")),
        durability=_policy(profile.durability, ("transient_local", "volatile")),
        liveliness=_policy(profile.liveliness, ("automatic", "manual_by_topic")),
        deadline_s=_seconds(profile.deadline),
        lease_s=_seconds(profile.liveliness_lease_duration),
    )
    return Endpoint(name, topic, info.topic_type, publishes, qos)


def _policy(policy: Any, known: tuple[str, ...]) -> Any:
    name = policy.name.lower()
    return name if name in known else "unknown"


def _seconds(duration: Any) -> float:
    nanoseconds = duration.nanoseconds
    return nanoseconds * 1e-9 if 0 < nanoseconds < _UNLIMITED_NS else math.inf
