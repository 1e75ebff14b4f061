"""The contract that every depth network obeys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mono_depth_ros.errors import ConfigError, ShapeError

# torchvision's ImageNet statistics, RGB in [0, 1]; every backbone is trained with them.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

# Five stages of stride 2 leave two pixels of it, enough for batch statistics.
SMALLEST_SIDE_PX = 64


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Height and width in pixels."""

    height: int
    width: int

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 1:
            raise ConfigError(f"image size {self.height}x{self.width} (height x width) is empty")


class DepthNetwork(nn.Module, ABC):
    """A network that turns an RGB image into metric depth.

    Subclasses set `config` (their frozen dataclass) and implement `training_outputs`.
    """

    config: Any
    image_mean: Tensor
    image_std: Tensor
    product_names: tuple[str, ...] = ()
    """Names of the optional per-pixel outputs: of `confidence`, `attention`, `semantics`."""

    def __init__(self) -> None:
        super().__init__()
        mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
        self.register_buffer("image_mean", mean.view(1, 3, 1, 1))
        self.register_buffer("image_std", std.view(1, 3, 1, 1))

    @property
    def required_size(self) -> ImageSize | None:
        """The only image size this network accepts; None where any size from 64 px up will do."""
        return None

    @property
    @abstractmethod
    def max_depth_m(self) -> float:
        """Largest depth the head can answer, metres."""

    def forward(self, image: Tensor) -> Tensor:
        """Predict depth.

        Args:
            image: (B, 3, h, w) float, RGB in [0, 1].

        Returns:
            (B, 1, h, w) float, metres along the optical axis of a camera with the training focal
            length (`CheckpointInfo.training_focal_px`).

        Raises:
            ShapeError: the image has another layout or a size this network does not take.
        """
        return self.training_outputs(image)["depth_m"]

    @abstractmethod
    def training_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` as `forward` does, and whatever else only the losses need."""

    def products(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` and the outputs listed in `product_names`, each (B, C, h, w)."""
        return {"depth_m": self(image)}

    def normalise(self, image: Tensor) -> Tensor:
        """Check an image and subtract mean and divide by standard deviation."""
        if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
            raise ShapeError(
                f"image is {tuple(image.shape)} {image.dtype}; "
                "pass (B, 3, h, w) float RGB in [0, 1]"
            )
        height, width = image.shape[-2:]
        required = self.required_size
        if required and (height, width) != (required.height, required.width):
            raise ShapeError(
                f"image is {height}x{width} (height x width), this network was built for "
                f"{required.height}x{required.width}; letterbox the image "
                "(mono_depth_ros.preprocessing.Letterbox) or build the network for this size"
            )
        if min(height, width) < SMALLEST_SIDE_PX:
            raise ShapeError(
                f"image is {height}x{width} (height x width); both sides must be "
                f"{SMALLEST_SIDE_PX} px or more, enlarge it first"
            )
        return (image - self.image_mean) / self.image_std
