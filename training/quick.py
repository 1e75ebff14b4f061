"""Does every network learn? `python -m training.quick` trains the light presets.

For at most 1,000 steps, from random weights, at 128x160, on procedural rooms, all with one
optimiser; then one table of AbsRel on rooms that no run has seen, against the best single depth.
Interrupted runs continue.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm.contrib.logging import logging_redirect_tqdm

from mono_depth_ros.checkpoint import load_network
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.metrics import depth_errors, mean_over_images
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.models.presets import count_parameters
from training.config import CHECKOUT, TrainConfig, WorldDataConfig, load_train_config
from training.datasets.prepared import PreparedDataset, Reading
from training.datasets.world import network_camera, prepare
from training.evaluation.world_test import FIRST_TEST_SEED
from training.loop import in_order, make_loader
from training.train import train
from training.validation import validate
from training.view import ViewConfig

RECIPES = CHECKOUT / "config" / "training" / "quick"
TEST_SCENES = 100


@dataclass(frozen=True, slots=True)
class QuickScore:
    """One row of the table; errors are means over the images of held-out rooms.

    Attributes:
        name: of the recipe.
        parameters: of the network.
        steps: optimiser steps.
        images: how many were scored.
        abs_rel: of the network.
        constant_m: the depth that minimises AbsRel on the training frames.
        constant_abs_rel: of that depth.
    """

    name: str
    parameters: int
    steps: int
    images: int
    abs_rel: float
    constant_m: float
    constant_abs_rel: float


def best_constant(depths_m: Iterable[npt.NDArray[np.float32]]) -> float:
    """Return the one depth that minimises mean(|c - d| / d) over all valid pixels.

    That is the median of the depths weighted with 1 / d: left of it and right of it the slopes of
    all |c - d| / d add up to the same.
    """
    depths = np.concatenate([d[np.isfinite(d)] for d in depths_m]).astype(np.float64)
    depths.sort()
    weights = np.cumsum(1.0 / depths)
    return float(depths[np.searchsorted(weights, weights[-1] / 2.0)])


def score(config: TrainConfig, checkpoint: Path) -> QuickScore:
    """Score the checkpoint of a run on rooms from `FIRST_TEST_SEED` on."""
    network, info = load_network(checkpoint)
    assert config.data.world is not None
    tested = replace(
        config.data.world, validation_seeds=(FIRST_TEST_SEED, FIRST_TEST_SEED + TEST_SCENES)
    )
    test_set = _frames(tested, "validation", network.config.image_size, network.max_depth_m)
    constant_m = _training_constant(tested, network.config.image_size, network.max_depth_m)
    truths_m = [test_set.view_depth_m(index) for index in range(len(test_set))]
    constant = [depth_errors(np.full_like(truth, constant_m), truth) for truth in truths_m]
    loader = make_loader(test_set, in_order(len(test_set)), workers=0)
    return QuickScore(
        name=config.name,
        parameters=count_parameters(network),
        steps=info.recipe["steps_done"],
        images=len(test_set),
        abs_rel=validate(network, loader, torch.device("cpu")).errors.abs_rel,
        constant_m=constant_m,
        constant_abs_rel=mean_over_images(constant).abs_rel,
    )


def _frames(
    config: WorldDataConfig, split: str, size: ImageSize, max_depth_m: float
) -> PreparedDataset:
    """Return frames as the networks see them."""
    manifest = prepare(config, size, workers=2)
    reading = Reading(
        training_focal_px=network_camera(config.kind, size).fx, max_depth_m=max_depth_m
    )
    return PreparedDataset(manifest, manifest.records(split), reading, ViewConfig(size=size))


@lru_cache
def _training_constant(config: WorldDataConfig, size: ImageSize, max_depth_m: float) -> float:
    """Return the best constant of all training frames; recipes share it, and it takes a minute."""
    frames = _frames(config, "train", size, max_depth_m)
    # Every 16th pixel of every frame says as much about a median and takes no gigabytes.
    return best_constant(frames.view_depth_m(index)[::4, ::4] for index in range(len(frames)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    recipes = {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "networks", nargs="*", metavar="network", help=f"of {', '.join(recipes)}; default all"
    )
    parser.add_argument("--out", type=Path, default=CHECKOUT / "runs", help="default runs/")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    unknown = sorted(set(options.networks) - set(recipes))
    if unknown:
        parser.error(f"no network {', '.join(unknown)}; choose from {', '.join(recipes)}")
    try:
        rows = []
        for name in options.networks or recipes:
            config = load_train_config(recipes[name])
            with logging_redirect_tqdm():
                checkpoint = train(config, options.out / config.name)
            rows.append(score(config, checkpoint))
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command continues from the last saved step\n")
        return 130
    sys.stdout.write("\n".join(_table(rows)) + "\n")
    return 0


def _table(rows: Sequence[QuickScore]) -> list[str]:
    lines = [
        f"procedural rooms never seen in training, {rows[0].images} images, 128x160; "
        f"constant {rows[0].constant_m:.2f} m: AbsRel {rows[0].constant_abs_rel:.4f}",
        f"{'run':<20}{'parameters':>12}{'steps':>8}{'AbsRel':>9}{'of constant':>13}",
    ]
    for row in rows:
        ratio = row.abs_rel / row.constant_abs_rel
        lines.append(
            f"{row.name:<20}{row.parameters:>12,}{row.steps:>8}{row.abs_rel:>9.4f}{ratio:>13.3f}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
