"""Pictures, depth and labels of prepared data, decoded."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.encoded_pictures import require_whole_picture
from mono_depth_ros.errors import DataError, DecodingError
from mono_depth_ros.geometry import Intrinsics
from training.manifest import DepthFile, Manifest, Record

_ADVICE = "fetch it again"


class PreparedReader:
    """Reads the files of one prepared data set.

    Args:
        manifest: where they are.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.root = manifest.root

    def image(self, record: Record) -> npt.NDArray[np.uint8]:
        """Return (H, W, 3) uint8 RGB.

        Raises:
            DataError: the picture is missing or damaged.
        """
        bgr = self._picture(record.image, cv2.IMREAD_COLOR)
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)

    def depth_m(
        self, depth: DepthFile, shape: tuple[int, int] | None = None
    ) -> npt.NDArray[np.float32]:
        """Return (H, W) float32 metres, NaN where nothing was measured.

        Args:
            depth: what to read.
            shape: (H, W) of the image that it belongs to; None does not compare, and cannot read
                a scan.

        Raises:
            DataError: the file is missing, damaged, or of another size than the image.
        """
        if depth.kind == "velodyne":
            if shape is None:
                raise DataError(f"{depth.path} is a scan; projecting it needs the image's size")
            return self._velodyne_m(depth, shape)
        code = self._picture(depth.path, cv2.IMREAD_UNCHANGED)
        if code.dtype != np.uint16 or code.ndim != 2 or shape not in (None, code.shape):
            raise DataError(
                f"{self.root / depth.path} is {code.shape} {code.dtype}; depth must be uint16 of "
                f"the image's size {shape or '(H, W)'}"
            )
        return decode_depth(code, depth)

    def labels(self, record: Record) -> npt.NDArray[np.uint8]:
        """Return (H, W) uint8 as stored.

        Raises:
            DataError: the picture is missing, damaged or not 8-bit grey.
        """
        labels = self._picture(record.labels, cv2.IMREAD_UNCHANGED)
        if labels.dtype != np.uint8 or labels.ndim != 2:
            raise DataError(
                f"{self.root / record.labels} is {labels.shape} {labels.dtype}; labels must be "
                "(H, W) uint8"
            )
        return np.asarray(labels, np.uint8)

    def _velodyne_m(self, depth: DepthFile, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        # Only evaluation needs scans; training does not pay for the import.
        from training.datasets.velodyne import read_velodyne_depth

        return read_velodyne_depth(self.root / depth.path, self.root / depth.calibration, shape)

    def _picture(self, path: str, flags: int) -> npt.NDArray:
        return read_picture(self.root / path, flags)


def read_picture(path: Path, flags: int) -> npt.NDArray:
    """Read and decode a picture.

    Raises:
        DataError: it is missing or damaged.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; {_ADVICE}, then run training.prepare again") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return decode_picture(data, str(path), flags)


def decode_picture(data: bytes, text: str, flags: int) -> npt.NDArray:
    """Decode a JPEG or PNG, all of it: OpenCV fills up a truncated one with grey.

    Args:
        data: the file's bytes.
        text: what the file is, for the message.
        flags: of `cv2.imdecode`.

    Raises:
        DataError: it is empty, truncated, damaged, or neither JPEG nor PNG.
    """
    if not data:
        raise DataError(f"{text} is empty (0 bytes); {_ADVICE}")
    try:
        require_whole_picture(data, text, _ADVICE)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except DecodingError as error:
        raise DataError(str(error)) from error
    except cv2.error:  # a header that asks for more pixels than OpenCV allows
        picture = None
    if picture is None:
        raise DataError(f"{text} cannot be decoded; {_ADVICE}")
    return picture


def decode_depth(code: npt.NDArray[np.uint16], depth: DepthFile) -> npt.NDArray[np.float32]:
    """Return metres of a 16-bit code, NaN where the code is 0; see `DepthFile.kind`.

    Sources: KITTI depth devkit (code / 256), BTS (code / 1000 for NYU), KITTI stereo 2015
    (disparity = code / 256), Cityscapes (disparity = (code - 1) / 256; code 1 is infinitely far,
    which is unknown here).
    """
    code_f = code.astype(np.float32)
    with np.errstate(divide="ignore"):
        if depth.kind == "linear":
            depth_m = code_f / np.float32(depth.scale)
        elif depth.kind == "stereo2015":
            depth_m = np.float32(depth.scale * 256.0) / code_f
        else:
            depth_m = np.float32(depth.scale * 256.0) / (code_f - 1.0)
    depth_m[(code == 0) | ~np.isfinite(depth_m)] = np.nan
    return np.asarray(depth_m, np.float32)


def intrinsics_of(record: Record, shape: tuple[int, int]) -> Intrinsics:
    """Return the intrinsics of a record's picture of (H, W) pixels."""
    return Intrinsics(*record.intrinsics, width=shape[1], height=shape[0])
