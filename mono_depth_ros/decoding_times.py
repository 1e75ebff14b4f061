"""When each point of a sensor_msgs/PointCloud2 was measured.

Drivers agree neither on the field's name nor on its meaning:

| field | type | meaning | seen in |
|---|---|---|---|
| `time` | float32 | seconds since the header stamp, negative too | Velodyne |
| `t`, `offset_time` | uint32 | nanoseconds since the header stamp | Ouster, Livox |
| `timestamp`, `time_stamp` | uint32 | nanoseconds since the header stamp | Nebula |
| `timestamp` | float64 | absolute seconds | Hesai, RoboSense |
| `timestamp` | float64 | absolute nanoseconds | Livox |
| `time_sec` and `time_nsec` | uint32 | absolute seconds and nanoseconds | Luminar |

Integers are nanoseconds since the header stamp. Of floats the values decide: they are seconds,
absolute or since the header stamp, or else absolute nanoseconds, whichever brings every measured
point within a second of the header stamp. Where both kinds of seconds would, which takes a clock
that started less than a second ago, `timestamp`, `timestamps`, `time_stamp` and `stamps` are
absolute, other names are not. Float nanoseconds since the header stamp are refused: they cannot be
told from seconds that are wrong. Of several fields the pair of Luminar counts first, then names of
absolute times.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.decoding import point_cloud_fields, point_cloud_to_xyz
from mono_depth_ros.errors import DecodingError

Times = npt.NDArray[np.int64]

_SECOND_NS = 1_000_000_000
_FARTHEST_NS = _SECOND_NS
# Stamps end with 2^31 s; differences of what lies below still fit int64.
_LIMIT_NS = 4 * 10**18
# A float32 counts absolute seconds in steps of two minutes; such a reading is an accident.
_COARSEST_NS = 1_000_000
_PAIR = ("time_sec", "time_nsec")
_ABSOLUTE_NAMES = ("timestamp", "timestamps", "time_stamp", "stamps")
_RELATIVE_NAMES = ("time", "t", "offset_time", "time_offset")
_NAMES = frozenset((*_PAIR, *_ABSOLUTE_NAMES, *_RELATIVE_NAMES))


def point_cloud_times_ns(message: Any) -> Times | None:
    """Read when the points of a cloud were measured; see `point_cloud_to_xyz_and_time`."""
    return point_cloud_to_xyz_and_time(message)[1]


def point_cloud_to_xyz_and_time(message: Any) -> tuple[npt.NDArray[np.float32], Times | None]:
    """Read coordinates and times of a sensor_msgs/PointCloud2; row i of both is the same point.

    Args:
        message: an object with header, height, width, fields, is_bigendian, point_step, row_step
            and data.

    Returns:
        (N, 3) float32 metres as `point_cloud_to_xyz` gives them, and (N,) int64 absolute
        nanoseconds, None when the cloud has no field for them. Points without a return (not finite,
        or at the origin) may carry any time; where it is implausible they get the header's.

    Raises:
        DecodingError: as `point_cloud_to_xyz`; the time has several values per point or too few
            bits; or a measured point is more than a second from the header stamp however the field
            is read.
    """
    xyz_m = point_cloud_to_xyz(message)
    if not any(field.name in _NAMES for field in message.fields):
        # Reading all fields of a sweep takes longer than projecting it.
        return xyz_m, None
    fields = point_cloud_fields(message)
    stamp = message.header.stamp
    stamp_ns = int(stamp.sec) * _SECOND_NS + int(stamp.nanosec)
    name, readings = _readings(fields, stamp_ns)
    if not readings:
        return xyz_m, None
    measured = np.isfinite(xyz_m).all(axis=1) & xyz_m.any(axis=1)
    for offsets_ns in readings:
        plausible = np.abs(offsets_ns) <= _FARTHEST_NS
        if plausible[measured].all():
            return xyz_m, stamp_ns + np.where(plausible, offsets_ns, 0)
    values = fields[name][measured]
    raise DecodingError(
        f"point times in field {name} ({values.dtype}) run from {values.min():.10g} to "
        f"{values.max():.10g}, which is farther than {_FARTHEST_NS / 1e9:g} s from the header "
        f"stamp {stamp_ns} ns however it is read; set the LiDAR's clock, or go without point times"
    )


def _readings(fields: dict[str, npt.NDArray[Any]], stamp_ns: int) -> tuple[str, list[Times]]:
    """Return the name of the time field and its possible offsets from the stamp, best first."""
    if all(name in fields for name in _PAIR):
        seconds, nanoseconds = (_single(name, fields[name]) for name in _PAIR)
        return _PAIR[0], [_to_ns(seconds, _SECOND_NS) + _to_ns(nanoseconds, 1) - stamp_ns]
    names = (*_ABSOLUTE_NAMES, *_RELATIVE_NAMES)
    name = next((name for name in names if name in fields), "")
    if not name:
        return "", []
    values = _single(name, fields[name])
    if values.dtype.kind != "f":
        return name, [values.astype(np.int64)]
    since_stamp_ns = _to_ns(values, _SECOND_NS)
    absolute_ns = [
        _to_ns(values, unit_ns) - stamp_ns
        for unit_ns in (_SECOND_NS, 1)
        if _step_ns(values.dtype, stamp_ns, unit_ns) <= _COARSEST_NS
    ]
    at = 1 if name in _ABSOLUTE_NAMES else 0
    return name, [*absolute_ns[:at], since_stamp_ns, *absolute_ns[at:]]


def _single(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if values.ndim > 1 or values.dtype.itemsize < 4:
        count = values.shape[1] if values.ndim > 1 else 1
        raise DecodingError(
            f"point time {name} has {count} values of {values.dtype} per point; send one of 32 "
            "bits or more, or rename a field that is no time"
        )
    return values


def _to_ns(values: npt.NDArray[Any], unit_ns: int) -> Times:
    """Return multiples of a unit in whole nanoseconds; what is no stamp becomes the limit."""
    limit = _LIMIT_NS // unit_ns
    finite = np.clip(
        np.nan_to_num(values.astype(np.float64), nan=limit, posinf=limit, neginf=-limit),
        -limit,
        limit,
    )
    whole = np.floor(finite)
    part_ns = np.rint((finite - whole) * unit_ns).astype(np.int64)
    return whole.astype(np.int64) * unit_ns + part_ns


def _step_ns(dtype: np.dtype[Any], stamp_ns: int, unit_ns: int) -> float:
    """Return how finely a float type counts absolute time around a stamp."""
    return abs(float(np.spacing(dtype.type(stamp_ns / unit_ns)))) * unit_ns
