"""Depth and pictures on disk."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import DataError, DecodingError
from mono_depth_ros.files import read_rgb, write_depth_npy, write_depth_png, write_rgb


def test_depth_png_holds_millimetres(tmp_path):
    depth_m = np.array([[0.0004, 1.2345, np.nan, 70.0, np.inf]], np.float32)
    write_depth_png(tmp_path / "depth.png", depth_m)
    stored = cv2.imread(str(tmp_path / "depth.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    # 70 m is more than 16 bits of millimetres hold; a wall at 65.535 m would be a lie.
    np.testing.assert_array_equal(stored, [[0, 1234, 0, 0, 0]])


def test_npy_and_pictures_come_back(tmp_path):
    depth_m = np.array([[1.5, np.nan]], np.float32)
    write_depth_npy(tmp_path / "depth.npy", depth_m)
    np.testing.assert_array_equal(np.load(tmp_path / "depth.npy"), depth_m)
    rgb = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    write_rgb(tmp_path / "picture.png", rgb)
    np.testing.assert_array_equal(read_rgb(tmp_path / "picture.png"), rgb)
    assert {path.name for path in tmp_path.iterdir()} == {"depth.npy", "picture.png"}


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_pictures_are_refused(tmp_path, suffix):
    path = tmp_path / f"scene{suffix}"
    write_rgb(path, np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DecodingError, match="truncated"):
        read_rgb(path)


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match="no picture that OpenCV reads"):
        read_rgb(tmp_path / "text.png")
    with pytest.raises(DataError, match="no picture at"):
        read_rgb(tmp_path / "missing.png")


class TestImageCommand:
    @pytest.fixture
    def picture(self, tmp_path):
        rgb = np.random.default_rng(0).integers(0, 255, (48, 72, 3), np.uint8)
        write_rgb(tmp_path / "scene.png", rgb)
        return tmp_path / "scene.png"

    def test_writes_depth_preview_and_cloud(self, picture, light_checkpoint, tmp_path, capsys):
        arguments = ["image", str(picture), "--checkpoint", str(light_checkpoint), "--npy"]
        arguments += ["--out", str(tmp_path / "out"), "--intrinsics", "60", "60", "35.5", "23.5"]
        assert main(arguments) == 0
        names = {path.name for path in (tmp_path / "out").iterdir()}
        suffixes = ("depth.png", "depth.npy", "color.png", "cloud.ply")
        assert names == {f"scene_{suffix}" for suffix in suffixes}
        depth_m = np.load(tmp_path / "out" / "scene_depth.npy")
        assert depth_m.shape == (48, 72)
        assert "3456 points" in capsys.readouterr().out

    def test_field_of_view_and_intrinsics_agree(self, picture, light_checkpoint, tmp_path):
        base = ["image", str(picture), "--checkpoint", str(light_checkpoint), "--npy", "--out"]
        # tan(45 deg) = 1: a field of view of 90 degrees has fx = width / 2.
        assert main([*base, str(tmp_path / "a"), "--hfov-deg", "90"]) == 0
        assert main([*base, str(tmp_path / "b"), "--intrinsics", "36", "36", "35.5", "23.5"]) == 0
        a, b = (np.load(tmp_path / name / "scene_depth.npy") for name in "ab")
        np.testing.assert_allclose(a, b, rtol=1e-6)

    def test_mistakes_end_with_one_line(self, picture, light_checkpoint, tmp_path, capsys):
        base = ["--checkpoint", str(light_checkpoint), "--out", str(tmp_path / "out")]
        assert main(["image", str(picture), str(picture), *base]) == 1
        assert "would both write" in capsys.readouterr().err
        assert main(["image", str(picture), *base, "--hfov-deg", "190"]) == 1
        assert main(["image", str(tmp_path / "none.png"), *base]) == 1
        assert main(["image", str(picture), "--checkpoint", str(picture)]) == 1
        assert "never loaded" in capsys.readouterr().err
