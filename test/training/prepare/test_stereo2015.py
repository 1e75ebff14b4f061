"""KITTI stereo 2015: recognised, split, and metres from disparity worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from layouts.stereo2015 import street_depth, write_stereo2015

from mono_depth_ros.errors import DataError
from training.datasets.reader import PreparedReader
from training.prepare.stereo2015 import find, focal_baseline, prepare, read_projections

# P_rect_02 and P_rect_03 of 2011_09_26, to six digits.
REAL = """P_rect_02: 721.5377 0 609.5593 44.85728 0 721.5377 172.854 0.2163791 0 0 1 0.002745884
P_rect_03: 721.5377 0 609.5593 -339.5242 0 721.5377 172.854 2.199936 0 0 1 0.002729905
"""


def test_depth_is_focal_length_times_baseline_over_disparity(tmp_path):
    manifest = prepare(write_stereo2015(tmp_path, frames=3, size=(48, 80)), tmp_path / "out")
    record = manifest.records("train")[1]
    # f = 0.6 · 80 = 48 px, cameras 0.5372 m apart.
    assert record.depth.scale == pytest.approx(48 * 0.5372)
    assert record.intrinsics == (48, 48, 40, 24)
    depth_m = PreparedReader(manifest).depth_m(record.depth, (48, 80))
    assert np.isfinite(depth_m).sum() == 16 * 27
    expected_m = street_depth(48, 80, 1)[::3, ::3]
    # Half a code of disparity, relative: code = 256 · f · b / depth.
    half_code = 0.5 / (256 * 48 * 0.5372 / expected_m)
    assert (abs(depth_m[::3, ::3] / expected_m - 1) <= 1.01 * half_code).all()
    assert PreparedReader(manifest).image(record).shape == (48, 80, 3)


def test_the_real_calibration(tmp_path):
    (tmp_path / "calib.txt").write_text(REAL)
    left, right = read_projections(tmp_path / "calib.txt")
    assert focal_baseline(left, right) == pytest.approx(44.85728 + 339.5242)
    assert focal_baseline(left, right) / left[0, 0] == pytest.approx(0.5327, abs=1e-4)


@pytest.mark.parametrize(("frames", "held"), [(1, 0), (2, 1), (10, 1), (24, 2), (30, 3)])
def test_the_last_tenth_is_validation(tmp_path, frames, held):
    write_stereo2015(tmp_path, frames, size=(8, 8))
    splits = prepare(tmp_path, tmp_path / "out").splits
    names = [f"{number:06d}_10" for number in range(frames)]
    assert [record.name for record in splits["train"]] == names[: frames - held]
    assert [record.name for record in splits["validation"]] == names[frames - held :]


@pytest.mark.parametrize("above", ["", "training", "data_scene_flow/training"])
def test_where_the_pictures_may_lie(tmp_path, above):
    root = tmp_path / "root"
    write_stereo2015(root, 2, size=(8, 8))
    if above == "data_scene_flow/training":
        root = root.rename(tmp_path / "data_scene_flow").parent
    assert find(root / "training" if above == "training" else root) is not None


def test_what_is_missing_is_named(tmp_path):
    assert find(tmp_path) is None
    with pytest.raises(DataError, match=r"no known data set; it holds nothing.*disp_occ_0"):
        prepare(tmp_path, tmp_path / "out")
    write_stereo2015(tmp_path, 4, size=(8, 8))
    calibration = tmp_path / "training" / "calib_cam_to_cam"
    (calibration / "000001.txt").unlink()
    (calibration / "000002.txt").write_text(REAL.replace("P_rect_03: 721.5377", "P_rect_03:"))
    manifest = prepare(tmp_path, tmp_path / "out")
    assert [r.name for s in manifest.splits.values() for r in s] == ["000000_10", "000003_10"]
    assert len(manifest.problems) == 2
    assert "000001.txt: No such file" in manifest.problems[0]
    assert "000002.txt has no P_rect_02 and P_rect_03 of 12 numbers" in manifest.problems[1]
    calibration.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="data_scene_flow_calib"):
        prepare(tmp_path, tmp_path / "out")


def test_cameras_in_the_wrong_order_are_impossible(tmp_path):
    swapped = REAL.replace("_02", "_xx").replace("_03", "_02").replace("_xx", "_03")
    (tmp_path / "calib.txt").write_text(swapped)
    with pytest.raises(DataError, match="impossible focal length or baseline"):
        read_projections(tmp_path / "calib.txt")
