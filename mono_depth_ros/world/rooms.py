"""Rooms to live, sleep, work, cook and learn in, laid out from one seed."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.labels import NYU_VOID, Nyu
from mono_depth_ros.world import palette
from mono_depth_ros.world.motion import RoomMotion, clear_distance
from mono_depth_ros.world.recipes import ANYWHERE, RECIPES
from mono_depth_ros.world.room_plan import RoomPlan
from mono_depth_ros.world.scene import Lighting, Scene, SceneBuilder, body_pose, optical_pose
from mono_depth_ros.world.walls import Opening, add_wall, dress_wall

Rng = np.random.Generator
# Colour camera of NYU Depth V2 as everybody uses it.
ROOM_CAMERA = Intrinsics(518.8579, 519.4696, 325.5824, 253.7362, 640, 480)
ROOM_RANGE_M = 10.0
_CELL_M = 0.05
_KEEP_OFF_M = 0.5
_KINDS = ("living", "bedroom", "office", "kitchen", "dining", "classroom", "bathroom", "storage")
_SHARES = (0.22, 0.2, 0.17, 0.14, 0.1, 0.07, 0.05, 0.05)


def make_room(seed: int, variety: Collection[str] = ()) -> Scene:
    """Lay out one room; with "layout" in `variety` from box rooms to halls."""
    rng = np.random.default_rng((0x726F6F6D, seed))
    for _ in range(20):
        plan = _furnish(rng, wide="layout" in variety)
        clear = clear_distance(plan.size_m, np.array(plan.taken).reshape(-1, 4), _CELL_M)
        if clear.max() > _KEEP_OFF_M + 0.1:
            break
    solids, materials = plan.builder.finish()
    height = float(rng.uniform(0.9, 1.5))
    return Scene(
        kind="rooms",
        seed=seed,
        solids=solids,
        materials=materials,
        lighting=_light(plan, rng),
        motion=_motion(plan, clear, rng),
        camera=ROOM_CAMERA,
        max_depth_m=ROOM_RANGE_M,
        base_from_camera=optical_pose((0.12, 0.0, height), 0.0, float(rng.uniform(0.05, 0.2))),
        base_from_lidar=body_pose((0.0, 0.0, height + 0.15), 0.0),
        sky_label=NYU_VOID,
    )


def _furnish(rng: Rng, wide: bool) -> RoomPlan:
    kind = str(rng.choice(_KINDS, p=_SHARES))
    low, high = {"bathroom": (3.0, 4.0), "classroom": (6.0, 9.0), "storage": (3.0, 6.0)}.get(
        kind, (3.2, 8.0)
    )
    lowest, highest, widest_m = 2.35, 3.1, 7.0
    if wide:
        low, high, lowest, highest, widest_m = low - 0.4, high * 1.3, 2.25, 3.6, 9.0
    plan = RoomPlan(
        SceneBuilder(),
        rng,
        length_m=float(rng.uniform(low, high)),
        width_m=float(rng.uniform(low, min(high, widest_m))),
        height_m=float(rng.uniform(lowest, highest)),
    )
    _shell(plan)
    for piece, least, most in RECIPES[kind] + ANYWHERE:
        for _ in range(max(0, int(rng.integers(least, most + 1)))):
            piece(plan)
    for wall in range(4):
        dress_wall(
            plan.wall_frame(wall),
            rng,
            plan.wall_length(wall),
            plan.height_m,
            plan.openings[wall],
            kind,
        )
    if rng.random() < 0.5:
        w, d = float(rng.uniform(1.2, 2.6)), float(rng.uniform(0.8, 1.8))
        x, y = (float(rng.uniform(-0.2, 0.2)) * side for side in plan.size_m)
        plan.builder.at(x, y, 0, float(rng.normal(0, 0.2))).box(
            (-w / 2, -d / 2, 0.0),
            (w / 2, d / 2, 0.012),
            Nyu.FLOOR_MAT,
            palette.rug(rng, w, d),
            casts=False,
        )
    return plan


def _shell(plan: RoomPlan) -> None:
    """Floor, ceiling, four walls with their doors and windows, and the ceiling lamp."""
    rng, world = plan.rng, plan.builder.at()
    x, y, h = plan.length_m / 2, plan.width_m / 2, plan.height_m
    # Beyond the walls too, so that an open door shows a corridor.
    world.box(
        (-x - 3, -y - 3, -0.2), (x + 3, y + 3, 0.0), Nyu.FLOOR, palette.floor(rng), casts=False
    )
    world.box(
        (-x - 3, -y - 3, h), (x + 3, y + 3, h + 0.2), Nyu.CEILING, palette.ceiling(rng), casts=False
    )
    same, trim = palette.paint(rng), palette.wood(rng)
    door_wall = int(rng.integers(4))
    for wall in range(4):
        length = plan.wall_length(wall)
        openings = []
        if wall == door_wall or rng.random() < 0.15:
            openings.append(Opening.door(rng, length))
        if rng.random() < 0.45:
            openings += Opening.windows(rng, length, h, openings)
        plan.openings[wall] = openings
        material = palette.paint(rng) if rng.random() < 0.2 else same
        frame = plan.wall_frame(wall)
        add_wall(frame, rng, length, h, openings, material, trim)
        for door in (o for o in openings if o.low_m == 0.0):
            plan.claim(frame.at(door.centre_m, 0.0), door.width_m, 0.9, 0.0)
    lamp = palette.plain((0.9, 0.88, 0.8), 0.02, emission=1.2)
    if rng.random() < 0.6:
        world.cylinder((0, 0, h - 0.1), 0.2, 0.1, Nyu.LAMP, lamp, casts=False)
    else:
        for dx in (-plan.length_m / 5, plan.length_m / 5):
            world.box((dx - 0.15, -0.6, h - 0.06), (dx + 0.15, 0.6, h), Nyu.LAMP, lamp, casts=False)


def _light(plan: RoomPlan, rng: Rng) -> Lighting:
    warm, strength = float(rng.uniform(0.75, 1.0)), float(rng.uniform(0.6, 1.6))
    ambient, angle = float(rng.uniform(0.25, 0.6)), float(rng.uniform(0, 2 * math.pi))
    fill = float(rng.uniform(0.0, 0.4))
    x, y = (float(rng.uniform(-0.15, 0.15)) * side for side in plan.size_m)
    return Lighting(
        light_m=np.array([x, y, plan.height_m - 0.15]),
        light_colour=(strength, strength * (0.5 + 0.5 * warm), strength * warm**2),
        falloff_m=float(rng.uniform(2.0, 4.0)),
        above=(ambient, ambient, ambient * 1.05),
        below=(ambient * 0.75, ambient * 0.7, ambient * 0.62),
        fill_direction=(math.cos(angle), math.sin(angle), 0.35),
        fill_colour=(fill, fill, fill * 1.1),
        zenith=(0.5, 0.7, 1.1),
        horizon=(1.1, 1.15, 1.2),
    )


def _motion(plan: RoomPlan, clear: npt.NDArray[np.float32], rng: Rng) -> RoomMotion:
    best = np.unravel_index(int(clear.argmax()), clear.shape)
    corner = np.array(plan.size_m) / 2

    def position(cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.asarray((cells[:, ::-1] + 0.5) * _CELL_M - corner)

    centre = position(np.array([best]))[0]
    free = position(np.argwhere(clear >= min(_KEEP_OFF_M, float(clear.max()))))
    sign = 1.0 if rng.random() < 0.5 else -1.0
    return RoomMotion(
        centre_m=(float(centre[0]), float(centre[1])),
        reach_m=max(0.0, min(float(clear.max()) - _KEEP_OFF_M, 1.5)),
        rates_rad_s=tuple(float(v) for v in rng.uniform((0.15, 0.2, 0.3), (0.3, 0.4, 0.6))),  # type: ignore[arg-type]
        phases_rad=tuple(float(v) for v in rng.uniform(0, 2 * math.pi, 3)),  # type: ignore[arg-type]
        turn_rad_s=sign * float(rng.uniform(0.12, 0.35)),
        free_m=free,
        ceiling_m=plan.height_m,
        size_m=plan.size_m,
    )
