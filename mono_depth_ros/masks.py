"""Masks of images: where a camera sees the robot that carries it, and masks at another size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.ego_mask import read_ego_mask, require_mask_size
from mono_depth_ros.errors import ConfigError

# OpenCV fills polygons in 16.16 fixed-point numbers.
_FARTHEST_CORNER_PX = 16384


class EgoMask:
    """Where the robot is in its camera's images.

    Args:
        text: path of a picture of the image's size that is not 0 where the robot is; or the corners
            of a polygon, `u,v u,v u,v` in whole pixels of the image, which belong to the robot too.

    Raises:
        ConfigError: no such file, not a picture, or not a polygon.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        path = Path(text).expanduser()
        self._is_polygon = "," in text and not path.suffix
        self._shape: npt.NDArray = _read_corners(text) if self._is_polygon else read_ego_mask(path)

    def of_image(self, height: int, width: int) -> npt.NDArray[np.bool_]:
        """Return (height, width) bool, True where the robot is.

        Raises:
            ShapeError: the picture has another size.
        """
        if self._is_polygon:
            filled = np.zeros((height, width), np.uint8)
            cv2.fillPoly(filled, [self._shape], 1)
            return filled.astype(bool)
        require_mask_size(self._shape, height, width)
        return self._shape


def resize_mask(mask: npt.NDArray[np.bool_], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return a mask (H, W) at another size, True where any part of a pixel is True."""
    if mask.shape == (height, width):
        return mask
    covered = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(covered > 0.0)


def _read_corners(text: str) -> npt.NDArray[np.int32]:
    try:
        corners = [tuple(int(number) for number in corner.split(",")) for corner in text.split()]
    except ValueError:
        corners = []
    if len(corners) < 3 or any(len(corner) != 2 for corner in corners):
        raise ConfigError(
            f"ego mask {text!r} is neither a file nor three or more corners 'u,v u,v u,v' in whole "
            "pixels"
        )
    if max(abs(number) for corner in corners for number in corner) > _FARTHEST_CORNER_PX:
        raise ConfigError(f"ego mask {text!r} has a corner beyond {_FARTHEST_CORNER_PX} pixels")
    return np.array(corners, np.int32)
