"""Intersections against values worked out by hand, and casting against a plain reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.world.cast import NOTHING, cast, lit
from mono_depth_ros.world.primitives import BOX, CYLINDER, ELLIPSOID, PrimitiveSet, intersect
from mono_depth_ros.world.rays import PinholeRays, SphericalRays, world_directions
from mono_depth_ros.world.scene import SceneBuilder, optical_pose, rotation_x, rotation_z
from mono_depth_ros.world.textures import Material

CPU = torch.device("cpu")
GREY = Material()


def hit(solids: PrimitiveSet, origin: tuple[float, ...], direction: tuple[float, ...]) -> float:
    """Distance along one ray, through the map to unit space of the first solid."""
    matrix = solids.unit_from_world[0]
    start = torch.tensor(matrix @ (np.array(origin) - solids.centre_m[0]), dtype=torch.float32)[
        :, None
    ]
    ray = torch.tensor(matrix @ np.array(direction), dtype=torch.float32)[:, None]
    near, far = intersect(int(solids.kind[0]), start, ray)
    return near.item() if near <= far and near > 0 else math.inf


def one(add: str, *args: object, yaw: float = 0.0, **kwargs: object) -> PrimitiveSet:
    builder = SceneBuilder()
    getattr(builder.at(0, 0, 0, yaw), add)(*args, 1, GREY, **kwargs)
    return builder.finish()[0]


def test_box_is_met_at_its_near_face() -> None:
    box = one("box", (4, -1, -1), (6, 1, 1))
    assert hit(box, (0, 0, 0), (1, 0, 0)) == pytest.approx(4.0)
    assert hit(box, (0, 0.9, 0.9), (2, 0, 0)) == pytest.approx(2.0)
    assert hit(box, (0, 1.1, 0), (1, 0, 0)) == math.inf
    assert hit(box, (8, 0, 0), (1, 0, 0)) == math.inf
    # (0, 0) to (4, 1): leaves y = ±1 exactly at the near face's edge; a bit flatter hits it at x =
    # 4.
    assert hit(box, (0, 0, 0), (4, 0.99, 0)) == pytest.approx(1.0)


def test_box_turned_by_45_degrees_shows_its_edge() -> None:
    builder = SceneBuilder()
    builder.at(5, 0, 0, math.pi / 4).box((-1, -1, -1), (1, 1, 1), 1, GREY)
    assert hit(builder.finish()[0], (0, 0, 0), (1, 0, 0)) == pytest.approx(
        5 - math.sqrt(2), rel=1e-6
    )


def test_tilted_box_is_met_on_its_slope() -> None:
    # A thin plate through (5, 0, 0), leaning so that its normal is (-sin 30°.., ) in the x-z plane.
    builder = SceneBuilder()
    turn = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]) @ rotation_z(0.3)
    builder.at().box((4, -1, -0.5), (6, 1, 0.5), 1, GREY, turn=turn)
    # The turn maps local z (half 0.5) onto world x: the face is at 5 - 0.5.
    assert hit(builder.finish()[0], (0, 0, 0), (1, 0, 0)) == pytest.approx(4.5, rel=1e-6)


def test_ellipsoid_follows_its_equation() -> None:
    solid = one("ellipsoid", (10, 0, 0), (2, 1, 1))
    assert hit(solid, (0, 0, 0), (1, 0, 0)) == pytest.approx(8.0, rel=1e-6)
    assert hit(solid, (0, 0.5, 0), (1, 0, 0)) == pytest.approx(10 - 2 * math.sqrt(0.75), rel=1e-6)
    assert hit(solid, (0, 1.01, 0), (1, 0, 0)) == math.inf


def test_cylinder_side_and_cap() -> None:
    solid = one("cylinder", (5, 0, -1), 0.5, 2.0)
    assert hit(solid, (0, 0, 0), (1, 0, 0)) == pytest.approx(4.5, rel=1e-6)
    assert hit(solid, (0, 0.3, 0), (1, 0, 0)) == pytest.approx(4.6, rel=1e-6)
    assert hit(solid, (5.2, 0, 3), (0, 0, -1)) == pytest.approx(2.0, rel=1e-6)
    assert hit(solid, (5.6, 0, 3), (0, 0, -1)) == math.inf
    assert hit(solid, (0, 0, 1.2), (1, 0, 0)) == math.inf


def test_distant_thin_pole_keeps_its_width() -> None:
    # Radius 5 cm at 80 m: the float32 discriminant b² - ac would lose it.
    solid = one("cylinder", (80, 0, -5), 0.05, 10.0)
    assert hit(solid, (0, 0.049, 0), (1, 0, 0)) == pytest.approx(
        80 - math.sqrt(0.05**2 - 0.049**2), abs=1e-3
    )
    assert hit(solid, (0, 0.0502, 0), (1, 0, 0)) == math.inf


@given(
    kind=st.sampled_from([BOX, CYLINDER, ELLIPSOID]),
    origin=st.tuples(*[st.floats(-20, 20)] * 3),
    aim=st.tuples(*[st.floats(-0.99, 0.99)] * 3),
)
@settings(max_examples=200, deadline=None)
def test_hits_lie_on_the_surface(
    kind: int, origin: tuple[float, ...], aim: tuple[float, ...]
) -> None:
    start = np.array(origin, np.float32)
    if np.abs(start).max() < 2.0:
        start = start + np.float32(4.0)
    direction = np.array(aim, np.float32) * np.float32(0.5) - start
    near, far = intersect(kind, torch.tensor(start)[:, None], torch.tensor(direction)[:, None])
    # Every aim lies within the half-size solid, except corners outside the ball or the disc.
    if near > far:
        assert kind != BOX
        return
    x, y, z = start + near.item() * direction
    measure = {
        BOX: max(abs(x), abs(y), abs(z)),
        CYLINDER: max(math.hypot(x, y), abs(z)),
        ELLIPSOID: math.sqrt(x * x + y * y + z * z),
    }[kind]
    assert measure == pytest.approx(1.0, abs=2e-4)


def test_distance_to_bounding_boxes() -> None:
    builder = SceneBuilder()
    builder.at(5, 0, 0, math.pi / 2).box((-1, -3, -1), (1, 3, 1), 1, GREY)
    solids = builder.finish()[0]
    # Turned by 90 degrees the box spans x in [2, 8], y and z in [-1, 1].
    assert solids.distance_m(np.zeros(3)) == pytest.approx(2.0)
    assert solids.distance_m(np.array([-1.0, 5.0, 1.0])) == pytest.approx(5.0)
    assert solids.distance_m(np.array([7.0, 0.5, 0.0])) == 0.0


def random_solids(seed: int, count: int) -> PrimitiveSet:
    rng = np.random.default_rng(seed)
    axes = np.stack([rotation_z(a) @ rotation_x(b) for a, b in rng.uniform(-3, 3, (count, 2))])
    return PrimitiveSet(
        kind=rng.integers(0, 3, count).astype(np.uint8),
        centre_m=rng.uniform(-8, 8, (count, 3)),
        rotation=axes,
        half_m=np.exp(rng.uniform(-3, 0.7, (count, 3))),
        label=np.zeros(count, np.uint8),
        material=np.zeros(count, np.int32),
        actor=np.full(count, -1, np.int32),
        casts=np.ones(count, bool),
    )


def brute_force(solids: PrimitiveSet, origin: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Nearest hit of rays (N, 3), float64, every solid against every ray, textbook formulas."""
    best = np.full(len(rays), np.inf)
    for k in range(len(solids)):
        matrix = np.diag(1 / solids.half_m[k]) @ solids.rotation[k].T
        o, d = matrix @ (origin - solids.centre_m[k]), rays @ matrix.T
        with np.errstate(all="ignore"):
            first, second = (-1 - o) / d, (1 - o) / d
            near, far = np.minimum(first, second), np.maximum(first, second)
            dims = slice(0, 2) if solids.kind[k] == CYLINDER else slice(0, 3)
            a, b = (d[:, dims] ** 2).sum(1), d[:, dims] @ o[dims]
            root = np.sqrt(b * b - a * ((o[dims] ** 2).sum() - 1))
            round_near, round_far = (-b - root) / a, (-b + root) / a
            if solids.kind[k] == BOX:
                enter, leave = near.max(1), far.min(1)
            elif solids.kind[k] == CYLINDER:
                enter, leave = np.maximum(near[:, 2], round_near), np.minimum(far[:, 2], round_far)
            else:
                enter, leave = round_near, round_far
            enter = np.where((enter <= leave) & (enter > 0), enter, np.inf)
        best = np.minimum(best, enter)
    return best


def assert_same_hits(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal apart from a few rays that graze an outline, where float32 and float64 may differ."""
    both = np.isfinite(got) & np.isfinite(expected)
    wrong = np.isfinite(got) != np.isfinite(expected)
    wrong[both] = np.abs(got[both] - expected[both]) > 1e-3
    assert both.sum() > 500
    assert wrong.mean() < 2e-3


@pytest.mark.parametrize("seed", range(4))
def test_pinhole_cast_equals_brute_force(seed: int) -> None:
    solids = random_solids(seed, 80)
    camera = Intrinsics(60.0, 62.0, 50.0, 35.0, 96, 72)
    rays = PinholeRays(optical_pose((0.5, -0.3, 0.2), 0.4 + seed, 0.1, 0.2), camera)
    t, index = cast(solids, rays, CPU)
    directions = world_directions(rays, CPU).reshape(3, -1).T.numpy().astype(np.float64)
    expected = brute_force(solids, rays.origin_m, directions)
    assert_same_hits(t.numpy().ravel(), expected)
    assert ((index.numpy() == NOTHING) == np.isinf(t.numpy())).all()


@pytest.mark.parametrize("seed", range(3))
def test_spherical_cast_equals_brute_force(seed: int) -> None:
    solids = random_solids(seed + 10, 80)
    pose = np.eye(4)
    pose[:3, 3] = (0.1, 0.2, 0.3)
    elevation, azimuth = (
        np.deg2rad(np.linspace(-60, 60, 40)),
        np.linspace(-np.pi, np.pi, 120, endpoint=False),
    )
    rays = SphericalRays(pose, elevation, azimuth)
    t, _ = cast(solids, rays, CPU)
    e, a = np.meshgrid(elevation, azimuth, indexing="ij")
    directions = np.stack((np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)), -1).reshape(
        -1, 3
    )
    assert_same_hits(t.numpy().ravel(), brute_force(solids, rays.origin_m, directions))


def test_shadow_rays_equal_brute_force() -> None:
    solids = random_solids(5, 60)
    rng = np.random.default_rng(0)
    points = np.column_stack((rng.uniform(-8, 8, (4000, 2)), np.full(4000, -10.0)))
    light = np.array([0.0, 0.5, 12.0])
    look = np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]])
    seen = lit(solids, light, look, torch.tensor(points.T, dtype=torch.float32)).numpy()
    expected = ~(brute_force(solids, light, points - light) < 1.0)
    assert 0.2 < expected.mean() < 0.8
    assert (seen == expected).mean() > 0.998


def test_no_solids_in_view_gives_nothing() -> None:
    solids = one("box", (4, -1, -1), (6, 1, 1))
    rays = PinholeRays(optical_pose((0, 0, 0), math.pi), Intrinsics(30.0, 30.0, 15.5, 15.5, 32, 32))
    t, index = cast(solids, rays, CPU)
    assert torch.isinf(t).all() and (index == NOTHING).all()
