"""How the encodings of sensor_msgs/image_encodings.hpp store a picture.

nv12 is not in that file before ROS 2 Kilted, but cameras send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2


@dataclass(frozen=True, slots=True)
class Layout:
    """How an encoding stores a picture and how OpenCV turns it to RGB.

    Attributes:
        channels: values per pixel in a row.
        bytes_each: bytes per value.
        conversion: OpenCV code to RGB; None where the values are RGB already.
        buffer_rows: rows of `step` bytes in the data, per image row.
        block: (height, width) in pixels that share a colour value; the image must be a multiple of
            it.
        smallest: least height and width OpenCV can convert.
    """

    channels: int
    bytes_each: int = 1
    conversion: int | None = None
    buffer_rows: float = 1.0
    block: tuple[int, int] = (1, 1)
    smallest: int = 1


# ROS names a mosaic by its first 2x2 pixels; OpenCV's BayerBG names the same one by its second row
# and column.
BAYER_CONVERSIONS = {
    "bayer_rggb": cv2.COLOR_BayerBG2RGB,
    "bayer_bggr": cv2.COLOR_BayerRG2RGB,
    "bayer_gbrg": cv2.COLOR_BayerGR2RGB,
    "bayer_grbg": cv2.COLOR_BayerGB2RGB,
}
_UYVY = Layout(2, conversion=cv2.COLOR_YUV2RGB_UYVY, block=(1, 2))
_YUYV = Layout(2, conversion=cv2.COLOR_YUV2RGB_YUY2, block=(1, 2))

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "rgb8": Layout(3),
        "bgr8": Layout(3, 1, cv2.COLOR_BGR2RGB),
        "rgba8": Layout(4, 1, cv2.COLOR_RGBA2RGB),
        "bgra8": Layout(4, 1, cv2.COLOR_BGRA2RGB),
        "mono8": Layout(1, 1, cv2.COLOR_GRAY2RGB),
        "rgb16": Layout(3, 2),
        "bgr16": Layout(3, 2, cv2.COLOR_BGR2RGB),
        "rgba16": Layout(4, 2, cv2.COLOR_RGBA2RGB),
        "bgra16": Layout(4, 2, cv2.COLOR_BGRA2RGB),
        "mono16": Layout(1, 2, cv2.COLOR_GRAY2RGB),
        **{f"{name}8": Layout(1, 1, code, smallest=3) for name, code in BAYER_CONVERSIONS.items()},
        **{f"{name}16": Layout(1, 2, code, smallest=3) for name, code in BAYER_CONVERSIONS.items()},
        "uyvy": _UYVY,
        "yuv422": _UYVY,
        "yuyv": _YUYV,
        "yuv422_yuy2": _YUYV,
        "nv12": Layout(1, 1, cv2.COLOR_YUV2RGB_NV12, buffer_rows=1.5, block=(2, 2)),
        "nv21": Layout(1, 1, cv2.COLOR_YUV2RGB_NV21, buffer_rows=1.5, block=(2, 2)),
        "nv24": Layout(1, 1, cv2.COLOR_YUV2RGB_UYVY, buffer_rows=3.0),
        # Plain OpenCV types name no colours; OpenCV's own order is grey, BGR, BGRA.
        "8UC1": Layout(1, 1, cv2.COLOR_GRAY2RGB),
        "8UC3": Layout(3, 1, cv2.COLOR_BGR2RGB),
        "8UC4": Layout(4, 1, cv2.COLOR_BGRA2RGB),
    }
)
