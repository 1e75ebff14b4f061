"""The study on the procedural world: its queue, its recipes, its results, and its verdicts."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from mono_depth_ros.config import from_mapping
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.models import create_model
from training import study
from training.config import load_network_preset
from training.results import main as results_main
from training.studies import Claim, Study, load_studies
from training.study_claims import claim_outcome, outcome, read_results

PROTOCOL = study.load_protocol()
FIRST = [job for job in study.jobs(PROTOCOL) if job.seed == 0]


@pytest.mark.parametrize("job", FIRST, ids=lambda job: job.name)
def test_row_builds_small_and_differs_from_its_light_preset_as_the_table_says(job):
    config = study.recipe_of(job, PROTOCOL)
    preset = load_network_preset(config.network)
    network = create_model(preset.network, {**preset.settings, **config.network_settings})
    assert sum(parameter.numel() for parameter in network.parameters()) < 2_000_000
    assert network.config.backbone == "mobilenet_v2"
    assert tuple(config.network_settings["image_size"].values()) == (128, 160)
    asked = {
        **job.study.settings,
        **job.row.settings,
        **(job.study.on_world or {}).get(job.row.key, {}),
    }
    for key, value in asked.items():
        if key not in ("backbone", "image_size"):
            got = getattr(network.config, key)
            assert (list(got) if isinstance(got, tuple) else got) == value, key
    assert not config.initial_checkpoint and not config.initial_encoder


def test_every_row_has_one_seed_before_any_has_two():
    queue = [(job.row.key, job.seed) for job in study.jobs(PROTOCOL, ["hma_table3"])]
    assert len(queue) == 5 * PROTOCOL.seeds
    assert [seed for _, seed in queue] == [0] * 5 + [1] * 5 + [2] * 5
    with pytest.raises(ConfigError, match="no table 'hma_table9'"):
        list(study.jobs(PROTOCOL, ["hma_table9"]))


def test_rows_can_be_chosen():
    asked = ["pwa_table1/pwa_64_px", "hma_table3/base", "pwa_table1/baseline"]
    queue = [(job.row.key, job.seed) for job in study.jobs(PROTOCOL, asked)]
    first = [("baseline", 0), ("pwa_64_px", 0), ("baseline", 1), ("pwa_64_px", 1)]
    assert queue[:4] == first
    assert queue[6:] == [("base", 0), ("base", 1), ("base", 2)]
    with pytest.raises(ConfigError, match="no row 'pwa_256_px'; it has baseline, cbam"):
        list(study.jobs(PROTOCOL, ["pwa_table1/pwa_256_px"]))


def test_rows_of_a_table_share_all_but_network_and_loss():
    shared = [
        replace(study.recipe_of(job, PROTOCOL), name="", network="", network_settings={}, loss=None)
        for job in FIRST
    ]
    assert all(recipe == shared[0] for recipe in shared)


def test_claims_and_world_rows_name_rows_of_their_table():
    values = {"name": "t", "network": "hma", "table": "T", "recipes": {}, "rows": [{"name": "a"}]}
    claim = {"says": "a beats b", "better": "a", "than": "b"}
    with pytest.raises(ConfigError, match="claims something of 'b'"):
        from_mapping(Study, {**values, "claims": [claim]})
    with pytest.raises(ConfigError, match="no row 'c' for the procedural world"):
        from_mapping(Study, {**values, "on_world": {"c": {}}})
    assert sum(len(table.claims) for table in load_studies().values()) >= 18


def test_verdicts_against_a_t_table():
    """Gains 0.02, 0.03 and 0.04: SD 0.01, SE 0.005774, 2 degrees of freedom, t 4.303."""
    low, high = {0: 0.19, 1: 0.30, 2: 0.41}, {0: 0.21, 1: 0.33, 2: 0.45, 7: 0.9}
    found = outcome(low, high)
    assert found.verdict == "confirmed" and found.runs == (3, 4)
    assert found.gain == pytest.approx(0.03)
    assert (found.low, found.high) == pytest.approx((0.03 - 0.02484, 0.03 + 0.02484), abs=2e-5)
    assert outcome(high, low).verdict == "not confirmed"
    assert outcome({0: 0.19, 1: 0.21}, {0: 0.20, 1: 0.20}).verdict == "undecided"
    once = outcome({3: 0.2}, {3: 0.3, 4: 0.2})
    assert (once.verdict, once.gain) == ("undecided", pytest.approx(0.1))
    for better in ({}, {1: 0.2}):
        found = outcome(better, {0: 0.3})
        assert found.verdict == "not run" and math.isnan(found.gain)


def test_a_run_leaves_a_result_and_is_not_repeated(tmp_path, monkeypatch, tiny_study):
    """Three steps on two rooms; the second call finds everything done."""
    assert study.work(tiny_study, ["acan_table1"], tmp_path) == (2, 2)
    results = read_results(tmp_path)
    assert {(r.table, r.row, r.seed) for r in results} == {
        ("acan_table1", "without_attention_loss", 0),
        ("acan_table1", "with_attention_loss", 0),
    }
    assert all(0.0 < result.scores["abs_rel"] < 2.0 for result in results)
    monkeypatch.setattr(study, "run_job", lambda *_: pytest.fail("ran a job that is done"))
    assert study.work(tiny_study, ["acan_table1"], tmp_path) == (2, 2)


def test_no_time_left_starts_nothing(tmp_path, tiny_study):
    assert study.work(tiny_study, ["acan_table1"], tmp_path, budget_s=0.0) == (0, 2)
    with pytest.raises(DataError, match="holds no result"):
        read_results(tmp_path)


def test_results_command_prints_rows_and_claims(tmp_path, capsys):
    for seed, (better, worse) in enumerate([(0.19, 0.21), (0.20, 0.23), (0.21, 0.25)]):
        for row, value in (("with_attention_loss", better), ("without_attention_loss", worse)):
            content = {"format": 1, "table": "acan_table1", "row": row, "seed": seed}
            content["scores"] = {"abs_rel": value}
            (tmp_path / f"{row}{seed}.json").write_text(json.dumps(content))
    assert results_main(["--table", "ACAN, Table I", "--study", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "confirmed: the attention loss helps (AbsRel lower by +0.0300" in printed
    assert "0.2000   0.0058   3" in printed
    assert "not run: the image context helps" in printed
    table = load_studies()["acan_table1"]
    claim = Claim("says", "with attention loss", "without attention loss")
    assert claim_outcome(read_results(tmp_path), table, claim).runs == (3, 3)
    (tmp_path / "broken.json").write_text("{")
    assert results_main(["--study", str(tmp_path)]) == 1
    assert "broken.json is no result" in capsys.readouterr().err


@pytest.fixture
def tiny_study(tmp_path_factory, monkeypatch):
    """The protocol with three steps, two scenes, one seed, one test scene."""
    scored = study.score_on_world
    monkeypatch.setattr(study, "score_on_world", lambda predictor, kind: scored(predictor, kind, 1))
    world = {
        "kind": "rooms",
        "folder": str(tmp_path_factory.mktemp("world")),
        "train_seeds": [0, 2],
        "validation_seeds": [1000000, 1000001],
        "variety": [],
    }
    small = {
        "steps": 3,
        "batch_size": 2,
        "validate_every": 3,
        "data": {"world": world, "workers": 0},
    }
    return replace(PROTOCOL, seeds=1, recipe={**PROTOCOL.recipe, **small, "device": "cpu"})
