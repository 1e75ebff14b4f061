"""Frames from the messages of live streams, as `Recording` makes them from a bag's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.topics import COMPRESSED_IMAGE
from mono_depth_ros.decoding import (
    camera_info_to_intrinsics,
    compressed_image_to_rgb,
    image_to_depth,
    image_to_rgb,
)
from mono_depth_ros.decoding_times import point_cloud_to_xyz_and_time
from mono_depth_ros.ego_mask import read_ego_mask, require_mask_size
from mono_depth_ros.errors import BagError, CalibrationError, MonoDepthError
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.live_rig import RecentPoses
from mono_depth_ros.evaluation.rig import Poses, Rig, make_rig
from mono_depth_ros.evaluation.streaming import Match
from mono_depth_ros.evaluation.sweeps import Sweep
from mono_depth_ros.geometry import Intrinsics

_MOST_CAMERAS = 1000


@dataclass(frozen=True, slots=True)
class Packet:
    """A message that is decoded only if it is needed.

    Attributes:
        frame_id: of its header.
        msgtype: such as "sensor_msgs/msg/Image".
        cdr: its bytes.
    """

    frame_id: str
    msgtype: str
    cdr: bytes


class RecentCameras:
    """The intrinsics of the latest camera_info messages, by stamp."""

    def __init__(self) -> None:
        self.frame_id = ""
        self._cameras: dict[int, Intrinsics | MonoDepthError] = {}

    def add(self, stamp_ns: int, info: Any) -> None:
        """Add a sensor_msgs/CameraInfo; one that is not usable costs only its own frames."""
        self.frame_id = str(info.header.frame_id)
        try:
            self._cameras[stamp_ns] = camera_info_to_intrinsics(info)
        except CalibrationError as error:
            self._cameras[stamp_ns] = error
        if len(self._cameras) > _MOST_CAMERAS:
            del self._cameras[next(iter(self._cameras))]

    def at(self, stamp_ns: int) -> Intrinsics | MonoDepthError:
        """Return the camera of a stamp, else of the nearest one, or why there is none."""
        if not self._cameras:
            return CalibrationError("no camera_info has come; publish it beside the image")
        nearest_ns = min(self._cameras, key=lambda known_ns: abs(known_ns - stamp_ns))
        return self._cameras[nearest_ns]


class FrameBuilder:
    """Decodes matched messages into what is scored.

    Args:
        config: transform and fixed frame, if they are set.
        poses: of a recording, or the latest ones; the latter may grow in another thread that holds
            `lock` meanwhile.
        decode: returns the message of a packet; raises DecodingError.

    Attributes:
        lock: guards the poses.
    """

    def __init__(
        self, config: FrameConfig, poses: Poses | RecentPoses, decode: Callable[[Packet], Any]
    ) -> None:
        self._config, self._poses, self._decode = config, poses, decode
        self._rig: Rig | None = None
        self._ego = read_ego_mask(config.ego_mask) if config.ego_mask else None
        self.lock = threading.Lock()

    @property
    def fixed_frame(self) -> str:
        """In which the motion of sweeps is compensated; empty where it is not."""
        return "" if self._rig is None else self._rig.fixed_frame

    def require_rig(self, match: Match[Packet], camera_frame: str) -> None:
        """Find out how camera and LiDAR are connected, once if the poses are known in advance.

        Raises:
            BagError: they are not connected.
        """
        if self._rig is not None and isinstance(self._poses, Poses):
            return
        with self.lock:
            poses = self._poses if isinstance(self._poses, Poses) else self._poses.poses
            camera = match.image.frame_id or camera_frame
            lidar = match.truth.frame_id
            self._rig = make_rig(poses, self._config, camera, lidar, match.stamp_ns)

    def frame(self, match: Match[Packet], camera: Intrinsics) -> Frame:
        """Decode image and truth.

        Raises:
            DecodingError: one of them cannot be decoded.
            CalibrationError: the image is not for this camera, or a pose is not known.
            ShapeError: the ego mask has another size.
        """
        assert self._rig is not None, "call require_rig first"
        rgb = self._rgb(match.image, camera)
        points_m, times_ns = point_cloud_to_xyz_and_time(self._decode(match.truth))
        sweep = Sweep(match.truth_stamp_ns, points_m, times_ns)
        try:
            with self.lock:
                points_m = self._rig.cloud([sweep], match.stamp_ns)
                camera_from_lidar = self._rig.camera_from_lidar(match.stamp_ns)
                fixed_from_camera = self._rig.fixed_from_camera(match.stamp_ns)
        except BagError as error:
            raise CalibrationError(f"its sweep has no pose: {error}") from error
        if self._ego is not None:
            require_mask_size(self._ego, camera.height, camera.width)
        return Frame(
            match.stamp_ns,
            match.truth_stamp_ns,
            rgb,
            camera,
            points_m,
            camera_from_lidar,
            seen=None if self._ego is None else ~self._ego,
            fixed_from_camera=fixed_from_camera,
        )

    def depth(self, match: Match[Packet]) -> npt.NDArray[np.float32] | None:
        """Decode the depth, (H, W) metres; None where none came.

        Raises:
            DecodingError: it cannot be decoded.
        """
        return None if match.depth is None else image_to_depth(self._decode(match.depth))

    def _rgb(self, packet: Packet, camera: Intrinsics) -> npt.NDArray[np.uint8]:
        image = self._decode(packet)
        compressed = packet.msgtype == COMPRESSED_IMAGE
        rgb = compressed_image_to_rgb(image) if compressed else image_to_rgb(image)
        if rgb.shape[:2] != (camera.height, camera.width):
            raise CalibrationError(
                f"the image is {rgb.shape[0]}x{rgb.shape[1]}, its camera_info for "
                f"{camera.height}x{camera.width}; publish the camera_info of this image"
            )
        return rgb
