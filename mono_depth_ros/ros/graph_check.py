"""What a look at the ROS graph tells: QoS that does not fit, cameras without a calibration."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from sensor_msgs.msg import CameraInfo

from mono_depth_ros.decoding import camera_info_to_intrinsics
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.findings import Finding
from mono_depth_ros.rectification import lens_of, require_known

_INFO, _IMAGES = "sensor_msgs/msg/CameraInfo", ("sensor_msgs/msg/Image",)
_WHY_INFO = "without a usable camera_info the depth node drops the images"


def look_at_graph(node: Node, discover_s: float, listen_s: float) -> list[Finding]:
    """Look at all topics that `node` can see.

    Args:
        node: of a running context; it is spun here.
        discover_s: how long participants are given to be found, and longer while more come.
        listen_s: how long camera_info topics are listened to.
    """
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    _discover(node, executor, discover_s)
    topics = dict(node.get_topic_names_and_types())
    findings = [Finding("ok", "topics", f"{len(topics)} on the graph")]
    for topic in sorted(topics):
        publishers = node.get_publishers_info_by_topic(topic)
        findings += qos_findings(topic, publishers, node.get_subscriptions_info_by_topic(topic))
    names = [name for name, types in topics.items() if _INFO in types]
    heard = _listen(node, executor, names, listen_s)
    for name in sorted(names):
        if node.get_publishers_info_by_topic(name):
            findings += camera_info_findings(name, heard.get(name))
    images = [name for name, types in topics.items() if set(types) & set(_IMAGES)]
    findings += _lonely_images(node, images, names)
    executor.remove_node(node)
    return findings


def qos_findings(
    topic: str, publishers: Iterable[Any], subscriptions: Iterable[Any]
) -> Iterator[Finding]:
    """Yield a finding for every publisher and subscriber of a topic that do not fit.

    Args:
        topic: its name.
        publishers: with node_name, node_namespace and qos_profile, as rclpy returns them.
        subscriptions: likewise.
    """
    receivers = list(subscriptions)
    for sender in publishers:
        for receiver in receivers:
            verdict, reason = qos_check_compatible(sender.qos_profile, receiver.qos_profile)
            if verdict == QoSCompatibility.ERROR:
                yield Finding(
                    "error",
                    f"QoS of {topic}",
                    f"{_name(receiver)} gets nothing from {_name(sender)}: {reason.strip()}",
                    "a subscriber may not ask for more than the publisher offers",
                    "subscribe with best effort and volatile, or publish reliable",
                )


def camera_info_findings(topic: str, info: CameraInfo | None) -> Iterator[Finding]:
    """Yield what is wrong with a camera_info; None where none was heard."""
    subject = f"camera_info {topic}"
    if info is None:
        yield Finding(
            "warning", subject, "has a publisher, but sent nothing while we listened", _WHY_INFO,
            "start the camera, or look at QoS above",
        )  # fmt: skip
        return
    try:
        camera = camera_info_to_intrinsics(info, rectified=False)
        require_known(lens_of(info))
    except MonoDepthError as error:
        yield Finding("error", subject, str(error), _WHY_INFO, "calibrate the camera")
        return
    text = (
        f"{camera.width}x{camera.height}, fx {camera.fx:.1f}, fy {camera.fy:.1f}, "
        f"{info.distortion_model or 'no distortion model'}"
    )
    if not 0.3 < camera.fx / camera.width < 5.0:
        yield Finding(
            "warning", subject, text,
            f"a focal length of {camera.fx / camera.width:.2f} image widths is unusual, and depth "
            "is proportional to it", "check that it belongs to an image of this size",
        )  # fmt: skip
        return
    yield Finding("ok", subject, text)


def _lonely_images(node: Node, images: list[str], infos: list[str]) -> Iterator[Finding]:
    for name in sorted(images):
        sibling = name.rpartition("/")[0] + "/camera_info"
        senders = node.get_publishers_info_by_topic(name)
        if (
            senders
            and sibling not in infos
            and not any("depth" in part for part in name.split("/"))
        ):
            yield Finding(
                "warning", f"image {name}", f"no {sibling} beside it", _WHY_INFO,
                "publish it, or remap camera_info of the depth node",
            )  # fmt: skip


def _listen(
    node: Node, executor: SingleThreadedExecutor, names: list[str], seconds: float
) -> dict[str, CameraInfo]:
    heard: dict[str, CameraInfo] = {}
    subscriptions = []
    for name in names:
        latched = any(
            end.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
            for end in node.get_publishers_info_by_topic(name)
        )
        # What was sent before comes to reliable subscribers only.
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        if latched:
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)

        def keep(info: CameraInfo, name: str = name) -> None:
            heard[name] = info

        subscriptions.append(node.create_subscription(CameraInfo, name, keep, qos))
    end_s = time.monotonic() + seconds
    while len(heard) < len(names) and time.monotonic() < end_s:
        executor.spin_once(timeout_sec=0.05)
    for subscription in subscriptions:
        node.destroy_subscription(subscription)
    return heard


def _discover(node: Node, executor: SingleThreadedExecutor, seconds: float) -> None:
    """Spin until nothing new has been found for a second, `seconds` at least, 8 s more at most."""
    began_s = changed_s = time.monotonic()
    known = -1
    while True:
        executor.spin_once(timeout_sec=0.1)
        ends = sum(
            node.count_publishers(name) + node.count_subscribers(name)
            for name, _ in node.get_topic_names_and_types()
        )
        now_s = time.monotonic()
        if ends != known:
            known, changed_s = ends, now_s
        elapsed_s = now_s - began_s
        if (elapsed_s >= seconds and now_s - changed_s >= 1.0) or elapsed_s >= seconds + 8.0:
            return


def _name(end: Any) -> str:
    return f"{end.node_namespace.rstrip('/')}/{end.node_name}"
