"""How the frames of a recording are put together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.calibration_files import read_camera
from mono_depth_ros.evaluation.rectification import read_lenses
from mono_depth_ros.rectification import Lens


@dataclass(frozen=True, slots=True)
class FrameConfig:
    """How frames are put together.

    Attributes:
        truth: "lidar" takes a point cloud, "depth" a depth image as the reference.
        image_topic: None finds it by type, as do the next two.
        camera_info_topic: the image's sibling by default.
        truth_topic: the point cloud or depth image.
        tolerance_ms: largest distance between the stamps of image and truth.
        camera_calibration: camera calibration YAML, as ROS's camera_info_manager loads it, in place
            of the recording's camera_info.
        rectified: whether the images are; False takes their lens distortion out here, K instead of
            P from camera_info being the camera then.
        camera_from_lidar: x, y, z (metres), qx, qy, qz, qw, in place of /tf_static and /tf.
        extrinsics: YAML with camera_from_lidar in place of that, see `calibration_files`.
        fixed_frame: frame that does not move, such as odom: sweeps are moved to the image's stamp
            in it, point by point where the clouds have times. Empty takes the topmost frame that
            the LiDAR moves in, if there is one; "none" takes sweeps as they are, for drivers that
            have done it already.
        odometry_topic: nav_msgs/Odometry to take poses from beside /tf; empty takes the only one of
            the recording if /tf says nothing of motion.
        sweeps: how many sweeps around an image make up its truth.
        ego_mask: picture of the image's size, as `read_ego_mask` reads it: pixels that show the
            robot itself are not scored. Of images that are rectified here, it is of the rectified.
        labels_topic: sensor_msgs/Image mono8 of class numbers, NYU's 1 to 40 or Cityscapes' train
            ids, of the stamps and the size of the images: the network's classes are scored.
        max_frames: evenly spread frames are taken when there are more; None takes all.
        accept_damaged: use what can be read of a damaged recording; False refuses it.
    """

    truth: Literal["lidar", "depth"] = "lidar"
    image_topic: str | None = None
    camera_info_topic: str | None = None
    truth_topic: str | None = None
    tolerance_ms: float = 50.0
    camera_calibration: str = ""
    rectified: bool = True
    camera_from_lidar: tuple[float, float, float, float, float, float, float] | None = None
    extrinsics: str = ""
    fixed_frame: str = ""
    odometry_topic: str = ""
    sweeps: int = 1
    ego_mask: str = ""
    labels_topic: str = ""
    max_frames: int | None = None
    accept_damaged: bool = True

    def __post_init__(self) -> None:
        if not self.tolerance_ms >= 0:
            raise ConfigError(f"tolerance_ms must be 0 or more, got {self.tolerance_ms}")
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(f"max_frames must be at least 1, got {self.max_frames}")
        if self.sweeps < 1 or (self.sweeps > 1 and self.fixed_frame == "none"):
            raise ConfigError(
                f"sweeps is {self.sweeps}; it must be 1 or more, and 1 where fixed_frame is none"
            )
        if self.extrinsics and self.camera_from_lidar is not None:
            raise ConfigError("extrinsics and camera_from_lidar say the same thing; give one")
        if self.labels_topic and not self.rectified:
            raise ConfigError("labels_topic is of rectified images; rectify both before recording")
        if self.camera_calibration and self.camera_info_topic:
            raise ConfigError(
                "camera_calibration and camera_info_topic both name the camera; give one"
            )

    @property
    def gives_extrinsics(self) -> bool:
        """Whether camera_from_lidar is set here and not looked up in the recording."""
        return self.camera_from_lidar is not None or bool(self.extrinsics)

    def lenses(self, bag: Path, camera_info_topic: str) -> dict[int, Lens]:
        """Return the lenses of the camera by stamp: the file's, or those of a recording.

        Raises:
            BagError: the recording is unreadable.
            ConfigError, CalibrationError: the file is not usable.
        """
        if self.camera_calibration:
            return {0: read_camera(self.camera_calibration, rectified=self.rectified)[1]}
        return read_lenses(bag, camera_info_topic)
