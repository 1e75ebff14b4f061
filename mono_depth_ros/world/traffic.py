"""Vehicles and people of a street, each in its own frame: origin below its middle, x forward."""

from __future__ import annotations

import math

import numpy as np

from mono_depth_ros.labels import City
from mono_depth_ros.world import palette
from mono_depth_ros.world.furniture import person
from mono_depth_ros.world.scene import Placer, rotation_x, rotation_y
from mono_depth_ros.world.textures import Material

Rng = np.random.Generator
_GLASS = palette.plain((0.03, 0.04, 0.05), 0.02, gloss=0.5)
_RUBBER = palette.plain((0.025, 0.025, 0.025), 0.05)
_RIM = palette.plain((0.35, 0.35, 0.36), 0.05, gloss=0.3)
_HEADLIGHT = palette.plain((0.85, 0.85, 0.8), 0.02, emission=0.3)
_TAILLIGHT = palette.plain((0.5, 0.02, 0.02), 0.02, emission=0.15)
_PLATE = palette.plain((0.8, 0.8, 0.75), 0.05)
_SIDEWAYS = rotation_x(math.pi / 2)


def car_paint(rng: Rng) -> Material:
    """Mostly black, grey, white or silver, sometimes a colour."""
    if rng.random() < 0.65:
        level = float(rng.choice([0.02, 0.08, 0.2, 0.4, 0.75]))
        colour = (level, level, level * 1.02)
    else:
        colour = palette.tint(rng, (0.5, 0.95), (0.1, 0.6))
    return Material(
        "plain", colour, contrast=0.04, gloss=0.5, reflectivity=float(rng.uniform(0.1, 0.6))
    )


def _wheels(
    p: Placer, label: int, front: float, rear: float, half_width: float, radius: float
) -> None:
    for x in (front, rear):
        for y in (-half_width + 0.1, half_width - 0.1):
            p.cylinder((x, y, radius - 0.11), radius, 0.22, label, _RUBBER, turn=_SIDEWAYS)
            p.cylinder(
                (x, y, radius - 0.115), radius * 0.6, 0.23, label, _RIM, turn=_SIDEWAYS, casts=False
            )


def car(p: Placer, rng: Rng) -> None:
    """A hatchback, saloon, estate or off-roader."""
    paint = car_paint(rng)
    length, half = float(rng.uniform(3.6, 4.9)), float(rng.uniform(0.82, 0.95))
    low, belt, roof = (
        float(rng.uniform(0.18, 0.3)),
        float(rng.uniform(0.8, 1.0)),
        float(rng.uniform(1.4, 1.75)),
    )
    nose, tail = length / 2, -length / 2
    hood = nose - float(rng.uniform(0.85, 1.2))
    boot = tail + float(rng.choice([0.1, 0.15, 0.8]))
    p.box((tail, -half, low), (nose, half, belt - 0.12), City.CAR, paint)
    p.box(
        (tail + 0.06, -half + 0.04, belt - 0.14), (nose - 0.15, half - 0.04, belt), City.CAR, paint
    )
    rise, slope = roof - belt, float(rng.uniform(0.45, 0.75))
    front, back = hood - rise * slope, boot + rise * 0.3
    p.box((back, -half + 0.12, roof - 0.06), (front, half - 0.12, roof), City.CAR, paint)
    p.box(
        (back - 0.02, -half + 0.1, belt), (front + 0.05, half - 0.1, roof - 0.05), City.CAR, _GLASS
    )
    _pane(p, (hood, front), (belt, roof), half - 0.13, _GLASS)
    _pane(p, (boot, back), (belt, roof), half - 0.13, _GLASS)
    for x in (front - 0.02, (front + back) / 2, back + 0.04):
        p.box(
            (x - 0.05, -half + 0.09, belt),
            (x + 0.03, half - 0.09, roof - 0.02),
            City.CAR,
            paint,
            casts=False,
        )
    radius = float(rng.uniform(0.29, 0.36))
    _wheels(p, City.CAR, nose - 0.8, tail + 0.75, half, radius)
    for y in (-half + 0.22, half - 0.22):
        p.box(
            (nose - 0.1, y - 0.16, belt - 0.33),
            (nose + 0.01, y + 0.16, belt - 0.18),
            City.CAR,
            _HEADLIGHT,
        )
        p.box(
            (tail - 0.01, y - 0.13, belt - 0.35),
            (tail + 0.1, y + 0.13, belt - 0.12),
            City.CAR,
            _TAILLIGHT,
        )
        mirror = math.copysign(half + 0.1, y)
        p.ellipsoid((hood - 0.35, mirror, belt + 0.06), (0.08, 0.11, 0.08), City.CAR, paint)
    for x in (nose, tail):
        p.box((x - 0.012, -0.26, 0.42), (x + 0.012, 0.26, 0.53), City.CAR, _PLATE, casts=False)
        p.box(
            (x - 0.02, -half + 0.02, low - 0.02),
            (x + 0.02, half - 0.02, low + 0.16),
            City.CAR,
            _RUBBER,
        )


def _pane(
    p: Placer, x: tuple[float, float], z: tuple[float, float], half: float, material: Material
) -> None:
    """A slanted pane from (x[0], z[0]) to (x[1], z[1]), across the vehicle."""
    run, rise = x[1] - x[0], z[1] - z[0]
    length, angle = math.hypot(run, rise), math.atan2(rise, run)
    middle = np.array([(x[0] + x[1]) / 2, 0.0, (z[0] + z[1]) / 2 - 0.02])
    size = np.array([length / 2, half, 0.02])
    p.box(middle - size, middle + size, City.CAR, material, turn=rotation_y(-angle))


def van(p: Placer, rng: Rng) -> None:
    """A delivery van."""
    paint = car_paint(rng)
    length, half, roof = float(rng.uniform(4.8, 6.2)), 0.98, float(rng.uniform(2.0, 2.7))
    nose, tail = length / 2, -length / 2
    p.box((tail, -half, 0.3), (nose - 1.1, half, roof), City.CAR, paint)
    p.box((nose - 1.2, -half, 0.3), (nose, half, 1.1), City.CAR, paint)
    _pane(p, (nose - 0.35, nose - 1.15), (1.05, roof - 0.1), half - 0.08, _GLASS)
    p.box(
        (nose - 1.25, -half - 0.01, 1.15), (nose - 0.75, half + 0.01, roof - 0.45), City.CAR, _GLASS
    )
    p.box(
        (tail - 0.012, -half + 0.15, 1.3),
        (tail, half - 0.15, roof - 0.25),
        City.CAR,
        _GLASS,
        casts=False,
    )
    for y in (-half + 0.15, half - 0.15):
        p.box((nose - 0.1, y - 0.14, 0.75), (nose + 0.01, y + 0.14, 0.95), City.CAR, _HEADLIGHT)
        p.box((tail - 0.02, y - 0.09, 0.8), (tail, y + 0.09, 1.25), City.CAR, _TAILLIGHT)
    _wheels(p, City.CAR, nose - 0.95, tail + 0.95, half, 0.35)


def truck(p: Placer, rng: Rng) -> None:
    """A lorry with a box body, or a bus."""
    bus = rng.random() < 0.4
    label = City.BUS if bus else City.TRUCK
    length, half, roof = float(rng.uniform(7.0, 12.0)), 1.25, float(rng.uniform(3.0, 3.7))
    paint, second = car_paint(rng), car_paint(rng)
    nose, tail = length / 2, -length / 2
    cut = nose if bus else nose - 2.0
    p.box((tail, -half, 0.4 if bus else 0.9), (cut, half, roof), label, paint)
    if bus:
        p.box((tail + 0.4, -half - 0.01, 1.3), (nose - 0.3, half + 0.01, roof - 0.5), label, _GLASS)
        p.box((nose - 0.3, -half + 0.1, 0.9), (nose + 0.012, half - 0.1, roof - 0.4), label, _GLASS)
    else:
        p.box((nose - 1.9, -half, 0.5), (nose, half, 2.8), label, second)
        p.box((nose - 0.2, -half + 0.1, 1.6), (nose + 0.012, half - 0.1, 2.5), label, _GLASS)
        p.box((tail, -half + 0.3, 0.5), (nose, half - 0.3, 0.9), label, _RUBBER)
    for y in (-half + 0.25, half - 0.25):
        p.box((tail - 0.02, y - 0.12, 0.75), (tail, y + 0.12, 1.0), label, _TAILLIGHT)
        p.box((nose, y - 0.15, 0.7), (nose + 0.02, y + 0.15, 0.95), label, _HEADLIGHT)
    _wheels(p, label, nose - 1.3, tail + 1.8, half, 0.5)


def cyclist(p: Placer, rng: Rng) -> None:
    """A person on a bicycle."""
    frame = palette.object_paint(rng)
    for x in (-0.52, 0.52):
        p.cylinder((x, 0, 0.32), 0.34, 0.04, City.BICYCLE, _RUBBER, turn=_SIDEWAYS)
    p.box((-0.5, -0.02, 0.55), (0.45, 0.02, 0.6), City.BICYCLE, frame, turn=rotation_y(-0.2))
    p.cylinder((0.5, 0, 0.35), 0.02, 0.7, City.BICYCLE, frame)
    p.box((0.4, -0.28, 1.0), (0.45, 0.28, 1.04), City.BICYCLE, frame)
    shirt, trousers = palette.cloth(rng), palette.cloth(rng)
    lean = rotation_y(0.45)
    for y, swing in ((-0.1, 0.5), (0.1, -0.1)):
        p.cylinder((0.02, y, 0.35), 0.07, 0.65, City.RIDER, trousers, turn=rotation_y(swing))
        p.cylinder((0.28, 2 * y, 0.95), 0.04, 0.5, City.RIDER, shirt, turn=rotation_y(0.9))
    p.ellipsoid((0.02, 0, 1.25), (0.14, 0.2, 0.34), City.RIDER, shirt, turn=lean)
    p.ellipsoid((0.2, 0, 1.68), (0.11, 0.09, 0.13), City.RIDER, palette.plain((0.42, 0.27, 0.2)))
    p.ellipsoid((0.18, 0, 1.75), (0.13, 0.1, 0.1), City.RIDER, palette.object_paint(rng))


def pedestrian(p: Placer, rng: Rng) -> None:
    """A person who faces along x."""
    person(p.at(0, 0, 0, math.pi / 2), rng, City.PERSON, 0.0)


def vehicle(p: Placer, rng: Rng) -> float:
    """Add a car, van or lorry; return its length in metres to keep clear."""
    pick = rng.random()
    if pick < 0.82:
        car(p, rng)
        return 5.2
    if pick < 0.94:
        van(p, rng)
        return 6.6
    truck(p, rng)
    return 12.5
