"""Scores on held-out scenes."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from mono_depth_ros.world import make_scene, training_frame
from training.config import CHECKOUT, load_train_config
from training.evaluate import FIRST_TEST_SEED, main, score_on_world


def test_a_constant_answer_scores_as_the_constant_row():
    camera = make_scene("rooms", FIRST_TEST_SEED).camera
    truth_m = training_frame("rooms", FIRST_TEST_SEED, 0, camera).depth_m
    median_m = float(np.nanmedian(truth_m))
    scores = score_on_world(
        lambda rgb, _: np.full(rgb.shape[:2], median_m, np.float32), "rooms", 1, 1
    )
    assert scores.images == 1
    assert scores.constant_m == pytest.approx(median_m)
    for name, value in asdict(scores.constant).items():
        assert asdict(scores.model)[name] == pytest.approx(value, rel=1e-5), name
    valid_m = truth_m[np.isfinite(truth_m)].astype(np.float64)
    assert scores.model.abs_rel == pytest.approx(
        np.mean(abs(valid_m - median_m) / valid_m), rel=1e-5
    )


def test_no_recipe_touches_the_test_scenes():
    for path in (CHECKOUT / "config/training").glob("*.yaml"):
        data = load_train_config(path).data.world
        if data is None:
            continue
        assert max(*data.train_seeds, *data.validation_seeds) < FIRST_TEST_SEED


def test_command_prints_both_rows(light_checkpoint, capsys):
    assert (
        main([str(light_checkpoint), "--kind", "rooms", "--scenes", "1", "--frames-per-scene", "1"])
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert "procedural world, rooms, 1 images" in lines[0]
    model, constant = (line.split() for line in lines[2:])
    assert model[0] == "tiny" and constant[0] == "constant"
    assert all(math.isfinite(float(cell)) for cell in model[1:])
    assert main(["no_such_checkpoint"]) == 1
