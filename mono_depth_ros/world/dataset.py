"""Training frames out of the procedural world, and the data set folder they are written to.

Folder: rgb/000000.jpg (or .png), depth/000000.png (uint16; value / depth_scale = metres, 0 = none),
labels/000000.png (uint8), manifest.json. Frame number = position of its seed · frames per scene +
index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mono_depth_ros.atomic import replacing
from mono_depth_ros.device import resolve_device
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.files import write_picture
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.world.cast import cast
from mono_depth_ros.world.catalogue import make_scene
from mono_depth_ros.world.parallel import run_ordered, worker_count
from mono_depth_ros.world.primitives import FloatArray
from mono_depth_ros.world.rays import PinholeRays
from mono_depth_ros.world.render import Frame, render
from mono_depth_ros.world.scene import Scene
from mono_depth_ros.world.sensor import SensorModel
from mono_depth_ros.world.variety import NONE, Part, Variety, require_parts

# Raised whenever the same seed gives other pictures than before, so that old and new folders do not
# mix.
WORLD_VERSION = 1
DEPTH_SCALE = {"rooms": 1000.0, "streets": 256.0}
IMAGE_FORMATS = ("jpg", "png")
MANIFEST = "manifest.json"
_POSE_STREAM = 0x706F7365
_VIEW_TRIES = 12
# Per kind: least distance of the camera to any solid, of the nearest 2 % and of half the pixels in
# metres, and the least number of solids in view.
_VIEW_LIMITS = {"rooms": (0.25, 0.4, 1.1, 8), "streets": (0.9, 2.0, 4.0, 8)}


@dataclass(frozen=True)
class _Job:
    """One scene's share of a data set; what a worker process needs."""

    out: str
    kind: str
    seed: int
    first: int
    count: int
    camera: Intrinsics
    device: str
    focal_jitter: float
    image_format: str
    variety: tuple[Part, ...]


def training_frame(
    kind: str,
    seed: int,
    index: int,
    camera: Intrinsics,
    device: str | torch.device = "cpu",
    *,
    focal_jitter: float = 0.0,
    variety: Variety = NONE,
) -> Frame:
    """Render one of the many views of one scene, with its own pose, sensor settings and noise.

    Args:
        kind: "rooms" or "streets".
        seed: of the scene.
        index: of the view, 0 or more.
        camera: intrinsics and size; `make_scene(kind, 0).camera.resized(w, h)` is the usual one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        focal_jitter: the focal length is multiplied by a factor drawn from [1 - jitter, 1 + jitter]
            and the centre
            moved by up to jitter / 4 of the image; the frame's `camera` says what was drawn.
        variety: parts of `variety.PARTS` that vary beyond layout, pose and noise.

    Returns:
        The frame; the same for the same arguments, device and versions.
    """
    parts = require_parts(variety)
    scene = _scene(kind, seed, parts)
    rng = np.random.default_rng((_POSE_STREAM, seed, index))
    camera = _jittered(camera, focal_jitter, rng)
    time_s = float(rng.uniform(0.0, 10.0))
    pose = _good_view(scene, camera, time_s, rng, wide="cameras" in parts)
    sensor = SensorModel.random(rng, wide="sensors" in parts)
    return render(
        scene, pose, camera, time_s=time_s, sensor=sensor, noise_index=index + 1, device=device
    )


def write_dataset(
    out: str | Path,
    kind: str,
    seeds: Sequence[int],
    frames_per_scene: int,
    camera: Intrinsics,
    device: str = "cpu",
    workers: int | None = None,
    *,
    focal_jitter: float = 0.0,
    image_format: str = "jpg",
    variety: Variety = NONE,
) -> Path:
    """Write a training set and return its manifest; `dataset_frames` has arguments and errors."""
    for _ in dataset_frames(
        out,
        kind,
        seeds,
        frames_per_scene,
        camera,
        device,
        workers,
        focal_jitter=focal_jitter,
        image_format=image_format,
        variety=variety,
    ):
        pass
    return Path(out) / MANIFEST


def dataset_frames(
    out: str | Path,
    kind: str,
    seeds: Sequence[int],
    frames_per_scene: int,
    camera: Intrinsics,
    device: str = "cpu",
    workers: int | None = None,
    *,
    focal_jitter: float = 0.0,
    image_format: str = "jpg",
    variety: Variety = NONE,
) -> Iterator[int]:
    """Write a training set, yielding the number of every frame that is on disk.

    Frames that are there already are kept, so an interrupted run continues; more seeds extend a
    folder.

    Args:
        out: folder, created when missing.
        kind: "rooms" or "streets".
        seeds: scenes to use.
        frames_per_scene: views of each.
        camera: intrinsics and size of the frames.
        device: where to render; with a GPU one process is used.
        workers: processes on the CPU; all cores when None. The frames do not depend on it.
        focal_jitter: see `training_frame`; the manifest lists every frame's intrinsics.
        image_format: "jpg" (quality 95) or "png".
        variety: see `training_frame`.

    Raises:
        ConfigError: an argument is outside its range.
        DataError: the folder holds a data set made with other settings, or a worker process died.
        DeviceError: the device does not exist.
    """
    if image_format not in IMAGE_FORMATS:
        raise ConfigError(
            f"image format {image_format!r} is unknown; use {' or '.join(IMAGE_FORMATS)}"
        )
    if frames_per_scene < 1 or not seeds:
        raise ConfigError(
            f"{len(seeds)} seeds with {frames_per_scene} frames each is no data set; use 1 or more"
        )
    if not 0.0 <= focal_jitter < 0.9:
        raise ConfigError(f"focal jitter is {focal_jitter}; use 0 to 0.9")
    where, root = resolve_device(device), Path(out)
    parts = require_parts(variety)
    manifest = _manifest(kind, seeds, frames_per_scene, camera, focal_jitter, image_format, parts)
    for name in ("rgb", "depth", "labels"):
        (root / name).mkdir(parents=True, exist_ok=True)
    _claim(root / MANIFEST, manifest)
    jobs = [
        _Job(
            str(root),
            kind,
            seed,
            k * frames_per_scene,
            frames_per_scene,
            camera,
            str(where),
            focal_jitter,
            image_format,
            parts,
        )
        for k, seed in enumerate(seeds)
    ]
    for first in run_ordered(_write_scene, jobs, worker_count(workers, where, len(jobs))):
        yield from range(first, first + frames_per_scene)


@lru_cache(maxsize=4)
def _scene(kind: str, seed: int, variety: tuple[Part, ...]) -> Scene:
    return make_scene(kind, seed, variety)


def _jittered(camera: Intrinsics, jitter: float, rng: np.random.Generator) -> Intrinsics:
    zoom, shift_x, shift_y = 1 + jitter * rng.uniform(-1, 1), *(jitter / 4 * rng.uniform(-1, 1, 2))
    cx, cy = camera.cx + shift_x * camera.width, camera.cy + shift_y * camera.height
    return Intrinsics(
        camera.fx * zoom, camera.fy * zoom, float(cx), float(cy), camera.width, camera.height
    )


def _good_view(
    scene: Scene, camera: Intrinsics, time_s: float, rng: np.random.Generator, wide: bool
) -> FloatArray:
    """Draw poses until one is clear of solids, not blocked, and shows more than a bare wall."""
    small = camera.resized(max(16, camera.width // 8), max(12, camera.height // 8))
    primitives = scene.primitives(time_s)
    clear_m, near_m, middle_m, variety = _VIEW_LIMITS[scene.kind]
    for _ in range(_VIEW_TRIES):
        pose = scene.random_pose(rng, wide)
        if primitives.distance_m(pose[:3, 3]) < clear_m:
            continue
        depth, index = cast(primitives, PinholeRays(pose, small), torch.device("cpu"))
        ordered = depth[torch.isfinite(depth)].sort().values
        if len(ordered) < 0.3 * depth.numel():
            continue
        close, middle = ordered[len(ordered) // 50].item(), ordered[len(ordered) // 2].item()
        if close > near_m and middle > middle_m and len(torch.unique(index)) >= variety:
            break
    return pose


def _manifest(
    kind: str,
    seeds: Sequence[int],
    count: int,
    camera: Intrinsics,
    jitter: float,
    image_format: str,
    variety: tuple[Part, ...],
) -> dict[str, Any]:
    if kind not in DEPTH_SCALE:
        raise ConfigError(f"no scenes of kind {kind!r}; choose from {', '.join(DEPTH_SCALE)}")
    frames = []
    for seed in seeds:
        for index in range(count):
            rng = np.random.default_rng((_POSE_STREAM, seed, index))
            own = _jittered(camera, jitter, rng)
            frames.append(
                {"seed": int(seed), "index": index, "intrinsics": [own.fx, own.fy, own.cx, own.cy]}
            )
    return {
        "format": "mono_depth_world_dataset",
        "world_version": WORLD_VERSION,
        "kind": kind,
        "size": [camera.height, camera.width],
        "intrinsics": {
            key: float(value)
            for key, value in asdict(camera).items()
            if key not in ("width", "height")
        },
        "depth_scale": DEPTH_SCALE[kind],
        "labels": "nyu40, 0 = void" if kind == "rooms" else "cityscapes train ids, 255 = ignore",
        "image_format": image_format,
        "focal_jitter": jitter,
        "variety": list(variety),
        "frames_per_scene": count,
        "frames": frames,
    }


def _claim(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest; one that is there may only differ in the number of scenes."""
    if path.exists():
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
            shared = min(len(old["frames"]), len(manifest["frames"]))
            same = old["frames"][:shared] == manifest["frames"][:shared]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error}); write to an empty folder") from error
        differing = sorted(
            key for key in manifest if key != "frames" and old.get(key) != manifest[key]
        )
        if differing or not same:
            what = ", ".join(differing or ["seeds"])
            raise DataError(
                f"{path.parent} holds a data set with other {what}; write to an empty folder"
            )
        if len(old["frames"]) >= len(manifest["frames"]):
            return
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(manifest), encoding="utf-8")


def _write_scene(job: _Job) -> int:
    """Write the missing frames of one scene; return the number of its first."""
    root = Path(job.out)
    for index in range(job.count):
        name = f"{job.first + index:06d}"
        # The picture is written last, so its presence means the frame is whole.
        if (root / "rgb" / f"{name}.{job.image_format}").exists():
            continue
        frame = training_frame(
            job.kind,
            job.seed,
            index,
            job.camera,
            job.device,
            focal_jitter=job.focal_jitter,
            variety=job.variety,
        )
        depth = encode_depth(frame.depth_m, DEPTH_SCALE[job.kind])
        write_picture(root / "depth" / f"{name}.png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        write_picture(
            root / "labels" / f"{name}.png", frame.labels, [cv2.IMWRITE_PNG_COMPRESSION, 3]
        )
        quality = (
            [cv2.IMWRITE_JPEG_QUALITY, 95]
            if job.image_format == "jpg"
            else [cv2.IMWRITE_PNG_COMPRESSION, 2]
        )
        write_picture(root / "rgb" / f"{name}.{job.image_format}", frame.rgb[..., ::-1], quality)
    return job.first


def encode_depth(depth_m: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.uint16]:
    """Return depth as (H, W) uint16, value / scale = metres, rounded; 0 = none or out of range."""
    value = np.nan_to_num(depth_m, nan=0.0, posinf=0.0) * scale + 0.5
    return np.where(value < 65536, value, 0).astype(np.uint16)
