"""What a transform takes and returns, and how it draws random numbers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import ImageSize

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """One training image.

    Attributes:
        image: (3, h, w) uint8 RGB.
        depth_m: (1, h, w) float32 metres, NaN where unknown.
        labels: (1, h, w) int16, class index, -1 for none; None for data without labels.
        camera: intrinsics of `image`.

    Raises:
        ShapeError: the maps differ in size.
    """

    image: Tensor
    depth_m: Tensor
    labels: Tensor | None
    camera: Intrinsics

    def __post_init__(self) -> None:
        maps = [self.image, self.depth_m] + ([] if self.labels is None else [self.labels])
        sizes = {tuple(values.shape[-2:]) for values in maps}
        sizes.add((self.camera.height, self.camera.width))
        if len(sizes) > 1:
            raise ShapeError(
                f"image, depth, labels and camera have sizes {sorted(sizes)} (height, width); "
                "they must be of the same picture"
            )

    @property
    def size(self) -> ImageSize:
        """Height and width of all maps."""
        return ImageSize(self.camera.height, self.camera.width)


class Transform(Protocol):
    """One step: a frozen dataclass of its settings."""

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Return the changed sample; all randomness comes from `generator`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomTransform(ABC):
    """A step that happens or not.

    Attributes:
        probability: that it happens.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.probability <= 1.0:
            raise ConfigError(
                f"{type(self).__name__}.probability must lie in [0, 1], got {self.probability}"
            )

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Return the changed sample, or `sample` itself."""
        if torch.rand((), generator=generator).item() < self.probability:
            return self._changed(sample, generator)
        return sample

    @abstractmethod
    def _changed(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Return the changed sample."""


def uniform(ends: Range, generator: torch.Generator) -> float:
    """Draw a number between two."""
    low, high = ends
    return low + (high - low) * torch.rand((), generator=generator).item()


def whole_number(most: int, generator: torch.Generator) -> int:
    """Draw one of 0 to `most`."""
    return int(torch.randint(most + 1, (), generator=generator).item())


def require_range(
    transform: Any, name: str, ends: Range, least: float, most: float = math.inf
) -> None:
    """Raise ConfigError unless `ends` rise and lie between `least` and `most`."""
    if not (least <= ends[0] <= ends[1] <= most and ends[1] < math.inf):
        limit = "up" if most == math.inf else f"to {most:g}"
        raise ConfigError(
            f"{type(transform).__name__}.{name} must be two rising numbers from {least:g} {limit}, "
            f"got {list(ends)}"
        )
