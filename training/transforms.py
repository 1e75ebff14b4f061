"""Random changes of an image and its depth together."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from training.config import AugmentationConfig


def augment(
    image: Tensor, depth_m: Tensor, config: AugmentationConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Apply each change of `config` with its probability.

    Args:
        image: (3, h, w) uint8.
        depth_m: (1, h, w) float32, NaN where unknown.
        config: which changes, how large.
        generator: the only source of randomness, so a step can be repeated exactly.

    Returns:
        Image and depth of the same shapes; rotation leaves NaN depth in the corners.
    """

    def chance() -> bool:
        return torch.rand((), generator=generator).item() < config.probability

    def uniform(limit: float) -> float:
        return limit * (2.0 * torch.rand((), generator=generator).item() - 1.0)

    if config.flip and chance():
        image, depth_m = transforms.horizontal_flip(image), transforms.horizontal_flip(depth_m)
    if config.rotation_deg and chance():
        angle = uniform(config.rotation_deg)
        image = transforms.rotate(image, angle, InterpolationMode.BILINEAR)
        depth_m = transforms.rotate(depth_m, angle, InterpolationMode.NEAREST, fill=math.nan)
    if config.brightness and chance():
        image = transforms.adjust_brightness(image, 1.0 + uniform(config.brightness))
    if config.contrast and chance():
        image = transforms.adjust_contrast(image, 1.0 + uniform(config.contrast))
    if config.saturation and chance():
        image = transforms.adjust_saturation(image, 1.0 + uniform(config.saturation))
    if config.hue and chance():
        image = transforms.adjust_hue(image, uniform(config.hue))
    return image, depth_m
