"""Pinhole geometry: intrinsics, rigid transforms, depth to points, LiDAR to sparse depth.

Conventions of the whole package: `a_from_b @ p_b = p_a`; camera coordinates are those of the
optical frame (x right, y down, z forward); depth is z, not ray length; a pixel centre has integer
coordinates, so the image spans [-0.5, width - 0.5); a projected point (u, v) belongs to pixel
floor(u + 0.5), floor(v + 0.5); NaN means "no depth".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import CalibrationError, ShapeError

FloatArray = npt.NDArray[np.floating]

# Single precision is this sure of a depth up to 10 km away.
_DOUBTFUL_M = 0.01


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A rectified pinhole camera, in pixels of an image of `height` x `width`.

    Raises:
        CalibrationError: a focal length is not positive and finite, a centre is not finite, or the
            size is not positive.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if not all(map(math.isfinite, values)) or self.fx <= 0 or self.fy <= 0:
            raise CalibrationError(
                f"intrinsics fx={self.fx} fy={self.fy} cx={self.cx} cy={self.cy} are impossible; "
                "focal lengths must be positive and all four finite: calibrate the camera"
            )
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(f"intrinsics are for an empty image, {self.width}x{self.height}")

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """K, shape (3, 3) float64."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> Intrinsics:
        """Return the intrinsics after the whole image is resized to (height, width).

        With pixel centres on integers, u' + 0.5 = s (u + 0.5), hence cx' = s (cx + 0.5) - 0.5.
        """
        sx, sy = width / self.width, height / self.height
        return Intrinsics(
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=sx * (self.cx + 0.5) - 0.5,
            cy=sy * (self.cy + 0.5) - 0.5,
            width=width,
            height=height,
        )

    def windowed(self, left: int, top: int, width: int, height: int) -> Intrinsics:
        """Return the intrinsics of the window that starts at (left, top); negative values pad."""
        return Intrinsics(self.fx, self.fy, self.cx - left, self.cy - top, width, height)

    def strided(self, stride: int) -> Intrinsics:
        """Return the intrinsics of the image of every `stride`-th row and column, from the first.

        Pixels are picked, not averaged: u' = u / stride.
        """
        return Intrinsics(
            fx=self.fx / stride,
            fy=self.fy / stride,
            cx=self.cx / stride,
            cy=self.cy / stride,
            width=-(-self.width // stride),
            height=-(-self.height // stride),
        )


def transform_from_quaternion(
    translation_m: npt.ArrayLike, quaternion_xyzw: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return the (4, 4) transform of a geometry_msgs/Transform (parent_from_child).

    Args:
        translation_m: (3,) metres.
        quaternion_xyzw: (4,), normalised here, because recorded quaternions are only nearly unit
            length.

    Raises:
        CalibrationError: the quaternion has no length, or no finite one.
    """
    x, y, z, w = np.asarray(quaternion_xyzw, np.float64)
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if not 1e-6 < norm < math.inf:
        raise CalibrationError(
            f"quaternion {(x, y, z, w)} has no length, or no finite one; publish a rotation, at "
            "least (0, 0, 0, 1)"
        )
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = np.asarray(translation_m, np.float64)
    return matrix


def quaternion_from_matrix(rotation: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the unit quaternion (x, y, z, w), w >= 0, of a (3, 3) rotation.

    Bar-Itzhack's eigenvector method: it has no special cases and tolerates rounding.
    """
    r = np.asarray(rotation, np.float64)
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], 0.0, 0.0, 0.0],
            [r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], 0.0, 0.0],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1], 0.0],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r.trace()],
        ]
    )
    _, vectors = np.linalg.eigh(k)  # reads the lower triangle only
    quaternion = vectors[:, -1]
    return quaternion if quaternion[3] >= 0 else -quaternion


def invert_transform(a_from_b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return b_from_a of a rigid (4, 4) transform."""
    matrix = np.asarray(a_from_b, np.float64)
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse


def transform_points(a_from_b: npt.ArrayLike, points_b_m: FloatArray) -> npt.NDArray[np.float64]:
    """Return points (N, 3) of frame b in frame a, metres, float64."""
    points = np.ascontiguousarray(points_b_m, np.float64)
    if not len(points):
        return points
    # Forty times faster than the product of a tall matrix and one of 3x3.
    moved = cv2.transform(points[:, np.newaxis], np.asarray(a_from_b, np.float64)[:3])
    return np.asarray(moved[:, 0], np.float64)


def depth_to_points(depth_m: FloatArray, camera: Intrinsics) -> npt.NDArray[np.float32]:
    """Lift a depth image to camera coordinates.

    Args:
        depth_m: (H, W), metres along the optical axis, NaN where unknown.
        camera: intrinsics of exactly that image.

    Returns:
        (H, W, 3) float32 metres in the optical frame; NaN in all three where depth is NaN.

    Raises:
        ShapeError: the depth image has another size than the camera.
    """
    _require_camera_size(depth_m, camera)
    depth = np.asarray(depth_m, np.float32)
    x_per_m = ((np.arange(camera.width) - camera.cx) / camera.fx).astype(np.float32)
    y_per_m = ((np.arange(camera.height) - camera.cy) / camera.fy).astype(np.float32)
    return np.stack((depth * x_per_m, depth * y_per_m[:, None], depth), axis=-1)


def project_points(
    points_camera_m: FloatArray, camera: Intrinsics
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Project points (N, 3) of the optical frame to sub-pixel image coordinates.

    Returns:
        u_px, v_px, depth_m, each (N,) float64; u and v are NaN for points at or behind the camera
        plane.
    """
    points = np.asarray(points_camera_m, np.float64)
    depth_m = points[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(depth_m > 0, 1.0 / depth_m, np.nan)
    return (
        camera.fx * points[:, 0] * inverse + camera.cx,
        camera.fy * points[:, 1] * inverse + camera.cy,
        depth_m,
    )


def project_into_image(
    points_camera_m: FloatArray, camera: Intrinsics
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Project as `project_points` does; return only the points that land in the image."""
    u_px, v_px, depth_m = project_points(points_camera_m, camera)
    with np.errstate(invalid="ignore"):
        inside = (
            (u_px >= -0.5)
            & (u_px < camera.width - 0.5)
            & (v_px >= -0.5)
            & (v_px < camera.height - 0.5)
        )
    return u_px[inside], v_px[inside], depth_m[inside]


def pixels_of(
    u_px: FloatArray, v_px: FloatArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows and columns (N,) of the pixels that positions belong to."""
    return np.floor(v_px + 0.5).astype(np.int64), np.floor(u_px + 0.5).astype(np.int64)


def points_to_depth(points_camera_m: FloatArray, camera: Intrinsics) -> npt.NDArray[np.float32]:
    """Render points of the optical frame as a z-buffered sparse depth image.

    Returns:
        (H, W) float32 metres along the optical axis; the nearest point of each pixel, NaN where
        none lands.
    """
    return render_depth(*project_into_image(points_camera_m, camera), camera)


def render_depth(
    u_px: FloatArray, v_px: FloatArray, depth_m: FloatArray, camera: Intrinsics
) -> npt.NDArray[np.float32]:
    """Return the depth image of points that land in the image, as `points_to_depth` does."""
    rows, columns = pixels_of(u_px, v_px)
    nearest_m = np.full(camera.height * camera.width, np.inf, np.float32)
    np.minimum.at(nearest_m, rows * camera.width + columns, depth_m.astype(np.float32))
    nearest_m[np.isinf(nearest_m)] = np.nan
    return nearest_m.reshape(camera.height, camera.width)


def lidar_to_depth(
    points_lidar_m: FloatArray, camera_from_lidar: npt.ArrayLike, camera: Intrinsics
) -> npt.NDArray[np.float32]:
    """Render LiDAR points as a sparse depth image; arguments and errors as `lidar_into_image`.

    Returns:
        (H, W) float32, metres along the optical axis, NaN where no point lands. Where several
        points land on one pixel the nearest is kept.
    """
    return render_depth(*lidar_into_image(points_lidar_m, camera_from_lidar, camera), camera)


def true_pixels(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return rows and columns (N,) of what is True, as np.nonzero does, in a fifth of its time."""
    rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return rows, columns


def lidar_into_image(
    points_lidar_m: FloatArray, camera_from_lidar: npt.ArrayLike, camera: Intrinsics
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Project LiDAR points to sub-pixel image coordinates.

    Args:
        points_lidar_m: (N, 3), metres, LiDAR frame; non-finite points are left out.
        camera_from_lidar: (4, 4) rigid transform from the LiDAR frame to the camera's optical
            frame.
        camera: intrinsics of the image to compare with.

    Returns:
        u_px, v_px, depth_m, (M,) float64 each, of the points that land in the image.

    Raises:
        ShapeError: points are not (N, 3).
    """
    points = np.asarray(points_lidar_m)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ShapeError(f"LiDAR points have shape {points.shape}; pass (N, 3) metres")
    if not np.issubdtype(points.dtype, np.floating):
        points = points.astype(np.float64)
    matrix = np.asarray(camera_from_lidar, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        # Half of a sweep lies behind the camera, where nothing else is computed. NaN is not in
        # front, and infinity is not below it. What single precision leaves in doubt stays, to be
        # left out by the projection.
        z_m = points @ matrix[2, :3].astype(points.dtype) + matrix[2, 3].astype(points.dtype)
        points = points[(z_m > -_DOUBTFUL_M) & (z_m < np.inf)]
        return project_into_image(transform_points(matrix, points), camera)


def _require_camera_size(depth_m: FloatArray, camera: Intrinsics) -> None:
    if depth_m.shape != (camera.height, camera.width):
        raise ShapeError(
            f"depth image is {depth_m.shape}, its camera is for "
            f"{(camera.height, camera.width)} (height, width); "
            "scale the intrinsics with Intrinsics.resized"
        )
