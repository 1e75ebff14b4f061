"""A scene: solids, materials, light, moving objects, and the robot that carries the sensors.

World frame: x forward, y left, z up, floor or road at z = 0. `base_link` is the point on the ground
below the robot,
x forward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.world.primitives import BOX, CYLINDER, ELLIPSOID, FloatArray, PrimitiveSet
from mono_depth_ros.world.textures import Colour, Material, material_table

# Optical axes (x right, y down, z forward) in a body frame (x forward, y left, z up).
BODY_FROM_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def rotation_z(yaw_rad: float) -> FloatArray:
    """(3, 3) rotation about z, counter-clockwise seen from above."""
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def rotation_y(pitch_rad: float) -> FloatArray:
    """(3, 3) rotation about y; positive tips a forward x axis down."""
    c, s = math.cos(pitch_rad), math.sin(pitch_rad)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def rotation_x(roll_rad: float) -> FloatArray:
    """(3, 3) rotation about x."""
    c, s = math.cos(roll_rad), math.sin(roll_rad)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def body_pose(
    position_m: Sequence[float], yaw_rad: float, pitch_rad: float = 0.0, roll_rad: float = 0.0
) -> FloatArray:
    """(4, 4) parent_from_body; positive pitch looks down."""
    pose = np.eye(4)
    pose[:3, :3] = rotation_z(yaw_rad) @ rotation_y(pitch_rad) @ rotation_x(roll_rad)
    pose[:3, 3] = position_m
    return pose


def optical_pose(
    position_m: Sequence[float], yaw_rad: float = 0.0, pitch_rad: float = 0.0, roll_rad: float = 0.0
) -> FloatArray:
    """(4, 4) parent_from_camera of an optical frame that looks along the body's x axis."""
    pose = body_pose(position_m, yaw_rad, pitch_rad, roll_rad)
    pose[:3, :3] = pose[:3, :3] @ BODY_FROM_OPTICAL
    return pose


@dataclass(frozen=True)
class Lighting:
    """Light and air of a scene; colours are linear RGB radiance.

    Attributes:
        light_m: (3,) position of the main light; the sun is two kilometres away.
        light_colour: radiance of a white surface that faces the light.
        falloff_m: distance at which the main light has half its strength; infinite for the sun.
        above, below: ambient light on surfaces that face up and down.
        fill_direction, fill_colour: second, shadowless light from one direction.
        haze_m: distance at which 1 - 1/e of a surface's colour is lost; infinite indoors.
        zenith, horizon: sky colours; the haze takes the horizon's.
        clouds: share of the sky covered.
        shadow_lift_m: how far shadow rays start above the surface.
    """

    light_m: FloatArray
    light_colour: Colour
    falloff_m: float
    above: Colour
    below: Colour
    fill_direction: Colour = (1.0, 0.0, 0.0)
    fill_colour: Colour = (0.0, 0.0, 0.0)
    haze_m: float = math.inf
    zenith: Colour = (0.2, 0.4, 0.8)
    horizon: Colour = (0.7, 0.8, 0.9)
    clouds: float = 0.3
    shadow_lift_m: float = 0.01


@dataclass(frozen=True)
class Actor:
    """An object that moves straight ahead at constant speed."""

    start_m: tuple[float, float, float]
    yaw_rad: float
    speed_m_s: float

    def pose(self, time_s: float) -> FloatArray:
        """(4, 4) world_from_actor."""
        away = self.speed_m_s * time_s
        x, y, z = self.start_m
        return body_pose(
            (x + away * math.cos(self.yaw_rad), y + away * math.sin(self.yaw_rad), z), self.yaw_rad
        )


class Motion(Protocol):
    """How the robot moves, and where a free camera may stand."""

    def base_pose(self, time_s: float) -> FloatArray:
        """Return (4, 4) world_from_base."""

    def random_pose(self, rng: np.random.Generator, wide: bool = False) -> FloatArray:
        """Return (4, 4) world_from_camera of a plausible hand-held or mounted camera.

        Args:
            rng: drawn from.
            wide: heights, pitches and rolls farther around those of the data set's camera.
        """


@dataclass(frozen=True)
class Scene:
    """Everything there is to render; made by `make_scene`.

    Attributes:
        kind, seed: what `make_scene` was called with.
        solids: primitives; those of an actor are given in the actor's frame.
        materials: table of `textures.material_table`.
        camera: the intrinsics the kind is named after.
        max_depth_m: what lies beyond is drawn but has no depth.
        base_from_camera, base_from_lidar: (4, 4) mounting of the sensors.
        sky_label: label of rays that hit nothing.
        depthless: rows of `materials` whose surfaces have no depth to learn or to be scored on.
    """

    kind: str
    seed: int
    solids: PrimitiveSet
    materials: npt.NDArray[np.float32]
    lighting: Lighting
    motion: Motion
    camera: Intrinsics
    max_depth_m: float
    base_from_camera: FloatArray
    base_from_lidar: FloatArray
    sky_label: int
    actors: tuple[Actor, ...] = ()
    depthless: frozenset[int] = frozenset()

    def primitives(self, time_s: float = 0.0) -> PrimitiveSet:
        """Return all solids in the world frame at one time."""
        if not self.actors:
            return self.solids
        centre, rotation = self.solids.centre_m.copy(), self.solids.rotation.copy()
        for number, actor in enumerate(self.actors):
            mine = self.solids.actor == number
            pose = actor.pose(time_s)
            centre[mine] = centre[mine] @ pose[:3, :3].T + pose[:3, 3]
            rotation[mine] = pose[:3, :3] @ rotation[mine]
        rest = [
            getattr(self.solids, name) for name in ("half_m", "label", "material", "actor", "casts")
        ]
        return PrimitiveSet(self.solids.kind, centre, rotation, *rest)

    def base_pose(self, time_s: float) -> FloatArray:
        """Return (4, 4) world_from_base of the moving robot."""
        return self.motion.base_pose(time_s)

    def pose(self, time_s: float) -> FloatArray:
        """Return (4, 4) world_from_camera of the moving robot, optical frame."""
        return self.base_pose(time_s) @ self.base_from_camera

    def lidar_pose(self, time_s: float) -> FloatArray:
        """Return (4, 4) world_from_lidar of the moving robot."""
        return self.base_pose(time_s) @ self.base_from_lidar

    def random_pose(self, rng: np.random.Generator, wide: bool = False) -> FloatArray:
        """Return (4, 4) world_from_camera somewhere in the scene; see `Motion.random_pose`."""
        return self.motion.random_pose(rng, wide)


@dataclass
class SceneBuilder:
    """Collects solids and materials while a scene is laid out."""

    rows: list[tuple[int, FloatArray, FloatArray, FloatArray, int, int, int, bool]] = field(
        default_factory=list
    )
    materials: list[Material] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    _numbers: dict[Material, int] = field(default_factory=dict)

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw_rad: float = 0.0) -> Placer:
        """Return a placer whose origin stands at a point of the world."""
        return Placer(self, np.array([x, y, z]), rotation_z(yaw_rad), -1)

    def moving(self, actor: Actor) -> Placer:
        """Return a placer in the frame of a new moving object."""
        self.actors.append(actor)
        return Placer(self, np.zeros(3), np.eye(3), len(self.actors) - 1)

    def number(self, material: Material) -> int:
        """Return the row of a material, adding it when it is new."""
        if material not in self._numbers:
            self._numbers[material] = len(self.materials)
            self.materials.append(material)
        return self._numbers[material]

    def finish(self) -> tuple[PrimitiveSet, npt.NDArray[np.float32]]:
        """Return the solids and the material table."""
        columns = list(zip(*self.rows, strict=True))
        types = (
            np.uint8,
            np.float64,
            np.float64,
            np.float64,
            np.uint8,
            np.int32,
            np.int32,
            np.bool_,
        )
        arrays: list[Any] = [
            np.asarray(column, dtype) for column, dtype in zip(columns, types, strict=True)
        ]
        return PrimitiveSet(*arrays), material_table(self.materials)


@dataclass(frozen=True)
class Placer:
    """Adds solids given in the frame of one piece of furniture, vehicle or building."""

    builder: SceneBuilder
    origin_m: FloatArray
    rotation: FloatArray
    actor: int

    def at(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw_rad: float = 0.0) -> Placer:
        """Return a placer inside this one."""
        origin = self.origin_m + self.rotation @ np.array([x, y, z])
        return Placer(self.builder, origin, self.rotation @ rotation_z(yaw_rad), self.actor)

    def box(
        self,
        low_m: Sequence[float],
        high_m: Sequence[float],
        label: int,
        material: Material,
        *,
        turn: FloatArray | None = None,
        casts: bool = True,
    ) -> None:
        """Add a box by two opposite corners; `turn` (3, 3) rotates it about its centre."""
        low, high = np.asarray(low_m, np.float64), np.asarray(high_m, np.float64)
        self._add(BOX, (low + high) / 2, np.abs(high - low) / 2, label, material, turn, casts)

    def cylinder(
        self,
        foot_m: Sequence[float],
        radius_m: float | tuple[float, float],
        height_m: float,
        label: int,
        material: Material,
        *,
        turn: FloatArray | None = None,
        casts: bool = True,
    ) -> None:
        """Add an upright cylinder that stands on `foot_m`; `turn` rotates it about its centre."""
        rx, ry = radius_m if isinstance(radius_m, tuple) else (radius_m, radius_m)
        centre = np.asarray(foot_m, np.float64) + np.array([0, 0, height_m / 2])
        self._add(CYLINDER, centre, np.array([rx, ry, height_m / 2]), label, material, turn, casts)

    def ellipsoid(
        self,
        centre_m: Sequence[float],
        radii_m: Sequence[float],
        label: int,
        material: Material,
        *,
        turn: FloatArray | None = None,
        casts: bool = True,
    ) -> None:
        """Add an ellipsoid by centre and radii."""
        self._add(
            ELLIPSOID,
            np.asarray(centre_m, np.float64),
            np.asarray(radii_m),
            label,
            material,
            turn,
            casts,
        )

    def _add(
        self,
        kind: int,
        centre: FloatArray,
        half: npt.NDArray[np.floating],
        label: int,
        material: Material,
        turn: FloatArray | None,
        casts: bool,
    ) -> None:
        rotation = self.rotation if turn is None else self.rotation @ turn
        position = self.origin_m + self.rotation @ centre
        number = self.builder.number(material)
        size = np.maximum(np.asarray(half, np.float64), 5e-4)
        self.builder.rows.append((kind, position, rotation, size, label, number, self.actor, casts))
