"""The tree of transforms of a recording: fixed links, moving links, poses from odometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.messages import stamp_ns as stamp_of
from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.association import stamp_array
from mono_depth_ros.evaluation.pose_track import Matrix, PoseTrack, Stamps, rigid_matrix
from mono_depth_ros.geometry import transform_from_quaternion


@dataclass(slots=True)
class _Link:
    """How a frame hangs on its parent.

    Attributes:
        parent: the frame it hangs on.
        pose: parent_from_child (4, 4), or one that moves.
        conflict: what the recording says besides; such a link cannot be used.
    """

    parent: str
    pose: Matrix | PoseTrack
    conflict: str = ""


class Transforms:
    """Frames and the transforms between them over time, as /tf_static and /tf give them.

    Frames form a tree; names count without a leading slash. A later static transform replaces an
    earlier one. Moving transforms may come in any order, of equal stamps the later message counts,
    and between stamps translation is interpolated linearly and rotation by slerp, however far the
    stamps are apart. Unlike in tf2, a frame that hangs on two parents over time, or is both static
    and moving, is refused by the lookups that pass over it: it is two publishers that disagree.
    """

    def __init__(self) -> None:
        self._links: dict[str, _Link] = {}

    def add_static(self, parent: str, child: str, parent_from_child: npt.ArrayLike) -> None:
        """Add or replace the fixed transform of `child`, (4, 4).

        Raises:
            BagError: a name is empty, or both are the same.
            CalibrationError: the matrix is no rigid transform. Either way nothing is added.
        """
        parent, child = _link_names(parent, child)
        matrix = rigid_matrix(parent_from_child, f"{parent} -> {child}")
        link = self._links.get(child)
        if link is not None and isinstance(link.pose, PoseTrack):
            link.conflict = f"is both moving (below {link.parent}) and static (below {parent})"
        else:
            self._links[child] = _Link(parent, matrix)

    def add(self, stamp_ns: int, parent: str, child: str, parent_from_child: npt.ArrayLike) -> None:
        """Add the transform of `child` at one stamp, (4, 4); errors as `add_static`."""
        parent, child = _link_names(parent, child)
        name = f"{parent} -> {child}"
        link = self._links.get(child)
        if link is None:
            track = PoseTrack(name)
            track.add(stamp_ns, parent_from_child)
            self._links[child] = _Link(parent, track)
        elif not isinstance(link.pose, PoseTrack):
            link.conflict = f"is both static (below {link.parent}) and moving (below {parent})"
        elif link.parent != parent:
            link.conflict = f"hangs on {link.parent} and, at {stamp_ns} ns, on {parent}"
        else:
            link.pose.add(stamp_ns, parent_from_child)

    @property
    def frames(self) -> list[str]:
        """All frame names, sorted."""
        return sorted({*self._links, *(link.parent for link in self._links.values())})

    def fixed_above(self, frame: str) -> str:
        """Return the topmost frame above one that moves in it; empty if it moves in none."""
        frames = self._upwards(_bare(frame))
        moves = any(isinstance(self._links[f].pose, PoseTrack) for f in frames if f in self._links)
        return frames[-1] if moves else ""

    def lookup(self, target: str, source: str, stamp_ns: int, *, tolerance_ns: int = 0) -> Matrix:
        """Return target_from_source at one stamp, (4, 4); otherwise as `lookup_many`."""
        stamps_ns = np.array([stamp_ns], np.int64)
        matrix: Matrix = self.lookup_many(target, source, stamps_ns, tolerance_ns=tolerance_ns)[0]
        return matrix

    def lookup_many(
        self, target: str, source: str, stamps_ns: npt.ArrayLike, *, tolerance_ns: int = 0
    ) -> Matrix:
        """Return target_from_source at every stamp, (N, 4, 4) float64.

        Args:
            target: the frame to express things in.
            source: the frame they are given in.
            stamps_ns: (N,) integer nanoseconds, in any order.
            tolerance_ns: how far outside a moving link's stamps its nearest pose still counts;
                nothing is ever extrapolated.

        Raises:
            BagError: the frames are not connected, a link on the way contradicts itself, or it is
                not known at a stamp; the message says which link, which stamp and which span.
            ShapeError: the stamps are not one-dimensional integers.
        """
        stamps = stamp_array(stamps_ns)
        target, source = _bare(target), _bare(source)
        up_source = self._upwards(source)
        common = next((frame for frame in self._upwards(target) if frame in up_source), None)
        if common is None:
            raise BagError(
                f"no transform between {target!r} and {source!r}; the recording holds "
                f"{self._described()}: record /tf and /tf_static, or give the "
                "extrinsics in a YAML (--extrinsics, or camera_from_lidar in the configuration)"
            )
        common_from_source = self._climb(source, common, stamps, tolerance_ns)
        if target == common:
            return common_from_source
        common_from_target = self._climb(target, common, stamps, tolerance_ns)
        return _inverses(common_from_target) @ common_from_source

    def lookup_between(
        self,
        target: str,
        target_stamp_ns: int,
        source: str,
        source_stamp_ns: int,
        fixed_frame: str,
        *,
        tolerance_ns: int = 0,
    ) -> Matrix:
        """Return target (at its stamp) from source (at its own), (4, 4).

        Both are tied to a frame that does not move in between, as in tf2's advanced lookup: the
        camera at the image's stamp from the LiDAR at the sweep's, over `odom`.

        Raises:
            BagError: as `lookup_many`.
        """
        target_from_fixed = self.lookup(
            target, fixed_frame, target_stamp_ns, tolerance_ns=tolerance_ns
        )
        return target_from_fixed @ self.lookup(
            fixed_frame, source, source_stamp_ns, tolerance_ns=tolerance_ns
        )

    def _upwards(self, frame: str) -> list[str]:
        """Return the frame, its parent and so on; a loop ends where it closes."""
        frames = [frame]
        while frame in self._links and self._links[frame].parent not in frames:
            frame = self._links[frame].parent
            frames.append(frame)
        return frames

    def _climb(self, frame: str, ancestor: str, stamps: Stamps, tolerance_ns: int) -> Matrix:
        """Return ancestor_from_frame, (N, 4, 4)."""
        ancestor_from_frame: Matrix = np.tile(np.eye(4), (stamps.size, 1, 1))
        while frame != ancestor:
            link = self._links[frame]
            if link.conflict:
                raise BagError(f"frame {frame} {link.conflict}; let one node publish it")
            pose = link.pose
            step = pose.at(stamps, tolerance_ns) if isinstance(pose, PoseTrack) else pose
            ancestor_from_frame = step @ ancestor_from_frame
            frame = link.parent
        return ancestor_from_frame

    def _described(self) -> str:
        links = sorted(f"{link.parent} -> {child}" for child, link in self._links.items())
        return ", ".join(links) or "nothing"


def transform_pose(message: Any) -> tuple[int, str, str, Matrix]:
    """Read a geometry_msgs/TransformStamped, as tf2_msgs/TFMessage holds them.

    Returns:
        stamp_ns, parent frame, child frame, parent_from_child (4, 4): what `Transforms.add` takes.

    Raises:
        CalibrationError: the quaternion is zero or a number is not finite.
    """
    t, q = message.transform.translation, message.transform.rotation
    return _stamped_pose(message.header, message.child_frame_id, t, q)


def odometry_pose(message: Any) -> tuple[int, str, str, Matrix]:
    """Read the pose of a nav_msgs/Odometry.

    Returns:
        stamp_ns, odom frame, base frame, odom_from_base (4, 4): what `Transforms.add` takes. Some
        simulators leave the base frame empty; name it before adding.

    Raises:
        CalibrationError: the quaternion is zero or a number is not finite.
    """
    pose = message.pose.pose
    return _stamped_pose(message.header, message.child_frame_id, pose.position, pose.orientation)


def _stamped_pose(
    header: Any, child: str, translation: Any, quaternion: Any
) -> tuple[int, str, str, Matrix]:
    t, q = translation, quaternion
    with np.errstate(invalid="ignore"):  # infinity becomes NaN, which is refused below
        matrix = transform_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
    parent, child = _bare(str(header.frame_id)), _bare(str(child))
    return stamp_of(header), parent, child, rigid_matrix(matrix, f"{parent} -> {child}")


def _inverses(a_from_b: Matrix) -> Matrix:
    """Return b_from_a of rigid transforms (N, 4, 4)."""
    inverses = np.zeros_like(a_from_b)
    inverses[:, :3, :3] = np.swapaxes(a_from_b[:, :3, :3], 1, 2)
    inverses[:, :3, 3:] = -inverses[:, :3, :3] @ a_from_b[:, :3, 3:]
    inverses[:, 3, 3] = 1.0
    return inverses


def _link_names(parent: str, child: str) -> tuple[str, str]:
    parent, child = _bare(parent), _bare(child)
    if not parent or not child or parent == child:
        raise BagError(
            f"a transform needs two frames, got parent {parent!r} and child {child!r}; name them "
            "in header.frame_id and child_frame_id"
        )
    return parent, child


def _bare(name: str) -> str:
    return name.lstrip("/")
