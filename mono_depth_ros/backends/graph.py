"""Networks as ONNX graphs, in float32 and in int8."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import io
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from mono_depth_ros.backends.base import require_package
from mono_depth_ros.models.base import DepthNetwork, ImageSize

IMAGE, FOCAL, DEPTH = "image", "focal_px", "depth_m"
_OPSET = 17

# Matrix products are a small share of the work; in int8 they cost accuracy (attention weights are
# probabilities over thousands of pixels), and ONNX Runtime runs some of them in float32 only.
# Enlarging in int8 takes a tenth of Look Deeper's accuracy. OpenVINO calls it Interpolate.
NOT_QUANTISED = ("MatMul", "Gemm", "Resize", "Interpolate")


# The exporter that traces: the newer one needs two packages more. Releases of PyTorch before 2.5
# have no other, and no such argument.
_export: Callable[..., Any] = torch.onnx.export
if "dynamo" in inspect.signature(torch.onnx.export).parameters:
    _export = functools.partial(_export, dynamo=False)


# PyTorch exports one network at a time; a node prepares them in threads.
_EXPORTING = threading.Lock()


class _Graph(nn.Module):
    """A network from uint8 image to metres, as plain tensors."""

    def __init__(self, network: DepthNetwork, products: bool, training_focal_px: float | None):
        super().__init__()
        self.network, self.products = network, products
        self.training_focal_px = training_focal_px

    def forward(self, image: Tensor, focal_px: Tensor | None = None) -> tuple[Tensor, ...]:
        """(1, h, w, 3) uint8 and fx (1,) → the answers, each (1, C, h, w)."""
        scaled = image.permute(0, 3, 1, 2).float() * (1 / 255)
        network = self.network
        answers = network.products(scaled) if self.products else {DEPTH: network(scaled)}
        if focal_px is not None and self.training_focal_px is not None:
            answers[DEPTH] = answers[DEPTH] * (focal_px / self.training_focal_px)
        return tuple(answers[name] for name in answer_names(self.network, self.products))


def answer_names(network: DepthNetwork, products: bool) -> tuple[str, ...]:
    """Return the outputs of a graph in order, `depth_m` first."""
    return (DEPTH, *(network.product_names if products else ()))


def network_graph(
    network: DepthNetwork,
    size: ImageSize,
    products: bool = False,
    training_focal_px: float | None = None,
) -> bytes:
    """Return a network as an ONNX file in memory, for one image size.

    Args:
        network: in eval mode; it is left as it is.
        size: of the image.
        products: also answer the network's products.
        training_focal_px: with it the graph has a second input, `focal_px` (1,) float32, fx of the
            image, by which depth is corrected; without it depth is the network's.

    Returns:
        A graph from `image` (1, h, w, 3) uint8 RGB to `depth_m` (1, 1, h, w) float32 and products.
    """
    image = torch.zeros((1, size.height, size.width, 3), dtype=torch.uint8)
    names, inputs = [IMAGE], [image]
    if training_focal_px is not None:
        names.append(FOCAL)
        inputs.append(torch.full((1,), training_focal_px))
    on_cpu = network if network.image_mean.device.type == "cpu" else copy.deepcopy(network).cpu()
    file = io.BytesIO()
    with _EXPORTING, torch.no_grad(), warnings.catch_warnings():
        # That sizes become constants is intended.
        warnings.simplefilter("ignore")
        _export(
            _Graph(on_cpu, products, training_focal_px).eval(),
            tuple(inputs),
            file,
            input_names=names,
            output_names=list(answer_names(network, products)),
            opset_version=_OPSET,
        )
    return file.getvalue()


def quantised_graph(graph: bytes, pictures: Sequence[npt.NDArray[np.uint8]]) -> bytes:
    """Return an ONNX graph with convolutions in int8, scales fixed by what they answer on pictures.

    Args:
        graph: of `network_graph`.
        pictures: (h, w, 3) uint8 of its size; some dozens of what the camera will see.

    Raises:
        ConfigError: onnx or nncf is not installed.
    """
    onnx = require_package("onnx", "int8")
    model = onnx.load_from_string(graph)
    _drop_last_casts(model, onnx)
    constant = {
        value.name: np.ones(1, np.float32) for value in model.graph.input if value.name != IMAGE
    }
    present = {node.op_type for node in model.graph.node}
    ignored = [kind for kind in NOT_QUANTISED if kind in present]
    quantised = quantise(model, pictures, ignored, lambda image: {IMAGE: image, **constant})
    data: bytes = quantised.SerializeToString()
    return data


def quantise(
    model: Any,
    pictures: Sequence[npt.NDArray[np.uint8]],
    ignored: Sequence[str],
    inputs: Callable[[npt.NDArray[np.uint8]], Any] = lambda image: image,
) -> Any:
    """Return a model with convolutions in int8.

    Args:
        model: of ONNX or of OpenVINO.
        pictures: see `quantised_graph`.
        ignored: types of operations that stay in float32.
        inputs: of the model for an image (1, h, w, 3) uint8.

    Raises:
        ConfigError: nncf is not installed.
    """
    nncf = require_package("nncf", "int8")
    nncf.set_log_level(logging.ERROR)
    # NNCF draws its progress on stdout, where a program's results are.
    with contextlib.redirect_stdout(sys.stderr):
        return nncf.quantize(
            model,
            nncf.Dataset(pictures, lambda rgb: inputs(rgb[np.newaxis])),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pictures),
            ignored_scope=nncf.IgnoredScope(types=list(ignored), validate=False)
            if ignored
            else None,
        )


def _drop_last_casts(model: Any, onnx: Any) -> None:
    """Take casts that change nothing away from the outputs; NNCF fails on them there."""
    known = onnx.shape_inference.infer_shapes(model).graph.value_info
    types = {value.name: value.type.tensor_type.elem_type for value in known}
    outputs = {value.name for value in model.graph.output}
    for cast in [node for node in model.graph.node if node.op_type == "Cast"]:
        before, after = cast.input[0], cast.output[0]
        if after not in outputs or types.get(before) != cast.attribute[0].i:
            continue
        model.graph.node.remove(cast)
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [after if name == before else name for name in names]
