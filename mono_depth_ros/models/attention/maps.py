"""What every attention module returns beside its features, and how maps change size."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch.nn.functional as functional
from torch import Tensor, nn

Interpolation = Literal["nearest", "bilinear"]

LEAST_HIDDEN = 4


class AttentionMaps(NamedTuple):
    """The weights that a module gave its input, for looking at.

    Attributes:
        spatial: (B, 1, H, W), one weight per pixel, not negative; None where there is no such map.
        channel: (B, C, rows, cols) in (0, 1), one weight per channel and grid cell, (1, 1) for the
            whole map; None where there is no such map.
    """

    spatial: Tensor | None = None
    channel: Tensor | None = None


def enlarge(features: Tensor, size: tuple[int, ...], mode: Interpolation) -> Tensor:
    """Resize (B, C, h, w) to (B, C, *size); pixel areas are aligned, not corner centres."""
    if features.shape[-2:] == size:
        return features
    if mode == "nearest":
        return functional.interpolate(features, size=size, mode="nearest")
    return functional.interpolate(features, size=size, mode="bilinear", align_corners=False)


def squeeze_mlp(inputs: int, reduction: int, outputs: int, bias: bool) -> nn.Sequential:
    """Return the perceptron inputs → inputs / reduction → outputs on pooled (B, inputs, 1, 1).

    It has `LEAST_HIDDEN` units or more, which matters below 64 channels only: without biases one
    unit alone is as likely as not to answer 0 to every image, and then learns nothing.
    """
    hidden = max(inputs // reduction, LEAST_HIDDEN)
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 1, bias=bias),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, 1, bias=bias),
    )


def mean_over_pixels(features: Tensor) -> Tensor:
    """(B, C, H, W) → (B, C, 1, 1)."""
    return features.mean((2, 3), keepdim=True)


def max_over_pixels(features: Tensor) -> Tensor:
    """(B, C, H, W) → (B, C, 1, 1)."""
    return features.amax((2, 3), keepdim=True)
