"""ONNX Runtime, on the CPU or through its CUDA and TensorRT providers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mono_depth_ros.backends.base import Answers, GraphBackend, Precision, require_package
from mono_depth_ros.backends.graph import IMAGE
from mono_depth_ros.errors import BackendError

_CPU, _CUDA, _TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))


class OnnxRuntime(GraphBackend):
    """Runs ONNX graphs with ONNX Runtime.

    On a GPU TensorRT goes first where it is installed, then CUDA.

    Args:
        graph, product_names: see `GraphBackend`.
        device: CPU or a GPU.
        precision: float32; float16, which TensorRT makes of float32 graphs.

    Raises:
        ConfigError: onnxruntime is not installed.
        BackendError: it has no provider for this device and precision.
    """

    def __init__(
        self,
        graph: Callable[[bool], bytes],
        product_names: Sequence[str],
        device: torch.device,
        precision: Precision,
    ) -> None:
        self._runtime = require_package("onnxruntime", "backend onnxruntime")
        self._providers = _providers(
            self._runtime.get_available_providers(), device, half=precision == "float16"
        )
        super().__init__(graph, product_names)

    def _compile(
        self, graph: bytes, names: Sequence[str]
    ) -> Callable[[npt.NDArray[np.uint8]], Answers]:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Idle threads that spin take the core that DDS needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        session = self._runtime.InferenceSession(graph, options, providers=self._providers)
        wanted = self._providers[0][0]
        if wanted not in session.get_providers():
            raise BackendError(
                f"onnxruntime could not start {wanted} and would run on "
                f"{', '.join(session.get_providers())}; check its CUDA libraries, or choose "
                "device cpu"
            )

        def run(image: npt.NDArray[np.uint8]) -> Answers:
            answers = session.run(list(names), {IMAGE: image})
            return {name: answer[0] for name, answer in zip(names, answers, strict=True)}

        return run


def _providers(
    available: list[str], device: torch.device, half: bool
) -> list[tuple[str, dict[str, Any]]]:
    """Return the providers to try in order, with their options."""
    if device.type == "cpu":
        return [(_CPU, {})]
    index = str(device.index or 0)
    tensorrt = (_TENSORRT, {"device_id": index, "trt_fp16_enable": str(half)})
    cuda = (_CUDA, {"device_id": index})
    wanted = [tensorrt] if half else [tensorrt, cuda]
    found = [provider for provider in wanted if provider[0] in available]
    if not found:
        raise BackendError(
            f"onnxruntime here has the providers {', '.join(available)}; {device} needs "
            f"{' or '.join(name for name, _ in wanted)}: run `pip install onnxruntime-gpu` in "
            "place of onnxruntime, and TensorRT for float16"
        )
    return found
