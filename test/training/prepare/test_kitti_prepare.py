from __future__ import annotations

import shutil

import numpy as np
import pytest
from layouts.kitti import (
    TEST,
    TRAINING,
    VALIDATION,
    camera_of,
    sparse_code,
    write_anonymous,
    write_kitti,
    write_selection,
)
from layouts.stereo2015 import street_depth

from mono_depth_ros.errors import DataError
from training.datasets.reader import PreparedReader
from training.manifest import DepthFile, read_manifest, write_manifest
from training.prepare.kitti import find, prepare

SIZE = (24, 80)

# name → (settings of the writer, where the first picture and its map are expected)
PICTURE = f"2011_09_26/{TRAINING}/image_02/data/0000000005"
MAP = f"{TRAINING}/proj_depth/groundtruth/image_02/0000000005.png"
LAYOUTS = {
    "split": ({}, f"raw/{PICTURE}.png", f"data_depth_annotated/train/{MAP}"),
    "merged": ({"parted": False}, f"raw/{PICTURE}.png", f"data_depth_annotated/{MAP}"),
    "jpeg": ({"suffix": ".jpg"}, f"raw/{PICTURE}.jpg", f"data_depth_annotated/train/{MAP}"),
    "AdaBins": (
        {"raw": "raw", "annotated": "gts", "parted": False},
        f"raw/{PICTURE}.png",
        f"gts/{MAP}",
    ),
    "toolbox": (
        {"raw": "input", "annotated": "gt_depth", "parted": False},
        f"input/{PICTURE}.png",
        f"gt_depth/{MAP}",
    ),
    "GLPDepth": (
        {"raw": "raw_data"},
        f"raw_data/{PICTURE}.png",
        f"data_depth_annotated/train/{MAP}",
    ),
    "unpacked in one place": ({"raw": "", "annotated": ""}, f"{PICTURE}.png", f"train/{MAP}"),
    "Monodepth2": (
        {"raw": "kitti_data", "annotated": None, "suffix": ".jpg"},
        f"kitti_data/{PICTURE}.jpg",
        f"kitti_data/2011_09_26/{MAP}",
    ),
}


def counts(manifest):
    return {name: len(records) for name, records in manifest.splits.items()}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_kitti(tmp_path_factory.mktemp("kitti"), size=SIZE)


@pytest.fixture
def manifest(toy, tmp_path):
    return prepare(toy, tmp_path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_same_splits(name, tmp_path):
    settings, picture, truth = LAYOUTS[name]
    manifest = prepare(write_kitti(tmp_path, size=SIZE, **settings), tmp_path / "out")
    assert counts(manifest) == {
        "eigen_test": 3,
        "eigen_test_velodyne": 3,
        "eigen_train": 4,
        "eigen_validation": 2,
        "eigen_train_all": 6,
        # Both cameras, frames from 5 on.
        "benchmark_train": 8,
        "benchmark_validation": 8,
    }
    first = manifest.splits["eigen_train"][0]
    assert (first.image, first.depth) == (picture, DepthFile(truth, "linear", 256.0))
    for record in manifest.splits["benchmark_validation"]:
        assert (tmp_path / record.image).is_file()
        assert (tmp_path / record.depth.path).is_file()


def test_records_name_drive_camera_and_frame(manifest):
    records = manifest.splits["eigen_train_all"]
    assert [(record.name, record.group) for record in records[3:5]] == [
        (f"{TRAINING}_image_02_0000000008", TRAINING),
        (f"{VALIDATION}_image_02_0000000005", VALIDATION),
    ]
    right = manifest.splits["benchmark_train"][4]
    assert (right.name, right.group) == (f"{TRAINING}_image_03_0000000005", TRAINING)
    assert "/image_03/" in right.image
    assert "/image_03/" in right.depth.path


def test_validation_holds_out_whole_drives(manifest):
    assert {record.group for record in manifest.splits["eigen_train"]} == {TRAINING}
    assert {record.group for record in manifest.splits["eigen_validation"]} == {VALIDATION}


def test_test_frames_stay_without_map(manifest):
    annotated = manifest.splits["eigen_test"]
    assert [record.name[-4:] for record in annotated] == ["0000", "0006", "0009"]
    assert [record.depth is None for record in annotated] == [True, False, False]
    day = "raw/2011_09_26"
    sweep = f"{day}/{TEST}/velodyne_points/data/0000000000.bin"
    first = manifest.splits["eigen_test_velodyne"][0]
    assert first.depth == DepthFile(sweep, "velodyne", calibration=day)


def test_reader_opens_every_record(manifest, tmp_path):
    write_manifest(tmp_path, manifest)
    manifest = read_manifest(tmp_path)
    reader = PreparedReader(manifest)
    for records in manifest.splits.values():
        for record in records:
            assert reader.image(record).shape == (*SIZE, 3)
            if record.depth is not None:
                assert np.isfinite(reader.depth_m(record.depth, SIZE)).sum() > 100
    record = manifest.splits["eigen_train"][1]
    expected = sparse_code(street_depth(*SIZE, seed=6)) / 256.0
    np.testing.assert_array_equal(
        np.nan_to_num(reader.depth_m(record.depth, SIZE)), expected.astype(np.float32)
    )


def test_intrinsics_come_from_the_calibration_of_the_day(manifest):
    assert manifest.splits["eigen_train"][0].intrinsics == pytest.approx(camera_of(SIZE))


def test_each_camera_has_its_own_entry(tmp_path):
    write_kitti(tmp_path, size=SIZE)
    file = tmp_path / "raw/2011_09_26/calib_cam_to_cam.txt"
    kept = [line for line in file.read_text().splitlines() if not line.startswith("P_rect_03")]
    file.write_text("\n".join([*kept, "P_rect_03: 50 0 41 0 0 51 13 0 0 0 1 0"]))
    records = prepare(tmp_path, tmp_path).splits["benchmark_train"]
    assert records[0].intrinsics == pytest.approx(camera_of(SIZE))
    assert records[4].intrinsics == (50, 51, 41, 13)


def test_without_calibration_the_published_numbers_hold_and_sweeps_cannot_be_projected(tmp_path):
    manifest = prepare(write_kitti(tmp_path, size=SIZE, calibration=False), tmp_path)
    assert manifest.splits["eigen_train"][0].intrinsics == (721.5377, 721.5377, 609.5593, 172.854)
    assert "eigen_test_velodyne" not in manifest.splits
    assert any("calib_cam_to_cam.txt" in problem for problem in manifest.problems)


@pytest.mark.parametrize("entry", ["", "P_rect_02: 1 2 3", "P_rect_02:" + " nan" * 12])
def test_damaged_calibration_is_named(tmp_path, entry):
    write_kitti(tmp_path, size=SIZE)
    (tmp_path / "raw/2011_09_26/calib_cam_to_cam.txt").write_text(entry)
    manifest = prepare(tmp_path, tmp_path)
    assert manifest.splits["eigen_train"][0].intrinsics[0] == 721.5377
    assert sum("P_rect_02" in problem for problem in manifest.problems) == 1


def test_missing_drives_and_frames_are_lines_not_errors(manifest, tmp_path):
    lines = [line for line in manifest.problems if line.startswith("eigen_train_all")]
    # Frames 5 to 102 are wanted; 31 drives are not there at all.
    assert f"eigen_train_all: {TRAINING} lacks image_02 in 94 of 98 frames: 9-102" in lines
    missing = "raw/2011_09_26/2011_09_26_drive_0011_sync"
    assert f"eigen_train_all: no {missing}, 223 frames" in lines
    assert len(lines) == 33


def test_lost_files_are_counted(tmp_path):
    write_kitti(tmp_path, size=SIZE)
    maps = tmp_path / "data_depth_annotated"
    (maps / f"train/{TRAINING}/proj_depth/groundtruth/image_02/0000000006.png").unlink()
    (maps / f"val/{TEST}/proj_depth/groundtruth/image_02/0000000009.png").unlink()
    shutil.rmtree(tmp_path / f"raw/2011_09_26/{VALIDATION}/image_02")
    manifest = prepare(tmp_path, tmp_path)
    assert "eigen_validation" not in manifest.splits
    assert "eigen_validation is not written: none of its drives is here" in manifest.problems
    assert [record.name[-1] for record in manifest.splits["eigen_train"]] == ["5", "7", "8"]
    assert len(manifest.splits["eigen_test"]) == 3
    assert manifest.splits["eigen_test"][2].depth is None
    lines = "\n".join(manifest.problems)
    assert f"eigen_train_all: {TRAINING} lacks annotated image_02 in 1 of 98 frames: 6" in lines
    assert f"eigen_train_all: {VALIDATION} lacks image_02 in all 144 frames" in lines
    assert f"eigen_test: {TEST} lacks annotated image_02 in 1 of 25 frames: 9" in lines
    assert f"benchmark_validation: {VALIDATION} lacks image_02 in 2 of 4 frames: 5-6" in lines


def test_png_counts_where_a_jpeg_lies_beside_it(toy, tmp_path):
    write_kitti(tmp_path, size=SIZE)
    write_kitti(tmp_path, size=SIZE, suffix=".jpg")
    records = prepare(tmp_path, tmp_path).splits["eigen_train"]
    assert all(record.image.endswith(".png") for record in records)


def test_raw_drives_alone_can_only_be_tested_on(tmp_path):
    write_kitti(tmp_path, size=SIZE)
    shutil.rmtree(tmp_path / "data_depth_annotated")
    manifest = prepare(tmp_path, tmp_path)
    assert counts(manifest) == {"eigen_test": 3, "eigen_test_velodyne": 3}
    assert "nothing to train on" in manifest.problems[0]


def test_annotated_maps_alone_have_no_pictures(tmp_path):
    write_kitti(tmp_path, size=SIZE)
    shutil.rmtree(tmp_path / "raw")
    manifest = prepare(tmp_path, tmp_path)
    assert counts(manifest) == {}
    assert "no raw drives" in manifest.problems[0]


def test_sparse_input_of_depth_completion_is_no_annotated_map(tmp_path):
    write_kitti(tmp_path, size=SIZE)
    for drive in (tmp_path / "data_depth_annotated").glob("*/*/proj_depth"):
        (drive / "groundtruth").rename(drive / "velodyne_raw")
    assert find(tmp_path).annotated == ()


@pytest.mark.parametrize("folder", ["depth_selection", "data_depth_selection/depth_selection", ""])
def test_selection_and_test_images(tmp_path, folder):
    write_selection(tmp_path, 2, folder, size=SIZE)
    write_anonymous(tmp_path, 3, folder, size=SIZE)
    manifest = prepare(tmp_path, tmp_path)
    assert counts(manifest) == {"selection": 2, "benchmark_test": 3}
    inner = f"{folder}/val_selection_cropped".lstrip("/")
    first = manifest.splits["selection"][0]
    assert first.name == "2011_09_26_drive_0002_sync_image_0000000008_image_02"
    assert first.group == TEST
    assert first.image == f"{inner}/image/{first.name}.png"
    truth = "2011_09_26_drive_0002_sync_groundtruth_depth_0000000008_image_02.png"
    assert first.depth == DepthFile(f"{inner}/groundtruth_depth/{truth}")
    assert first.intrinsics == (721.5377, 721.5377, 596.5593, 149.854)
    tests = manifest.splits["benchmark_test"]
    assert [record.name for record in tests] == ["0000000000", "0000000001", "0000000002"]
    assert all(record.depth is None for record in tests)
    assert "selection has 2 images; KITTI's has 1000" in manifest.problems
    assert "benchmark_test has 3 images; KITTI's has 500" in manifest.problems


@pytest.mark.parametrize(
    "name",
    [
        "val_selection_cropped",
        "test_depth_prediction_anonymous",
        "test_depth_completion_anonymous",
    ],
)
def test_a_cropped_set_may_be_named_itself(name, tmp_path):
    write_selection(tmp_path, 2, size=SIZE)
    write_anonymous(tmp_path, 3, size=SIZE)
    above = tmp_path / "depth_selection"
    (above / "test_depth_completion_anonymous").mkdir()
    assert find(above / name) == find(above)
    assert counts(prepare(above / name, tmp_path)) == {"selection": 2, "benchmark_test": 3}
    assert find(tmp_path / "elsewhere" / name) is None


def test_selected_frames_without_map_or_intrinsics_are_named(tmp_path):
    write_selection(tmp_path, 3, size=SIZE)
    write_anonymous(tmp_path, 2, size=SIZE)
    folder = tmp_path / "depth_selection"
    name = "2011_09_26_drive_0002_sync_{}_000000000{}_image_02"
    selection = folder / "val_selection_cropped"
    (selection / "groundtruth_depth" / f"{name.format('groundtruth_depth', 8)}.png").unlink()
    (selection / "intrinsics" / f"{name.format('image', 9)}.txt").write_text("1 2")
    (selection / "image" / "holiday.png").write_bytes(b"")
    (folder / "test_depth_prediction_anonymous/intrinsics/0000000001.txt").unlink()
    manifest = prepare(tmp_path, tmp_path)
    assert counts(manifest) == {"selection": 1, "benchmark_test": 1}
    lines = "\n".join(manifest.problems)
    for named in (f"{name.format('image', 8)}.png", f"{name.format('image', 9)}.txt"):
        assert named in lines
    assert "holiday.png" in lines
    assert "intrinsics/0000000001.txt" in lines


def test_names_are_unique_over_all_splits(tmp_path):
    write_kitti(tmp_path, size=SIZE)
    write_selection(tmp_path, size=SIZE)
    write_anonymous(tmp_path, size=SIZE)
    manifest = prepare(tmp_path, tmp_path)
    images = {r.name: r.image for records in manifest.splits.values() for r in records}
    pictures = {r.image for records in manifest.splits.values() for r in records}
    # 9 frames of camera 2, 8 with a map of camera 3, 2 selected and 2 for the server.
    assert len(images) == len(pictures) == 9 + 8 + 2 + 2


def test_layout_is_told_in_words(manifest):
    assert manifest.layout == (
        "raw drives in raw/, annotated maps in data_depth_annotated/train/ and "
        "data_depth_annotated/val/"
    )
    assert (manifest.dataset, manifest.label_set) == ("kitti", "")
    assert manifest.root.is_absolute()


def test_something_else_is_no_kitti(tmp_path):
    (tmp_path / "2011_09_26").mkdir()
    (tmp_path / "image_2").mkdir()
    assert find(tmp_path) is None
    assert find(tmp_path / "nowhere") is None
    with pytest.raises(DataError, match="image_2"):
        prepare(tmp_path, tmp_path)
