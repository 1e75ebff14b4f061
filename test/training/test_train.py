"""The training road end to end on a tiny world: it learns, it stops and continues exactly."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_run
import torch
from safetensors.torch import load_file

from mono_depth_ros.checkpoint import load_network
from mono_depth_ros.config import from_mapping
from mono_depth_ros.errors import CheckpointError, ConfigError, DataError
from mono_depth_ros.models.base import ImageSize
from training.config import (
    CHECKOUT,
    OptimizerConfig,
    WorldDataConfig,
    load_network_preset,
    load_train_config,
)
from training.datasets.prepared import PreparedDataset, Reading
from training.datasets.world import network_camera, prepare
from training.loop import StepSampler, set_learning_rate, take_step
from training.objective import ObjectiveConfig
from training.train import main, read_recipe, train
from training.view import ViewConfig


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A run of 12 steps on four scenes, rendered once for the whole module."""
    folder = tmp_path_factory.mktemp("world")
    recipe = tiny_run.load(folder)
    prepare(recipe.data.world, ImageSize(64, 96), workers=1)
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
    assert info.name == "tiny"
    assert info.training_focal_px == pytest.approx(network_camera("rooms", ImageSize(64, 96)).fx)
    assert "procedural world" in info.training_data
    assert info.scores["procedural_world_validation.abs_rel"] > 0


def test_a_state_in_parts_continues_like_one_file(config, tmp_path):
    """Both ways lead to the same bits; only the parts of the last save stay."""
    straight = train(config, tmp_path / "straight")
    split, out = replace(config, state_part_mb=0.05), tmp_path / "split"
    for _ in range(3):
        train(split, out, stop_after_s=0.0)
    parts = sorted(out.glob("state.pt.*.part"))
    assert len(parts) > 3 and max(part.stat().st_size for part in parts) <= 50_000
    assert (out / "state.pt").stat().st_size < 50_000
    assert {part.name.split(".")[2] for part in parts} == {parts[0].name.split(".")[2]}
    whole = parts[1].read_bytes()
    parts[1].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="parts do not have the recorded hash"):
        train(split, out)
    parts[1].write_bytes(whole)
    # Going on in one file is no other run.
    assert load_file(train(config, out)).keys() == load_file(straight).keys()
    a, b = load_file(straight), load_file(out / "best.safetensors")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not list(out.glob("*.part"))


def test_a_continued_run_draws_the_same_dropout(config, tmp_path):
    """Every step seeds its own random numbers, however many a loader drew before it."""
    settings = {"image_size": {"height": 64, "width": 96}, "dropout": 0.5, "backbone_width": 0.25}
    acan = replace(
        config,
        network="config/networks/acan_light.yaml",
        network_settings=settings,
        loss=from_mapping(ObjectiveConfig, {"ordinal": {}}),
        steps=4,
    )
    train(acan, tmp_path / "straight")
    for _ in range(4):
        train(acan, tmp_path / "stopped", stop_after_s=0.0)
    journals = [(tmp_path / run / "journal.jsonl").read_text() for run in ("straight", "stopped")]
    assert journals[0] == journals[1] and journals[0].count("loss/ordinal") == 4


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_with_micro_batches_continues_exactly(config, tmp_path, precision):
    half = replace(config, precision=precision, accumulate=2, steps=3, deterministic=True)
    train(half, tmp_path / "straight")
    for _ in range(3):
        train(half, tmp_path / "stopped", stop_after_s=0.0)
    journals = [(tmp_path / run / "journal.jsonl").read_text() for run in ("straight", "stopped")]
    assert journals[0] == journals[1]
    losses = [json.loads(line)["loss"] for line in journals[0].splitlines()[:3]]
    assert all(math.isfinite(loss) for loss in losses)
    torch.use_deterministic_algorithms(False)


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


def test_an_encoder_can_start_from_another_network(config, tmp_path):
    """With a learning rate of 0 it stays PWA's in a network of another name."""
    first = train(config, tmp_path / "first")
    still = replace(config.optimizer, learning_rate=0.0)
    other = replace(
        config,
        network="config/networks/asc_gcm_light.yaml",
        network_settings={"backbone_width": 0.25, "image_size": {"height": 64, "width": 96}},
        loss=from_mapping(ObjectiveConfig, {"silog": {}}),
        optimizer=still,
        initial_encoder=str(first),
        steps=1,
    )
    train(other, tmp_path / "second")
    a, b = load_network(first)[0], load_network(tmp_path / "second" / "last.safetensors")[0]
    assert type(a) is not type(b)
    for (name, parameter), mine in zip(
        a.encoder.named_parameters(), b.encoder.parameters(), strict=True
    ):
        assert torch.equal(parameter, mine), name
    wider = replace(other, network_settings={"backbone_width": 0.75})
    with pytest.raises(CheckpointError, match=r"width 0\.25, this network .* width 0\.75"):
        train(wider, tmp_path / "third")
    with pytest.raises(ConfigError, match="initial_encoder alone"):
        replace(other, initial_checkpoint=str(first))


def test_loss_falls(config, tmp_path):
    """Twenty passes over sixteen images must beat the start clearly."""
    longer = replace(config, steps=60, validate_every=60, augmentation=({"op": "resize"},))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(longer, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = [event.value for event in events.Scalars("loss")]
    assert len(losses) == 60
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_state_of_other_settings_is_refused(config, tmp_path):
    train(config, tmp_path, stop_after_s=0.0)
    with pytest.raises(DataError, match=r"other settings \(seed\)"):
        train(replace(config, seed=5), tmp_path)
    rate = replace(config.optimizer, learning_rate=1.0)
    with pytest.raises(DataError, match=r"other settings \(optimizer\.learning_rate\)"):
        train(replace(config, optimizer=rate), tmp_path)
    (tmp_path / "state.pt").write_bytes(b"junk")
    with pytest.raises(DataError, match="cannot be read"):
        train(config, tmp_path)


def test_settings_that_change_no_result_may_change(config, tmp_path):
    train(config, tmp_path, stop_after_s=0.0)
    data = replace(config.data, workers=1, strict=True)
    train(replace(config, data=data, save_every=7, device="auto"), tmp_path, stop_after_s=0.0)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["progress"]["step"] == 2


def test_sampler_continues_anywhere_and_covers_every_epoch():
    whole = list(StepSampler([10], 4, 0, 10, seed=3))
    assert list(StepSampler([10], 4, 6, 10, seed=3)) == whole[6:]
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
    """Neither weights nor the statistics that the forward pass has already moved."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    before = {key: v.clone() for key, v in network.state_dict().items() if "num" not in key}
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    image = torch.tensor([[1.0, 2.0], [3.0, 5.0]])

    def step(factor):
        losses = [lambda: network(image).square().mean(), lambda: network(image).sum() * factor]
        return take_step(network, optimizer, scaler, losses, 1.0)

    assert step(value) is None
    for key, old in before.items():
        assert torch.equal(network.state_dict()[key], old), key
    assert step(1.0) is not None
    assert not torch.equal(network[0].weight, before["0.weight"])


def test_micro_batches_add_up_to_the_gradient_of_the_mean():
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), 0.0)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    images = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    parts = [lambda i=i: layer(images[i : i + 1]).square().mean() / 2 for i in range(2)]
    total = take_step(layer, optimizer, scaler, parts, 1e9)
    split = layer.weight.grad.clone()
    layer.zero_grad()
    whole = layer(images).square().mean()
    whole.backward()
    torch.testing.assert_close(split, layer.weight.grad)
    assert total == pytest.approx(whole.item())


def test_depth_is_normalised_to_the_training_focal_length(config):
    manifest = prepare(config.data.world, ImageSize(64, 96), workers=1)
    view = ViewConfig(size=ImageSize(64, 96))

    def depth_m(focal_px, limit_m):
        reading = Reading(training_focal_px=focal_px, max_depth_m=limit_m)
        return PreparedDataset(manifest, manifest.records("train"), reading, view)[0, 0]["depth_m"]

    plain = depth_m(100.0, 80.0)
    torch.testing.assert_close(depth_m(200.0, 80.0), 2 * plain, equal_nan=True)
    limit_m = plain.nanmedian().item()
    capped = depth_m(100.0, limit_m)
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


def test_a_row_of_a_table_is_a_recipe():
    """PWA, Table 1: patches of 32 px instead of the preset's 64."""
    config = read_recipe("pwa_table1/pwa_32_px/nyu", ["batch_size=4"])
    assert config.network_settings["patch_size"] == 32 and config.batch_size == 4
    assert config.name.startswith("pwa_table1")
    with pytest.raises(ConfigError, match="TABLE/ROW/DATASET"):
        read_recipe("pwa_table9/all", [])


def test_mistakes_on_the_command_line_end_with_one_line(capsys, tmp_path):
    recipe = str(CHECKOUT / "config/training/pwa_light_rooms.yaml")
    assert main([recipe, "stepps=3", "--out", str(tmp_path)]) == 1
    assert "no setting stepps" in capsys.readouterr().err
    assert main([str(Path("missing.yaml")), "--out", str(tmp_path)]) == 1
