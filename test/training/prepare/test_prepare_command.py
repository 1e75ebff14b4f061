"""`python -m training.prepare`: recognises, reports, refuses, writes what training reads."""

from __future__ import annotations

import hashlib
import json

import pytest
from layouts.bag import write_bag
from layouts.cityscapes import write_cityscapes
from layouts.kitti import TEST, TRAINING, write_kitti
from layouts.nyu import list_line, write_bts, write_list
from layouts.stereo2015 import write_stereo2015

from mono_depth_ros.cli.main import main as mono_depth
from mono_depth_ros.errors import ConfigError, DataError
from training.manifest import read_manifest
from training.prepare import EXPECTED, KINDS, recognise
from training.prepare import __main__ as command
from training.prepare.__main__ import main
from training.prepare.problems import ABSENT, BAD, LEAKED, kind_of

SIZE = (24, 48)


@pytest.fixture
def stereo(tmp_path):
    return write_stereo2015(tmp_path / "stereo", 10, SIZE)


def prepare(*arguments):
    return main([str(argument) for argument in arguments])


def test_stereo_2015_is_recognised_checked_and_written(stereo, tmp_path, capsys):
    assert prepare("auto", stereo, tmp_path / "out", "--workers", 2) == 0
    output = capsys.readouterr()
    assert "recognised stereo2015: KITTI stereo 2015 in" in output.out
    assert "problems: none" in output.out
    assert "checking: 10/10" in output.err
    table = [line.split() for line in output.out.splitlines()]
    assert ["train", "9", "9", "9", "0"] in table
    assert ["validation", "1", "1", "1", "0"] in table
    manifest = read_manifest(tmp_path / "out")
    assert manifest.root == stereo / "training"
    assert {name: len(records) for name, records in manifest.splits.items()} == {
        "train": 9,
        "validation": 1,
    }
    record = manifest.records("train")[3]
    data = b"".join((manifest.root / p).read_bytes() for p in (record.image, record.depth.path))
    assert record.sha256 == hashlib.sha256(data).hexdigest()[:16]


def test_cityscapes_and_bags(tmp_path, capsys):
    write_cityscapes(tmp_path / "cs", 2, SIZE)
    assert prepare("auto", tmp_path / "cs", tmp_path / "out_cs", "--strict") == 0
    manifest = read_manifest(tmp_path / "out_cs")
    assert {name: len(records) for name, records in manifest.splits.items()} == {
        "train": 4,
        "validation": 2,
        "train200": 4,
    }
    assert all(record.sha256 for record in manifest.records("train200"))
    write_bag(tmp_path / "bag", 12, (48, 80))
    assert mono_depth(["extract", str(tmp_path / "bag"), str(tmp_path / "robot")]) == 0
    assert prepare("auto", tmp_path / "robot", tmp_path / "out_bag", "--strict") == 0
    assert "recognised bag: 1 recording" in capsys.readouterr().out
    assert read_manifest(tmp_path / "out_bag").records("validation")


def test_problems_are_counted_shown_and_kept(stereo, tmp_path, capsys):
    depths = sorted((stereo / "training/disp_occ_0").iterdir())
    depths[0].unlink()
    depths[1].write_bytes(depths[1].read_bytes()[:100])
    assert prepare("stereo2015", stereo, tmp_path / "out") == 0
    output = capsys.readouterr().out
    assert "problems: 2" in output
    assert "000000_10 left out: disp_occ_0/000000_10.png is missing" in output
    manifest = read_manifest(tmp_path / "out")
    assert len(manifest.records("train")) == 7
    assert len(manifest.problems) == 2


def test_strict_makes_a_problem_an_error_and_shows_them_all(stereo, tmp_path, capsys):
    for path in (stereo / "training/disp_occ_0").iterdir():
        path.write_bytes(b"")
    assert prepare("stereo2015", stereo, tmp_path / "out") == 1
    output = capsys.readouterr().out
    assert "damaged or wrong: 10" in output and "not there: 2" in output
    assert prepare("stereo2015", stereo, tmp_path / "out", "--strict") == 1
    output = capsys.readouterr()
    assert output.out.count("is empty (0 bytes)") == 10
    assert "12 problems, and --strict allows none" in output.err
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_spoils_scores_is_told_before_what_is_only_not_there(tmp_path, capsys):
    frames = {TRAINING: (5, 7), TEST: (6, 9)}
    root, out = write_kitti(tmp_path / "kitti", frames, size=SIZE), tmp_path / "out"
    picture = f"2011_09_26/{TRAINING}/image_02/data/0000000005.png"
    (root / "raw" / picture).write_bytes(b"")
    image = "2011_09_26/{0}/image_02/data/{1:010d}.png"
    line = f"{image} {{0}}/proj_depth/groundtruth/image_02/{{1:010d}}.png"
    write_list(root / "mine.txt", [line.format(TRAINING, 7), line.format(TEST, 9)])
    assert prepare("kitti", root, out) == 0
    text = capsys.readouterr().out
    lines = [line.strip() for line in text[text.index("problems: ") :].splitlines()]
    problems = read_manifest(out).problems
    absent = len(problems) - 2
    assert absent > 80
    assert lines[0] == f"problems: {len(problems)}"
    assert lines[1] == "in two splits: 1"
    assert lines[2].startswith(f"list_mine: 1 frame left out, {TEST} is in eigen_test too")
    assert lines[3] == "damaged or wrong: 1"
    assert lines[4] == (
        f"{TRAINING}_image_02_0000000005 left out: raw/{picture} is empty (0 bytes); fetch it again"
    )
    assert lines[5] == f"not there: {absent}"
    assert lines[7].startswith("eigen_test: no raw/")
    assert lines[16] == f"and {absent - 10} more, all in manifest.json"
    assert list(problems[:2]) == [lines[2], lines[4]]


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        ("train: 2 frames left out, kitchen is in test too", LEAKED),
        ("all 3 frames with depth left out: read with scale 256", BAD),
        ("001 left out: depth/001.png is empty (0 bytes); fetch it again", BAD),
        ("a.txt has 3 unreadable lines (2, 4-5), the first is 'x'", BAD),
        ("001 left out: depth/001.png is missing", ABSENT),
        ("eigen_train_all: 2011_09_26_drive_0001_sync lacks image_02 in all 98 frames", ABSENT),
        ("no labels: classMapping40.mat belongs in /data", ABSENT),
        ("train has no frames, it is not written", ABSENT),
        ("benchmark_test has 3 images; KITTI's has 500", ABSENT),
    ],
)
def test_what_a_problem_is_about(problem, kind):
    assert kind_of(problem) == kind


class TestLists:
    def test_the_training_list_of_nyu(self, tmp_path, capsys):
        root = write_bts(tmp_path)
        path = write_list(tmp_path / "my list.txt", [list_line("bathroom_0001", 2)])
        assert prepare("nyu", root, tmp_path / "out", "--list", path) == 0
        assert f"1 pairs of {path}" in capsys.readouterr().out
        (record,) = read_manifest(tmp_path / "out").records("train_all")
        assert record.name == "bathroom_0001/00002"
        assert prepare("auto", root, tmp_path / "b", "--list", path, "--list", path) == 1
        assert "nyu takes one list, that of the training" in capsys.readouterr().err

    def test_lists_of_kitti_become_splits(self, tmp_path):
        root = write_kitti(tmp_path / "kitti", {TRAINING: (5, 6)}, size=SIZE)
        line = f"2011_09_26/{TRAINING}/image_02/data/0000000006.png None"
        paths = [write_list(tmp_path / f"{name}.txt", [line]) for name in ("a", "b")]
        arguments = [part for path in paths for part in ("--list", path)]
        assert prepare("auto", root, tmp_path / "out", *arguments) == 0
        splits = read_manifest(tmp_path / "out").splits
        assert [len(splits[f"list_{name}"]) for name in "ab"] == [1, 1]

    def test_others_take_none(self, stereo, tmp_path, capsys):
        assert prepare("stereo2015", stereo, tmp_path / "out", "--list", "a.txt") == 1
        assert "stereo2015 takes no list, got a.txt" in capsys.readouterr().err


def test_files_alone_are_not_opened(stereo, tmp_path):
    path = next((stereo / "training/disp_occ_0").iterdir())
    path.write_bytes(b"no picture")
    assert prepare("stereo2015", stereo, tmp_path / "a", "--check", "files", "--strict") == 0
    assert all(not record.sha256 for record in read_manifest(tmp_path / "a").records("train"))
    assert prepare("stereo2015", stereo, tmp_path / "b", "--strict") == 1


def test_a_frame_in_both_splits_is_found_by_its_bytes(stereo, tmp_path, capsys):
    folder = stereo / "training/image_2"
    (folder / "000004_10.png").write_bytes((folder / "000009_10.png").read_bytes())
    assert prepare("stereo2015", stereo, tmp_path / "out") == 0
    assert (
        "train: 1 frame left out, image_2/000004_10.png is the picture image_2/000009_10.png of "
        "validation"
    ) in capsys.readouterr().out
    assert len(read_manifest(tmp_path / "out").records("train")) == 8


def test_preparing_again_gives_the_same_and_another_kind_is_refused(stereo, tmp_path, capsys):
    out = tmp_path / "out"
    prepare("stereo2015", stereo, out)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    prepare("stereo2015", stereo, out, "--workers", 1)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first
    write_cityscapes(tmp_path / "cs", 1, SIZE)
    capsys.readouterr()
    assert prepare("cityscapes", tmp_path / "cs", out) == 1
    assert "holds the prepared stereo2015; choose another folder" in capsys.readouterr().err
    (out / "manifest.json").write_text(json.dumps({"format": 0}))
    assert prepare("stereo2015", stereo, out) == 0


def test_the_default_folder(stereo, tmp_path, monkeypatch):
    assert command.FOLDER.name == "data"
    assert (command.FOLDER.parent / "training" / "prepare").is_dir()
    monkeypatch.setattr(command, "FOLDER", tmp_path / "data")
    assert prepare("auto", stereo) == 0
    assert read_manifest(tmp_path / "data" / "stereo2015").dataset == "stereo2015"


def test_what_is_not_recognised_says_what_would_be(stereo, tmp_path, capsys):
    assert prepare("auto", tmp_path / "nowhere") == 1
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "holiday.jpg").write_bytes(b"")
    assert prepare("auto", tmp_path) == 1
    error = capsys.readouterr().err
    assert "it holds holiday.jpg, stereo. Looked for" in error
    assert all(f"{kind}: {expected}" in error for kind, expected in EXPECTED.items())
    with pytest.raises(DataError, match="is no known data set"):
        recognise(tmp_path)


def test_two_data_sets_in_one_folder_must_be_named(stereo):
    write_cityscapes(stereo, 1, SIZE)
    with pytest.raises(ConfigError, match="holds stereo2015 and cityscapes; name one"):
        recognise(stereo)


def test_arguments_and_interrupts(stereo, tmp_path, capsys, monkeypatch):
    assert prepare("auto", stereo, tmp_path / "out", "--workers", 0) == 1
    assert "--workers must be at least 1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        prepare("imagenet", stereo)
    with pytest.raises(SystemExit):
        prepare("--help")
    assert EXPECTED["cityscapes"] in capsys.readouterr().out

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "check", interrupted)
    assert prepare("stereo2015", stereo, tmp_path / "out") == 130
    assert not (tmp_path / "out").exists()

    def lacking(*_):
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")

    monkeypatch.setattr(command, "check", lacking)
    assert prepare("stereo2015", stereo, tmp_path / "out") == 1
    assert "needs h5py: run `pip install" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_refuses_an_empty_folder(kind, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert prepare(kind, tmp_path / "empty", tmp_path / "out") == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()
