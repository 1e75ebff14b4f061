"""OpenVINO, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mono_depth_ros.backends.base import Answers, GraphBackend, Precision, require_package
from mono_depth_ros.backends.graph import NOT_QUANTISED, quantise
from mono_depth_ros.errors import BackendError


def core_for(precision: Precision) -> Any:
    """Return OpenVINO's core, once this processor is known to compute in a precision.

    Raises:
        ConfigError: openvino is not installed.
        BackendError: it is bfloat16, which this processor does not have.
    """
    core = require_package("openvino", "backend openvino").Core()
    abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and "BF16" not in abilities:
        raise BackendError(
            "this processor has no bfloat16 arithmetic (AVX512-BF16 or AMX); choose precision "
            "int8 or float32"
        )
    return core


class OpenVino(GraphBackend):
    """Runs ONNX graphs with OpenVINO.

    Args:
        graph, product_names: see `GraphBackend`.
        precision: float32; bfloat16 on processors that have it; int8.
        pictures: (h, w, 3) uint8, to fix the scales of int8 on; else unused.

    Raises:
        ConfigError: openvino is not installed.
        BackendError: this processor has no bfloat16.
    """

    def __init__(
        self,
        graph: Callable[[bool], bytes],
        product_names: Sequence[str],
        precision: Precision,
        pictures: Sequence[npt.NDArray[np.uint8]] = (),
    ) -> None:
        self._precision, self._pictures = precision, pictures
        self._core = core_for(precision)
        # Must be said: left alone, OpenVINO takes bfloat16 wherever there is AMX.
        self._hint = "bf16" if precision == "bfloat16" else "f32"
        super().__init__(graph, product_names)

    def _compile(
        self, graph: bytes, names: Sequence[str]
    ) -> Callable[[npt.NDArray[np.uint8]], Answers]:
        model = self._core.read_model(graph)
        if self._precision == "int8":
            # From OpenVINO's own form: of PWA, ONNX that is quantised already comes out wrong.
            model = quantise(model, self._pictures, NOT_QUANTISED)
        compiled = self._core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": self._hint,
                "PERFORMANCE_HINT": "LATENCY",
                "NUM_STREAMS": 1,
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                # A pinned thread waits whenever another program holds its core.
                "ENABLE_CPU_PINNING": False,
            },
        )
        request = compiled.create_infer_request()

        def run(image: npt.NDArray[np.uint8]) -> Answers:
            answers = request.infer([image], share_inputs=True)
            return {name: answers[index][0].copy() for index, name in enumerate(names)}

        return run
