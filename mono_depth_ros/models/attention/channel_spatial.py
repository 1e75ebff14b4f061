"""Three earlier attention modules that PWA and ASC+GCM are compared with: SE, BAM, CBAM."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.models.attention.maps import (
    AttentionMaps,
    max_over_pixels,
    mean_over_pixels,
    squeeze_mlp,
)
from mono_depth_ros.models.blocks import conv_bn_relu

REDUCTION = 16
"""Channels over the hidden width of the perceptrons; all three papers have 16."""


class SqueezeExcitation(nn.Module):
    """Squeeze and excitation (Hu et al., CVPR 2018), equations 2 to 4.

    z_c = mean over pixels of F_c;  s = sigmoid(W2 relu(W1 z));  output_c = s_c F_c.
    W1 is C / r x C and W2 C x C / r, without biases as printed.

    Args:
        channels: C.
        reduction: r.
    """

    def __init__(self, channels: int, reduction: int = REDUCTION) -> None:
        super().__init__()
        self.channel = squeeze_mlp(channels, reduction, channels, bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, AttentionMaps]:
        """(B, C, H, W) → the same shape, and the channel weights (B, C, 1, 1)."""
        weights = self.channel(mean_over_pixels(features)).sigmoid()
        return features * weights, AttentionMaps(channel=weights)


class BottleneckAttention(nn.Module):
    """Bottleneck attention module, BAM (Park et al., BMVC 2018), equations 1 to 4.

    M_c = BN(W1 relu(W0 avg(F) + b0) + b1), (C, 1, 1);
    M_s = BN(conv1x1(conv3x3(conv3x3(conv1x1(F))))), (1, H, W), 3x3 dilated by 4 at C / r channels;
    M = sigmoid(M_c + M_s), (C, H, W) by broadcasting;  output = F + F * M.

    The authors' code has batch norm and ReLU after each inner convolution, as here; it multiplies
    M_c with M_s and leaves out their closing norms, where this follows the paper.

    Args:
        channels: C.
        reduction: r.
        dilation: of the two 3x3 convolutions.
    """

    def __init__(self, channels: int, reduction: int = REDUCTION, dilation: int = 4) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.channel = nn.Sequential(
            squeeze_mlp(channels, reduction, channels, bias=True), nn.BatchNorm2d(channels)
        )
        self.spatial = nn.Sequential(
            conv_bn_relu(channels, hidden, 1),
            conv_bn_relu(hidden, hidden, 3, dilation),
            conv_bn_relu(hidden, hidden, 3, dilation),
            nn.Conv2d(hidden, 1, 1, bias=False),
            nn.BatchNorm2d(1),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, AttentionMaps]:
        """(B, C, H, W) → the same shape; the spatial map is M averaged over channels.

        Raises:
            ShapeError: a batch of one in training, where the norm of M_c has nothing to average.
        """
        if self.training and len(features) == 1:
            raise ShapeError("BAM normalises pooled features over the batch; train with 2 or more")
        weights = (self.channel(mean_over_pixels(features)) + self.spatial(features)).sigmoid()
        return features + features * weights, AttentionMaps(spatial=weights.mean(1, keepdim=True))


class ConvBlockAttention(nn.Module):
    """Convolutional block attention module, CBAM (Woo et al., ECCV 2018), equations 1 to 3.

    M_c = sigmoid(MLP(avg(F)) + MLP(max(F))), (C, 1, 1), one perceptron for both poolings;
    F' = M_c * F;  M_s = sigmoid(conv7x7([avg_c F'; max_c F'])), (1, H, W);  output = M_s * F'.
    The perceptron has no biases as printed; the authors' code adds a norm after the 7x7.

    Args:
        channels: C.
        reduction: C over the hidden width of the perceptron.
    """

    def __init__(self, channels: int, reduction: int = REDUCTION) -> None:
        super().__init__()
        self.channel = squeeze_mlp(channels, reduction, channels, bias=False)
        self.spatial = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, features: Tensor) -> tuple[Tensor, AttentionMaps]:
        """(B, C, H, W) → the same shape, with M_s (B, 1, H, W) and M_c (B, C, 1, 1)."""
        pooled = (mean_over_pixels(features), max_over_pixels(features))
        channel = (self.channel(pooled[0]) + self.channel(pooled[1])).sigmoid()
        attended = features * channel
        statistics = (attended.mean(1, keepdim=True), attended.amax(1, keepdim=True))
        spatial = self.spatial(torch.cat(statistics, dim=1)).sigmoid()
        return attended * spatial, AttentionMaps(spatial, channel)
