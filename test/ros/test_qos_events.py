"""QoS that does not fit is explained in the log of the node."""

from __future__ import annotations

import pytest
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_support import RampPredictor
from sensor_msgs.msg import Image

from mono_depth_ros.ros.depth_node import DepthNode

pytestmark = pytest.mark.ros


def active_node(graph, **parameters):
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = graph.add(DepthNode(RampPredictor, parameter_overrides=overrides))
    assert node.start()
    return node


def spin_until_logged(graph, capfd, text):
    found = []

    def logged():
        found.append(capfd.readouterr().err)
        return text in "".join(found)

    graph.spin_until(logged)


def test_who_it_is_is_told(graph, capfd):
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    graph.node.create_publisher(Image, "image", best_effort)
    graph.node.create_publisher(Image, "elsewhere", best_effort)
    node = active_node(graph, image_reliability="reliable")
    spin_until_logged(graph, capfd, f"(this is {graph.node.get_fully_qualified_name()})")
    assert node.stop(15.0)


def test_a_camera_that_is_not_reliable(graph, capfd):
    node = active_node(graph, image_reliability="reliable")
    graph.node.create_publisher(
        Image, "image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    spin_until_logged(graph, capfd, "a publisher of /image offers less RELIABILITY than this node")
    assert node.stop(15.0)


@pytest.mark.parametrize(
    ("parameters", "qos", "text"),
    [
        (
            {"output_reliability": "best_effort"},
            QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE),
            "set the parameter output_reliability to reliable",
        ),
        (
            {},
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            "let it ask for volatile",
        ),
    ],
    ids=["reliable", "latched"],
)
def test_a_subscriber_that_asks_for_more(graph, capfd, parameters, qos, text):
    node = active_node(graph, **parameters)
    graph.node.create_subscription(Image, "/depth_node/depth/image", print, qos)
    spin_until_logged(graph, capfd, text)
    assert node.stop(15.0)
