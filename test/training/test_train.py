"""The training road end to end on a tiny world: it learns, it stops and continues exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mono_depth_ros.checkpoint import load_network
from mono_depth_ros.errors import CheckpointError, ConfigError, DataError
from mono_depth_ros.models.base import ImageSize
from training.config import (
    CHECKOUT,
    OptimizerConfig,
    WorldDataConfig,
    load_network_preset,
    load_train_config,
)
from training.datasets.world import WorldDataset, network_camera, prepare
from training.loop import StepSampler, set_learning_rate, take_step
from training.train import main, train

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


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A run of 12 steps on four scenes, rendered once for the whole module."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "network.yaml").write_text(NETWORK)
    recipe = load_train_config(
        CHECKOUT / "config/training/pwa_light_rooms.yaml",
        [
            f"network={folder / 'network.yaml'}",
            f"data.folder={folder}",
            "data.train_seeds=[0, 4]",
            "data.validation_seeds=[100, 102]",
            "data.render_scale=1.0",
            "data.workers=0",
            "steps=12",
            "batch_size=4",
            "validate_every=6",
            "save_every=3",
            "device=cpu",
        ],
    )
    prepare(recipe.data, ImageSize(64, 96))
    return recipe


def test_stopping_and_continuing_changes_nothing(config, tmp_path):
    straight = train(config, tmp_path / "straight")
    for _ in range(20):  # stops after every step until all are done
        train(config, tmp_path / "stopped", stop_after_s=0.0)
        state = torch.load(tmp_path / "stopped" / "state.pt", weights_only=True)
        if state["progress"]["step"] == config.steps:
            break
    assert state["progress"]["step"] == config.steps
    reference = torch.load(tmp_path / "straight" / "state.pt", weights_only=True)
    for part in ("network", "average"):
        for key, value in reference[part].items():
            torch.testing.assert_close(state[part][key], value, rtol=0, atol=0)
    a, b = (
        load_file(tmp_path / "straight/last.safetensors"),
        load_file(tmp_path / "stopped/last.safetensors"),
    )
    assert all(torch.equal(a[key], b[key]) for key in a)
    _, info = load_network(straight)
    assert info.name == "pwa_light_rooms"
    assert info.training_focal_px == pytest.approx(network_camera("rooms", ImageSize(64, 96)).fx)
    assert "procedural world" in info.training_data
    assert info.scores["procedural_world_validation.abs_rel"] > 0


def test_a_run_can_start_from_a_checkpoint(config, tmp_path):
    """With a learning rate of 0 the weights stay what they were; other networks are refused."""
    first = train(config, tmp_path / "first")
    still = replace(config.optimizer, learning_rate=0.0)
    second = replace(config, optimizer=still, initial_checkpoint=str(first), seed=1, steps=1)
    train(second, tmp_path / "second")
    a, b = load_network(first)[0], load_network(tmp_path / "second" / "last.safetensors")[0]
    for (name, parameter), other in zip(a.named_parameters(), b.parameters(), strict=True):
        assert torch.equal(parameter, other), name
    other = replace(second, network_settings={"attention": "none"})
    with pytest.raises(CheckpointError, match="does not fit Pwa"):
        train(other, tmp_path / "third")


def test_loss_falls(config, tmp_path):
    """Twenty passes over sixteen images must beat the start clearly."""
    longer = replace(
        config,
        steps=60,
        validate_every=60,
        augmentation=replace(config.augmentation, probability=0.0),
    )
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(longer, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [event.value for event in events.Scalars("loss")]
    assert len(losses) == 60
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_state_of_other_settings_is_refused(config, tmp_path):
    train(config, tmp_path, stop_after_s=0.0)
    with pytest.raises(DataError, match="seed"):
        train(replace(config, seed=5), tmp_path)
    (tmp_path / "state.pt").write_bytes(b"junk")
    with pytest.raises(DataError, match="cannot be read"):
        train(config, tmp_path)


def test_sampler_continues_anywhere_and_covers_every_epoch():
    whole = list(StepSampler(10, 4, 0, 10, seed=3))
    assert list(StepSampler(10, 4, 6, 10, seed=3)) == whole[6:]
    flat = [item for batch in whole for item in batch]
    for epoch in range(4):
        assert sorted(index for e, index in flat if e == epoch) == list(range(10))
    assert flat[:10] != [(0, i) for i in range(10)]


def test_learning_rate_decays_as_the_paper_says():
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    config = OptimizerConfig(learning_rate=5e-4, power=0.9)
    assert set_learning_rate(optimizer, config, 0, 100) == 5e-4
    assert set_learning_rate(optimizer, config, 50, 100) == pytest.approx(5e-4 * 0.5**0.9)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(5e-4 * 0.5**0.9)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_step_that_is_not_finite_changes_nothing(value):
    layer = torch.nn.Linear(2, 1)
    before = layer.weight.detach().clone()
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    assert not take_step(layer, optimizer, layer(torch.ones(1, 2)).sum() * value, 1.0)
    torch.testing.assert_close(layer.weight.detach(), before)
    assert take_step(layer, optimizer, layer(torch.ones(1, 2)).sum(), 1.0)
    assert (layer.weight != before).all()


def test_depth_is_normalised_to_the_training_focal_length(config):
    folder, _ = prepare(config.data, ImageSize(64, 96))
    plain = WorldDataset(folder, ImageSize(64, 96), 100.0, 80.0)[0, 0]["depth_m"]
    doubled = WorldDataset(folder, ImageSize(64, 96), 200.0, 80.0)[0, 0]["depth_m"]
    torch.testing.assert_close(doubled, 2 * plain, equal_nan=True)
    limit_m = plain.nanmedian().item()
    capped = WorldDataset(folder, ImageSize(64, 96), 100.0, limit_m)[0, 0]["depth_m"]
    torch.testing.assert_close(capped[plain <= limit_m], plain[plain <= limit_m])
    assert capped[~(plain <= limit_m)].isnan().all()


def test_scenes_of_training_and_validation_must_differ():
    with pytest.raises(ConfigError, match="share scenes"):
        WorldDataConfig("rooms", train_seeds=(0, 10), validation_seeds=(9, 12))


@pytest.mark.parametrize(
    "path", sorted((CHECKOUT / "config/training").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_recipe_loads_and_names_a_network(path):
    config = load_train_config(path)
    assert config.name == path.stem
    assert load_network_preset(config.network).network


def test_mistakes_on_the_command_line_end_with_one_line(capsys, tmp_path):
    recipe = str(CHECKOUT / "config/training/pwa_light_rooms.yaml")
    assert main([recipe, "stepps=3", "--out", str(tmp_path)]) == 1
    assert "no setting stepps" in capsys.readouterr().err
    assert main([str(Path("missing.yaml")), "--out", str(tmp_path)]) == 1
