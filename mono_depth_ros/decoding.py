"""ROS messages to arrays: images, depth images, camera calibration, point clouds.

One decoder for rclpy messages, rosbags messages and anything else with the same attributes; it
imports no ROS. Encoding names are those of sensor_msgs/image_encodings.hpp. Data that does not fit
its own description is refused with a `DecodingError`, as cv_bridge does, never padded or cropped.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.encoded_pictures import picture_size, require_whole_picture
from mono_depth_ros.errors import CalibrationError, DecodingError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.image_encodings import BAYER_CONVERSIONS, LAYOUTS, Layout

ByteArray = npt.NDArray[np.uint8]

# numpy type and units per metre.
_DEPTH_TYPES = {"32FC1": ("f4", 1), "16UC1": ("u2", 1000)}
_POINT_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def image_to_rgb(message: Any) -> ByteArray:
    """Decode a sensor_msgs/Image of a colour or grey camera.

    Values of 16 bits keep their high byte. YUV is read as OpenCV does (BT.601, limited range). In
    nv12 and nv21 `height` counts image rows, so the data holds 1.5 * height rows of `step` bytes,
    in nv24 3 * height (a chroma row is 2 * step). 8UC1, 8UC3 and 8UC4 are read as grey, BGR and
    BGRA; 16UC1 and 32FC1 are depth (REP 118), hence refused here.

    Args:
        message: an object with height, width, encoding, is_bigendian, step and data.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous. For rgb8 without row padding it is a read-only view of
        the message's data and changes when somebody changes the message; copy it before keeping it
        or drawing on it.

    Raises:
        DecodingError: the encoding is unknown or no picture, the size is empty, too small for a
            Bayer mosaic or odd where pixels share a colour, or the data has another length than the
            header says.
    """
    layout = _layout_of(message)
    height, width = _image_size(message)
    rows = int(height * layout.buffer_rows)
    values = _pixel_rows(message, width * layout.channels * layout.bytes_each, rows, height)
    if layout.bytes_each == 2:
        values = values[:, 0 if message.is_bigendian else 1 :: 2]
    if message.encoding == "nv24":
        return _nv24_to_rgb(message, values[:height])
    if layout.channels > 1:
        values = values.reshape(rows, width, layout.channels)
    if layout.conversion is not None:
        return _to_rgb(values, layout.conversion)
    rgb = np.ascontiguousarray(values)
    rgb.flags.writeable = rgb.base is None
    return rgb


def compressed_image_to_rgb(message: Any) -> ByteArray:
    """Decode a sensor_msgs/CompressedImage that holds a JPEG or PNG picture.

    Grey, colour, alpha, 8 and 16 bits. The data decide between JPEG and PNG. `format` is read as
    compressed_image_transport writes it, "ORIGINAL; CODEC compressed ORDER": ORDER rgb8 or rgb16
    says that red and blue were swapped before compression; a one-channel picture whose ORIGINAL is
    bayer_* is a mosaic; "compressedDepth" is no picture. EXIF rotation is ignored, because
    camera_info describes the sensor's rows and columns. Alpha is dropped, values of 16 bits keep
    their high byte.

    Args:
        message: an object with format and data.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous, owned by the caller.

    Raises:
        DecodingError: the data are empty, truncated, neither JPEG nor PNG, damaged, of absurd size,
            or a compressed depth image.
    """
    text = str(message.format)
    if "compressedDepth" in text:
        raise DecodingError(
            f"compressed image of format {text!r} holds depth; subscribe to a colour image"
        )
    data = _as_bytes(message.data)
    file = data.tobytes()
    require_whole_picture(file, f"compressed image of format {text!r}", "check the sender")
    picture_size(file, f"compressed image of format {text!r}", "check the sender")
    try:
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DecodingError(f"compressed image of format {text!r} is damaged: {error}") from error
    if pixels is None:
        raise DecodingError(f"compressed image of format {text!r} is damaged; check the sender")
    if pixels.dtype == np.uint16:
        pixels = np.right_shift(pixels, 8).astype(np.uint8)
    original, _, order = text.partition("compressed")
    if pixels.ndim == 2:
        name = original.partition(";")[0].strip().rstrip("0123456789")
        return _to_rgb(pixels, BAYER_CONVERSIONS.get(name, cv2.COLOR_GRAY2RGB))
    swapped = order.strip().startswith("rgb")
    if pixels.shape[2] == 4:
        return _to_rgb(pixels, cv2.COLOR_RGBA2RGB if swapped else cv2.COLOR_BGRA2RGB)
    return np.asarray(pixels, np.uint8) if swapped else _to_rgb(pixels, cv2.COLOR_BGR2RGB)


def image_to_depth(message: Any) -> npt.NDArray[np.float32]:
    """Decode a depth image (REP 118): 32FC1 in metres or 16UC1 in millimetres.

    Args:
        message: an object with height, width, encoding, is_bigendian, step and data.

    Returns:
        (H, W) float32 metres, owned by the caller, NaN where there is no measurement (0, negative,
        infinite, NaN).

    Raises:
        DecodingError: the encoding is another one, the size is empty, or the data have another
            length than they should.
    """
    if message.encoding not in _DEPTH_TYPES:
        raise DecodingError(
            f"encoding {message.encoding!r} is no depth image; publish 32FC1 (m) or 16UC1 (mm)"
        )
    kind, units_per_m = _DEPTH_TYPES[message.encoding]
    dtype = np.dtype((">" if message.is_bigendian else "<") + kind)
    height, width = _image_size(message)
    rows = _pixel_rows(message, width * dtype.itemsize, height, height)
    depth_m: npt.NDArray[np.float32] = np.ascontiguousarray(rows).view(dtype).astype(np.float32)
    depth_m /= units_per_m
    depth_m[~((depth_m > 0) & (depth_m < np.inf))] = np.nan
    return depth_m


def image_to_labels(message: Any) -> ByteArray:
    """Decode an image of class numbers, mono8 or 8UC1.

    Returns:
        (H, W) uint8, owned by the caller.

    Raises:
        DecodingError: the encoding is another one, or as `image_to_depth`.
    """
    if message.encoding not in ("mono8", "8UC1"):
        raise DecodingError(
            f"encoding {message.encoding!r} holds no class numbers; publish mono8 or 8UC1"
        )
    height, width = _image_size(message)
    return _pixel_rows(message, width, height, height).copy()


def camera_info_to_intrinsics(message: Any, *, rectified: bool = True) -> Intrinsics:
    """Read the intrinsics of the image that a sensor_msgs/CameraInfo accompanies.

    Binning and region of interest are applied: the result is for the image as published, with pixel
    centres on integers (binning by b: cx' = (cx + 0.5) / b - 0.5). Distortion, skew and the fourth
    column of P are not part of it.

    Args:
        message: an object with width, height, binning_x, binning_y, roi and k, p (or K, P as ROS 1
            writes them).
        rectified: whether the image is: P counts where it is filled in (P[0] > 0), else K. False
            takes K always.

    Raises:
        CalibrationError: the size is 0, the matrix is empty or impossible, or the region of
            interest leaves the image.
    """
    k, p = _matrix(message, "k", 9), _matrix(message, "p", 12)
    matrix = (p[0], p[2], p[5], p[6]) if rectified and p[0] > 0 else (k[0], k[2], k[4], k[5])
    fx, cx, fy, cy = matrix
    if not (fx > 0 and fy > 0):
        raise CalibrationError(
            f"camera_info is not calibrated (fx={fx:g}, fy={fy:g}); calibrate the camera, for "
            "example with camera_calibration, and let its driver publish K and P"
        )
    full_width, full_height = int(message.width), int(message.height)
    if full_width <= 0 or full_height <= 0:
        raise CalibrationError(
            f"camera_info is for a {full_width}x{full_height} image; set its width and height"
        )
    left, top, width, height = _region(message.roi, full_width, full_height)
    bin_x, bin_y = max(int(message.binning_x), 1), max(int(message.binning_y), 1)
    return Intrinsics(
        fx=fx / bin_x,
        fy=fy / bin_y,
        cx=(cx - left + 0.5) / bin_x - 0.5,
        cy=(cy - top + 0.5) / bin_y - 0.5,
        width=width // bin_x,
        height=height // bin_y,
    )


def point_cloud_to_xyz(message: Any) -> npt.NDArray[np.float32]:
    """Read the coordinates of a sensor_msgs/PointCloud2 with any fields, padding and byte order.

    Args:
        message: an object with height, width, fields, is_bigendian, point_step, row_step and data.

    Returns:
        (N, 3) float32 metres in the cloud's frame, owned by the caller, N = height * width row by
        row (organised clouds are flattened); points without a return stay NaN, as the driver wrote
        them.

    Raises:
        DecodingError: x, y or z is missing or has several values, or the data are shorter than the
            header says.
    """
    points = _points(message)
    names = points.dtype.names or ()
    missing = [name for name in "xyz" if name not in names or points.dtype[name].shape]
    if missing:
        raise DecodingError(
            f"point cloud has no field {', '.join(missing)} with one value per point; "
            f"its fields are {', '.join(names)}"
        )
    xyz = np.empty((points.size, 3), np.float32)
    for column, name in enumerate("xyz"):
        # Beyond the range of float32 infinity is the right answer.
        with np.errstate(over="ignore"):
            xyz[:, column] = points[name].reshape(-1)
    return xyz


def point_cloud_fields(message: Any) -> dict[str, npt.NDArray[Any]]:
    """Read every field of a sensor_msgs/PointCloud2.

    Returns:
        name -> (N,) array of the field's type in this computer's byte order, (N, count) where count
        > 1; owned by the caller. N = height * width, row by row.

    Raises:
        DecodingError: a field has an unknown type, repeats a name or leaves its point, or the data
            are too short.
    """
    points = _points(message)
    fields = {}
    for name in points.dtype.names or ():
        values = points[name].reshape(points.size, *points.dtype[name].shape)
        fields[name] = values.astype(values.dtype.newbyteorder("="))
    return fields


def _layout_of(message: Any) -> Layout:
    encoding = str(message.encoding)
    if encoding in _DEPTH_TYPES:
        raise DecodingError(
            f"encoding {encoding!r} is depth; publish a grey camera as mono8 or mono16"
        )
    if encoding not in LAYOUTS:
        raise DecodingError(
            f"image encoding {encoding!r} is unknown; choose from {', '.join(LAYOUTS)}"
        )
    layout = LAYOUTS[encoding]
    height, width = _image_size(message)
    block_height, block_width = layout.block
    if height % block_height or width % block_width or min(height, width) < layout.smallest:
        raise DecodingError(
            f"{encoding} image is {width}x{height}; its size must be a multiple of "
            f"{block_width}x{block_height} and at least {layout.smallest}x{layout.smallest}"
        )
    return layout


def _image_size(message: Any) -> tuple[int, int]:
    height, width = int(message.height), int(message.width)
    if height <= 0 or width <= 0:
        raise DecodingError(f"image is empty, {width}x{height} pixels; check the camera driver")
    return height, width


def _as_bytes(data: Any) -> ByteArray:
    try:
        # frombuffer refuses an empty buffer.
        return np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)
    except (TypeError, ValueError, BufferError) as error:
        raise DecodingError(f"message data is {type(data).__name__}, not bytes: {error}") from error


def _pixel_rows(message: Any, row_bytes: int, rows: int, height: int) -> ByteArray:
    """Return the data as (rows, row_bytes) uint8, without the padding of each row."""
    data, step = _as_bytes(message.data), int(message.step)
    what = f"{message.encoding} image of {message.width}x{height}"
    if step < row_bytes:
        raise DecodingError(
            f"{what} has step {step}, a row needs {row_bytes} bytes; check the sender"
        )
    if data.size != step * rows:
        raise DecodingError(
            f"{what} with step {step} must hold {step * rows} bytes, received {data.size}"
        )
    return data.reshape(rows, step)[:, :row_bytes]


def _to_rgb(pixels: npt.NDArray[Any], conversion: int) -> ByteArray:
    return np.ascontiguousarray(cv2.cvtColor(pixels, conversion), np.uint8)


def _nv24_to_rgb(message: Any, luma: ByteArray) -> ByteArray:
    height, width = luma.shape
    step = int(message.step)
    chroma = _as_bytes(message.data)[step * height :].reshape(height, 2 * step)[:, : 2 * width]
    # OpenCV has no 4:4:4 conversion: doubled columns make it UYVY, and so the arithmetic of the
    # other YUV encodings.
    packed = np.empty((height, width, 4), np.uint8)
    packed[..., 0], packed[..., 2] = chroma[:, 0::2], chroma[:, 1::2]
    packed[..., 1] = packed[..., 3] = luma
    return np.ascontiguousarray(
        _to_rgb(packed.reshape(height, 2 * width, 2), cv2.COLOR_YUV2RGB_UYVY)[:, ::2]
    )


def _matrix(message: Any, name: str, length: int) -> list[float]:
    values: Any = getattr(message, name, None)
    values = getattr(message, name.upper(), ()) if values is None else values
    if len(values) != length:
        raise CalibrationError(
            f"camera_info.{name} has {len(values)} values, it must have {length}; check the sender"
        )
    return [float(value) for value in values]


def _region(roi: Any, full_width: int, full_height: int) -> tuple[int, int, int, int]:
    """Return left, top, width, height of the published window in pixels of the full image."""
    left, top, width, height = int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)
    if (width, height) == (0, 0):
        return 0, 0, full_width, full_height
    if left < 0 or top < 0 or left + width > full_width or top + height > full_height:
        raise CalibrationError(
            f"camera_info.roi of {width}x{height} at ({left}, {top}) leaves the image of "
            f"{full_width}x{full_height}; send it in pixels of the full image, or all zeros"
        )
    return left, top, width, height


def _points(message: Any) -> npt.NDArray[Any]:
    """Return the cloud as a structured (height, width) view of the message's data."""
    dtype, point_step = _point_dtype(message), int(message.point_step)
    height, width = int(message.height), int(message.width)
    data = _as_bytes(message.data)
    if height <= 0 or width <= 0:
        return np.zeros((0, 0), dtype)
    row_bytes = width * point_step
    # Drivers fill row_step of a single row with anything; it matters only with a second row.
    row_step = row_bytes if height == 1 else int(message.row_step)
    expected = row_step * (height - 1) + row_bytes
    if row_step < row_bytes or data.size < expected:
        raise DecodingError(
            f"point cloud of {width}x{height} points with point_step {point_step} and row_step "
            f"{row_step} needs rows of {row_bytes} and {expected} bytes, received {data.size}"
        )
    points: npt.NDArray[Any] = np.ndarray(
        (height, width), dtype, data, strides=(row_step, point_step)
    )
    return points


def _point_dtype(message: Any) -> np.dtype[Any]:
    order, point_step = (">" if message.is_bigendian else "<"), int(message.point_step)
    names, formats, offsets = [], [], []
    for field in message.fields:
        what = f"point cloud field {field.name!r}"
        kind = _POINT_TYPES.get(int(field.datatype))
        if kind is None:
            raise DecodingError(f"{what} has datatype {field.datatype}; PointField knows 1 to 8")
        # Old senders write count 0 for a single value.
        count, offset = max(int(field.count), 1), int(field.offset)
        if not 0 <= offset <= point_step - count * np.dtype(kind).itemsize:
            raise DecodingError(
                f"{what} of {count} values of {np.dtype(kind)} at offset {offset} leaves its point "
                f"of {point_step} bytes; check point_step"
            )
        names.append(str(field.name))
        formats.append((order + kind, (count,)) if count > 1 else order + kind)
        offsets.append(offset)
    if not names or len(set(names)) < len(names) or "" in names:
        raise DecodingError(f"point cloud fields are {names}; every field needs a name of its own")
    try:
        return np.dtype({"names": names, "formats": formats, "offsets": offsets})
    except (ValueError, OverflowError) as error:
        raise DecodingError(f"point cloud with point_step {point_step}: {error}") from error
