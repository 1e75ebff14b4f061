"""A training run that takes seconds: four rendered scenes, a small PWA, 64x96 pixels."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from training.config import CHECKOUT, TrainConfig, load_train_config

RECIPE = Path(__file__).with_name("tiny_recipe.yaml")

NETWORK = """\
network: pwa
settings:
  image_size: {height: 64, width: 96}
  backbone_width: 0.25
  decoder_channels: [16, 16, 16, 16]
  aspp_bottleneck: 16
  aspp_growth: 8
  patch_size: 32
"""


def overrides(folder: Path) -> list[str]:
    """Write the network file into `folder`; return what makes the recipe a tiny one."""
    (folder / "network.yaml").write_text(NETWORK)
    return [
        f"network={folder / 'network.yaml'}",
        f"data.world.folder={folder}",
        "data.world.train_seeds=[0, 4]",
        "data.world.variety=[]",
        "data.world.validation_seeds=[100, 102]",
        "data.world.render_scale=1.0",
        "data.workers=0",
        "steps=12",
        "batch_size=4",
        "validate_every=6",
        "save_every=3",
        "device=cpu",
    ]


def load(folder: Path, *more: str) -> TrainConfig:
    """Return the recipe of the tiny run, with further overrides."""
    return load_train_config(RECIPE, [*overrides(folder), *more])


def command(folder: Path, out: Path, *more: str) -> list[str]:
    """Return the command line of the tiny run."""
    recipe = [str(RECIPE), *overrides(folder), *more, "--out", str(out)]
    return [sys.executable, "-m", "training.train", *recipe]


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a process that computes the same on one core as on many."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT), **more}
