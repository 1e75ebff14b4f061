"""LiDAR sweeps of a moving sensor: every point as if measured at one stamp, and several in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import BagError, ConfigError, ShapeError
from mono_depth_ros.evaluation.association import stamp_array
from mono_depth_ros.geometry import FloatArray, invert_transform

Times = npt.NDArray[np.int64]
# (M,) int64 stamps to fixed_from_lidar (M, 4, 4), such as
# partial(transforms.lookup_many, "odom", "lidar").
PoseLookup = Callable[[Times], npt.NDArray[np.float64]]

_SLOT_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Sweep:
    """One cloud of a LiDAR.

    Attributes:
        stamp_ns: the cloud's header stamp.
        points_m: (N, 3) metres, LiDAR frame of the time each was measured at.
        times_ns: (N,) absolute nanoseconds; None takes the stamp for all.
    """

    stamp_ns: int
    points_m: FloatArray
    times_ns: npt.NDArray[np.integer] | None = None

    @property
    def point_times_ns(self) -> npt.NDArray[np.integer]:
        """Times of all points, (N,)."""
        if self.times_ns is not None:
            return self.times_ns
        return np.full(len(self.points_m), self.stamp_ns, np.int64)


def compensate_motion(
    points_m: FloatArray,
    times_ns: npt.ArrayLike,
    fixed_from_lidar: PoseLookup,
    reference_ns: int,
) -> FloatArray:
    """Return points as the LiDAR would have measured all of them at one stamp.

    The sensor moves while it turns: at 30 m/s the first and last point of a sweep of 0.1 s are 3 m
    apart. What moves in the world is not undone.

    The pose is looked up at both ends of every used millisecond, and points move evenly in between.
    With the sensor's acceleration a, turning rate w and its change w', a point at range r is off by
    at most (a + r w^2 + r w') (1 ms)^2 / 8: 0.01 mm at 10 m/s^2, 80 m and 1 rad/s. Where the path
    has a kink, as interpolated poses have, a quarter of the change of the point's velocity times
    1 ms comes on top, 0.03 mm for 0.1 m/s.

    Args:
        points_m: (N, 3) metres, LiDAR frame of the time each was measured at.
        times_ns: (N,) integer, absolute nanoseconds.
        fixed_from_lidar: poses of the LiDAR in a frame that does not move, such as odom, at (M,)
            int64 stamps. It is asked for the reference stamp and for stamps between the first and
            the last measured point.
        reference_ns: the stamp to move to, such as the image's.

    Returns:
        (N, 3) of the same float type, metres, LiDAR frame at the reference stamp; rows stay where
        they are, points that are not finite become NaN.

    Raises:
        ShapeError: points, times or poses have another shape or type, or their numbers differ.
        BagError: a pose is not known, as the lookup says.
    """
    points, times = np.asarray(points_m), stamp_array(times_ns)
    if points.shape != (times.size, 3) or not np.issubdtype(points.dtype, np.floating):
        raise ShapeError(
            f"points are {points.shape} {points.dtype} with {times.size} times; pass (N, 3) float "
            "metres and (N,) times"
        )
    moved = np.full(points.shape, np.nan, points.dtype)
    finite = np.isfinite(points).all(axis=1)
    if finite.any():
        moved[finite] = _moved(
            points[finite].astype(np.float64), times[finite], fixed_from_lidar, reference_ns
        )
    return moved


def accumulate(
    sweeps: Iterable[Sweep], fixed_from_lidar: PoseLookup, reference_ns: int
) -> FloatArray:
    """Merge sweeps of one LiDAR into one cloud, in the LiDAR frame at a reference stamp.

    More sweeps make the truth denser, and leave behind trails of everything that moves.

    Args:
        sweeps: one or more, in any order; `nearest_sweeps` chooses them.
        fixed_from_lidar: as in `compensate_motion`.
        reference_ns: the stamp to move to, such as the image's.

    Returns:
        (N, 3) metres, sweep after sweep; points that are not finite are left out.

    Raises:
        BagError: there is no sweep, or a pose is not known.
        ShapeError: as `compensate_motion`.
    """
    clouds = [
        compensate_motion(sweep.points_m, sweep.point_times_ns, fixed_from_lidar, reference_ns)
        for sweep in sweeps
    ]
    if not clouds:
        raise BagError("there is no sweep to accumulate; pass at least one")
    merged: FloatArray = np.concatenate(clouds)
    return merged[np.isfinite(merged).all(axis=1)]


def nearest_sweeps(
    stamps_ns: npt.ArrayLike, reference_ns: int, count: int
) -> npt.NDArray[np.int64]:
    """Choose the sweeps around a stamp: indices of the `count` nearest stamps, ascending in time.

    Of equally near ones the earlier is taken; fewer come back where there are fewer.

    Raises:
        ConfigError: the count is not positive.
        ShapeError: the stamps are not one-dimensional integers.
    """
    if count < 1:
        raise ConfigError(f"the number of sweeps is {count}; it must be 1 or more")
    stamps = stamp_array(stamps_ns)
    nearest = np.lexsort((stamps, np.abs(stamps - reference_ns)))[:count]
    return nearest[np.argsort(stamps[nearest], kind="stable")]


def _moved(
    points_m: FloatArray, times_ns: Times, fixed_from_lidar: PoseLookup, reference_ns: int
) -> npt.NDArray[np.float64]:
    first_ns, last_ns = times_ns.min(), times_ns.max()
    slots, slot_of_point = np.unique((times_ns - first_ns) // _SLOT_NS, return_inverse=True)
    starts_ns = first_ns + slots * _SLOT_NS
    # Nothing may be known after the last point.
    ends_ns = np.minimum(starts_ns + _SLOT_NS, last_ns)
    at_reference = _poses(fixed_from_lidar, np.array([reference_ns], np.int64))[0]
    ends = _poses(fixed_from_lidar, np.concatenate([starts_ns, ends_ns]))
    # Before the points are touched: in the fixed frame coordinates may be millions of metres.
    reference_from_lidar = invert_transform(at_reference) @ ends
    begin, end = np.split(reference_from_lidar[:, :3], 2)
    share = (times_ns - starts_ns[slot_of_point]) / np.maximum(ends_ns - starts_ns, 1)[
        slot_of_point
    ]
    steps = begin[slot_of_point] + share[:, None, None] * (end - begin)[slot_of_point]
    return np.einsum("nij,nj->ni", steps[:, :, :3], points_m) + steps[:, :, 3]


def _poses(fixed_from_lidar: PoseLookup, stamps_ns: Times) -> npt.NDArray[np.float64]:
    poses = np.asarray(fixed_from_lidar(stamps_ns), np.float64)
    if poses.shape != (stamps_ns.size, 4, 4):
        raise ShapeError(
            f"{stamps_ns.size} stamps gave poses of shape {poses.shape}; return (M, 4, 4)"
        )
    return poses
