from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts.kitti import TEST, TRAINING, write_kitti, write_selection

from mono_depth_ros.errors import DataError
from training.prepare.checks import check
from training.prepare.kitti import prepare
from training.prepare.kitti_gather import Wanted, ranges
from training.prepare.kitti_lists import read_line
from training.prepare.kitti_split import Frame

SIZE = (24, 80)


def image(drive=TRAINING, number=5, camera="02", suffix="png"):
    return f"2011_09_26/{drive}/image_{camera}/data/{number:010d}.{suffix}"


def truth(drive=TRAINING, number=5, camera="02"):
    return f"{drive}/proj_depth/groundtruth/image_{camera}/{number:010d}.png"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_kitti(tmp_path_factory.mktemp("kitti"), size=SIZE, suffix=".jpg")


def splits_of(root, tmp_path, text, name="train"):
    path = tmp_path / f"{name}.txt"
    path.write_text(text)
    return prepare(root, tmp_path, lists=[path])


LEFT, RIGHT = Wanted(Frame(TRAINING, 5)), Wanted(Frame(TRAINING, 5), "map", "03")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{image()} {truth()} 721.5377", (LEFT,)),
        (f"{image()} {truth()}", (LEFT,)),
        (f"/{image()} /{truth()} 721.5377\n", (LEFT,)),
        (f"/raw_data/{image()} /data_depth_annotated/train/{truth()}", (LEFT,)),
        (f"/mnt/bn/x/{image(suffix='jpg')} /mnt/bn/y/val/{truth()}", (LEFT,)),
        (f"{image()} None 721.5377", (Wanted(Frame(TRAINING, 5), "none"),)),
        (
            f"{image()} {truth()} 721.5377 {image(camera='03')} {truth(camera='03')}",
            (LEFT, RIGHT),
        ),
        (
            f"{image()} None 721.5377 {image(camera='03')} None",
            (LEFT._replace(truth="none"), RIGHT._replace(truth="none")),
        ),
    ],
)
def test_lines(line, expected):
    assert read_line(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "",
        image(),
        f"{image()} {truth()} 721.5377 {image(camera='03')}",
        f"None {truth()}",
        f"{image()} {truth(number=6)} 721.5377",
        f"{image()} {truth(camera='03')}",
        f"{image()} {truth(drive=TEST)}",
        "2011_09_26/2011_09_26_drive_0001_sync 5 l",
        "bathroom/rgb_00045.jpg bathroom/sync_depth_00045.png 518.8579",
    ],
)
def test_unreadable_lines(line):
    with pytest.raises(DataError):
        read_line(line)


def test_lists_keep_their_order_and_find_jpegs(root, tmp_path):
    lines = [f"/{image(number=n)} /{truth(number=n)} 721.5377" for n in (8, 5, 7)]
    manifest = splits_of(root, tmp_path, "\n".join(lines), "eigen_train_files_with_gt")
    records = manifest.splits["list_eigen_train_files_with_gt"]
    assert [record.name[-1] for record in records] == ["8", "5", "7"]
    assert records[0].image == f"raw/{image(number=8, suffix='jpg')}"
    assert records[0].depth.path == f"data_depth_annotated/train/{truth(number=8)}"


def test_five_columns_give_both_cameras(root, tmp_path):
    line = f"{image()} {truth()} 721.5377 {image(camera='03')} {truth(camera='03')}"
    records = splits_of(root, tmp_path, line).splits["list_train"]
    assert [record.name[-13:-11] for record in records] == ["02", "03"]


def test_none_stays_and_absent_files_are_problems(root, tmp_path):
    text = f"{image(TEST, 0)} None 721.5377\n{image(TEST, 6)} {truth(TEST, 6)} 721.5377\n\n"
    text += f"{image(TRAINING, 9)} {truth(TRAINING, 9)} 721.5377\n"
    manifest = splits_of(root, tmp_path, text, "test")
    assert [record.depth is None for record in manifest.splits["list_test"]] == [True, False]
    assert f"list_test: {TRAINING} lacks image_02 in all 1 frames" in manifest.problems


def test_unreadable_lines_are_counted_and_named(root, tmp_path):
    text = f"{image()} {truth()}\nnonsense\n\nmore nonsense here, really\n{image()} x\n"
    manifest = splits_of(root, tmp_path, text)
    assert len(manifest.splits["list_train"]) == 1
    (line,) = (problem for problem in manifest.problems if "unreadable" in problem)
    assert "3 unreadable lines (2, 4-5)" in line
    assert "'nonsense'" in line


def test_a_list_that_is_none_is_an_error(root, tmp_path):
    with pytest.raises(DataError, match="unreadable"):
        splits_of(root, tmp_path, "nonsense\n")
    with pytest.raises(DataError, match="empty"):
        splits_of(root, tmp_path, "\n")
    with pytest.raises(DataError, match="no list"):
        prepare(root, tmp_path, lists=[tmp_path / "nowhere.txt"])


def test_lists_in_the_root_are_taken_and_other_texts_left(tmp_path):
    write_kitti(tmp_path, size=SIZE)
    (tmp_path / "kitti_eigen_test.txt").write_text(f"{image(TEST, 6)} {truth(TEST, 6)} 721.5377\n")
    (tmp_path / "readme.txt").write_text("These pictures are under a licence.\n")
    (tmp_path / "empty.txt").write_text("")
    manifest = prepare(tmp_path, tmp_path, lists=[tmp_path / "kitti_eigen_test.txt"])
    assert [name for name in manifest.splits if name.startswith("list_")] == [
        "list_kitti_eigen_test"
    ]


def test_frames_of_test_drives_leave_a_list_to_train_on(root, tmp_path):
    lines = [f"{image(n, k)} {truth(n, k)}" for n, k in ((TRAINING, 5), (TEST, 6), (TEST, 9))]
    for name, kept in (("mine", 1), ("my_val", 3)):
        manifest = check(splits_of(root, tmp_path, "\n".join(lines), name), "files")
        assert len(manifest.records(f"list_{name}")) == kept
        told = [line for line in manifest.problems if line.startswith(f"list_{name}: ")]
        assert len(told) == (name == "mine")
    manifest = check(splits_of(root, tmp_path, "\n".join(lines), "mine"), "files")
    assert manifest.problems[0].startswith(
        f"list_mine: 2 frames left out, {TEST} is in eigen_test too"
    )


def test_a_mark_before_the_first_line_is_no_part_of_it(root, tmp_path):
    manifest = splits_of(root, tmp_path, f"\ufeff{image()} {truth()}\n")
    assert len(manifest.splits["list_train"]) == 1
    assert not any("unreadable" in problem for problem in manifest.problems)


def test_lists_that_lie_about_are_told(tmp_path):
    write_kitti(tmp_path, size=SIZE)
    for path in ("splits/eigen/train.txt", "filenames/mine.txt", "splits/nyu.txt", "far/x.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{image()} {truth()}\n")
    (tmp_path / "splits/nyu.txt").write_text("/a/rgb_00001.jpg /a/sync_depth_00001.png 518.8579\n")
    (tmp_path / "root_list.txt").write_text(f"{image()} {truth()}\n")
    manifest = prepare(tmp_path, tmp_path, lists=[tmp_path / "filenames/mine.txt"])
    assert {name for name in manifest.splits if name.startswith("list_")} == {
        "list_mine",
        "list_root_list",
    }
    assert manifest.layout.endswith(
        f"; lists not used (--list takes them): {tmp_path / 'splits/eigen/train.txt'}"
    )


def test_a_list_needs_raw_drives(tmp_path):
    write_selection(tmp_path, 1, size=SIZE)
    with pytest.raises(DataError, match=r"has no raw drives for the frames of .*mine"):
        prepare(tmp_path, tmp_path, lists=[tmp_path / "mine.txt"])


def test_two_lists_of_one_name_are_refused(root, tmp_path):
    paths = [tmp_path / folder / "train.txt" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(f"{image()} {truth()}\n")
    with pytest.raises(DataError, match="two lists"):
        prepare(root, tmp_path, lists=paths)


def test_ranges():
    assert ranges([]) == ""
    assert ranges([7]) == "7"
    assert ranges([1, 6, 5, 7, 7]) == "1, 5-7"


@given(st.sets(st.integers(0, 60)))
def test_ranges_name_exactly_their_numbers(numbers):
    named = set()
    for part in filter(None, ranges(numbers).split(", ")):
        first, _, last = part.partition("-")
        named |= set(range(int(first), int(last or first) + 1))
    assert named == numbers
