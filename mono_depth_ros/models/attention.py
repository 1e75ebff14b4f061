"""Attention modules, each with the paper's equations and tensor shapes."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

Interpolation = Literal["nearest", "bilinear"]


class CellwiseMlp(nn.Module):
    """One two-layer perceptron per grid cell, C → C / reduction → C, none shared between cells.

    Equal to a grouped 1x1 convolution over P = rows * cols groups. As batched matrix products it
    costs the same and stays fast for thousands of cells.
    """

    def __init__(self, cells: int, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.reduce_weight = nn.Parameter(torch.empty(cells, channels, hidden))
        self.reduce_bias = nn.Parameter(torch.empty(cells, 1, hidden))
        self.expand_weight = nn.Parameter(torch.empty(cells, hidden, channels))
        self.expand_bias = nn.Parameter(torch.empty(cells, 1, channels))
        # nn.Linear's default, bound 1 / sqrt(fan in), for every cell.
        for fan_in, parameters in (
            (channels, (self.reduce_weight, self.reduce_bias)),
            (hidden, (self.expand_weight, self.expand_bias)),
        ):
            for parameter in parameters:
                nn.init.uniform_(parameter, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, rows, cols) → (B, C, rows, cols), cells row-major."""
        cells = features.flatten(2).permute(2, 0, 1)  # (P, B, C)
        hidden = functional.relu(torch.baddbmm(self.reduce_bias, cells, self.reduce_weight))
        answer = torch.baddbmm(self.expand_bias, hidden, self.expand_weight)
        return answer.permute(1, 2, 0).reshape(features.shape)


class PatchWiseAttention(nn.Module):
    """Patch-wise attention of PWA (AAAI 2021), section "Patch-wise attention", all its equations.

    The image is cut into rows * cols patches. Channel attention has its own perceptron and spatial
    attention its own 7x7 convolution for every patch, so the module is tied to one image size:
    F_c = Conv_c([F_G; max F; avg F]);  E_c = sigmoid(MLP_i(F_c));  F' = F * up(E_c);
    F_s = Conv_s([F'; up(F_G)]);  E_s = sigmoid(Conv_j([max_c F_s; mean_c F_s]));
    output = F' * E_s + F + up(F_G).

    Where the paper is silent: Conv_c and Conv_s are plain convolutions with bias; E_c is enlarged
    by nearest neighbour, which keeps it patch-wise, and F_G bilinearly; each patch is padded with
    its own zeros before the 7x7 convolution.

    Args:
        channels: C of both the local features F and the global context F_G.
        grid: patches as (rows, cols).
        patch: patch size on F as (height, width).
        reduction: C over the hidden width of the perceptrons; the paper has 8.
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        patch: tuple[int, int],
        reduction: int = 8,
        channel_interpolation: Interpolation = "nearest",
        context_interpolation: Interpolation = "bilinear",
    ) -> None:
        super().__init__()
        self.grid, self.patch = grid, patch
        self.channel_interpolation = channel_interpolation
        self.context_interpolation = context_interpolation
        patches = grid[0] * grid[1]
        self.channel_conv = nn.Conv2d(3 * channels, channels, 3, padding=1)
        self.channel_mlps = CellwiseMlp(patches, channels, reduction)
        self.spatial_conv = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.patch_convs = nn.Conv2d(2 * patches, patches, 7, padding=3, groups=patches)

    def forward(self, features: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            features: F, (B, C, rows * patch_height, cols * patch_width).
            context: F_G, (B, C, rows, cols).

        Returns:
            The attended features, of the shape of F, and the spatial attention E_s in (0, 1),
            (B, 1, H, W).
        """
        size = features.shape[-2:]
        # Tiles of `patch` pixels, so pooling with window and stride `patch` is exact.
        pooled = (
            functional.max_pool2d(features, self.patch),
            functional.avg_pool2d(features, self.patch),
        )
        channel_logits = self.channel_mlps(self.channel_conv(torch.cat((context, *pooled), dim=1)))
        channel_attention = _enlarge(channel_logits.sigmoid(), size, self.channel_interpolation)
        context_full = _enlarge(context, size, self.context_interpolation)

        attended = features * channel_attention
        local = self.spatial_conv(torch.cat((attended, context_full), dim=1))
        spatial_attention = self._spatial_logits(local).sigmoid()
        return attended * spatial_attention + features + context_full, spatial_attention

    def _spatial_logits(self, local: Tensor) -> Tensor:
        """(B, C, H, W) → (B, 1, H, W): every patch through its own 7x7 convolution in one call."""
        statistics = torch.cat((local.amax(1, keepdim=True), local.mean(1, keepdim=True)), dim=1)
        (rows, cols), (height, width) = self.grid, self.patch
        batch = local.shape[0]
        patches = statistics.view(batch, 2, rows, height, cols, width).permute(0, 2, 4, 1, 3, 5)
        logits = self.patch_convs(patches.reshape(batch, 2 * rows * cols, height, width))
        logits = logits.view(batch, rows, cols, height, width).permute(0, 1, 3, 2, 4)
        return logits.reshape(batch, 1, rows * height, cols * width)


def _enlarge(features: Tensor, size: torch.Size, mode: Interpolation) -> Tensor:
    if mode == "nearest":
        return functional.interpolate(features, size=size, mode="nearest")
    return functional.interpolate(features, size=size, mode="bilinear", align_corners=False)
