"""How the robot moves through a scene, and where free cameras may stand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.world.primitives import FloatArray
from mono_depth_ros.world.scene import body_pose, optical_pose


@dataclass(frozen=True)
class RoomMotion:
    """A slow walk around a clear spot of a room, turning.

    Attributes:
        centre_m: (2,) the clear spot.
        reach_m: how far the walk may leave it.
        rates_rad_s: angular rates of the walk along x, along y, and of the heading's sway.
        phases_rad: their phases at time 0.
        turn_rad_s: mean turning rate.
        free_m: (N, 2) floor positions with at least half a metre to everything.
        height_m: range of free camera heights.
        ceiling_m: height of the room.
        size_m: (2,) lengths of the room along x and y, centred on the origin.
    """

    centre_m: tuple[float, float]
    reach_m: float
    rates_rad_s: tuple[float, float, float]
    phases_rad: tuple[float, float, float]
    turn_rad_s: float
    free_m: FloatArray
    ceiling_m: float
    size_m: tuple[float, float]

    def base_pose(self, time_s: float) -> FloatArray:
        """See `scene.Motion`."""
        ax, ay, sway = (
            r * time_s + p for r, p in zip(self.rates_rad_s, self.phases_rad, strict=True)
        )
        reach = self.reach_m / math.sqrt(2)
        x, y = self.centre_m[0] + reach * math.sin(ax), self.centre_m[1] + reach * math.sin(ay)
        yaw = self.phases_rad[2] + self.turn_rad_s * time_s + 0.25 * math.sin(sway)
        return body_pose((x, y, 0.0), yaw)

    def random_pose(self, rng: np.random.Generator, wide: bool = False) -> FloatArray:
        """See `scene.Motion`; of two headings the one that sees farther is taken."""
        x, y = self.free_m[rng.integers(len(self.free_m))]
        middle, spread, low = (1.3, 0.35, 0.4) if wide else (1.35, 0.25, 0.8)
        height = float(np.clip(rng.normal(middle, spread), low, min(2.0, self.ceiling_m - 0.25)))
        yaws = rng.uniform(-math.pi, math.pi, 2)
        yaw = max(yaws, key=lambda angle: self._view_m(x, y, angle))
        spread = 0.2 if wide else 0.16
        pitch = float(np.clip(rng.normal(0.16, spread), -0.25 - 0.1 * wide, 0.6 + 0.1 * wide))
        roll = float(rng.normal(0.0, 0.06 if wide else 0.035))
        return optical_pose((x, y, height), float(yaw), pitch, roll)

    def _view_m(self, x: float, y: float, yaw: float) -> float:
        """Distance to the walls along a heading."""
        c, s = math.cos(yaw), math.sin(yaw)
        to_x = (math.copysign(self.size_m[0] / 2, c) - x) / c if abs(c) > 1e-6 else math.inf
        to_y = (math.copysign(self.size_m[1] / 2, s) - y) / s if abs(s) > 1e-6 else math.inf
        return min(to_x, to_y)


@dataclass(frozen=True)
class StreetMotion:
    """Driving along the road with a slight weave.

    Attributes:
        start_m: x of the base at time 0.
        lane_m: y of the lane's middle.
        speed_m_s: along x.
        weave_m, weave_period_m: amplitude and length of the weave.
        span_m: range of x free cameras are placed in.
        lanes_m: y range of free cameras.
        height_m: nominal camera height.
    """

    start_m: float
    lane_m: float
    speed_m_s: float
    weave_m: float
    weave_period_m: float
    span_m: tuple[float, float]
    lanes_m: tuple[float, float]
    height_m: float = 1.65

    def base_pose(self, time_s: float) -> FloatArray:
        """See `scene.Motion`."""
        x = self.start_m + self.speed_m_s * time_s
        angle = 2 * math.pi * (x - self.start_m) / self.weave_period_m
        slope = self.weave_m * 2 * math.pi / self.weave_period_m * math.cos(angle)
        return body_pose((x, self.lane_m + self.weave_m * math.sin(angle), 0.0), math.atan(slope))

    def random_pose(self, rng: np.random.Generator, wide: bool = False) -> FloatArray:
        """See `scene.Motion`."""
        x, y = float(rng.uniform(*self.span_m)), float(rng.uniform(*self.lanes_m))
        if wide:
            height = float(np.clip(rng.normal(self.height_m, 0.25), 0.9, 2.4))
            yaw = float(rng.normal(0.0, 0.05) if rng.random() < 0.7 else rng.normal(0.0, 0.3))
            pitch, roll = float(rng.normal(0.0, 0.03)), float(rng.normal(0.0, 0.02))
            return optical_pose((x, y, height), yaw, pitch, roll)
        height = float(self.height_m + rng.normal(0.0, 0.08))
        yaw = float(rng.normal(0.0, 0.05) if rng.random() < 0.8 else rng.normal(0.0, 0.25))
        pitch, roll = float(rng.normal(0.0, 0.015)), float(rng.normal(0.0, 0.012))
        return optical_pose((x, y, height), yaw, pitch, roll)


def clear_distance(
    size_m: tuple[float, float], rectangles: npt.NDArray[np.float64], cell_m: float
) -> npt.NDArray[np.float32]:
    """Return the distance to walls and furniture on a floor grid.

    Args:
        size_m: lengths of the room along x and y, centred on the origin.
        rectangles: (N, 4) x0, y0, x1, y1 of what stands on the floor.
        cell_m: side of a grid cell.

    Returns:
        (rows along y, columns along x) float32 metres.
    """
    import cv2

    columns, rows = (max(3, round(side / cell_m)) for side in size_m)
    free = np.zeros((rows + 2, columns + 2), np.uint8)
    free[1:-1, 1:-1] = 1
    corner = np.array(size_m) / 2
    for x0, y0, x1, y1 in rectangles:
        left, top = np.floor((np.array([x0, y0]) + corner) / cell_m).astype(int) + 1
        right, bottom = np.ceil((np.array([x1, y1]) + corner) / cell_m).astype(int) + 1
        free[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = 0
    distance = cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance[1:-1, 1:-1] * np.float32(cell_m))
