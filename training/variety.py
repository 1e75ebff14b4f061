"""What is each part of the world's variety worth? `python -m training.variety --root DIR`.

Trains one small network on worlds that differ in one part, alike in everything else: all parts
(with several seeds, whose spread is what a difference must beat), all but one, and none. Every run
is scored on world test set v1 and, zero-shot, on the real frames that may decide between
checkpoints. Interrupted runs continue.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.metrics import DepthErrors
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.world.variety import PARTS, Part
from training.config import CHECKOUT, TrainConfig, load_train_config
from training.evaluation.real_frames import load_sets
from training.evaluation.real_scores import for_scene, score_real_frames
from training.evaluation.world import score_on_world
from training.train import train

RECIPE = CHECKOUT / "config/training/variety_rooms.yaml"
_FRAMES = CHECKOUT / "config/evaluation/real_frames.yaml"
_SEEDS_OF_ALL = 3


@dataclass(frozen=True, slots=True)
class Variant:
    """One run of the study.

    Attributes:
        name: of its row and of its folder.
        variety: parts of the world that vary in training.
        seed: of the weights, the order of images and the augmentation.
    """

    name: str
    variety: tuple[Part, ...]
    seed: int = 0


def variants() -> list[Variant]:
    """Return the runs of the study, in the order of the table."""
    whole = [Variant(f"all_seed_{seed}", PARTS, seed) for seed in range(_SEEDS_OF_ALL)]
    without = [Variant(f"without_{p}", tuple(q for q in PARTS if q != p)) for p in PARTS]
    return [*whole, *without, Variant("none", ())]


def recipe_of(variant: Variant, recipe: TrainConfig) -> TrainConfig:
    """Return the recipe that trains a variant.

    Raises:
        ConfigError: the recipe is not for the procedural world.
    """
    if recipe.data.world is None:
        raise ConfigError(f"{recipe.name} does not train on the procedural world")
    world = replace(recipe.data.world, variety=variant.variety)
    name = f"{recipe.name}_{variant.name}"
    return replace(recipe, name=name, seed=variant.seed, data=replace(recipe.data, world=world))


def table_rows(recipe: TrainConfig, root: Path, out: Path) -> Iterator[str]:
    """Train and score every variant; yield the lines of a Markdown table.

    Raises:
        ConfigError, DataError, TrainingError: see `train`, `score_on_world`, `score_real_frames`.
    """
    sets: list = []
    for variant in variants():
        config = recipe_of(variant, recipe)
        assert config.data.world is not None
        with logging_redirect_tqdm():
            checkpoint = train(config, out / config.name)
        predictor = DepthPredictor.load(checkpoint, InferenceConfig(device="cpu"))
        if not sets:
            sets = [s for s in load_sets(_FRAMES) if s.use == "choosing"]
            sets = for_scene(sets, config.data.world.kind)
            titles = ["varied", "world test set v1"]
            for part in sets:
                titles += [part.name, f"{part.name}, median-aligned"]
            yield f"| {' | '.join(titles)} |"
            yield f"|---|{'--:|' * (len(titles) - 1)}"
        cells = [_pair(score_on_world(predictor, config.data.world.kind).model)]
        for scores in score_real_frames(predictor, sets, root):
            cells += [_pair(scores.metric), _pair(scores.aligned)]
        yield f"| {variant.name.replace('_', ' ')} | {' | '.join(cells)} |"


def _pair(errors: DepthErrors) -> str:
    return f"{errors.abs_rel:.3f}, {errors.delta1:.3f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--root", type=Path, required=True, metavar="DIR", help="where the real frames lie"
    )
    parser.add_argument("--recipe", type=Path, default=RECIPE, help=f"default: {RECIPE.name}")
    parser.add_argument("--out", type=Path, default=CHECKOUT / "runs", help="default: runs/")
    parser.add_argument(
        "overrides", nargs="*", help="settings of the recipe, for example steps=100"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        recipe = load_train_config(options.recipe, options.overrides)
        for line in table_rows(recipe, options.root, options.out):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command continues from the last saved step\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
