"""Backbones behind one interface: five feature maps at strides 2, 4, 8, 16, 32."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torchvision.models import mobilenet_v2

BackboneName = Literal["mobilenet_v2"]

STRIDES = (2, 4, 8, 16, 32)

# Last module of each resolution in torchvision's MobileNetV2: 16, 24, 32, 96 and 320 channels at
# width 1. The 1280-channel convolution after them is a classifier's; PWA's decoder starts at 320.
_MOBILENET_V2_TAPS = (1, 3, 6, 13, 17)


class Encoder(nn.Module):
    """A backbone as five stages; `channels[i]` is the depth of the map at stride `STRIDES[i]`."""

    def __init__(self, stages: list[nn.Module], channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return five maps (B, channels[i], h / STRIDES[i], w / STRIDES[i]); 32 divides h and w."""
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features


def make_encoder(backbone: BackboneName, width: float = 1.0) -> Encoder:
    """Build a backbone with fresh weights.

    Args:
        backbone: key of the networks' `backbone` setting.
        width: multiplier of every layer's channels (MobileNetV2's alpha), rounded to eights.
    """
    layers = mobilenet_v2(weights=None, width_mult=width).features
    stages, channels, first = [], [], 0
    for tap in _MOBILENET_V2_TAPS:
        stages.append(layers[first : tap + 1])
        channels.append(layers[tap].out_channels)
        first = tap + 1
    return Encoder(stages, tuple(channels))
