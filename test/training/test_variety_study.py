"""The study of the world's parts: its runs differ in what its table says, and in nothing else."""

from __future__ import annotations

from dataclasses import replace

from mono_depth_ros.world.variety import PARTS
from training.config import load_train_config
from training.variety import RECIPE, recipe_of, variants


def test_every_part_is_left_out_once():
    runs = variants()
    missing = [set(PARTS) - set(run.variety) for run in runs if len(run.variety) == len(PARTS) - 1]
    assert sorted(part for parts in missing for part in parts) == sorted(PARTS)
    assert [run.seed for run in runs if set(run.variety) == set(PARTS)] == [0, 1, 2]
    assert [run.name for run in runs if not run.variety] == ["none"]
    assert len({run.name for run in runs}) == len(runs) == len(PARTS) + 4


def test_runs_are_alike_in_everything_else():
    recipe = load_train_config(RECIPE)
    for run in variants():
        config = recipe_of(run, recipe)
        assert config.data.world.variety == run.variety
        assert config.seed == run.seed
        world = replace(config.data.world, variety=recipe.data.world.variety)
        same = replace(config.data, world=world)
        assert replace(config, name=recipe.name, seed=recipe.seed, data=same) == recipe
