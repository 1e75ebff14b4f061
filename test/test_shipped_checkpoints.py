"""The checkpoints inside the package: loadable by name, small, and better than a constant."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from mono_depth_ros import DEFAULT_CHECKPOINT
from mono_depth_ros.checkpoint import (
    load_network,
    read_info,
    save_checkpoint,
    shipped_checkpoints,
)
from mono_depth_ros.cli.main import main
from mono_depth_ros.config import to_mapping
from mono_depth_ros.models import MODELS
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.preprocessing import image_to_tensor
from mono_depth_ros.world import training_frame
from training.config import CHECKOUT, load_train_config
from training.datasets.world import network_camera
from training.evaluation import world, world_test
from training.evaluation.world_test import FIRST_TEST_SEED
from training.ship import SAMPLE

NAMES = tuple(shipped_checkpoints())


def test_these_ship_and_the_default_is_one_of_them():
    known = {f"{network}_light_{kind}" for network in MODELS for kind in ("rooms", "streets")}
    assert set(NAMES) == known
    assert DEFAULT_CHECKPOINT in NAMES
    assert sum(path.stat().st_size for path in shipped_checkpoints().values()) < 48_000_000


@pytest.mark.parametrize("name", NAMES)
def test_description_fits_the_file(name):
    network, info = load_network(name)
    assert (info.name, info.network) == (name, name.split("_light_")[0])
    assert "procedural world" in info.training_data
    assert sum(parameter.numel() for parameter in network.parameters()) <= 2_000_000
    assert shipped_checkpoints()[name].stat().st_size <= 4_000_000
    recipe = load_train_config(CHECKOUT / f"config/training/{name}.yaml")
    assert info.recipe["steps_done"] == recipe.steps
    assert info.recipe["data"]["world"]["kind"] == recipe.data.world.kind


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_costs_less_than_a_thousandth(name, tmp_path):
    """At every pixel, when weights that round to the shipped ones are rounded."""
    network, info = load_network(name)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            # Half precision has steps of 2^-11 to 2^-10 of a value.
            parameter *= 1 + 2.0**-12 * torch.empty_like(parameter).uniform_(-1, 1)
    save_checkpoint(tmp_path / "half.safetensors", network, info, "float16")
    assert (tmp_path / "half.safetensors").stat().st_size <= 4_000_000
    restored, _ = load_network(tmp_path / "half.safetensors")
    kind = name.rpartition("_")[2]
    frame = training_frame(kind, FIRST_TEST_SEED, 0, network_camera(kind, info.image_size))
    image = image_to_tensor(frame.rgb)
    with torch.inference_mode():
        torch.testing.assert_close(restored(image), network(image), rtol=1e-3, atol=0)


@cache
def sample_of(kind):
    """Return the frames that all checkpoints of a kind are scored on; rendering takes longest."""
    return tuple(world_test.test_frames(kind, SAMPLE))


@pytest.mark.parametrize("name", NAMES)
def test_held_out_scenes_score_better_than_one_depth_for_all(name, monkeypatch):
    monkeypatch.setattr(world, "test_frames", lambda kind, scenes: sample_of(kind))
    predictor = DepthPredictor.load(name, InferenceConfig(device="cpu"))
    scores = world.score_on_world(predictor, name.rpartition("_")[2], SAMPLE)
    assert scores.model.abs_rel < 0.8 * scores.constant.abs_rel
    assert scores.model.rmse_log < 0.8 * scores.constant.rmse_log
    assert scores.model.delta1 > scores.constant.delta1
    kind = name.rpartition("_")[2]
    told = predictor.info.scores.get(f"world_test_v1_{kind}_first_{SAMPLE}.abs_rel")
    if told is not None:
        # Processors round differently; a hundredth is far less than another checkpoint would be.
        assert scores.model.abs_rel == pytest.approx(told, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_cards_say_what_the_checkpoints_say(name):
    info, kind = read_info(name), name.rpartition("_")[2]
    card = shipped_checkpoints()[name].with_suffix(".md").read_text()
    assert f"`python -m training.train config/training/{name}.yaml`" in card
    assert f"{info.recipe['steps_done']} steps of {info.recipe['batch_size']} images" in card
    assert f"{info.scores[f'world_test_v1_{kind}.abs_rel']:.4f}" in card
    assert f"{info.scores[f'world_test_v1_{kind}.delta1']:.4f}" in card
    if "variety" not in info.recipe["data"]["world"]:
        return  # trained before the world varied; its recipe says so in its own words
    recipe = to_mapping(load_train_config(CHECKOUT / f"config/training/{name}.yaml"))
    # What a later version can set besides was at its default.
    told = {**recipe, **{key: info.recipe[key] for key in recipe if key in info.recipe}}
    del recipe["data"]["workers"], told["data"]["workers"]
    assert told == recipe


def test_models_command_lists_them(capsys):
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert "pwa_light_rooms: pwa, 1.63 M parameters" in printed
    assert all(f"{name}: {name.split('_light_')[0]}, " in printed for name in NAMES)
    rows = [line.split() for line in printed.split("checkpoints")[0].splitlines()]
    presets = {row[1]: row for row in rows[1:] if row}
    assert presets["hma_resnet50"][2:5] == ["resnet50", "52.08", "M"]
    # 424 GMAC on the authors' code.
    assert float(presets["hma_resnet50"][5]) == pytest.approx(424, abs=1)
    assert presets["acan_light"][7:11] == ["depth,", "confidence", "(uncalibrated),", "attention"]
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
