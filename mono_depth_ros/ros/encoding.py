"""Arrays to sensor_msgs messages, built for speed: no copy that publish() does not need.

The payload of the large messages is the numpy array itself, set past the generated setter, which
would copy it once or walk it byte by byte. Such a message is for publish() or serialisation only
and shares memory with its source: publish it before the array changes.
"""

from __future__ import annotations

import copy
import math
import sys

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.clouds import POINT
from mono_depth_ros.coloring import DepthColorizer
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.filtered_clouds import FilteredCloudBuilder
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.millimetres import depth_to_millimetres
from mono_depth_ros.prediction import Array, to_host

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
    """XYZRGB clouds of one camera as messages; the arguments are those of `FilteredCloudBuilder`.

    The message of `encode` shares the builder's buffer: publish or serialise it before the next
    call.
    """

    def __init__(
        self,
        camera: Intrinsics,
        config: CloudConfig | None = None,
        ego_mask: npt.NDArray[np.bool_] | None = None,
        sky_label: int | None = None,
    ) -> None:
        self._build = FilteredCloudBuilder(camera, config or CloudConfig(), ego_mask, sky_label)
        self.camera = camera
        self._fields = [
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(POINT.names)
        ]

    def encode(
        self,
        depth_m: Array,
        rgb: Array,
        header: Header,
        confidence: Array | None = None,
        semantics: Array | None = None,
        largest_depth_m: float = math.inf,
    ) -> PointCloud2:
        """Build the cloud of one frame, of arrays or of tensors on one device.

        Args:
            depth_m: (H, W) float32 metres, NaN where unknown; z of every point is its depth bit for
                bit.
            rgb: (H, W, 3) uint8 of the same pixels.
            header: stamp and optical frame of the image.
            confidence: see `FilteredCloudBuilder`.
            semantics: likewise.
            largest_depth_m: likewise.

        Returns:
            PointCloud2, 16 bytes per point: x, y, z float32 metres in the optical frame and rgb as
            bytes B, G, R, 0 read as float32. Organised: height and width of the image over the
            stride, NaN x, y, z where there is no point. Dense: height 1.

        Raises:
            ShapeError: depth or colour has another size or type than the camera.
        """
        if isinstance(depth_m, np.ndarray):
            _require_depth(depth_m)
        points = to_host(self._build(depth_m, rgb, confidence, semantics, largest_depth_m))
        cloud = PointCloud2()
        cloud._data = points
        cloud.header = header
        cloud.height, cloud.width = points.shape[:2] if points.ndim == 3 else (1, len(points))
        cloud.fields = self._fields
        cloud.is_bigendian = _BIG_ENDIAN
        cloud.point_step = POINT.itemsize
        cloud.row_step = POINT.itemsize * cloud.width
        # min() hands NaN on and needs no mask. False only says that there may be NaN.
        cloud.is_dense = points.ndim == 2 or (
            self._build.keeps_all and not math.isnan(depth_m.min())
        )
        return cloud


def depth_to_color_image(depth_m: Array, colorize: DepthColorizer, header: Header) -> Image:
    """Draw a depth image, array or tensor, as rgb8; publish it before `colorize` is used again."""
    if not isinstance(depth_m, np.ndarray):
        return _image(to_host(colorize.on_device(depth_m)), header, "rgb8", 3)
    _require_depth(depth_m)
    return _image(colorize(depth_m), header, "rgb8", 3)


def depth_to_millimetre_image(depth_m: DepthArray, header: Header) -> Image:
    """Return a depth image as 16UC1 millimetres (REP 118), 0 where unknown or beyond 65.535 m."""
    _require_depth(depth_m)
    return _image(depth_to_millimetres(depth_m), header, "16UC1", 2)


def map_to_image(values: npt.NDArray[np.float32], header: Header) -> Image:
    """Wrap one value per pixel, such as confidence, as 32FC1.

    Args:
        values: (H, W) float32; copied only if it is not C-contiguous.
        header: stamp and frame of the image the values belong to.
    """
    return _image(np.ascontiguousarray(values, np.float32), header, "32FC1", 4)


def labels_to_image(labels: npt.NDArray[np.uint8], header: Header) -> Image:
    """Wrap one class index per pixel, (H, W) uint8, as mono8."""
    return _image(np.ascontiguousarray(labels, np.uint8), header, "mono8", 1)


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
