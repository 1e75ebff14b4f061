"""Which pixels of a camera's image always show the robot itself."""

from __future__ import annotations

import os.path
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ConfigError, ShapeError


def read_ego_mask(path: str | Path) -> npt.NDArray[np.bool_]:
    """Read a picture of the camera image's size: black where the world is, anything else the robot.

    Returns:
        (H, W) bool, True on the robot.

    Raises:
        ConfigError: the file is missing, or OpenCV reads no picture from it.
    """
    if not os.path.isfile(path):  # unlike Path.is_file, also for a name that no file can have
        raise ConfigError(f"there is no ego mask {path}; give a PNG of the camera image's size")
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise ConfigError(f"the ego mask {path} is no picture; give a PNG, black where no robot is")
    # A fourth channel says how opaque a pixel is, not what it shows.
    colours = picture if picture.ndim == 2 else picture[..., :3].any(axis=-1)
    return np.asarray(colours, bool)


def require_mask_size(mask: npt.NDArray[np.bool_], height: int, width: int) -> None:
    """Check that a mask is for images of this size.

    Raises:
        ShapeError: it is not.
    """
    if mask.shape != (height, width):
        raise ShapeError(
            f"the ego mask has {mask.shape[0]}x{mask.shape[1]} pixels, the image {height}x{width} "
            "(height x width); draw it on an image of this camera"
        )
