"""Coloured point clouds: built from depth, written as PLY, drawn as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.atomic import replacing
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import Intrinsics, project_points, transform_points

if TYPE_CHECKING:
    from torch import Tensor

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<f4")])
"""One point as PointCloud2 has it: metres in the optical frame; rgb is bytes B, G, R, 0."""

_KEEP_BGR = np.array([255, 255, 255, 0], np.uint8).view(np.uint32)[0]


class CloudBuilder:
    """Organised XYZRGB clouds of one camera; a frame allocates nothing large.

    Args:
        camera: intrinsics of the depth images to come, pixels.
    """

    def __init__(self, camera: Intrinsics) -> None:
        self.camera = camera
        shape = (camera.height, camera.width)
        self._x_per_m = ((np.arange(camera.width) - camera.cx) / camera.fx).astype(np.float32)
        y_per_m = ((np.arange(camera.height) - camera.cy) / camera.fy).astype(np.float32)
        self._y_per_m = y_per_m[:, None]
        self._x_m, self._y_m = np.empty(shape, np.float32), np.empty(shape, np.float32)
        self._bgr0 = np.empty((*shape, 4), np.uint8)
        self._points = np.empty((*shape, 4), np.float32)

    def __call__(
        self, depth_m: npt.NDArray[np.float32], rgb: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.float32]:
        """Build the cloud of one frame.

        Args:
            depth_m: (H, W) float32, C-contiguous, metres, NaN where unknown; z is this array bit
                for bit.
            rgb: (H, W, 3) uint8 of the same pixels.

        Returns:
            (H, W, 4) float32, memory of dtype `POINT`: x, y, z metres in the optical frame and
            packed colour. NaN depth gives NaN x, y, z. The next call reuses the array.

        Raises:
            ShapeError: depth or colour has another size or type than the camera.
        """
        shape = (self.camera.height, self.camera.width)
        if depth_m.shape != shape or depth_m.dtype != np.float32:
            raise ShapeError(
                f"depth is {depth_m.shape} {depth_m.dtype}, its camera is for {shape} float32"
            )
        if rgb.shape != (*shape, 3) or rgb.dtype != np.uint8:
            raise ShapeError(
                f"colours are {rgb.shape} {rgb.dtype}, the cloud needs {(*shape, 3)} uint8"
            )
        np.multiply(depth_m, self._x_per_m, out=self._x_m)
        np.multiply(depth_m, self._y_per_m, out=self._y_m)
        # OpenCV sets the fourth byte to 255; half of all colours would then read as NaN and be
        # dropped by every filter that drops NaN in any field.
        cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA, self._bgr0)
        np.bitwise_and(self._bgr0.view(np.uint32), _KEEP_BGR, out=self._bgr0.view(np.uint32))
        packed_rgb = self._bgr0.view(np.float32)[..., 0]
        cv2.merge((self._x_m, self._y_m, depth_m, packed_rgb), self._points)
        return self._points


class TensorCloudBuilder:
    """Organised XYZRGB clouds of one camera on the device of its depth, see `CloudBuilder`.

    Args:
        camera: intrinsics of the depth images to come, pixels.
    """

    def __init__(self, camera: Intrinsics) -> None:
        self.camera = camera
        self._per_m: tuple[Tensor, Tensor] | None = None

    def __call__(self, depth_m: Tensor, rgb: Tensor) -> Tensor:
        """Build the cloud of one frame.

        Args:
            depth_m: (H, W) float32, metres, NaN where unknown.
            rgb: (H, W, 3) uint8 on the same device.

        Returns:
            (H, W, 4) float32 there, as `CloudBuilder` makes it, bit for bit.

        Raises:
            ShapeError: depth or colour has another size than the camera.
        """
        import torch

        camera = self.camera
        shape = (camera.height, camera.width)
        if tuple(depth_m.shape) != shape or tuple(rgb.shape) != (*shape, 3):
            raise ShapeError(
                f"depth is {tuple(depth_m.shape)}, colours are {tuple(rgb.shape)}; the camera is "
                f"for {shape}"
            )
        if self._per_m is None or self._per_m[0].device != depth_m.device:
            axes = (
                (np.arange(camera.width) - camera.cx) / camera.fx,
                ((np.arange(camera.height) - camera.cy) / camera.fy)[:, None],
            )
            x_per_m, y_per_m = (
                torch.from_numpy(axis.astype(np.float32)).to(depth_m.device) for axis in axes
            )
            self._per_m = x_per_m, y_per_m
        x_per_m, y_per_m = self._per_m
        points = depth_m.new_empty(*shape, 4)
        torch.mul(depth_m, x_per_m, out=points[..., 0])
        torch.mul(depth_m, y_per_m, out=points[..., 1])
        points[..., 2] = depth_m
        bgr0 = points.view(torch.uint8)[..., 12:]
        bgr0[..., :3] = rgb.flip(-1)
        bgr0[..., 3] = 0
        return points


def write_ply(path: Path, points: npt.NDArray[np.float32]) -> int:
    """Write the finite points of a cloud as binary little-endian PLY; return how many.

    Args:
        path: file to write, under a temporary name first.
        points: (H, W, 4) or (N, 4) float32 as `CloudBuilder` makes them.
    """
    flat = points.reshape(-1, 4)
    flat = flat[np.isfinite(flat[:, :3]).all(axis=1)]
    colors = ("red", "green", "blue")
    vertices = np.empty(len(flat), [(axis, "<f4") for axis in "xyz"] + [(c, "u1") for c in colors])
    for column, axis in enumerate("xyz"):
        vertices[axis] = flat[:, column]
    bgr0 = np.ascontiguousarray(flat[:, 3:]).view(np.uint8)
    for column, color in enumerate(reversed(colors)):
        vertices[color] = bgr0[:, column]
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    properties += "".join(f"property uchar {color}\n" for color in colors)
    layout = f"format binary_little_endian 1.0\nelement vertex {len(flat)}\n{properties}"
    with replacing(path) as temporary:
        temporary.write_bytes(f"ply\n{layout}end_header\n".encode("ascii") + vertices.tobytes())
    return len(flat)


def draw_cloud(
    points: npt.NDArray[np.float32],
    viewer: Intrinsics,
    viewer_from_camera: npt.ArrayLike,
    dot_px: int = 2,
) -> npt.NDArray[np.uint8]:
    """Draw a cloud as a viewer elsewhere sees it, nearest points in front, on dark grey.

    Args:
        points: (H, W, 4) or (N, 4) float32 as `CloudBuilder` makes them.
        viewer: camera of the picture.
        viewer_from_camera: (4, 4) transform from the cloud's frame to the viewer's optical frame.
        dot_px: side of the square drawn for each point.

    Returns:
        (height, width, 3) uint8 RGB of the viewer's size.
    """
    flat = points.reshape(-1, 4)
    flat = flat[np.isfinite(flat[:, :3]).all(axis=1)]
    u_px, v_px, z_m = project_points(
        transform_points(viewer_from_camera, flat[:, :3].astype(np.float64)), viewer
    )
    order = np.argsort(-z_m)  # far to near: later assignments win
    order = order[z_m[order] > 0.05]
    rgb = np.ascontiguousarray(flat[order, 3:]).view(np.uint8)[:, 2::-1]
    picture = np.full((viewer.height, viewer.width, 3), 24, np.uint8)
    for dy in range(dot_px):
        for dx in range(dot_px):
            column = np.floor(u_px[order] + 0.5).astype(np.int64) + dx
            row = np.floor(v_px[order] + 0.5).astype(np.int64) + dy
            inside = (column >= 0) & (column < viewer.width) & (row >= 0) & (row < viewer.height)
            picture[row[inside], column[inside]] = rgb[inside]
    return picture


def view_from_above(distance_m: float, raise_m: float, pitch_deg: float) -> npt.NDArray[np.float64]:
    """Return viewer_from_camera of a viewer behind and above the camera, looking down at the scene.

    Args:
        distance_m: how far behind the camera the viewer stands.
        raise_m: how far above.
        pitch_deg: how far it looks down.
    """
    pitch = np.deg2rad(pitch_deg)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(pitch), -np.sin(pitch)], [np.sin(pitch), np.cos(pitch)]]
    move = np.eye(4)
    move[:3, 3] = (0.0, raise_m, distance_m)  # y points down: raising the viewer adds to y
    return tilt @ move
