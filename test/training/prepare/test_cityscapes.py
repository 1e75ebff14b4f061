"""Cityscapes: recognised in every part a user may have, train ids, metres from disparity."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from layouts.cityscapes import (
    BASELINE_M,
    BUILDING,
    CAR,
    ROAD,
    SKY,
    STATIC,
    label_ids,
    write_cityscapes,
)
from layouts.stereo2015 import street_depth

from mono_depth_ros.errors import DataError
from training.datasets.reader import PreparedReader
from training.manifest import Record
from training.prepare.checks import check
from training.prepare.cityscapes import NOMINAL_INTRINSICS, few, find, prepare
from training.prepare.cityscapes_labels import to_train_ids

SIZE = (24, 48)


def write(root, **options):
    return write_cityscapes(root, frames_per_city=2, size=SIZE, **options)


def test_train_ids_as_published():
    # helpers/labels.py of cityscapesScripts, ids with trainId 0 to 18, in that order.
    evaluated = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    train_ids = to_train_ids(np.arange(256, dtype=np.uint8))
    assert train_ids[evaluated].tolist() == list(range(19))
    assert (np.delete(train_ids, evaluated) == 255).all()


@pytest.mark.parametrize("archive_folders", [False, True])
def test_records_of_the_train_and_val_cities(tmp_path, archive_folders):
    root, out = write(tmp_path / "cs", archive_folders=archive_folders), tmp_path / "out"
    manifest = prepare(root, out)
    assert {record.group for record in manifest.records("train")} == {"aachen", "bochum"}
    assert {record.group for record in manifest.records("validation")} == {"frankfurt"}
    assert manifest.records("train200") == manifest.records("train")
    assert manifest.problems == ()
    assert manifest.label_set == "cityscapes"
    record = manifest.records("train")[2]
    assert record.name == "bochum_000000_000019"
    assert record.intrinsics == pytest.approx((1.1 * 48, 1.1 * 48, 24, 12))
    reader = PreparedReader(manifest)
    labels = reader.labels(record)
    ids = label_ids(*SIZE, seed=60)
    for label_id, train_id in ((SKY, 10), (BUILDING, 2), (CAR, 13), (ROAD, 0), (STATIC, 255)):
        assert (ids == label_id).any()
        assert (labels[ids == label_id] == train_id).all()
    depth_m = reader.depth_m(record.depth, SIZE)
    assert np.isnan(depth_m[:, :4]).all()
    # depth = baseline · fx / disparity, the disparity rounded to 1/256 px.
    disparity = np.rint(256 * BASELINE_M * 52.8 / street_depth(*SIZE, seed=60)[:, 4:]) / 256
    np.testing.assert_allclose(depth_m[:, 4:], BASELINE_M * 52.8 / disparity, rtol=1e-5)


def test_pictures_with_train_ids_are_used_where_they_are(tmp_path):
    root, out = write(tmp_path / "cs"), tmp_path / "out"
    for path in root.glob("gtFine/*/*/*_labelIds.png"):
        cv2.imwrite(str(path).replace("labelIds", "labelTrainIds"), np.full(SIZE, 5, np.uint8))
    manifest = prepare(root, out)
    assert not out.exists()
    assert (PreparedReader(manifest).labels(manifest.records("validation")[0]) == 5).all()


def test_made_pictures_are_kept_and_made_again_when_their_source_is_newer(tmp_path):
    root, out = write(tmp_path / "cs"), tmp_path / "cs" / "out"
    manifest = prepare(root, out)
    record = manifest.records("validation")[0]
    # Below the root the path is relative; the reader takes both.
    assert record.labels == "out/labels/val/frankfurt/frankfurt_000000_000019" + (
        "_gtFine_labelTrainIds.png"
    )
    made = root / record.labels
    stamp = made.stat().st_mtime_ns
    prepare(root, out)
    assert made.stat().st_mtime_ns == stamp
    source = root / "gtFine/val/frankfurt/frankfurt_000000_000019_gtFine_labelIds.png"
    cv2.imwrite(str(source), np.full(SIZE, ROAD, np.uint8))
    prepare(root, out)
    assert (PreparedReader(manifest).labels(record) == 0).all()


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_made_pictures_that_were_cut_off_are_made_again(tmp_path, kept):
    root, out = write(tmp_path / "cs"), tmp_path / "out"
    made = Path(prepare(root, out).records("validation")[0].labels)
    whole = made.read_bytes()
    made.write_bytes(whole[:kept])
    assert check(prepare(root, out)).problems == ()
    assert made.read_bytes() == whole


def test_a_damaged_label_picture_costs_its_frame(tmp_path):
    root, out = write(tmp_path / "cs"), tmp_path / "out"
    sources = sorted(root.glob("gtFine/train/*/*_labelIds.png"))
    sources[0].write_bytes(b"no picture")
    cv2.imwrite(str(sources[1]), np.zeros((*SIZE, 3), np.uint8))
    sources[2].unlink()
    manifest = prepare(root, out)
    assert [record.name for record in manifest.records("train")] == ["bochum_000001_000019"]
    assert manifest.records("train200") == manifest.records("train")
    for expected in ("neither JPEG nor PNG", "label ids are (H, W) uint8", "is missing"):
        assert sum(expected in problem for problem in manifest.problems) == 1


def test_without_some_archives(tmp_path):
    labels_only = write(tmp_path / "a", parts=("leftImg8bit", "gtFine"))
    record = prepare(labels_only, tmp_path / "out_a").records("train")[0]
    assert record.depth is None
    assert record.labels
    assert record.intrinsics == NOMINAL_INTRINSICS
    depth_only = write(tmp_path / "b", parts=("leftImg8bit", "disparity", "camera"))
    manifest = prepare(depth_only, tmp_path / "out_b")
    assert manifest.records("train")[0].labels == ""
    assert manifest.label_set == ""
    images_only = write(tmp_path / "c", parts=("leftImg8bit", "disparity"))
    with pytest.raises(DataError, match=r"gtFine_trainvaltest\.zip.*camera_trainvaltest\.zip"):
        prepare(images_only, tmp_path / "out_c")
    assert find(tmp_path) is None


def break_cameras(root):
    cameras = sorted(root.glob("camera/train/*/*_camera.json"))
    cameras[0].write_text("{")
    cameras[1].write_text(cameras[1].read_text().replace('"baseline": 0.2', '"baseline": -0.2'))
    cameras[2].unlink()


CAMERA_PROBLEMS = ("no Cityscapes camera", "impossible", "cannot read")


def test_damaged_cameras_cost_the_depth_of_frames_with_labels(tmp_path):
    root = write(tmp_path)
    break_cameras(root)
    manifest = prepare(root, tmp_path / "out")
    records = manifest.records("train")
    assert [record.depth is None for record in records] == [True, True, True, False]
    assert all(record.labels for record in records)
    assert [r.intrinsics == NOMINAL_INTRINSICS for r in records] == [True, True, True, False]
    for problem, expected in zip(manifest.problems, CAMERA_PROBLEMS, strict=True):
        assert problem.startswith("depth of ") and expected in problem


def test_damaged_cameras_cost_frames_without_labels(tmp_path):
    root = write(tmp_path, parts=("leftImg8bit", "disparity", "camera"))
    break_cameras(root)
    manifest = prepare(root, tmp_path / "out")
    assert len(manifest.records("train")) == 1
    for problem, expected in zip(manifest.problems, CAMERA_PROBLEMS, strict=True):
        assert " left out: " in problem and expected in problem


@pytest.mark.parametrize("depth", ["files", "contents"])
def test_bad_disparity_costs_the_depth_of_frames_with_good_labels(tmp_path, depth):
    root = write(tmp_path)
    disparities = sorted(root.glob("disparity/train/*/*.png"))
    disparities[0].unlink()
    disparities[1].write_bytes(b"")
    disparities[2].write_bytes(b"")
    next(root.glob("gtFine/train/bochum/*_000000_*_labelIds.png")).unlink()
    checked = check(prepare(root, tmp_path / "out"), depth)
    records = checked.records("train")
    assert [(r.name[:13], r.depth is None) for r in records] == [
        ("aachen_000000", True),
        ("aachen_000001", True),
        ("bochum_000001", False),
    ]
    assert checked.records("train200") == records
    assert [bool(record.sha256) for record in records] == [depth == "contents"] * 3
    told = [line for line in checked.problems if line.startswith("depth of ")]
    assert told == [
        "depth of aachen_000001_000019 left out: disparity/train/aachen/"
        "aachen_000001_000019_disparity.png is empty (0 bytes); fetch it again",
        "depth of aachen_000000_000019 left out: disparity/train/aachen/"
        "aachen_000000_000019_disparity.png is missing",
    ]


def test_bad_disparity_costs_frames_without_labels(tmp_path):
    root = write(tmp_path, parts=("leftImg8bit", "disparity", "camera"))
    next(root.glob("disparity/train/*/*.png")).write_bytes(b"")
    checked = check(prepare(root, tmp_path / "out"))
    assert len(checked.records("train")) == 3
    assert " left out: disparity/" in checked.problems[0]


def test_train200_does_not_depend_on_what_else_is_there():
    records = [
        Record(f"city_{number:06d}_000019", "city", "x.png", (1, 1, 0, 0)) for number in range(2975)
    ]
    chosen = few(records)
    assert len(chosen) == 200
    ranks = {r.name: hashlib.sha256(r.name.encode()).hexdigest() for r in records}
    limit = sorted(ranks.values())[199]
    assert {r.name for r in chosen} == {name for name, rank in ranks.items() if rank <= limit}
    assert list(chosen) == sorted(chosen, key=lambda record: record.name)
    # Of a part of the frames, those of the choice that are in the part are chosen again.
    part = records[::2]
    assert set(chosen) & set(part) <= set(few(part))
    assert few(records[:5]) == tuple(records[:5])
