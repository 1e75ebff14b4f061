"""The procedural world as prepared data: frames rendered once, kept on disk."""

from __future__ import annotations

import json
from pathlib import Path

from mono_depth_ros.errors import DataError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.preprocessing import Letterbox
from mono_depth_ros.world import make_scene, write_dataset
from mono_depth_ros.world.variety import PARTS
from training.config import CHECKOUT, WorldDataConfig
from training.manifest import DepthFile, LabelSet, Manifest, Record

LABEL_SETS: dict[str, LabelSet] = {"rooms": "nyu40", "streets": "cityscapes"}


def network_camera(kind: str, size: ImageSize) -> Intrinsics:
    """Return the intrinsics of the world's reference camera, letterboxed to the network's size."""
    reference = make_scene(kind, seed=0).camera
    return Letterbox.fit(ImageSize(reference.height, reference.width), size).camera(reference)


def prepare(config: WorldDataConfig, size: ImageSize, workers: int) -> Manifest:
    """Render what is missing; return splits `train` and `validation`.

    Args:
        config: which scenes.
        size: of the network's image; frames are `render_scale` times as large.
        workers: processes that render.
    """
    camera = network_camera(config.kind, size)
    camera = camera.resized(
        round(size.width * config.render_scale), round(size.height * config.render_scale)
    )
    root, splits = CHECKOUT / config.folder, {}
    for split, seeds, frames in (
        ("train", config.train_seeds, config.frames_per_scene),
        ("validation", config.validation_seeds, config.validation_frames_per_scene),
    ):
        size_text = f"{camera.width}x{camera.height}"
        parts = (config.kind, size_text, *map(str, seeds), str(frames), *config.variety)
        name = "_".join(parts if config.variety != PARTS else (*parts[:5], "all"))
        write_dataset(
            root / name,
            config.kind,
            range(*seeds),
            frames,
            camera,
            workers=max(workers, 1),
            focal_jitter=config.focal_jitter,
            variety=config.variety,
        )
        splits[split] = read_frames(root, name)
    return Manifest(
        "world", f"procedural world, {config.kind}", root, splits, LABEL_SETS[config.kind]
    )


def read_frames(root: Path, name: str) -> tuple[Record, ...]:
    """Return the frames of a folder that `mono_depth world --dataset` wrote.

    Args:
        root: what paths are relative to.
        name: of the folder in `root`; holds manifest.json, rgb/, depth/ and labels/.

    Raises:
        DataError: its manifest is missing or damaged.
    """
    try:
        manifest = json.loads((root / name / "manifest.json").read_text())
        return tuple(
            Record(
                name=f"{name}/{index:06d}",
                group=str(frame["seed"]),
                image=f"{name}/rgb/{index:06d}.{manifest['image_format']}",
                intrinsics=tuple(frame["intrinsics"]),
                depth=DepthFile(f"{name}/depth/{index:06d}.png", scale=manifest["depth_scale"]),
                labels=f"{name}/labels/{index:06d}.png",
            )
            for index, frame in enumerate(manifest["frames"])
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{root / name} has no readable manifest.json: {error}") from error
