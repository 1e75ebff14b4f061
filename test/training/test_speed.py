"""The loader benchmark runs on the world and on synthetic pictures of a recipe's real size."""

from __future__ import annotations

import cv2
import pytest
import tiny_run
import yaml

from training.config import load_train_config
from training.manifest import read_manifest
from training.speed import Speed, _table, main, synthetic_data


def test_command_prints_both_speeds_and_their_ratio(tmp_path, capsys):
    arguments = [str(tiny_run.RECIPE), *tiny_run.overrides(tmp_path), "--rounds", "2"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "4 images per step" in printed and "with the loader" in printed


def test_table_is_worked_out_by_hand(tmp_path):
    """0.5 s a step with, 0.4 s without the loader, of which 0.1 s are spent waiting."""
    speed = Speed(loaded_s=0.5, cached_s=0.4, waited_s=0.1, images=4)
    lines = _table(tiny_run.load(tmp_path), "cpu", speed)
    assert lines[1].split()[-4:] == ["2.00", "steps/s", "8.0", "images/s"]
    assert lines[2].split()[-4:] == ["2.50", "steps/s", "10.0", "images/s"]
    assert lines[3].split() == ["ratio", "0.80"]
    assert "20 % of a step; raise data.workers" in lines[4]


def test_synthetic_pictures_have_the_real_size(tmp_path):
    recipe = yaml.safe_load(tiny_run.RECIPE.read_text())
    recipe["data"] = {"prepared": [{"folder": "data/kitti"}]}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    config = synthetic_data(tmp_path, load_train_config(path), 1)
    manifest = read_manifest(tmp_path / "kitti")
    (record,) = manifest.records("train")
    assert config.data.prepared[0].folder == str(tmp_path / "kitti")
    assert cv2.imread(str(tmp_path / record.image)).shape == (375, 1242, 3)
    code = cv2.imread(str(tmp_path / record.depth.path), cv2.IMREAD_UNCHANGED)
    assert code.shape == (375, 1242) and record.depth.scale == pytest.approx(256.0)
    assert 1.0 < code[code > 0].min() / 256.0 < 80.0
