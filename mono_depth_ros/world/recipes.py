"""Which furniture a kind of room holds, and where it goes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mono_depth_ros.labels import Nyu
from mono_depth_ros.world import furniture as f
from mono_depth_ros.world import palette
from mono_depth_ros.world.room_plan import RoomPlan
from mono_depth_ros.world.scene import Placer

Rng = np.random.Generator
Piece = Callable[[RoomPlan], None]


def _wall_piece(
    draw: Callable[[Placer, Rng, float], None],
    w: tuple[float, float],
    d: float,
    *,
    tall: bool = False,
) -> Piece:
    """Make a recipe that puts a piece with a width from a range against a wall."""

    def place(plan: RoomPlan) -> None:
        width = float(plan.rng.uniform(*w))
        found = plan.at_wall(width, d, tall=tall)
        if found:
            draw(found[0], plan.rng, width)

    return place


def _cabinet(p: Placer, rng: Rng, w: float) -> None:
    h = float(rng.uniform(0.6, 1.1))
    f.cabinet(p, rng, w, 0.45, h, Nyu.DRESSER if rng.random() < 0.4 else Nyu.CABINET)
    f.clutter(p, rng, w, 0.42, h, int(rng.integers(0, 5)))


def _wardrobe(p: Placer, rng: Rng, w: float) -> None:
    f.cabinet(p, rng, w, 0.58, float(rng.uniform(1.8, 2.15)))


def _tv_bench(p: Placer, rng: Rng, w: float) -> None:
    f.cabinet(p, rng, w, 0.42, 0.5)
    f.television(p.at(0, -0.1), rng, w * 0.75, 0.52)


def _night_stand(p: Placer, rng: Rng, w: float) -> None:
    f.cabinet(p, rng, w, 0.4, 0.55, Nyu.NIGHT_STAND)
    f.lamp(p.at(0, 0.0, 0.55), rng, float(rng.uniform(0.35, 0.55)))


def _bath(p: Placer, rng: Rng, w: float) -> None:
    white = palette.plain((0.8, 0.8, 0.78), 0.03, gloss=0.4)
    p.box((-w / 2, -0.75, 0), (w / 2, 0, 0.56), Nyu.BATHTUB, white)
    p.box(
        (-w / 2 + 0.08, -0.67, 0.55),
        (w / 2 - 0.08, -0.08, 0.565),
        Nyu.BATHTUB,
        palette.plain((0.5, 0.52, 0.55)),
    )
    if rng.random() < 0.6:
        fold = palette.curtain(rng)
        p.box(
            (-w / 2, -0.78, 0.15),
            (float(rng.uniform(-w / 3, w / 2)), -0.76, 2.0),
            Nyu.SHOWER_CURTAIN,
            fold,
        )


def _toilet(p: Placer, rng: Rng, w: float) -> None:
    white = palette.plain((0.82, 0.82, 0.8), 0.02, gloss=0.4)
    p.box((-0.2, -0.2, 0.38), (0.2, 0, 0.8), Nyu.TOILET, white)
    p.cylinder((0, -0.42, 0), (0.13, 0.2), 0.38, Nyu.TOILET, white)
    p.cylinder((0, -0.42, 0.38), (0.19, 0.26), 0.05, Nyu.TOILET, white)


def _washstand(p: Placer, rng: Rng, w: float) -> None:
    f.cabinet(p, rng, w, 0.45, 0.8)
    p.box(
        (-w / 2, -0.5, 0.8),
        (w / 2, 0, 0.88),
        Nyu.SINK,
        palette.plain((0.82, 0.82, 0.8), 0.02, gloss=0.4),
    )
    p.cylinder((0, -0.08, 0.88), 0.018, 0.16, Nyu.SINK, palette.metal(rng))
    p.box(
        (-w / 2, -0.012, 1.1),
        (w / 2, 0, 1.8),
        Nyu.MIRROR,
        palette.plain((0.6, 0.64, 0.66), 0.15, gloss=0.6),
    )
    p.box((w / 2 + 0.1, -0.05, 0.9), (w / 2 + 0.4, 0, 1.5), Nyu.TOWEL, palette.cloth(rng))


def _table_with_chairs(plan: RoomPlan) -> None:
    rng = plan.rng
    w, d = float(rng.uniform(0.8, 2.0)), float(rng.uniform(0.75, 1.1))
    frame = plan.in_middle(w + 1.0, d + 1.2)
    if frame is None:
        return
    top = frame.at(0, -0.6)
    f.table(top, rng, w, d)
    f.clutter(top, rng, w, d, 0.74, int(rng.integers(0, 7)))
    for side, yaw in ((0.12, 0.0), (-d - 0.12, math.pi)):
        for x in np.linspace(-w / 2 + 0.4, w / 2 - 0.4, max(1, round(w / 0.7))):
            if rng.random() < 0.8:
                f.chair(
                    top.at(
                        float(x), side + (0.25 if yaw == 0 else -0.25), 0, yaw + rng.normal(0, 0.2)
                    ),
                    rng,
                )


def _coffee_table(plan: RoomPlan) -> None:
    w, d = float(plan.rng.uniform(0.7, 1.3)), float(plan.rng.uniform(0.45, 0.8))
    frame = plan.in_middle(w, d)
    if frame:
        f.table(frame, plan.rng, w, d, 0.45)
        f.clutter(frame, plan.rng, w, d, 0.45, int(plan.rng.integers(0, 5)))


def _loose(draw: Callable[[Placer, Rng], None], w: float, d: float) -> Piece:
    def place(plan: RoomPlan) -> None:
        frame = plan.in_middle(w, d)
        if frame:
            draw(frame, plan.rng)

    return place


def _bed(plan: RoomPlan) -> None:
    w = float(plan.rng.choice([0.95, 1.4, 1.8]))
    found = plan.at_wall(w + 0.1, 2.15)
    if found is None:
        return
    frame, _ = found
    f.bed(frame, plan.rng, w)
    for side in (-1, 1):
        stand = frame.at(side * (w / 2 + 0.32))
        if plan.rng.random() < 0.7 and plan.claim(stand, 0.42, 0.42, 0.0):
            _night_stand(stand, plan.rng, 0.42)


def _school_desks(plan: RoomPlan) -> None:
    rng = plan.rng
    style = int(rng.integers(1 << 30))
    for x in np.arange(-plan.length_m / 2 + 1.6, plan.length_m / 2 - 1.4, 1.5):
        for y in np.arange(-plan.width_m / 2 + 1.2, plan.width_m / 2 - 1.0, 1.7):
            frame = plan.builder.at(float(x), float(y), 0, math.pi / 2 + rng.normal(0, 0.05)).at(
                0, 0.5
            )
            if rng.random() < 0.85 and plan.claim(frame, 1.2, 1.1, 0.05):
                same = np.random.default_rng(style)
                f.table(frame, same, 1.2, 0.5, 0.74, Nyu.DESK)
                f.chair(frame.at(0, -0.75, 0, math.pi + rng.normal(0, 0.2)), same)


_SOFA = _wall_piece(f.sofa, (0.9, 2.3), 1.0)
_SHELF = _wall_piece(f.bookshelf, (0.6, 1.6), 0.38, tall=True)
_CABINET = _wall_piece(_cabinet, (0.5, 1.6), 0.48)
_WARDROBE = _wall_piece(_wardrobe, (0.8, 2.0), 0.62, tall=True)
_TV = _wall_piece(_tv_bench, (0.9, 1.8), 0.46, tall=True)
_DESK = _wall_piece(f.desk, (1.0, 1.7), 1.5)
_COUNTER = _wall_piece(f.counter, (1.4, 3.2), 0.66, tall=True)
_FRIDGE = _wall_piece(lambda p, rng, w: f.refrigerator(p, rng), (0.92, 0.92), 0.82, tall=True)
_LAMP = _wall_piece(
    lambda p, rng, w: f.lamp(p, rng, float(rng.uniform(1.3, 1.8))), (0.45, 0.45), 0.45
)
_PLANT = _wall_piece(
    lambda p, rng, w: f.plant(p, rng, float(rng.uniform(0.6, 1.8))), (0.5, 0.5), 0.5
)
_CARTON = _wall_piece(lambda p, rng, w: f.carton(p, rng), (0.6, 0.6), 0.6)
_CHAIR = _loose(f.chair, 0.55, 0.55)
_PERSON = _loose(lambda p, rng: f.person(p, rng, Nyu.PERSON, -0.3), 0.6, 0.6)

# Per kind of room: (recipe, least, most) pieces.
RECIPES: dict[str, list[tuple[Piece, int, int]]] = {
    "living": [
        (_SOFA, 1, 3),
        (_TV, 0, 1),
        (_COFFEE := _coffee_table, 0, 1),
        (_SHELF, 0, 2),
        (_CABINET, 0, 2),
    ],
    "bedroom": [(_bed, 1, 2), (_WARDROBE, 0, 2), (_CABINET, 0, 2), (_DESK, 0, 1), (_SHELF, 0, 1)],
    "office": [(_DESK, 1, 4), (_SHELF, 0, 3), (_CABINET, 0, 2), (_table_with_chairs, 0, 1)],
    "kitchen": [(_COUNTER, 1, 2), (_FRIDGE, 0, 1), (_table_with_chairs, 0, 1), (_CABINET, 0, 1)],
    "dining": [(_table_with_chairs, 1, 1), (_CABINET, 1, 2), (_SHELF, 0, 1), (_SOFA, 0, 1)],
    "classroom": [(_CABINET, 0, 1), (_school_desks, 1, 1), (_SHELF, 0, 2)],
    "bathroom": [
        (_wall_piece(_bath, (1.5, 1.8), 0.8), 1, 1),
        (_wall_piece(_toilet, (0.5, 0.5), 0.75), 1, 1),
        (_wall_piece(_washstand, (0.6, 1.2), 0.55, tall=True), 1, 2),
    ],
    "storage": [(_SHELF, 2, 5), (_CARTON, 3, 9), (_WARDROBE, 0, 2), (_coffee_table, 0, 1)],
}
ANYWHERE: list[tuple[Piece, int, int]] = [
    (_LAMP, 0, 2), (_PLANT, 0, 2), (_CARTON, 0, 3), (_CHAIR, 0, 2), (_PERSON, -2, 1),
]  # fmt: skip
