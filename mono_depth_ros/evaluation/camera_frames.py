"""The frames of a recording's camera alone, for what needs neither LiDAR nor depth image."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mono_depth_ros.bags.messages import stamp_ns as stamp_of
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.topics import COMPRESSED_IMAGE, find_camera
from mono_depth_ros.decoding import (
    camera_info_to_intrinsics,
    compressed_image_to_rgb,
    image_to_rgb,
)
from mono_depth_ros.errors import BagError, CalibrationError, ConfigError, MonoDepthError
from mono_depth_ros.evaluation.calibration_files import read_camera
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.headers import FRAME_ERRORS
from mono_depth_ros.evaluation.rectification import Rectifier
from mono_depth_ros.geometry import Intrinsics

logger = logging.getLogger(__name__)


class CameraRecording:
    """The images of a bag with their cameras.

    Args:
        bag: anything `BagReader` opens.
        config: topics, rectified and max_frames; what concerns the truth is not used.

    Attributes:
        count: images that `frames` goes through.
        left_out: how many of them could not be used so far.

    Raises:
        BagError: the bag is unreadable or lacks images or camera_info, or a topic is ambiguous.
    """

    def __init__(self, bag: str | Path, config: FrameConfig) -> None:
        self.path, self._config = Path(bag), config
        self.left_out = 0
        with BagReader(self.path) as reader:
            self._image, self._info = find_camera(
                reader,
                config.image_topic,
                config.camera_info_topic,
                camera_file=config.camera_calibration,
            )
            self._compressed = reader.topics[self._image] == COMPRESSED_IMAGE
            self._cameras = self._read_cameras(reader)
            self._images = reader.counts[self._image]
        if not self._cameras or not self._images:
            empty = self._image if self._cameras else self._info
            raise BagError(f"{self.path} holds no message on {empty}")
        self._stamps_ns = np.array(sorted(self._cameras), np.int64)
        self._rectifier = None
        if not config.rectified:
            self._rectifier = Rectifier(config.lenses(self.path, self._info))
        self.count = min(self._images, config.max_frames or self._images)

    def frames(self) -> Iterator[Frame]:
        """Yield frames without a truth, in recorded order, evenly spread if not all are wanted.

        A frame whose image or camera_info cannot be used is left out, logged and counted.

        Raises:
            BagError: the recording is damaged.
        """
        wanted = set(np.linspace(0, self._images - 1, self.count).round().astype(int).tolist())
        with BagReader(self.path) as reader:
            for position, record in enumerate(reader.raw_messages([self._image])):
                if position not in wanted:
                    continue
                topic, msgtype, _, cdr = record
                try:
                    frame = self._frame(reader.decode(topic, msgtype, cdr))
                except (BagError, *FRAME_ERRORS) as error:
                    self.leave_out(f"image {position}", error)
                else:
                    yield frame

    def frame(self, position: int) -> Frame:
        """Return one frame, counted from 0 in recorded order.

        Raises:
            ConfigError: there is no such frame.
            BagError: it cannot be read; the message says why.
        """
        if not 0 <= position < self._images:
            raise ConfigError(
                f"frame {position} does not exist; {self.path} holds images 0 to "
                f"{self._images - 1} on {self._image}"
            )
        with BagReader(self.path) as reader:
            topic, msgtype, _, cdr = next(
                islice(reader.raw_messages([self._image]), position, None)
            )
            try:
                return self._frame(reader.decode(topic, msgtype, cdr))
            except FRAME_ERRORS as error:
                raise BagError(f"frame {position} of {self.path}: {error}") from error

    def rectified_pixel(self, frame: Frame, place_uv: tuple[int, int]) -> tuple[int, int]:
        """Return the pixel (column, row) of a frame that shows one of the recorded image.

        Raises:
            CalibrationError: none does.
        """
        if self._rectifier is None:
            return place_uv
        return self._rectifier.pixel(place_uv, frame.camera, frame.stamp_ns)

    def leave_out(self, what: str, error: MonoDepthError | str) -> None:
        """Count a frame as left out, and say why."""
        self.left_out += 1
        logger.warning("%s is left out: %s", what, error)

    def _read_cameras(self, reader: BagReader) -> dict[int, Intrinsics | CalibrationError]:
        """Return the cameras by stamp, or why a camera_info holds none; that of a file has 0."""
        config, cameras = self._config, dict[int, Intrinsics | CalibrationError]()
        if config.camera_calibration:
            return {0: read_camera(config.camera_calibration, rectified=config.rectified)[0]}
        for _, _, info in reader.messages([self._info]):
            try:
                camera = camera_info_to_intrinsics(info, rectified=config.rectified)
                cameras[stamp_of(info.header)] = camera
            except CalibrationError as error:
                cameras[stamp_of(info.header)] = error
        return cameras

    def _frame(self, image: Any) -> Frame:
        stamp_ns = stamp_of(image.header)
        rgb = compressed_image_to_rgb(image) if self._compressed else image_to_rgb(image)
        camera = self._camera_at(stamp_ns)
        if rgb.shape[:2] != (camera.height, camera.width):
            raise CalibrationError(
                f"it is {rgb.shape[1]}x{rgb.shape[0]}, its camera_info for "
                f"{camera.width}x{camera.height} (width x height)"
            )
        if self._rectifier is None:
            return Frame(stamp_ns, stamp_ns, rgb, camera)
        seen = self._rectifier.seen(camera, stamp_ns)
        rgb = self._rectifier.image(rgb, camera, stamp_ns)
        return Frame(stamp_ns, stamp_ns, rgb, camera, seen=seen)

    def _camera_at(self, stamp_ns: int) -> Intrinsics:
        nearest = int(self._stamps_ns[np.abs(self._stamps_ns - stamp_ns).argmin()])
        camera = self._cameras[nearest]
        if isinstance(camera, CalibrationError):
            raise camera
        return camera
