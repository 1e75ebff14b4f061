"""Arrays to sensor_msgs messages, built for speed: no copy that publish() does not need.

The payload of the large messages is the numpy array itself, set past the generated setter, which
would copy it once or walk it byte by byte. Such a message is for publish() or serialisation only
and shares memory with its source: publish it before the array changes.
"""

from __future__ import annotations

import copy
import sys

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from mono_depth_ros.clouds import POINT, CloudBuilder
from mono_depth_ros.coloring import DepthColorizer
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import Intrinsics

DepthArray = npt.NDArray[np.float32]
ColorArray = npt.NDArray[np.uint8]

_BIG_ENDIAN = sys.byteorder == "big"


def depth_to_image(depth_m: DepthArray, header: Header) -> Image:
    """Wrap a depth image as sensor_msgs/Image 32FC1.

    Args:
        depth_m: (H, W) float32, C-contiguous, metres along the optical axis, NaN where unknown; not
            copied.
        header: stamp and frame of the image the depth belongs to.

    Raises:
        ShapeError: not a contiguous (H, W) float32 array.
    """
    _require_depth(depth_m)
    return _image(depth_m, header, "32FC1", 4)


def camera_info_of_depth(info: CameraInfo, header: Header) -> CameraInfo:
    """Return the image's calibration with the image's header: depth has the pixels of its image."""
    result = copy.copy(info)
    result.header = header
    return result


class CloudEncoder:
    """Organised XYZRGB clouds of one camera as messages.

    The message of `encode` shares the builder's buffer: publish or serialise it before the next
    call.

    Args:
        camera: intrinsics of the depth images to come, pixels.
    """

    def __init__(self, camera: Intrinsics) -> None:
        self.camera = camera
        self._build = CloudBuilder(camera)
        self._fields = [
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(POINT.names)
        ]

    def encode(self, depth_m: DepthArray, rgb: ColorArray, header: Header) -> PointCloud2:
        """Build the cloud of one frame.

        Args:
            depth_m: (H, W) float32 metres, NaN where unknown; the cloud's z is this array bit for
                bit.
            rgb: (H, W, 3) uint8 of the same pixels.
            header: stamp and optical frame of the image.

        Returns:
            PointCloud2, height H, width W, 16 bytes per point: x, y, z float32 metres in the
            optical frame and rgb as bytes B, G, R, 0 read as float32. NaN depth gives NaN in x, y
            and z.

        Raises:
            ShapeError: depth or colour has another size or type than the camera.
        """
        _require_depth(depth_m)
        cloud = PointCloud2()
        cloud._data = self._build(depth_m, rgb)
        cloud.header = header
        cloud.height, cloud.width = self.camera.height, self.camera.width
        cloud.fields = self._fields
        cloud.is_bigendian = _BIG_ENDIAN
        cloud.point_step = POINT.itemsize
        cloud.row_step = POINT.itemsize * self.camera.width
        cloud.is_dense = not np.isnan(depth_m.min())  # min() hands NaN on and needs no mask
        return cloud


def depth_to_color_image(depth_m: DepthArray, colorize: DepthColorizer, header: Header) -> Image:
    """Draw a depth image as rgb8; publish the message before `colorize` is used again."""
    _require_depth(depth_m)
    return _image(colorize(depth_m), header, "rgb8", 3)


def _image(pixels: npt.NDArray, header: Header, encoding: str, bytes_per_pixel: int) -> Image:
    image = Image()
    image.header = header
    image.height, image.width = pixels.shape[:2]
    image.encoding = encoding
    image.is_bigendian = int(_BIG_ENDIAN)
    image.step = image.width * bytes_per_pixel
    image._data = pixels
    return image


def _require_depth(depth_m: DepthArray) -> None:
    if depth_m.ndim != 2 or depth_m.dtype != np.float32 or not depth_m.flags.c_contiguous:
        raise ShapeError(
            f"depth is {depth_m.shape} {depth_m.dtype}; "
            "pass a C-contiguous (H, W) float32 array in metres"
        )
