"""Every road of the papers' data, end to end: prepare, 20 steps, evaluate, a picture's depth.

Small copies of the data in their real layouts; networks with MobileNetV2 at 64x96.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from layouts import bag, cityscapes, kitti, nyu, stereo2015

from mono_depth_ros.checkpoint import load_network
from mono_depth_ros.cli.main import main as mono_depth
from training import evaluate, prepare
from training.config import CHECKOUT, load_train_config
from training.manifest import write_manifest
from training.prepare.__main__ import main as prepare_command
from training.prepare.checks import check
from training.train import main as train_command

TRAIN, HELD_OUT, TEST = (f"2011_09_26_drive_{number}_sync" for number in ("0001", "0005", "0002"))
SMALL = (
    "network_settings.backbone=mobilenet_v2",
    "network_settings.backbone_width=0.25",
    "network_settings.image_size={height: 64, width: 96}",
    "backbone_weights=none",
    "view={size: {height: 64, width: 96}}",
    "augmentation=[{op: resize}, {op: flip}]",
    "optimizer.frozen=[]",
    "epochs=null",
    "steps=20",
    "batch_size=2",
    "validate_every=20",
    "data.workers=0",
    "device=cpu",
)
WIDTHS = {
    "pwa": ("decoder_channels=[16, 16, 16, 8, 8]", "aspp_bottleneck=16", "aspp_growth=8"),
    "hma": ("num_features=32", "head_channels=8", "attention_channels=8"),
    "acan": ("key_channels=16", "value_channels=32", "context_channels=16"),
    "asc_gcm": ("decoder_channels=[32, 16, 16, 8, 8]", "gcm_hidden=16", "context_grid=[2, 3]"),
    "look_deeper": ("bottleneck=32", "decoder_channels=[32, 16, 16, 8]"),
}


def write_nyu(root, out):
    assert prepare_command(["nyu", str(nyu.write_bts(root)), str(out)]) == 0


def write_nyu_labelled(root, out):
    """The toy file has other fingerprints than the published one, which the command insists on."""
    tables = nyu.write_labelled(root).tables
    write_manifest(out, check(prepare.nyu.prepare(root, out, tables=tables)))


def write_acan_export(root, out):
    assert prepare_command(["nyu", str(nyu.write_acan(root)), str(out)]) == 0


def write_kitti(root, out):
    frames = {TRAIN: range(5, 8), HELD_OUT: range(5, 7), TEST: (6, 9)}
    kitti.write_kitti(root, frames)
    assert prepare_command(["kitti", str(root), str(out)]) == 0


def write_bag(root, out):
    recording, extracted = bag.write_bag(root / "recording"), root / "extracted"
    assert mono_depth(["extract", str(recording), str(extracted)]) == 0
    assert prepare_command(["bag", str(extracted), str(out)]) == 0


ROADS = [
    ("pwa_nyu", write_nyu, ("train", "validation")),
    ("acan_nyu", write_acan_export, ("train", "validation")),
    ("look_deeper_nyu", write_nyu_labelled, ("train795_all", "train795_all")),
    ("hma_kitti", write_kitti, ("eigen_train", "eigen_validation")),
    ("asc_gcm_kitti", write_kitti, ("eigen_train", "eigen_validation")),
    ("pwa_kitti", write_bag, ("train", "validation")),
]


def small(recipe, *more):
    """Return the overrides that make a recipe a matter of seconds."""
    network = next(key for key in WIDTHS if recipe.startswith(key))
    return (*SMALL, *(f"network_settings.{width}" for width in WIDTHS[network]), *more)


@pytest.mark.parametrize(("recipe", "write", "splits"), ROADS, ids=lambda value: str(value)[:20])
def test_road(recipe, write, splits, tmp_path, capsys):
    root, out, run = tmp_path / "owned", tmp_path / "prepared", tmp_path / "run"
    root.mkdir()
    write(root, out)
    parts = f"data.prepared=[{{folder: {out}, train: {splits[0]}, validation: {splits[1]}}}]"
    path = CHECKOUT / "config" / "training" / f"{recipe}.yaml"
    assert train_command([str(path), *small(recipe, parts), "--out", str(run)]) == 0
    checkpoint = run / "best.safetensors"
    network, info = load_network(checkpoint)
    assert info.recipe["steps_done"] == 20 and info.recipe["data_digests"]
    assert info.training_focal_px > 0
    losses = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    assert [line["step"] for line in losses if "loss" in line] == list(range(1, 21))
    assert all(np.isfinite(line["loss"]) for line in losses if "loss" in line)
    # ACAN's export has no test images.
    split = ("--split", "validation") if write is write_acan_export else ()
    assert_evaluates(checkpoint, out, tmp_path, *split)
    assert_gives_depth(checkpoint, tmp_path, network.max_depth_m)


def test_outdoor_road_of_look_deeper(tmp_path):
    """Depth from one data set, labels from the other, in turns."""
    depth, labels, run = tmp_path / "stereo2015", tmp_path / "cityscapes", tmp_path / "run"
    stereo = stereo2015.write_stereo2015(tmp_path / "owned_depth")
    assert prepare_command(["stereo2015", str(stereo), str(depth)]) == 0
    cities = tmp_path / "owned_labels"
    cityscapes.write_cityscapes(cities)
    assert prepare_command(["cityscapes", str(cities), str(labels)]) == 0
    parts = [f"{{folder: {depth}}}", f"{{folder: {labels}, train: train200}}"]
    overrides = small(
        "look_deeper_streets",
        f"data.prepared=[{', '.join(parts)}]",
        "initial_checkpoint=''",
        "initial_checkpoint_except=[]",
    )
    path = CHECKOUT / "config" / "training" / "look_deeper_streets.yaml"
    assert train_command([str(path), *overrides, "--out", str(run)]) == 0
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    # Odd steps have depth, even ones labels, and depth where Cityscapes has it.
    assert all(line["loss/focal_semantic"] == 0.0 for line in steps[::2])
    assert all(line["loss/depth_aware"] > 0.0 for line in steps[::2])
    assert all(line["loss/focal_semantic"] > 0.0 for line in steps[1::2])
    assert_gives_depth(run / "best.safetensors", tmp_path, 80.0)


def assert_evaluates(checkpoint, prepared, folder, *more):
    scores = folder / "scores.json"
    arguments = [str(checkpoint), "--data", str(prepared), "--draws", "10", *more]
    assert evaluate.main([*arguments, "--out", str(scores)]) == 0
    text = scores.read_text()
    assert "abs_rel" in text and "NaN" not in text


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
