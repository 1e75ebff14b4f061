"""Transforms that move pixels: image, depth, labels and intrinsics change together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import IGNORED_LABEL, ImageSize
from mono_depth_ros.preprocessing import resize_image
from training.transforms.sample import (
    RandomTransform,
    Range,
    Sample,
    require_range,
    uniform,
    whole_number,
)
from training.view import crop_window

# top, bottom, left, right, ends exclusive: PIL box (43, 45, 608, 472) of BTS.
_NYU_BORDER = (45, 472, 43, 608)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """Cut a fixed window.

    Attributes:
        window: kb, the bottom-centre 352x1216 of KITTI (BTS; PWA, "Implementation details");
            nyu_border, NYU without the white frame of the sensor (BTS); acan_kitti, rows 130 to 369
            and columns 10 to 1209 (ACAN's code).
        rows: first row and the one after the last, in place of `window`.
        columns: likewise.
    """

    window: Literal["kb", "nyu_border", "acan_kitti"] | None = None
    rows: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        given = [self.window is not None, self.rows is not None, self.columns is not None]
        if given not in ([True, False, False], [False, True, True]):
            raise ConfigError("crop needs either a window, or rows and columns")
        for name, ends in (("rows", self.rows), ("columns", self.columns)):
            if ends is not None and not 0 <= ends[0] < ends[1]:
                raise ConfigError(
                    f"crop.{name} must be two rising numbers from 0, got {list(ends)}"
                )

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Return the window; nothing is drawn."""
        top, bottom, left, right = self._bounds(sample.size)
        return _cut(sample, top, left, ImageSize(bottom - top, right - left))

    def _bounds(self, size: ImageSize) -> tuple[int, int, int, int]:
        if self.rows and self.columns:
            return *self.rows, *self.columns
        if self.window == "nyu_border":
            return _NYU_BORDER
        return crop_window(self.window or "none", size.height, size.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """Resize the whole picture: the image as the node does it, depth and labels to the nearest.

    Attributes:
        size: null for the network's image size.
    """

    size: ImageSize | None = None

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Return the resized sample; nothing is drawn."""
        return _resized(sample, _known(self.size, "resize"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomCrop:
    """Cut a window anywhere, its row and its column drawn apart.

    ACAN's code draws one number for both, which leaves only the windows along the diagonal.

    Attributes:
        size: null for the network's image size.
    """

    size: ImageSize | None = None

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """Return the window.

        Raises:
            ShapeError: it is larger than the image.
        """
        size = _known(self.size, "random_crop")
        spare = (sample.size.height - size.height, sample.size.width - size.width)
        if min(spare) < 0:
            raise ShapeError(
                f"random_crop of {size.height}x{size.width} does not fit into an image of "
                f"{sample.size.height}x{sample.size.width} (height x width); crop less, or resize "
                "before"
            )
        top, left = (whole_number(pixels, generator) for pixels in spare)
        return _cut(sample, top, left, size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip(RandomTransform):
    """Mirror left and right."""

    def _changed(self, sample: Sample, generator: torch.Generator) -> Sample:
        camera = sample.camera
        return _on_maps(
            sample,
            lambda values, fill: functional.horizontal_flip(values),
            replace(camera, cx=camera.width - 1 - camera.cx),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotate(RandomTransform):
    """Turn about the centre of the image; the corners become black, without depth or label.

    To the camera this is a roll about its optical axis, which changes no depth; the principal point
    turns with the image.

    Attributes:
        max_deg: the angle is uniform up to this, either way.
        probability: that it happens.
    """

    max_deg: float

    def __post_init__(self) -> None:
        RandomTransform.__post_init__(self)
        if not 0.0 <= self.max_deg <= 180.0:
            raise ConfigError(f"Rotate.max_deg must lie in [0, 180], got {self.max_deg}")

    def _changed(self, sample: Sample, generator: torch.Generator) -> Sample:
        angle_deg = uniform((-self.max_deg, self.max_deg), generator)

        def turn(values: Tensor, fill: float) -> Tensor:
            image = values.dtype == torch.uint8
            mode = InterpolationMode.BILINEAR if image else InterpolationMode.NEAREST
            return functional.rotate(values, angle_deg, mode, fill=fill)

        return _on_maps(sample, turn, _turned(sample.camera, angle_deg))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(RandomTransform):
    """Enlarge the image by s and divide depth by s: the same camera, nearer to the scene.

    The image grows, so a random_crop or a resize must follow (ACAN, "Data augmentation"; its code
    has s from 1 to 1.5).

    Attributes:
        factor: s is uniform between these, 1 or more.
        probability: that it happens.
    """

    factor: Range

    def __post_init__(self) -> None:
        RandomTransform.__post_init__(self)
        require_range(self, "factor", self.factor, 1.0)

    def _changed(self, sample: Sample, generator: torch.Generator) -> Sample:
        s = uniform(self.factor, generator)
        size = ImageSize(round(sample.size.height * s), round(sample.size.width * s))
        larger = _resized(sample, size)
        camera = replace(larger.camera, fx=larger.camera.fx / s, fy=larger.camera.fy / s)
        return replace(larger, depth_m=larger.depth_m / s, camera=camera)


def _on_maps(
    sample: Sample, change: Callable[[Tensor, float], Tensor], camera: Intrinsics
) -> Sample:
    """Apply `change(values, fill)` to every map; `fill` is what stands for nothing in it."""
    labels = sample.labels
    return Sample(
        image=change(sample.image, 0.0),
        depth_m=change(sample.depth_m, math.nan),
        labels=None if labels is None else change(labels, float(IGNORED_LABEL)),
        camera=camera,
    )


def _cut(sample: Sample, top: int, left: int, size: ImageSize) -> Sample:
    bottom, right = top + size.height, left + size.width
    if bottom > sample.size.height or right > sample.size.width:
        raise ShapeError(
            f"crop ends at row {bottom} and column {right}, the image is "
            f"{sample.size.height}x{sample.size.width} (height x width); is it of another data set?"
        )
    return _on_maps(
        sample,
        lambda values, fill: values[..., top:bottom, left:right],
        sample.camera.windowed(left, top, size.width, size.height),
    )


def _resized(sample: Sample, size: ImageSize) -> Sample:
    if size == sample.size:
        return sample

    def resize(values: Tensor, fill: float) -> Tensor:
        if values.dtype == torch.uint8:
            rgb = values.permute(1, 2, 0).contiguous().numpy()
            return torch.from_numpy(resize_image(rgb, size.height, size.width)).permute(2, 0, 1)
        array = values[0].contiguous().numpy()
        nearest = cv2.resize(
            array, (size.width, size.height), interpolation=cv2.INTER_NEAREST_EXACT
        )
        return torch.from_numpy(nearest)[None]

    return _on_maps(sample, resize, sample.camera.resized(size.width, size.height))


def _turned(camera: Intrinsics, angle_deg: float) -> Intrinsics:
    """Return the intrinsics after the image is turned counter-clockwise about its centre."""
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    u, v = (camera.width - 1) / 2.0, (camera.height - 1) / 2.0
    x, y = camera.cx - u, camera.cy - v
    return replace(camera, cx=u + cos * x + sin * y, cy=v - sin * x + cos * y)


def _known(size: ImageSize | None, op: str) -> ImageSize:
    if size is None:
        raise ConfigError(f"{op} has no size; call with_size(transforms, network's size) first")
    return size
