"""Every row of every table gives a recipe, and its figures are metrics in a sensible range."""

from __future__ import annotations

import pytest
import yaml

from mono_depth_ros.config import from_mapping
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import MODELS
from training.config import TrainConfig, load_network_preset
from training.studies import Study, StudyRow, addresses, load_studies, main, recipe_at, study_recipe

STUDIES = load_studies()
ROWS = [(name, row.key) for name, study in STUDIES.items() for row in study.rows]
every_row = pytest.mark.parametrize(("name", "key"), ROWS, ids=["-".join(row) for row in ROWS])

SHARES = {"delta1", "delta2", "delta3"}
ERRORS = {"abs_rel", "sq_rel", "rmse_m", "rmse_log", "log10", "silog", "mean_log"}
DEVKIT = {"silog", "sq_rel_percent", "abs_rel_percent", "irmse_per_km"}
CHANGES = {"rmse_m_gain", "mean_iou_gain"}
PROFILES = {
    "nyu": {"nyu", "nyu_8m", "nyu_6m", "nyu_4m"},
    "kitti": {"kitti", "kitti_50m"},
    "kitti_benchmark": {"kitti_benchmark"},
    "streets": set(),
}


def at(name, key):
    return STUDIES[name], STUDIES[name].row(key)


@every_row
def test_row_is_a_recipe_for_its_network(name, key):
    study, row = at(name, key)
    for dataset in row.recipes or study.recipes:
        config = from_mapping(TrainConfig, study_recipe(study, row, dataset))
        assert load_network_preset(config.network).network == study.network
        assert config.name == f"{name}-{key}-{dataset}"
        changed = {**study.settings, **row.settings}
        assert config.network_settings.items() >= changed.items()
        assert study.settings_of(row, dataset).items() >= config.network_settings.items()
        assert study.loss_of(row, dataset) == config.loss


@pytest.mark.parametrize("name", STUDIES)
def test_rows_differ_from_each_other(name):
    study = STUDIES[name]
    dataset = next(iter(study.recipes))
    recipes = [study_recipe(study, row, dataset) | {"name": ""} for row in study.rows]
    for i, first in enumerate(recipes):
        assert first not in recipes[:i], study.rows[i].name


@pytest.mark.parametrize("name", STUDIES)
def test_printed_figures_are_metrics_in_their_range(name):
    study = STUDIES[name]
    for row in study.rows:
        profiles = set().union(*(PROFILES[dataset] for dataset in study.recipes))
        assert set(row.paper) <= profiles, row.name
        for figures in row.paper.values():
            assert set(figures) <= SHARES | ERRORS | DEVKIT | CHANGES, row.name
            shares = [figures[key] for key in ("delta1", "delta2", "delta3") if key in figures]
            assert shares == sorted(shares) and all(0.4 < share < 1.0 for share in shares)
            assert all(0.0 < figures[key] < 30.0 for key in (ERRORS | DEVKIT) & set(figures))


def test_every_network_of_a_paper_has_a_table():
    """HGC is ours, and no paper has figures of it."""
    assert {study.network for study in STUDIES.values()} == set(MODELS) - {"hgc"}


def test_every_table_of_the_papers_is_there():
    """As far as their texts can be read; Look Deeper has the supplement's only."""
    tables = " ".join(study.table.replace(",", "") for study in STUDIES.values())
    for paper, numbers in {
        "PWA": ("Table 1", "Table 3", "Tables 2 4 and 5"),
        "HMA-Depth": ("Tables 1 and 2", "Table 3"),
        "ACAN": ("Table I", "Table II", "Table III", "Tables IV and V"),
        "ASC+GCM": ("Tables 1 and 2", "Table 3", "Table 4", "Table 5"),
        "Look Deeper supplement": ("Table 1", "Table 2", "Tables 4 to 7", "Table 8", "section 8"),
    }.items():
        for number in numbers:
            assert f"{paper} {number}" in tables


class TestStages:
    def test_a_row_that_continues_another_has_weights_of_the_same_shapes(self):
        continued = [(s, row) for s in STUDIES.values() for row in s.rows if row.start_from]
        assert continued
        for study, row in continued:
            first = study.row(row.start_from)
            # Hard and soft inference read the same logits.
            assert list(study.recipes) == list(first.recipes or study.recipes)
            for dataset in study.recipes:
                ours = study.settings_of(row, dataset) | {"inference": ""}
                assert study.settings_of(first, dataset) | {"inference": ""} == ours

    def test_second_stage_of_acan(self):
        first = recipe_at("acan_table1/without_attention_loss/kitti")
        second = recipe_at("acan_table1/with_attention_loss/kitti")
        assert first["loss"] == {"ordinal": {}} and "initial_checkpoint" not in first
        assert second["loss"] == {"ordinal": {}, "attention": {"weight": 1.0}}
        path = f"runs/{first['name']}/best.safetensors"
        assert second["initial_checkpoint"] == path
        assert path == "runs/acan_table1-without_attention_loss-kitti/best.safetensors"
        assert (first["epochs"], second["epochs"]) == (50, 10)

    def test_fine_tuned_structure_of_look_deeper(self):
        recipe = recipe_at("look_deeper_table1/fine_tuned_semantics_then_depth/nyu")
        assert recipe["loss"] == {"squared_error": {}}
        assert recipe["initial_checkpoint"].startswith("runs/look_deeper_table1-single_semantics-")


class TestSettings:
    def test_of_recipe_table_and_row_come_together(self):
        recipe = recipe_at("pwa_table1/pwa_128_px/kitti")
        assert recipe["network_settings"] == {
            "image_size": {"height": 352, "width": 1216},
            "max_depth_m": 80.0,
            "dense_aspp": False,
            "patch_size": 128,
        }
        assert recipe["loss"]["silog"]["nearest_m"] == 1.0

    def test_larger_backbones_of_pwa_learn_slower(self):
        rates = {
            row: recipe_at(f"pwa_backbones/{row}/nyu")["optimizer"]["learning_rate"]
            for row in ("mobilenetv2", "densenet161", "resnext101")
        }
        assert rates == {"mobilenetv2": 5e-4, "densenet161": 1e-4, "resnext101": 1e-4}

    def test_a_change_leaves_the_rest_of_its_section(self):
        optimizer = recipe_at("hma_backbones/densenet161/kitti")["optimizer"]
        assert optimizer["frozen"] == ["encoder.stages.0.conv0", "encoder.*.norm"]
        assert optimizer["algorithm"] == "adamw" and optimizer["final_rate"] == 0.1


class TestMistakes:
    def test_two_rows_of_one_name(self):
        rows = (StudyRow("+ a"), StudyRow("a"))
        with pytest.raises(ConfigError, match="two rows of one name"):
            Study("t", "pwa", "Table 0", {"nyu": "pwa_nyu"}, rows)

    def test_no_row_to_start_from(self):
        with pytest.raises(ConfigError, match="no row b"):
            Study("t", "pwa", "Table 0", {"nyu": "pwa_nyu"}, (StudyRow("a", start_from="b"),))

    @pytest.mark.parametrize(
        ("address", "message"),
        [
            ("pwa_table9/baseline/nyu", "TABLE/ROW/DATASET with a table of acan_backbones,"),
            ("pwa_table1/s64/nyu", "no row 's64'; it has baseline, cbam,"),
            ("pwa_table1/baseline/depth", "no data set 'depth'; it has nyu, kitti"),
        ],
    )
    def test_address(self, address, message):
        with pytest.raises(ConfigError, match=message):
            recipe_at(address)


class TestCommand:
    def test_lists_every_row(self, capsys):
        assert main([]) == 0
        printed = capsys.readouterr().out.splitlines()
        assert printed == list(addresses()) and "hma_table3/3_scale_w_o_h_8/nyu" in printed

    def test_prints_a_recipe(self, capsys):
        assert main(["acan_table2/with_image_context/nyu"]) == 0
        recipe = yaml.safe_load(capsys.readouterr().out)
        assert recipe == recipe_at("acan_table2/with_image_context/nyu")

    def test_reports_a_mistake(self, capsys):
        assert main(["pwa_table1/baseline/depth"]) == 1
        assert "no data set 'depth'" in capsys.readouterr().err
