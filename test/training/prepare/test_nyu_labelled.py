"""Pictures, splits and labels from the files of the labelled NYU Depth V2."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from layouts.nyu import (
    TEST_NDXS,
    TRAIN_NDXS,
    write_classes,
    write_labelled,
    write_mat,
    write_splits,
)
from scipy.io import savemat

from mono_depth_ros.errors import DataError
from training.prepare.checks import check
from training.prepare.nyu import prepare
from training.prepare.nyu_labelled import LabelledFrames, make_pictures, open_labelled, picture
from training.prepare.nyu_labels import nyu40, read_classes
from training.prepare.nyu_mat import PUBLISHED, Fingerprint, Tables, read_splits

KINDS = ("rgb", "depth", "filled", "labels40")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    return folder, write_labelled(folder)


@pytest.fixture(scope="module")
def prepared(labelled, tmp_path_factory):
    folder, written = labelled
    out = tmp_path_factory.mktemp("out")
    return out, prepare(folder, out, tables=written.tables)


def load(path: Path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def first_frames(written, count):
    """Return what was written without the later frames."""
    keys = ("scenes", "rgb", "raw_m", "filled_m", "labels")
    return replace(written, **{key: getattr(written, key)[:count] for key in keys})


class TestPictures:
    def test_rgb_is_upright_and_black_where_bts_blackens(self, labelled, prepared):
        _, written = labelled
        out, _ = prepared
        for index, rgb in enumerate(written.rgb):
            found = load(out / f"labelled/rgb/{index:05d}.png")[..., ::-1]
            assert found.shape == (480, 640, 3)
            np.testing.assert_array_equal(found[7:474, 7:632], rgb[7:474, 7:632])
            assert not found[:7].any() and not found[474:].any()
            assert not found[:, :7].any() and not found[:, 632:].any()

    def test_depth_is_cut_off_to_whole_millimetres(self, labelled, prepared):
        _, written = labelled
        out, _ = prepared
        for kind, depths_m in (("depth", written.raw_m), ("filled", written.filled_m)):
            for index, depth_m in enumerate(depths_m):
                code = load(picture(out / "labelled", kind, index))
                assert code.dtype == np.uint16
                np.testing.assert_array_equal(code, np.floor(depth_m * np.float32(1000)))
        assert (load(out / "labelled/depth/00000.png") == 0).any()
        assert (load(out / "labelled/filled/00000.png") > 0).all()

    def test_labels_are_the_mapped_ones_and_0_stays_void(self, labelled, prepared):
        _, written = labelled
        out, _ = prepared
        for index, raw in enumerate(written.labels):
            found = load(out / f"labelled/labels40/{index:05d}.png")
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found == 0, raw == 0)
            np.testing.assert_array_equal(found[raw > 0], written.map_class[raw[raw > 0] - 1])

    def test_impossible_depth_is_unknown(self, tmp_path, labelled):
        _, written = labelled
        raw_m = written.raw_m[:1].copy()
        raw_m[0, 100, 200:204] = np.nan, np.inf, -1.0, 70.0
        one = first_frames(written, 1)
        write_mat(tmp_path / "a.mat", replace(one, raw_m=raw_m))
        with open_labelled(tmp_path / "a.mat") as frames:
            assert frames.raw_code(0)[100, 200:204].tolist() == [0, 0, 0, 65535]

    def test_the_mat_alone_is_a_whole_data_set(self, labelled, prepared):
        _, written = labelled
        _, manifest = prepared
        assert manifest.problems == () and manifest.label_set == "nyu40"
        # trainNdxs 1, 4, 5 and testNdxs 2, 3, 6 count from 1.
        assert [r.name for r in manifest.splits["test"]] == [f"labelled/0000{i}" for i in (1, 2, 5)]
        assert [r.name for r in manifest.splits["train_all"]] == [
            f"labelled/0000{i}" for i in (0, 3, 4)
        ]
        assert manifest.splits["train"] == manifest.splits["train795"]
        assert manifest.splits["validation"] == manifest.splits["validation795"]
        assert len(manifest.splits["train"]) == 2 and len(manifest.splits["validation"]) == 1
        for record in manifest.splits["test"]:
            index = int(record.name[-5:])
            assert record.group == written.scenes[index]
            assert Path(record.depth.path).parent.name == "depth"
            assert Path(record.filled.path).parent.name == "filled"
        assert check(manifest).problems == ()


class TestContinuing:
    def test_what_is_there_is_kept_and_the_rest_is_made(self, labelled, tmp_path):
        folder, written = labelled
        first = prepare(folder, tmp_path, tables=written.tables)
        made = tmp_path / "labelled"
        before = {path: path.read_bytes() for path in made.rglob("*.png")}
        assert len(before) == 6 * len(KINDS)
        picture(made, "filled", 2).unlink()
        picture(made, "rgb", 4).write_bytes(b"")
        cut = picture(made, "labels40", 3)
        cut.write_bytes(before[cut][:-20])
        picture(made, "filled", 5).write_bytes(b"no picture")
        kept = picture(made, "depth", 0)
        kept.write_bytes(before[picture(made, "depth", 1)])
        assert prepare(folder, tmp_path, tables=written.tables) == first
        after = {path: path.read_bytes() for path in made.rglob("*.png")}
        assert after == before | {kept: before[picture(made, "depth", 1)]}

    def test_an_interruption_leaves_only_whole_pictures(self, labelled, tmp_path, monkeypatch):
        folder, written = labelled
        whole = LabelledFrames.filled_code

        def interrupted(frames, index):
            if index == 3:
                raise KeyboardInterrupt
            return whole(frames, index)

        monkeypatch.setattr(LabelledFrames, "filled_code", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder, tmp_path, tables=written.tables)
        assert all(load(path) is not None for path in (tmp_path / "labelled").rglob("*.*"))
        monkeypatch.undo()
        prepare(folder, tmp_path, tables=written.tables)
        assert len(list((tmp_path / "labelled").rglob("*.*"))) == 6 * len(KINDS)

    def test_labels_can_be_made_later(self, labelled, tmp_path):
        folder, written = labelled
        with open_labelled(folder / "nyu_depth_v2_labeled.mat") as frames:
            make_pictures(frames, tmp_path, None)
            assert not (tmp_path / "labels40").exists()
            make_pictures(frames, tmp_path, np.concatenate(([0], written.map_class)))
        assert len(list((tmp_path / "labels40").iterdir())) == 6


class TestSmallFiles:
    def test_published_tables_fit_together(self):
        # 1 to 1449, each once.
        assert PUBLISHED.train.count + PUBLISHED.test.count == 1449
        assert PUBLISHED.train.total + PUBLISHED.test.total == 1449 * 1450 // 2
        assert PUBLISHED.classes.count == 894
        for table in (PUBLISHED.train, PUBLISHED.test, PUBLISHED.classes):
            assert re.fullmatch("[0-9a-f]{64}", table.sha256)

    def test_fingerprint_of_known_bytes(self):
        found = Fingerprint.of(np.array([1, 258], np.uint16))
        digest = hashlib.sha256(b"\x01\x00\x02\x01").hexdigest()
        assert found == Fingerprint(2, 259, digest)
        assert Fingerprint.of(np.array([1, 258], ">u2")) == found

    def test_others_than_the_published_are_refused(self, labelled, tmp_path):
        folder, written = labelled
        with pytest.raises(DataError, match=r"trainNdxs of .*sum 10 .*need 795, 551687 and 3e06f9"):
            prepare(folder, tmp_path)
        own_splits = replace(written.tables, classes=PUBLISHED.classes)
        with pytest.raises(DataError, match=r"mapClass of .*need 894, 34765 and 9c75cd"):
            prepare(folder, tmp_path, tables=own_splits)
        assert not (tmp_path / "labelled").exists()

    @pytest.mark.parametrize("test", [(2, 3, 3), (2, 3, 4), (2, 3, 7)])
    def test_splits_must_hold_every_frame_once(self, tmp_path, test):
        path = tmp_path / "splits.mat"
        write_splits(path, TRAIN_NDXS, test)
        tables = Tables(*(Fingerprint.of(np.array(n, np.uint16)) for n in (TRAIN_NDXS, test)))
        with pytest.raises(DataError, match="each once"):
            read_splits(path, tables)

    def test_numbers_saved_as_double_are_the_same_numbers(self, labelled, tmp_path):
        _, written = labelled
        columns = {"trainNdxs": TRAIN_NDXS, "testNdxs": TEST_NDXS}
        savemat(tmp_path / "splits.mat", {k: np.array(n, float) for k, n in columns.items()})
        splits = read_splits(tmp_path / "splits.mat", written.tables)
        assert (splits.train, splits.test) == ((0, 3, 4), (1, 2, 5))
        savemat(tmp_path / "splits.mat", {k: np.array(n) + 0.5 for k, n in columns.items()})
        with pytest.raises(DataError, match="no table of uint16"):
            read_splits(tmp_path / "splits.mat", written.tables)

    def test_a_missing_one_is_asked_for_by_its_place(self, labelled, tmp_path):
        folder, written = labelled
        (tmp_path / "nyu_depth_v2_labeled.mat").symlink_to(folder / "nyu_depth_v2_labeled.mat")
        with pytest.raises(DataError, match=rf"splits.mat, .* belongs in {tmp_path.resolve()}"):
            prepare(tmp_path, tmp_path / "out", tables=written.tables)
        write_splits(tmp_path / "splits.mat", TRAIN_NDXS, TEST_NDXS)
        manifest = prepare(tmp_path, tmp_path / "out", tables=written.tables)
        assert manifest.problems == (
            f"no labels: classMapping40.mat belongs in {tmp_path.resolve()}",
        )
        assert manifest.label_set == "" and "without labels" in manifest.layout
        assert all(record.labels == "" for record in manifest.splits["test"])

    @pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file" + bytes(200), b"\x89HDF"])
    def test_damaged_ones_are_named(self, tmp_path, content):
        (tmp_path / "splits.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"splits\.mat"):
            read_splits(tmp_path / "splits.mat")

    def test_the_big_file_under_a_small_name(self, labelled):
        folder, _ = labelled
        with pytest.raises(DataError, match="no readable MATLAB 5 file"):
            read_splits(folder / "nyu_depth_v2_labeled.mat")


class TestLabels:
    def test_classes_counted_from_0_are_refused(self, tmp_path):
        path = tmp_path / "classMapping40.mat"
        for shifted in (np.arange(894) % 40, np.where(np.arange(894) == 5, 255, 1)):
            classes = shifted.astype(np.uint8)
            write_classes(path, classes)
            tables = replace(PUBLISHED, classes=Fingerprint.of(classes))
            with pytest.raises(DataError, match="need 1 to 40 with 0 left for void"):
                read_classes(path, tables)

    @given(arrays(np.uint16, (3, 5), elements=st.integers(0, 894)))
    def test_mapping_is_the_table_shifted_by_one(self, raw):
        map_class = (np.arange(894) * 7 % 40 + 1).astype(np.uint8)
        found = nyu40(raw, np.concatenate(([0], map_class)).astype(np.uint8))
        assert found.dtype == np.uint8
        for label, new in zip(raw.ravel().tolist(), found.ravel().tolist(), strict=True):
            assert new == (0 if label == 0 else (label - 1) * 7 % 40 + 1)

    def test_unknown_raw_label(self):
        with pytest.raises(DataError, match="raw label 895"):
            nyu40(np.array([[895]], np.uint16), np.zeros(895, np.uint8))


class TestBadMat:
    def test_cut_off_download(self, labelled, tmp_path):
        folder, written = labelled
        for name in ("splits.mat", "classMapping40.mat"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
        data = (folder / "nyu_depth_v2_labeled.mat").read_bytes()
        (tmp_path / "nyu_depth_v2_labeled.mat").write_bytes(data[: len(data) // 2])
        with pytest.raises(DataError, match=r"labeled\.mat is damaged .*; fetch it again"):
            prepare(tmp_path, tmp_path / "out", tables=written.tables)

    def test_missing_file(self, tmp_path):
        with pytest.raises(DataError, match="is missing"), open_labelled(tmp_path / "none.mat"):
            pass

    def test_another_hdf5_file(self, labelled, tmp_path):
        _, written = labelled
        half = replace(first_frames(written, 1), labels=written.labels[:1, ::2])
        write_mat(tmp_path / "a.mat", half)
        with (
            pytest.raises(
                DataError, match=r"labels of .* is \(1, 640, 240\) uint16; need \(1, 640"
            ),
            open_labelled(tmp_path / "a.mat"),
        ):
            pass

    def test_a_count_that_is_not_of_the_splits(self, labelled, tmp_path):
        _, written = labelled
        write_mat(tmp_path / "nyu_depth_v2_labeled.mat", first_frames(written, 5))
        write_splits(tmp_path / "splits.mat", TRAIN_NDXS, TEST_NDXS)
        with pytest.raises(DataError, match=r"has 5 frames, splits\.mat beside it is for 6"):
            prepare(tmp_path, tmp_path / "out", tables=written.tables)

    def test_a_full_disk_is_no_damaged_file(self, labelled):
        folder, _ = labelled
        with (
            pytest.raises(OSError, match="No space left"),
            open_labelled(folder / "nyu_depth_v2_labeled.mat"),
        ):
            raise OSError(28, "No space left on device")
