"""`python -m training.evaluate` on prepared data, from the checkpoint to the files it writes."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
import torch
from small_data import make_data

from mono_depth_ros.checkpoint import load_network, save_checkpoint
from mono_depth_ros.metrics import depth_errors, mean_over_images
from training.evaluate import main


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return prepared data of three frames of 64x96 in two scenes, depth with holes."""
    root = tmp_path_factory.mktemp("bag")
    rng = np.random.default_rng(0)
    rows = []
    for name in ("a_0", "a_1", "b_0"):
        red = rng.integers(0, 255, (64, 96), np.uint8)
        depth_m = np.rint(rng.uniform(1, 9, (64, 96)) * 256) / 256
        rows.append((name, red, np.where(rng.random((64, 96)) < 0.2, 0.0, depth_m)))
    make_data(root, "bag", {"validation": rows})
    return root / "prepared"


@pytest.fixture(scope="module")
def checkpoint(light_checkpoint, tmp_path_factory):
    """Return a checkpoint whose recipe has a view, so that the frame is not letterboxed."""
    network, info = load_network(light_checkpoint)
    recipe = {
        "view": {"crop": "none", "size": None},
        "data": {"prepared": [{"folder": "data/bag"}], "normalise_focal": False},
    }
    path = tmp_path_factory.mktemp("view") / "tiny.safetensors"
    save_checkpoint(path, network, replace(info, recipe=recipe), "float32")
    return path


def reference(checkpoint, data, flip=False):
    """Return the scores of all images, computed without any of the evaluation package."""
    network, _ = load_network(checkpoint)
    errors = []
    for name in ("a_0", "a_1", "b_0"):
        bgr = cv2.imread(str(data.parent / f"{name}.png"))
        image = torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1])).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            depth = network(image)
            if flip:
                depth = (depth + network(image.flip(-1)).flip(-1)) / 2
        code = cv2.imread(str(data.parent / f"{name}_depth.png"), cv2.IMREAD_UNCHANGED)
        truth_m = np.where(code > 0, code / 256.0, np.nan)
        errors.append(depth_errors(depth[0, 0].numpy(), truth_m))
    return mean_over_images(errors)


@pytest.mark.parametrize("flip", [False, True])
def test_from_checkpoint_to_scores(checkpoint, data, tmp_path, flip, capsys):
    out, table, picture = tmp_path / "s/scores.json", tmp_path / "i.csv", tmp_path / "c.png"
    command = [str(checkpoint), "--data", str(data), "--device", "cpu", "--draws", "50"]
    files = ["--out", str(out), "--per-image", str(table), "--confusion", str(picture)]
    assert main([*command, *files, *(["--flip"] if flip else [])]) == 0
    expected = reference(checkpoint, data, flip)
    record = json.loads(out.read_text())
    found = record["profiles"]["lidar"]
    for name, value in asdict(expected).items():
        assert found["scores"][name] == pytest.approx(value, rel=1e-5), name
    assert found["images"] == 3 and found["interval"]["low"]["count"] == 3
    assert found["interval"]["low"]["abs_rel"] <= expected.abs_rel
    assert record["checkpoint"]["name"] == "tiny" and record["about"]["flip averaging"] is flip
    assert record["ordinal"]["pixels"] > 0 and record["semantics"] is None
    rows = list(csv.DictReader(table.open()))
    assert [row["image"] for row in rows] == ["a_0", "a_1", "b_0"]
    mean = np.mean([float(row["rmse_m"]) for row in rows])
    assert mean == pytest.approx(expected.rmse_m, rel=1e-5)
    assert cv2.imread(str(picture)).shape == (640, 640, 3)
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if line.startswith("lidar "))
    assert f"{expected.abs_rel:.4f}" in line.split() and f"{expected.rmse_m:.3f}" in line.split()
    assert "95% of draws from" in text and "below 20 m" in text and "near depth edges" in text
    assert "depth of bag, split validation" in text and "prediction not clamped" in text
    assert "20 to 50 m" not in text


def test_saved_predictions_score_the_same(checkpoint, data, tmp_path, capsys):
    folder, first, second = tmp_path / "maps", tmp_path / "1.json", tmp_path / "2.json"
    given = ["--data", str(data), "--draws", "0"]
    assert (
        main([str(checkpoint), *given, "--save-predictions", str(folder), "--out", str(first)]) == 0
    )
    assert len(list(folder.glob("*.npy"))) == 3
    assert main(["--predictions", str(folder), *given, "--out", str(second)]) == 0
    one, two = json.loads(first.read_text()), json.loads(second.read_text())
    assert one["profiles"] == two["profiles"] and one["ordinal"] == two["ordinal"]
    assert one["checkpoint"] == two["checkpoint"]
    assert two["about"]["predictions"] == str(folder)
    capsys.readouterr()
    (folder / "a_1.npy").unlink()
    assert main(["--predictions", str(folder), *given]) == 0
    assert "LEFT OUT, 1 images" in capsys.readouterr().out
    assert main(["--predictions", str(folder), *given, "--strict"]) == 1
    assert "a_1.npy" in capsys.readouterr().err


def test_caps_ranges_and_scenes_are_options(checkpoint, data, tmp_path):
    out = tmp_path / "scores.json"
    options = ["--profile", "lidar", "--profile", "lidar@4", "--ranges", "0-2,2-4", "--no-edges"]
    options += ["--draw", "group", "--draws", "20", "--out", str(out)]
    assert main([str(checkpoint), "--data", str(data), *options]) == 0
    record = json.loads(out.read_text())
    assert list(record["profiles"]) == ["lidar", "lidar@4"]
    assert record["profiles"]["lidar@4"]["protocol"]["cap_m"] == 4.0
    assert list(record["profiles"]["lidar"]["strata"]) == ["below 2 m", "2 to 4 m"]
    assert record["profiles"]["lidar"]["interval"]["low"]["count"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a checkpoint or --predictions"),
        (["x", "--predictions", "y"], "name a checkpoint or --predictions"),
        (["--predictions", "y"], "needs --data"),
        (["x", "--data", "d", "--kind", "rooms"], "one of the two"),
        (["CHECKPOINT", "--data", "nowhere"], "holds no prepared data"),
        (["CHECKPOINT", "--data", "DATA", "--profile", "kitti-garg"], "no profile 'kitti-garg'"),
        (["CHECKPOINT", "--data", "DATA", "--split", "test"], "nothing to score against"),
        (["CHECKPOINT", "--data", "DATA", "--size", "64"], "HEIGHTxWIDTH"),
        (["CHECKPOINT", "--data", "DATA", "--png-scale", "256"], "belongs to --predictions"),
        (["CHECKPOINT", "--data", "DATA", "--crop", "kb"], "none of 3 images could be scored"),
        (["CHECKPOINT", "--data", "DATA", "--ranges", "4"], "range '4'"),
        (["CHECKPOINT", "--data", "DATA", "--draws", "-1"], "bootstrap"),
        (["--predictions", "DATA", "--data", "DATA"], "no predictions.json"),
        (["--predictions", "DATA", "--data", "DATA", "--flip"], "need a checkpoint"),
    ],
)
def test_mistakes_are_explained(arguments, message, checkpoint, data, capsys):
    names = {"CHECKPOINT": str(checkpoint), "DATA": str(data)}
    assert main([names.get(argument, argument) for argument in arguments]) == 1
    assert message in capsys.readouterr().err


def test_without_data_the_recipes_own_is_taken(light_checkpoint, tmp_path, data, capsys):
    network, info = load_network(light_checkpoint)
    recipe = {"view": None, "data": {"prepared": [{"folder": str(data)}]}}
    path = tmp_path / "own.safetensors"
    save_checkpoint(path, network, replace(info, recipe=recipe))
    assert main([str(path), "--draws", "0"]) == 0
    assert "tiny on bag (made up)" in capsys.readouterr().out
