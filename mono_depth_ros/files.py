"""Pictures and depth as files, written under a temporary name and renamed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.atomic import replacing
from mono_depth_ros.encoded_pictures import JPEG_START, PNG_START, require_whole_picture
from mono_depth_ros.errors import DataError
from mono_depth_ros.millimetres import LARGEST_MM, depth_to_millimetres

logger = logging.getLogger(__name__)


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as (H, W, 3) uint8 RGB, turned upright by its EXIF tag, 16 bit cut to 8.

    Raises:
        DataError: the file is missing or is no picture.
        DecodingError: it is a truncated JPEG or PNG.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"no picture at {path}: {error.strerror}") from error
    if data.startswith((JPEG_START, PNG_START)):
        require_whole_picture(data, f"picture {path}", "copy it again")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        bgr = None
    if bgr is None:
        raise DataError(f"{path} is no picture that OpenCV reads; convert it to PNG or JPEG")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def write_rgb(path: Path, rgb: npt.NDArray[np.uint8]) -> None:
    """Write (H, W, 3) uint8 RGB in the format of the path's suffix."""
    write_picture(path, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def write_depth_png(path: Path, depth_m: npt.NDArray[np.float32]) -> None:
    """Write depth as a 16-bit PNG of millimetres (REP 118).

    0 is unknown; so is what 16 bits cannot hold, from 65.536 m on, which is warned of.
    """
    if np.any(np.rint(depth_m * np.float32(1000.0)) > LARGEST_MM):
        logger.warning("%s: depth beyond 65.535 m is stored as unknown; use .npy for it", path)
    write_picture(path, depth_to_millimetres(depth_m))


def write_depth_npy(path: Path, depth_m: npt.NDArray[np.float32]) -> None:
    """Write depth as a NumPy file of float32 metres, NaN = unknown."""
    with replacing(path) as temporary:
        np.save(temporary, depth_m)


def write_picture(path: Path, pixels: npt.NDArray, options: Sequence[int] = ()) -> None:
    """Encode pixels as OpenCV has them, BGR or one channel, by the path's suffix.

    Args:
        path: file to write.
        pixels: what cv2.imencode takes.
        options: its parameters, such as the JPEG quality.

    Raises:
        DataError: OpenCV cannot write this format.
    """
    encoded, data = cv2.imencode(path.suffix, pixels, list(options))
    if not encoded:
        raise DataError(f"OpenCV cannot write {path.suffix} files; use .png or .jpg")
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())
