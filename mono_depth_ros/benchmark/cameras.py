"""Several cameras: their images in one run of the network, against one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from mono_depth_ros.benchmark.networks import Execution
from mono_depth_ros.prediction import Question
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.timing import time_in_turns

CAMERAS = 4


@dataclass(frozen=True, slots=True)
class CamerasRow:
    """The predictor on an image of each of several cameras.

    Attributes:
        backend, precision: of its network.
        cameras: how many.
        in_turn_ms: median time of one image after the other, all of them.
        together_ms: of one run for all.
    """

    backend: str
    precision: str
    cameras: int
    in_turn_ms: float
    together_ms: float

    @property
    def times_faster(self) -> float:
        """Throughput of one run over that of single images."""
        return self.in_turn_ms / self.together_ms


def measure_cameras(
    checkpoint: str,
    device: str,
    ways: Sequence[Execution],
    height: int,
    width: int,
    seconds: float,
    cameras: int = CAMERAS,
) -> list[CamerasRow]:
    """Measure each way to execute the network, from images on the host to depths there.

    Args:
        checkpoint: name or file.
        device: see `InferenceConfig`.
        ways: backend and precision of each.
        height: of the cameras' images.
        width: likewise.
        seconds: of each measurement.
        cameras: how many.

    Raises:
        MonoDepthError: see `DepthPredictor.load`.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (cameras, height, width, 3), np.uint8)
    questions = [Question(rgb, None) for rgb in images]
    rows = []
    for backend, precision in ways:
        config = InferenceConfig(device=device, backend=backend, precision=precision)
        predictor = DepthPredictor.load(checkpoint, config)
        predictor.warm_up(height, width, cameras)
        both: dict[str, Callable[[], object]] = {
            "in turn": partial(_one_by_one, predictor, questions),
            "together": partial(predictor.predict_batch, questions),
        }
        times = time_in_turns(both, seconds)
        in_turn_ms, together_ms = (times[way].median_ms for way in both)
        rows.append(CamerasRow(backend, precision, cameras, in_turn_ms, together_ms))
    return rows


def _one_by_one(predictor: DepthPredictor, questions: Sequence[Question]) -> None:
    for question in questions:
        predictor.predict_batch([question])
