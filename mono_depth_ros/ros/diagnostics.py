"""What the depth node says of itself: /diagnostics once a second, ~/latency of every frame."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Header

from mono_depth_ros.ros.tally import FrameTally

PERIOD_S = 1.0
# Percentiles are those of the last so many served frames.
_REMEMBERED = 200
# A camera that is quiet for longer than this is worth a warning.
_QUIET_S = 2.0


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """Where the time of one frame went, seconds.

    Attributes:
        wait_s: from its arrival until the worker took it.
        decode_s: to RGB, lens distortion taken out.
        predict_s: network with its preprocessing, and enlarging.
        publish_s: building and publishing the messages.
        age_s: from its stamp until all was published, by the node's clock.
    """

    wait_s: float
    decode_s: float
    predict_s: float
    publish_s: float
    age_s: float


class Diagnostics:
    """Publishes diagnostics of a depth node; used by two threads, one of which calls `served`.

    Args:
        node: publishes; its fully qualified name is that of the statuses.
        tally: of the frames.
        network: returns (what is wrong with the network or "", what else is to be told of it).
        camera: name of the only one whose frames these are; empty: of all.

    Attributes:
        state: of the node's life cycle.
    """

    def __init__(
        self,
        node: Node,
        tally: FrameTally,
        network: Callable[[], tuple[str, Mapping[str, str]]],
        camera: str = "",
    ) -> None:
        self._node, self._tally, self._network_facts = node, tally, network
        self._name = "/".join(filter(None, (node.get_fully_qualified_name(), camera)))
        self._times: deque[FrameTimes] = deque(maxlen=_REMEMBERED)
        self._array = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._latency = node.create_publisher(DiagnosticArray, f"{self._name}/latency", 10)
        self._seen = (0, 0, 0), time.monotonic()
        self.state = "unconfigured"
        # Simulated time may stand still, which is when people look at diagnostics.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(PERIOD_S, self.publish, clock=steady)

    def served(self, times: FrameTimes, header: Header) -> None:
        """Remember a frame; where somebody listens to ~/latency, tell of it there."""
        self._times.append(times)
        if not self._latency.get_subscription_count():
            return
        values = {
            field.name.removesuffix("_s") + "_ms": f"{1e3 * value:.3f}"
            for field, value in zip(fields(FrameTimes), astuple(times), strict=True)
        }
        status = _status(f"{self._name}: latency", DiagnosticStatus.OK, "", values)
        self._latency.publish(DiagnosticArray(header=header, status=[status]))

    def publish(self) -> None:
        """Publish the statuses of now."""
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self._array.publish(
            DiagnosticArray(header=header, status=[self._frames(), self._network()])
        )

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)

    def _frames(self) -> DiagnosticStatus:
        tally, now_s = self._tally, time.monotonic()
        counts = tally.received, tally.served, tally.served_empty
        before, before_s = self._seen
        if now_s - before_s < PERIOD_S / 2:
            elapsed_s = math.inf
        else:
            elapsed_s = now_s - before_s
            self._seen = counts, now_s
        received, served, empty = (new - old for new, old in zip(counts, before, strict=True))
        values = {
            "received": str(tally.received),
            "served": str(tally.served),
            "served without any depth": str(tally.served_empty),
            "dropped": str(tally.dropped),
            "images per second": f"{received / elapsed_s:.1f}",
            "depths per second": f"{served / elapsed_s:.1f}",
        }
        values |= {f"dropped: {why}": str(count) for why, count in tally.drops.items()}
        times = list(self._times)
        if times:
            age_ms = 1e3 * np.array([found.age_s for found in times])
            values["age, median, ms"] = f"{np.median(age_ms):.1f}"
            values["age, 95th percentile, ms"] = f"{np.percentile(age_ms, 95):.1f}"
            predict_ms = 1e3 * np.median([found.predict_s for found in times])
            values["network, median, ms"] = f"{predict_ms:.1f}"
        level, message = self._judge(received, served, empty)
        return _status(f"{self._name}: frames", level, message, values)

    def _judge(self, received: int, served: int, empty: int) -> tuple[bytes, str]:
        if self.state != "active":
            return DiagnosticStatus.OK, self.state
        if not received:
            quiet_s = time.monotonic() - self._tally.last_received_s
            if quiet_s > _QUIET_S:
                return DiagnosticStatus.WARN, f"no image for {quiet_s:.0f} s"
            return DiagnosticStatus.OK, "waiting for images"
        if not served:
            why = self._tally.last_drop
            if why == "nobody subscribed":
                return DiagnosticStatus.OK, "nobody subscribes"
            return DiagnosticStatus.WARN, f"images come, no depth is published: {why or 'busy'}"
        if empty == served:
            return DiagnosticStatus.WARN, "depth is published but NaN everywhere"
        return DiagnosticStatus.OK, "serving"

    def _network(self) -> DiagnosticStatus:
        trouble, facts = self._network_facts()
        level = DiagnosticStatus.ERROR if trouble else DiagnosticStatus.OK
        return _status(f"{self._name}: network", level, trouble or self.state, facts)


def _status(name: str, level: bytes, message: str, values: Mapping[str, Any]) -> DiagnosticStatus:
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(
        level=level, name=name, message=message, hardware_id="mono_depth", values=pairs
    )
