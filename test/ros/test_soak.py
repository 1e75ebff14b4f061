"""The node for half an hour at the highest rate this computer sustains (SOAK_MINUTES: other times).

`SOAK_MINUTES=3 python -m pytest -m long -s test/ros/test_soak.py` prints figures after 3 minutes.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from live_bench import values
from ros_support import make_camera_info, make_image, random_rgb
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from test_depth_node import BEST_EFFORT
from test_processes import INPUTS, NODE

from mono_depth_ros import DEFAULT_CHECKPOINT

pytestmark = [pytest.mark.ros, pytest.mark.long]

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
HEIGHT, WIDTH = 480, 640
SETTLE_S, EVERY_S = 60.0, 5.0


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def test_neither_memory_nor_latency_grows(network_graph, start_process, capsys):
    graph = network_graph
    node = start_process(*NODE, "-p", f"checkpoint:={DEFAULT_CHECKPOINT}", *INPUTS)
    node.wait_for("active")
    image = graph.node.create_publisher(Image, "/camera/image_raw", BEST_EFFORT)
    info = graph.node.create_publisher(CameraInfo, "/camera/camera_info", BEST_EFFORT)
    served = [0]
    for kind, topic in ((Image, "depth/image"), (PointCloud2, "points")):
        graph.node.create_subscription(
            kind, f"/depth_node/{topic}", lambda _: served.__setitem__(0, served[0] + 1), 1
        )
    latency = graph.listen(DiagnosticArray, "/depth_node/latency", 1000)
    pictures = [random_rgb(seed, HEIGHT, WIDTH) for seed in range(4)]
    sent, rows, began_s = 0, [], time.monotonic()
    looked_s = began_s + SETTLE_S
    while time.monotonic() < began_s + SETTLE_S + 60.0 * MINUTES:
        stamp = time.time_ns()
        calibration = make_camera_info(HEIGHT, WIDTH, 500.0)
        calibration.header.stamp.sec, calibration.header.stamp.nanosec = divmod(stamp, 10**9)
        info.publish(calibration)
        image.publish(make_image(pictures[sent % 4], stamp))
        sent += 1
        # The next image as soon as this one is served: that is the highest rate.
        count, end_s = len(latency), time.monotonic() + 1.0
        while len(latency) == count and time.monotonic() < end_s:
            graph.executor.spin_once(timeout_sec=0.05)
        if time.monotonic() >= looked_s:
            looked_s += EVERY_S
            found = [values(array.status[0]) for array in latency]
            latency.clear()
            medians_ms = [
                float(np.median([float(times[name]) for times in found]))
                for name in ("age_ms", "predict_ms")
            ]
            rows.append((resident_mb(node.process.pid), *medians_ms))
    memory_mb, age_ms, network_ms = np.array(rows).T
    half = len(rows) // 2
    growth = memory_mb[-3:].mean() / memory_mb[:3].mean() - 1
    with capsys.disabled():
        print(
            f"\n{MINUTES:g} min: {sent} images, {sent / (SETTLE_S + 60 * MINUTES):.1f} per second; "
            f"memory {memory_mb[0]:.1f} to {memory_mb[-1]:.1f} MB ({growth:+.2%}); median age "
            f"{np.median(age_ms[:half]):.1f} ms, then {np.median(age_ms[half:]):.1f} ms, of the "
            f"network {np.median(network_ms[:half]):.1f} and {np.median(network_ms[half:]):.1f} ms"
        )
    code, _ = node.stop(signal.SIGINT)
    assert code == 0 and "Traceback" not in node.output
    assert growth < 0.02
    # In network times, because other work may slow the whole computer down.
    age = age_ms / network_ms
    assert np.median(age[half:]) < 1.25 * np.median(age[:half])
