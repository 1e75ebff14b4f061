"""A camera of 60 Hz, a network of a few Hz: ages, counts, another checkpoint under load."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticArray
from live_bench import values
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from ros_support import make_camera_info, make_image, random_rgb, stamp_ns
from sensor_msgs.msg import CameraInfo, Image
from test_depth_node import BEST_EFFORT
from test_processes import INPUTS, NODE

from mono_depth_ros.checkpoint import CheckpointInfo, save_checkpoint
from mono_depth_ros.config import to_mapping
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import ImageSize
from training.config import CHECKOUT, load_network_preset

pytestmark = [pytest.mark.ros, pytest.mark.long]

HEIGHT, WIDTH, RATE_HZ = 240, 320, 60.0


def untrained(folder, seed):
    """Return a checkpoint of PWA light at 480x640 with random weights."""
    torch.manual_seed(seed)
    preset = load_network_preset(CHECKOUT / "config/networks/pwa_light.yaml")
    settings = {**preset.settings, "image_size": {"height": 480, "width": 640}}
    network = create_model(preset.network, settings)
    path = folder / f"untrained_{seed}.safetensors"
    info = CheckpointInfo(
        f"untrained_{seed}", preset.network, to_mapping(network.config), ImageSize(480, 640), 500.0
    )
    save_checkpoint(path, network, info)
    return path


class Camera:
    """Publishes images with the wall time as their stamp, and each one's camera_info before it."""

    def __init__(self, graph):
        self.graph = graph
        self.image = graph.node.create_publisher(Image, "/camera/image_raw", BEST_EFFORT)
        self.info = graph.node.create_publisher(CameraInfo, "/camera/camera_info", BEST_EFFORT)
        self.rgb = random_rgb(0, HEIGHT, WIDTH)
        self.focal_px = {}

    def run(self, seconds):
        end_s = time.monotonic() + seconds
        while (next_s := time.monotonic()) < end_s:
            stamp = time.time_ns()
            self.focal_px[stamp] = 300.0 + len(self.focal_px) % 100
            info = make_camera_info(HEIGHT, WIDTH, self.focal_px[stamp])
            info.header.stamp.sec, info.header.stamp.nanosec = divmod(stamp, 10**9)
            self.info.publish(info)
            self.image.publish(make_image(self.rgb, stamp))
            self.graph.spin_for(max(next_s + 1.0 / RATE_HZ - time.monotonic(), 0.001))


def test_ages_counts_and_a_swap(network_graph, start_process, tmp_path, capsys):
    graph = network_graph
    first, second = (untrained(tmp_path, seed) for seed in (0, 1))
    node = start_process(*NODE, "-p", f"checkpoint:={first}", *INPUTS)
    depths, infos = [], []
    arrivals_s = {}

    def on_depth(message):
        arrivals_s[stamp_ns(message)] = time.monotonic()
        depths.append(stamp_ns(message))

    graph.node.create_subscription(Image, "/depth_node/depth/image", on_depth, 10)
    graph.node.create_subscription(CameraInfo, "/depth_node/depth/camera_info", infos.append, 10)
    latency = graph.listen(DiagnosticArray, "/depth_node/latency", 1000)
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
    node.wait_for("active")
    camera = Camera(graph)
    graph.spin_until(lambda: (camera.run(0.2), len(depths) > 2)[1], 60.0)
    latency.clear()
    camera.run(10.0)
    times = [{k: float(v) for k, v in values(array.status[0]).items()} for array in latency]
    network_ms = float(np.median([found["predict_ms"] for found in times]))
    age_ms = float(np.percentile([found["age_ms"] for found in times], 95))
    client = graph.node.create_client(SetParameters, "/depth_node/set_parameters")
    graph.spin_until(client.service_is_ready)
    latency.clear()
    swapped_s = time.monotonic()
    parameter = Parameter("checkpoint", value=str(second)).to_parameter_msg()
    future = client.call_async(SetParameters.Request(parameters=[parameter]))
    camera.run(8.0)
    assert future.done() and future.result().results[0].successful
    assert f"loaded {second}" in node.output
    under_swap_ms = float(
        np.median([float(values(array.status[0])["predict_ms"]) for array in latency])
    )
    arrived = np.array([s for s in arrivals_s.values() if s >= swapped_s])
    gap_ms = 1e3 * float(np.percentile(np.diff(arrived), 95))
    graph.spin_for(3.0)
    frames = values(diagnostics[-1].status[0])
    with capsys.disabled():
        print(
            f"\nnetwork {network_ms:.0f} ms, 95 % of the ages below {age_ms:.0f} ms; while the "
            f"checkpoint changes {under_swap_ms:.0f} ms, 95 % of the gaps below {gap_ms:.0f} ms; "
            f"{frames['received']} received = {frames['served']} served + {frames['dropped']}"
        )
    assert int(frames["received"]) == int(frames["served"]) + int(frames["dropped"])
    assert int(frames["received"]) <= len(camera.focal_px)
    assert int(frames["dropped: replaced by a newer frame"]) > int(frames["served"])
    for info in infos:
        assert info.k[0] == camera.focal_px[stamp_ns(info)]
    assert depths == sorted(depths) and set(depths) <= set(camera.focal_px)
    # Ratios of times under the same load.
    assert age_ms < 2 * network_ms
    assert gap_ms < 2 * under_swap_ms + 1e3 / RATE_HZ
    code, _ = node.stop(signal.SIGINT)
    assert code == 0
