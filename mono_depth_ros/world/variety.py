"""What may vary beyond a scene's layout, so that networks trained here work elsewhere.

Each part draws from random numbers of its own: switching one off leaves the others as they were.
Without any part, a seed gives the scenes and frames of world version 1.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.labels import Nyu
from mono_depth_ros.world.clutter import room_clutter, street_clutter
from mono_depth_ros.world.primitives import PrimitiveSet
from mono_depth_ros.world.scene import Lighting, Scene
from mono_depth_ros.world.textures import TEXTURES

# layout: from box rooms to halls. cameras: height, pitch and roll. sensors: motion blur, noise,
# colour, sharpening, JPEG. surfaces: colours and patterns. clutter: what lies, stands, leans and
# hangs about, thin things among it. light: strength, colour and direction. glass: no depth on
# window panes and mirrors, which show what is elsewhere.
Part = Literal["layout", "cameras", "sensors", "surfaces", "clutter", "light", "glass"]
Variety = Collection[Part]
PARTS: tuple[Part, ...] = get_args(Part)
NONE: tuple[Part, ...] = ()

_SURFACE_STREAM, _CLUTTER_STREAM, _LIGHT_STREAM = 0x73757266, 0x636C7574, 0x6C696768
_TEXTURES = list(TEXTURES)
# Patterns that any of these may be replaced by; roads, facades and foliage keep theirs.
_PATTERNS = ("plain", "mottled", "tiles", "checker", "stripes", "folds", "bricks", "planks", "wood")
_NEW_PATTERNS = (*_PATTERNS, "picture", "rug", "panels", "foliage")
# Columns of `textures.material_table`.
_COLOUR, _SECOND, _SCALE = [0, 1, 2], [3, 4, 5], [6, 7]
_CONTRAST, _EMISSION, _GLOSS, _TEXTURE = 8, 9, 10, 13


def require_parts(variety: Variety) -> tuple[Part, ...]:
    """Return the parts in the order of `PARTS`, each once.

    Raises:
        ConfigError: one of them is unknown.
    """
    unknown = sorted(set(variety) - set(PARTS))
    if unknown:
        raise ConfigError(f"variety has no part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in variety)


def parse_variety(text: str) -> tuple[Part, ...]:
    """Return the parts of a command line: names with commas between, "all", or nothing.

    Raises:
        ConfigError: one of them is unknown.
    """
    if text == "all":
        return PARTS
    return require_parts([part for part in text.split(",") if part])  # type: ignore[misc]


def vary(scene: Scene, variety: Variety) -> Scene:
    """Return the scene with what of `variety` changes scenes: surfaces, clutter, light, glass."""
    if "clutter" in variety:
        scene = _cluttered(scene, np.random.default_rng((_CLUTTER_STREAM, scene.seed)))
    if "surfaces" in variety:
        rng = np.random.default_rng((_SURFACE_STREAM, scene.seed))
        # Any colour may be painted on a wall; roads and trees are less free.
        free = 0.7 if scene.kind == "rooms" else 0.35
        scene = replace(scene, materials=_other_surfaces(scene.materials, free, rng))
    if "light" in variety:
        rng = np.random.default_rng((_LIGHT_STREAM, scene.seed))
        change = _other_lamps if scene.kind == "rooms" else _other_daylight
        scene = replace(scene, lighting=change(scene.lighting, rng))
    if "glass" in variety:
        scene = replace(scene, depthless=_depthless(scene))
    return scene


def _cluttered(scene: Scene, rng: np.random.Generator) -> Scene:
    add = room_clutter if scene.kind == "rooms" else street_clutter
    solids, materials = add(scene, rng)
    return replace(
        scene,
        solids=_joined(scene.solids, solids, len(scene.materials)),
        materials=np.concatenate((scene.materials, materials)),
    )


def _joined(first: PrimitiveSet, second: PrimitiveSet, materials: int) -> PrimitiveSet:
    second = replace(second, material=second.material + np.int32(materials))
    names = PrimitiveSet.__dataclass_fields__
    return PrimitiveSet(*(np.concatenate([getattr(p, n) for p in (first, second)]) for n in names))


def _other_surfaces(
    table: npt.NDArray[np.float32], free: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Tint half of the materials anew, and give a quarter of the simple ones another pattern.

    Args:
        table: of `material_table`.
        free: largest share of a new colour in a tinted one.
        rng: drawn from.
    """
    count = len(table)
    tinted, patterned = rng.random((2, count)) < [[0.5], [0.25]]
    level, share = np.exp(rng.normal(0.0, 0.4, (count, 1))), rng.uniform(0.0, free, (count, 1))
    tint, other = rng.uniform(0.02, 0.95, (2, count, 3))
    pattern = rng.choice([_TEXTURES.index(name) for name in _NEW_PATTERNS], count)
    size = np.exp(rng.uniform(math.log(0.03), math.log(1.2), (count, 2)))
    finish = np.column_stack((rng.uniform(0.02, 0.4, count), rng.uniform(0.0, 0.5, count)))
    # Lamps and window panes keep their looks.
    dark = table[:, _EMISSION] == 0.0
    simple = np.isin(table[:, _TEXTURE], [_TEXTURES.index(name) for name in _PATTERNS])
    tinted, patterned = tinted & dark, patterned & dark & simple
    table = table.copy()
    for part in (_COLOUR, _SECOND):
        mixed = np.clip(level * ((1 - share) * table[:, part] + share * tint), 0.01, 0.97)
        table[:, part] = np.where(tinted[:, None], mixed, table[:, part])
    for part, values in (
        (_SECOND, other),
        (_SCALE, size),
        ([_CONTRAST, _GLOSS], finish),
        ([_TEXTURE], pattern[:, None]),
    ):
        table[:, part] = np.where(patterned[:, None], values, table[:, part])
    return table


def _other_lamps(light: Lighting, rng: np.random.Generator) -> Lighting:
    """From one dim lamp in a corner to a room full of daylight from one side."""
    lamp, ambient = np.exp(rng.normal(0.0, 0.5)), np.exp(rng.normal(-0.2, 0.5))
    warm, angle, height = rng.normal(0.0, 0.12), rng.uniform(0, 2 * math.pi), rng.uniform(0.1, 0.9)
    fill = rng.uniform(0.0, 1.4) if rng.random() < 0.5 else 0.1
    place = light.light_m * (2.2, 2.2, rng.uniform(0.6, 1.0))
    tint = np.exp(np.array([warm, 0.0, -warm]))
    return replace(
        light,
        light_m=place,
        light_colour=_scaled(light.light_colour, lamp * tint),
        falloff_m=light.falloff_m * float(np.exp(rng.normal(0.0, 0.3))),
        above=_scaled(light.above, ambient / tint),
        below=_scaled(light.below, ambient / tint),
        fill_direction=(math.cos(angle), math.sin(angle), float(height)),
        fill_colour=_scaled((fill, fill, fill), tint),
    )


def _other_daylight(light: Lighting, rng: np.random.Generator) -> Lighting:
    """From noon to the last light, from clear air to haze."""
    power, ambient = np.exp(rng.normal(0.0, 0.4)), np.exp(rng.normal(0.0, 0.4))
    warm, low, haze = rng.normal(0.0, 0.08), rng.uniform(0.35, 1.2), rng.uniform(0.7, 2.0)
    tint = np.exp(np.array([warm, 0.0, -warm]))
    sun = light.light_m * (1.0, 1.0, low)
    return replace(
        light,
        light_m=sun * (np.linalg.norm(light.light_m) / np.linalg.norm(sun)),
        light_colour=_scaled(light.light_colour, power * tint),
        above=_scaled(light.above, ambient / tint),
        below=_scaled(light.below, ambient * tint),
        haze_m=light.haze_m * float(haze),
        zenith=_scaled(light.zenith, np.exp(rng.normal(0.0, 0.2, 3))),
        horizon=_scaled(light.horizon, np.exp(rng.normal(0.0, 0.12, 3))),
        clouds=float(np.clip(light.clouds + rng.normal(0.0, 0.3), 0.0, 1.0)),
    )


def _scaled(
    colour: tuple[float, float, float], factor: npt.NDArray[np.float64] | float
) -> tuple[float, float, float]:
    r, g, b = (float(value) for value in np.asarray(colour) * factor)
    return r, g, b


def _depthless(scene: Scene) -> frozenset[int]:
    """Return the materials of window panes and mirrors."""
    panes = np.flatnonzero(scene.materials[:, _TEXTURE] == _TEXTURES.index("outdoors"))
    if scene.kind != "rooms":
        return frozenset(panes.tolist())
    mirrors = scene.solids.material[scene.solids.label == Nyu.MIRROR]
    return frozenset(panes.tolist()) | frozenset(mirrors.tolist())
