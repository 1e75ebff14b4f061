"""How a network is executed: PyTorch as it is, compiled on a GPU, ONNX Runtime, or OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from mono_depth_ros.backends.base import (
    Answers,
    Backend,
    BackendName,
    Precision,
    TorchBackend,
    require_package,
)
from mono_depth_ros.backends.self_test import require_same_answers, test_pictures
from mono_depth_ros.backends.torch_eager import TorchEager
from mono_depth_ros.errors import BackendError, MonoDepthError
from mono_depth_ros.models.base import DepthNetwork, ImageSize

__all__ = [
    "PRECISIONS",
    "Answers",
    "Backend",
    "BackendName",
    "Precision",
    "TorchBackend",
    "make_backend",
    "require_available",
    "require_supported",
]

PRECISIONS: Mapping[tuple[BackendName, str], tuple[Precision, ...]] = MappingProxyType(
    {
        ("torch", "cpu"): ("float32", "bfloat16"),
        ("torch", "cuda"): ("float32", "bfloat16", "float16"),
        ("torch_compiled", "cuda"): ("float32", "bfloat16", "float16"),
        # In int8 it is slower than in float32 on CPUs with VNNI, and loses more.
        ("onnxruntime", "cpu"): ("float32",),
        ("onnxruntime", "cuda"): ("float32", "float16"),
        ("openvino", "cpu"): ("float32", "bfloat16", "int8"),
    }
)
"""(backend, type of the device) → its precisions; no others are offered."""


def require_supported(backend: BackendName, precision: Precision, device: torch.device) -> None:
    """Check that a backend offers a precision on a device.

    Raises:
        BackendError: it does not.
    """
    offered = PRECISIONS.get((backend, device.type))
    if offered is None:
        devices = " or ".join(kind for name, kind in PRECISIONS if name == backend)
        raise BackendError(
            f"backend {backend} runs on {devices}, not on {device}; choose another backend or "
            f"device"
        )
    if precision not in offered:
        raise BackendError(
            f"backend {backend} on {device.type} offers {', '.join(offered)}, not {precision}"
        )


def require_available(backend: BackendName, precision: Precision, device: torch.device) -> None:
    """Check all that can be checked before a network is compiled, which may take a minute.

    Raises:
        BackendError: the backend does not offer this precision on this device or this processor.
        ConfigError: an optional package is not installed.
    """
    require_supported(backend, precision, device)
    if backend in ("onnxruntime", "openvino"):
        require_package(backend, f"backend {backend}")
    if precision == "int8":
        require_package("nncf", "int8")
    if backend == "openvino":
        from mono_depth_ros.backends.openvino import core_for

        core_for(precision)


def make_backend(
    network: DepthNetwork,
    size: ImageSize,
    device: torch.device,
    backend: BackendName = "torch",
    precision: Precision = "float32",
    pictures: Sequence[npt.NDArray[np.uint8]] | None = None,
) -> Backend:
    """Prepare a network for a backend, and compare its answers with those of PyTorch in float32.

    Args:
        network: in eval mode; it is moved to `device`.
        size: of all images.
        device: where to compute.
        backend: which.
        precision: of the computation.
        pictures: (h, w, 3) uint8 of that size to fix the scales of int8 on; None for frames of the
            procedural world, rooms or streets as the network's largest depth says.

    Raises:
        BackendError: backend, precision and device do not go together, the runtime cannot run the
            network, or its answers deviate.
        ConfigError: an optional package is not installed.
    """
    require_supported(backend, precision, device)
    # Also what the others are compared with.
    eager = TorchEager(network, device, "float32")
    if (backend, precision) == ("torch", "float32"):
        return eager
    if precision == "int8":
        pictures = pictures or _world_pictures(size, network.max_depth_m)
    try:
        made = _make(network, size, device, backend, precision, pictures or ())
    except Exception as error:
        # PyTorch's own errors may be those of a GPU, which the node tells apart.
        if isinstance(error, MonoDepthError) or backend in ("torch", "torch_compiled"):
            raise
        raise BackendError(
            f"{backend} in {precision} cannot run this network at {size.height}x{size.width}: "
            f"{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
        ) from error
    require_same_answers(made, eager, test_pictures(size, pictures or ()), precision)
    return made


def _make(
    network: DepthNetwork,
    size: ImageSize,
    device: torch.device,
    backend: BackendName,
    precision: Precision,
    pictures: Sequence[npt.NDArray[np.uint8]],
) -> Backend:
    if backend == "torch":
        return TorchEager(network, device, precision)
    if backend == "torch_compiled":
        from mono_depth_ros.backends.torch_compiled import TorchCompiled

        return TorchCompiled(network, size, device, precision)

    from mono_depth_ros.backends.graph import network_graph

    def graph(products: bool) -> bytes:
        return network_graph(network, size, products)

    if backend == "openvino":
        from mono_depth_ros.backends.openvino import OpenVino

        return OpenVino(graph, network.product_names, precision, pictures)
    from mono_depth_ros.backends.onnxruntime import OnnxRuntime

    return OnnxRuntime(graph, network.product_names, device, precision)


def _world_pictures(size: ImageSize, max_depth_m: float) -> list[npt.NDArray[np.uint8]]:
    # The renderer takes a while to import, and only int8 needs it.
    from mono_depth_ros.backends.world_pictures import calibration_pictures

    return calibration_pictures(size, max_depth_m)
