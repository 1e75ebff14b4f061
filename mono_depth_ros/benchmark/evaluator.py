"""What the evaluator costs per frame beside the network: a recording is written and evaluated."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

_FRAMES, _PERIOD_NS, _START_NS = 100, 100_000_000, 1_700_000_000_000_000_000
# A LiDAR of 64 beams at 10 Hz: 120,000 points.
_BEAMS, _STEPS = 64, 1875


def evaluator_costs(checkpoint: str, device: str, height: int, width: int) -> dict[str, float]:
    """Evaluate a recording of noise images and sweeps of 120,000 points.

    Returns:
        evaluator_predictor_ms: median time of the predictor on these frames, in this very run.
        evaluator_frame_ms: median time from one frame to the next.
        evaluator_overhead_ms: the difference.
        evaluator_check_s: what is spent once: headers, pictures, the check of the set-up.
    """
    from mono_depth_ros.evaluation.pipeline import evaluate_bag
    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

    predictor = DepthPredictor.load(checkpoint, InferenceConfig(device=device))
    predictor.warm_up(height, width)
    predicting_s: list[float] = []
    ends_s: list[float] = []

    def timed(rgb: Any, camera: Any) -> Any:
        began_s = time.perf_counter()
        depth_m = predictor(rgb, camera)
        predicting_s.append(time.perf_counter() - began_s)
        return depth_m

    def track(frames: Iterable[Any], _: int) -> Iterator[Any]:
        for frame in frames:
            ends_s.append(time.perf_counter())
            yield frame

    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "bag"
        _write_bag(bag, height, width)
        began_s = time.perf_counter()
        evaluate_bag(bag, timed, track=track)
        whole_s = time.perf_counter() - began_s
    frame_ms = 1e3 * float(np.median(np.diff(ends_s)))
    predictor_ms = 1e3 * float(np.median(predicting_s[:_FRAMES]))
    return {
        "evaluator_predictor_ms": predictor_ms,
        "evaluator_frame_ms": frame_ms,
        "evaluator_overhead_ms": frame_ms - predictor_ms,
        "evaluator_check_s": whole_s - (ends_s[-1] - ends_s[0]),
    }


def _write_bag(bag: Path, height: int, width: int) -> None:
    from mono_depth_ros.bags.writer import BagWriter
    from mono_depth_ros.geometry import Intrinsics
    from mono_depth_ros.world.scene import body_pose, optical_pose

    rng = np.random.default_rng(0)
    camera = Intrinsics(
        0.75 * width, 0.75 * width, (width - 1) / 2, (height - 1) / 2, width, height
    )
    azimuth = np.linspace(-np.pi, np.pi, _STEPS, endpoint=False)
    angles = np.meshgrid(azimuth, np.radians(np.linspace(-25.0, 15.0, _BEAMS)))
    around, up = (axis.ravel() for axis in angles)
    range_m = rng.uniform(3.0, 20.0, around.size)
    cloud = np.zeros(around.size, [(name, np.float32) for name in ("x", "y", "z", "intensity")])
    cloud["x"] = range_m * np.cos(up) * np.cos(around)
    cloud["y"] = range_m * np.cos(up) * np.sin(around)
    cloud["z"] = range_m * np.sin(up)
    texture = rng.integers(0, 255, (height, width, 3), np.uint8)
    links = [
        ("base_link", "lidar", body_pose((0.0, 0.0, 1.2), 0.0)),
        ("base_link", "camera", optical_pose((0.2, 0.0, 1.0))),
    ]
    with BagWriter(bag) as writer:
        writer.write_transforms("/tf_static", _START_NS, links)
        for index in range(_FRAMES):
            stamp_ns = _START_NS + index * _PERIOD_NS
            writer.write_image("/camera/image", stamp_ns, "camera", np.roll(texture, index, 1))
            writer.write_camera_info("/camera/camera_info", stamp_ns, "camera", camera)
            writer.write_points("/lidar/points", stamp_ns, "lidar", cloud)
