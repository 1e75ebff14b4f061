from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from layouts.kitti import TEST, write_calibration, write_kitti
from layouts.stereo2015 import street_depth

from mono_depth_ros.bags.kitti import Calibration, read_calibration
from mono_depth_ros.errors import DataError, ShapeError
from mono_depth_ros.geometry import Intrinsics
from training.datasets.velodyne import project_velodyne, read_velodyne_depth

CASE = json.loads((Path(__file__).parents[1] / "data/metric_vectors.json").read_text())[
    "case8_velodyne_projection"
]
SHAPE = (375, 1242)


def case_points():
    """Return the vectors' points; their generator text is stored beside the hash."""
    rs = np.random.RandomState(5)
    q = rs.random_sample((20000, 4))
    columns = [-5 + 65 * q[:, 0], -20 + 40 * q[:, 1], -2.5 + 4.5 * q[:, 2], q[:, 3]]
    points = np.stack(columns, 1).astype(np.float32)
    assert hashlib.sha256(points.tobytes()).hexdigest() == CASE["sha256_points"]
    return points


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder with the case as KITTI's files."""
    folder = tmp_path_factory.mktemp("day")
    case_points().tofile(folder / "sweep.bin")
    cameras = {**CASE["calib"], "S_rect_02": " ".join(map(str, CASE["calib"]["S_rect_02"]))}
    for file, keys in (
        ("calib_cam_to_cam.txt", ("S_rect_02", "R_rect_00", "P_rect_02")),
        ("calib_velo_to_cam.txt", ("R", "T")),
    ):
        (folder / file).write_text("".join(f"{key}: {cameras[key]}\n" for key in keys))
    return folder


@pytest.mark.parametrize(
    ("depth", "row"),
    [("x", "vel_depth_True (export_gt_depth.py)"), ("z", "vel_depth_False (training loader)")],
)
def test_files_give_the_map_of_monodepth2(files, depth, row):
    expected = CASE["out"][row]
    depth_m = read_velodyne_depth(files / "sweep.bin", files, SHAPE, depth)
    assert (depth_m.shape, depth_m.dtype) == (tuple(expected["shape"]), np.float32)
    assert np.isfinite(depth_m).sum() == expected["nonzero"] == 13712
    assert np.nansum(depth_m, dtype=np.float64) == pytest.approx(expected["sum"], rel=1e-7)
    assert np.nanmax(depth_m) == pytest.approx(expected["max"], rel=1e-6)
    assert np.nanmin(depth_m) == pytest.approx(expected["min_positive"], rel=1e-6)
    for sample_row, column, value in expected["samples(row,col,depth)"]:
        assert depth_m[sample_row, column] == pytest.approx(value, rel=1e-6)


def test_forward_distance_equals_monodepth2_to_the_bit(files):
    depth_m = np.nan_to_num(read_velodyne_depth(files / "sweep.bin", files, SHAPE))
    expected = CASE["out"]["vel_depth_True (export_gt_depth.py)"]["sha256_float32"]
    assert hashlib.sha256(depth_m.tobytes()).hexdigest() == expected


def test_colliding_index_gives_the_first_pixel_the_others_depth():
    case = CASE["collision"]
    width, height = case["image_w_h"]
    axes = np.eye(4)
    axes[:3, :3] = np.array(case["calib"]["R"].split(), float).reshape(3, 3)
    calibration = Calibration(Intrinsics(10.0, 10.0, 5.0, 3.0, width, height), axes)
    points = np.array(case["points_xyzr"], np.float32)
    depth_m = project_velodyne(points, calibration, "z")
    np.testing.assert_allclose(np.nan_to_num(depth_m), case["monodepth2_map"], rtol=1e-6)
    # 20 m is what is really there.
    assert depth_m[2, 9] == 8.0


def test_pixels_are_one_up_and_left_of_the_nearest():
    # Optical axis along the sensor's x: the point of depth 4 lands on (u, v) = (5, 3).
    axes = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    calibration = Calibration(Intrinsics(10.0, 10.0, 5.0, 3.0, 10, 6), axes)
    depth_m = project_velodyne(np.array([[4.0, 0.0, 0.0]]), calibration)
    assert np.argwhere(np.isfinite(depth_m)).tolist() == [[2, 4]]


def test_sensor_behind_the_camera_adds_its_distance():
    axes = np.array([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, -0.27], [0, 0, 0, 1]])
    calibration = Calibration(Intrinsics(10.0, 10.0, 5.0, 3.0, 10, 6), axes)
    points = np.array([[4.0, 0.0, 0.0]])
    assert np.nanmax(project_velodyne(points, calibration, "x")) == np.float32(4.0)
    assert np.nanmax(project_velodyne(points, calibration, "z")) == np.float32(4.0 - 0.27)


def test_written_sweeps_lie_on_the_pixels_they_were_made_from(tmp_path):
    size = (60, 200)
    write_kitti(tmp_path, {TEST: (6,)}, size=size)
    day = tmp_path / "raw/2011_09_26"
    scan = day / f"{TEST}/velodyne_points/data/0000000006.bin"
    depth_m = read_velodyne_depth(scan, day, size, "z")
    # One up and left: row 0 and column 0 fall outside.
    expected = street_depth(*size, seed=6)[2::2, 2::2]
    rows, columns = expected.shape
    found = depth_m[1::2, 1::2][:rows, :columns]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isfinite(depth_m).sum() == expected.size


def test_bad_files_are_refused(files, tmp_path):
    with pytest.raises(DataError, match="376x1241"):
        read_velodyne_depth(files / "sweep.bin", files, (376, 1241))
    with pytest.raises(DataError, match="cannot read"):
        read_velodyne_depth(tmp_path / "nowhere.bin", files, SHAPE)
    (tmp_path / "cut.bin").write_bytes(b"123")
    with pytest.raises(DataError, match="multiple of 16"):
        read_velodyne_depth(tmp_path / "cut.bin", files, SHAPE)
    write_calibration(tmp_path, SHAPE)
    with pytest.raises(ShapeError):
        project_velodyne(np.zeros((2, 5)), read_calibration(tmp_path, SHAPE))
