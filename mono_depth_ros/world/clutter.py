"""Things that no floor plan has: they lie, stand, lean and hang about, some of them thin."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from mono_depth_ros.labels import CITYSCAPES_IGNORE, City, Nyu
from mono_depth_ros.world import palette
from mono_depth_ros.world.motion import RoomMotion
from mono_depth_ros.world.primitives import BOX, PrimitiveSet
from mono_depth_ros.world.scene import (
    Placer,
    Scene,
    SceneBuilder,
    rotation_x,
    rotation_y,
    rotation_z,
)
from mono_depth_ros.world.textures import Material

Rng = np.random.Generator
Solids = tuple[PrimitiveSet, npt.NDArray[np.float32]]

# What small things may stand on: solids of furniture with a top at this height and so large.
_TOPS_M = (0.3, 1.6)
_LEAST_TOP_M = 0.12
_FURNITURE = frozenset(
    (
        *(Nyu.CABINET, Nyu.BED, Nyu.CHAIR, Nyu.SOFA, Nyu.TABLE, Nyu.BOOKSHELF, Nyu.COUNTER),
        *(Nyu.DESK, Nyu.SHELVES, Nyu.DRESSER, Nyu.NIGHT_STAND, Nyu.BOX),
    )
)
_MATERIALS = (
    palette.object_paint,
    palette.object_paint,
    palette.cloth,
    palette.wood,
    palette.metal,
    palette.picture,
)
_STREET_M = (-5.0, 150.0)


def room_clutter(scene: Scene, rng: Rng) -> Solids:
    """Return what lies about in a room, and its materials.

    Args:
        scene: a room whose solids are its furniture.
        rng: drawn from.
    """
    assert isinstance(scene.motion, RoomMotion)
    builder, size_m = SceneBuilder(), scene.motion.size_m

    def somewhere() -> Placer:
        x, y = (float(rng.uniform(-0.48, 0.48)) * side for side in size_m)
        return builder.at(x, y, 0.0, float(rng.uniform(0, 2 * math.pi)))

    for _ in range(1 + int(rng.poisson(3.0))):
        _pile(somewhere(), rng, Nyu.OTHER_PROP, 0.3)
    for _ in range(int(rng.poisson(3.0))):
        _thin(somewhere(), rng, Nyu.OTHER_PROP, scene.motion.ceiling_m)
    _on_tops(builder, scene.solids, rng)
    return builder.finish()


def street_clutter(scene: Scene, rng: Rng) -> Solids:
    """Return what stands beside a road and hangs over it, and its materials.

    Args:
        scene: a street; its road is the widest solid that is one.
        rng: drawn from.
    """
    builder = SceneBuilder()
    half_road = float(scene.solids.half_m[scene.solids.label == City.ROAD, 1].max())
    for _ in range(1 + int(rng.poisson(14.0))):
        side, away = float(rng.choice((-1.0, 1.0))), 0.4 + float(rng.exponential(1.5))
        x, yaw = float(rng.uniform(*_STREET_M)), float(rng.uniform(0, 2 * math.pi))
        spot, kind = builder.at(x, side * (half_road + away), 0.0, yaw), rng.random()
        if kind < 0.4:
            _pile(spot, rng, CITYSCAPES_IGNORE, 0.7)
        elif kind < 0.6:
            _shrub(spot, rng)
        elif kind < 0.8:
            _thin(spot, rng, City.POLE, float(rng.uniform(2.5, 7.0)))
        else:
            _fence(spot, rng)
    for _ in range(int(rng.poisson(1.5))):
        _wire(builder.at(float(rng.uniform(*_STREET_M))), rng, half_road)
    return builder.finish()


def _material(rng: Rng) -> Material:
    return _MATERIALS[int(rng.integers(len(_MATERIALS)))](rng)


def _turn(rng: Rng, spread_rad: float) -> npt.NDArray[np.float64]:
    a, b = rng.normal(0.0, spread_rad, 2)
    return rotation_x(float(a)) @ rotation_y(float(b)) @ rotation_z(float(rng.uniform(0, math.pi)))


def _pile(p: Placer, rng: Rng, label: int, size_m: float) -> None:
    """One to three solids of any proportions, on top of each other, the upper ones askew."""
    z = 0.0
    for level in range(int(rng.integers(1, 4))):
        half = size_m * 0.5 * np.exp(rng.normal(0.0, 0.6, 3)) * 0.7**level
        half = np.minimum(half, 1.2 * size_m)
        paint, turn = _material(rng), _turn(rng, 0.0 if level == 0 else 0.15)
        shape = rng.random()
        if shape < 0.5:
            p.box((*-half[:2], z), (*half[:2], z + 2 * half[2]), label, paint, turn=turn)
        elif shape < 0.75:
            p.cylinder((0, 0, z), (half[0], half[1]), 2 * half[2], label, paint, turn=turn)
        else:
            p.ellipsoid((0, 0, z + half[2]), half.tolist(), label, paint, turn=turn)
        z += 2 * float(half[2])


def _thin(p: Placer, rng: Rng, label: int, ceiling_m: float) -> None:
    """A pole, a leaning plank, a rack of rods, or a thing on a cord."""
    paint, kind = _material(rng), rng.random()
    radius = float(np.exp(rng.uniform(math.log(0.006), math.log(0.06))))
    if kind < 0.3:
        height = ceiling_m if rng.random() < 0.5 else float(rng.uniform(0.5, 1.0)) * ceiling_m
        p.cylinder((0, 0, 0), radius, height, label, paint)
        p.cylinder((0, 0, 0), radius * 4, 0.03, label, paint)
    elif kind < 0.55:
        length = float(rng.uniform(0.6, 1.0)) * min(ceiling_m, 2.4)
        lean = rotation_x(float(rng.uniform(-0.6, 0.6)))
        width = float(rng.uniform(0.01, 0.2))
        p.box((-width, -0.012, 0), (width, 0.012, length), label, paint, turn=lean)
    elif kind < 0.8:
        wide, tall = float(rng.uniform(0.3, 1.2)), float(rng.uniform(0.6, 1.7))
        for x in (-wide / 2, wide / 2):
            p.cylinder((x, 0, 0), radius / 2 + 0.005, tall, label, paint)
        for z in np.linspace(0.15, tall, int(rng.integers(2, 7))):
            p.box((-wide / 2, -0.012, z - 0.012), (wide / 2, 0.012, z + 0.012), label, paint)
    else:
        low = float(rng.uniform(0.45, 0.85)) * ceiling_m
        p.cylinder((0, 0, low), 0.006, ceiling_m - low, label, palette.metal(rng))
        p.ellipsoid((0, 0, low), rng.uniform(0.05, 0.25, 3).tolist(), label, paint)


def _on_tops(builder: SceneBuilder, solids: PrimitiveSet, rng: Rng) -> None:
    """Put small things on what has a top."""
    top_m = solids.centre_m[:, 2] + solids.half_m[:, 2]
    level = solids.rotation[:, 2, 2] > 0.999
    wide = (solids.half_m[:, :2] > _LEAST_TOP_M).all(axis=1)
    height = (top_m > _TOPS_M[0]) & (top_m < _TOPS_M[1])
    fits = np.isin(solids.label, list(_FURNITURE)) & (solids.kind == BOX) & level & wide & height
    chosen = np.flatnonzero(fits)
    for _ in range(int(rng.poisson(8.0)) if len(chosen) else 0):
        k = int(rng.choice(chosen))
        x, y = rng.uniform(-0.85, 0.85, 2) * solids.half_m[k, :2]
        place = solids.centre_m[k] + solids.rotation[k] @ np.array([x, y, 0.0])
        spot = builder.at(place[0], place[1], top_m[k], float(rng.uniform(0, 2 * math.pi)))
        _pile(spot, rng, Nyu.OTHER_PROP, float(rng.uniform(0.05, 0.2)))


def _shrub(p: Placer, rng: Rng) -> None:
    leaves = palette.leaves(rng)
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.normal(0.0, 0.5, 2)
        radii = rng.uniform(0.25, 0.9, 3).tolist()
        p.ellipsoid((float(x), float(y), radii[2] * 0.8), radii, City.VEGETATION, leaves)


def _fence(p: Placer, rng: Rng) -> None:
    length, tall = float(rng.uniform(2.0, 9.0)), float(rng.uniform(0.8, 1.9))
    paint, gap = _material(rng), float(rng.uniform(0.1, 1.2))
    for x in np.arange(0.0, length, gap):
        p.box((x, -0.02, 0), (x + 0.04, 0.02, tall), City.FENCE, paint)
    for z in (0.25 * tall, 0.95 * tall):
        p.box((0, -0.015, z), (length, 0.015, z + 0.05), City.FENCE, paint)


def _wire(p: Placer, rng: Rng, half_road: float) -> None:
    """A wire across the road."""
    z, reach = float(rng.uniform(5.0, 8.0)), half_road + 6.0
    across = rotation_x(math.pi / 2) @ rotation_y(float(rng.normal(0.0, 0.15)))
    p.cylinder(
        (0, 0, z - reach), 0.015, 2 * reach, City.POLE, palette.metal(rng), turn=across, casts=False
    )
