"""Arrays to ROS 2 messages, as rosbags objects of the Jazzy type store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags.typesys import Stores, get_typestore

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import Intrinsics, quaternion_from_matrix

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)

# sensor_msgs/msg/PointField datatype codes.
_POINT_FIELD_CODES = {
    np.dtype(np.int8): 1,
    np.dtype(np.uint8): 2,
    np.dtype(np.int16): 3,
    np.dtype(np.uint16): 4,
    np.dtype(np.int32): 5,
    np.dtype(np.uint32): 6,
    np.dtype(np.float32): 7,
    np.dtype(np.float64): 8,
}


def image_message(stamp_ns: int, frame_id: str, rgb: npt.NDArray[np.uint8]) -> Any:
    """Return a sensor_msgs/msg/Image in rgb8.

    Args:
        stamp_ns: acquisition time, nanoseconds.
        frame_id: the camera's optical frame.
        rgb: (H, W, 3) uint8.

    Raises:
        ShapeError: `rgb` has another shape or type.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ShapeError(f"image is {rgb.shape} {rgb.dtype}; pass (H, W, 3) uint8 in RGB order")
    return _image(stamp_ns, frame_id, np.ascontiguousarray(rgb), "rgb8", 3)


def depth_message(stamp_ns: int, frame_id: str, depth_m: npt.NDArray[np.floating]) -> Any:
    """Return a sensor_msgs/msg/Image in 32FC1: metres along z, NaN = no depth (REP-118).

    Args:
        stamp_ns: acquisition time, nanoseconds.
        frame_id: the camera's optical frame.
        depth_m: (H, W) floats, metres.

    Raises:
        ShapeError: `depth_m` is not a two-dimensional array of floats.
    """
    if depth_m.ndim != 2 or not np.issubdtype(depth_m.dtype, np.floating):
        raise ShapeError(f"depth is {depth_m.shape} {depth_m.dtype}; pass (H, W) float metres")
    return _image(stamp_ns, frame_id, np.ascontiguousarray(depth_m, "<f4"), "32FC1", 4)


def labels_message(stamp_ns: int, frame_id: str, labels: npt.NDArray[np.uint8]) -> Any:
    """Return a sensor_msgs/msg/Image in mono8 that holds class numbers.

    Raises:
        ShapeError: `labels` are not (H, W) uint8.
    """
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise ShapeError(f"labels are {labels.shape} {labels.dtype}; pass (H, W) uint8")
    return _image(stamp_ns, frame_id, np.ascontiguousarray(labels), "mono8", 1)


def camera_info_message(stamp_ns: int, frame_id: str, camera: Intrinsics) -> Any:
    """Return a sensor_msgs/msg/CameraInfo of a rectified camera: K, P = [K | 0], R = I, D = 0."""
    types = TYPESTORE.types
    projection = np.hstack([camera.matrix, np.zeros((3, 1))])
    return types["sensor_msgs/msg/CameraInfo"](
        header=_header(stamp_ns, frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=camera.matrix.ravel(),
        r=np.eye(3).ravel(),
        p=projection.ravel(),
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def cloud_message(stamp_ns: int, frame_id: str, points: npt.NDArray[np.void]) -> Any:
    """Return a sensor_msgs/msg/PointCloud2 with the fields and memory layout of a structured array.

    Args:
        stamp_ns: time of the sweep, nanoseconds.
        frame_id: frame of x, y, z.
        points: (N,) for an unorganised or (H, W) for an organised cloud; its fields are 8 to 32
            bit integers or floats, padding allowed, sub-arrays become a field with a count.

    Raises:
        ShapeError: the array is not structured, has another number of axes, or a field type that
            PointCloud2 cannot hold.
    """
    if points.dtype.fields is None or points.ndim not in (1, 2):
        raise ShapeError(
            f"points are {points.shape} {points.dtype}; pass a structured array (N,) or (H, W)"
        )
    dtype = points.dtype.newbyteorder("<")
    little = np.ascontiguousarray(points.astype(dtype, copy=False))
    height, width = (1, little.size) if little.ndim == 1 else little.shape
    return TYPESTORE.types["sensor_msgs/msg/PointCloud2"](
        header=_header(stamp_ns, frame_id),
        height=height,
        width=width,
        fields=[_point_field(name, dtype) for name in dtype.names or ()],
        is_bigendian=False,
        point_step=dtype.itemsize,
        row_step=dtype.itemsize * width,
        data=little.view(np.uint8).ravel() if little.size else np.zeros(0, np.uint8),
        is_dense=all(
            bool(np.isfinite(little[name]).all()) for name in "xyz" if name in (dtype.names or ())
        ),
    )


def transforms_message(
    stamp_ns: int, transforms: Iterable[tuple[str, str, npt.NDArray[np.floating]]]
) -> Any:
    """Return a tf2_msgs/msg/TFMessage.

    Args:
        stamp_ns: time of all transforms, nanoseconds.
        transforms: (parent, child, parent_from_child (4, 4)) each.
    """
    types = TYPESTORE.types
    stamped = []
    for parent, child, parent_from_child in transforms:
        matrix = np.asarray(parent_from_child, np.float64)
        if matrix.shape != (4, 4):
            raise ShapeError(f"transform {parent} <- {child} is {matrix.shape}; pass (4, 4)")
        x, y, z, w = map(float, quaternion_from_matrix(matrix[:3, :3]))
        tx, ty, tz = map(float, matrix[:3, 3])
        stamped.append(
            types["geometry_msgs/msg/TransformStamped"](
                header=_header(stamp_ns, parent),
                child_frame_id=child,
                transform=types["geometry_msgs/msg/Transform"](
                    translation=types["geometry_msgs/msg/Vector3"](x=tx, y=ty, z=tz),
                    rotation=types["geometry_msgs/msg/Quaternion"](x=x, y=y, z=z, w=w),
                ),
            )
        )
    return types["tf2_msgs/msg/TFMessage"](transforms=stamped)


def stamp_ns(header: Any) -> int:
    """Return the stamp of a std_msgs/Header, nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def _header(stamp_ns: int, frame_id: str) -> Any:
    seconds, nanoseconds = divmod(int(stamp_ns), 1_000_000_000)
    if not 0 <= seconds < 2**31:
        raise ShapeError(f"stamp {stamp_ns} ns does not fit a ROS time; pass 0 <= stamp < 2^31 s")
    types = TYPESTORE.types
    time = types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=nanoseconds)
    return types["std_msgs/msg/Header"](stamp=time, frame_id=frame_id)


def _image(
    stamp_ns: int, frame_id: str, pixels: npt.NDArray[Any], encoding: str, pixel_bytes: int
) -> Any:
    height, width = pixels.shape[:2]
    return TYPESTORE.types["sensor_msgs/msg/Image"](
        header=_header(stamp_ns, frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * pixel_bytes,
        data=pixels.reshape(-1).view(np.uint8),
    )


def _point_field(name: str, dtype: np.dtype[Any]) -> Any:
    assert dtype.fields is not None
    field_dtype, offset = dtype.fields[name][:2]
    count = int(np.prod(field_dtype.shape)) if field_dtype.shape else 1
    code = _POINT_FIELD_CODES.get(field_dtype.base)
    if code is None:
        allowed = ", ".join(str(known) for known in _POINT_FIELD_CODES)
        raise ShapeError(f"point field {name} is {field_dtype.base}; PointCloud2 holds {allowed}")
    return TYPESTORE.types["sensor_msgs/msg/PointField"](
        name=name, offset=int(offset), datatype=code, count=count
    )
