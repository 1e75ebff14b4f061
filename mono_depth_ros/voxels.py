"""Thinning a cloud: one point per cube of a grid, alike for numpy arrays and torch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mono_depth_ros.cloud_filters import Array, VoxelPoint

if TYPE_CHECKING:
    from torch import Tensor

# 21 bits per axis. Points beyond so many cubes share the outermost: 5 km away for the smallest.
_BITS = 21
_HALF = 1 << (_BITS - 1)


def thin_to_voxels(points: Array, side_m: float, which: VoxelPoint = "centroid") -> Array:
    """Return one point per cube of a grid whose corner is the origin of the cloud's frame.

    A point p belongs to cube floor(p / side_m). Cubes come in the order of x, then y, then z.

    Args:
        points: (N, 4) float32, contiguous: x, y, z metres, finite, and packed colour (B, G, R, 0);
            array or tensor.
        side_m: side of a cube, metres.
        which: `centroid` is the mean of the cube's points with the mean of their colours, rounded;
            `nearest` is its point nearest to the origin, of equally near ones the first.

    Returns:
        (M, 4) float32 of the same kind, M <= N.
    """
    if len(points) == 0:
        return points
    if isinstance(points, np.ndarray):
        return _thin_array(points, side_m, which)
    return _thin_tensor(points, side_m, which)


def _thin_array(
    points: npt.NDArray[np.float32], side_m: float, which: VoxelPoint
) -> npt.NDArray[np.float32]:
    # Multiplied, not divided: a GPU divides by a constant in this way.
    cells = np.floor(points[:, :3] * np.float32(1.0 / side_m)).clip(-_HALF, _HALF - 1)
    x, y, z = (cells + np.float32(_HALF)).astype(np.int64).T
    key = (x << 2 * _BITS) | (y << _BITS) | z
    order = np.argsort(key, kind="stable")
    is_first = np.diff(key[order], prepend=-1) != 0
    starts = np.flatnonzero(is_first)
    if which == "nearest":
        ranges = _squared_range(points)[order]
        is_nearest = ranges == np.minimum.reduceat(ranges, starts)[np.cumsum(is_first) - 1]
        first = np.minimum.reduceat(np.where(is_nearest, order, len(points)), starts)
        return points.take(first, axis=0)
    cube = np.empty_like(order)
    cube[order] = np.cumsum(is_first) - 1
    counts = np.diff(starts, append=len(points))
    colors = np.ascontiguousarray(points[:, 3:]).view(np.uint8)
    result = np.zeros((len(starts), 4), np.float32)
    for axis in range(3):
        result[:, axis] = np.bincount(cube, points[:, axis]) / counts
        mean_color = np.bincount(cube, colors[:, axis]) / counts
        result.view(np.uint8)[:, 12 + axis] = np.floor(mean_color + 0.5)
    return result


def _thin_tensor(points: Tensor, side_m: float, which: VoxelPoint) -> Tensor:
    import torch

    per_m = float(np.float32(1.0 / side_m))
    cells = torch.floor(points[:, :3] * per_m).clamp(-_HALF, _HALF - 1)
    x, y, z = (cells + _HALF).long().unbind(1)
    key = (x << 2 * _BITS) | (y << _BITS) | z
    if which == "nearest":
        by_range = torch.argsort(_squared_range(points), stable=True)
        order = by_range[torch.argsort(key[by_range], stable=True)]
        key = key[order]
        is_first = torch.ones_like(key, dtype=torch.bool)
        is_first[1:] = key[1:] != key[:-1]
        return points[order[is_first]]
    _, cube, counts = torch.unique(key, return_inverse=True, return_counts=True)
    colors = points[:, 3:].contiguous().view(torch.uint8)
    values = torch.cat((points[:, :3].double(), colors.double()), dim=1)
    sums = values.new_zeros(len(counts), 7).index_add_(0, cube, values)
    means = sums / counts[:, None]
    packed = (means[:, 3:] + 0.5).floor().to(torch.uint8).view(torch.float32)
    return torch.cat((means[:, :3].float(), packed), dim=1)


def _squared_range(points: Array) -> Array:
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    return (x * x + y * y) + z * z
