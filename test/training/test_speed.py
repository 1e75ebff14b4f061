"""The loader benchmark runs on the world and on synthetic pictures of a recipe's real size."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

import cv2
import pytest
import tiny_run
import yaml
from small_recipes import small

from mono_depth_ros.world import training_frame
from training import speed
from training.config import CHECKOUT, load_train_config
from training.manifest import read_manifest
from training.speed import Speed, _table, main, synthetic_data

RECIPES = sorted((CHECKOUT / "config" / "training").glob("*.yaml"))


@cache
def coarse_frame(kind, seed, index, camera, device):
    """Return a frame in an eighth of the detail, which takes a hundredth of the time."""
    small_camera = camera.resized(camera.width // 8, camera.height // 8)
    frame = training_frame(kind, seed, index, small_camera, device)
    enlarged = {
        name: cv2.resize(
            getattr(frame, name), (camera.width, camera.height), interpolation=cv2.INTER_NEAREST
        )
        for name in ("rgb", "depth_m", "labels")
    }
    return replace(frame, **enlarged, camera=camera)


@pytest.fixture
def coarse(monkeypatch):
    monkeypatch.setattr(speed, "training_frame", coarse_frame)


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


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_measured_without_its_data(path, tmp_path, capsys, monkeypatch, coarse):
    """Also those that learn from labels, and those that continue a run nobody has here."""
    monkeypatch.setattr(speed, "_BLOCKS", 1)
    monkeypatch.setattr(speed, "_WARM_UP", 1)
    light = path.stem.startswith(("pwa_light", "variety"))
    whole = "augmentation=[{op: resize}, {op: flip}]"
    overrides = [*tiny_run.overrides(tmp_path), whole] if light else small(path.stem)
    assert main([str(path), *overrides, "--synthetic", "2", "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path.stem} on cpu") and "one batch kept" in printed


def test_the_world_gets_fewer_scenes(tmp_path):
    config = synthetic_data(tmp_path, load_train_config(tiny_run.RECIPE), 10)
    world = config.data.world
    # Four views of each scene.
    assert world.train_seeds == (0, 3) and world.validation_seeds == (1_000_000, 1_000_001)


@pytest.mark.parametrize(
    ("name", "size", "label_set"),
    [
        ("nyu", (480, 640), "nyu40"),
        ("kitti", (375, 1242), ""),
        ("stereo2015", (375, 1242), ""),
        ("cityscapes", (1024, 2048), "cityscapes"),
    ],
)
def test_synthetic_pictures_have_the_real_size(name, size, label_set, tmp_path, coarse):
    recipe = yaml.safe_load(tiny_run.RECIPE.read_text())
    recipe["data"] = {"prepared": [{"folder": f"data/{name}"}]}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    config = synthetic_data(tmp_path, load_train_config(path), 1)
    manifest = read_manifest(tmp_path / name)
    (record,) = manifest.records("train")
    assert config.data.prepared[0].folder == str(tmp_path / name)
    assert cv2.imread(str(tmp_path / record.image)).shape == (*size, 3)
    code = cv2.imread(str(tmp_path / record.depth.path), cv2.IMREAD_UNCHANGED)
    assert code.shape == size
    assert 0.3 < code[code > 0].min() / record.depth.scale < 80.0
    assert manifest.label_set == label_set
    if label_set:
        labels = cv2.imread(str(tmp_path / record.labels), cv2.IMREAD_UNCHANGED)
        assert labels.shape == size and len(set(labels.ravel().tolist())) > 2


@pytest.mark.long
def test_light_preset_at_its_real_size(capsys):
    """Prints what the loader costs here; a busy computer makes any bound on it a wrong one."""
    assert main([str(tiny_run.RECIPE), "--synthetic", "80", "--rounds", "10"]) == 0
    printed = capsys.readouterr().out
    with capsys.disabled():
        print(f"\n{printed}")
    loaded, cached = (float(n) for n in re.findall(r"([\d.]+) steps/s", printed))
    ratio = float(re.search(r"ratio +([\d.]+)", printed)[1])
    waiting = float(re.search(r"waiting for data +(\d+) %", printed)[1])
    # Two decimals are printed.
    assert ratio == pytest.approx(loaded / cached, abs=0.02)
    assert 0.0 <= waiting <= 100.0
