"""Bundles of rays with one origin: a pinhole image, a spinning LiDAR."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.world.primitives import EDGES, FloatArray, PrimitiveSet

_NEAR_M = 1e-3
_SMALLEST_PX = 0.33


class Window(NamedTuple):
    """Half-open rows and columns of the bundle that can meet one primitive."""

    primitive: int
    top: int
    bottom: int
    left: int
    right: int


class Directions:
    """Ray directions in the unit spaces of N primitives, from per-row and per-column tables.

    Args:
        across: (N, 3, columns) float32.
        down: (N, 3, rows) float32.
        level: (rows,) float32 factor of `across`, or None for 1.
    """

    def __init__(
        self, across: torch.Tensor, down: torch.Tensor, level: torch.Tensor | None = None
    ) -> None:
        self._across, self._down, self._level = across, down, level

    def window(self, index: int, window: Window) -> torch.Tensor:
        """Return (3, rows, columns) of one primitive's window."""
        rows = slice(window.top, window.bottom)
        across = self._across[index, :, None, window.left : window.right]
        if self._level is not None:
            across = across * self._level[rows, None]
        return across + self._down[index, :, rows, None]

    def pairs(self, index: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """Return (3, P) of P pairs of primitive and ray."""
        across, down = self._across, self._down
        count = across.shape[0]
        # (3, N · size): the three components of a pair lie in the same column.
        across_flat = across.transpose(0, 1).reshape(3, -1)
        down_flat = down.transpose(0, 1).reshape(3, -1)
        first = across_flat.index_select(1, index * (across_flat.shape[1] // count) + column)
        if self._level is not None:
            first = first * self._level.index_select(0, row)
        return first + down_flat.index_select(1, index * (down_flat.shape[1] // count) + row)


class RayBundle(Protocol):
    """Rays on a (rows, columns) grid that leave from one point."""

    rows: int
    columns: int
    origin_m: FloatArray

    def windows(self, primitives: PrimitiveSet) -> npt.NDArray[np.int64]:
        """Return (K, 5) conservative windows, columns as in `Window`, of what some ray may meet."""

    def directions(self, unit_from_world: FloatArray, device: torch.device) -> Directions:
        """Return the directions in the unit spaces given by (N, 3, 3) matrices."""


def world_directions(rays: RayBundle, device: torch.device) -> torch.Tensor:
    """Return (3, rows, columns) float32 world directions; t counts in their lengths."""
    return rays.directions(np.eye(3)[None], device).window(
        0, Window(0, 0, rays.rows, 0, rays.columns)
    )


class PinholeRays:
    """One ray per pixel centre; the direction has z = 1 in the optical frame, so t is depth.

    Args:
        world_from_camera: (4, 4), optical frame (x right, y down, z forward).
        camera: intrinsics.
    """

    def __init__(self, world_from_camera: npt.ArrayLike, camera: Intrinsics) -> None:
        pose = np.asarray(world_from_camera, np.float64)
        self.rows, self.columns = camera.height, camera.width
        self.origin_m: FloatArray = pose[:3, 3].copy()
        self._rotation = pose[:3, :3]
        self._camera = camera
        self._x = (np.arange(camera.width) - camera.cx) / camera.fx
        self._y = (np.arange(camera.height) - camera.cy) / camera.fy

    def windows(self, primitives: PrimitiveSet) -> npt.NDArray[np.int64]:
        """See `RayBundle`; the projected oriented bounding box, clipped at the camera plane.

        Boxes narrower than a third of a pixel in both directions are left out: they only make
        pixels flicker.
        """
        camera = self._camera
        seen = np.flatnonzero(self._around(primitives))
        corners = (primitives.corners_m[seen] - self.origin_m) @ self._rotation
        low, high, nearest = project_bounds(corners)
        scale, centre = np.array([camera.fx, camera.fy]), np.array([camera.cx, camera.cy])
        limit = np.array([camera.width, camera.height])
        with np.errstate(invalid="ignore"):
            visible = np.isfinite(nearest) & ((high - low) * scale > _SMALLEST_PX).any(axis=1)
        # One pixel of margin covers the float32 rounding of the directions.
        first = np.clip(np.floor(low[visible] * scale + centre) - 1, 0, limit).astype(np.int64)
        last = np.clip(np.ceil(high[visible] * scale + centre) + 2, 0, limit).astype(np.int64)
        windows = np.column_stack((seen[visible], first[:, 1], last[:, 1], first[:, 0], last[:, 0]))
        return windows[(first < last).all(axis=1)]

    def _around(self, primitives: PrimitiveSet) -> npt.NDArray[np.bool_]:
        """(N,) whether the sphere around a primitive reaches into the view's pyramid."""
        x, y, z = ((primitives.centre_m - self.origin_m) @ self._rotation).T
        radius = primitives.radius_m
        inside = z > -radius
        camera = self._camera
        for rays, pixel, across in ((self._x, 1 / camera.fx, x), (self._y, 1 / camera.fy, y)):
            low, high = rays[0] - 2 * pixel, rays[-1] + 2 * pixel
            inside &= across - low * z > -radius * math.hypot(1.0, low)
            inside &= high * z - across > -radius * math.hypot(1.0, high)
        return inside

    def directions(self, unit_from_world: FloatArray, device: torch.device) -> Directions:
        """See `RayBundle`."""
        unit_from_camera = unit_from_world @ self._rotation
        across = unit_from_camera[:, :, 0, None] * self._x
        down = unit_from_camera[:, :, 1, None] * self._y + unit_from_camera[:, :, 2, None]
        return Directions(_float32(across, device), _float32(down, device))


class SphericalRays:
    """Rays of a spinning LiDAR, unit length, so t is range.

    Args:
        world_from_lidar: (4, 4), x forward, y left, z up.
        elevation_rad: (R,) of the beams, any order.
        azimuth_rad: (C,) increasing and evenly spaced over one turn, counter-clockwise from x.
    """

    def __init__(
        self, world_from_lidar: npt.ArrayLike, elevation_rad: FloatArray, azimuth_rad: FloatArray
    ) -> None:
        pose = np.asarray(world_from_lidar, np.float64)
        self.origin_m: FloatArray = pose[:3, 3].copy()
        self._rotation = pose[:3, :3]
        self._elevation, self._azimuth = elevation_rad, azimuth_rad
        self.rows, self.columns = len(elevation_rad), len(azimuth_rad)

    def windows(self, primitives: PrimitiveSet) -> npt.NDArray[np.int64]:
        """See `RayBundle`; azimuth and elevation bounds of the oriented bounding box."""
        corners = (primitives.corners_m - self.origin_m) @ self._rotation
        axes = np.einsum("ji,njk->nik", self._rotation, primitives.rotation)
        nearest, farthest = _horizontal_distance(corners, axes)
        low_z, high_z = corners[..., 2].min(axis=1), corners[..., 2].max(axis=1)
        low = np.arctan2(low_z, np.where(low_z < 0, nearest, farthest)) - 1e-4
        high = np.arctan2(high_z, np.where(high_z > 0, nearest, farthest)) + 1e-4
        above, below = self._elevation >= low[:, None], self._elevation <= high[:, None]
        hit = above & below
        top, bottom = hit.argmax(axis=1), self.rows - hit[:, ::-1].argmax(axis=1)
        first, count = self._columns_of(corners)
        around = nearest <= 0
        first, count = np.where(around, 0, first), np.where(around, self.columns, count)
        index = np.flatnonzero(hit.any(axis=1))
        end = first + count
        near = np.column_stack(
            (index, top[index], bottom[index], first[index], np.minimum(end, self.columns)[index])
        )
        # Past the seam the window goes on from column 0.
        rest = index[end[index] > self.columns]
        wrapped = np.column_stack(
            (rest, top[rest], bottom[rest], np.zeros_like(rest), end[rest] - self.columns)
        )
        return np.concatenate((near, wrapped)).astype(np.int64)

    def _columns_of(
        self, corners: FloatArray
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First column and number of columns of (N, 8, 3) bodies clear of the vertical axis."""
        centre = corners.mean(axis=1)
        middle = np.arctan2(centre[:, 1], centre[:, 0])
        away = np.arctan2(corners[..., 1], corners[..., 0]) - middle[:, None]
        away = (away + math.pi) % (2 * math.pi) - math.pi
        step = 2 * math.pi / self.columns
        low, high = away.min(axis=1), away.max(axis=1)
        first = np.floor((middle + low - self._azimuth[0]) / step).astype(np.int64) - 1
        count = np.ceil((high - low) / step).astype(np.int64) + 4
        return first % self.columns, np.minimum(count, self.columns)

    def directions(self, unit_from_world: FloatArray, device: torch.device) -> Directions:
        """See `RayBundle`."""
        unit_from_lidar = unit_from_world @ self._rotation
        turn = unit_from_lidar[:, :, 0, None] * np.cos(self._azimuth)
        turn = turn + unit_from_lidar[:, :, 1, None] * np.sin(self._azimuth)
        rise = unit_from_lidar[:, :, 2, None] * np.sin(self._elevation)
        return Directions(
            _float32(turn, device),
            _float32(rise, device),
            _float32(np.cos(self._elevation), device),
        )


def _float32(values: FloatArray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)


def project_bounds(corners: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Bound the perspective images of convex boxes.

    Args:
        corners: (N, 8, 3) in a frame that looks along +z, ordered as `primitives.CORNERS`.

    Returns:
        low, high: (N, 2) bounds of x/z and y/z over the part in front of the plane z = 1 mm,
            infinite where none is.
        nearest: (N,) smallest z of that part, infinite where there is none.
    """
    start, end = corners[:, EDGES[:, 0]], corners[:, EDGES[:, 1]]
    rise = end[..., 2] - start[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (_NEAR_M - start[..., 2]) / rise
        crossing = start + share[..., None] * (end - start)
    crossing[..., 2] = _NEAR_M
    points = np.concatenate((corners, crossing), axis=1)
    front = np.concatenate((corners[..., 2] >= _NEAR_M, (share > 0) & (share < 1)), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        image = points[..., :2] / points[..., 2:]
    low = np.where(front[..., None], image, np.inf).min(axis=1)
    high = np.where(front[..., None], image, -np.inf).max(axis=1)
    return low, high, np.where(front, points[..., 2], np.inf).min(axis=1)


def _horizontal_distance(corners: FloatArray, axes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lower bound (0 where they may touch) and upper bound of the boxes' distances from the z axis.

    A plane through the z axis' normal n separates when all corners have n·p > 0; the best of
    several n is kept.
    """
    flat = corners[..., :2]
    centre = flat.mean(axis=1)
    normals = np.concatenate((axes[:, :2].transpose(0, 2, 1), centre[:, None]), axis=1)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    normals = np.where(length > 1e-9, normals / np.maximum(length, 1e-9), 0.0)
    along = np.einsum("nki,nci->nkc", normals, flat)
    gap = np.maximum(along.min(axis=2), -along.max(axis=2)).max(axis=1)
    return np.maximum(gap, 0.0), np.linalg.norm(flat, axis=2).max(axis=1)
