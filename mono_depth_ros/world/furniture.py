"""Pieces of furniture, each in its own frame.

The origin is on the floor at the middle of the back; the piece reaches to negative y (its front)
and upwards, x runs
along its width. Every function returns nothing and only adds solids.
"""

from __future__ import annotations

import math

import numpy as np

from mono_depth_ros.labels import Nyu
from mono_depth_ros.world import palette
from mono_depth_ros.world.scene import Placer, rotation_x, rotation_y, rotation_z
from mono_depth_ros.world.textures import Material

Rng = np.random.Generator


def _legs(
    p: Placer, w: float, d: float, h: float, thick: float, label: int, material: Material
) -> None:
    for x in (-w / 2 + thick, w / 2 - thick):
        for y in (-d + thick, -thick):
            p.box(
                (x - thick / 2, y - thick / 2, 0),
                (x + thick / 2, y + thick / 2, h),
                label,
                material,
            )


def table(p: Placer, rng: Rng, w: float, d: float, h: float = 0.74, label: int = Nyu.TABLE) -> None:
    """A table top on four legs, a pedestal, or two side panels."""
    top = palette.wood(rng)
    if w / d < 1.3 and rng.random() < 0.3:
        p.cylinder((0, -d / 2, h - 0.03), (w / 2, d / 2), 0.03, label, top)
        p.cylinder((0, -d / 2, 0), 0.05, h, label, palette.metal(rng))
        p.cylinder((0, -d / 2, 0), 0.28, 0.03, label, palette.metal(rng))
        return
    p.box((-w / 2, -d, h - 0.035), (w / 2, 0, h), label, top)
    if rng.random() < 0.25:
        for x in (-w / 2 + 0.02, w / 2 - 0.05):
            p.box((x, -d + 0.03, 0), (x + 0.03, -0.03, h - 0.035), label, top)
    else:
        legs = top if rng.random() < 0.6 else palette.metal(rng)
        _legs(p, w, d, h - 0.035, float(rng.uniform(0.03, 0.07)), label, legs)


def clutter(p: Placer, rng: Rng, w: float, d: float, h: float, count: int) -> None:
    """Small things on a surface of height h."""
    for _ in range(count):
        x, y = float(rng.uniform(-w / 2 + 0.1, w / 2 - 0.1)), float(rng.uniform(-d + 0.1, -0.08))
        spot = p.at(x, y, h, float(rng.uniform(0, 2 * math.pi)))
        paint = palette.object_paint(rng)
        kind = rng.integers(6)
        if kind == 0:
            spot.cylinder((0, 0, 0), 0.04, float(rng.uniform(0.08, 0.13)), Nyu.OTHER_PROP, paint)
        elif kind == 1:
            spot.box(
                (-0.11, -0.15, 0), (0.11, 0.15, float(rng.uniform(0.015, 0.09))), Nyu.BOOKS, paint
            )
        elif kind == 2:
            spot.ellipsoid((0, 0, 0.06), (0.09, 0.09, 0.06), Nyu.OTHER_PROP, paint)
        elif kind == 3:
            spot.box(
                (-0.105, -0.15, 0),
                (0.105, 0.15, 0.004),
                Nyu.PAPER,
                palette.plain((0.85, 0.85, 0.82)),
            )
        elif kind == 4:
            spot.cylinder((0, 0, 0), 0.035, 0.22, Nyu.OTHER_PROP, paint)
            spot.cylinder((0, 0, 0.22), 0.014, 0.08, Nyu.OTHER_PROP, paint)
        else:
            size = rng.uniform(0.06, 0.18, 3)
            spot.box((-size[0], -size[1], 0), (size[0], size[1], size[2] * 1.5), Nyu.BOX, paint)


def chair(p: Placer, rng: Rng) -> None:
    """A dining chair, an office chair or a stool."""
    w, h = float(rng.uniform(0.38, 0.5)), float(rng.uniform(0.42, 0.48))
    seat = palette.cloth(rng) if rng.random() < 0.5 else palette.wood(rng)
    frame = palette.wood(rng) if rng.random() < 0.6 else palette.metal(rng)
    if rng.random() < 0.3:
        p.cylinder((0, -w / 2, 0.06), 0.03, h - 0.06, Nyu.CHAIR, frame)
        for k in range(5):
            spoke = p.at(0, -w / 2, 0, k * 2 * math.pi / 5)
            spoke.box((0, -0.02, 0.02), (0.3, 0.02, 0.06), Nyu.CHAIR, frame)
        p.box((-w / 2, -w, h - 0.03), (w / 2, 0, h + 0.06), Nyu.CHAIR, seat)
        p.ellipsoid((0, -0.02, h + 0.42), (w / 2, 0.05, 0.3), Nyu.CHAIR, seat)
        return
    p.box((-w / 2, -w, h - 0.03), (w / 2, 0, h + 0.02), Nyu.CHAIR, seat)
    _legs(p, w, w, h - 0.03, 0.035, Nyu.CHAIR, frame)
    if rng.random() < 0.9:
        top = float(rng.uniform(0.82, 1.0))
        lean = rotation_x(-0.08)
        for x in (-w / 2 + 0.02, w / 2 - 0.02):
            p.box((x - 0.018, -0.03, h), (x + 0.018, 0.0, top), Nyu.CHAIR, frame, turn=lean)
        for z in np.linspace(h + 0.15, top - 0.05, int(rng.integers(1, 4))):
            p.box((-w / 2, -0.03, z - 0.05), (w / 2, -0.005, z + 0.05), Nyu.CHAIR, seat, turn=lean)


def sofa(p: Placer, rng: Rng, w: float) -> None:
    """A sofa or, when narrow, an armchair, with cushions."""
    d, seat_h, back_h = (
        float(rng.uniform(0.8, 1.0)),
        float(rng.uniform(0.38, 0.45)),
        float(rng.uniform(0.75, 0.95)),
    )
    cover, arm = palette.cloth(rng), float(rng.uniform(0.12, 0.22))
    p.box((-w / 2, -d, 0.08), (w / 2, 0, seat_h - 0.12), Nyu.SOFA, cover)
    p.box((-w / 2, -0.24, 0.1), (w / 2, 0, back_h), Nyu.SOFA, cover)
    for x in (-w / 2, w / 2 - arm):
        p.box((x, -d, 0.1), (x + arm, 0, seat_h + 0.18), Nyu.SOFA, cover)
    seats = max(1, round((w - 2 * arm) / 0.7))
    step = (w - 2 * arm) / seats
    for k in range(seats):
        x = -w / 2 + arm + k * step
        p.box(
            (x + 0.01, -d - 0.02, seat_h - 0.12),
            (x + step - 0.01, -0.22, seat_h + 0.03),
            Nyu.SOFA,
            cover,
        )
        if rng.random() < 0.5:
            pillow = rotation_x(-0.35) @ rotation_z(float(rng.uniform(-0.2, 0.2)))
            at = (x + step / 2, -0.33, seat_h + 0.22)
            p.ellipsoid(at, (0.23, 0.09, 0.21), Nyu.PILLOW, palette.cloth(rng), turn=pillow)


def bed(p: Placer, rng: Rng, w: float) -> None:
    """A bed with its head at the wall, blanket and pillows."""
    length, h = float(rng.uniform(1.9, 2.1)), float(rng.uniform(0.4, 0.6))
    frame, sheet, blanket = palette.wood(rng), palette.cloth(rng), palette.cloth(rng)
    p.box(
        (-w / 2 - 0.03, -0.05, 0), (w / 2 + 0.03, 0, float(rng.uniform(0.8, 1.2))), Nyu.BED, frame
    )
    p.box((-w / 2, -length, 0.1), (w / 2, -0.05, 0.28), Nyu.BED, frame)
    p.box((-w / 2 + 0.02, -length + 0.02, 0.28), (w / 2 - 0.02, -0.06, h), Nyu.BED, sheet)
    drop = float(rng.uniform(0.15, 0.3))
    p.box((-w / 2 - 0.02, -length - 0.01, drop), (w / 2 + 0.02, -0.65, h + 0.05), Nyu.BED, blanket)
    for x in (-w / 4, w / 4) if w > 1.2 else (0.0,):
        tilt = rotation_x(-0.3)
        p.ellipsoid(
            (x, -0.33, h + 0.1), (0.33, 0.22, 0.1), Nyu.PILLOW, palette.cloth(rng), turn=tilt
        )


def bookshelf(p: Placer, rng: Rng, w: float) -> None:
    """Open shelves filled with books, boxes and gaps."""
    d, h = float(rng.uniform(0.25, 0.38)), float(rng.uniform(1.0, 2.2))
    board, shelves = palette.wood(rng), int(rng.integers(3, 7))
    label = Nyu.BOOKSHELF if rng.random() < 0.7 else Nyu.SHELVES
    for x in (-w / 2, w / 2 - 0.025):
        p.box((x, -d, 0), (x + 0.025, 0, h), label, board)
    if rng.random() < 0.8:
        p.box((-w / 2, -0.015, 0), (w / 2, 0, h), label, board)
    step = (h - 0.05) / shelves
    for k in range(shelves + 1):
        p.box((-w / 2, -d, k * step), (w / 2, 0, k * step + 0.025), label, board)
    for k in range(shelves):
        x, z = -w / 2 + 0.03, k * step + 0.025
        while x < w / 2 - 0.2:
            run = float(rng.uniform(0.15, 0.6))
            end = min(x + run, w / 2 - 0.03)
            fill = rng.random()
            if fill < 0.6:
                top, front = (
                    z + step * float(rng.uniform(0.6, 0.85)),
                    -d + float(rng.uniform(0.01, 0.1)),
                )
                p.box(
                    (x, front, z),
                    (end, -0.03, top),
                    Nyu.BOOKS,
                    palette.books(rng, step),
                    casts=False,
                )
            elif fill < 0.78:
                top = z + step * float(rng.uniform(0.3, 0.8))
                p.box(
                    (x + 0.03, -d + 0.04, z),
                    (end, -0.05, top),
                    Nyu.BOX,
                    palette.object_paint(rng),
                    casts=False,
                )
            x = end + float(rng.uniform(0.0, 0.15))


def cabinet(p: Placer, rng: Rng, w: float, d: float, h: float, label: int = Nyu.CABINET) -> None:
    """A closed box with doors or drawers and a slightly wider top."""
    columns, rows = max(1, round(w / 0.5)), int(rng.integers(1, 5 if h < 1.3 else 3))
    front, knob = palette.wood(rng), palette.metal(rng)
    p.box((-w / 2, -d, 0.06), (w / 2, 0, h - 0.03), label, front)
    step_x, step_z = w / columns, (h - 0.09) / rows
    for i in range(columns):
        for k in range(rows):
            left, low = -w / 2 + i * step_x + 0.005, 0.06 + k * step_z + 0.005
            right, high = left + step_x - 0.01, low + step_z - 0.01
            p.box((left, -d - 0.02, low), (right, -d, high), label, front, casts=False)
            x = right - 0.05 if columns > 1 else (left + right) / 2
            p.ellipsoid(
                (x, -d - 0.035, (low + high) / 2), (0.015, 0.015, 0.015), label, knob, casts=False
            )
    p.box((-w / 2 - 0.01, -d - 0.02, h - 0.03), (w / 2 + 0.01, 0, h), label, palette.wood(rng))


def refrigerator(p: Placer, rng: Rng) -> None:
    """Two doors and their handles."""
    w, d, h = (
        float(rng.uniform(0.55, 0.9)),
        float(rng.uniform(0.6, 0.75)),
        float(rng.uniform(1.4, 2.0)),
    )
    level = float(rng.choice([0.12, 0.55, 0.8]))
    skin, grip = palette.plain((level, level, level), 0.04, gloss=0.4), palette.metal(rng)
    p.box((-w / 2, -d, 0.04), (w / 2, 0, h), Nyu.REFRIGERATOR, skin)
    for low, high in ((0.05, h * 0.62), (h * 0.63, h - 0.01)):
        p.box((-w / 2, -d - 0.05, low), (w / 2, -d - 0.005, high), Nyu.REFRIGERATOR, skin)
        middle = (low + high) / 2
        p.box(
            (w / 2 - 0.08, -d - 0.09, middle - 0.2),
            (w / 2 - 0.05, -d - 0.05, middle + 0.2),
            Nyu.REFRIGERATOR,
            grip,
        )


def counter(p: Placer, rng: Rng, w: float) -> None:
    """A kitchen run: floor cabinets, counter, sink, wall cabinets."""
    cabinet(p, rng, w, 0.58, 0.88)
    stone = palette.floor(rng)
    p.box((-w / 2 - 0.02, -0.64, 0.88), (w / 2 + 0.02, 0, 0.92), Nyu.COUNTER, stone)
    p.box((-w / 2, -0.02, 0.92), (w / 2, 0, 1.4), Nyu.WALL, palette.floor(rng), casts=False)
    x = float(rng.uniform(-w / 4, w / 4))
    steel = palette.plain((0.5, 0.5, 0.5), gloss=0.5)
    p.box((x - 0.28, -0.52, 0.9), (x + 0.28, -0.12, 0.926), Nyu.SINK, steel)
    p.box(
        (x - 0.24, -0.48, 0.92),
        (x + 0.24, -0.16, 0.928),
        Nyu.SINK,
        palette.plain((0.15, 0.15, 0.15)),
    )
    p.cylinder((x, -0.08, 0.92), 0.018, 0.28, Nyu.SINK, steel)
    p.box((x - 0.015, -0.24, 1.18), (x + 0.015, -0.07, 1.21), Nyu.SINK, steel)
    clutter(p, rng, w, 0.5, 0.92, int(rng.integers(2, 8)))
    if rng.random() < 0.8:
        cabinet(p.at(0, 0, 1.45), rng, w, 0.35, float(rng.uniform(0.5, 0.8)))


def lamp(p: Placer, rng: Rng, h: float) -> None:
    """A lamp on a stem; h is the height of the shade's top."""
    shade = palette.plain(
        palette.tint(rng, (0.0, 0.35), (0.6, 0.9)), 0.03, emission=float(rng.choice([0.0, 0.9]))
    )
    size = float(rng.uniform(0.12, 0.22)) * (1.0 if h > 0.8 else 0.7)
    stem = palette.metal(rng)
    p.cylinder((0, -0.2, 0), size * 0.8, 0.025, Nyu.LAMP, stem)
    p.cylinder((0, -0.2, 0), 0.014, h - 0.1, Nyu.LAMP, stem)
    if rng.random() < 0.7:
        p.cylinder((0, -0.2, h - 1.3 * size), size, 1.3 * size, Nyu.LAMP, shade)
    else:
        p.ellipsoid((0, -0.2, h - size * 0.7), (size, size, size * 0.7), Nyu.LAMP, shade)


def television(p: Placer, rng: Rng, w: float, z: float) -> None:
    """A flat screen with its lower edge at height z."""
    h = w * 0.58
    dark = palette.plain((0.015, 0.015, 0.018), 0.02, gloss=0.5)
    p.box((-w / 2, -0.1, z), (w / 2, -0.06, z + h), Nyu.TELEVISION, dark)
    if rng.random() < 0.4:
        screen = palette.picture(rng)
        p.box(
            (-w / 2 + 0.02, -0.102, z + 0.02),
            (w / 2 - 0.02, -0.1, z + h - 0.02),
            Nyu.TELEVISION,
            screen,
        )


def desk(p: Placer, rng: Rng, w: float) -> None:
    """A desk with a screen, things, and a chair pulled out in front."""
    d = float(rng.uniform(0.55, 0.8))
    table(p, rng, w, d, 0.74, Nyu.DESK)
    if rng.random() < 0.5:
        drawer = p.at(w / 2 - 0.25, -0.05)
        cabinet(drawer, rng, 0.38, d - 0.12, 0.68, Nyu.DESK)
    if rng.random() < 0.75:
        spot = p.at(float(rng.uniform(-w / 4, w / 4)), -0.12, 0.74, float(rng.uniform(-0.25, 0.25)))
        spot.box(
            (-0.1, -0.18, 0), (0.1, 0, 0.015), Nyu.TELEVISION, palette.plain((0.03, 0.03, 0.03))
        )
        spot.box(
            (-0.02, -0.08, 0), (0.02, -0.05, 0.2), Nyu.TELEVISION, palette.plain((0.03, 0.03, 0.03))
        )
        television(spot, rng, float(rng.uniform(0.4, 0.65)), 0.12)
        spot.box(
            (-0.22, -0.45, 0),
            (0.22, -0.3, 0.025),
            Nyu.OTHER_PROP,
            palette.plain((0.05, 0.05, 0.05)),
        )
    clutter(p, rng, w, d, 0.74, int(rng.integers(1, 7)))
    if rng.random() < 0.3:
        lamp(p.at(w / 2 - 0.2, 0, 0.74), rng, 0.45)
    seat = p.at(
        float(rng.uniform(-w / 5, w / 5)),
        -d - float(rng.uniform(0.3, 0.5)),
        0,
        math.pi + rng.normal(0, 0.4),
    )
    chair(seat, rng)


def plant(p: Placer, rng: Rng, h: float) -> None:
    """A pot with foliage."""
    size = float(rng.uniform(0.12, 0.2))
    p.cylinder((0, -0.25, 0), size, size * 1.8, Nyu.OTHER_PROP, palette.object_paint(rng))
    p.cylinder((0, -0.25, size), 0.02, h * 0.7, Nyu.OTHER_PROP, palette.plain((0.15, 0.1, 0.05)))
    green = palette.leaves(rng)
    green = Material("foliage", green.colour, green.second, (0.15, 0.15), 0.3, seed=green.seed)
    for _ in range(int(rng.integers(3, 8))):
        x, y = rng.normal(0, 0.12, 2)
        z = float(rng.uniform(size * 2 + 0.1, h))
        radii = rng.uniform(0.08, 0.2, 3)
        p.ellipsoid(
            (x, -0.25 + y, z),
            tuple(radii),
            Nyu.OTHER_PROP,
            green,
            turn=rotation_y(rng.normal(0, 0.6)),
        )


def carton(p: Placer, rng: Rng) -> None:
    """A box, a stack of boxes, a bin, a bag or a pile of clothes on the floor."""
    kind = rng.integers(4)
    w, d, h = (float(v) for v in rng.uniform(0.2, 0.55, 3))
    if kind == 0:
        p.cylinder((0, -0.2, 0), 0.15, 0.32, Nyu.OTHER_PROP, palette.object_paint(rng))
    elif kind == 1:
        p.ellipsoid((0, -0.2, 0.18), (0.24, 0.16, 0.2), Nyu.BAG, palette.cloth(rng))
    elif kind == 2:
        for _ in range(4):
            x, y = rng.uniform(-0.15, 0.15, 2)
            p.ellipsoid((x, -0.2 + y, 0.05), (0.22, 0.16, 0.07), Nyu.CLOTHES, palette.cloth(rng))
    else:
        card = palette.plain((0.45, 0.32, 0.18), 0.12)
        p.box((-w / 2, -d, 0), (w / 2, 0, h), Nyu.BOX, card)
        if rng.random() < 0.5:
            spin = p.at(0, -d / 2, h, float(rng.uniform(-0.5, 0.5)))
            spin.box(
                (-w / 3, -d / 3, 0), (w / 3, d / 3, h * 0.7), Nyu.BOX, palette.object_paint(rng)
            )


def person(p: Placer, rng: Rng, label: int, origin_y: float = -0.2) -> None:
    """A standing or walking figure, 1.5 to 1.95 m high."""
    size = float(rng.uniform(0.86, 1.1))
    skin = palette.plain((0.45 * size, 0.28 * size, 0.2 * size))
    shirt, trousers = palette.cloth(rng), palette.cloth(rng)
    stride = float(rng.uniform(0.0, 0.45))
    p = p.at(0, origin_y)
    for side, swing in ((-0.09, stride), (0.09, -stride)):
        leg = rotation_x(swing)
        away = 0.42 * math.sin(swing)
        p.cylinder((side, away, 0.04), 0.075 * size, 0.84 * size, label, trousers, turn=leg)
        arm = rotation_x(-swing * 0.8) @ rotation_y(0.1 if side > 0 else -0.1)
        p.cylinder(
            (side * 2.6, -0.2 * math.sin(swing), 0.82 * size),
            0.045,
            0.58 * size,
            label,
            shirt,
            turn=arm,
        )
    p.ellipsoid((0, 0, 1.13 * size), (0.21 * size, 0.13 * size, 0.34 * size), label, shirt)
    p.cylinder((0, 0, 1.4 * size), 0.05, 0.12, label, skin)
    p.ellipsoid((0, 0, 1.6 * size), (0.085, 0.1, 0.125), label, skin)
    hair = palette.plain(palette.scaled((0.25, 0.16, 0.08), float(rng.uniform(0.1, 1.5))))
    p.ellipsoid((0, 0.02, 1.64 * size), (0.09, 0.1, 0.105), label, hair)
