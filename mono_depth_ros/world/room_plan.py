"""The floor plan of a room while it is furnished: who stands where."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from mono_depth_ros.world.scene import Placer, SceneBuilder
from mono_depth_ros.world.walls import Opening

Rng = np.random.Generator


@dataclass
class RoomPlan:
    """A room while it is furnished: its size and what already stands on the floor."""

    builder: SceneBuilder
    rng: Rng
    length_m: float
    width_m: float
    height_m: float
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)
    openings: dict[int, list[Opening]] = field(default_factory=dict)

    @property
    def size_m(self) -> tuple[float, float]:
        """Lengths along x and y."""
        return self.length_m, self.width_m

    def wall_length(self, wall: int) -> float:
        """Length of wall 0..3."""
        return self.length_m if wall % 2 == 0 else self.width_m

    def wall_frame(self, wall: int) -> Placer:
        """Frame at the middle of wall 0..3 (left, front, right, rear): y points out of the room."""
        away = (self.width_m if wall % 2 == 0 else self.length_m) / 2
        yaw = -math.pi / 2 * wall
        return self.builder.at(-away * math.sin(yaw), away * math.cos(yaw), 0.0, yaw)

    def claim(self, frame: Placer, w: float, d: float, margin_m: float = 0.04) -> bool:
        """Reserve the floor rectangle x in [-w/2, w/2], y in [-d, 0] of a frame when it is free."""
        corners = np.array([[-w / 2, -d, 0], [w / 2, -d, 0], [-w / 2, 0, 0], [w / 2, 0, 0]])
        world = corners @ frame.rotation.T + frame.origin_m
        (x0, y0), (x1, y1) = world[:, :2].min(axis=0), world[:, :2].max(axis=0)
        slack = 1e-6
        if (
            max(abs(x0), abs(x1)) > self.length_m / 2 + slack
            or max(abs(y0), abs(y1)) > self.width_m / 2 + slack
        ):
            return False
        for a0, b0, a1, b1 in self.taken:
            if (
                x0 < a1 + margin_m
                and a0 < x1 + margin_m
                and y0 < b1 + margin_m
                and b0 < y1 + margin_m
            ):
                return False
        self.taken.append((x0, y0, x1, y1))
        return True

    def at_wall(
        self, w: float, d: float, *, tall: bool = False, tries: int = 25
    ) -> tuple[Placer, int] | None:
        """Find a free w x d place with its back at a wall; tall pieces avoid windows."""
        for _ in range(tries):
            wall = int(self.rng.integers(4))
            reach = self.wall_length(wall) / 2 - w / 2 - 0.02
            if reach <= 0:
                continue
            x = float(self.rng.uniform(-reach, reach))
            if self.rng.random() < 0.3:
                x = math.copysign(reach, x)
            blocked = [o for o in self.openings.get(wall, []) if tall or o.low_m < 0.3]
            if any(abs(o.centre_m - x) < (o.width_m + w) / 2 + 0.05 for o in blocked):
                continue
            frame = self.wall_frame(wall).at(x, -0.015)
            if self.claim(frame, w, d):
                return frame, wall
        return None

    def in_middle(
        self, w: float, d: float, *, free_turn: bool = True, tries: int = 15
    ) -> Placer | None:
        """Find a free w x d place anywhere; the frame's origin is the middle of its back."""
        for _ in range(tries):
            yaw = float(self.rng.integers(4)) * math.pi / 2
            if free_turn:
                yaw += float(self.rng.normal(0, 0.3))
            x = float(self.rng.uniform(-0.35, 0.35)) * self.length_m
            y = float(self.rng.uniform(-0.35, 0.35)) * self.width_m
            frame = self.builder.at(x, y, 0, yaw).at(0, d / 2)
            if self.claim(frame, w, d, 0.3):
                return frame
        return None
