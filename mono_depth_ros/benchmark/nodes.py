"""The depth node in a process of its own, over DDS, against its network alone."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mono_depth_ros.backends.self_test import fixed_pictures
from mono_depth_ros.benchmark.networks import EAGER, Execution
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.processes import running
from mono_depth_ros.timing import Timing, time_in_turns

# What decoding, messages and DDS may cost beside the network: rate >= 1 / (T + 6 ms).
OVERHEAD_GOAL_MS = 6.0
# Images are sent at this many times the goal: more than the node can take, but no flood, whose
# reception alone would fill a core.
_FEED = 1.25


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node fed faster than it can work, with its depth subscribed, or depth and cloud.

    Attributes:
        backend, precision: of its network.
        outputs: what was subscribed.
        network_ms: median time of the network alone, before and after, with as many threads.
        predictor_ms: of the predictor: camera's image to depth of that image.
        rate_hz: depth images that came back per second.
        goal_hz: 1 / (network_ms + OVERHEAD_GOAL_MS).
        latency_ms: median from sending an image to receiving its depth.
    """

    backend: str
    precision: str
    outputs: str
    network_ms: float
    predictor_ms: float
    rate_hz: float
    goal_hz: float
    latency_ms: float

    @property
    def overhead_ms(self) -> float:
        """What one frame took beside the network, milliseconds."""
        return 1e3 / self.rate_hz - self.network_ms


def measure_nodes(
    checkpoint: str,
    device: str,
    ways: list[Execution],
    height: int,
    width: int,
    seconds: float,
) -> list[NodeRow]:
    """Run a node process for each way to execute its network.

    Args:
        checkpoint: name or file.
        device: see `InferenceConfig`.
        ways: backend and precision of each.
        height: of the camera's images.
        width: likewise.
        seconds: of each measurement.

    Raises:
        MonoDepthError: see `DepthPredictor.load` and `measure_node`.
    """
    from mono_depth_ros.ros.load import private_graph
    from mono_depth_ros.ros.loading import use_threads

    threads = torch.get_num_threads()
    use_threads(0)
    try:
        with private_graph():
            return [
                row
                for way in ways
                for row in _rows_of(checkpoint, device, way, height, width, seconds)
            ]
    finally:
        torch.set_num_threads(threads)


def _rows_of(
    checkpoint: str, device: str, way: Execution, height: int, width: int, seconds: float
) -> list[NodeRow]:
    from mono_depth_ros.ros.load import measure_node

    config = InferenceConfig(device=device, backend=way[0], precision=way[1])
    predictor = DepthPredictor.load(checkpoint, config)
    rgb = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    alone: dict[str, Callable[[], object]] = {
        "network": partial(predictor.backend.run, fixed_pictures(predictor.info.image_size)[0]),
        "predictor": partial(predictor, rgb, None),
    }
    before = time_in_turns(alone, seconds / 2)
    command = _node_command(checkpoint, device, way)
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        for outputs, points in (("depth", False), ("depth and cloud", True)):
            log = Path(folder) / "depth_node.log"
            with running(command, log, dict(os.environ)):
                rates[outputs] = measure_node(
                    height,
                    width,
                    _FEED * _goal_hz(before["network"].median_ms),
                    seconds,
                    points=points,
                    ready=partial(_serves, log, way),
                )
    after = time_in_turns(alone, seconds / 2)
    network_ms, predictor_ms = (
        statistics.mean((before[name].median_ms, after[name].median_ms)) for name in alone
    )
    goal_hz = _goal_hz(network_ms)
    return [
        NodeRow(
            *way, outputs, network_ms, predictor_ms, rate.rate_hz, goal_hz, rate.latency_ms
        )
        for outputs, rate in rates.items()
    ]  # fmt: skip


def measure_node_starts(
    checkpoint: str, device: str, height: int, width: int, count: int
) -> Timing:
    """Time node processes from their start to the first depth; the camera is already there.

    Raises:
        MonoDepthError: see `measure_starts`.
    """
    from mono_depth_ros.ros.load import measure_starts, private_graph

    command = _node_command(checkpoint, device, EAGER)
    with private_graph(), tempfile.TemporaryDirectory() as folder:
        times_s = measure_starts(
            lambda: running(command, Path(folder) / "depth_node.log", dict(os.environ)),
            height,
            width,
            count,
        )
    times_ms = 1e3 * np.array(times_s)
    return Timing(float(np.median(times_ms)), float(np.percentile(times_ms, 95)), count)


def _node_command(checkpoint: str, device: str, way: Execution) -> list[str]:
    from mono_depth_ros.ros.load import IMAGE_TOPIC, INFO_TOPIC

    command = ["-m", "mono_depth_ros.ros.depth_process", "--ros-args"]
    names = ("checkpoint", "device", "backend", "precision")
    for name, value in zip(names, (checkpoint, device, *way), strict=True):
        command += ["-p", f"{name}:={value}"]
    return [*command, "-r", f"image:={IMAGE_TOPIC}", "-r", f"camera_info:={INFO_TOPIC}"]


def _goal_hz(network_ms: float) -> float:
    return 1e3 / (network_ms + OVERHEAD_GOAL_MS)


def _serves(log: Path, way: Execution) -> bool:
    """Whether a node says that its network runs as it should; until then PyTorch serves."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return any("loaded " in line and ", ".join(way) in line for line in lines)
