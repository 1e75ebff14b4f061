"""Casting ray bundles against primitives: nearest hits, and what hides a light from a surface.

Every primitive is tested only on the rays its bounding box can meet, so the cost grows with covered
area, not with
rays times primitives, and the result equals the brute-force one. Primitives that cover many rays
are tested one by one
on rectangles of the z-buffer; the many small ones together, as a list of (primitive, ray) pairs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mono_depth_ros.world.primitives import NO_HIT, FloatArray, PrimitiveSet, intersect
from mono_depth_ros.world.rays import RayBundle, Window, project_bounds

NOTHING = -1
_LARGE_RAYS = 3000
_MOST_PAIRS = 1 << 20
_LIGHT_CELLS = 96
_LOW_32 = (1 << 32) - 1


def cast(
    primitives: PrimitiveSet, rays: RayBundle, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest hit of every ray.

    Returns:
        t: (rows, columns) float32 ray parameter, infinite where nothing is hit.
        index: (rows, columns) int64 of the primitive hit, NOTHING where none is.
    """
    nearest = torch.full((rays.rows, rays.columns), NO_HIT, dtype=torch.float32, device=device)
    index = torch.full((rays.rows, rays.columns), NOTHING, dtype=torch.int64, device=device)
    windows = rays.windows(primitives)
    area = (windows[:, 2] - windows[:, 1]) * (windows[:, 4] - windows[:, 3])
    for window in windows[area >= _LARGE_RAYS]:
        _cast_window(primitives, rays, Window(*window.tolist()), nearest, index)
    kinds = primitives.kind[windows[:, 0]]
    for kind in np.unique(kinds[area < _LARGE_RAYS]):
        for chunk in _chunks(windows[(area < _LARGE_RAYS) & (kinds == kind)]):
            _cast_pairs(int(kind), primitives, rays, chunk, nearest, index)
    return nearest, index


def _cast_window(
    primitives: PrimitiveSet,
    rays: RayBundle,
    window: Window,
    nearest: torch.Tensor,
    index: torch.Tensor,
) -> None:
    used, device = np.array([window.primitive]), nearest.device
    direction = rays.directions(primitives.unit_from_world[used], device).window(0, window)
    origin = _unit_origins(primitives, used, rays.origin_m, device)[0, :, None, None]
    near, far = intersect(int(primitives.kind[window.primitive]), origin, direction)
    depth = nearest[window.top : window.bottom, window.left : window.right]
    hit = (near <= far) & (near > 0) & (near < depth)
    depth.copy_(torch.where(hit, near, depth))
    index[window.top : window.bottom, window.left : window.right].masked_fill_(
        hit, window.primitive
    )


def _chunks(windows: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Split windows so that each part holds about _MOST_PAIRS rays."""
    area = (windows[:, 2] - windows[:, 1]) * (windows[:, 4] - windows[:, 3])
    part = np.cumsum(area) // _MOST_PAIRS
    return [windows[part == number] for number in np.unique(part)]


def _cast_pairs(
    kind: int,
    primitives: PrimitiveSet,
    rays: RayBundle,
    windows: npt.NDArray[np.int64],
    nearest: torch.Tensor,
    index: torch.Tensor,
) -> None:
    device = nearest.device
    used, top, bottom, left, right = windows.T
    width = right - left
    which, within = _expand((bottom - top) * width, device)
    width_t, top_t, left_t, used_t = (
        torch.from_numpy(np.ascontiguousarray(v)).to(device) for v in (width, top, left, used)
    )
    across = width_t.index_select(0, which)
    down = torch.div(within, across, rounding_mode="floor")
    row = top_t.index_select(0, which) + down
    column = left_t.index_select(0, which) + within - down * across
    direction = rays.directions(primitives.unit_from_world[used], device).pairs(which, row, column)
    origin = (
        _unit_origins(primitives, used, rays.origin_m, device).T.contiguous().index_select(1, which)
    )
    near, far = intersect(kind, origin, direction)
    ray = row * rays.columns + column
    flat = nearest.view(-1)
    hit = ((near <= far) & (near > 0) & (near < flat.index_select(0, ray))).nonzero()[:, 0]
    # Positive floats order like their bits, so one integer minimum finds the nearest hit and breaks
    # ties by index.
    key = (near.index_select(0, hit).view(torch.int32).to(torch.int64) << 32) | used_t.index_select(
        0, which.index_select(0, hit)
    )
    best = torch.full_like(index.view(-1), torch.iinfo(torch.int64).max)
    touched = ray.index_select(0, hit)
    best.scatter_reduce_(0, touched, key, "amin")
    winner = best.index_select(0, touched)
    flat.index_copy_(0, touched, (winner >> 32).to(torch.int32).view(torch.float32))
    index.view(-1).index_copy_(0, touched, winner & _LOW_32)


def _expand(
    counts: npt.NDArray[np.int64], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """For counts (K,) return every unit's group number and its position within the group."""
    totals = torch.from_numpy(np.ascontiguousarray(counts)).to(device)
    group = torch.repeat_interleave(totals)
    starts = torch.cumsum(totals, 0) - totals
    return group, torch.arange(len(group), device=device) - starts.index_select(0, group)


def lit(
    primitives: PrimitiveSet, light_m: FloatArray, look: FloatArray, points_m: torch.Tensor
) -> torch.Tensor:
    """Return which surface points see a light: one shadow ray each.

    Args:
        primitives: the solids that throw shadows.
        light_m: (3,) position; the sun is a light two kilometres away.
        look: (3, 3) rotation world_from_light whose third column points from the light at the
            scene; only
            points and solids in front of the light (z > 0 there) take part.
        points_m: (3, N) float32 world points, lifted off their surfaces by the caller.

    Returns:
        (N,) bool.
    """
    device = points_m.device
    visible = torch.ones(points_m.shape[1], dtype=torch.bool, device=device)
    low, high, nearest = project_bounds((primitives.corners_m - light_m) @ look)
    used = np.flatnonzero(np.isfinite(nearest))
    ray = points_m - torch.from_numpy(light_m.astype(np.float32)).to(device)[:, None]
    across, down, ahead = torch.from_numpy(look.T.astype(np.float32)).to(device) @ ray
    front = (ahead > 0).nonzero()[:, 0]
    if not len(used) or not len(front):
        return visible
    image = torch.stack((across, down)).index_select(1, front) / ahead.index_select(0, front)
    cells = _LightCells(image)
    ray = ray.index_select(1, front)
    matrices = (
        torch.from_numpy(primitives.unit_from_world.astype(np.float32))
        .to(device)
        .reshape(-1, 9)
        .T.contiguous()
    )
    origins = _unit_origins(primitives, np.arange(len(primitives)), light_m, device).T.contiguous()
    shaded = torch.zeros(len(front), dtype=torch.bool, device=device)
    for kind in np.unique(primitives.kind[used]):
        mine = used[primitives.kind[used] == kind]
        for primitive, point in cells.pairs(mine, low[mine], high[mine]):
            x, y, z = ray.index_select(1, point)
            m = matrices.index_select(1, primitive)
            direction = torch.stack([m[k] * x + m[k + 1] * y + m[k + 2] * z for k in (0, 3, 6)])
            near, far = intersect(int(kind), origins.index_select(1, primitive), direction)
            shaded[point[((near <= far) & (near > 0) & (near < 1.0)).nonzero()[:, 0]]] = True
    visible[front] = ~shaded
    return visible


class _LightCells:
    """Surface points sorted into the cells of a grid in the light's image plane."""

    def __init__(self, image: torch.Tensor) -> None:
        device = image.device
        sample = image[:, :: max(1, image.shape[1] // 4096)].sort(dim=1).values
        at = torch.arange(1, _LIGHT_CELLS, device=device) * sample.shape[1] // _LIGHT_CELLS
        self._edges = sample[:, at].contiguous()
        column = torch.searchsorted(self._edges[0], image[0].contiguous())
        row = torch.searchsorted(self._edges[1], image[1].contiguous())
        cell = column * _LIGHT_CELLS + row
        self._order = torch.argsort(cell)
        self._counts = torch.bincount(cell, minlength=_LIGHT_CELLS**2).cpu().numpy()
        self._starts = np.cumsum(self._counts) - self._counts

    def pairs(
        self, primitive: npt.NDArray[np.int64], low: FloatArray, high: FloatArray
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return chunks of (primitive, point) pairs whose image bounds share a cell."""
        edges, device = self._edges.cpu().numpy().astype(np.float64), self._order.device
        first = np.stack([np.searchsorted(edges[k], low[:, k] - 1e-4) for k in (0, 1)])
        last = np.stack([np.searchsorted(edges[k], high[:, k] + 1e-4) for k in (0, 1)]) + 1
        size = last - first
        which, within = (part.numpy() for part in _expand(size[0] * size[1], torch.device("cpu")))
        column = first[0][which] + within // size[1][which]
        cell = column * _LIGHT_CELLS + first[1][which] + within % size[1][which]
        filled = self._counts[cell] > 0
        which, cell = primitive[which[filled]], cell[filled]
        part = np.cumsum(self._counts[cell]) // _MOST_PAIRS
        chunks = []
        for number in np.unique(part):
            mine = part == number
            group, offset = _expand(self._counts[cell[mine]], device)
            start = torch.from_numpy(self._starts[cell[mine]]).to(device)
            point = self._order.index_select(0, start.index_select(0, group) + offset)
            chunks.append((torch.from_numpy(which[mine]).to(device).index_select(0, group), point))
        return chunks


def _unit_origins(
    primitives: PrimitiveSet,
    used: npt.NDArray[np.int64],
    origin_m: FloatArray,
    device: torch.device,
) -> torch.Tensor:
    """(K, 3) float32 origin in every used primitive's unit space, computed in float64."""
    offset = origin_m - primitives.centre_m[used]
    unit = np.einsum("nij,nj->ni", primitives.unit_from_world[used], offset)
    return torch.from_numpy(unit.astype(np.float32)).to(device)
