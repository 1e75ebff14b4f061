"""What `mono_depth doctor` finds on made-up and on real graphs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_support import make_camera_info, make_image, random_rgb
from sensor_msgs.msg import CameraInfo, Image

from mono_depth_ros.cli.doctor import checkpoint_findings, dds_findings, segment_finding
from mono_depth_ros.cli.main import main
from mono_depth_ros.findings import Finding, finding_lines
from mono_depth_ros.ros.graph_check import camera_info_findings, qos_findings

pytestmark = pytest.mark.ros

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def end(name, qos):
    return SimpleNamespace(node_name=name, node_namespace="/", qos_profile=qos)


def test_pairs_of_qos():
    camera, latched = end("camera", BEST_EFFORT), end("map", LATCHED)
    viewer, logger = end("viewer", RELIABLE), end("logger", BEST_EFFORT)
    (found,) = qos_findings("/image", [camera], [viewer, logger])
    assert found.level == "error" and "/viewer gets nothing from /camera" in found.text
    assert not list(qos_findings("/image", [latched], [viewer, logger]))
    (found,) = qos_findings("/image", [viewer], [end("late", LATCHED)])
    assert "/late gets nothing from /viewer" in found.text


@pytest.mark.parametrize(
    ("change", "level", "text"),
    [
        ({}, "ok", "96x64, fx 80.0"),
        ({"k": [0.0] * 9, "p": [0.0] * 12}, "error", "K"),
        ({"k": [float("nan")] * 9}, "error", ""),
        ({"distortion_model": "fisheye8", "d": [0.1] * 4}, "error", "fisheye8"),
        ({"k": [4000.0, 0, 47.5, 0, 4000.0, 31.5, 0, 0, 1.0]}, "warning", "fx 4000.0"),
    ],
    ids=["good", "zero", "NaN", "model", "focal length"],
)
def test_camera_infos(change, level, text):
    info = make_camera_info()
    for name, value in change.items():
        setattr(info, name, value)
    (found,) = camera_info_findings("/camera_info", info)
    assert found.level == level and text in found.text
    (silent,) = camera_info_findings("/camera_info", None)
    assert silent.level == "warning" and silent.remedy


def test_profiles_of_fast_dds(tmp_path):
    assert segment_finding("").level == "warning"
    assert segment_finding("config/fastdds.xml").level == "ok"
    assert segment_finding(str(tmp_path / "none.xml")).level == "error"
    small = tmp_path / "small.xml"
    small.write_text("<a><segment_size>524288</segment_size></a>")
    found = segment_finding(str(small))
    assert found.level == "warning" and "0.5 MB" in found.text and "fastdds.xml" in found.remedy
    assert all(isinstance(f, Finding) for f in dds_findings())


def test_a_checkpoint_that_is_not_there(light_checkpoint):
    (found,) = checkpoint_findings("pwa_heavy_moons")
    assert found.level == "error" and "pwa_heavy_moons" in found.text
    (found,) = checkpoint_findings(str(light_checkpoint))
    assert found.level == "ok" and "pwa" in found.text


def test_lines_say_why_and_what_to_do():
    lines = list(finding_lines([Finding("ok", "a", "b"), Finding("error", "c", "d", "e", "f")]))
    assert lines == ["      a: b", "ERROR c: d", "          e", "          -> f"]


def test_a_real_graph_with_two_faults(
    network_graph, domain_id, light_checkpoint, monkeypatch, capsys
):
    """A viewer that asks for too much, and a camera_info of zeros, beside a good camera."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    node = network_graph.node
    node.create_publisher(Image, "/front/image_raw", BEST_EFFORT)
    node.create_subscription(Image, "/front/image_raw", print, RELIABLE)
    good = node.create_publisher(CameraInfo, "/front/camera_info", LATCHED)
    bad = node.create_publisher(CameraInfo, "/rear/camera_info", LATCHED)
    good.publish(make_camera_info())
    zeros = make_camera_info()
    zeros.k, zeros.p = np.zeros(9), np.zeros(12)
    bad.publish(zeros)
    node.create_publisher(Image, "/lonely/image_raw", BEST_EFFORT).publish(
        make_image(random_rgb(0))
    )
    command = ["doctor", "--json", "--checkpoint", str(light_checkpoint), "--discover", "5"]
    assert main(command) == 0
    found = {f["subject"]: f for f in json.loads(capsys.readouterr().out)}
    assert found["QoS of /front/image_raw"]["level"] == "error"
    assert found["camera_info /front/camera_info"]["level"] == "ok"
    assert found["camera_info /rear/camera_info"]["level"] == "error"
    assert "no /lonely/camera_info beside it" in found["image /lonely/image_raw"]["text"]
    assert found[f"checkpoint {light_checkpoint}"]["level"] == "ok"
