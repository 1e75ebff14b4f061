"""Transforms of colours; depth, labels and camera stay."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from training.transforms.sample import RandomTransform, Range, Sample, require_range, uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter(RandomTransform):
    """A change by a factor; 1 changes nothing.

    Attributes:
        factor: uniform between these.
        probability: that it happens.
    """

    factor: Range

    def __post_init__(self) -> None:
        RandomTransform.__post_init__(self)
        require_range(self, "factor", self.factor, 0.0)

    def _changed(self, sample: Sample, generator: torch.Generator) -> Sample:
        return replace(sample, image=self._adjusted(sample.image, uniform(self.factor, generator)))

    @abstractmethod
    def _adjusted(self, image: Tensor, factor: float) -> Tensor:
        """Return the changed image, (3, h, w) uint8."""


class Brightness(Jitter):
    """Multiply all colours."""

    __slots__ = ()

    def _adjusted(self, image: Tensor, factor: float) -> Tensor:
        return functional.adjust_brightness(image, factor)


class Contrast(Jitter):
    """Multiply the difference of all colours from the mean grey of the image."""

    __slots__ = ()

    def _adjusted(self, image: Tensor, factor: float) -> Tensor:
        return functional.adjust_contrast(image, factor)


class Saturation(Jitter):
    """Multiply the difference of each pixel's colours from its own grey."""

    __slots__ = ()

    def _adjusted(self, image: Tensor, factor: float) -> Tensor:
        return functional.adjust_saturation(image, factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hue(RandomTransform):
    """Turn the colour circle.

    Attributes:
        shift: uniform between these, in turns, from -0.5 to 0.5.
        probability: that it happens.
    """

    shift: Range

    def __post_init__(self) -> None:
        RandomTransform.__post_init__(self)
        require_range(self, "shift", self.shift, -0.5, 0.5)

    def _changed(self, sample: Sample, generator: torch.Generator) -> Sample:
        shift = uniform(self.shift, generator)
        return replace(sample, image=functional.adjust_hue(sample.image, shift))


@dataclass(frozen=True, slots=True, kw_only=True)
class BtsColour(RandomTransform):
    """Gamma, brightness and a gain per channel, all three or none (BTS; HMA-Depth's code).

    A colour c in [0, 1] becomes c^gamma * brightness * gain, clipped only then.

    Attributes:
        brightness: uniform between these (BTS: 0.75 to 1.25 for NYU, 0.9 to 1.1 for KITTI).
        gamma: likewise.
        channel_gain: likewise, for each channel.
        probability: of all three together.
    """

    brightness: Range
    gamma: Range = (0.9, 1.1)
    channel_gain: Range = (0.9, 1.1)

    def __post_init__(self) -> None:
        RandomTransform.__post_init__(self)
        for name in ("brightness", "gamma", "channel_gain"):
            require_range(self, name, getattr(self, name), 0.0)

    def _changed(self, sample: Sample, generator: torch.Generator) -> Sample:
        gamma = uniform(self.gamma, generator)
        brightness = uniform(self.brightness, generator)
        gains = torch.tensor([uniform(self.channel_gain, generator) for _ in range(3)])
        colour = (sample.image / 255.0).pow(gamma) * (brightness * gains).view(3, 1, 1)
        return replace(sample, image=(colour.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8))
