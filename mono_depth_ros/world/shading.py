"""Light on surfaces: a main light with shadows, a fill light, ambient light, haze, the sky."""

from __future__ import annotations

import math

import numpy as np
import torch

from mono_depth_ros.world.cast import lit
from mono_depth_ros.world.primitives import FloatArray, PrimitiveSet
from mono_depth_ros.world.scene import Lighting, Scene
from mono_depth_ros.world.surface import Hits, dot
from mono_depth_ros.world.textures import Surface, albedo, fractal_noise


def shade(scene: Scene, primitives: PrimitiveSet, hits: Hits, surface: Surface) -> torch.Tensor:
    """Return (3, N) radiance of the surface points."""
    light = scene.lighting
    device = hits.t.device

    def colour(values: tuple[float, float, float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)[:, None]

    normal = hits.normal
    to_light = torch.from_numpy(light.light_m.astype(np.float32)).to(device)[:, None] - hits.point_m
    away = dot(to_light, to_light).sqrt()
    facing = dot(normal, to_light) / away
    strength = facing.clamp_min(0.0) / (1.0 + (away / light.falloff_m) ** 2)
    bright = (strength > 0.01).nonzero()[:, 0]
    lifted = (
        hits.point_m.index_select(1, bright) + normal.index_select(1, bright) * light.shadow_lift_m
    )
    casters = _shadow_casters(scene, primitives, hits.point_m)
    seen = torch.zeros_like(strength)
    seen[bright] = lit(casters, light.light_m, _look(light), lifted).to(torch.float32)
    strength = strength * seen
    fill = dot(
        normal, torch.nn.functional.normalize(colour(light.fill_direction), dim=0)
    ).clamp_min(0.0)
    upward = 0.5 + 0.5 * normal[2]
    incoming = colour(light.light_colour) * strength + colour(light.fill_colour) * fill
    incoming = incoming + colour(light.above) * upward + colour(light.below) * (1 - upward)
    base = albedo(surface)
    # Highlights from the viewer's side: cheap, and enough to tell paint from cloth.
    shine = surface.column(10) * seen * hits.cosine.clamp(0, 1) ** 8 * strength
    radiance = base * (incoming + surface.column(9)) + shine
    if math.isfinite(light.haze_m):
        clear = torch.exp(-hits.t / light.haze_m)
        radiance = radiance * clear + colour(light.horizon) * (1 - clear)
    return radiance


def _shadow_casters(scene: Scene, primitives: PrimitiveSet, points_m: torch.Tensor) -> PrimitiveSet:
    """Solids that can shade the seen points; outdoors only those near the view matter."""
    chosen = primitives.casts
    if math.isinf(scene.lighting.falloff_m) and points_m.shape[1]:
        low = points_m.amin(dim=1).cpu().numpy().astype(np.float64) - 25.0
        high = points_m.amax(dim=1).cpu().numpy().astype(np.float64) + 25.0
        reach = primitives.radius_m[:, None]
        near = (primitives.centre_m + reach >= low) & (primitives.centre_m - reach <= high)
        chosen = chosen & near.all(axis=1)
    return primitives.select(np.flatnonzero(chosen))


def _look(light: Lighting) -> FloatArray:
    """Axes of a view from the light: straight down from a lamp, along the rays of the sun."""
    ahead = np.array([0.0, 0.0, -1.0])
    if math.isinf(light.falloff_m):
        ahead = -light.light_m / np.linalg.norm(light.light_m)
    side = np.cross([0.0, 1.0, 0.0], ahead)
    side /= np.linalg.norm(side)
    return np.stack((side, np.cross(ahead, side), ahead), axis=1)


def sky(light: Lighting, directions: torch.Tensor) -> torch.Tensor:
    """Return (3, N) radiance of the sky: a gradient with clouds."""
    x, y, z = directions
    flat = (x * x + y * y + z * z).sqrt()
    height = (z / flat).clamp(0.0, 1.0)
    device = directions.device
    horizon = torch.tensor(light.horizon, device=device)[:, None]
    zenith = torch.tensor(light.zenith, device=device)[:, None]
    sky = horizon + (zenith - horizon) * height.sqrt()
    if light.clouds <= 0:
        return sky
    spread = 0.06 / (height + 0.12)
    bank = fractal_noise(x / flat * spread, y / flat * spread, light.clouds * 17.0)
    cover = ((bank + 2.0 * light.clouds - 0.8) * 1.5).clamp(0, 1) * (height * 6).clamp(0, 1)
    return sky + (1.15 * horizon.amax() - sky) * cover
