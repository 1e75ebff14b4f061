"""Camera image to network input and network depth back to the camera image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import ImageSize

Upsampling = Literal["linear", "nearest"]
OutputSize = Literal["camera", "network"]


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Aspect-keeping placement of a source image inside a target image.

    The source is resized to `resized` and stands at (`top`, `left`) of the target; the rest is
    padding. Pixel centres are integers, so source and target coordinates are related by
    u_target = scale_x (u + 0.5) - 0.5 + left, with scale_x = resized.width / source.width exactly:
    rounding the resized size changes the scale, and the intrinsics must know.
    """

    source: ImageSize
    target: ImageSize
    resized: ImageSize
    top: int
    left: int

    @classmethod
    def fit(cls, source: ImageSize, target: ImageSize) -> Letterbox:
        """Place the whole source, as large as possible, in the centre of the target."""
        scale = min(target.height / source.height, target.width / source.width)
        height = min(max(round(source.height * scale), 1), target.height)
        width = min(max(round(source.width * scale), 1), target.width)
        return cls(
            source,
            target,
            ImageSize(height, width),
            (target.height - height) // 2,
            (target.width - width) // 2,
        )

    def camera(self, camera: Intrinsics) -> Intrinsics:
        """Return the intrinsics of the target image, given those of the source image.

        Raises:
            ShapeError: `camera` is for an image of another size than the source.
        """
        if (camera.height, camera.width) != (self.source.height, self.source.width):
            raise ShapeError(
                f"camera_info is for {camera.width}x{camera.height}, the image is "
                f"{self.source.width}x{self.source.height} (width x height); publish the "
                "camera_info of this image"
            )
        resized = camera.resized(self.resized.width, self.resized.height)
        return resized.windowed(-self.left, -self.top, self.target.width, self.target.height)

    def unscaled(self) -> Letterbox:
        """Return the placement of the source as the target shows it, already resized."""
        return replace(self, source=self.resized)

    def image_to_target(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Resize (H, W, 3) uint8 RGB of source size and pad it with its mirror image.

        Raises:
            ShapeError: `rgb` is not (H, W, 3) uint8 of source size.
        """
        expected = (self.source.height, self.source.width, 3)
        if rgb.shape != expected or rgb.dtype != np.uint8:
            raise ShapeError(f"image is {rgb.shape} {rgb.dtype}; need {expected} uint8 RGB")
        inner = resize_image(rgb, self.resized.height, self.resized.width)
        if (self.resized.height, self.resized.width) == (self.target.height, self.target.width):
            return inner
        bottom = self.target.height - self.resized.height - self.top
        right = self.target.width - self.resized.width - self.left
        # A mirror image, because bars of one colour look like nothing a network was trained on:
        # with four rows of grey above and below, a small network lost a third of its accuracy.
        padded = cv2.copyMakeBorder(
            inner, self.top, bottom, self.left, right, cv2.BORDER_REFLECT_101
        )
        return np.asarray(padded, np.uint8)

    def to_source(
        self, values: npt.NDArray[Any], upsampling: Upsampling = "linear"
    ) -> npt.NDArray[Any]:
        """Cut the padding off an answer of target size and resize it to source size.

        Args:
            values: (h, w) float32 or uint8 of target size; only their grid changes.
            upsampling: `linear` is smooth; `nearest` puts no point between foreground and
                background, and mixes no classes.

        Returns:
            (H, W) of the same type.

        Raises:
            ShapeError: `values` are not of target size.
        """
        if values.shape != (self.target.height, self.target.width):
            raise ShapeError(
                f"an answer is {values.shape}; need {(self.target.height, self.target.width)}"
            )
        size = (self.source.width, self.source.height)
        method = cv2.INTER_LINEAR if upsampling == "linear" else cv2.INTER_NEAREST_EXACT
        return np.asarray(cv2.resize(self.without_padding(values), size, interpolation=method))

    def without_padding(self, target_image: Any) -> Any:
        """Return what stands in the target, of an array or a tensor (h, w, ...)."""
        rows = slice(self.top, self.top + self.resized.height)
        return target_image[rows, self.left : self.left + self.resized.width]


def resize_image(rgb: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize (H, W, 3) uint8; area average when shrinking, linear when enlarging.

    Training, node and evaluator share this function: a network scores worse when it is run with
    another filter than it was trained with.
    """
    if rgb.shape[:2] == (height, width):
        return rgb
    method = cv2.INTER_AREA if height < rgb.shape[0] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=method), np.uint8)


def image_to_tensor(rgb: npt.NDArray[np.uint8]) -> Tensor:
    """Return (H, W, 3) uint8 as (1, 3, H, W) float32 in [0, 1], channels-last in memory."""
    scaled = np.multiply(rgb, np.float32(1 / 255), dtype=np.float32)
    return torch.from_numpy(scaled).permute(2, 0, 1).unsqueeze(0)
