"""Building blocks that several networks share."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

Window = tuple[EllipsisType | slice, ...]
"""Index of the image in its padding."""

RANGE_MARGIN = 1e-6
"""Part of the largest depth that answers keep from both ends, where a float32 sigmoid saturates."""


def conv_bn_relu(inputs: int, outputs: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    """Return convolution (same size, no bias), batch norm, ReLU."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=dilation, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def deconv_bn_relu(inputs: int, outputs: int) -> nn.Sequential:
    """Return a 3x3 transposed convolution that doubles height and width, batch norm, ReLU."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """relu(x + two 3x3 convolutions of x with batch norm, a ReLU between them)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn_relu(channels, channels, 3),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, channels, h, w) → the same shape."""
        return (features + self.body(features)).relu()


class DenseAspp(nn.Module):
    """Densely connected dilated convolutions (Yang et al., CVPR 2018), as used by PWA.

    Each branch sees the input and all earlier branches: norm (not in the first), ReLU, 1x1 to
    `bottleneck`, norm, ReLU, 3x3 dilated to `growth`. A 1x1 convolution takes input and branches
    back to `outputs` channels.
    """

    RATES = (3, 6, 12, 18, 24)

    def __init__(
        self,
        inputs: int,
        outputs: int,
        bottleneck: int,
        growth: int,
        rates: Sequence[int] = RATES,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(inputs + i * growth) if i else nn.Identity(),
                nn.ReLU(),  # not in place: the next branch needs its input unrectified
                conv_bn_relu(inputs + i * growth, bottleneck, 1),
                nn.Conv2d(bottleneck, growth, 3, padding=rate, dilation=rate, bias=False),
            )
            for i, rate in enumerate(rates)
        )
        self.merge = conv_bn_relu(inputs + len(rates) * growth, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) → (B, outputs, h, w)."""
        for branch in self.branches:
            features = torch.cat((features, branch(features)), dim=1)
        return self.merge(features)


def at_least_float32(features: Tensor) -> Tensor:
    """Return half-precision features in float32, all others as they are."""
    return features.to(torch.promote_types(features.dtype, torch.float32))


def depth_from_logits(logits: Tensor, max_depth_m: float) -> Tensor:
    """Return max_depth_m * sigmoid in metres, strictly inside (0, max_depth_m).

    In float32 or better, also under autocast and in half-precision networks: bfloat16 has steps of
    3 cm at 4 m.
    """
    share = at_least_float32(logits).sigmoid()
    return max_depth_m * share.clamp(RANGE_MARGIN, 1.0 - RANGE_MARGIN)


def pad_evenly(image: Tensor, height: int, width: int) -> tuple[Tensor, int, int]:
    """Zero-pad (B, C, h, w) evenly to (height, width); return it with top and left margin."""
    top, left = (height - image.shape[-2]) // 2, (width - image.shape[-1]) // 2
    bottom, right = height - image.shape[-2] - top, width - image.shape[-1] - left
    return functional.pad(image, (left, right, top, bottom)), top, left


def pad_to_multiple(image: Tensor, multiple: int) -> tuple[Tensor, Window]:
    """Zero-pad (B, C, h, w) evenly to multiples; return it and the index that undoes it."""
    # Plain numbers, also while a graph is traced, whose division of negative ones rounds otherwise.
    height, width = (int(length) for length in image.shape[-2:])
    padded, top, left = pad_evenly(image, ceil_to(height, multiple), ceil_to(width, multiple))
    return padded, (..., slice(top, top + height), slice(left, left + width))


def ceil_to(value: int, multiple: int) -> int:
    """Return the smallest multiple of `multiple` that is not below `value`."""
    return -(-value // multiple) * multiple
