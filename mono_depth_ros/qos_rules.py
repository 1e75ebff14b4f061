"""Which publishers reach which subscriptions of a topic, and why not, in words.

DDS asks for each policy whether what the publisher offers is at least what the subscription
requests (About-Quality-of-Service-Settings of the ROS 2 documentation, section "QoS
compatibilities"). Where one falls short, the subscription gets nothing, silently.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

Reliability = Literal["reliable", "best_effort", "unknown"]
Durability = Literal["transient_local", "volatile", "unknown"]
Liveliness = Literal["automatic", "manual_by_topic", "unknown"]


@dataclass(frozen=True, slots=True)
class Qos:
    """The policies that decide whether two ends match; of `unknown` ones nothing is said.

    Attributes:
        reliability, durability, liveliness: as their types say.
        deadline_s: longest time between two messages, seconds; inf where none is asked for.
        lease_s: of the liveliness, seconds; inf likewise.
    """

    reliability: Reliability = "reliable"
    durability: Durability = "volatile"
    liveliness: Liveliness = "automatic"
    deadline_s: float = math.inf
    lease_s: float = math.inf


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A publisher or a subscription on the graph.

    Attributes:
        node: fully qualified name.
        topic: likewise.
        message_type: for example sensor_msgs/msg/Image.
        publishes: whether it is a publisher.
        qos: that it offers or requests.
    """

    node: str
    topic: str
    message_type: str
    publishes: bool
    qos: Qos = Qos()


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A publisher and a subscription of one topic that never meet, and what of each is why."""

    publisher: Endpoint
    subscription: Endpoint
    reasons: tuple[str, ...]

    @property
    def text(self) -> str:
        """One sentence that names topic, ends and policies."""
        publisher, subscription = self.publisher, self.subscription
        return (
            f"{publisher.topic}: {subscription.node} gets nothing from {publisher.node}, "
            + " and ".join(self.reasons)
        )


def mismatches(endpoints: Iterable[Endpoint]) -> list[Mismatch]:
    """Return all pairs of one topic that do not match, in the order of topics."""
    ends = sorted(endpoints, key=lambda end: (end.topic, end.node))
    publishers = [end for end in ends if end.publishes]
    subscriptions = [end for end in ends if not end.publishes]
    return [
        Mismatch(publisher, subscription, reasons)
        for publisher, subscription in product(publishers, subscriptions)
        if publisher.topic == subscription.topic
        and (reasons := mismatch_reasons(publisher, subscription))
    ]


def mismatch_reasons(publisher: Endpoint, subscription: Endpoint) -> tuple[str, ...]:
    """Return why a subscription gets nothing from a publisher of its topic; empty: it does."""
    if publisher.message_type != subscription.message_type:
        return (
            f"which publishes {publisher.message_type}, while {subscription.message_type} is "
            "subscribed",
        )
    return tuple(_qos_reasons(publisher.qos, subscription.qos))


def remedy(pair: Mismatch) -> str:
    """Return what to change, for people."""
    publisher, subscription = pair.publisher, pair.subscription
    if publisher.message_type != subscription.message_type:
        return "give one of the two topics another name (remap it)"
    offered, requested = publisher.qos, subscription.qos
    advice = []
    if (offered.reliability, requested.reliability) == ("best_effort", "reliable"):
        advice.append(
            f"let {subscription.node} subscribe best effort (in RViz: Topic > Reliability Policy; "
            f"of depth_node: image_reliability best_effort), or {publisher.node} publish reliable "
            "(of depth_node: output_reliability reliable)"
        )
    if (offered.durability, requested.durability) == ("volatile", "transient_local"):
        advice.append(
            f"let {subscription.node} subscribe volatile (in RViz: Topic > Durability Policy), or "
            f"{publisher.node} publish transient local"
        )
    return "; ".join(advice) or (
        f"let {publisher.node} promise as much as {subscription.node} asks for, or the latter ask "
        "for less"
    )


def _qos_reasons(offered: Qos, requested: Qos) -> Iterator[str]:
    if (offered.reliability, requested.reliability) == ("best_effort", "reliable"):
        yield "which publishes best effort, while reliable is subscribed"
    if (offered.durability, requested.durability) == ("volatile", "transient_local"):
        yield (
            "which keeps nothing (volatile), while what was sent before (transient local) is asked "
            "for"
        )
    if offered.deadline_s > requested.deadline_s:
        yield (
            f"which promises a message every {_seconds(offered.deadline_s)}, while one every "
            f"{_seconds(requested.deadline_s)} is asked for (deadline)"
        )
    if (offered.liveliness, requested.liveliness) == ("automatic", "manual_by_topic"):
        yield "whose liveliness is automatic, while manual by topic is asked for"
    if offered.lease_s > requested.lease_s:
        yield (
            f"whose liveliness holds for {_seconds(offered.lease_s)}, while "
            f"{_seconds(requested.lease_s)} is asked for"
        )


def _seconds(value_s: float) -> str:
    return "unlimited time" if math.isinf(value_s) else f"{value_s:g} s"
