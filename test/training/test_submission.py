"""The archive for KITTI's benchmark holds what the benchmark takes, and nothing else passes."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from mono_depth_ros.errors import DataError
from training import submission
from training.evaluation.predict import Answer
from training.manifest import Manifest, Record, write_manifest
from training.submission import (
    check_submission,
    encode_depth,
    main,
    submission_names,
    write_submission,
)

SHAPE = (352, 1216)


def records(count=3):
    return tuple(
        Record(
            name=f"test_{index}",
            group="test",
            image=f"image/{index:010d}.png",
            intrinsics=(720.0, 720.0, 608.0, 176.0),
        )
        for index in reversed(range(count))
    )


def manifest(root, count=3):
    return Manifest("kitti", "made up", root, {"benchmark_test": records(count)})


def png(code):
    return cv2.imencode(".png", code)[1].tobytes()


def archive(path, files):
    with zipfile.ZipFile(path, "w") as out:
        for name, data in files:
            out.writestr(name, data)
    return path


def test_the_list_has_five_hundred_images_in_order():
    names = submission_names(records(500))
    assert next(iter(names)) == "0000000000.png" and list(names)[-1] == "0000000499.png"
    assert len(names) == 500 and names["0000000007.png"].name == "test_7"
    with pytest.raises(DataError, match=r"499 images.*0000000499\.png"):
        submission_names(records(499))
    with pytest.raises(DataError, match=r"501 images.*0000000500\.png"):
        submission_names(records(501))


def test_codes_are_256_per_metre_and_never_zero():
    depth_m = np.full(SHAPE, 2.0, np.float32)
    depth_m[0, :4] = 0.0, 0.001, 300.0, 10.5 / 256
    code = encode_depth(depth_m, "x")
    assert code.dtype == np.uint16
    # 10.5 rounds to the even neighbour.
    assert code[0, :5].tolist() == [1, 1, 65535, 10, 512]
    depth_m[5, 5] = np.nan
    with pytest.raises(DataError, match="no depth at 1 pixels"):
        encode_depth(depth_m, "x")
    with pytest.raises(DataError, match=r"\(375, 1242\)"):
        encode_depth(np.ones((375, 1242), np.float32), "x")


def test_what_is_packed_is_what_was_predicted(tmp_path):
    def source(record, reader):
        return Answer(np.full(SHAPE, 1.0 + int(record.name[-1]), np.float32))

    out = tmp_path / "sub/out.zip"
    size = write_submission(source, manifest(tmp_path), out, images=3)
    assert size == out.stat().st_size
    with zipfile.ZipFile(out) as packed:
        assert packed.namelist() == [f"{index:010d}.png" for index in range(3)]
        for index in range(3):
            data = np.frombuffer(packed.read(f"{index:010d}.png"), np.uint8)
            code = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
            assert code.dtype == np.uint16 and code.shape == SHAPE
            assert np.all(code == 256 * (index + 1))


def test_after_an_error_there_is_no_archive(tmp_path):
    def source(record, reader):
        return Answer(np.full(SHAPE, np.nan, np.float32))

    with pytest.raises(DataError, match="no depth at 428032 pixels"):
        write_submission(source, manifest(tmp_path), tmp_path / "out.zip", images=3)
    assert not list(tmp_path.glob("*.zip"))


GOOD = np.full(SHAPE, 256, np.uint16)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("0000000000.png", png(GOOD))], r"1 files.*0000000001\.png"),
        ([(f"000000000{i}.png", png(GOOD)) for i in range(3)], r"3 files.*0000000002\.png"),
        ([("0000000000.png", png(GOOD)), ("a/0000000001.png", png(GOOD))], "a/0000000001"),
        ([("0000000000.png", png(GOOD)), ("0000000001.png", b"")], "no picture"),
        ([("0000000000.png", png(GOOD)), ("0000000001.png", png(GOOD[:300]))], r"\(300, 1216\)"),
        (
            [("0000000000.png", png(GOOD)), ("0000000001.png", png(GOOD.astype(np.uint8)))],
            "uint8",
        ),
        ([("0000000000.png", png(GOOD)), ("0000000001.png", png(GOOD * 0))], "428032 pixels"),
    ],
)
def test_archives_that_do_not_pass(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        check_submission(archive(tmp_path / "out.zip", files), images=2)


def test_too_large_and_damaged_archives_do_not_pass(tmp_path, monkeypatch):
    path = archive(tmp_path / "out.zip", [("0000000000.png", png(GOOD))])
    check_submission(path, images=1)
    monkeypatch.setattr(submission, "LARGEST_BYTES", 100)
    with pytest.raises(DataError, match="the benchmark takes 100"):
        check_submission(path, images=1)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="no readable archive"):
        check_submission(path, images=1)


def test_command(tmp_path, light_checkpoint, monkeypatch, capsys):
    """The tiny network sees the test images whole, resized to its 64x96."""
    for record in records(2):
        path = Path(tmp_path / record.image)
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((*SHAPE, 3), 90, np.uint8))
    write_manifest(tmp_path / "data", manifest(tmp_path, 2))
    out = tmp_path / "out.zip"
    command = [str(light_checkpoint), str(tmp_path / "data"), str(out), "--device", "cpu"]
    assert main(command) == 1
    assert "500" in capsys.readouterr().err and not out.exists()
    monkeypatch.setattr(submission, "IMAGES", 2)
    assert main([*command, "--size", "64x96", "--flip"]) == 0
    assert "checked" in capsys.readouterr().out
    check_submission(out, images=2)
