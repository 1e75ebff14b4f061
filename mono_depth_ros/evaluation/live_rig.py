"""Where camera and LiDAR are while frames come live: from a recording, a setting or /tf."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path
from typing import Any

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.headers import add_pose, pose_topics
from mono_depth_ros.evaluation.rig import Poses

logger = logging.getLogger(__name__)


def read_poses(bag: str | Path, config: FrameConfig) -> Poses:
    """Read the transforms and odometry of a recording, which needs no images.

    Raises:
        BagError: it is unreadable, or damaged and the configuration does not accept that; or it
            holds no transform and the configuration none either.
    """
    poses = Poses()
    with BagReader(bag) as reader:
        transforms, odometry = pose_topics(reader, config)
        topics = [*transforms, *odometry]
        try:
            for topic, msgtype, _, cdr in reader.raw_messages(topics) if topics else ():
                add_pose(poses, reader, (topic, msgtype, cdr), topic in odometry)
        except BagError as error:
            if not config.accept_damaged:
                raise
            logger.warning("%s; using the transforms that can be read", error)
    if not poses.transforms.frames and not config.gives_extrinsics:
        raise BagError(
            f"{bag} holds no transform; record /tf_static, or give the extrinsics in a YAML "
            "(frames.extrinsics, or frames.camera_from_lidar in the configuration)"
        )
    return poses


class RecentPoses:
    """The latest transforms of /tf and all of /tf_static, in bounded memory.

    Args:
        most: messages of /tf that are surely remembered; up to twice as many may be.
    """

    def __init__(self, most: int = 5000) -> None:
        self._most = most
        self._static: deque[Any] = deque(maxlen=most)
        self._moving: deque[Any] = deque(maxlen=most)
        self._added = 0
        self.poses = Poses()

    def add(self, message: Any, *, static: bool) -> None:
        """Add a tf2_msgs/TFMessage."""
        (self._static if static else self._moving).append(message)
        self.poses.add_transforms(message, static=static)
        self._added += not static
        if self._added >= 2 * self._most:
            self._rebuild()

    def _rebuild(self) -> None:
        self.poses, self._added = Poses(), len(self._moving)
        for message in self._static:
            self.poses.add_transforms(message, static=True)
        for message in self._moving:
            self.poses.add_transforms(message, static=False)
