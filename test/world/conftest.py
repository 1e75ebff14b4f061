"""A hand-built scene whose depths can be worked out on paper."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.world.motion import StreetMotion
from mono_depth_ros.world.scene import Lighting, Scene, SceneBuilder, optical_pose

CAMERA = Intrinsics(fx=40.0, fy=40.0, cx=31.5, cy=23.5, width=64, height=48)


@pytest.fixture
def camera() -> Intrinsics:
    return CAMERA


@pytest.fixture
def scene_of() -> Callable[..., Scene]:
    def build(
        builder: SceneBuilder, *, max_depth_m: float = 50.0, lidar_height_m: float = 1.5
    ) -> Scene:
        solids, materials = builder.finish()
        lidar = np.eye(4)
        lidar[:3, 3] = (-0.27, 0.0, lidar_height_m)
        return Scene(
            kind="streets",
            seed=3,
            solids=solids,
            materials=materials,
            lighting=Lighting(
                np.array([0.0, 0.0, 2000.0]), (1.0, 1.0, 1.0), math.inf, (0.3,) * 3, (0.2,) * 3
            ),
            motion=StreetMotion(0.0, 0.0, 0.0, 0.0, 50.0, (0.0, 1.0), (0.0, 1.0)),
            camera=CAMERA,
            max_depth_m=max_depth_m,
            base_from_camera=optical_pose((0.0, 0.0, 1.5)),
            base_from_lidar=lidar,
            sky_label=10,
            actors=tuple(builder.actors),
        )

    return build
