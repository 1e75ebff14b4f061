"""From a scene and a camera to an image, exact depth and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mono_depth_ros.device import resolve_device
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.world.cast import NOTHING, cast
from mono_depth_ros.world.primitives import FloatArray, PrimitiveSet
from mono_depth_ros.world.rays import PinholeRays, world_directions
from mono_depth_ros.world.scene import Scene
from mono_depth_ros.world.sensor import SensorModel, expose
from mono_depth_ros.world.shading import shade, sky
from mono_depth_ros.world.surface import Hits, find_hits
from mono_depth_ros.world.textures import Surface

_NOISE_STREAM = 0x6E6F6973


@dataclass(frozen=True)
class Frame:
    """One rendered camera frame.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32, metres along the optical axis, NaN in the sky, beyond the scene's
            range and on its depthless materials.
        labels: (H, W) uint8; NYU classes 1..40 in rooms, Cityscapes train ids in streets.
        camera: intrinsics of the image.
        world_from_camera: (4, 4) float64.
    """

    rgb: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    labels: npt.NDArray[np.uint8]
    camera: Intrinsics
    world_from_camera: FloatArray


@torch.no_grad()
def render(
    scene: Scene,
    world_from_camera: npt.ArrayLike,
    camera: Intrinsics,
    *,
    time_s: float = 0.0,
    sensor: SensorModel | None = None,
    noise_index: int = 0,
    device: str | torch.device = "cpu",
) -> Frame:
    """Render one frame.

    Args:
        scene: from `make_scene`.
        world_from_camera: (4, 4), optical frame.
        camera: intrinsics and size of the image.
        time_s: where the moving objects are.
        sensor: camera model; the default one when None.
        noise_index: image noise is drawn from (scene seed, noise_index).
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        DeviceError: the device does not exist.
    """
    where = resolve_device(device)
    pose = np.asarray(world_from_camera, np.float64)
    primitives = scene.primitives(time_s)
    rays = PinholeRays(pose, camera)
    depth, index = cast(primitives, rays, where)
    directions = world_directions(rays, where).reshape(3, -1)
    hits = find_hits(primitives, depth, index, directions, pose[:3, 3])
    radiance = torch.empty_like(directions)
    empty = (index.reshape(-1) == NOTHING).nonzero()[:, 0]
    radiance.index_copy_(1, empty, sky(scene.lighting, directions.index_select(1, empty)))
    radiance.index_copy_(
        1, hits.ray, shade(scene, primitives, hits, _surface(scene, primitives, hits, camera))
    )
    solid = index.cpu().numpy()
    labels = np.append(primitives.label, np.uint8(scene.sky_label))[solid]
    known = np.isin(primitives.material, list(scene.depthless), invert=True)
    known = np.append(known, False)[solid] & (depth <= scene.max_depth_m).cpu().numpy()
    rng = np.random.default_rng((_NOISE_STREAM, scene.seed, noise_index))
    image = radiance.reshape(3, camera.height, camera.width)
    return Frame(
        rgb=expose(image, sensor or SensorModel(), rng),
        depth_m=np.where(known, depth.cpu().numpy(), np.float32(np.nan)),
        labels=labels,
        camera=camera,
        world_from_camera=pose,
    )


def _surface(scene: Scene, primitives: PrimitiveSet, hits: Hits, camera: Intrinsics) -> Surface:
    """Texture coordinates, pixel footprints and materials of the hits."""
    device = hits.t.device
    table = torch.from_numpy(np.ascontiguousarray(scene.materials.T)).to(device)
    material = (
        torch.from_numpy(primitives.material.astype(np.int64))
        .to(device)
        .index_select(0, hits.solid)
    )
    u, v = hits.uv(table[14].index_select(0, material) > 0)
    return Surface(u, v, hits.t / camera.fx / hits.cosine.clamp_min(0.05), table, material)
