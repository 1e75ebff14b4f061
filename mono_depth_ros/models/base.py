"""The contract that every depth network obeys."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.models.encoder import BackboneName, Encoder

# torchvision's ImageNet statistics, RGB in [0, 1]; every backbone is trained with them.
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)

# Label of pixels that belong to no class; it never counts.
IGNORED_LABEL = -1

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


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """What every network can be told; each network's own settings extend it.

    Attributes:
        image_size: cameras of other sizes are letterboxed to this one; where `required_size` is
            None the network itself takes any size.
        max_depth_m: largest depth of the head; 10 for NYU Depth V2, 80 for KITTI.
        backbone: encoder.
        backbone_width: channel multiplier of MobileNetV2; 1 for all others.
    """

    image_size: ImageSize = ImageSize(480, 640)
    max_depth_m: float = 10.0
    backbone: BackboneName = "mobilenet_v2"
    backbone_width: float = 1.0

    def __post_init__(self) -> None:
        if min(self.image_size.height, self.image_size.width) < SMALLEST_SIDE_PX:
            raise ConfigError(
                f"image_size is {self.image_size.height}x{self.image_size.width} (height x width); "
                f"both sides need {SMALLEST_SIDE_PX} px or more"
            )
        if not (0.0 < self.max_depth_m < math.inf and 0.0 < self.backbone_width < math.inf):
            raise ConfigError(
                f"max_depth_m {self.max_depth_m} and backbone_width {self.backbone_width} "
                "must be positive and finite"
            )


def require_positive(**settings: int | tuple[int, ...]) -> None:
    """Check that numbers, and all entries of tuples with at least one, are 1 or more.

    Raises:
        ConfigError: one is not.
    """
    for name, value in settings.items():
        values = value if isinstance(value, tuple) else (value,)
        if not values or min(values) < 1:
            raise ConfigError(f"{name} must be 1 or more, got {value}")


class DepthNetwork(nn.Module, ABC):
    """A network that turns an RGB image into metric depth.

    Subclasses set `config` and `encoder` and implement `training_outputs`.
    """

    config: Any
    encoder: Encoder
    image_mean: Tensor
    image_std: Tensor
    product_names: tuple[str, ...] = ()
    """Names of the optional per-pixel outputs: of `confidence`, `attention`, `semantics`."""
    attention_names: tuple[str, ...] = ()
    """One name per channel of the product `attention`."""
    class_names: tuple[str, ...] = ()
    """What the values of the product `semantics` mean, in index order."""

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
    def confidence_calibrated(self) -> bool:
        """Whether the product `confidence` was fitted to errors on scenes held out from training.

        False also where there is no such product.
        """
        return False

    @property
    def max_depth_m(self) -> float:
        """Largest depth the head can answer, metres."""
        return self.config.max_depth_m

    def forward(self, image: Tensor) -> Tensor:
        """Predict depth.

        Args:
            image: (B, 3, h, w), RGB in [0, 1], of the network's own type: float32 unless it was
                converted, also under autocast.

        Returns:
            (B, 1, h, w) of the same type, metres along the optical axis of a camera with the
            training focal length (`CheckpointInfo.training_focal_px`).

        Raises:
            ShapeError: the image has another layout or type, or a size this network does not take.
        """
        return self.training_outputs(image)["depth_m"]

    @abstractmethod
    def training_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` as `forward` does, and whatever else only the losses need."""

    def products(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` and the outputs listed in `product_names`, each (B, C, h, w).

        `confidence`: (B, 1, h, w) in [0, 1]. `attention`: (B, len(attention_names), h, w), not
        negative; what the numbers mean is the network's business. `semantics`: (B, 1, h, w) uint8,
        index of the most likely class.
        """
        return {"depth_m": self(image)}

    def normalise(self, image: Tensor) -> Tensor:
        """Check an image and subtract mean and divide by standard deviation."""
        if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
            raise ShapeError(
                f"image is {tuple(image.shape)} {image.dtype}; "
                "pass (B, 3, h, w) float RGB in [0, 1]"
            )
        if image.dtype != self.image_mean.dtype:
            raise ShapeError(
                f"image is {image.dtype}, the network {self.image_mean.dtype}; convert the image "
                "to the network's type (autocast changes neither)"
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
