"""Confidence that means what it says: the fit on known distributions, and from file to file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from mono_depth_ros.checkpoint import CheckpointInfo, load_network, read_info, save_checkpoint
from mono_depth_ros.config import to_mapping
from mono_depth_ros.metrics import depth_errors
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.world import training_frame
from training.calibrate_confidence import (
    FIRST_CALIBRATION_SEED,
    Pixels,
    collect,
    fit_temperature,
    main,
    reliability,
)
from training.config import CHECKOUT, load_train_config
from training.datasets.world import network_camera
from training.evaluation.world_test import FIRST_TEST_SEED

TINY = {
    "image_size": {"height": 64, "width": 96},
    "backbone": "mobilenet_v2",
    "backbone_width": 0.25,
    "min_depth_m": 0.5,
    "bins": 40,
    "key_channels": 16,
    "value_channels": 24,
    "context_channels": 8,
}


def tiny(**settings):
    """A network in eval mode whose norms know its features."""
    torch.manual_seed(0)
    network = create_model("acan", TINY | settings).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.rand(4, 3, 64, 96))
    return network.eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    network, path = tiny(), tmp_path_factory.mktemp("acan") / "tiny.safetensors"
    info = CheckpointInfo("tiny", "acan", to_mapping(network.config), ImageSize(64, 96), 50.0)
    save_checkpoint(path, network, info)
    return path


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("head", ["ordinal", "cross_entropy"])
def test_a_known_temperature_is_found(head, factor):
    """Truth drawn from logistic distributions whose evidence is then multiplied."""
    network = tiny(head=head)
    generator = torch.Generator().manual_seed(1)
    # In classes of depth: where each pixel's distribution lies, how wide it is, what came true.
    centre = 10 + 20 * torch.rand(15_000, generator=generator, dtype=torch.float64)
    width = 1 + 4 * torch.rand(15_000, generator=generator, dtype=torch.float64)
    drawn = torch.rand(15_000, generator=generator, dtype=torch.float64)
    truth = centre + width * torch.logit(drawn)
    edges = torch.arange(1, 41, dtype=torch.float64).view(-1, 1)
    evidence = (centre - edges) / width
    if head == "cross_entropy":
        exceeding = torch.cat((torch.ones(1, 15_000), evidence.sigmoid()))
        evidence = (exceeding[:-1] - exceeding[1:]).log()
    log_ratio = (truth - centre) * math.log(10.0 / 0.5) / 40
    pixels = Pixels(
        evidence=factor * evidence[None, :, :, None],
        depth_m=network.discretisation.threshold_m(centre)[None, None, :, None],
        right=log_ratio.abs() < math.log(1.25),
    )
    assert fit_temperature(network, pixels) == pytest.approx(factor, rel=0.04)
    before, after = (
        reliability(pixels.confidence(network, t), pixels.right) for t in (1.0, factor)
    )
    assert after.error < 0.01
    if factor != 1.0:
        assert before.error > 0.05 and after.brier < before.brier


def test_reliability_by_hand():
    table = reliability(
        torch.tensor([0.0, 0.05, 0.55, 0.65, 1.0]),
        torch.tensor([False, True, True, False, True]),
        bins=2,
    )
    assert table.pixels.tolist() == [2, 3]
    assert table.confidence.tolist() == pytest.approx([0.025, 2.2 / 3])
    assert table.right.tolist() == pytest.approx([1 / 2, 2 / 3])
    assert table.error == pytest.approx((2 * 0.475 + 3 * 0.2 / 3) / 5)
    assert table.brier == pytest.approx((0.95**2 + 0.45**2 + 0.65**2) / 5)


def test_right_is_what_the_metric_delta1_counts(checkpoint):
    """Scored as the node runs the network, focal length included."""
    network, info = load_network(checkpoint)
    camera = network_camera("rooms", info.image_size)
    info = replace(info, training_focal_px=camera.fx / 0.8)
    pixels = collect(network, info, "rooms", [5])
    assert pixels.evidence.shape == (1, 40, len(pixels.right), 1)
    predictor = DepthPredictor(network, info, InferenceConfig(device="cpu"))
    deltas = []
    for index in range(2):
        frame = training_frame("rooms", 5, index, camera.resized(144, 96))
        # 2x2 pixels of the network lie on 3x3 of the picture.
        deltas.append(depth_errors(predictor(frame.rgb, frame.camera), frame.depth_m).delta1)
    assert pixels.right.float().mean().item() == pytest.approx(sum(deltas) / 2, abs=0.05)
    assert 0.02 < pixels.right.float().mean().item() < 0.98


def test_from_checkpoint_to_checkpoint(checkpoint, tmp_path, capsys):
    out = tmp_path / "calibrated.safetensors"
    assert main([str(checkpoint), "--out", str(out), "--scenes", "1"]) == 0
    printed = capsys.readouterr().out
    assert "before (temperature 1.000)" in printed and "after (temperature " in printed
    (before, old), (after, new) = load_network(checkpoint), load_network(out)
    temperature = new.settings["confidence_temperature"]
    assert f"temperature {temperature:.3f}" in printed and temperature != 1.0
    assert (before.confidence_calibrated, after.confidence_calibrated) == (False, True)
    assert new.sha256 == old.sha256
    assert 0.0 <= new.scores["procedural_world_rooms.confidence_error"] <= 1.0
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(before(image), after(image))
        confidences = [n.products(image)["confidence"] for n in (before, after)]
    assert not torch.equal(*confidences)
    # Fitted again from there, the old temperature counts for nothing.
    assert main([str(out), "--out", str(tmp_path / "again.safetensors"), "--scenes", "1"]) == 0
    assert f"before (temperature {temperature:.3f})" in capsys.readouterr().out
    assert read_info(tmp_path / "again.safetensors").settings == new.settings


def test_scenes_are_held_out():
    assert FIRST_CALIBRATION_SEED + 100_000 < FIRST_TEST_SEED
    for path in (CHECKOUT / "config/training").rglob("*.yaml"):
        world = load_train_config(path).data.world
        if world is not None:
            assert max(*world.train_seeds, *world.validation_seeds) < FIRST_CALIBRATION_SEED


def test_what_has_no_confidence_is_refused(light_checkpoint, checkpoint, tmp_path, capsys):
    out = tmp_path / "x.safetensors"
    assert main([str(light_checkpoint), "--out", str(out)]) == 1
    assert "pwa, which has no confidence" in capsys.readouterr().err
    assert main([str(checkpoint), "--out", str(out), "--scenes", "0"]) == 1
    assert "--scenes is 0" in capsys.readouterr().err
    assert not out.exists()
