"""Shipping: scores go into the checkpoint and its card, and worse never replaces better."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mono_depth_ros.checkpoint import copy_checkpoint, load_network, read_info
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from training import ship
from training.evaluation.world import score_on_world

RECIPE = {
    "data": {
        "world": {
            "kind": "rooms",
            "train_seeds": [0, 8000],
            "frames_per_scene": 2,
            "variety": ["cameras", "light"],
            "focal_jitter": 0.3,
        }
    },
    "steps_done": 70,
    "batch_size": 48,
    "seconds": 5400.0,
}


@pytest.fixture
def checkpoint(light_checkpoint, tmp_path, monkeypatch):
    """A network that nobody trained, with the recipe of one; two scenes instead of all."""
    monkeypatch.setattr(ship, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(ship, "SAMPLE", 1)
    monkeypatch.setattr(
        ship,
        "score_on_world",
        lambda predictor, kind, scenes=2: score_on_world(predictor, kind, scenes),
    )
    path = tmp_path / "run.safetensors"
    copy_checkpoint(light_checkpoint, path, replace(read_info(light_checkpoint), recipe=RECIPE))
    return path


def test_scores_go_into_the_checkpoint_and_the_card(checkpoint, tmp_path, capsys):
    assert ship.main([str(checkpoint)]) == 0
    printed = capsys.readouterr().out
    info = read_info(tmp_path / "shipped/tiny.safetensors")
    assert info.sha256 == read_info(checkpoint).sha256
    predictor = DepthPredictor.load(checkpoint, InferenceConfig(device="cpu"))
    for place, scenes in (("world_test_v1_rooms", 2), ("world_test_v1_rooms_first_1", 1)):
        expected = score_on_world(predictor, "rooms", scenes).model
        assert info.scores[f"{place}.abs_rel"] == pytest.approx(expected.abs_rel, rel=1e-6)
        assert info.scores[f"{place}.delta1"] == pytest.approx(expected.delta1, rel=1e-6)
    card = (tmp_path / "shipped/tiny.md").read_text()
    assert card == printed
    assert "scenes 0 to 7999, 2 frames of each; varied: cameras, light; focal length ±30 %" in card
    assert "70 steps of 48 images, 1.5 h" in card
    assert f"{info.scores['world_test_v1_rooms.abs_rel']:.4f}" in card
    assert "zero-shot" not in card and "## Not good for" in card


def test_only_a_better_one_replaces_it(checkpoint, tmp_path, capsys):
    assert ship.main([str(checkpoint)]) == 0
    capsys.readouterr()
    assert ship.main([str(checkpoint)]) == 1
    assert "only replaced by a better one" in capsys.readouterr().err
    assert ship.main([str(checkpoint), "--force"]) == 0
    shipped = tmp_path / "shipped/tiny.safetensors"
    info = read_info(shipped)
    worse = {"world_test_v1_rooms.abs_rel": info.scores["world_test_v1_rooms.abs_rel"] + 0.01}
    copy_checkpoint(checkpoint, shipped, replace(info, scores=worse))
    assert ship.main([str(checkpoint)]) == 0
    assert read_info(shipped).scores == info.scores
    network, _ = load_network(shipped)
    assert not network.training
