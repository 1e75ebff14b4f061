"""Checkpoints as ONNX files that need nothing of this package: uint8 image in, metres out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mono_depth_ros.atomic import replacing
from mono_depth_ros.backends.base import require_package
from mono_depth_ros.backends.graph import (
    DEPTH,
    FOCAL,
    IMAGE,
    answer_names,
    network_graph,
    quantised_graph,
)
from mono_depth_ros.backends.torch_eager import TorchEager
from mono_depth_ros.backends.world_pictures import (
    WorldPicture,
    calibration_pictures,
    check_pictures,
)
from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.errors import BackendError, ConfigError
from mono_depth_ros.metrics import depth_errors, mean_over_images
from mono_depth_ros.models.base import DepthNetwork, ImageSize

ExportPrecision = Literal["float32", "int8"]

# Of AbsRel on world frames, relative to PyTorch in float32.
ACCURACY_BOUNDS: dict[ExportPrecision, float] = {"float32": 1e-3, "int8": 2e-2}
_CHECKS = 16
_METADATA_KEY = "mono_depth"


@dataclass(frozen=True, slots=True)
class ExportCheck:
    """What an exported file scores on frames of the procedural world.

    Attributes:
        frames: how many.
        pytorch_abs_rel: mean over them of PyTorch's AbsRel in float32.
        file_abs_rel: of the file's, run by ONNX Runtime.
        deviation: mean of |file - PyTorch| over the mean depth.
    """

    frames: int
    pytorch_abs_rel: float
    file_abs_rel: float
    deviation: float

    @property
    def change(self) -> float:
        """AbsRel of the file relative to PyTorch's, minus 1."""
        return self.file_abs_rel / self.pytorch_abs_rel - 1.0


def export_onnx(
    network: DepthNetwork,
    info: CheckpointInfo,
    path: Path,
    precision: ExportPrecision = "float32",
    products: bool = False,
    size: ImageSize | None = None,
) -> ExportCheck:
    """Write a checkpoint as ONNX, after comparing it with PyTorch on frames of the world.

    The graph takes `image` (1, h, w, 3) uint8 RGB and, where the checkpoint has a training focal
    length, `focal_px` (1,) float32, fx of that image. It answers `depth_m` (1, 1, h, w) float32,
    metres, and the products if asked for. Metadata of the key `mono_depth` says so in JSON.

    Args:
        network: in eval mode, on the CPU.
        info: of its checkpoint.
        path: of the file; it appears complete or not at all.
        precision: float32, or int8 with scales fixed on frames of the world.
        products: also export the network's products.
        size: of the image; None for the checkpoint's.

    Raises:
        ConfigError: a package is missing, or the network takes no such size.
        BackendError: the file's AbsRel differs by more than ACCURACY_BOUNDS; nothing is written.
    """
    onnx = require_package("onnx", "export")
    size = size or info.image_size
    if network.required_size not in (None, size):
        raise ConfigError(
            f"{info.name} takes images of {info.image_size.height}x{info.image_size.width} "
            f"(height x width) only, not {size.height}x{size.width}; leave the size out"
        )
    graph = network_graph(network, size, products, info.training_focal_px)
    if precision == "int8":
        graph = quantised_graph(graph, calibration_pictures(size, network.max_depth_m))
    frames = check_pictures(size, network.max_depth_m, _CHECKS)
    check = check_graph(graph, network, info, frames)
    if not abs(check.change) <= ACCURACY_BOUNDS[precision]:
        raise BackendError(
            f"AbsRel on {check.frames} world frames is {check.file_abs_rel:.5f}, PyTorch's "
            f"{check.pytorch_abs_rel:.5f}: {100 * check.change:+.2f} %, more than the "
            f"{100 * ACCURACY_BOUNDS[precision]:g} % allowed in {precision}"
            + ("; export float32" if precision == "int8" else "")
        )
    model = onnx.load_from_string(graph)
    record = describe_graph(network, info, size, precision, products)
    onnx.helper.set_model_props(model, {_METADATA_KEY: json.dumps(record)})
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return check


def describe_graph(
    network: DepthNetwork,
    info: CheckpointInfo,
    size: ImageSize,
    precision: ExportPrecision,
    products: bool,
) -> dict[str, Any]:
    """Return the metadata of an exported file."""
    training_px = info.training_focal_px
    intrinsics = (
        "none: depth is metric for cameras like that of the training data only"
        if training_px is None
        else f"{FOCAL} is fx of the image that is put in, in pixels after any resizing; depth is "
        f"multiplied by {FOCAL} / training_focal_px inside"
    )
    return {
        "name": info.name,
        "network": info.network,
        "checkpoint_sha256": info.sha256,
        "precision": precision,
        "height": size.height,
        "width": size.width,
        "max_depth_m": network.max_depth_m,
        "training_focal_px": training_px,
        "intrinsics": intrinsics,
        "image": "uint8 RGB, rows first, channels last; keep the aspect and mirror at the borders",
        "outputs": list(answer_names(network, products)),
        "attention_names": list(network.attention_names) if products else [],
        "class_names": list(network.class_names) if products else [],
        "training_data": info.training_data,
    }


def check_graph(
    graph: bytes, network: DepthNetwork, info: CheckpointInfo, frames: Sequence[WorldPicture]
) -> ExportCheck:
    """Run a graph with ONNX Runtime and the network with PyTorch, and score both.

    Raises:
        ConfigError: onnxruntime is not installed.
    """
    runtime = require_package("onnxruntime", "the check of an export")
    session = runtime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    eager = TorchEager(network, torch.device("cpu"), "float32")
    pytorch, file, deviations = [], [], []
    for frame in frames:
        inputs = {IMAGE: frame.rgb[np.newaxis]}
        if info.training_focal_px is not None:
            inputs[FOCAL] = np.array([frame.focal_px], np.float32)
        answer_m = session.run([DEPTH], inputs)[0][0, 0]
        expected_m = info.focal_ratio(frame.focal_px) * eager.run(frame.rgb)[DEPTH][0]
        pytorch.append(depth_errors(expected_m, frame.depth_m))
        file.append(depth_errors(answer_m, frame.depth_m))
        deviations.append(np.abs(answer_m - expected_m).mean() / expected_m.mean())
    return ExportCheck(
        len(frames),
        mean_over_images(pytorch).abs_rel,
        mean_over_images(file).abs_rel,
        float(np.mean(deviations)),
    )
