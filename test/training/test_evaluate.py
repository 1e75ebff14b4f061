"""Scores on held-out scenes."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from training.config import CHECKOUT, load_train_config
from training.evaluate import main
from training.evaluation.world import score_on_world
from training.evaluation.world_test import FIRST_TEST_SEED, test_frames


def test_a_constant_answer_scores_as_the_constant_row():
    (truth_m,) = (frame.depth_m for frame in test_frames("rooms", 1))
    median_m = float(np.nanmedian(truth_m))
    scores = score_on_world(
        lambda rgb, _: np.full(rgb.shape[:2], median_m, np.float32), "rooms", scenes=1
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
    for path in (CHECKOUT / "config/training").rglob("*.yaml"):
        data = load_train_config(path).data.world
        if data is None:
            continue
        assert max(*data.train_seeds, *data.validation_seeds) < FIRST_TEST_SEED


def test_command_prints_both_rows(light_checkpoint, capsys):
    assert main([str(light_checkpoint), "--kind", "rooms", "--scenes", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "world test set v1, procedural rooms, 1 of 200 images"
    model, constant = (line.split() for line in lines[2:])
    assert model[0] == "tiny" and constant[0] == "constant"
    assert all(math.isfinite(float(cell)) for cell in model[1:])
    assert main(["no_such_checkpoint"]) == 1
