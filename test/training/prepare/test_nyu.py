"""Splits and records of NYU Depth V2 from every layout of folders."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts.nyu import (
    LABELLED_SCENES,
    PICTURE_LAYOUTS,
    SCENES,
    TEST_ROOMS,
    TRAIN_ROOMS,
    list_line,
    room_depth_m,
    scene_lines,
    with_holes,
    write_acan,
    write_bts,
    write_labelled,
    write_list,
    write_pair,
    write_rooms,
    write_scenes,
)

from mono_depth_ros.errors import DataError
from training.datasets.reader import PreparedReader
from training.manifest import Record, read_manifest, write_manifest
from training.prepare.checks import check
from training.prepare.nyu import find, held_out_scenes, prepare
from training.prepare.nyu_frames import is_scene, scene_of

LISTED = [f"{scene}/{n:05d}" for scene, count in SCENES.items() for n in range(1, count)]
TESTED = [f"labelled/{n:05d}" for numbers in TEST_ROOMS.values() for n in numbers]


def names(records):
    return [record.name for record in records]


def record(name, group):
    return Record(name, group, f"{name}.jpg", (500.0, 500.0, 320.0, 240.0))


@pytest.fixture(scope="module")
def bts(tmp_path_factory) -> Path:
    return write_bts(tmp_path_factory.mktemp("bts"))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    return folder, write_labelled(folder)


def copy_labelled(labelled, folder):
    """Put the three .mat files into a folder; return their tables."""
    source, written = labelled
    for path in source.iterdir():
        shutil.copy(path, folder)
    return written.tables


@pytest.mark.parametrize("layout", PICTURE_LAYOUTS)
def test_layout_of_folders(layout, tmp_path):
    root = PICTURE_LAYOUTS[layout](tmp_path)
    manifest = prepare(root, tmp_path / "out")
    assert manifest.dataset == "nyu"
    assert manifest.problems == ()
    assert manifest.label_set == ""
    assert names(manifest.splits["train_all"]) == LISTED
    assert names(manifest.splits["test"]) == TESTED
    assert "6 pairs of" in manifest.layout and "3 test frames" in manifest.layout
    for records in manifest.splits.values():
        for item in records:
            assert (manifest.root / item.image).is_file()
            assert (manifest.root / item.depth.path).is_file()
            assert (item.depth.kind, item.depth.scale) == ("linear", 1000.0)
            assert item.intrinsics == (518.8579, 519.4696, 325.5824, 253.7362)
    assert not (tmp_path / "out").exists()


def test_what_is_prepared_passes_all_checks_and_reads_as_metres(bts, tmp_path):
    manifest = prepare(bts, tmp_path)
    checked = check(manifest)
    assert checked.problems == ()
    assert {name: len(rows) for name, rows in checked.splits.items()} == {
        name: len(rows) for name, rows in manifest.splits.items()
    }
    write_manifest(tmp_path, checked)
    again = read_manifest(tmp_path)
    first = again.records("test")[0]
    expected_m = with_holes(room_depth_m(101))
    depth_m = PreparedReader(again).depth_m(first.depth, (480, 640))
    np.testing.assert_array_equal(np.isnan(depth_m), expected_m == 0)
    np.testing.assert_allclose(np.nan_to_num(depth_m), expected_m, atol=1e-3)


@pytest.mark.parametrize("columns", [2, 3, 5])
@pytest.mark.parametrize("slash", [True, False])
def test_forms_of_lists(bts, tmp_path, columns, slash):
    path = write_list(tmp_path / "list.txt", reversed(scene_lines(columns, slash=slash)))
    manifest = prepare(bts, tmp_path, train_list=path)
    assert names(manifest.splits["train_all"]) == LISTED[::-1]
    assert manifest.problems == ()
    assert str(path) in manifest.layout


def test_absolute_paths_of_another_computer(bts, tmp_path):
    lines = [f"/mnt/data/sync{list_line('bathroom_0001', 2, 2).replace(' ', ' /mnt/data/sync')}"]
    manifest = prepare(bts, tmp_path, train_list=write_list(tmp_path / "list.txt", lines))
    assert names(manifest.splits["train_all"]) == ["bathroom_0001/00002"]


def test_bad_lines_are_named_and_the_rest_is_used(bts, tmp_path):
    good = list_line("kitchen_0028a", 1)
    lines = [
        good,
        "/kitchen_0028a/rgb_00000.jpg",
        "",
        "/kitchen_0028a/rgb_00000.jpg None 518.8579",
        list_line("kitchen_0028a", 7),
        good,
        "/ / 518.8579",
        "/kitchen_0028a/sync_depth_00000.png /kitchen_0028a/rgb_00000.jpg",
    ]
    manifest = prepare(bts, tmp_path, train_list=write_list(tmp_path / "a.txt", lines))
    assert names(manifest.splits["train_all"]) == ["kitchen_0028a/00001"]
    assert "validation" not in manifest.splits
    assert [problem.partition(":")[0] for problem in manifest.problems] == [
        f"a.txt, line {number} left out" for number in (2, 4, 5, 6, 7, 8)
    ]
    for problem, reason in zip(
        manifest.problems,
        ("1 columns, need 2, 3, 5", "has no depth", "00007.jpg is missing", "listed before"),
        strict=False,
    ):
        assert reason in problem


def test_lists_of_other_systems(bts, tmp_path):
    """A mark before the first line, backslashes, CR LF, and a byte that is no UTF-8."""
    path = tmp_path / "a.txt"
    lines = [list_line(name, 1) for name in ("kitchen_0028a", "bathroom_0001", "nyu_office_0")]
    lines = [line.replace("/", "\\").encode() for line in lines]
    lines.insert(1, b"/kitchen\xe9_0028/rgb_00001.jpg /x/sync_depth_00001.png 518.8579")
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines))
    manifest = prepare(bts, tmp_path, train_list=path)
    assert names(manifest.splits["train_all"]) == [
        "kitchen_0028a/00001",
        "bathroom_0001/00001",
        "nyu_office_0/00001",
    ]
    (problem,) = manifest.problems
    assert problem.startswith("a.txt, line 2 left out")


def test_lines_of_two_frames_or_with_another_third_column(bts, tmp_path):
    rgb, depth = "/bathroom_0001/rgb_0000{}.jpg", "/bathroom_0001/sync_depth_0000{}.png"
    lines = [
        f"{rgb.format(1)} {depth.format(2)} 518.8579",
        f"{rgb.format(1)} /kitchen_0028a/sync_depth_00001.png 518.8579",
        f"{rgb.format(1)} {depth.format(1)} train",
        f"{rgb.format(1)} {depth.format(1)} nan",
        f"{rgb.format(1)} {rgb.format(1)}",
        f"{rgb.format(1)} {depth.format(1)} None",
    ]
    manifest = prepare(bts, tmp_path, train_list=write_list(tmp_path / "a.txt", lines))
    assert names(manifest.splits["train_all"]) == ["bathroom_0001/00001"]
    expected = ("are of two frames", "are of two frames", "'train' is no focal", "'nan' is no")
    for number, (problem, words) in enumerate(
        zip(manifest.problems, (*expected, "is missing"), strict=True), start=1
    ):
        assert problem.startswith(f"a.txt, line {number} left out: ") and words in problem


def test_lists_that_lie_about_are_told(bts, tmp_path):
    lists = bts.resolve().parent / "train_test_inputs"
    assert "lists not used" not in prepare(bts, tmp_path).layout
    path = write_list(tmp_path / "list.txt", scene_lines())
    manifest = prepare(bts, tmp_path, train_list=path)
    unused = lists / "nyudepthv2_train_files_with_gt.txt"
    assert manifest.layout.endswith(f"lists not used (--list takes them): {unused}")


def test_list_of_something_else(bts, tmp_path):
    path = write_list(tmp_path / "kitti.txt", ["a/b/1.png c/2.png 721.5", "a/b/2.png None 721.5"])
    with pytest.raises(DataError, match=r"no picture of .*kitti\.txt is on disk \(.*line 1"):
        prepare(bts, tmp_path, train_list=path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no picture of"):
        prepare(bts, tmp_path, train_list=path)
    with pytest.raises(DataError, match="cannot be read"):
        prepare(bts, tmp_path, train_list=tmp_path / "none.txt")


def test_without_a_list_all_pairs_are_taken_and_the_report_says_so(tmp_path):
    write_scenes(tmp_path / "sync", {"bathroom_0001": 2, "study_0003c": 2})
    (tmp_path / "sync/bathroom_0001/sync_depth_00001.png").unlink()
    (tmp_path / "sync/study_0003c/rgb_00000.jpg").unlink()
    manifest = prepare(tmp_path, tmp_path / "out")
    assert names(manifest.splits["train_all"]) == ["bathroom_0001/00000", "study_0003c/00001"]
    assert "all 2 pairs in 2 scene folders" in manifest.layout
    assert "24,231 are in nyudepthv2_train_files_with_gt.txt" in manifest.layout
    assert manifest.problems == (
        "bathroom_0001/rgb_00001 left out: there is no bathroom_0001/sync_depth_00001.png",
        "study_0003c/sync_depth_00000 left out: its picture is missing",
    )


@pytest.mark.parametrize("below", ["sync", "official_splits", ".", ".."])
def test_the_user_may_name_a_folder_above_or_below(bts, below):
    assert find(bts / below) == find(bts)
    assert find(bts).root == bts.resolve()


def test_other_folders_are_not_nyu(tmp_path):
    write_pair(tmp_path / "rgb", 0, 0)
    (tmp_path / "train_rgb").mkdir()
    # A copy beside another data set does not make that one NYU.
    (tmp_path / "kitti").mkdir()
    (tmp_path / "nyu_depth_v2_labeled.mat").touch()
    assert find(tmp_path / "kitti") is None
    assert find(tmp_path / "rgb") is None
    assert find(tmp_path / "missing") is None
    with pytest.raises(DataError, match="nyu_depth_v2_labeled"):
        prepare(tmp_path / "kitti", tmp_path)


def test_pictures_converted_to_png_are_found_by_a_list_of_jpeg(bts, tmp_path):
    write_scenes(tmp_path / "sync", {"study_0003": 2})
    for path in (tmp_path / "sync/study_0003").glob("*.jpg"):
        cv2.imwrite(str(path.with_suffix(".png")), cv2.imread(str(path)))
        path.unlink()
    write_list(tmp_path / "nyu_train.txt", [list_line("study_0003", 1)])
    (kept,) = prepare(tmp_path, tmp_path / "out").splits["train_all"]
    assert kept.image == "sync/study_0003/rgb_00001.png"


class TestOfficialFolders:
    def test_training_frames_without_a_mat(self, bts, tmp_path):
        manifest = prepare(bts, tmp_path)
        assert "official_splits/train, raw depth, no labels, maybe of scenes" in manifest.layout
        assert names(manifest.splits["train795"]) == [
            f"labelled/{n:05d}" for numbers in TRAIN_ROOMS.values() for n in numbers
        ]
        assert not {r.group for r in manifest.splits["train795"]} & {
            r.group for r in manifest.splits["test"]
        }

    def test_filled_test_depth_is_never_taken_for_raw(self, tmp_path):
        write_rooms(tmp_path / "official_splits/test", TEST_ROOMS, filled=True)
        manifest = prepare(tmp_path, tmp_path / "out")
        assert "filled depth" in manifest.layout and "nothing to train on" in manifest.layout
        assert list(manifest.splits) == ["test"]
        for item in manifest.splits["test"]:
            assert item.depth is None
            assert item.filled.path.endswith(f"sync_depth_{item.name[-5:]}.png")

    def test_a_test_frame_in_the_training_folders_leaves_them(self, tmp_path):
        write_rooms(tmp_path / "official_splits/train", {"bathroom": (0, 1, 3)})
        write_rooms(tmp_path / "official_splits/test", TEST_ROOMS)
        manifest = prepare(tmp_path, tmp_path / "out")
        assert names(manifest.splits["train795_all"]) == ["labelled/00000", "labelled/00003"]
        assert names(manifest.splits["test"]) == TESTED
        assert manifest.problems == (
            "train795_all: 1 frame left out, official_splits/train/bathroom/rgb_00001.jpg is in "
            "test too, its number is there",
        )

    def test_folders_by_scene_keep_their_scenes(self, tmp_path):
        write_rooms(tmp_path / "official_splits/train", {"kitchen_0028": (1,), "study_0001b": (2,)})
        groups = {r.group for r in prepare(tmp_path, tmp_path / "o").splits["train_all"]}
        assert groups == {"kitchen_0028", "study_0001"}


class TestValidation:
    def test_scenes_are_taken_by_hash_up_to_a_twentieth(self):
        records = [
            record(f"r{scene}_{n}", f"scene_{scene}") for scene in range(30) for n in range(4)
        ]
        # 120 frames: a twentieth is 6, so two scenes of four.
        order = sorted(
            {r.group for r in records}, key=lambda g: hashlib.sha256(g.encode()).hexdigest()
        )
        assert held_out_scenes(records) == set(order[:2])

    @given(st.dictionaries(st.integers(0, 9999).map("office_{:04d}".format), st.integers(1, 9)))
    def test_whole_scenes_near_a_twentieth_whatever_the_order(self, frames):
        records = [
            record(f"{name}/{n}", name) for name, count in frames.items() for n in range(count)
        ]
        held = held_out_scenes(records)
        assert held == held_out_scenes(records[::-1])
        assert held <= set(frames) and (len(held) < len(frames) or not frames)
        share = sum(frames[name] for name in held)
        assert (len(frames) < 2) == (not held)
        if held and len(held) < len(frames) - 1:
            assert share >= 0.05 * len(records)
            assert any(share - frames[name] < 0.05 * len(records) for name in held)

    def test_all_parts_of_a_scene_go_together(self, tmp_path):
        scenes = {f"bookstore_{n:04d}{part}": 1 for n in range(8) for part in "abcj"}
        write_scenes(tmp_path / "sync", scenes)
        splits = prepare(tmp_path, tmp_path / "out").splits
        train, held = (Counter(r.group for r in splits[name]) for name in ("train", "validation"))
        assert not train.keys() & held.keys()
        assert set((train + held).values()) == {4}
        assert len(held) == 1
        assert sorted(names((*splits["train"], *splits["validation"]))) == sorted(
            names(splits["train_all"])
        )

    @pytest.mark.parametrize(
        ("folder", "scene"),
        [
            ("kitchen_0028b", "kitchen_0028"),
            ("nyu_office_0", "nyu_office_0"),
            ("indoor_balcony_0001", "indoor_balcony_0001"),
            ("bookstore_0001j", "bookstore_0001"),
            ("home_office", "home_office"),
            ("office_kitchen", "office_kitchen"),
        ],
    )
    def test_scene_of_a_folder(self, folder, scene):
        assert scene_of(folder) == scene
        assert is_scene(folder) == any(letter.isdigit() for letter in folder)


class TestBesideTheMat:
    def test_both_depths_and_labels_of_the_test_set_and_scenes_apart(self, labelled, tmp_path):
        root = write_bts(tmp_path)
        tables = copy_labelled(labelled, root)
        manifest = prepare(root, tmp_path / "out", tables=tables)
        splits = manifest.splits
        assert manifest.label_set == "nyu40"
        assert names(splits["train_all"]) == LISTED
        assert names(splits["test"]) == [f"labelled/{index:05d}" for index in (1, 2, 5)]
        assert [r.group for r in splits["test"]] == ["bathroom_0007", "study_0009", "study_0009"]
        held = {r.group for r in splits["validation"]}
        assert held and not held & {r.group for r in splits["train795"]}
        assert {r.group for r in splits.get("validation795", ())} <= held
        assert len(splits["train795_all"]) == 3
        for item in (*splits["train795_all"], *splits["test"]):
            assert Path(item.image) == tmp_path / f"out/labelled/rgb/{item.name[-5:]}.png"

    def test_the_mat_may_lie_one_folder_above(self, labelled, tmp_path):
        root = write_bts(tmp_path)
        tables = copy_labelled(labelled, tmp_path)
        assert prepare(root, tmp_path / "out", tables=tables).label_set == "nyu40"

    def test_without_splits_the_pictures_are_still_used(self, labelled, tmp_path):
        root = write_bts(tmp_path)
        copy_labelled(labelled, root)
        (root / "splits.mat").unlink()
        manifest = prepare(root, tmp_path / "out")
        assert names(manifest.splits["test"]) == TESTED
        (problem,) = manifest.problems
        assert "splits.mat" in problem and problem.endswith(f"belongs in {root.resolve()}")

    def test_a_training_scene_in_the_test_set_is_found_by_the_checks(self, labelled, tmp_path):
        write_scenes(tmp_path / "sync", {"study_0009a": 2, "study_0001": 2, "study_0002": 2})
        tables = copy_labelled(labelled, tmp_path)
        manifest = check(prepare(tmp_path, tmp_path / "out", tables=tables), "files")
        assert "study_0009" not in {r.group for r in manifest.splits["train_all"]}
        assert any("study_0009 is in test too" in problem for problem in manifest.problems)


REAL = Path(__file__).resolve().parents[4] / "shared/data/rgbd/nyu/metric3d"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real frames of ../shared/data are not here")
def test_real_frames_are_plausible_in_their_scale_and_in_no_other(tmp_path):
    scene = tmp_path / "sync/living_room_0001"
    shutil.copytree(REAL, scene)
    manifest = prepare(tmp_path, tmp_path / "out")
    assert check(manifest).problems == ()
    for path in scene.glob("*.png"):
        code = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(path), np.rint(code * 0.256).astype(np.uint16))
    checked = check(manifest)
    assert checked.splits == {}
    assert checked.problems[0].startswith("all 3 frames with depth left out")
    assert "256 codes per metre" in checked.problems[0]


def test_acan_export_is_read_in_its_own_unit_and_its_end_is_held_out(tmp_path):
    write_acan(tmp_path)
    (tmp_path / "train_depth/00007.png").unlink()
    manifest = prepare(tmp_path, tmp_path / "out")
    assert len(manifest.splits["train"]) == 18
    # A twentieth of 19 pairs is one.
    assert names(manifest.splits["validation"]) == ["train_rgb/00020"]
    assert manifest.problems == ("train_rgb/00007 left out: picture or depth missing",)
    first = manifest.splits["train"][0]
    assert first.depth.path == "train_depth/00001.png"
    depth_m = PreparedReader(manifest).depth_m(first.depth, (480, 640))
    np.testing.assert_allclose(depth_m, room_depth_m(1), atol=1 / 256)


def test_acan_export_beside_the_mat_divides_the_labelled_frames_too(labelled, tmp_path):
    write_acan(tmp_path, 20)
    tables = copy_labelled(labelled, tmp_path)
    splits = prepare(tmp_path, tmp_path / "out", tables=tables).splits
    assert len(splits["train795"]) + len(splits["validation795"]) == 3
    assert {r.group for r in splits["train795"]}.isdisjoint(
        r.group for r in splits["validation795"]
    )
    assert {r.group for r in splits["train795_all"]} == {LABELLED_SCENES[i] for i in (0, 3, 4)}


def test_a_list_needs_scenes(tmp_path):
    write_acan(tmp_path, 2)
    with pytest.raises(DataError, match="no scene folders"):
        prepare(tmp_path, tmp_path, train_list=tmp_path / "list.txt")
