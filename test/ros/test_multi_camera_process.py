"""multi_depth_node as a program: three cameras at 60 Hz before a network that serves a few."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_support import HEIGHT, WIDTH, make_camera_info, make_image, random_rgb, stamp_ns
from sensor_msgs.msg import CameraInfo, Image

from mono_depth_ros.decoding import image_to_depth

pytestmark = pytest.mark.ros

NODE = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from known_network import KnownNetwork, load_known
from mono_depth_ros.ros.multi_depth_node import main

class Slow(KnownNetwork):
    def training_outputs(self, image):
        time.sleep(0.1)
        return super().training_outputs(image)

main(load_predictor=lambda checkpoint, config: load_known(checkpoint, config, Slow))
"""
NAMES = ("front", "left", "rear")
# Images per second of each camera; the network runs ten times a second at most.
PERIODS_S = {"front": 1 / 60, "left": 1 / 30, "rear": 1 / 15}
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


def statuses(message):
    return {s.name: {v.key: v.value for v in s.values} for s in message.status}


def test_three_cameras_at_different_rates_share_the_network(start_process, network_graph, tmp_path):
    graph = network_graph
    script = tmp_path / "node.py"
    script.write_text(NODE)
    node = start_process(
        script, "--ros-args", "-p", f"cameras:=[{','.join(NAMES)}]", "-p", "max_batch:=1",
        "-r", "rear/image:=/back/image_raw", "-r", "rear/camera_info:=/back/camera_info",
    )  # fmt: skip
    topic = {name: f"/{name}/image" for name in NAMES} | {"rear": "/back/image_raw"}
    info_topic = {name: f"/{name}/camera_info" for name in NAMES} | {"rear": "/back/camera_info"}
    images = {n: graph.node.create_publisher(Image, topic[n], BEST_EFFORT) for n in NAMES}
    infos = {n: graph.node.create_publisher(CameraInfo, info_topic[n], BEST_EFFORT) for n in NAMES}
    depth = {n: graph.listen(Image, f"/multi_depth_node/{n}/depth/image") for n in NAMES}
    told = {n: graph.listen(CameraInfo, f"/multi_depth_node/{n}/depth/camera_info") for n in NAMES}
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics", 100)
    rgb = {n: np.maximum(random_rgb(i), 1) for i, n in enumerate(NAMES)}
    sent = {n: [] for n in NAMES}
    due_s = dict.fromkeys(NAMES, 0.0)

    def publish_what_is_due():
        for i, name in enumerate(NAMES):
            if time.monotonic() >= due_s[name]:
                due_s[name] = time.monotonic() + PERIODS_S[name]
                stamp = time.time_ns()
                sent[name].append(stamp)
                info = make_camera_info(focal_px=80.0 + 10 * i)
                info.header.stamp.sec, info.header.stamp.nanosec = divmod(stamp, 10**9)
                infos[name].publish(info)
                images[name].publish(make_image(rgb[name], stamp, f"{name}_optical"))

    def served(count):
        publish_what_is_due()
        return all(len(depth[name]) >= count for name in NAMES)

    graph.spin_until(lambda: served(2), timeout_s=120.0)
    # All three are at work by now; from here on each must get its turn.
    before = {name: len(depth[name]) for name in NAMES}
    graph.spin_until(lambda: served(max(before.values()) + 12), timeout_s=60.0)
    counts = {name: len(depth[name]) - before[name] for name in NAMES}
    assert (
        max(counts.values()) - min(counts.values())
        <= max(before.values()) - min(before.values()) + 2
    ), counts
    for i, name in enumerate(NAMES):
        stamps = [stamp_ns(message) for message in depth[name]]
        assert set(stamps) <= set(sent[name])
        assert stamps == sorted(set(stamps))
        assert {m.header.frame_id for m in depth[name]} == {f"{name}_optical"}
        assert {m.k[0] for m in told[name]} == {80.0 + 10 * i}
        np.testing.assert_allclose(
            image_to_depth(depth[name][-1]), rgb[name][..., 0] / 25.5, rtol=1e-5
        )
        assert (depth[name][-1].height, depth[name][-1].width) == (HEIGHT, WIDTH)
    # What is in work or waits finds its end; then every frame is counted once.
    graph.spin_for(2.5)
    newest = {}
    for message in diagnostics:
        newest |= statuses(message)
    total = newest["/multi_depth_node: frames"]
    of_cameras = [newest[f"/multi_depth_node/{name}: frames"] for name in NAMES]
    for counted in (total, *of_cameras):
        assert int(counted["received"]) == int(counted["served"]) + int(counted["dropped"])
    assert int(total["served"]) == sum(int(counted["served"]) for counted in of_cameras)
    code, _ = node.stop(signal.SIGINT)
    assert code == 0, node.output
    assert "Traceback" not in node.output
