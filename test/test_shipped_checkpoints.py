"""The checkpoints inside the package: loadable by name, small, and better than a constant."""

from __future__ import annotations

import pytest

from mono_depth_ros import DEFAULT_CHECKPOINT
from mono_depth_ros.checkpoint import load_network, shipped_checkpoints
from mono_depth_ros.cli.main import main
from mono_depth_ros.models import MODELS
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from training.config import CHECKOUT, load_train_config
from training.evaluate import score_on_world

NAMES = ("pwa_light_rooms", "pwa_light_streets")


def test_these_ship_and_the_default_is_one_of_them():
    assert tuple(shipped_checkpoints()) == NAMES
    assert DEFAULT_CHECKPOINT in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_description_fits_the_file(name):
    network, info = load_network(name)
    assert (info.name, info.network) == (name, "pwa")
    assert "procedural world" in info.training_data
    assert sum(parameter.numel() for parameter in network.parameters()) <= 2_000_000
    assert shipped_checkpoints()[name].stat().st_size <= 4_000_000
    recipe = load_train_config(CHECKOUT / f"config/training/{name}.yaml")
    assert info.recipe["steps_done"] == recipe.steps
    assert info.recipe["data"]["world"]["kind"] == recipe.data.world.kind


@pytest.mark.parametrize("name", NAMES)
def test_held_out_scenes_score_better_than_one_depth_for_all(name):
    predictor = DepthPredictor.load(name, InferenceConfig(device="cpu"))
    scores = score_on_world(predictor, name.rpartition("_")[2], scenes=16, frames_per_scene=1)
    assert scores.model.abs_rel < 0.8 * scores.constant.abs_rel
    assert scores.model.rmse_log < 0.8 * scores.constant.rmse_log
    assert scores.model.delta1 > scores.constant.delta1


def test_models_command_lists_them(capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    for name in NAMES:
        assert f"{name}: pwa, 1.64 M parameters" in printed
    rows = [line.split() for line in printed.split("checkpoints")[0].splitlines()]
    presets = {row[1]: row for row in rows[1:] if row}
    assert presets["hma_resnet50"][2:5] == ["resnet50", "52.08", "M"]
    # 424 GMAC on the authors' code.
    assert float(presets["hma_resnet50"][5]) == pytest.approx(424, abs=1)
    assert presets["look_deeper_light"][7:10] == ["depth,", "attention,", "semantics"]
    for name in MODELS:
        assert float(presets[f"{name}_light"][3]) <= 2.0
        assert presets[f"{name}_light"][6] == "240x320"


def test_models_command_measures_presets(capsys):
    assert main(["models", "--time", "pwa_light_streets"]) == 0
    (row,) = capsys.readouterr().out.splitlines()[1:]
    name, size, milliseconds, rate = row.split()
    assert (name, size) == ("pwa_light_streets", "128x416")
    assert float(rate) == pytest.approx(1e3 / float(milliseconds), rel=0.05)
    assert main(["models", "--time", "resnet"]) == 1
    assert "no preset resnet" in capsys.readouterr().err
