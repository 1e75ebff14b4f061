"""What a ray meets: position, normal and surface coordinates of hits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mono_depth_ros.world.cast import NOTHING
from mono_depth_ros.world.primitives import BOX, CYLINDER, FloatArray, PrimitiveSet


@dataclass(frozen=True)
class Hits:
    """The N rays of a bundle that meet a surface.

    Attributes:
        ray: (N,) int64 flat number of the ray.
        solid: (N,) int64 primitive.
        t: (N,) ray parameter.
        point_m: (3, N) world position.
        normal: (3, N) outward unit normal, world frame.
        cosine: (N,) of the angle between the normal and the way back.
        local_m, running_m: (3, N) position in the solid's axes, measured from its centre and from
            the world's origin.
        normal_local: (3, N) the normal in the solid's axes.
    """

    ray: torch.Tensor
    solid: torch.Tensor
    t: torch.Tensor
    point_m: torch.Tensor
    normal: torch.Tensor
    cosine: torch.Tensor
    local_m: torch.Tensor
    running_m: torch.Tensor
    normal_local: torch.Tensor

    def uv(self, anchored: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (N,) surface coordinates in metres: the two axes of the solid across the normal.

        Args:
            anchored: (N,) bool, whether they count from the solid's centre instead of the world's
                origin.
        """
        position = torch.where(anchored, self.local_m, self.running_m)
        x, y, z = self.normal_local.abs()
        u = torch.where((x > y) & (x > z), position[1], position[0])
        v = torch.where((z >= y) & (z >= x), position[1], position[2])
        return u, v


def find_hits(
    primitives: PrimitiveSet,
    t: torch.Tensor,
    index: torch.Tensor,
    directions: torch.Tensor,
    origin_m: FloatArray,
) -> Hits:
    """Collect the hits of one cast.

    Args:
        primitives: what was cast against.
        t: from `cast`.
        index: from `cast`.
        directions: (3, rows · columns) of the rays, world frame.
        origin_m: (3,) of the rays.
    """
    device = t.device
    ray = (index.reshape(-1) != NOTHING).nonzero()[:, 0]
    solid = index.reshape(-1).index_select(0, ray)
    direction, distance = directions.index_select(1, ray), t.reshape(-1).index_select(0, ray)
    point = direction * distance + torch.from_numpy(origin_m.astype(np.float32)).to(device)[:, None]
    poses = np.concatenate(
        (primitives.rotation.reshape(-1, 9), primitives.centre_m, primitives.half_m), axis=1
    )
    # index_select of a (15, N) table: plain indexing takes ten times as long on the CPU.
    rows = (
        torch.from_numpy(np.ascontiguousarray(poses.T, np.float32))
        .to(device)
        .index_select(1, solid)
    )
    axes, centre, half = rows[:9].reshape(3, 3, -1), rows[9:12], rows[12:15]
    local = _turned_back(axes, point - centre)
    kinds = torch.from_numpy(primitives.kind).to(device).index_select(0, solid)
    normal_local = _local_normals(local, half, kinds)
    normal = (
        axes[:, 0] * normal_local[0] + axes[:, 1] * normal_local[1] + axes[:, 2] * normal_local[2]
    )
    cosine = -dot(normal, direction) / dot(direction, direction).sqrt()
    return Hits(
        ray, solid, distance, point, normal, cosine, local, _turned_back(axes, point), normal_local
    )


def _local_normals(local: torch.Tensor, half: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """Return (3, N) outward unit normals in the solids' own axes."""
    unit = local / half
    x, y, z = unit.abs()
    on_x, on_z = (x >= y) & (x >= z), (z > x) & (z > y)
    box = torch.sign(unit) * torch.stack((on_x, ~(on_x | on_z), on_z))
    bent = (kinds != BOX).nonzero()[:, 0]
    if not len(bent):
        return box
    unit, half, kinds = unit.index_select(1, bent), half.index_select(1, bent), kinds[bent]
    curved = unit / half
    curved[2] = torch.where(kinds == CYLINDER, 0.0, curved[2])
    curved = curved / dot(curved, curved).sqrt().clamp_min(1e-12)
    # A cylinder's cap is where |z| is closer to 1 than the rim is.
    cap = (kinds == CYLINDER) & (unit[2] * unit[2] > unit[0] * unit[0] + unit[1] * unit[1])
    flat = torch.zeros_like(curved)
    flat[2] = torch.sign(unit[2])
    return box.index_copy_(1, bent, torch.where(cap, flat, curved))


def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(N,) inner products of (3, N); torch's sum over a short first axis is much slower."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _turned_back(axes: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """(3, N) vectors times the transposes of (3, 3, N) rotations."""
    return axes[0] * vectors[0] + axes[1] * vectors[1] + axes[2] * vectors[2]
