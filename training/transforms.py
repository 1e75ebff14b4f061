"""Random changes of an image together with everything measured on it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from mono_depth_ros.models.base import IGNORED_LABEL
from training.config import AugmentationConfig

# What a rotation leaves in the corners.
_FILL = {"image": 0.0, "depth_m": math.nan, "labels": float(IGNORED_LABEL)}


def augment(
    sample: dict[str, Tensor], config: AugmentationConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """Apply each change of `config` with its probability.

    Args:
        sample: `image` (3, h, w) uint8, `depth_m` (1, h, w) float32 with NaN where unknown, and,
            where there are any, `labels` (1, h, w) integers with -1 where there is none.
        config: which changes, how large.
        generator: the only source of randomness, so a step can be repeated exactly.

    Returns:
        The same maps in the same shapes; rotation leaves NaN depth and label -1 in the corners.
    """

    def chance() -> bool:
        return torch.rand((), generator=generator).item() < config.probability

    def uniform(limit: float) -> float:
        return limit * (2.0 * torch.rand((), generator=generator).item() - 1.0)

    if config.flip and chance():
        sample = {key: transforms.horizontal_flip(value) for key, value in sample.items()}
    if config.rotation_deg and chance():
        angle = uniform(config.rotation_deg)
        sample = {key: _rotate(key, value, angle) for key, value in sample.items()}
    image = sample["image"]
    if config.brightness and chance():
        image = transforms.adjust_brightness(image, 1.0 + uniform(config.brightness))
    if config.contrast and chance():
        image = transforms.adjust_contrast(image, 1.0 + uniform(config.contrast))
    if config.saturation and chance():
        image = transforms.adjust_saturation(image, 1.0 + uniform(config.saturation))
    if config.hue and chance():
        image = transforms.adjust_hue(image, uniform(config.hue))
    return sample | {"image": image}


def _rotate(key: str, value: Tensor, angle_deg: float) -> Tensor:
    """Rotate; only the image is interpolated, since mixed depths and labels are wrong ones."""
    mode = InterpolationMode.BILINEAR if key == "image" else InterpolationMode.NEAREST
    return transforms.rotate(value, angle_deg, mode, fill=_FILL[key])
