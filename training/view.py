"""What part of a full frame a network sees, at which size, and the way back for its depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.evaluation.protocols import kb_window
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.preprocessing import resize_image

Window = Literal["none", "kb", "acan_kitti"]

# top, bottom, left, right of ACAN's code, ends exclusive.
_ACAN_KITTI = (130, 370, 10, 1210)


@dataclass(frozen=True, slots=True)
class ViewConfig:
    """What evaluation and validation give the network; the node letterboxes instead.

    Attributes:
        crop: none; kb, the bottom-centre 352x1216 of KITTI (BTS); acan_kitti, rows 130 to 369 and
            columns 10 to 1209 (ACAN's code).
        size: what the crop is resized to; null keeps its size.
    """

    crop: Window = "none"
    size: ImageSize | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A view of frames of one size.

    Attributes:
        source: size of the full frame.
        window: (top, bottom, left, right) of the crop, ends exclusive.
        size: of the image that the network gets.
    """

    source: ImageSize
    window: tuple[int, int, int, int]
    size: ImageSize

    @classmethod
    def fit(cls, config: ViewConfig, source: ImageSize) -> View:
        """Place the view in a frame.

        Raises:
            ShapeError: the frame is smaller than the crop.
        """
        top, bottom, left, right = crop_window(config.crop, source.height, source.width)
        size = config.size or ImageSize(bottom - top, right - left)
        return cls(source, (top, bottom, left, right), size)

    def image(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Cut (H, W, 3) uint8 and resize it to (h, w, 3)."""
        return resize_image(self.cut(rgb), self.size.height, self.size.width)

    def nearest(self, values: npt.NDArray) -> npt.NDArray:
        """Cut depth or labels (H, W) and take the nearest pixels: mixed ones are wrong ones."""
        size = (self.size.width, self.size.height)
        cut = np.ascontiguousarray(self.cut(values))
        if cut.shape == (self.size.height, self.size.width):
            return cut
        return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_NEAREST_EXACT))

    def camera(self, camera: Intrinsics) -> Intrinsics:
        """Return the intrinsics of the view, given those of the full frame."""
        top, bottom, left, right = self.window
        cut = camera.windowed(left, top, right - left, bottom - top)
        return cut.resized(self.size.width, self.size.height)

    def depth_to_source(self, depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Enlarge (h, w) linearly to the crop and put it into a full frame (H, W), else NaN.

        Raises:
            ShapeError: `depth_m` has another size than the view.
        """
        if depth_m.shape != (self.size.height, self.size.width):
            raise ShapeError(f"depth is {depth_m.shape}, the view {self.size}")
        top, bottom, left, right = self.window
        full = np.full((self.source.height, self.source.width), np.nan, np.float32)
        size = (right - left, bottom - top)
        full[top:bottom, left:right] = cv2.resize(depth_m, size, interpolation=cv2.INTER_LINEAR)
        return full

    def cut(self, values: npt.NDArray) -> npt.NDArray:
        """Return the window of (H, W, ...)."""
        top, bottom, left, right = self.window
        return values[top:bottom, left:right]


def crop_window(crop: Window, height: int, width: int) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of a named crop, ends exclusive.

    Raises:
        ShapeError: the image is smaller than the crop.
    """
    if crop == "kb":
        return kb_window(height, width)
    if crop == "acan_kitti":
        if height < _ACAN_KITTI[1] or width < _ACAN_KITTI[3]:
            raise ShapeError(f"image is {height}x{width}, ACAN's KITTI crop needs 370x1210")
        return _ACAN_KITTI
    return 0, height, 0, width
