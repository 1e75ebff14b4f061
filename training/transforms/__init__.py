"""Random changes of an image together with all that was measured on it: depth, labels, camera.

A recipe lists them in order, `augmentation: [{op: NAME, setting: value}, ...]`; `TRANSFORMS` knows
the names. Images are interpolated, depth and labels never are: mixed ones are wrong ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch

from mono_depth_ros.config import from_mapping
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.base import ImageSize
from training.transforms.colour import Brightness, BtsColour, Contrast, Hue, Saturation
from training.transforms.geometric import Crop, Flip, RandomCrop, Resize, Rotate, Scale
from training.transforms.sample import Sample, Transform

__all__ = ["TRANSFORMS", "Sample", "Transform", "apply", "read_transforms", "with_size"]

TRANSFORMS: Mapping[str, type] = MappingProxyType(
    {
        "crop": Crop,
        "resize": Resize,
        "random_crop": RandomCrop,
        "flip": Flip,
        "rotate": Rotate,
        "scale": Scale,
        "brightness": Brightness,
        "contrast": Contrast,
        "saturation": Saturation,
        "hue": Hue,
        "bts_colour": BtsColour,
    }
)
"""Name in the recipe → settings; adding a transform is one class and one line."""


def read_transforms(
    steps: Sequence[Mapping[str, Any]], where: str = "augmentation"
) -> tuple[Transform, ...]:
    """Build the steps of a recipe.

    Args:
        steps: mappings of `op` and its settings.
        where: name of the list in its file, for messages.

    Raises:
        ConfigError: an op or a setting is unknown or out of range, or the images of a batch would
            differ in size.
    """
    transforms = tuple(_read(step, f"{where}[{i}]") for i, step in enumerate(steps))
    sizing = [t for t in transforms if isinstance(t, Scale | Resize | RandomCrop)]
    if sizing and isinstance(sizing[-1], Scale):
        raise ConfigError(f"{where}: scaled images differ in size; put a random_crop after scale")
    return transforms


def _read(step: Any, where: str) -> Transform:
    name = step.get("op") if isinstance(step, Mapping) else None
    if name not in TRANSFORMS:
        raise ConfigError(
            f"{where} is {step!r}; write {{op: NAME, ...}} with one of {', '.join(TRANSFORMS)}"
        )
    settings = {key: value for key, value in step.items() if key != "op"}
    return from_mapping(TRANSFORMS[str(name)], settings, f"{where} ({name})")


def with_size(transforms: Sequence[Transform], size: ImageSize) -> tuple[Transform, ...]:
    """Give this size, the network's, to every resize and random_crop that has none."""
    return tuple(
        replace(t, size=size) if isinstance(t, Resize | RandomCrop) and t.size is None else t
        for t in transforms
    )


def apply(transforms: Sequence[Transform], sample: Sample, generator: torch.Generator) -> Sample:
    """Apply all steps in order.

    Args:
        transforms: of `read_transforms` and `with_size`.
        sample: one image.
        generator: the only source of randomness, so a sample can be repeated exactly.

    Raises:
        ShapeError: a crop is larger than the image.
    """
    for transform in transforms:
        sample = transform(sample, generator)
    return sample
