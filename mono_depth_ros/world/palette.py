"""Random but plausible materials: paint, wood, cloth, metal, stone."""

from __future__ import annotations

import colorsys

import numpy as np

from mono_depth_ros.world.textures import Colour, Material


def tint(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]
) -> Colour:
    """Draw a colour of any hue with saturation and value (linear) from ranges."""
    return colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def scaled(colour: Colour, factor: float) -> Colour:
    """Return the colour brightened or darkened, clipped to [0, 1]."""
    red, green, blue = (min(max(channel * factor, 0.0), 1.0) for channel in colour)
    return red, green, blue


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(4096))


def paint(
    rng: np.random.Generator, value: tuple[float, float] = (0.3, 0.85), local: bool = False
) -> Material:
    """Wall paint, plaster or wallpaper."""
    colour = tint(rng, (0.0, 0.3), value)
    if rng.random() < 0.8:
        return Material(
            "plain", colour, contrast=float(rng.uniform(0.02, 0.1)), seed=_seed(rng), local=local
        )
    other = scaled(colour, float(rng.uniform(0.75, 1.2)))
    texture = str(rng.choice(["stripes", "mottled", "bricks"]))
    size = {"stripes": (0.15, 0.15), "mottled": (0.4, 0.4), "bricks": (0.24, 0.08)}[texture]
    return Material(texture, colour, other, size, 0.08, seed=_seed(rng), local=local)


def wood(rng: np.random.Generator) -> Material:
    """Furniture wood, light pine to dark walnut, or white and black lacquer."""
    pick = rng.random()
    if pick < 0.2:
        level = float(rng.uniform(0.65, 0.85))
        return Material(
            "plain", (level, level, level * 0.97), contrast=0.03, gloss=0.15, seed=_seed(rng)
        )
    if pick < 0.3:
        return Material("plain", (0.04, 0.04, 0.045), contrast=0.05, gloss=0.2, seed=_seed(rng))
    level = float(rng.uniform(0.12, 0.6))
    first = (level, level * float(rng.uniform(0.5, 0.72)), level * float(rng.uniform(0.2, 0.45)))
    scale = (0.5, float(rng.uniform(0.08, 0.2)))
    return Material("wood", first, scaled(first, 0.55), scale, 0.1, gloss=0.1, seed=_seed(rng))


def cloth(rng: np.random.Generator) -> Material:
    """Upholstery, bedding, clothes."""
    colour = tint(rng, (0.05, 0.8), (0.06, 0.75))
    texture = str(
        rng.choice(["plain", "mottled", "stripes", "checker"], p=[0.55, 0.25, 0.12, 0.08])
    )
    size = float(rng.uniform(0.04, 0.15))
    other = scaled(colour, float(rng.uniform(0.5, 1.5)))
    return Material(
        texture, colour, other, (size, size), float(rng.uniform(0.08, 0.25)), seed=_seed(rng)
    )


def floor(rng: np.random.Generator) -> Material:
    """Planks, tiles, carpet or concrete."""
    kind = str(rng.choice(["planks", "tiles", "carpet", "checker"], p=[0.45, 0.22, 0.28, 0.05]))
    if kind == "planks":
        level = float(rng.uniform(0.15, 0.6))
        first = (
            level,
            level * float(rng.uniform(0.55, 0.75)),
            level * float(rng.uniform(0.25, 0.5)),
        )
        size = (float(rng.uniform(0.8, 1.6)), float(rng.uniform(0.07, 0.16)))
        return Material(
            "planks",
            first,
            scaled(first, 0.55),
            size,
            0.06,
            gloss=0.12,
            seed=_seed(rng),
            local=False,
        )
    if kind == "carpet":
        colour = tint(rng, (0.05, 0.5), (0.1, 0.5))
        return Material(
            "mottled", colour, scaled(colour, 0.8), (0.06, 0.06), 0.15, seed=_seed(rng), local=False
        )
    colour = tint(rng, (0.0, 0.2), (0.25, 0.75))
    side = float(rng.choice([0.2, 0.3, 0.45, 0.6]))
    other = scaled(colour, float(rng.uniform(0.35, 0.8)))
    return Material(
        kind, colour, other, (side, side), 0.06, gloss=0.15, seed=_seed(rng), local=False
    )


def panels(rng: np.random.Generator, width_m: float, height_m: float) -> Material:
    """A cabinet front divided into doors or drawers of the given size."""
    base = wood(rng)
    metal = (0.6, 0.6, 0.58) if rng.random() < 0.6 else (0.08, 0.07, 0.06)
    return Material(
        "panels", base.colour, metal, (width_m, height_m), 0.06, gloss=0.1, seed=_seed(rng)
    )


def metal(rng: np.random.Generator) -> Material:
    """Bare, black or painted metal."""
    level = float(rng.choice([0.05, 0.3, 0.6]))
    return Material("plain", (level, level, level), contrast=0.06, gloss=0.4, seed=_seed(rng))


def object_paint(rng: np.random.Generator) -> Material:
    """Anything colourful and small."""
    return Material(
        "plain", tint(rng, (0.2, 0.95), (0.1, 0.85)), contrast=0.1, gloss=0.1, seed=_seed(rng)
    )


def picture(rng: np.random.Generator) -> Material:
    """A print, photograph or painting."""
    size = float(rng.uniform(0.3, 0.9))
    return Material(
        "picture",
        tint(rng, (0.1, 0.8), (0.1, 0.9)),
        scale_m=(size, size),
        contrast=0.05,
        seed=_seed(rng),
    )


def books(rng: np.random.Generator, shelf_m: float) -> Material:
    """A row of book spines as high as one shelf."""
    dark = tint(rng, (0.1, 0.4), (0.02, 0.12))
    return Material(
        "books",
        (0.8, 0.78, 0.7),
        dark,
        (float(rng.uniform(0.025, 0.05)), shelf_m),
        0.1,
        seed=_seed(rng),
    )


def leaves(rng: np.random.Generator) -> Material:
    """Green, sometimes autumnal foliage."""
    green = float(rng.uniform(0.08, 0.3))
    red = green * float(rng.uniform(0.35, 1.1))
    colour = (red, green, green * float(rng.uniform(0.15, 0.5)))
    size = float(rng.uniform(0.3, 0.9))
    return Material(
        "foliage",
        colour,
        scaled(colour, 0.25),
        (size, size),
        0.35,
        reflectivity=0.35,
        seed=_seed(rng),
    )


def plain(
    colour: Colour, contrast: float = 0.06, emission: float = 0.0, gloss: float = 0.0
) -> Material:
    """One flat colour."""
    return Material("plain", colour, contrast=contrast, emission=emission, gloss=gloss)


def ceiling(rng: np.random.Generator) -> Material:
    """White plaster, or panels of a hung ceiling."""
    level = float(rng.uniform(0.65, 0.88))
    if rng.random() < 0.25:
        dark = level * 0.7
        return Material(
            "tiles", (level, level, level), (dark, dark, dark), (0.6, 0.6), 0.05, seed=_seed(rng)
        )
    return Material("plain", (level, level, level * 0.97), contrast=0.03, seed=_seed(rng))


def curtain(rng: np.random.Generator) -> Material:
    """Hanging cloth with folds."""
    colour = tint(rng, (0.05, 0.7), (0.15, 0.8))
    return Material("folds", colour, scaled(colour, 0.65), (0.05, 0.05), 0.1, seed=_seed(rng))


def rug(rng: np.random.Generator, width_m: float, depth_m: float) -> Material:
    """A patterned rug of the given size."""
    first, second = tint(rng, (0.3, 0.9), (0.08, 0.5)), tint(rng, (0.1, 0.6), (0.2, 0.7))
    return Material("rug", first, second, (width_m, depth_m), 0.15, seed=_seed(rng))


def outdoors(rng: np.random.Generator, width_m: float, height_m: float) -> Material:
    """A window pane with the day, or the night, behind it."""
    day = float(rng.choice([0.15, 0.9, 1.0], p=[0.15, 0.35, 0.5]))
    sky = (0.75 * day, 0.85 * day, 0.95 * day)
    ground = tint(rng, (0.2, 0.6), (0.15 * day, 0.4 * day))
    return Material(
        "outdoors",
        sky,
        ground,
        (width_m, height_m),
        0.03,
        emission=1.8 * day,
        gloss=0.1,
        reflectivity=0.08,
        seed=_seed(rng),
    )
