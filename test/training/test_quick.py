"""The quick check: the best constant, its recipes, and one tiny run to the table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.config import to_mapping
from mono_depth_ros.models import MODELS
from training import quick
from training.config import load_network_preset, load_train_config
from training.quick import RECIPES, best_constant
from training.train import train

RECIPE_FILES = sorted(RECIPES.glob("*.yaml"))
LARGEST_STEPS = 1000


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=9))
def test_no_other_constant_is_better(depths):
    """AbsRel of a constant is convex and bends at the depths only, so they are all to try."""
    depths_m = np.array(depths, np.float32)

    def abs_rel(constant):
        return np.mean(np.abs(constant - depths_m.astype(float)) / depths_m)

    chosen = best_constant([depths_m])
    assert abs_rel(chosen) == pytest.approx(min(map(abs_rel, depths_m.astype(float))))


def test_holes_do_not_count():
    assert best_constant([np.array([np.nan, 2.0, np.nan]), np.array([2.0, np.nan])]) == 2.0


def test_every_network_has_a_recipe_and_they_share_all_but_network_and_loss():
    configs = [load_train_config(path) for path in RECIPE_FILES]
    assert {load_network_preset(config.network).network for config in configs} == set(MODELS)
    assert len(configs) == len(MODELS)
    shared = []
    for path, config in zip(RECIPE_FILES, configs, strict=True):
        assert config.name == f"quick_{path.stem}"
        assert config.network == f"config/networks/{path.stem}_light.yaml"
        assert config.steps <= LARGEST_STEPS and config.backbone_weights == "none"
        settings = to_mapping(config)
        assert settings["network_settings"]["image_size"] == {"height": 128, "width": 160}
        shared.append(
            {
                k: v
                for k, v in settings.items()
                if k not in ("name", "network", "network_settings", "loss")
            }
        )
    assert all(settings == shared[0] for settings in shared)


def test_a_run_is_scored_against_the_best_constant(tmp_path, monkeypatch):
    """Two steps of a tiny PWA; the score's constant is checked by brute force on its own frames."""
    config = load_train_config(
        RECIPES / "pwa.yaml",
        [
            f"data.world.folder={tmp_path}",
            "data.world.train_seeds=[0, 2]",
            "data.world.validation_seeds=[100, 101]",
            "data.world.render_scale=1.0",
            "data.workers=0",
            "network_settings.image_size={height: 64, width: 96}",
            "network_settings.backbone_width=0.25",
            "steps=2",
            "batch_size=2",
            "device=cpu",
        ],
    )
    monkeypatch.setattr(quick, "TEST_SCENES", 2)
    checkpoint = train(config, tmp_path / "run")
    score = quick.score(config, checkpoint)
    assert score.steps == 2 and score.images == 2 * config.data.world.validation_frames_per_scene
    assert score.abs_rel > 0.0 and 0.5 < score.constant_m < 10.0
    assert 0.1 < score.constant_abs_rel < 1.0
    table = "\n".join(quick._table([score, replace(score, name="other", abs_rel=0.25)]))
    assert f"{score.abs_rel / score.constant_abs_rel:.3f}" in table
    assert f"{0.25 / score.constant_abs_rel:.3f}" in table


def test_an_unknown_network_is_refused(capsys):
    with pytest.raises(SystemExit):
        quick.main(["vgg"])
    assert "choose from acan, asc_gcm, hgc, hma, look_deeper, pwa" in capsys.readouterr().err
