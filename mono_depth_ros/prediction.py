"""What a network is asked about an image, and what it says of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.geometry import Intrinsics

Array = Any
"""A numpy array, or a torch tensor on the predictor's device."""


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One image of a batch.

    Attributes:
        rgb: (H, W, 3) uint8, RGB; an array, or a tensor where `DepthPredictor.takes_tensors`.
        camera: intrinsics of that image; None leaves the focal correction out.
        products: wanted beside depth, of confidence, attention, semantics.
    """

    rgb: Array
    camera: Intrinsics | None
    products: Collection[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a network says of an image, on its pixels or on those that the network sees.

    Arrays where the image is one, tensors on its device where it is a tensor.

    Attributes:
        depth_m: (H, W) float32, metres along the optical axis, NaN where unknown or out of range.
        confidence: (H, W) float32 in [0, 1]; None where nobody asked or the network has none.
        attention: (H, W, C) float32, not negative, one channel per `attention_names` of the
            network; None likewise.
        semantics: (H, W) uint8, index into `class_names`; None likewise.
        class_names: what the values of `semantics` mean; empty where it is None.
    """

    depth_m: Array
    confidence: Array | None = None
    attention: Array | None = None
    semantics: Array | None = None
    class_names: tuple[str, ...] = ()

    def on_host(self) -> Prediction:
        """Return the same in arrays."""
        confidence, attention, semantics = (
            None if values is None else to_host(values)
            for values in (self.confidence, self.attention, self.semantics)
        )
        return Prediction(to_host(self.depth_m), confidence, attention, semantics, self.class_names)


def to_host(values: Array) -> npt.NDArray[Any]:
    """Return an array, or a tensor of any device as one, through page-locked memory."""
    if isinstance(values, np.ndarray):
        return values
    if values.device.type == "cpu":
        return np.asarray(values.numpy())
    import torch

    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    torch.cuda.current_stream(values.device).synchronize()
    return np.asarray(host.numpy())
