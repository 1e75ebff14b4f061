"""Spinning LiDARs: scans of a scene with range noise and missing returns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch

from mono_depth_ros.device import resolve_device
from mono_depth_ros.world.cast import cast
from mono_depth_ros.world.rays import SphericalRays, world_directions
from mono_depth_ros.world.scene import Scene
from mono_depth_ros.world.surface import find_hits

_SCAN_STREAM = 0x7363616E
POINT_DTYPE = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("t", "<u4")]
)


@dataclass(frozen=True)
class LidarModel:
    """A spinning LiDAR.

    Attributes:
        beams: number of lasers; ring 0 points lowest.
        low_deg, high_deg: elevation of the lowest and the highest beam.
        columns: firings per turn.
        min_range_m, max_range_m: nothing is reported outside.
        range_noise_m: standard deviation.
        dropout: share of returns that are lost whatever the surface.
    """

    beams: int
    low_deg: float
    high_deg: float
    columns: int
    min_range_m: float
    max_range_m: float
    range_noise_m: float = 0.02
    dropout: float = 0.01


# Vertical fields of view from the makers' data sheets (HDL-64E, VLP-16).
LIDARS: Mapping[str, LidarModel] = MappingProxyType(
    {
        "64": LidarModel(64, -24.8, 2.0, 1800, 0.9, 120.0),
        "16": LidarModel(16, -15.0, 15.0, 1800, 0.4, 100.0),
    }
)


@torch.no_grad()
def scan(
    scene: Scene,
    time_s: float,
    lidar: LidarModel,
    *,
    index: int = 0,
    device: str | torch.device = "cpu",
) -> npt.NDArray[np.void]:
    """Take one scan from the robot's pose at one instant.

    The robot is held still during the turn, so the scan is what motion compensation would give at
    `time_s`.

    Args:
        scene: from `make_scene`.
        time_s: instant of the scan.
        lidar: one of `LIDARS`, or another model.
        index: noise is drawn from (scene seed, index).
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        (N,) of `POINT_DTYPE` in the LiDAR frame (x forward, y left, z up), in firing order: x, y, z
        in metres;
        intensity 0..1; ring; t, nanoseconds since the scan's stamp: 0, because all points are of
        one instant, and whoever undoes motion must not undo what is not there. Only rays that
        returned are listed.
    """
    where = resolve_device(device)
    elevation = np.deg2rad(np.linspace(lidar.low_deg, lidar.high_deg, lidar.beams))
    # A turn starts behind the robot, so that its seam is out of the camera's sight.
    azimuth = -math.pi + 2 * math.pi * np.arange(lidar.columns) / lidar.columns
    rays = SphericalRays(scene.lidar_pose(time_s), elevation, azimuth)
    primitives = scene.primitives(time_s)
    distance, solid = cast(primitives, rays, where)
    hits = find_hits(
        primitives, distance, solid, world_directions(rays, where).reshape(3, -1), rays.origin_m
    )
    reflectivity = np.zeros(distance.numel(), np.float32)
    cosine = np.zeros_like(reflectivity)
    ray = hits.ray.cpu().numpy()
    reflectivity[ray] = scene.materials[primitives.material[hits.solid.cpu().numpy()], 11]
    cosine[ray] = hits.cosine.clamp(0.0, 1.0).cpu().numpy()
    return _returns(
        lidar, (elevation, azimuth), distance.cpu().numpy(), reflectivity, cosine, scene.seed, index
    )


def _returns(
    lidar: LidarModel,
    angles: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    distance: npt.NDArray[np.float32],
    reflectivity: npt.NDArray[np.float32],
    cosine: npt.NDArray[np.float32],
    seed: int,
    index: int,
) -> npt.NDArray[np.void]:
    """Add noise, lose weak returns, and list the points in firing order."""
    rng = np.random.default_rng((_SCAN_STREAM, seed, index))
    shape = distance.shape
    luck = rng.random(shape, np.float32)
    noise = rng.standard_normal(shape, np.float32)
    reflectivity, cosine = reflectivity.reshape(shape), cosine.reshape(shape)
    with np.errstate(invalid="ignore", over="ignore"):
        # The echo fades with the square of the range and with the slant; 20 puts asphalt's limit
        # near 40 m.
        strength = (
            20.0 * reflectivity * np.maximum(cosine, 0.02) * (lidar.max_range_m / 4 / distance) ** 2
        )
        kept = luck < (1 - lidar.dropout) * np.clip(strength, 0.0, 1.0)
    kept &= (distance >= lidar.min_range_m) & (distance <= lidar.max_range_m)
    column, beam = np.nonzero(kept.T)
    measured = distance[beam, column] + lidar.range_noise_m * noise[beam, column]
    elevation, azimuth = angles[0][beam], angles[1][column]
    points = np.empty(len(beam), POINT_DTYPE)
    points["x"] = measured * np.cos(elevation) * np.cos(azimuth)
    points["y"] = measured * np.cos(elevation) * np.sin(azimuth)
    points["z"] = measured * np.sin(elevation)
    gray = reflectivity[beam, column] * (0.35 + 0.65 * cosine[beam, column])
    points["intensity"] = np.clip(gray + 0.02 * noise[beam, column], 0.0, 1.0)
    points["ring"] = beam
    points["t"] = 0
    return points
