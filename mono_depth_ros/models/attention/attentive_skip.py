"""Attentive skip connection (ASC) of Kim et al. (IEEE Access 2020), section III-B."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mono_depth_ros.models.attention.maps import AttentionMaps, mean_over_pixels, squeeze_mlp

DILATIONS = (3, 6, 9)
"""The paper's best set (Table 5)."""


class AtrousPyramid(nn.Module):
    """3x3 convolutions (no bias) of several dilations side by side, ReLU, concatenated."""

    def __init__(self, inputs: int, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(inputs, width, 3, padding=rate, dilation=rate, bias=False)
            for rate in dilations
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, width * branches, H, W)."""
        return torch.cat([branch(features) for branch in self.branches], dim=1).relu()


class AttentiveSkip(nn.Module):
    """Spatial attention over several scales beside channel attention, on an encoder's map F_M.

    F' = BN(conv1x1(ASPP(conv1x1(ASPP(F_M))))), (1, H, W);
    F'' = W2 relu(W1 mean over pixels of F_M), (C, 1, 1), hidden width C / 16;
    output = F_M + (F_M * sigmoid F' + F_M * sigmoid F'').

    Where the paper is silent: F' has one channel and both maps a sigmoid, as in BAM, whose layout
    the paper follows; every ASPP branch has max(C / 32, 2) channels, the width at which ASC and
    GCM together come closest to the 2.8 M parameters of Table 3; only the closing norm exists.

    Args:
        channels: C.
        dilations: of the ASPP branches; {3, 6, 9} in the paper.
        width_divisor: C over the width of an ASPP branch.
        reduction: C over the hidden width of the perceptron; 16 in the paper.
        sigmoid: False uses F' and F'' as the text has them, without a sigmoid.
    """

    def __init__(
        self,
        channels: int,
        dilations: Sequence[int] = DILATIONS,
        width_divisor: int = 32,
        reduction: int = 16,
        sigmoid: bool = True,
    ) -> None:
        super().__init__()
        self.sigmoid = sigmoid
        width = max(channels // width_divisor, 2)
        self.spatial = nn.Sequential(
            AtrousPyramid(channels, width, dilations),
            nn.Conv2d(len(dilations) * width, width, 1, bias=False),
            AtrousPyramid(width, width, dilations),
            nn.Conv2d(len(dilations) * width, 1, 1, bias=False),
            nn.BatchNorm2d(1),
        )
        self.channel = squeeze_mlp(channels, reduction, channels, bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, AttentionMaps]:
        """(B, C, H, W) → the same shape, with sigmoid F' (B, 1, H, W) and F'' (B, C, 1, 1).

        The maps have a sigmoid even where the features are multiplied without one.
        """
        spatial, channel = self.spatial(features), self.channel(mean_over_pixels(features))
        maps = AttentionMaps(spatial.sigmoid(), channel.sigmoid())
        if self.sigmoid:
            spatial, channel = maps.spatial, maps.channel
        return features + (features * spatial + features * channel), maps
