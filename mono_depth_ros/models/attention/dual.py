"""Dual attention (Fu et al., CVPR 2019): every position to every position, channel to channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mono_depth_ros.models.attention.maps import AttentionMaps
from mono_depth_ros.models.blocks import at_least_float32, conv_bn_relu


class PositionAttention(nn.Module):
    """Position attention, equations 1 and 2 of the paper; A is (C, H, W) and N = H W.

    B, C' = 1x1 convolutions of A to C / 8 channels, D = 1x1 convolution of A to C channels;
    s_ji = exp(B_i . C'_j) / sum_i exp(B_i . C'_j);  E_j = alpha sum_i s_ji D_i + A_j.
    alpha is learnt and starts at 0. s is N x N, so the map must be small.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 8, 1)
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) → the same shape, and s (B, N, N) whose rows sum to 1."""
        queries = self.query(features).flatten(2).transpose(1, 2)  # (B, N, C / 8)
        keys = self.key(features).flatten(2)  # (B, C / 8, N)
        shares = _softmax_of_product(queries, keys)
        values = self.value(features).flatten(2) @ shares.transpose(1, 2)
        return self.alpha * values.view_as(features) + features, shares


class ChannelAttention(nn.Module):
    """Channel attention, equations 3 and 4 of the paper; A is (C, N).

    x_ji = exp(A_i . A_j) / sum_i exp(A_i . A_j);  E_j = beta sum_i x_ji A_i + A_j.
    beta is learnt and starts at 0. The authors' code takes the softmax of max - A_i . A_j, which
    prefers unlike channels; this follows the paper.
    """

    def __init__(self) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.zeros(1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) → the same shape."""
        flat = features.flatten(2)
        shares = _softmax_of_product(flat, flat.transpose(1, 2))
        return self.beta * (shares @ flat).view_as(features) + features


class DualAttention(nn.Module):
    """Both attentions side by side, each through a 3x3 convolution, then summed (figure 2).

    The paper first reduces 2048 channels to 512; maps of a decoder need no such reduction.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.position = PositionAttention(channels)
        self.channel = ChannelAttention()
        self.position_conv = conv_bn_relu(channels, channels, 3)
        self.channel_conv = conv_bn_relu(channels, channels, 3)

    def forward(self, features: Tensor) -> tuple[Tensor, AttentionMaps]:
        """(B, C, H, W) → the same shape, and how much attention each position receives.

        The spatial map is the mean of s over the attending positions times N: 1 everywhere if all
        positions count alike, and 1 on average in any case.
        """
        by_position, shares = self.position(features)
        height, width = features.shape[-2:]
        received = shares.sum(1).view(-1, 1, height, width)
        attended = self.position_conv(by_position) + self.channel_conv(self.channel(features))
        return attended, AttentionMaps(spatial=received)


def _softmax_of_product(left: Tensor, right: Tensor) -> Tensor:
    """Return softmax over the last axis of left @ right, (B, n, k) @ (B, k, m) → (B, n, m).

    In float32 at least: sums over thousands of pixels overflow half precision.
    """
    with torch.autocast(left.device.type, enabled=False):
        shares = (at_least_float32(left) @ at_least_float32(right)).softmax(-1)
    return shares.to(left.dtype)
