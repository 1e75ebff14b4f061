"""Lens distortion taken out of recorded images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.messages import stamp_ns as stamp_of
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.errors import BagError, CalibrationError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.rectification import Lens, Rectification, lens_of, require_known, sampling_map


class Rectifier:
    """Turns images as the camera took them into those of a pinhole camera with the same K.

    The camera keeps its orientation, so the recorded transforms stay true; the rotation R of a
    stereo pair is not applied.

    Args:
        lenses: stamp of a camera_info to its lens, at least one.
    """

    def __init__(self, lenses: Mapping[int, Lens]) -> None:
        self._lenses = lenses
        self._maps: dict[tuple[Lens, Intrinsics], tuple[npt.NDArray, npt.NDArray]] = {}
        self._stamps_ns = np.array(sorted(lenses), np.int64)

    def image(
        self, rgb: npt.NDArray[np.uint8], camera: Intrinsics, stamp_ns: int
    ) -> npt.NDArray[np.uint8]:
        """Return an image (H, W, 3) uint8 rectified, black where the camera saw nothing.

        Args:
            rgb: as the camera took it.
            camera: K of that image.
            stamp_ns: of the image; the camera_info nearest to it counts.

        Raises:
            CalibrationError: the distortion model is unknown.
        """
        map_u, map_v = self._maps_of(camera, stamp_ns)
        return np.asarray(cv2.remap(rgb, map_u, map_v, cv2.INTER_LINEAR), np.uint8)

    def depth(
        self, depth_m: npt.NDArray[np.float32], camera: Intrinsics, stamp_ns: int
    ) -> npt.NDArray[np.float32]:
        """Return depth (H, W) metres rectified: the nearest pixel's, NaN where there is none."""
        maps = self._maps_of(camera, stamp_ns)
        straight = cv2.remap(depth_m, *maps, cv2.INTER_NEAREST, borderValue=math.nan)
        return np.asarray(straight, np.float32)

    def seen(self, camera: Intrinsics, stamp_ns: int) -> npt.NDArray[np.bool_]:
        """Return (H, W), which pixels of the rectified image the camera saw."""
        map_u, map_v = self._maps_of(camera, stamp_ns)
        inside = (map_u >= 0) & (map_v >= 0)
        return inside & (map_u <= camera.width - 1) & (map_v <= camera.height - 1)

    def pixel(
        self, place_uv: tuple[int, int], camera: Intrinsics, stamp_ns: int
    ) -> tuple[int, int]:
        """Return the rectified image's pixel (column, row) that shows one of the recorded image.

        Raises:
            CalibrationError: none does; or the distortion model is unknown.
        """
        map_u, map_v = self._maps_of(camera, stamp_ns)
        away_px = np.hypot(map_u - place_uv[0], map_v - place_uv[1])
        row, column = np.unravel_index(int(np.argmin(away_px)), away_px.shape)
        if away_px[row, column] > 1.0:
            raise CalibrationError(
                f"pixel {place_uv[0]} {place_uv[1]} is not in the rectified image; choose one "
                "nearer to the centre"
            )
        return int(column), int(row)

    def _maps_of(
        self, camera: Intrinsics, stamp_ns: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        nearest_ns = int(self._stamps_ns[np.abs(self._stamps_ns - stamp_ns).argmin()])
        key = self._lenses[nearest_ns], camera
        if key not in self._maps:
            self._maps[key] = distortion_maps(*key)
        return self._maps[key]


def read_lenses(bag: str | Path, camera_info_topic: str) -> dict[int, Lens]:
    """Return the lenses of a recording's camera_info by their stamps.

    Raises:
        BagError: the recording is unreadable.
    """
    lenses: dict[int, Lens] = {}
    try:
        with BagReader(bag) as reader:
            for topic, msgtype, _, cdr in reader.raw_messages([camera_info_topic]):
                # A message that cannot be decoded is refused with its frame.
                with suppress(BagError):
                    info = reader.decode(topic, msgtype, cdr)
                    lenses[stamp_of(info.header)] = lens_of(info)
    except BagError:  # damage, which the frames' reader has reported
        if not lenses:
            raise
    return lenses


def distortion_maps(
    lens: Lens, camera: Intrinsics
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return where each pixel of the pinhole image lies in the distorted one.

    Args:
        lens: model and coefficients.
        camera: K of the image, which the pinhole image keeps.

    Returns:
        u and v, (H, W) float32 pixels each, outside the image where the lens shows nothing.

    Raises:
        CalibrationError: see `require_known`.
    """
    rectification = Rectification(lens, camera, camera)
    if rectification.moves_nothing:
        require_known(lens)
        v, u = np.indices((camera.height, camera.width), np.float32)
        return u, v
    u, v = (
        np.nan_to_num(axis, nan=-9.0).astype(np.float32) for axis in sampling_map(rectification)
    )
    return u, v
