"""Streets to drive through, in town, suburb and country, laid out from one seed."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.labels import City
from mono_depth_ros.world import palette, roadside, traffic
from mono_depth_ros.world.motion import StreetMotion
from mono_depth_ros.world.scene import (
    Actor,
    Lighting,
    Placer,
    Scene,
    SceneBuilder,
    body_pose,
    optical_pose,
)
from mono_depth_ros.world.textures import Material

Rng = np.random.Generator
# Rectified colour camera of the KITTI drives of 2011-09-26.
STREET_CAMERA = Intrinsics(721.5377, 721.5377, 609.5593, 172.854, 1242, 375)
STREET_RANGE_M = 80.0
CAMERA_HEIGHT_M = 1.65
# The LiDAR of the KITTI car stands behind and above its camera.
LIDAR_BEHIND_M, LIDAR_ABOVE_M = 0.27, 0.08
_FROM_M, _TO_M = -30.0, 330.0
_CURB_M = 0.12


@dataclass(frozen=True)
class _Style:
    """How a street is built: shares of plots, and densities per side."""

    plots: dict[str, float]
    lanes: tuple[int, int]
    pavement_m: tuple[float, float]
    setback_m: tuple[float, float]
    parked: float
    people: float
    trees: float


_STYLES = {
    "town": _Style({"building": 0.86, "grove": 0.05, "gap": 0.09}, (1, 2), (1.8, 4.5), (0.0, 1.5),
    0.5, 0.6, 0.3),
    "suburb": _Style({"house": 0.7, "grove": 0.12, "building": 0.1, "gap": 0.08}, (1, 1), (1.2,
    2.5), (0.0, 1.0), 0.35, 0.3, 0.25),
    "country": _Style({"grove": 0.45, "meadow": 0.45, "house": 0.1}, (1, 2), (0.0, 0.8), (1.0, 4.0),
    0.03, 0.05, 0.15),
}  # fmt: skip


def make_street(seed: int, variety: Collection[str] = ()) -> Scene:
    """Lay out one street; no part of `variety` changes a street's layout."""
    rng = np.random.default_rng((0x73747274, seed))
    style = _STYLES[str(rng.choice(list(_STYLES), p=[0.42, 0.36, 0.22]))]
    builder = SceneBuilder()
    lane, lanes = (
        float(rng.uniform(2.8, 3.6)),
        int(rng.integers(style.lanes[0], style.lanes[1] + 1)),
    )
    bay = 2.2 if rng.random() < style.parked * 1.6 else 0.3
    half_road = lane * lanes + bay
    _ground(builder.at(), rng, half_road, lane, lanes)
    for side in (-1, 1):
        _side(builder, rng, style, half_road, bay, side)
    speed = float(rng.uniform(5.0, 12.0))
    ego_lane = -lane * (lanes - 0.5)
    _moving(builder, rng, style, lane, lanes, speed, half_road)
    if rng.random() < 0.15:
        _bridge(builder.at(float(rng.uniform(60, 250))), rng, half_road)
    solids, materials = builder.finish()
    mount = (0.0, 0.0, CAMERA_HEIGHT_M + float(rng.normal(0, 0.03)))
    return Scene(
        kind="streets",
        seed=seed,
        solids=solids,
        materials=materials,
        lighting=_daylight(rng),
        motion=StreetMotion(
            start_m=0.0,
            lane_m=ego_lane,
            speed_m_s=speed,
            weave_m=float(rng.uniform(0.05, 0.25)),
            weave_period_m=float(rng.uniform(35, 80)),
            span_m=(-5.0, 230.0),
            lanes_m=(
                -lane * lanes + 1.1,
                lane * lanes - 1.1 if rng.random() < 0.3 else ego_lane + 0.5,
            ),
            height_m=CAMERA_HEIGHT_M,
        ),
        camera=STREET_CAMERA,
        max_depth_m=STREET_RANGE_M,
        base_from_camera=optical_pose(mount, 0.0, float(rng.normal(0.0, 0.008))),
        base_from_lidar=body_pose((-LIDAR_BEHIND_M, 0.0, mount[2] + LIDAR_ABOVE_M), 0.0),
        sky_label=City.SKY,
        actors=tuple(builder.actors),
    )


def _ground(world: Placer, rng: Rng, half_road: float, lane: float, lanes: int) -> None:
    """Terrain, asphalt and lane marks."""
    green = palette.leaves(rng)
    dry = Material(
        "foliage",
        green.colour,
        palette.scaled(green.colour, 0.6),
        (0.8, 0.8),
        0.3,
        reflectivity=0.3,
    )
    world.box((_FROM_M - 40, -150, -1.0), (_TO_M + 150, 150, -0.02), City.TERRAIN, dry, casts=False)
    grey = float(rng.uniform(0.1, 0.28))
    tar = Material(
        "asphalt", (grey, grey, grey * 1.03), (grey * 0.7, grey * 0.7, grey * 0.72), (1.0, 1.0),
        0.12,
        reflectivity=0.15, seed=int(rng.integers(4096)),
    )  # fmt: skip
    world.box(
        (_FROM_M - 40, -half_road, -0.5), (_TO_M + 150, half_road, 0.0), City.ROAD, tar, casts=False
    )
    white = Material(
        "mottled", (0.75, 0.75, 0.72), (0.5, 0.5, 0.48), (0.3, 0.3), 0.15, reflectivity=0.6
    )
    dash, gap = float(rng.uniform(2.5, 6.0)), float(rng.uniform(3.0, 9.0))
    marked = rng.random() < 0.85
    for line in range(-lanes + 1, lanes):
        y = line * lane
        if not marked:
            continue
        if line == 0 and rng.random() < 0.25:
            world.box(
                (_FROM_M, y - 0.07, -0.01), (_TO_M, y + 0.07, 0.003), City.ROAD, white, casts=False
            )
            continue
        for x in np.arange(_FROM_M, _TO_M, dash + gap):
            world.box(
                (x, y - 0.07, -0.01), (x + dash, y + 0.07, 0.003), City.ROAD, white, casts=False
            )
    if rng.random() < 0.5:
        for sign in (-1, 1):
            y = sign * (lane * lanes)
            world.box(
                (_FROM_M, y - 0.06, -0.01), (_TO_M, y + 0.06, 0.003), City.ROAD, white, casts=False
            )
    for x in rng.uniform(20, 260, int(rng.integers(0, 4))):
        if rng.random() < 0.4:
            for y in np.arange(-half_road + 0.4, half_road - 0.4, 1.0):
                world.box((x, y, -0.01), (x + 3.0, y + 0.5, 0.004), City.ROAD, white, casts=False)


def _side(
    builder: SceneBuilder, rng: Rng, style: _Style, half_road: float, bay: float, side: int
) -> None:
    """One side of the road: pavement, parked cars, street furniture, plots."""
    # x along the road, y away from it, on either side; the left side is turned, so its x runs
    # backwards.
    world = builder.at(0, 0, 0, 0.0 if side > 0 else math.pi)
    start, end = (_FROM_M, _TO_M) if side > 0 else (-_TO_M, -_FROM_M)
    width = float(rng.uniform(*style.pavement_m))
    if width > 0.6:
        slab = float(rng.uniform(0.25, 0.5))
        shade = (slab, slab * 0.98, slab * 0.94)
        size = float(rng.choice([0.3, 0.5, 1.0]))
        stone = Material(
            "tiles", shade, palette.scaled(shade, 0.7), (size, size), 0.12, local=False
        )
        world.box(
            (start, half_road + 0.15, -0.3),
            (end, half_road + width, _CURB_M),
            City.SIDEWALK,
            stone,
            casts=False,
        )
        kerb = palette.plain(palette.scaled(shade, 1.25), 0.2)
        world.box(
            (start, half_road, -0.3),
            (end, half_road + 0.15, _CURB_M),
            City.SIDEWALK,
            kerb,
            casts=False,
        )
    if bay > 1.0:
        _parked(world, rng, style, start, end, half_road - 1.05)
    _furniture(world, rng, style, start, end, half_road, width)
    names, shares = list(style.plots), list(style.plots.values())
    x = start
    while x < end:
        kind, wide = str(rng.choice(names, p=shares)), float(rng.uniform(7, 22))
        plot = world.at(
            x + wide / 2, half_road + width + float(rng.uniform(*style.setback_m)) + 0.1
        )
        if kind == "gap":
            wide = float(rng.uniform(5, 9))
        else:
            draw = {"building": roadside.building, "house": roadside.house, "grove": roadside.grove}
            draw.get(kind, roadside.meadow)(plot, rng, wide)
        x += wide + (float(rng.exponential(1.0)) if rng.random() < 0.4 else 0.02)


def _parked(world: Placer, rng: Rng, style: _Style, start: float, end: float, y: float) -> None:
    x = start + 3.0
    while x < end:
        if rng.random() < style.parked:
            yaw = (math.pi if rng.random() < 0.85 else 0.0) + float(rng.normal(0, 0.03))
            x += traffic.vehicle(
                world.at(x, y + float(rng.normal(0, 0.1)), 0, yaw), rng
            ) + rng.exponential(1.0)
        else:
            x += float(rng.uniform(3, 15))


def _furniture(
    world: Placer, rng: Rng, style: _Style, start: float, end: float, half_road: float, width: float
) -> None:
    """Lamps, signs, trees, bollards and people between kerb and plots."""
    y = half_road + min(0.5, max(width, 0.4) / 2)
    spacing = float(rng.uniform(20, 40))
    if rng.random() < 0.8:
        for x in np.arange(start + float(rng.uniform(0, spacing)), end, spacing):
            roadside.lamp_post(world.at(float(x), y), rng)
    for x in np.arange(start, end, 18.0):
        spot = world.at(float(x + rng.uniform(0, 15)), y, 0, float(rng.choice([0.0, math.pi])))
        pick = rng.random()
        if pick < 0.22:
            roadside.sign(spot, rng)
        elif pick < 0.28:
            roadside.traffic_light(spot, rng)
        elif pick < 0.36 and width > 1.5:
            roadside.bollards(spot, rng, 9.0)
        elif pick < 0.36 + style.trees and width != 0:
            roadside.tree(spot, rng, 0.75, clear_m=2.6)
    for _ in range(int(rng.poisson(style.people * 10))):
        x = float(rng.uniform(start, end))
        across = half_road + float(rng.uniform(0.6, max(0.7, width - 0.3)))
        walker = world.at(
            x, across, _CURB_M if width > 0.6 else 0.0, float(rng.choice([0, math.pi]))
        )
        traffic.pedestrian(walker, rng)


def _moving(
    builder: SceneBuilder,
    rng: Rng,
    style: _Style,
    lane: float,
    lanes: int,
    speed: float,
    half_road: float,
) -> None:
    """Traffic ahead, oncoming traffic, a cyclist and walkers, all in straight lines."""
    ego = -lane * (lanes - 0.5)
    if rng.random() < 0.6:
        ahead = float(rng.uniform(12, 45))
        traffic.vehicle(
            builder.moving(Actor((ahead, ego, 0.0), 0.0, speed * float(rng.uniform(0.98, 1.15)))),
            rng,
        )
    for _ in range(int(rng.poisson(3))):
        y = lane * (float(rng.integers(lanes)) + 0.5)
        actor = Actor((float(rng.uniform(20, 260)), y, 0.0), math.pi, float(rng.uniform(5, 13)))
        traffic.vehicle(builder.moving(actor), rng)
    if rng.random() < 0.35:
        y = -lane * lanes + 0.5
        traffic.cyclist(builder.moving(Actor((float(rng.uniform(15, 80)), y, 0.0), 0.0, 4.0)), rng)
    for _ in range(int(rng.poisson(2 * style.people))):
        x, side = float(rng.uniform(10, 120)), float(rng.choice([-1.0, 1.0]))
        yaw = 0.0 if rng.random() < 0.5 else math.pi
        actor = Actor((x, side * (half_road + 0.5), _CURB_M), yaw, float(rng.uniform(0.9, 1.6)))
        traffic.pedestrian(builder.moving(actor), rng)


def _bridge(p: Placer, rng: Rng, half_road: float) -> None:
    """A road or railway that crosses above."""
    grey = float(rng.uniform(0.25, 0.5))
    concrete = Material("mottled", (grey, grey, grey), (grey * 0.7,) * 3, (1.5, 1.5), 0.15)  # type: ignore[arg-type]
    low = float(rng.uniform(4.6, 6.0))
    p.box((-4, -60, low), (4, 60, low + 1.2), City.BUILDING, concrete)
    for x in (-3.9, 3.8):
        p.box((x, -60, low + 1.2), (x + 0.1, 60, low + 2.2), City.FENCE, palette.metal(rng))
    for side in (-1, 1):
        p.box(
            (-3, side * (half_road + 3), 0),
            (3, side * (half_road + 4.2), low),
            City.BUILDING,
            concrete,
        )


def _daylight(rng: Rng) -> Lighting:
    overcast = rng.random() < 0.3
    azimuth, height = float(rng.uniform(0, 2 * math.pi)), float(rng.uniform(0.3, 1.1))
    sun = np.array(
        [
            math.cos(azimuth) * math.cos(height),
            math.sin(azimuth) * math.cos(height),
            math.sin(height),
        ]
    )
    warm = float(np.clip(height / 0.8, 0.6, 1.0))
    power, ambient = (
        (0.12, float(rng.uniform(0.5, 0.7))) if overcast else (1.25, float(rng.uniform(0.25, 0.4)))
    )
    horizon = (0.85, 0.87, 0.9) if overcast else (0.8, 0.9 * warm + 0.05, 1.0 * warm)
    return Lighting(
        light_m=sun * 2000.0,
        light_colour=(power, power * (0.3 + 0.68 * warm), power * (0.05 + 0.85 * warm)),
        falloff_m=math.inf,
        above=(ambient * 0.9, ambient, ambient * 1.15),
        below=(ambient * 0.45, ambient * 0.42, ambient * 0.38),
        haze_m=float(np.exp(rng.uniform(math.log(150), math.log(1500)))),
        zenith=(0.6, 0.65, 0.72) if overcast else (0.16, 0.34, 0.75),
        horizon=horizon,
        clouds=1.0 if overcast else float(rng.uniform(0.0, 0.6)),
        shadow_lift_m=0.03,
    )
