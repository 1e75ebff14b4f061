"""Walls with doors and windows, and what hangs on them.

A wall's frame has its origin on the floor at the middle of the wall, x along it and y out of the
room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mono_depth_ros.labels import Nyu
from mono_depth_ros.world import palette
from mono_depth_ros.world.scene import Placer
from mono_depth_ros.world.textures import Material

Rng = np.random.Generator
THICK_M = 0.16


@dataclass(frozen=True)
class Opening:
    """A hole in a wall: a door stands on the floor (low_m = 0), a window does not."""

    centre_m: float
    width_m: float
    low_m: float
    high_m: float

    @staticmethod
    def door(rng: Rng, length_m: float) -> Opening:
        """Draw a door somewhere along a wall."""
        width = float(rng.uniform(0.75, 1.05))
        reach = length_m / 2 - width / 2 - 0.25
        return Opening(
            float(rng.uniform(-reach, reach)), width, 0.0, float(rng.uniform(1.98, 2.15))
        )

    @staticmethod
    def windows(rng: Rng, length_m: float, height_m: float, beside: list[Opening]) -> list[Opening]:
        """Draw up to three equal windows where the wall has room beside its door."""
        low, high = float(rng.uniform(0.5, 1.05)), height_m - float(rng.uniform(0.25, 0.6))
        count = int(rng.integers(1, max(2, int(length_m / 1.8)) + 1))
        pitch = length_m / count
        width = float(rng.uniform(0.55, 0.8)) * min(pitch, 2.2)
        centres = [(k + 0.5) * pitch - length_m / 2 for k in range(count)]
        return [
            Opening(centre, width, low, high)
            for centre in centres
            if all(abs(centre - o.centre_m) > (width + o.width_m) / 2 + 0.15 for o in beside)
        ]


def add_wall(
    wall: Placer,
    rng: Rng,
    length_m: float,
    height_m: float,
    openings: list[Opening],
    paint: Material,
    trim: Material,
) -> None:
    """Build a wall around its openings, and fill these."""
    x = -length_m / 2 - THICK_M
    for opening in sorted(openings, key=lambda o: o.centre_m):
        left, right = opening.centre_m - opening.width_m / 2, opening.centre_m + opening.width_m / 2
        wall.box((x, 0, 0), (left, THICK_M, height_m), Nyu.WALL, paint, casts=False)
        wall.box(
            (left, 0, opening.high_m), (right, THICK_M, height_m), Nyu.WALL, paint, casts=False
        )
        if opening.low_m > 0:
            wall.box((left, 0, 0), (right, THICK_M, opening.low_m), Nyu.WALL, paint, casts=False)
            _window(wall.at(opening.centre_m), rng, opening, trim)
        else:
            _door(wall.at(opening.centre_m), rng, opening, height_m, trim)
        x = right
    wall.box((x, 0, 0), (length_m / 2 + THICK_M, THICK_M, height_m), Nyu.WALL, paint, casts=False)
    if rng.random() < 0.75:
        _skirting(wall, length_m, openings, trim)


def _skirting(wall: Placer, length_m: float, openings: list[Opening], trim: Material) -> None:
    doors = sorted((o for o in openings if o.low_m == 0.0), key=lambda o: o.centre_m)
    starts = [-length_m / 2, *(o.centre_m + o.width_m / 2 + 0.07 for o in doors)]
    ends = [*(o.centre_m - o.width_m / 2 - 0.07 for o in doors), length_m / 2]
    for start, end in zip(starts, ends, strict=True):
        if end > start:
            wall.box((start, -0.013, 0), (end, 0, 0.08), Nyu.OTHER_STRUCTURE, trim, casts=False)


def _frame(p: Placer, o: Opening, label: int, trim: Material) -> None:
    side = o.width_m / 2
    for x in (-side - 0.07, side - 0.03):
        p.box((x, -0.02, o.low_m), (x + 0.1, 0.02, o.high_m + 0.07), label, trim, casts=False)
    p.box(
        (-side - 0.07, -0.02, o.high_m - 0.03),
        (side + 0.07, 0.02, o.high_m + 0.07),
        label,
        trim,
        casts=False,
    )


def _window(p: Placer, rng: Rng, o: Opening, trim: Material) -> None:
    side = o.width_m / 2
    _frame(p, o, Nyu.WINDOW, trim)
    p.box(
        (-side - 0.1, -0.1, o.low_m - 0.03),
        (side + 0.1, THICK_M, o.low_m),
        Nyu.WINDOW,
        trim,
        casts=False,
    )
    kind = rng.random()
    if kind < 0.75:
        pane = palette.outdoors(rng, o.width_m, o.high_m - o.low_m)
        p.box((-side, 0.09, o.low_m), (side, 0.12, o.high_m), Nyu.WINDOW, pane, casts=False)
    else:
        p.box((-0.025, 0.06, o.low_m), (0.025, 0.12, o.high_m), Nyu.WINDOW, trim, casts=False)
    if rng.random() < 0.25:
        step, depth = 0.06, float(rng.uniform(0.3, 1.0)) * (o.high_m - o.low_m)
        slat = palette.plain(palette.tint(rng, (0, 0.2), (0.5, 0.85)), 0.03)
        for z in np.arange(o.high_m - depth, o.high_m, step):
            p.box((-side, 0.03, z), (side, 0.05, z + 0.045), Nyu.BLINDS, slat, casts=False)
    elif rng.random() < 0.6:
        fabric, low = palette.curtain(rng), float(rng.choice([0.05, o.low_m - 0.15]))
        for sign in (-1, 1):
            inner = sign * (side - float(rng.uniform(0.1, 0.7)) * side)
            outer = sign * (side + 0.2)
            for k in range(4):
                x = inner + (outer - inner) * (k + 0.5) / 4
                half = abs(outer - inner) / 8 + 0.01
                p.cylinder(
                    (x, -0.09, low),
                    (half, 0.035),
                    o.high_m + 0.12 - low,
                    Nyu.CURTAIN,
                    fabric,
                    casts=False,
                )
        rod = palette.metal(rng)
        p.box(
            (-side - 0.3, -0.1, o.high_m + 0.12),
            (side + 0.3, -0.08, o.high_m + 0.14),
            Nyu.CURTAIN,
            rod,
        )


def _door(p: Placer, rng: Rng, o: Opening, height_m: float, trim: Material) -> None:
    side = o.width_m / 2
    _frame(p, o, Nyu.DOOR, trim)
    leaf = palette.panels(rng, o.width_m, o.high_m / float(rng.integers(1, 4)))
    if rng.random() < 0.5:
        p.box((-side, 0.04, 0.01), (side, 0.08, o.high_m), Nyu.DOOR, leaf, casts=False)
        p.ellipsoid(
            (side - 0.1, 0.01, 1.02), (0.03, 0.04, 0.03), Nyu.DOOR, palette.metal(rng), casts=False
        )
    else:
        swing = float(rng.uniform(0.8, 1.9))
        p.at(-side, THICK_M, 0, swing).box(
            (0, 0, 0.01), (o.width_m, 0.04, o.high_m), Nyu.DOOR, leaf, casts=False
        )
    far, paint = float(rng.uniform(1.1, 2.5)), palette.paint(rng)
    dim = Material(
        paint.texture,
        palette.scaled(paint.colour, 0.6),
        palette.scaled(paint.second, 0.6),
        paint.scale_m,
    )
    p.box((-3, far, 0), (3, far + 0.1, height_m), Nyu.WALL, dim, casts=False)


def dress_wall(
    wall: Placer, rng: Rng, length_m: float, height_m: float, openings: list[Opening], room: str
) -> None:
    """Hang pictures, whiteboards, mirrors, clocks, sockets and radiators where the wall is free."""
    used = [(o.centre_m, o.width_m + 0.3) for o in openings]
    for _ in range(int(rng.integers(0, 5))):
        w, h = float(rng.uniform(0.25, 1.1)), float(rng.uniform(0.25, 0.8))
        if room == "classroom" and rng.random() < 0.5:
            w, h = min(3.0, length_m * 0.5), 1.2
        x = float(rng.uniform(-1, 1)) * max(length_m / 2 - w / 2 - 0.1, 0.0)
        if any(abs(x - centre) < (w + width) / 2 for centre, width in used):
            continue
        used.append((x, w + 0.1))
        z = float(rng.uniform(1.15, max(1.2, height_m - h - 0.25)))
        _hang(wall.at(x, 0, z), rng, w, h)
    for _ in range(int(rng.integers(0, 3))):
        x = float(rng.uniform(-1, 1)) * (length_m / 2 - 0.3)
        if all(abs(x - centre) > width / 2 + 0.1 for centre, width in used[: len(openings)]):
            z = float(rng.choice([0.3, 1.1]))
            socket = palette.plain((0.8, 0.8, 0.78), 0.02)
            wall.box(
                (x - 0.04, -0.012, z), (x + 0.04, 0, z + 0.08), Nyu.OTHER_PROP, socket, casts=False
            )
    for o in openings:
        if o.low_m > 0.45 and rng.random() < 0.4:
            _radiator(wall.at(o.centre_m), o.width_m * 0.8, o.low_m - 0.12)


def _hang(p: Placer, rng: Rng, w: float, h: float) -> None:
    kind = rng.random()
    rim = palette.wood(rng)
    if w > 1.1:
        p.box(
            (-w / 2, -0.03, 0),
            (w / 2, 0, h),
            Nyu.WHITEBOARD,
            palette.plain((0.85, 0.86, 0.88), 0.04, gloss=0.3),
        )
        p.box((-w / 2, -0.08, -0.03), (w / 2, 0, 0), Nyu.WHITEBOARD, palette.metal(rng))
    elif kind < 0.72:
        p.box((-w / 2, -0.025, 0), (w / 2, 0, h), Nyu.PICTURE, rim, casts=False)
        edge = float(rng.uniform(0.0, 0.05))
        inner = palette.picture(rng)
        p.box(
            (-w / 2 + edge, -0.028, edge),
            (w / 2 - edge, -0.025, h - edge),
            Nyu.PICTURE,
            inner,
            casts=False,
        )
    elif kind < 0.84:
        p.box(
            (-w / 2, -0.02, -0.3),
            (w / 2, 0, h),
            Nyu.MIRROR,
            palette.plain((0.55, 0.6, 0.62), 0.2, gloss=0.6),
        )
    elif kind < 0.92:
        p.ellipsoid(
            (0, 0, h / 2), (0.16, 0.04, 0.16), Nyu.OTHER_PROP, palette.plain((0.8, 0.8, 0.75))
        )
    else:
        p.box((-w / 2, -0.22, 0), (w / 2, 0, 0.03), Nyu.SHELVES, rim)
        x = -w / 2 + 0.03
        while x < w / 2 - 0.12:
            end = x + float(rng.uniform(0.05, 0.12))
            top = 0.03 + float(rng.uniform(0.1, 0.25))
            p.box((x, -0.18, 0.03), (end, -0.02, top), Nyu.BOOKS, palette.books(rng, 0.3))
            x = end + float(rng.uniform(0, 0.1))


def _radiator(p: Placer, w: float, h: float) -> None:
    white = palette.plain((0.75, 0.75, 0.72), 0.04)
    for x in np.arange(-w / 2, w / 2, 0.08):
        p.box((x, -0.12, 0.12), (x + 0.05, -0.03, h), Nyu.OTHER_STRUCTURE, white, casts=False)
    p.box(
        (-w / 2, -0.1, h - 0.06), (w / 2, -0.05, h - 0.02), Nyu.OTHER_STRUCTURE, white, casts=False
    )
