"""The doctor before real nodes: QoS that does not match, a camera_info of zeros."""

from __future__ import annotations

import itertools
import json

import pytest
from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from ros_support import make_camera_info, make_image, random_rgb
from sensor_msgs.msg import CameraInfo, Image

from mono_depth_ros.qos_rules import mismatch_reasons
from mono_depth_ros.ros.endpoints import endpoints_of_topic

pytestmark = pytest.mark.ros

PROFILES = [
    QoSProfile(
        depth=1, reliability=reliability, durability=durability, liveliness=liveliness,
        deadline=deadline, liveliness_lease_duration=lease,
    )
    for reliability, durability, liveliness, deadline, lease in itertools.product(
        (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT),
        (DurabilityPolicy.TRANSIENT_LOCAL, DurabilityPolicy.VOLATILE),
        (LivelinessPolicy.AUTOMATIC, LivelinessPolicy.MANUAL_BY_TOPIC),
        (Duration(), Duration(seconds=1)),
        (Duration(), Duration(seconds=2)),
    )
]  # fmt: skip


def test_the_rules_are_those_of_rclpy(graph):
    ends = {}
    for number, profile in enumerate(PROFILES):
        graph.node.create_publisher(Image, f"/p{number}", profile)
        graph.node.create_subscription(Image, f"/s{number}", print, profile)
        graph.spin_until(
            lambda n=number: (
                endpoints_of_topic(graph.node, f"/p{n}")
                and endpoints_of_topic(graph.node, f"/s{n}")
            )
        )
        (ends["p", number],) = endpoints_of_topic(graph.node, f"/p{number}")
        (ends["s", number],) = endpoints_of_topic(graph.node, f"/s{number}")
    differing = [
        (offered, requested)
        for (p, offered), (s, requested) in itertools.product(
            enumerate(PROFILES), enumerate(PROFILES)
        )
        if bool(mismatch_reasons(ends["p", p], ends["s", s]))
        != (qos_check_compatible(offered, requested)[0] == QoSCompatibility.ERROR)
    ]
    assert not differing


def test_a_report_of_a_graph_where_nothing_fits(network_graph, start_process):
    graph = network_graph
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    image = graph.node.create_publisher(Image, "/cam/image_raw", best_effort)
    info = graph.node.create_publisher(CameraInfo, "/cam/camera_info", best_effort)
    graph.node.create_subscription(Image, "/cam/image_raw", print, 10)  # reliable
    zeros = make_camera_info()
    zeros.k, zeros.p = [0.0] * 9, [0.0] * 12
    zeros.header.frame_id = "camera_optical_frame"
    doctor = start_process("-m", "mono_depth_ros.cli.main", "doctor", "--no-network", "--json")

    def ended():
        info.publish(zeros)
        image.publish(make_image(random_rgb(0), 10**9))
        return doctor.process.poll() is not None

    graph.spin_until(ended, timeout_s=60.0)
    assert doctor.process.returncode == 0, doctor.output
    sections = {s["title"]: s for s in json.loads(doctor.output)["sections"]}
    own = graph.node.get_fully_qualified_name()
    assert [f["what"] for f in sections["Graph"]["findings"]] == [
        f"/cam/image_raw: {own} gets nothing from {own}, which publishes best effort, while "
        "reliable is subscribed"
    ]
    found = {f["level"]: f["what"] for f in sections["Cameras"]["findings"]}
    assert found["error"].startswith("/cam/camera_info cannot be used: camera_info is not calib")
    assert "behind the clock" in found["warning"]
    assert "96x64 rgb8" in sections["Cameras"]["facts"]["/cam/image_raw"]
