"""What a camera_info makes of its images: the picture the network sees and what describes it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from mono_depth_ros.decoding import camera_info_to_intrinsics
from mono_depth_ros.errors import CalibrationError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.masks import resize_mask
from mono_depth_ros.rectification import ImageRectifier, Rectification, read_rectification
from mono_depth_ros.ros.encoding import camera_info_of_depth

_RECTIFIED_NAMES = {"rect", "rectified"}
# A camera_info older than this many is of no image that the newest-frame worker still holds.
_REMEMBERED_INFOS = 8


class CameraView:
    """The pinhole camera that a camera_info's images come from or are turned into.

    Args:
        info: of the images.
        rectified: the images are rectified; False takes out here what K, D, R and P say.
        device: where the network runs, a torch device or its name.

    Attributes:
        camera: intrinsics of the pictures, pixels.
        distortion: name of the distortion that is taken out, "" when none is.

    Raises:
        CalibrationError: the camera_info is impossible, see `read_rectification`.
    """

    def __init__(self, info: CameraInfo, *, rectified: bool, device: Any = "cpu") -> None:
        self._info, self._rectified, self._device = info, rectified, device
        self._what: Rectification | None = None
        self._rectifier: ImageRectifier | None = None
        self._unseen: npt.NDArray[np.bool_] | None = None
        self._unseen_at: dict[Any, Any] = {}
        self.distortion = ""
        if rectified:
            self.camera = self._recorded = camera_info_to_intrinsics(info)
            return
        what = read_rectification(info)
        self.camera, self._recorded = what.rectified, what.raw
        if not what.moves_nothing:
            self._what, self.distortion = what, what.lens[0]

    def picture(self, rgb: Any) -> Any:
        """Return an image (H, W, 3) uint8, an array or a tensor on `device`, as `camera` sees it.

        Raises:
            CalibrationError: the image has another size than its camera_info says.
        """
        height, width = rgb.shape[:2]
        if (height, width) != (self._recorded.height, self._recorded.width):
            raise CalibrationError(
                f"camera_info is for {self._recorded.width}x{self._recorded.height}, the image is "
                f"{width}x{height} (width x height); publish the camera_info of this image, with "
                "binning and roi where the driver shrinks or cuts it"
            )
        if self._what is None:
            return rgb
        if self._rectifier is None:
            # Not before an image had this size: a broken camera_info may claim any.
            self._rectifier = ImageRectifier(self._what, self._device)
            self._unseen = None if self._rectifier.seen.all() else ~self._rectifier.seen
        return self._rectifier.image(rgb)

    def hide_unseen(self, depth_m: Any) -> None:
        """Set depth of the last picture, of any size, to NaN, in place, where nothing was seen.

        Args:
            depth_m: (h, w) float32, an array or a tensor.
        """
        if self._unseen is None:
            return
        key = (type(depth_m), tuple(depth_m.shape))
        if key not in self._unseen_at:
            mask: Any = resize_mask(self._unseen, *depth_m.shape)
            if not isinstance(depth_m, np.ndarray):
                import torch

                mask = torch.from_numpy(mask).to(depth_m.device)
            self._unseen_at[key] = mask
        depth_m[self._unseen_at[key]] = np.nan

    def camera_info(self, header: Header, resized: Intrinsics | None = None) -> CameraInfo:
        """Return what describes the picture and its depth, with the header of their image.

        Of images that came rectified that is their own camera_info, whose P holds. Of all others,
        and of resized ones, it is the pinhole camera, K = P without distortion, binning and window;
        P keeps the baseline of a stereo pair.

        Args:
            header: of the image.
            resized: `camera` at the size that is published; None where it is the picture's own.
        """
        camera = resized or self.camera
        if self._rectified and camera == self.camera:
            return camera_info_of_depth(self._info, header)
        base_x_m, base_y_m = _baseline_m(self._info.p)
        k = camera.matrix
        projection = np.column_stack((k, (base_x_m * camera.fx, base_y_m * camera.fy, 0.0)))
        return CameraInfo(
            header=header, height=camera.height, width=camera.width, distortion_model="plumb_bob",
            d=[0.0] * 5, k=k.ravel(), r=np.eye(3).ravel(), p=projection.ravel(),
        )  # fmt: skip


class CameraViews:
    """The view of each image, kept while the camera_info stays the same.

    Used by two threads: one calls `add`, another `of`.

    Args:
        rectified: all images are rectified; False: those whose topic's name says so.
        device: where the network runs; may change between two images.
        log: told what is taken out of the images when that changes.
    """

    def __init__(self, rectified: bool, device: Any, log: Callable[[str], Any]) -> None:
        self._rectified, self.device, self._log = rectified, device, log
        self._infos: deque[CameraInfo] = deque(maxlen=_REMEMBERED_INFOS)
        self._key: Any = None
        self._view: CameraView | None = None
        self._distortion = ""

    def add(self, info: CameraInfo) -> None:
        """Remember a camera_info."""
        self._infos.append(info)

    def of(self, header: Header, topic: str) -> CameraView:
        """Return the view of an image: of the camera_info with its stamp, else of the newest.

        Args:
            header: of the image.
            topic: resolved name of the image's topic.

        Raises:
            CalibrationError: that camera_info is impossible.
        """
        infos = list(self._infos)
        info = next((i for i in reversed(infos) if i.header.stamp == header.stamp), infos[-1])
        key = (topic, self.device, _calibration(info))
        if self._view is None or key != self._key:
            rectified = self._rectified or is_called_rectified(topic)
            self._view = CameraView(info, rectified=rectified, device=self.device)
            self._key = key
            self._tell(topic)
        return self._view

    def _tell(self, topic: str) -> None:
        distortion = "" if self._view is None else self._view.distortion
        if distortion != self._distortion:
            self._distortion = distortion
            self._log(
                f"images of {topic}: taking out {distortion or 'no distortion'}, as K, D, R and P "
                "of camera_info say; set the parameter rectified to true if they are rectified"
            )


def is_called_rectified(topic: str) -> bool:
    """Whether a topic's name says that its images are rectified: image_rect, rect/image, ..."""
    return not _RECTIFIED_NAMES.isdisjoint(re.split("[/_]", topic.lower()))


def has_latched_publisher(node: Node, topic: str) -> bool:
    """Whether someone publishes the topic for late subscribers (transient local)."""
    return any(
        end.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        for end in node.get_publishers_info_by_topic(topic)
    )


def _baseline_m(p: Sequence[float]) -> tuple[float, float]:
    """Return P's fourth column over its focal lengths; zeros where P is empty or impossible."""
    usable = np.isfinite(p).all() and p[0] > 0 and p[5] > 0
    return (p[3] / p[0], p[7] / p[5]) if usable else (0.0, 0.0)


def _calibration(info: CameraInfo) -> tuple[Any, ...]:
    """Return everything but the header, comparable and exact."""
    arrays: Sequence[Any] = (info.k, info.d, info.r, info.p)
    roi = info.roi
    return (
        info.width, info.height, info.distortion_model, info.binning_x, info.binning_y,
        roi.x_offset, roi.y_offset, roi.width, roi.height,
        *(np.asarray(values, np.float64).tobytes() for values in arrays),
    )  # fmt: skip
