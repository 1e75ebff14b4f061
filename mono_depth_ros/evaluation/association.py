"""Which LiDAR sweep belongs to which image: nearest stamps, exact to the nanosecond."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ConfigError, ShapeError

IntArray = npt.NDArray[np.integer]


def match_nearest(
    query_ns: npt.ArrayLike, reference_ns: npt.ArrayLike, max_gap_ns: int
) -> npt.NDArray[np.int64]:
    """Pair queries with references whose stamps are nearest to each other.

    A pair is made only when each is the other's nearest, so a reference serves one query at most:
    of three images around one sweep, the nearest is compared with it, because the robot moved least
    in between. Of equally near ones the earlier counts, and of equal stamps the first listed.

    Args:
        query_ns: (N,) integer nanoseconds, in any order.
        reference_ns: (M,) integer nanoseconds, in any order.
        max_gap_ns: largest accepted |query - reference|, inclusive.

    Returns:
        (N,) int64, the index of the reference of each query, -1 for none.

    Raises:
        ShapeError: stamps are not one-dimensional integers (float seconds lose nanoseconds).
        ConfigError: the gap is negative.
    """
    query, reference = stamp_array(query_ns), stamp_array(reference_ns)
    if max_gap_ns < 0:
        raise ConfigError(f"the largest gap is {max_gap_ns} ns; it must be 0 or more")
    matches = np.full(query.size, -1, np.int64)
    if query.size == 0 or reference.size == 0:
        return matches
    nearest = _nearest(query, reference)
    mutual = _nearest(reference, query)[nearest] == np.arange(query.size)
    close = np.abs(query - reference[nearest]) <= max_gap_ns
    return np.where(mutual & close, nearest, matches)


def stamp_array(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return stamps as (N,) int64 nanoseconds.

    Raises:
        ShapeError: stamps are not one-dimensional integers (float seconds lose nanoseconds).
    """
    array = np.asarray(values)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ShapeError(f"stamps are {array.shape} {array.dtype}; pass (N,) integer nanoseconds")
    return array.astype(np.int64)


def _nearest(
    values: npt.NDArray[np.int64], targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return for each value the index of the nearest target."""
    order = np.argsort(targets, kind="stable")
    ordered = targets[order]
    after = np.searchsorted(ordered, values, side="left")
    # The first of equal stamps, on either side of the value.
    before = np.searchsorted(ordered, ordered[np.maximum(after - 1, 0)], side="left")
    after = np.minimum(after, ordered.size - 1)
    earlier = np.abs(values - ordered[before]) <= np.abs(values - ordered[after])
    return order[np.where(earlier, before, after)]
