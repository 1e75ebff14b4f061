"""Patch-wise attention of PWA (AAAI 2021)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from mono_depth_ros.models.attention.maps import AttentionMaps, Interpolation, enlarge
from mono_depth_ros.models.blocks import conv_bn_relu

PatchBorder = Literal["zeros", "neighbours"]


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
        channel_interpolation: how E_c is enlarged from patches to pixels.
        context_interpolation: how F_G is enlarged.
        context_norm: Conv_c and Conv_s become convolution, batch norm, ReLU.
        patch_border: what the 7x7 convolutions see beyond a patch, its `zeros` or its `neighbours`.
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        patch: tuple[int, int],
        reduction: int = 8,
        channel_interpolation: Interpolation = "nearest",
        context_interpolation: Interpolation = "bilinear",
        context_norm: bool = False,
        patch_border: PatchBorder = "zeros",
    ) -> None:
        super().__init__()
        self.grid, self.patch = grid, patch
        self.channel_interpolation = channel_interpolation
        self.context_interpolation = context_interpolation
        # How far a patch reaches over its neighbours.
        self.overlap = 3 if patch_border == "neighbours" else 0
        patches = grid[0] * grid[1]
        self.channel_conv = _context_conv(3 * channels, channels, context_norm)
        self.channel_mlps = CellwiseMlp(patches, channels, reduction)
        self.spatial_conv = _context_conv(2 * channels, channels, context_norm)
        self.patch_convs = nn.Conv2d(
            2 * patches, patches, 7, padding=3 - self.overlap, groups=patches
        )

    def forward(self, features: Tensor, context: Tensor) -> tuple[Tensor, AttentionMaps]:
        """Attend.

        Args:
            features: F, (B, C, rows * patch_height, cols * patch_width).
            context: F_G, (B, C, rows, cols).

        Returns:
            The attended features, of the shape of F, and both attentions in (0, 1): E_s,
            (B, 1, H, W), and E_c, (B, C, rows, cols).
        """
        size = features.shape[-2:]
        # Tiles of `patch` pixels, so pooling with window and stride `patch` is exact.
        pooled = (
            functional.max_pool2d(features, self.patch),
            functional.avg_pool2d(features, self.patch),
        )
        channel = self.channel_mlps(self.channel_conv(torch.cat((context, *pooled), dim=1)))
        channel = channel.sigmoid()
        context_full = enlarge(context, size, self.context_interpolation)

        attended = features * enlarge(channel, size, self.channel_interpolation)
        local = self.spatial_conv(torch.cat((attended, context_full), dim=1))
        spatial = self._spatial_logits(local).sigmoid()
        return attended * spatial + features + context_full, AttentionMaps(spatial, channel)

    def _spatial_logits(self, local: Tensor) -> Tensor:
        """(B, C, H, W) → (B, 1, H, W): every patch through its own 7x7 convolution in one call."""
        statistics = torch.cat((local.amax(1, keepdim=True), local.mean(1, keepdim=True)), dim=1)
        (rows, cols), (height, width) = self.grid, self.patch
        batch = local.shape[0]
        logits = self.patch_convs(self._patches(statistics).flatten(1, 3))
        logits = logits.view(batch, rows, cols, height, width).permute(0, 1, 3, 2, 4)
        return logits.reshape(batch, 1, rows * height, cols * width)

    def _patches(self, statistics: Tensor) -> Tensor:
        """(B, 2, H, W) → (B, rows, cols, 2, height + 2 overlap, width + 2 overlap)."""
        (rows, cols), (height, width) = self.grid, self.patch
        if self.overlap:
            extra = 2 * self.overlap
            padded = functional.pad(statistics, (self.overlap,) * 4)
            tiles = padded.unfold(2, height + extra, height).unfold(3, width + extra, width)
            return tiles.permute(0, 2, 3, 1, 4, 5)
        tiles = statistics.view(len(statistics), 2, rows, height, cols, width)
        return tiles.permute(0, 2, 4, 1, 3, 5)


def _context_conv(inputs: int, outputs: int, norm: bool) -> nn.Module:
    if norm:
        return conv_bn_relu(inputs, outputs, 3)
    return nn.Conv2d(inputs, outputs, 3, padding=1)
