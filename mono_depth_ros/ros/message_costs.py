"""What building the large messages costs here, against the way of cv_bridge and sensor_msgs_py.

Both libraries convert correctly and copy often. Neither has a wheel, so their way is written down
here. `mono_depth benchmark` prints the figures.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Callable

import cv2
import numpy as np
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from mono_depth_ros.clouds import POINT
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.ros.encoding import CloudEncoder, ColorArray, DepthArray, depth_to_image
from mono_depth_ros.timing import time_in_turns

_SECONDS = 1.0


def usual_depth_image(depth_m: DepthArray, header: Header) -> Image:
    """Build the depth image as cv_bridge's cv2_to_imgmsg does."""
    image = Image(header=header, height=depth_m.shape[0], width=depth_m.shape[1])
    image.encoding = "32FC1"
    image.is_bigendian = int(sys.byteorder == "big")
    image.data.frombytes(depth_m.tobytes())
    image.step = len(image.data) // image.height
    return image


class UsualCloud:
    """Organised XYZRGB clouds: NumPy arithmetic, then as sensor_msgs_py's create_cloud does.

    Args:
        camera: intrinsics of the depth images to come; its pixel grids are made once, as in careful
            nodes.
    """

    def __init__(self, camera: Intrinsics) -> None:
        self._camera = camera
        self._v_px, self._u_px = np.indices((camera.height, camera.width), dtype=np.float32)
        self._fields = [
            PointField(name=name, offset=4 * index, datatype=PointField.FLOAT32, count=1)
            for index, name in enumerate(POINT.names)
        ]

    def __call__(self, depth_m: DepthArray, rgb: ColorArray, header: Header) -> PointCloud2:
        """Build the cloud of one frame, with the content of `CloudEncoder.encode`."""
        camera = self._camera
        points = np.empty(depth_m.shape, POINT)
        points["x"] = (self._u_px - camera.cx) * depth_m / camera.fx
        points["y"] = (self._v_px - camera.cy) * depth_m / camera.fy
        points["z"] = depth_m
        red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
        points["rgb"] = (red << 16 | green << 8 | blue).view(np.float32)
        data = array.array("B")
        data.frombytes(memoryview(points.reshape(-1)).cast("B"))
        cloud = PointCloud2(
            header=header, height=depth_m.shape[0], width=depth_m.shape[1], fields=self._fields,
            is_bigendian=sys.byteorder == "big", point_step=POINT.itemsize,
            row_step=POINT.itemsize * depth_m.shape[1], is_dense=bool(np.isfinite(depth_m).all()),
        )  # fmt: skip
        cloud.data = data
        return cloud


def measure_message_costs(height: int, width: int) -> dict[str, float]:
    """Return median milliseconds of both ways for both messages, and how often ours is faster."""
    camera = Intrinsics(0.9 * width, 0.9 * width, width / 2, height / 2, width, height)
    random = np.random.default_rng(0)
    coarse_m = random.uniform(0.5, 10.0, (12, 16)).astype(np.float32)
    depth_m = np.asarray(cv2.resize(coarse_m, (width, height)), np.float32)
    rgb = random.integers(0, 256, (height, width, 3), np.uint8)
    header = Header(frame_id="camera_optical_frame")
    ours, usual = CloudEncoder(camera), UsualCloud(camera)
    pairs: dict[str, dict[str, Callable[[], object]]] = {
        "depth_message": {
            "ours": lambda: depth_to_image(depth_m, header),
            "usual": lambda: usual_depth_image(depth_m, header),
        },
        "cloud_message": {
            "ours": lambda: ours.encode(depth_m, rgb, header),
            "usual": lambda: usual(depth_m, rgb, header),
        },
    }
    rows = {}
    for name, ways in pairs.items():
        times = time_in_turns(ways, _SECONDS)
        ours_ms, usual_ms = times["ours"].median_ms, times["usual"].median_ms
        rows |= {
            f"{name}_ms": ours_ms,
            f"{name}_usual_ms": usual_ms,
            f"{name}_times_faster": usual_ms / ours_ms,
        }
    return rows
