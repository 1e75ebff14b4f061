"""The three solids every scene is built of, and their exact intersection with rays.

A primitive is an affine image of a unit solid: the cube [-1, 1]^3, the unit sphere, or the unit
disc extruded over
z in [-1, 1]. Rays are taken into that unit space by an affine map, which keeps the ray parameter t,
so a direction
with z = 1 in the camera frame gives t = depth. All rays of one cast share their origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

BOX, CYLINDER, ELLIPSOID = 0, 1, 2
NO_HIT = float("inf")
# Directions in unit space stay finite under division: 1/d is limited to this.
_INVERSE_LIMIT = 1e18

FloatArray = npt.NDArray[np.float64]
CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
# The 12 edges as pairs of corner indices: corners that differ in exactly one coordinate.
EDGES = np.array([[i, i + s] for s in (1, 2, 4) for i in range(8) if not i & s])


@dataclass(frozen=True)
class PrimitiveSet:
    """N solids in one frame, metres.

    Attributes:
        kind: (N,) uint8, BOX, CYLINDER (axis = local z) or ELLIPSOID.
        centre_m: (N, 3) float64.
        rotation: (N, 3, 3) float64, world_from_local.
        half_m: (N, 3) float64, half sizes (radii) along the local axes.
        label: (N,) uint8 semantic class.
        material: (N,) int32 row of the scene's material table.
        actor: (N,) int32, index of the moving object it belongs to, -1 for the static world.
        casts: (N,) bool, whether it throws a shadow.
    """

    kind: npt.NDArray[np.uint8]
    centre_m: FloatArray
    rotation: FloatArray
    half_m: FloatArray
    label: npt.NDArray[np.uint8]
    material: npt.NDArray[np.int32]
    actor: npt.NDArray[np.int32]
    casts: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.kind)

    @cached_property
    def unit_from_world(self) -> FloatArray:
        """(N, 3, 3) linear part of the map to unit space: diag(1 / half) · rotationᵀ."""
        return self.rotation.transpose(0, 2, 1) / self.half_m[:, :, None]

    @cached_property
    def corners_m(self) -> FloatArray:
        """(N, 8, 3) corners of the oriented bounding boxes, world frame."""
        local = CORNERS[None] * self.half_m[:, None]
        return np.einsum("nij,nkj->nki", self.rotation, local) + self.centre_m[:, None]

    @cached_property
    def radius_m(self) -> FloatArray:
        """(N,) radii of the spheres around the bounding boxes."""
        return np.linalg.norm(self.half_m, axis=1)

    def distance_m(self, point_m: FloatArray) -> float:
        """Return the distance from a point (3,) to the nearest oriented bounding box, 0 inside."""
        local = np.einsum("nji,nj->ni", self.rotation, point_m - self.centre_m)
        outside = np.maximum(np.abs(local) - self.half_m, 0.0)
        return float(np.sqrt((outside * outside).sum(axis=1).min()))

    def select(self, index: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> PrimitiveSet:
        """Return the primitives at `index` (indices or mask), in that order."""
        return PrimitiveSet(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def intersect(
    kind: int, origin: torch.Tensor, direction: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where rays enter and leave a unit solid.

    Args:
        kind: BOX, CYLINDER or ELLIPSOID.
        origin: (3, 1, ...) common origin in unit space, float32.
        direction: (3, ...) directions in unit space, float32, any length.

    Returns:
        near, far: ray parameters, each (...). A ray misses where near > far; near < 0 where the
            origin is inside.
    """
    if kind == BOX:
        near, far = _slabs(origin, direction)
        return near.amax(dim=0), far.amin(dim=0)
    if kind == ELLIPSOID:
        return _sphere(origin, direction)
    near, far = _slabs(origin[2], direction[2])
    side_near, side_far = _sphere(origin[:2], direction[:2])
    return torch.maximum(near, side_near), torch.minimum(far, side_far)


def _slabs(origin: torch.Tensor, direction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    inverse = direction.reciprocal().clamp_(-_INVERSE_LIMIT, _INVERSE_LIMIT)
    reach = inverse.abs()
    middle = inverse.mul_(-origin)
    return middle - reach, reach.add_(middle)


def _sphere(origin: torch.Tensor, direction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit sphere (or circle, with two components); misses give near = inf, far = -inf."""
    squared = (direction * direction).sum(dim=0).clamp_min_(1e-20)
    closest = -(direction * origin).sum(dim=0) / squared
    # 1 - |closest point|² instead of the discriminant b² - ac, which cancels for small, distant
    # solids.
    foot = direction * closest + origin
    inside = 1.0 - (foot * foot).sum(dim=0)
    half = (inside.clamp_min(0.0) / squared).sqrt_()
    half = torch.where(inside > 0, half, -NO_HIT)
    return closest - half, closest + half
