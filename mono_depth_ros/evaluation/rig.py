"""Where camera and LiDAR are, at every moment of a recording, and sweeps seen from there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import BagError, CalibrationError, MonoDepthError
from mono_depth_ros.evaluation.calibration_files import read_extrinsics
from mono_depth_ros.evaluation.sweeps import Sweep, accumulate
from mono_depth_ros.evaluation.transforms import Transforms, odometry_pose, transform_pose
from mono_depth_ros.geometry import invert_transform, transform_from_quaternion

if TYPE_CHECKING:
    from mono_depth_ros.evaluation.frame_config import FrameConfig

logger = logging.getLogger(__name__)

Matrix = npt.NDArray[np.float64]
# A pose so old still counts; recorders start and stop topics one after the other.
_TOLERANCE_NS = 100_000_000


class Poses:
    """Collects the transforms and odometry of a recording.

    A message that holds no usable transform is logged and left out.
    """

    def __init__(self) -> None:
        self.transforms = Transforms()
        self._odometry: list[tuple[int, str, str, Matrix]] = []
        self._warned: set[str] = set()

    def add_transforms(self, message: Any, *, static: bool) -> None:
        """Add a tf2_msgs/TFMessage of /tf_static or /tf."""
        for stamped in message.transforms:
            try:
                stamp_ns, parent, child, matrix = transform_pose(stamped)
                if static:
                    self.transforms.add_static(parent, child, matrix)
                else:
                    self.transforms.add(stamp_ns, parent, child, matrix)
            except (BagError, CalibrationError) as error:
                self.leave_out(error)

    def add_odometry(self, message: Any) -> None:
        """Keep a nav_msgs/Odometry for `use_odometry`."""
        try:
            self._odometry.append(odometry_pose(message))
        except CalibrationError as error:
            self.leave_out(error)

    def use_odometry(self) -> None:
        """Let the odometry say where the robot is; beside /tf it would say so twice."""
        for pose in self._odometry:
            try:
                self.transforms.add(*pose)
            except (BagError, CalibrationError) as error:
                self.leave_out(error)

    def leave_out(self, error: MonoDepthError) -> None:
        """Log once why a transform is not used."""
        if str(error) not in self._warned:
            self._warned.add(str(error))
            logger.warning("a transform is left out: %s", error)


class Rig:
    """A camera and a LiDAR on a robot that moves.

    Args:
        transforms: of the recording.
        camera_frame: optical frame of the camera.
        lidar_frame: frame of the clouds.
        given: camera_from_lidar (4, 4) in place of what the recording says.
        fixed_frame: frame that does not move. Empty for the topmost frame above the LiDAR if it
            moves in it; "none" to take sweeps as they are.
        stamp_ns: at which all is looked up once, so that what is missing is said at once.

    Attributes:
        fixed_frame: in which motion is compensated; empty where it is not.

    Raises:
        BagError: camera and LiDAR are not connected, or the fixed frame and the LiDAR are not.
    """

    def __init__(
        self,
        transforms: Transforms,
        camera_frame: str,
        lidar_frame: str,
        given: Matrix | None,
        fixed_frame: str,
        stamp_ns: int,
    ) -> None:
        self._transforms, self._camera, self._lidar = transforms, camera_frame, lidar_frame
        self._given = given
        self.camera_from_lidar(stamp_ns)
        self.fixed_frame = ""
        if fixed_frame == "none":
            return
        self.fixed_frame = fixed_frame or transforms.fixed_above(lidar_frame)
        if fixed_frame:
            transforms.lookup(fixed_frame, lidar_frame, stamp_ns, tolerance_ns=_TOLERANCE_NS)

    def camera_from_lidar(self, stamp_ns: int) -> Matrix:
        """Return camera_from_lidar (4, 4) at a stamp.

        Raises:
            BagError: it is not known then.
        """
        if self._given is not None:
            return self._given
        return self._transforms.lookup(
            self._camera, self._lidar, stamp_ns, tolerance_ns=_TOLERANCE_NS
        )

    def fixed_from_camera(self, stamp_ns: int) -> Matrix | None:
        """Return the camera's pose (4, 4) in the fixed frame; None where there is no such frame.

        Raises:
            BagError: it is not known then.
        """
        if not self.fixed_frame:
            return None
        fixed_from_lidar = self._transforms.lookup(
            self.fixed_frame, self._lidar, stamp_ns, tolerance_ns=_TOLERANCE_NS
        )
        pose: Matrix = fixed_from_lidar @ invert_transform(self.camera_from_lidar(stamp_ns))
        return pose

    def cloud(self, sweeps: Sequence[Sweep], stamp_ns: int) -> npt.NDArray[np.float32]:
        """Return sweeps (N, 3) as the LiDAR would have measured all points at a stamp.

        Without a fixed frame the points of the only sweep come back as they are.

        Raises:
            BagError: a pose is not known at the time of the sweeps.
        """
        if not self.fixed_frame:
            (sweep,) = sweeps
            return np.asarray(sweep.points_m, np.float32)
        lookup = partial(
            self._transforms.lookup_many,
            self.fixed_frame,
            self._lidar,
            tolerance_ns=_TOLERANCE_NS,
        )
        return np.asarray(accumulate(sweeps, lookup, stamp_ns), np.float32)


def make_rig(
    poses: Poses, config: FrameConfig, camera_frame: str, lidar_frame: str, stamp_ns: int
) -> Rig:
    """Return the rig of a recording or of live topics.

    Odometry counts where it was asked for, or where /tf says nothing of motion.

    Args:
        poses: all that is known.
        config: transform, fixed frame and odometry as set.
        camera_frame: of the images.
        lidar_frame: of the clouds.
        stamp_ns: of the first matched image.

    Raises:
        BagError: camera and LiDAR are not connected, or the fixed frame and the LiDAR are not.
        ConfigError, CalibrationError: the file of the extrinsics is not usable.
    """
    if config.odometry_topic or not poses.transforms.fixed_above(lidar_frame):
        poses.use_odometry()
    return Rig(
        poses.transforms,
        camera_frame,
        lidar_frame,
        _given(config, camera_frame, lidar_frame),
        config.fixed_frame,
        stamp_ns,
    )


def _given(config: FrameConfig, camera_frame: str, lidar_frame: str) -> Matrix | None:
    """Return the camera_from_lidar that the configuration sets, if it does."""
    if config.extrinsics:
        return read_extrinsics(config.extrinsics, camera_frame, lidar_frame)
    pose = config.camera_from_lidar
    return None if pose is None else transform_from_quaternion(pose[:3], pose[3:])
