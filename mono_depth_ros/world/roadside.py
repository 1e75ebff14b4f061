"""What stands beside a road: buildings, houses, trees, hedges, fences, signs, lamps.

Frames: origin on the ground at the plot's middle on the road side, x along the road, y away from
the road.
"""

from __future__ import annotations

import math

import numpy as np

from mono_depth_ros.labels import City
from mono_depth_ros.world import palette
from mono_depth_ros.world.scene import Placer, rotation_x, rotation_y, rotation_z
from mono_depth_ros.world.textures import Material

Rng = np.random.Generator


def _seed(rng: Rng) -> int:
    return int(rng.integers(4096))


def _facade(rng: Rng, width_m: float) -> Material:
    colour = palette.tint(rng, (0.0, 0.35), (0.25, 0.75))
    second = palette.scaled(colour, float(rng.uniform(0.5, 1.3)))
    bays = max(1, round(width_m / float(rng.uniform(2.0, 3.6))))
    size = (width_m / bays, float(rng.uniform(2.7, 3.4)))
    return Material("facade", colour, second, size, 0.08, seed=_seed(rng))


def _wall_paint(rng: Rng) -> Material:
    if rng.random() < 0.3:
        red = float(rng.uniform(0.25, 0.45))
        return Material(
            "bricks",
            (red, red * 0.5, red * 0.38),
            (0.5, 0.48, 0.45),
            (0.25, 0.085),
            0.1,
            seed=_seed(rng),
        )
    return Material(
        "plain", palette.tint(rng, (0.0, 0.3), (0.3, 0.75)), contrast=0.1, seed=_seed(rng)
    )


def building(p: Placer, rng: Rng, w: float) -> None:
    """A town building with windows, shop fronts or doors, and a flat or pitched roof."""
    depth, height = float(rng.uniform(8, 14)), float(rng.uniform(5.5, 19))
    wall = _facade(rng, w)
    p.box((-w / 2, 0, 0), (w / 2, depth, height), City.BUILDING, wall)
    if rng.random() < 0.6:
        base = _wall_paint(rng)
        p.box(
            (-w / 2, -0.06, 0),
            (w / 2, 0.2, float(rng.uniform(0.5, 1.0))),
            City.BUILDING,
            base,
            casts=False,
        )
    if rng.random() < 0.45:
        shop = palette.plain((0.05, 0.06, 0.07), 0.05, gloss=0.3)
        for x in np.arange(-w / 2 + 0.6, w / 2 - 2.4, 3.0):
            p.box((x, -0.05, 0.4), (x + 2.2, 0.1, 2.6), City.BUILDING, shop, casts=False)
        sign = palette.object_paint(rng)
        p.box((-w / 2 + 0.4, -0.12, 2.75), (w / 2 - 0.4, 0.1, 3.3), City.BUILDING, sign)
        if rng.random() < 0.4:
            p.box(
                (-w / 3, -1.4, 2.6),
                (w / 3, 0, 2.66),
                City.BUILDING,
                palette.cloth(rng),
                turn=rotation_x(0.25),
            )
    else:
        door = palette.plain(palette.tint(rng, (0.2, 0.8), (0.04, 0.3)))
        x = float(rng.uniform(-w / 3, w / 3))
        p.box((x - 0.6, -0.04, 0), (x + 0.6, 0.1, 2.3), City.BUILDING, door, casts=False)
    if rng.random() < 0.4:
        rail = palette.metal(rng)
        for floor in range(1, int(height / 3.0)):
            x = float(rng.uniform(-w / 4, w / 4))
            p.box(
                (x - 1.3, -1.1, floor * 3.0), (x + 1.3, 0, floor * 3.0 + 0.15), City.BUILDING, wall
            )
            p.box(
                (x - 1.3, -1.1, floor * 3.0 + 0.15),
                (x + 1.3, -1.06, floor * 3.0 + 1.0),
                City.BUILDING,
                rail,
            )
    if rng.random() < 0.5:
        _roof(p, rng, w, depth, height)
    else:
        p.box(
            (-w / 2 - 0.2, -0.3, height),
            (w / 2 + 0.2, depth, height + 0.35),
            City.BUILDING,
            _wall_paint(rng),
        )


def _roof(p: Placer, rng: Rng, w: float, depth: float, height: float) -> None:
    red = float(rng.uniform(0.1, 0.4))
    hue = (red, red * 0.45, red * 0.3) if rng.random() < 0.65 else (0.12, 0.12, 0.13)
    tile = Material("bricks", hue, palette.scaled(hue, 0.5), (0.3, 0.3), 0.15, seed=_seed(rng))
    pitch = float(rng.uniform(0.5, 0.85))
    slope = depth / 2 / math.cos(pitch) + 0.5
    rise = depth / 2 * math.tan(pitch)
    for sign in (-1, 1):
        y, z = depth / 2 + sign * depth / 4, height + rise / 2
        size = np.array([w / 2 + 0.3, slope / 2, 0.1])
        turn = rotation_x(-sign * pitch)
        p.box(
            np.array([0, y, z]) - size, np.array([0, y, z]) + size, City.BUILDING, tile, turn=turn
        )
    # The gable is a staircase below the slopes: there is no prism among the solids.
    gable = _wall_paint(rng)
    for step in np.arange(0.08, 1.0, 0.16):
        reach = (1 - step) * depth / 2
        z = height + step * rise
        p.box(
            (-w / 2, depth / 2 - reach, z - 0.09 * rise),
            (w / 2, depth / 2 + reach, z),
            City.BUILDING,
            gable,
        )
    if rng.random() < 0.6:
        x = float(rng.uniform(-w / 3, w / 3))
        stack = (x - 0.35, depth / 2, height), (x + 0.35, depth / 2 + 0.7, height + rise + 0.8)
        p.box(*stack, City.BUILDING, gable)


def house(p: Placer, rng: Rng, w: float) -> None:
    """A detached house behind a garden with a fence, wall or hedge."""
    back, depth = float(rng.uniform(3, 9)), float(rng.uniform(7, 10))
    wide = min(w - 2.0, float(rng.uniform(7, 12)))
    if wide > 5:
        home, height = (
            p.at(float(rng.uniform(-1, 1)) * (w - wide) / 2, back),
            float(rng.uniform(2.8, 6.2)),
        )
        home.box((-wide / 2, 0, 0), (wide / 2, depth, height), City.BUILDING, _facade(rng, wide))
        _roof(home, rng, wide, depth, height)
        home.box((-0.6, -0.05, 0), (0.6, 0.1, 2.2), City.BUILDING, palette.wood(rng))
    border(p, rng, w)
    for _ in range(int(rng.integers(0, 4))):
        x, y = float(rng.uniform(-w / 2, w / 2)), float(rng.uniform(1.0, back))
        bush(p.at(x, y), rng)
    if rng.random() < 0.4:
        tree(p.at(float(rng.uniform(-w / 2, w / 2)), float(rng.uniform(1.5, back))), rng, 0.7)


def border(p: Placer, rng: Rng, w: float) -> None:
    """A fence, garden wall or hedge along the plot, sometimes with a gap."""
    kind, gap = rng.integers(4), float(rng.uniform(-w / 3, w / 3))
    height = float(rng.uniform(0.7, 1.7))
    for left, right in ((-w / 2, gap - 0.8), (gap + 0.8, w / 2)):
        if right - left < 0.5:
            continue
        if kind == 0:
            green = palette.leaves(rng)
            p.box((left, 0.1, 0), (right, 0.9, height), City.VEGETATION, green)
            for x in np.arange(left, right, 1.1):
                radii = (0.7, 0.5, float(rng.uniform(0.3, 0.5)))
                p.ellipsoid((x, 0.5, height - 0.1), radii, City.VEGETATION, green)
        elif kind == 1:
            p.box((left, 0.1, 0), (right, 0.35, height), City.WALL, _wall_paint(rng))
        elif kind == 2:
            _pickets(p, rng, left, right, height)
        else:
            rail = palette.metal(rng)
            for z in (0.1, height / 2, height):
                p.box((left, 0.1, z), (right, 0.14, z + 0.06), City.FENCE, rail)
            for x in np.arange(left, right, 1.6):
                p.box((x, 0.1, 0), (x + 0.06, 0.16, height + 0.1), City.FENCE, rail)


def _pickets(p: Placer, rng: Rng, left: float, right: float, height: float) -> None:
    board = palette.wood(rng)
    step = float(rng.uniform(0.16, 0.3))
    for x in np.arange(left, right, step):
        p.box((x, 0.12, 0.05), (x + step * 0.6, 0.15, height), City.FENCE, board, casts=False)
    for z in (0.25, height - 0.2):
        p.box((left, 0.15, z), (right, 0.2, z + 0.1), City.FENCE, board)


def tree(p: Placer, rng: Rng, size: float = 1.0, clear_m: float = 0.0) -> None:
    """A broad-leaved tree or a conifer; with `clear_m` pruned so that traffic passes below."""
    height = float(rng.uniform(4.5, 11)) * size
    radius = 0.02 * height + 0.05
    bark = Material(
        "mottled", (0.16, 0.12, 0.08), (0.07, 0.05, 0.04), (0.15, 0.5), 0.3, seed=_seed(rng)
    )
    green = palette.leaves(rng)
    if not clear_m and rng.random() < 0.2:
        p.cylinder((0, 0, 0), radius, height * 0.9, City.VEGETATION, bark)
        for k, z in enumerate(np.linspace(0.18, 0.95, 6)):
            spread = (0.26 * height) * (1 - k / 6.5)
            p.ellipsoid((0, 0, z * height), (spread, spread, 0.11 * height), City.VEGETATION, green)
        return
    height = max(height, 2.0 * clear_m)
    fork = max(float(rng.uniform(0.3, 0.5)) * height, clear_m)
    p.cylinder((0, 0, 0), radius, fork + 0.15 * height, City.VEGETATION, bark)
    for _ in range(int(rng.integers(2, 5))):
        lean, spin = float(rng.uniform(0.3, 0.7)), float(rng.uniform(0, 2 * math.pi))
        turn = rotation_z(spin) @ rotation_y(lean)
        tip = turn @ np.array([0, 0, 0.17 * height])
        foot = (tip[0], tip[1], fork - 0.17 * height + tip[2])
        p.cylinder(foot, radius * 0.5, 0.34 * height, City.VEGETATION, bark, turn=turn, casts=False)
    crown = 0.24 * height
    for _ in range(int(rng.integers(6, 14))):
        x, y = rng.normal(0, 0.13 * height, 2)
        radii = tuple(rng.uniform(0.35, 0.8, 3) * crown)
        z = max(float(rng.uniform(fork + 0.1 * height, height)), clear_m + max(radii))
        turn = rotation_z(float(rng.uniform(0, 3))) @ rotation_y(float(rng.normal(0, 0.5)))
        p.ellipsoid((float(x), float(y), z), radii, City.VEGETATION, green, turn=turn)


def bush(p: Placer, rng: Rng) -> None:
    """A few leafy bulges on the ground."""
    green, size = palette.leaves(rng), float(rng.uniform(0.4, 1.2))
    for _ in range(int(rng.integers(1, 5))):
        x, y = rng.normal(0, 0.5 * size, 2)
        radii = tuple(rng.uniform(0.6, 1.1, 3) * size)
        p.ellipsoid((float(x), float(y), radii[2] * 0.6), radii, City.VEGETATION, green)


def grove(p: Placer, rng: Rng, w: float) -> None:
    """Trees and bushes in front of a green backdrop."""
    for x in np.arange(-w / 2 + 1, w / 2, 5.0):
        tree(p.at(float(x + rng.normal(0, 1)), float(rng.uniform(1.5, 10))), rng)
        bush(p.at(float(x + rng.normal(0, 2)), float(rng.uniform(0.8, 4))), rng)


def meadow(p: Placer, rng: Rng, w: float) -> None:
    """Open ground, sometimes fenced, with distant trees."""
    if rng.random() < 0.5:
        border(p, rng, w)
    for _ in range(int(rng.integers(0, 3))):
        x, y = float(rng.uniform(-w / 2, w / 2)), float(rng.uniform(12, 40))
        tree(p.at(x, y), rng, 1.2)


def lamp_post(p: Placer, rng: Rng) -> None:
    """A street lamp that leans over the road."""
    steel, height = palette.metal(rng), float(rng.uniform(4.5, 8.5))
    p.cylinder((0, 0, 0), float(rng.uniform(0.06, 0.1)), height, City.POLE, steel)
    reach = float(rng.uniform(0.6, 2.0))
    p.box((-0.04, -reach, height - 0.1), (0.04, 0, height), City.POLE, steel)
    p.box(
        (-0.12, -reach - 0.5, height - 0.15),
        (0.12, -reach, height),
        City.POLE,
        palette.plain((0.6, 0.6, 0.6)),
    )


def sign(p: Placer, rng: Rng) -> None:
    """A traffic sign: disc, triangle-like diamond, or board."""
    steel, height = palette.plain((0.45, 0.45, 0.46), 0.05, gloss=0.3), float(rng.uniform(1.9, 2.7))
    p.cylinder((0, 0, 0), 0.035, height, City.POLE, steel)
    kind = rng.integers(4)
    red = Material("plain", (0.6, 0.03, 0.04), contrast=0.03, reflectivity=0.95)
    white = Material("plain", (0.85, 0.85, 0.85), contrast=0.03, reflectivity=0.95)
    blue = Material("plain", (0.03, 0.12, 0.5), contrast=0.03, reflectivity=0.95)
    across = rotation_y(math.pi / 2)
    if kind == 0:
        p.cylinder((-0.03, 0, height - 0.31), 0.3, 0.02, City.TRAFFIC_SIGN, red, turn=across)
        p.cylinder((-0.045, 0, height - 0.305), 0.22, 0.01, City.TRAFFIC_SIGN, white, turn=across)
    elif kind == 1:
        p.cylinder((-0.03, 0, height - 0.31), 0.32, 0.02, City.TRAFFIC_SIGN, blue, turn=across)
    elif kind == 2:
        diamond = rotation_x(math.pi / 4)
        p.box(
            (-0.04, -0.3, height - 0.6),
            (-0.02, 0.3, height),
            City.TRAFFIC_SIGN,
            white,
            turn=diamond,
        )
        yellow = Material("plain", (0.8, 0.55, 0.03), contrast=0.03, reflectivity=0.95)
        p.box(
            (-0.05, -0.23, height - 0.53),
            (-0.04, 0.23, height - 0.07),
            City.TRAFFIC_SIGN,
            yellow,
            turn=diamond,
        )
    else:
        wide, high = float(rng.uniform(0.4, 1.2)), float(rng.uniform(0.3, 0.9))
        board = blue if rng.random() < 0.5 else white
        p.box(
            (-0.04, -wide / 2, height - high), (-0.02, wide / 2, height), City.TRAFFIC_SIGN, board
        )


def traffic_light(p: Placer, rng: Rng) -> None:
    """Three lamps on a pole."""
    steel, dark = palette.plain((0.2, 0.2, 0.2)), palette.plain((0.03, 0.03, 0.03))
    p.cylinder((0, 0, 0), 0.06, 3.4, City.POLE, steel)
    p.box((-0.15, -0.17, 2.45), (0.12, 0.17, 3.4), City.TRAFFIC_LIGHT, dark)
    on = int(rng.integers(3))
    for k, colour in enumerate(((0.05, 0.7, 0.25), (0.85, 0.5, 0.02), (0.85, 0.03, 0.02))):
        glow = palette.plain(
            colour if k == on else palette.scaled(colour, 0.15), 0.02, emission=1.5 * (k == on)
        )
        across = rotation_y(math.pi / 2)
        p.cylinder(
            (-0.15, 0, 2.58 + 0.3 * k),
            0.11,
            0.02,
            City.TRAFFIC_LIGHT,
            glow,
            turn=across,
            casts=False,
        )


def bollards(p: Placer, rng: Rng, w: float) -> None:
    """Short posts along the kerb."""
    paint = palette.metal(rng)
    for x in np.arange(-w / 2, w / 2, 1.8):
        p.cylinder((x, 0, 0), 0.06, 0.9, City.POLE, paint)
