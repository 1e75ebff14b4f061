"""Every kind of bad file is named and leaves its splits; hashes; plausible scales."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.manifest import DepthFile, Manifest, Record
from training.prepare.checks import check

SIZE = (12, 16)
INTRINSICS = (20.0, 20.0, 8.0, 6.0)


def write_picture(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), values)


def random_picture(seed, size=SIZE):
    return np.random.default_rng(seed).integers(0, 255, (*size, 3), np.uint8)


def write_frame(root, number, depth_m=3.0, labels=7, scale=256.0, size=SIZE):
    name = f"{number:03d}"
    write_picture(root / f"rgb/{name}.png", random_picture(number, size))
    code = np.full(size, round(depth_m * scale), np.uint16)
    code[0] = 0
    write_picture(root / f"depth/{name}.png", code)
    write_picture(root / f"labels/{name}.png", np.full(size, labels, np.uint8))
    depth = DepthFile(f"depth/{name}.png", "linear", scale)
    return Record(
        name, f"g{number}", f"rgb/{name}.png", INTRINSICS, depth, None, f"labels/{name}.png"
    )


def manifest_of(root, records, dataset="nyu", label_set="nyu40", **splits):
    splits = {"train": tuple(records), **splits}
    return Manifest(dataset, "a test", root, splits, label_set)


@pytest.fixture
def frames(tmp_path):
    return [write_frame(tmp_path, number) for number in range(4)]


def test_good_frames_stay_and_get_their_hash(tmp_path, frames):
    checked = check(manifest_of(tmp_path, frames), workers=3)
    assert checked.problems == ()
    records = checked.records("train")
    assert [replace(record, sha256="") for record in records] == frames
    for record in records:
        data = b"".join(
            (tmp_path / path).read_bytes()
            for path in (record.image, record.depth.path, record.labels)
        )
        assert record.sha256 == hashlib.sha256(data).hexdigest()[:16]
    assert check(manifest_of(tmp_path, frames), workers=1) == checked
    only_files = check(manifest_of(tmp_path, frames), "files")
    assert only_files.splits == {"train": tuple(frames)}


def damage(kind, root, record):
    """Do something to a frame; return what the problem must say."""
    image, depth, labels = (
        root / path for path in (record.image, record.depth.path, record.labels)
    )
    changes = {
        "no image": (lambda: image.unlink(), "rgb/001.png is missing"),
        "no depth": (lambda: depth.unlink(), "depth/001.png is missing"),
        "empty labels": (lambda: labels.write_bytes(b""), "labels/001.png is empty (0 bytes)"),
        "text": (lambda: image.write_bytes(b"<html>quota"), "rgb/001.png"),
        "cut": (lambda: depth.write_bytes(depth.read_bytes()[:-20]), "truncated"),
        "flipped": (lambda: flip_a_byte(depth), "depth/001.png cannot be decoded"),
        "no depth in it": (
            lambda: write_picture(depth, np.zeros(SIZE, np.uint16)),
            "depth/001.png is without any depth",
        ),
        "8 bits": (
            lambda: write_picture(depth, np.ones(SIZE, np.uint8)),
            "1 x uint8; depth must be one channel of 16 bits",
        ),
        "colour depth": (lambda: write_picture(depth, random_picture(0)), "3 x uint8"),
        "other size": (
            lambda: write_picture(depth, np.full((6, 8), 768, np.uint16)),
            "depth/001.png is 6x8, its image 12x16",
        ),
        "labels of another size": (
            lambda: write_picture(labels, np.ones((6, 8), np.uint8)),
            "labels/001.png is 6x8, its image 12x16",
        ),
        "16-bit labels": (lambda: write_picture(labels, np.ones(SIZE, np.uint16)), "1 x uint16"),
        "void": (lambda: write_picture(labels, np.zeros(SIZE, np.uint8)), "labels nothing"),
        "other base": (lambda: write_picture(labels, np.full(SIZE, 255, np.uint8)), "label 255"),
        "a class too many": (
            lambda: write_picture(labels, np.full(SIZE, 41, np.uint8)),
            "label 41",
        ),
    }
    change, expected = changes[kind]
    change()
    return expected


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


IN_FILES = ("no image", "no depth", "empty labels")


@pytest.mark.parametrize(
    "kind",
    [
        *IN_FILES,
        "text",
        "cut",
        "flipped",
        "no depth in it",
        "8 bits",
        "colour depth",
        "other size",
        "labels of another size",
        "16-bit labels",
        "void",
        "other base",
        "a class too many",
    ],
)
def test_a_bad_file_costs_its_frame_and_is_named(tmp_path, frames, kind):
    expected = damage(kind, tmp_path, frames[1])
    manifest = manifest_of(tmp_path, frames, train795=tuple(frames[:2]))
    checked = check(manifest)
    assert [record.name for record in checked.records("train")] == ["000", "002", "003"]
    assert [record.name for record in checked.records("train795")] == ["000"]
    assert len(checked.problems) == 1
    assert checked.problems[0].startswith("001 left out: ")
    assert expected in checked.problems[0]
    # Without opening files only their presence and length are seen.
    assert bool(check(manifest, "files").problems) == (kind in IN_FILES)


def test_a_bad_second_depth_counts_too(tmp_path, frames):
    filled = replace(frames[0].depth, path="depth/nowhere.png")
    checked = check(manifest_of(tmp_path, [replace(frames[0], filled=filled), *frames[1:]]))
    assert len(checked.records("train")) == 3
    assert "nowhere.png is missing" in checked.problems[0]


def test_the_hash_is_of_the_second_depth_too(tmp_path, frames):
    filled = replace(frames[0].depth, path="depth/filled.png")
    write_picture(tmp_path / filled.path, np.full(SIZE, 800, np.uint16))
    record = replace(frames[0], filled=filled)
    (checked,) = check(manifest_of(tmp_path, [record])).records("train")
    paths = (record.image, record.depth.path, filled.path, record.labels)
    data = b"".join((tmp_path / path).read_bytes() for path in paths)
    assert checked.sha256 == hashlib.sha256(data).hexdigest()[:16]


def test_a_split_that_loses_all_its_frames_is_dropped_and_named(tmp_path, frames):
    damage("no image", tmp_path, frames[1])
    checked = check(manifest_of(tmp_path, frames, test=(frames[1],)))
    assert set(checked.splits) == {"train"}
    assert checked.problems[-1] == "test has no frames, it is not written"


@pytest.mark.parametrize(
    ("dataset", "written", "read", "depth_m", "fits"),
    [
        ("nyu", 1000, 1000, 2.5, True),
        ("nyu", 1000, 1000, 9.995, True),
        # ACAN's export holds 1/256 m, BTS' millimetres.
        ("nyu", 1000, 256, 2.8, False),
        ("nyu", 1000, 1000, 0.05, False),
        ("kitti", 256, 256, 79.0, True),
        ("kitti", 1000, 256, 25.0, False),
        ("kitti", 256, 1000, 3.5, False),
        ("bag", 256, 256, 0.3, True),
        ("another", 256, 256, 200.0, True),
    ],
)
def test_the_scale_must_be_plausible(tmp_path, dataset, written, read, depth_m, fits):
    record = write_frame(tmp_path, 0, depth_m, scale=written)
    record = replace(record, depth=replace(record.depth, scale=read))
    problems = check(manifest_of(tmp_path, [record], dataset)).problems
    assert ("written with another scale" in "".join(problems)) != fits


def test_a_few_far_pixels_are_no_wrong_scale(tmp_path):
    record = write_frame(tmp_path, 0, 12.0)
    code = np.full(SIZE, 12 * 256, np.uint16)
    code[0, :3] = 85 * 256  # of 192 pixels: KITTI's annotated maps have such
    write_picture(tmp_path / record.depth.path, code)
    assert check(manifest_of(tmp_path, [record], "kitti")).problems == ()


def test_disparity_is_judged_by_its_metres(tmp_path):
    frames = [write_frame(tmp_path, number) for number in range(2)]
    for frame, disparity_px in zip(frames, (20.0, 20.0 / 256), strict=True):
        code = np.full(SIZE, round(disparity_px * 256), np.uint16)
        write_picture(tmp_path / frame.depth.path, code)
    records = [
        replace(frame, depth=DepthFile(frame.depth.path, "stereo2015", 384.0)) for frame in frames
    ]
    checked = check(manifest_of(tmp_path, records, "stereo2015"))
    assert [record.name for record in checked.records("train")] == ["000"]
    # 384 / 20 = 19.2 m is fine; disparity stored without its factor 256 gives 4915 m.
    assert "4.92e+03 m" in checked.problems[0]


class TestTooNear:
    """Depth that every picture alone could have, and not all of them."""

    def records(self, root, written, read, depths_m, first=0):
        frames = [write_frame(root, first + n, d, scale=written) for n, d in enumerate(depths_m)]
        return [replace(f, depth=replace(f.depth, scale=read)) for f in frames]

    @pytest.mark.parametrize(
        ("dataset", "written", "read", "depths_m", "expected"),
        [
            # Medians of 0.64, 0.77 and 2.3 m: the sensor's farthest 9 m look like 2.3 m.
            ("nyu", 256, 1000, (2.5, 3.0, 9.0), ("0.768 m", "beyond 3 m", "256 codes per metre")),
            # 4.7, 5.5 and 31 m.
            ("kitti", 100, 256, (12, 14, 80), ("5.47 m", "beyond 40 m", "100 codes per metre")),
            ("kitti", 50, 256, (12, 14, 80), ("2.73 m", "another scale")),
        ],
    )
    def test_all_of_it_is_left_out_in_one_line(
        self, tmp_path, dataset, written, read, depths_m, expected
    ):
        frames = self.records(tmp_path, written, read, depths_m)
        checked = check(manifest_of(tmp_path, frames, dataset))
        assert checked.splits == {}
        first, second = checked.problems
        assert first.startswith("all 3 frames with depth left out: ")
        assert f"read with scale {read:g} half of them have a median below" in first
        assert first.endswith(f"write them again with {read:g}")
        assert all(words in first for words in expected)
        assert second == "train has no frames, it is not written"

    def test_one_far_picture_clears_all(self, tmp_path):
        frames = self.records(tmp_path, 1000, 1000, (0.7, 0.8, 3.1))
        assert check(manifest_of(tmp_path, frames)).problems == ()
        code = np.full(SIZE, 800, np.uint16)
        # 3 of 192 pixels are 1.6 %, 4 are 2.1 %.
        for pixels, problems in ((3, 2), (4, 0)):
            code[0, :pixels] = 3100
            write_picture(tmp_path / frames[2].depth.path, code)
            assert len(check(manifest_of(tmp_path, frames)).problems) == problems

    @pytest.mark.parametrize(("dataset", "depths_m"), [("nyu", (0.9, 1.1, 2.9)), ("kitti", (9, 8))])
    def test_a_near_scene_is_none(self, tmp_path, dataset, depths_m):
        frames = self.records(tmp_path, 256, 256, depths_m)
        assert check(manifest_of(tmp_path, frames, dataset)).problems == ()

    def test_scales_and_tests_are_judged_apart(self, tmp_path):
        wrong = self.records(tmp_path, 256, 1000, (2.5, 3.0))
        right = self.records(tmp_path, 1000, 1000, (2.5, 5.0), first=2)
        export = self.records(tmp_path, 256, 256, (2.5, 5.0), first=4)
        checked = check(manifest_of(tmp_path, [*wrong, *export], test=tuple(right)))
        assert [r.name for r in checked.records("train")] == ["004", "005"]
        assert [r.name for r in checked.records("test")] == ["002", "003"]
        (problem,) = checked.problems
        assert problem.startswith("all 2 frames with depth left out")

    def test_filled_depth_counts_where_there_is_no_other(self, tmp_path):
        frames = self.records(tmp_path, 256, 1000, (2.5, 3.0))
        filled = [replace(frame, depth=None, filled=frame.depth) for frame in frames]
        checked = check(manifest_of(tmp_path, (), test=tuple(filled)))
        assert checked.problems[0].startswith("all 2 test frames left out")


class TestSizes:
    def test_a_picture_of_another_size_is_named(self, tmp_path, frames):
        small = write_frame(tmp_path, 4, size=(6, 8))
        checked = check(manifest_of(tmp_path, [*frames, small]))
        assert [record.name for record in checked.records("train")] == ["000", "001", "002", "003"]
        assert checked.problems == (
            "004 left out: rgb/004.png is 6x8, other pictures of its camera are 12x16; fetch it "
            "again",
        )
        assert check(manifest_of(tmp_path, [*frames, small]), "files").problems == ()

    def test_of_two_the_larger_is_right(self, tmp_path, frames):
        small = write_frame(tmp_path, 4, size=(6, 8))
        checked = check(manifest_of(tmp_path, [small, frames[0]]))
        assert [record.name for record in checked.records("train")] == ["000"]

    def test_other_cameras_and_test_pictures_have_their_own(self, tmp_path, frames):
        small = write_frame(tmp_path, 4, size=(6, 8))
        other = replace(small, intrinsics=(10.0, 10.0, 4.0, 3.0))
        assert check(manifest_of(tmp_path, [*frames, other])).problems == ()
        assert check(manifest_of(tmp_path, frames, test=(small,))).problems == ()


class TestLabelBase:
    def test_labels_that_never_reach_40_have_the_wrong_base(self, tmp_path):
        frames = [write_frame(tmp_path, number, labels=38 + number) for number in range(2)]
        plain = replace(write_frame(tmp_path, 2), labels="")
        checked = check(manifest_of(tmp_path, [*frames, plain]))
        assert [record.name for record in checked.records("train")] == ["002"]
        (problem,) = checked.problems
        assert problem.startswith("all 2 frames with labels left out")
        assert "0 must be void and 1 to 40" in problem

    def test_one_picture_with_40_clears_all(self, tmp_path):
        frames = [write_frame(tmp_path, number, labels=38 + number) for number in range(3)]
        assert check(manifest_of(tmp_path, frames)).problems == ()

    @pytest.mark.parametrize(
        ("label", "expected"), [(18, ""), (19, "look like label ids"), (255, "labels nothing")]
    )
    def test_cityscapes(self, tmp_path, label, expected):
        record = write_frame(tmp_path, 0, labels=label)
        checked = check(manifest_of(tmp_path, [record], "cityscapes", "cityscapes"))
        assert expected in "".join(checked.problems)
        assert bool(checked.problems) == bool(expected)


class TestScans:
    @pytest.fixture
    def record(self, tmp_path):
        frame = write_frame(tmp_path, 0)
        for name in ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt"):
            (tmp_path / name).write_text("R: 1")
        points = np.random.default_rng(0).uniform(-60, 60, (50, 4)).astype("<f4")
        (tmp_path / "scan.bin").write_bytes(points.tobytes())
        return replace(frame, depth=DepthFile("scan.bin", "velodyne", calibration="."), labels="")

    def test_a_good_one_passes(self, tmp_path, record):
        checked = check(manifest_of(tmp_path, [record], "kitti", ""))
        assert checked.problems == ()
        data = (tmp_path / record.image).read_bytes() + (tmp_path / "scan.bin").read_bytes()
        expected = hashlib.sha256(data).hexdigest()[:16]
        assert checked.records("train")[0].sha256 == expected

    @pytest.mark.parametrize(
        ("points", "expected"),
        [
            (b"\0" * 40, "not a multiple of 16"),
            (np.full((3, 4), np.nan, "<f4").tobytes(), "no scan in metres"),
            (np.full((3, 4), 4000.0, "<f4").tobytes(), "no scan in metres"),
            (np.zeros((3, 4), "<f4").tobytes(), "without any point"),
        ],
        ids=["half a point", "nan", "millimetres", "zeros"],
    )
    def test_bad_ones_do_not(self, tmp_path, record, points, expected):
        (tmp_path / "scan.bin").write_bytes(points)
        assert expected in check(manifest_of(tmp_path, [record], "kitti", "")).problems[0]

    @pytest.mark.parametrize("depth", ["files", "contents"])
    def test_the_calibration_must_be_there(self, tmp_path, record, depth):
        (tmp_path / "calib_velo_to_cam.txt").unlink()
        problem = check(manifest_of(tmp_path, [record], "kitti", ""), depth).problems[0]
        assert "calib_velo_to_cam.txt is missing" in problem


@settings(max_examples=60, deadline=None)
@given(position=st.floats(0, 1), value=st.integers(0, 255), length=st.floats(0, 1))
def test_no_damage_to_a_picture_ends_the_check(tmp_path_factory, position, value, length):
    root = tmp_path_factory.getbasetemp() / "fuzz"
    record = write_frame(root, 0)
    path = root / record.depth.path
    data = bytearray(path.read_bytes())
    data[int(position * (len(data) - 1))] = value
    path.write_bytes(data[: max(1, round(length * len(data)))] if length < 0.9 else data)
    checked = check(manifest_of(root, [record]), workers=1)
    assert bool(checked.problems) != bool(checked.splits)
