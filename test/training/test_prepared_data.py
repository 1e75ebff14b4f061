"""Prepared data: what is read, what it means, and what happens to files that cannot be read."""

from __future__ import annotations

import json
import logging
import pathlib
import re
import struct
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tiny_run
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mono_depth_ros.checkpoint import load_network
from mono_depth_ros.errors import ConfigError, DataError, ShapeError
from mono_depth_ros.models.base import ImageSize
from training.config import load_train_config
from training.datasets.prepared import JoinedDataset, PreparedDataset, Reading, collate
from training.datasets.reader import decode_depth
from training.manifest import (
    DepthFile,
    Manifest,
    Record,
    hold_out,
    read_manifest,
    write_manifest,
)
from training.train import main, train
from training.transforms import read_transforms
from training.view import ViewConfig

HEIGHT, WIDTH = 64, 96
VIEW = ViewConfig(size=ImageSize(HEIGHT, WIDTH))


def six_pictures(folder):
    """Six pictures of 64x96: image i is grey 10 i, its depth i + 1 metres, its label i + 1."""
    records = []
    for index in range(6):
        rgb, depth, labels = (f"{kind}{index}.png" for kind in ("rgb", "depth", "labels"))
        picture = np.full((HEIGHT, WIDTH, 3), 10 * index, np.uint8)
        picture[..., 0] += np.arange(WIDTH, dtype=np.uint8)
        cv2.imwrite(str(folder / rgb), picture)
        code = np.full((HEIGHT, WIDTH), 1000 * (index + 1), np.uint16)
        code[:8] = 0
        cv2.imwrite(str(folder / depth), code)
        cv2.imwrite(str(folder / labels), np.full((HEIGHT, WIDTH), index + 1, np.uint8))
        records.append(
            Record(
                name=f"frame{index}",
                group=f"scene{index // 2}",
                image=rgb,
                intrinsics=(100.0, 100.0, 48.0, 32.0),
                depth=DepthFile(depth, scale=1000.0),
                labels=labels,
            )
        )
    train_records, validation = hold_out(records, ["scene2"])
    splits = {"train": train_records, "validation": validation}
    return Manifest("nyu", "six pictures", folder, splits, "nyu40")


@pytest.fixture
def manifest(tmp_path):
    return six_pictures(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    return six_pictures(tmp_path_factory.mktemp("pictures"))


def dataset(manifest, reading=None, **settings):
    return PreparedDataset(
        manifest, manifest.records("train"), reading or Reading(), VIEW, **settings
    )


def test_items_hold_metres_classes_and_names(manifest):
    classes = np.full(256, -1, np.int16)
    classes[3] = 7
    item = dataset(manifest, Reading(label_map=classes))[0, 2]
    assert item["name"] == "frame2" and item["problem"] == ""
    assert item["image"].shape == (3, HEIGHT, WIDTH)
    assert item["image"][0, 0, 0].item() == pytest.approx(20 / 255)
    assert item["depth_m"][0, :8].isnan().all() and (item["depth_m"][0, 8:] == 3.0).all()
    assert item["labels"].dtype == torch.int64 and (item["labels"] == 7).all()


def test_depth_follows_the_focal_length_and_ends_at_the_range(manifest):
    item = dataset(manifest, Reading(training_focal_px=50.0, max_depth_m=1.25))
    assert (item[0, 1]["depth_m"][0, 8:] == 1.0).all()
    assert item[0, 2]["depth_m"].isnan().all()
    np.testing.assert_array_equal(item.view_depth_m(1), item[0, 1]["depth_m"][0].numpy())


@pytest.mark.parametrize(
    ("depth", "code", "expected_m"),
    [
        (DepthFile("", "linear", 256.0), 512, 2.0),
        (DepthFile("", "stereo2015", 387.0), 256 * 43, 9.0),
        (DepthFile("", "cityscapes", 460.0), 256 * 46 + 1, 10.0),
        (DepthFile("", "cityscapes", 460.0), 1, np.nan),
        (DepthFile("", "stereo2015", 387.0), 0, np.nan),
    ],
)
def test_codes_become_metres(depth, code, expected_m):
    value = decode_depth(np.array([[code]], np.uint16), depth)
    np.testing.assert_allclose(value, [[expected_m]], rtol=1e-6)


def test_manifest_comes_back_as_it_was_and_notices_changes(manifest, tmp_path):
    write_manifest(tmp_path / "out", manifest)
    read = read_manifest(tmp_path / "out")
    assert read.splits == manifest.splits and read.label_set == "nyu40"
    assert read.root == tmp_path and set(read.digests) == {"train", "validation"}
    assert [record.group for record in read.records("validation")] == ["scene2"] * 2
    with pytest.raises(DataError, match=r"no frames in a split 'test'.*train \(4\)"):
        read.records("test")
    lines = tmp_path / "out" / "train.jsonl"
    lines.write_text(lines.read_text().replace("frame0", "frame9"))
    with pytest.raises(DataError, match=r"train\.jsonl .* was changed"):
        read_manifest(tmp_path / "out")
    with pytest.raises(DataError, match=r"run `python -m training\.prepare` first"):
        read_manifest(tmp_path / "nothing")


@given(epoch=st.integers(0, 1000), index=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_random_numbers_depend_on_seed_epoch_and_index_alone(untouched, epoch, index, seed):
    steps = read_transforms([{"op": "flip"}, {"op": "brightness", "factor": [0.5, 1.5]}])
    one = dataset(untouched, augmentation=steps, seed=seed)
    other = dataset(untouched, augmentation=steps, seed=seed)
    other[epoch + 1, (index + 1) % 4]
    torch.testing.assert_close(one[epoch, index]["image"], other[epoch, index]["image"])


def no_picture(path):
    path.write_bytes(b"no picture")


def huge(path):
    """A header of 200,000 x 200,000 pixels, with a checksum that fits."""
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 200_000, 200_000)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(bytes(data))


def cut_jpeg(path):
    whole = cv2.imencode(".jpg", cv2.imread(str(path)))[1].tobytes()
    path.write_bytes(whole[: len(whole) // 2])


def of_other_size(path):
    cv2.imwrite(str(path), cv2.imread(str(path))[:-8])


def all_zero(path):
    cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH), np.uint16))


BAD = [
    ("rgb", no_picture, "rgb0.png .* is neither JPEG nor PNG"),
    ("rgb", huge, "rgb0.png cannot be decoded"),
    ("rgb", cut_jpeg, "rgb0.png is truncated"),
    ("rgb", of_other_size, "frame0 is 56x96, other pictures of its camera 64x96"),
    ("depth", pathlib.Path.unlink, "depth0.png is missing"),
    ("depth", all_zero, "frame0 has no depth and no label anywhere"),
]


@pytest.mark.parametrize(("kind", "damage", "message"), BAD)
def test_a_bad_file_is_named_and_replaced(manifest, kind, damage, message):
    """Another record takes its place in training, none in validation, which counts each once."""
    damage(manifest.root / f"{kind}0.png")
    sizes = {(100.0, 100.0, 48.0, 32.0): ImageSize(HEIGHT, WIDTH)}
    item = dataset(manifest, augmentation=(), sizes=sizes)[0, 0]
    assert item["name"] in ("frame1", "frame2", "frame3")
    assert re.search(message, item["problem"])
    judged = dataset(manifest, sizes=sizes)[0, 0]
    assert judged.keys() == {"problem"} and re.search(message, judged["problem"])
    for augmentation in ((), None):
        strict = dataset(manifest, Reading(strict=True), augmentation=augmentation, sizes=sizes)
        with pytest.raises((DataError, ShapeError), match=message):
            strict[0, 0]


def test_damaged_neighbours_do_not_stop_a_run(manifest):
    """Three of four are bad; which one comes next is drawn, so the fourth is found."""
    for index in range(3):
        no_picture(manifest.root / f"rgb{index}.png")
    training = dataset(manifest, augmentation=())
    assert [training[epoch, 0]["name"] for epoch in range(3)] == ["frame3"] * 3


def test_labels_without_depth_teach(manifest):
    all_zero(manifest.root / "depth0.png")
    labelled = Reading(label_map=np.zeros(256, np.int16))
    assert dataset(manifest, labelled)[0, 0]["problem"] == ""


def test_a_crop_without_depth_is_named_and_kept(manifest):
    """Only the last row has depth, and a crop of eight rows misses it: not the frame's fault."""
    code = np.zeros((HEIGHT, WIDTH), np.uint16)
    code[-1] = 1000
    cv2.imwrite(str(manifest.root / "depth0.png"), code)
    steps = read_transforms([{"op": "random_crop", "size": {"height": 8, "width": 96}}])
    item = dataset(manifest, Reading(strict=True), augmentation=steps)[0, 0]
    assert item["problem"] == "frame0 has no depth and no label in this crop"


def test_nothing_readable_is_an_error(manifest):
    for path in manifest.root.glob("rgb*.png"):
        path.unlink()
    with pytest.raises(DataError, match="16 images one after another are bad"):
        dataset(manifest, augmentation=())[0, 0]


def test_a_batch_of_validation_leaves_bad_images_out(manifest):
    no_picture(manifest.root / "rgb1.png")
    items = dataset(manifest)
    batch = collate([items[0, 0], items[0, 1], items[0, 2]])
    assert batch["name"] == ["frame0", "frame2"] and len(batch["image"]) == 2
    assert [bool(problem) for problem in batch["problem"]] == [False, True, False]
    assert collate([items[0, 1]]).keys() == {"problem"}


def test_joined_sets_number_their_images_through(manifest):
    one = dataset(manifest)
    joined = JoinedDataset([one, one])
    assert joined.sizes == (4, 4) and len(joined) == 8
    assert [joined[0, index]["name"] for index in (0, 3, 4, 7)] == [
        "frame0",
        "frame3",
        "frame0",
        "frame3",
    ]


def test_images_of_a_batch_must_have_one_size(manifest):
    small = PreparedDataset(
        manifest, manifest.records("train"), Reading(), ViewConfig(size=ImageSize(32, 48))
    )
    with pytest.raises(ShapeError, match="sizes"):
        collate([dataset(manifest)[0, 0], small[0, 0]])


def recipe(manifest, tmp_path, **changes):
    write_manifest(tmp_path / "prepared", manifest)
    (tmp_path / "network.yaml").write_text(tiny_run.NETWORK)
    path = tmp_path / "recipe.yaml"
    settings = {
        "name": "six",
        "network": str(tmp_path / "network.yaml"),
        "data": {"prepared": [{"folder": str(tmp_path / "prepared")}], "workers": 0},
        "loss": {"silog": {}},
        "epochs": 3,
        "batch_size": 2,
        "validate_every": 0,
        "device": "cpu",
    }
    path.write_text(yaml.safe_dump(settings | changes))
    return path


def test_a_run_goes_on_past_bad_files_and_counts_them(manifest, tmp_path, caplog):
    """Four images, three epochs, two images per step: six steps; image 1 is bad in every epoch."""
    (manifest.root / "rgb1.png").write_bytes(b"no picture")
    path = recipe(manifest, tmp_path)
    with caplog.at_level(logging.WARNING):
        train(load_train_config(path), tmp_path / "run")
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["progress"]["step"] == 6
    assert state["progress"]["bad_items"] == 3
    named = [line for line in caplog.messages if "rgb1.png (10 bytes)" in line]
    assert sum(line.startswith("step ") for line in named) == 3
    assert "3 images were bad" in caplog.messages[-1]


def test_validation_leaves_out_what_it_cannot_read(manifest, tmp_path, caplog):
    """Two images; the first cannot be read, so scores and pictures are those of the second."""
    no_picture(manifest.root / "rgb4.png")
    with caplog.at_level(logging.WARNING):
        train(load_train_config(recipe(manifest, tmp_path)), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").open()]
    scores = [line for line in lines if "validation/abs_rel" in line]
    assert len(scores) == 3
    for line in scores:
        # 56 of 64 rows have a depth.
        assert (line["validation/left_out"], line["validation/count"]) == (1, 56 * WIDTH)
    assert sum(line.startswith("validation: ") for line in caplog.messages) == 3


def test_a_validation_set_without_truth_is_an_error(manifest, tmp_path):
    bare = tuple(replace(record, depth=None) for record in manifest.splits["validation"])
    without = replace(manifest, splits={**manifest.splits, "validation": bare})
    with pytest.raises(ConfigError, match="no validation image has depth"):
        train(load_train_config(recipe(without, tmp_path)), tmp_path / "run")


def test_depth_can_be_left_out_of_a_data_set(manifest, tmp_path):
    """Labels alone teach; the best checkpoint follows them."""
    folder = str(tmp_path / "prepared")
    network = tiny_run.CHECKOUT / "config/networks/look_deeper_light.yaml"
    path = recipe(
        manifest,
        tmp_path,
        data={"prepared": [{"folder": folder, "depth": False}], "workers": 0},
        loss={"focal_semantic": {}},
        network=str(network),
        network_settings={"image_size": {"height": 64, "width": 96}, "backbone_width": 0.25},
    )
    train(load_train_config(path), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "journal.jsonl").open()]
    scores = [line for line in lines if "validation/mean_iou" in line]
    assert len(scores) == 3
    assert all(line["validation/count"] == 0 for line in scores)
    _, best = load_network(tmp_path / "run" / "best.safetensors")
    assert best.scores["validation.mean_iou"] == max(s["validation/mean_iou"] for s in scores)


def test_a_test_split_cannot_choose_the_best_checkpoint(manifest, tmp_path):
    splits = {**manifest.splits, "eigen_test": manifest.splits["validation"]}
    path = recipe(replace(manifest, splits=splits), tmp_path)
    folder = str(tmp_path / "prepared")
    chosen = f"data.prepared=[{{folder: {folder}, validation: eigen_test}}]"
    with pytest.raises(ConfigError, match="eigen_test is a test split"):
        load_train_config(path, [chosen])


def test_strict_ends_the_run_with_the_name_of_the_file(manifest, tmp_path, capsys):
    (manifest.root / "rgb1.png").write_bytes(b"no picture")
    path = recipe(manifest, tmp_path)
    assert main([str(path), "--strict", "--out", str(tmp_path / "run")]) == 1
    assert "rgb1.png (10 bytes) is neither JPEG nor PNG" in capsys.readouterr().err


def test_a_step_that_is_not_finite_names_its_images(manifest, tmp_path, caplog):
    """An infinite weight of the loss makes every step one."""
    config = load_train_config(recipe(manifest, tmp_path), ["loss.silog.factor=1.0e38"])
    with caplog.at_level(logging.WARNING):
        train(config, tmp_path / "run")
    skipped = [line for line in caplog.messages if "skipped, loss or gradient" in line]
    assert len(skipped) == 6 and "frame" in skipped[0]


def test_a_run_that_learns_nothing_ends(manifest, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("training.train.HOPELESS_STEPS", 4)
    path = recipe(manifest, tmp_path)
    assert main([str(path), "loss.silog.factor=1.0e38", "--out", str(tmp_path / "run")]) == 1
    assert "the last 4 steps had a loss or gradient" in capsys.readouterr().err


def test_labels_must_fit_the_network(manifest, tmp_path):
    path = recipe(manifest, tmp_path, loss={"focal_semantic": {}})
    with pytest.raises(ConfigError, match="needs a network with semantics nyu4 or nyu13 or nyu40"):
        train(load_train_config(path), tmp_path / "run")
