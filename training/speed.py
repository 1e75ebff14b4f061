"""How fast a recipe trains here, and how much of that the data cost: `python -m training.speed`.

`python -m training.speed config/training/pwa_nyu.yaml --synthetic 40` needs no data set.
Blocks of steps with fresh batches and of steps with one batch kept in memory take turns; the ratio
of their speeds says what a faster disk or more workers could still give.
"""

from __future__ import annotations

import argparse
import logging
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch

from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.models.backbone_weights import NONE
from mono_depth_ros.world import make_scene, training_frame
from training.config import PreparedDataConfig, TrainConfig, load_train_config
from training.datasets.world import LABEL_SETS
from training.distributed import Processes
from training.manifest import DepthFile, LabelSet, Manifest, Record, write_manifest
from training.run import Run, start, training_batches
from training.train import take_training_step

_BLOCKS, _WARM_UP = 3, 3


@dataclass(frozen=True, slots=True)
class _Pictures:
    """What the pictures of a data set are.

    Attributes:
        kind: of the world's scenes that come closest.
        height: pixels.
        width: pixels.
        suffix: of the images.
        scale: codes of depth per metre.
        labels: of classes, beside depth.
    """

    kind: Literal["rooms", "streets"]
    height: int
    width: int
    suffix: str
    scale: float
    labels: bool = False


# As they are downloaded or extracted, by the name of the folder; others are taken for NYU.
_PICTURES = {
    "nyu": _Pictures("rooms", 480, 640, ".jpg", 1000.0, labels=True),
    "kitti": _Pictures("streets", 375, 1242, ".png", 256.0),
    "stereo2015": _Pictures("streets", 375, 1242, ".png", 256.0),
    "cityscapes": _Pictures("streets", 1024, 2048, ".png", 256.0, labels=True),
    "bag": _Pictures("streets", 480, 640, ".jpg", 256.0),
}


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds per step, medians of blocks.

    Attributes:
        loaded_s: with a fresh batch, waiting included.
        cached_s: with a batch that is there.
        waited_s: of `loaded_s`, until the batch came.
        images: per step.
    """

    loaded_s: float
    cached_s: float
    waited_s: float
    images: int


def measure(run: Run, rounds: int) -> Speed:
    """Take blocks of `rounds` steps of either kind in turns.

    Workers live only in the blocks that use them, lest they load ahead while nobody waits.
    """
    loaded, cached, waited = [], [], []
    for _ in range(_BLOCKS):
        loader = iter(training_batches(run))
        for _ in range(_WARM_UP):
            batches = _next_step(run, loader)
            _take(run, batches)
        began, waiting = time.perf_counter(), 0.0
        for _ in range(rounds):
            asked = time.perf_counter()
            batches = _next_step(run, loader)
            waiting += time.perf_counter() - asked
            _take(run, batches)
        loaded.append((time.perf_counter() - began) / rounds)
        waited.append(waiting / rounds)
        del loader
        began = time.perf_counter()
        for _ in range(rounds):
            _take(run, batches)
        cached.append((time.perf_counter() - began) / rounds)
    return Speed(
        loaded_s=statistics.median(loaded),
        cached_s=statistics.median(cached),
        waited_s=statistics.median(waited),
        images=run.config.batch_size,
    )


def _next_step(run: Run, loader: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [next(loader) for _ in range(run.config.accumulate)]


def _take(run: Run, batches: list[dict[str, Any]]) -> None:
    take_training_step(run, batches)
    if run.device.type == "cuda":
        torch.cuda.synchronize(run.device)


def synthetic_data(folder: Path, config: TrainConfig, images: int) -> TrainConfig:
    """Write frames of the procedural world in place of the data; return the recipe for them.

    They have the sizes and formats of the recipe's data sets, so that decoding costs what real
    pictures cost. A recipe for the world itself gets fewer scenes. Weights start at random, which
    is as fast.
    """
    data, world = config.data, config.data.world
    if world is not None:
        scenes = math.ceil(images / world.frames_per_scene)
        first, check = world.train_seeds[0], world.validation_seeds[0]
        world = replace(
            world,
            folder=str(folder),
            train_seeds=(first, first + scenes),
            validation_seeds=(check, check + 1),
        )
    prepared = tuple(_write_pictures(folder, part, images, config) for part in data.prepared)
    data = replace(data, world=world, prepared=prepared)
    config = replace(config, initial_checkpoint="", initial_encoder="", backbone_weights=NONE)
    return replace(config, data=data)


def _write_pictures(
    folder: Path, part: PreparedDataConfig, images: int, config: TrainConfig
) -> PreparedDataConfig:
    name = Path(part.folder).name
    pictures = _PICTURES.get(name, _PICTURES["nyu"])
    camera = make_scene(pictures.kind, 0).camera.resized(pictures.width, pictures.height)
    records = []
    for index in range(images):
        frame = training_frame(pictures.kind, index, 0, camera, config.device)
        code = np.nan_to_num(frame.depth_m * pictures.scale).clip(0, 65535).astype(np.uint16)
        rgb, depth = f"{name}_{index}{pictures.suffix}", f"{name}_{index}_depth.png"
        labels = f"{name}_{index}_labels.png" if pictures.labels else ""
        cv2.imwrite(str(folder / rgb), cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(folder / depth), code)
        if labels:
            cv2.imwrite(str(folder / labels), frame.labels)
        intrinsics = (camera.fx, camera.fy, camera.cx, camera.cy)
        depth_file = DepthFile(depth, scale=pictures.scale)
        records.append(Record(rgb, str(index), rgb, intrinsics, depth_file, labels=labels))
    splits = {part.train: tuple(records), part.validation: tuple(records)}
    label_set: LabelSet = LABEL_SETS[pictures.kind] if pictures.labels else ""
    manifest = Manifest("bag", f"synthetic {name}", folder, splits, label_set)
    write_manifest(folder / name, manifest)
    return replace(part, folder=str(folder / name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", type=Path, help="a file of config/training")
    parser.add_argument("overrides", nargs="*", help="section.setting=value")
    parser.add_argument("--rounds", type=int, default=20, help="(default: %(default)s)")
    parser.add_argument(
        "--synthetic",
        type=int,
        metavar="N",
        help="N pictures of the real size and format in place of the data",
    )
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        config = load_train_config(options.config, options.overrides)
        config = replace(config, steps=_BLOCKS * (_WARM_UP + 2 * options.rounds), epochs=None)
        with tempfile.TemporaryDirectory() as folder:
            if options.synthetic:
                config = synthetic_data(Path(folder), config, options.synthetic)
            run = start(config, Path(folder) / "run", Processes(), config.device)
            speed = measure(run, options.rounds)
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("\n".join(_table(config, run.device, speed)) + "\n")
    return 0


def _table(config: TrainConfig, device: torch.device, speed: Speed) -> list[str]:
    ratio, waiting = speed.cached_s / speed.loaded_s, speed.waited_s / speed.loaded_s
    advice = ""
    if waiting > 0.1:
        advice = (
            f"; raise data.workers ({config.data.workers} now), or put the data on a faster disk"
        )
    rows = {"with the loader": speed.loaded_s, "one batch kept": speed.cached_s}
    return [
        f"{config.name} on {device}, {speed.images} images per step",
        *(
            f"{name:<17}{1 / step_s:8.2f} steps/s {speed.images / step_s:9.1f} images/s"
            for name, step_s in rows.items()
        ),
        f"{'ratio':<17}{ratio:8.2f}",
        f"{'waiting for data':<17}{100 * waiting:8.0f} % of a step{advice}",
    ]


if __name__ == "__main__":
    sys.exit(main())
