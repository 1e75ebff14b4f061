"""Every road of the papers' data, end to end: prepare, some steps, evaluate, a picture's depth.

Small copies of the data in their real layouts; networks with MobileNetV2, most at 64x96.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from layouts import bag, cityscapes, kitti, nyu, stereo2015
from small_recipes import SIZE, narrow, small

from mono_depth_ros.checkpoint import load_network
from mono_depth_ros.cli.main import main as mono_depth
from training import evaluate
from training.config import CHECKOUT, load_train_config
from training.manifest import write_manifest
from training.prepare.__main__ import main as prepare_command
from training.prepare.checks import check
from training.prepare.nyu import prepare as prepare_nyu
from training.train import main as train_command

TRAIN, HELD_OUT, TEST = (f"2011_09_26_drive_{number}_sync" for number in ("0001", "0005", "0002"))


def write_nyu(root, out):
    assert prepare_command(["nyu", str(nyu.write_bts(root)), str(out)]) == 0


def write_nyu_labelled(root, out):
    """The toy file has other fingerprints than the published one, which the command insists on."""
    tables = nyu.write_labelled(root).tables
    write_manifest(out, check(prepare_nyu(root, out, tables=tables)))


def write_acan_export(root, out):
    assert prepare_command(["nyu", str(nyu.write_acan(root)), str(out)]) == 0


def write_kitti(root, out):
    frames = {TRAIN: range(5, 8), HELD_OUT: range(5, 7), TEST: (6, 9)}
    kitti.write_kitti(root, frames)
    assert prepare_command(["kitti", str(root), str(out)]) == 0


def write_kitti_benchmark(root, out):
    kitti.write_kitti(kitti.write_selection(root), {TRAIN: (5, 6)}, cameras=("02",))
    assert prepare_command(["kitti", str(root), str(out)]) == 0


def write_bag(root, out):
    recording, extracted = bag.write_bag(root / "recording"), root / "extracted"
    assert mono_depth(["extract", str(recording), str(extracted)]) == 0
    assert prepare_command(["bag", str(extracted), str(out)]) == 0


ROADS = [
    ("pwa_nyu", write_nyu, ("train", "validation")),
    ("acan_nyu", write_acan_export, ("train", "validation")),
    ("hma_kitti", write_kitti, ("eigen_train", "eigen_validation")),
    ("asc_gcm_kitti", write_kitti, ("eigen_train", "eigen_validation")),
    ("pwa_kitti", write_bag, ("train", "validation")),
]


def train(recipe, overrides, out):
    """Train a recipe; return the path of its best checkpoint and the lines of its losses."""
    path = CHECKOUT / "config" / "training" / f"{recipe}.yaml"
    assert train_command([str(path), *overrides, "--out", str(out)]) == 0
    lines = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "loss" in line]
    assert [line["step"] for line in losses] == list(range(1, len(losses) + 1))
    assert all(np.isfinite(line["loss"]) for line in losses)
    return out / "best.safetensors", losses


def data(out, train, validation):
    return f"data.prepared=[{{folder: {out}, train: {train}, validation: {validation}}}]"


@pytest.mark.parametrize(("recipe", "write", "splits"), ROADS, ids=lambda value: str(value)[:20])
def test_road(recipe, write, splits, tmp_path):
    root, out = tmp_path / "owned", tmp_path / "prepared"
    root.mkdir()
    write(root, out)
    checkpoint, losses = train(recipe, small(recipe, data(out, *splits)), tmp_path / "run")
    network, info = load_network(checkpoint)
    assert info.recipe["steps_done"] == len(losses) == 20 and info.recipe["data_digests"]
    assert info.training_focal_px > 0
    # ACAN's export has no test images.
    split = ("--split", "validation") if write is write_acan_export else ()
    assert_evaluates(checkpoint, out, tmp_path, *split)
    assert_gives_depth(checkpoint, tmp_path, network.max_depth_m)


class TestOwnImages:
    """With the recipe's own augmentation and view, on frames of the real size."""

    def test_nyu(self, tmp_path):
        root, out = tmp_path / "owned", tmp_path / "prepared"
        root.mkdir()
        write_nyu_labelled(root, out)
        # Its last step of augmentation shrinks to the size of the network.
        parts = data(out, "train795_all", "train795_all")
        overrides = narrow("look_deeper_nyu", SIZE[0], parts)
        checkpoint, losses = train("look_deeper_nyu", overrides, tmp_path / "run")
        recipe = load_network(checkpoint)[1].recipe
        assert len(losses) == 20 and recipe["view"] is None
        steps = [step["op"] for step in recipe["augmentation"]]
        assert steps[:4] == ["scale", "rotate", "random_crop", "resize"]
        scores = assert_evaluates(checkpoint, out, tmp_path)
        assert scores["semantics"]["pixels"] > 0
        assert_gives_depth(checkpoint, tmp_path, 10.0)

    def test_kitti_benchmark(self, tmp_path):
        """Chosen and scored on val_selection_cropped, whose frames are the crop already."""
        root, out = tmp_path / "owned", tmp_path / "prepared"
        root.mkdir()
        write_kitti_benchmark(root, out)
        overrides = narrow("pwa_kitti_benchmark", data(out, "benchmark_train", "selection"))
        overrides += ("steps=2", "validate_every=2")
        checkpoint, losses = train("pwa_kitti_benchmark", overrides, tmp_path / "run")
        network, info = load_network(checkpoint)
        assert len(losses) == 2 and info.recipe["view"]["crop"] == "kb"
        assert (info.image_size.height, info.image_size.width) == (352, 1216)
        scores = assert_evaluates(checkpoint, out, tmp_path, "--profile", "kitti-benchmark")
        profile = scores["profiles"]["kitti-benchmark"]
        assert (profile["split"], profile["images"]) == ("selection", 2)
        assert profile["devkit"]["irmse_per_km"] > 0 and scores["left_out"] == []
        assert_gives_depth(checkpoint, tmp_path, network.max_depth_m)


@pytest.mark.parametrize("disparity", [True, False], ids=["with disparity", "labels alone"])
def test_outdoor_road_of_look_deeper(disparity, tmp_path):
    """Depth from one data set, labels from the other, in turns."""
    depth, labels, run = tmp_path / "stereo2015", tmp_path / "cityscapes", tmp_path / "run"
    stereo = stereo2015.write_stereo2015(tmp_path / "owned_depth")
    assert prepare_command(["stereo2015", str(stereo), str(depth)]) == 0
    parts = ("leftImg8bit", "gtFine", "camera", *(["disparity"] if disparity else []))
    cities = cityscapes.write_cityscapes(tmp_path / "owned_labels", parts=parts)
    assert prepare_command(["cityscapes", str(cities), str(labels)]) == 0
    overrides = small(
        "look_deeper_streets",
        f"data.prepared=[{{folder: {depth}}}, {{folder: {labels}, train: train200}}]",
        "initial_checkpoint=''",
        "initial_checkpoint_except=[]",
    )
    checkpoint, losses = train("look_deeper_streets", overrides, run)
    # Odd steps have depth, even ones labels, and depth where Cityscapes has it.
    of_depth, of_labels = losses[::2], losses[1::2]
    assert len(of_depth) == len(of_labels) == 10
    assert not any("loss/focal_semantic" in line for line in of_depth)
    assert all(line["loss/depth_aware"] > 0.0 for line in of_depth)
    assert all(line["loss/focal_semantic"] > 0.0 for line in of_labels)
    assert all(("loss/depth_aware" in line) == disparity for line in of_labels)

    scores = assert_evaluates(checkpoint, depth, tmp_path)
    assert scores["profiles"]["lidar"]["scores"]["abs_rel"] > 0 and scores["semantics"] is None
    scores = assert_evaluates(checkpoint, labels, tmp_path)
    assert (scores["profiles"]["lidar"]["scores"]["abs_rel"] is not None) == disparity
    assert scores["semantics"]["pixels"] > 0 and 0.0 <= scores["semantics"]["mean_iou"] <= 1.0
    assert_gives_depth(checkpoint, tmp_path, 80.0)


def assert_evaluates(checkpoint, prepared, folder, *more):
    scores = folder / "scores.json"
    arguments = [str(checkpoint), "--data", str(prepared), "--draws", "10", *more]
    assert evaluate.main([*arguments, "--out", str(scores)]) == 0
    text = scores.read_text()
    assert "abs_rel" in text and "NaN" not in text
    return json.loads(text)


def assert_gives_depth(checkpoint, folder, max_depth_m):
    picture, out = folder / "picture.png", folder / "depth"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (96, 144, 3), np.uint8))
    arguments = ["image", str(picture), "--checkpoint", str(checkpoint), "--out", str(out)]
    assert mono_depth([*arguments, "--npy", "--device", "cpu"]) == 0
    depth_m = np.load(next(out.glob("*.npy")))
    assert depth_m.shape == (96, 144)
    assert ((depth_m > 0) & (depth_m <= max_depth_m)).all()


def test_recipes_are_what_the_roads_say():
    for recipe, _, _ in ROADS:
        path = CHECKOUT / "config" / "training" / f"{recipe}.yaml"
        assert load_train_config(path).name == recipe
