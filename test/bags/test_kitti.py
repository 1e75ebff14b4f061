from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from mono_depth_ros.bags.kitti import import_drive, parse_timestamps, read_calibration
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.cli.main import main
from mono_depth_ros.decoding import camera_info_to_intrinsics, image_to_rgb, point_cloud_fields
from mono_depth_ros.errors import DataError, MonoDepthError
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frames import Recording
from mono_depth_ros.geometry import project_points, transform_points

SIZE = (4, 6)
CAMERAS = {
    "S_rect_02": "6 4",
    "P_rect_02": "2 0 3 0.5 0 2 1 0.1 0 0 1 0.02",
    # A quarter turn about the optical axis, so that order and direction of the products show.
    "R_rect_00": "0 -1 0 1 0 0 0 0 1",
}
VELODYNE = {"R": "0 -1 0 0 0 -1 1 0 0", "T": "0.1 -0.2 -0.3"}


def write_calibration(folder, cameras=CAMERAS, velodyne=VELODYNE):
    for name, values in (("cam_to_cam", cameras), ("velo_to_cam", velodyne)):
        lines = ["calib_time: 09-Jan-2012 13:57:47", *(f"{k}: {v}" for k, v in values.items())]
        (folder / f"calib_{name}.txt").write_text("\n".join(lines) + "\n")


def write_drive(day, images=(0, 1, 2), sweeps=(0, 1, 2), stamps=True):
    drive = day / "2011_09_26_drive_0001_sync"
    for name in ("image_02", "velodyne_points"):
        (drive / name / "data").mkdir(parents=True)
    for frame in images:
        bgr = np.full((*SIZE, 3), (10, 20, 30 + frame), np.uint8)
        cv2.imwrite(str(drive / "image_02" / "data" / f"{frame:010d}.png"), bgr)
    for frame in sweeps:
        points = np.array([[10.0, 1.0, 2.0, 0.5], [frame, 0.0, 0.0, 0.25]], np.float32)
        points.tofile(drive / "velodyne_points" / "data" / f"{frame:010d}.bin")
    if stamps:
        for name, fraction in (("image_02", "964389445"), ("velodyne_points", "951199348")):
            lines = [f"2011-09-26 13:02:{25 + frame:02d}.{fraction}" for frame in range(3)]
            (drive / name / "timestamps.txt").write_text("\n".join(lines) + "\n")
    write_calibration(day)
    return drive


def messages_of(bag):
    with BagReader(bag) as reader:
        return list(reader.messages())


def test_import_writes_every_topic(tmp_path):
    drive = write_drive(tmp_path)
    summary = import_drive(drive, tmp_path / "bag")
    assert (summary.images, summary.sweeps) == (3, 3)
    messages = messages_of(tmp_path / "bag")
    topics = [topic for topic, _, _ in messages]
    assert topics.count("/tf_static") == 1
    for topic in ("/camera/image_raw", "/camera/camera_info", "/lidar/points"):
        assert topics.count(topic) == 3
    by_topic = {topic: message for topic, _, message in reversed(messages)}
    rgb = image_to_rgb(by_topic["/camera/image_raw"])
    assert rgb.shape == (*SIZE, 3)
    assert rgb[0, 0].tolist() == [30, 20, 10]
    info = by_topic["/camera/camera_info"]
    assert info.p.tolist() == [2, 0, 3, 0, 0, 2, 1, 0, 0, 0, 1, 0]
    assert not info.d.any()
    fields = point_cloud_fields(by_topic["/lidar/points"])
    assert {name: values.tolist() for name, values in fields.items()} == {
        "x": [10.0, 0.0],
        "y": [1.0, 0.0],
        "z": [2.0, 0.0],
        "intensity": [0.5, 0.25],
    }


def test_stamps_are_exact_to_the_nanosecond(tmp_path):
    import_drive(write_drive(tmp_path), tmp_path / "bag")
    stamps = [ns for topic, ns, _ in messages_of(tmp_path / "bag") if topic == "/camera/image_raw"]
    # date -u -d '2011-09-26 13:02:25' +%s = 1317042145
    assert stamps == [1_317_042_145_964_389_445 + second * 10**9 for second in range(3)]


def test_timestamps_skip_lost_frames_and_refuse_nonsense(tmp_path):
    file = tmp_path / "timestamps.txt"
    file.write_text("1970-01-01 00:00:01.000000001\n\n1970-01-02 00:00:00.5\n1970-01-01 00:01:00\n")
    assert parse_timestamps(file) == {0: 1_000_000_001, 2: 86_400_500_000_000, 3: 60_000_000_000}
    file.write_text("yesterday\n")
    with pytest.raises(DataError, match="line 1"):
        parse_timestamps(file)


def test_without_timestamps_the_frame_number_counts(tmp_path, caplog):
    drive = write_drive(tmp_path, stamps=False)
    with caplog.at_level(logging.WARNING):
        summary = import_drive(drive, tmp_path / "bag", storage="sqlite3")
    assert "0.1036 s" in summary.clock
    assert "timestamps.txt" in caplog.text
    stamps = [ns for topic, ns, _ in messages_of(tmp_path / "bag") if topic == "/lidar/points"]
    assert stamps == [0, 103_600_000, 207_200_000]


def test_frames_that_lack_a_half_keep_the_other(tmp_path, caplog):
    drive = write_drive(tmp_path, images=(0, 2), sweeps=(1, 2))
    with caplog.at_level(logging.WARNING):
        summary = import_drive(drive, tmp_path / "bag")
    assert (summary.images, summary.sweeps) == (2, 2)
    assert "2 frames lack" in caplog.text
    assert len(Recording(tmp_path / "bag", FrameConfig()).pairs) == 1


def test_projection_through_the_bag_equals_kittis_formula(tmp_path):
    import_drive(write_drive(tmp_path), tmp_path / "bag")
    recording = Recording(tmp_path / "bag", FrameConfig())
    frame = next(recording.frames())
    points = np.random.default_rng(0).uniform(1.0, 20.0, (50, 3))

    projection = np.array(CAMERAS["P_rect_02"].split(), float).reshape(3, 4)
    rectification, extrinsic = np.eye(4), np.eye(4)
    rectification[:3, :3] = np.array(CAMERAS["R_rect_00"].split(), float).reshape(3, 3)
    extrinsic[:3, :3] = np.array(VELODYNE["R"].split(), float).reshape(3, 3)
    extrinsic[:3, 3] = np.array(VELODYNE["T"].split(), float)
    u, v, w = projection @ rectification @ extrinsic @ np.vstack([points.T, np.ones(50)])

    in_camera = transform_points(frame.camera_from_lidar, points)
    u_px, v_px, depth_m = project_points(in_camera, frame.camera)
    np.testing.assert_allclose(u_px, u / w, rtol=1e-9)
    np.testing.assert_allclose(v_px, v / w, rtol=1e-9)
    np.testing.assert_allclose(depth_m, w, rtol=1e-9)


# Of 2011_09_26, as published.
REAL_CAMERAS = {
    "S_rect_02": "1.242000e+03 3.750000e+02",
    "P_rect_02": "7.215377e+02 0.000000e+00 6.095593e+02 4.485728e+01 0.000000e+00 7.215377e+02 "
    "1.728540e+02 2.163791e-01 0.000000e+00 0.000000e+00 1.000000e+00 2.745884e-03",
    "R_rect_00": "9.999239e-01 9.837760e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 "
    "-4.278459e-03 7.402527e-03 4.351614e-03 9.999631e-01",
}
REAL_VELODYNE = {
    "R": "7.533745e-03 -9.999714e-01 -6.166020e-04 1.480249e-02 7.280733e-04 -9.998902e-01 "
    "9.998621e-01 7.523790e-03 1.480755e-02",
    "T": "-4.069766e-03 -7.631618e-02 -2.717806e-01",
}


def kittis_formula(day, points_m):
    """Return u, v (pixels) and depth (metres) by x = P_rect_02 R_rect_00 (R|T) X."""
    entries = {}
    for name in ("cam_to_cam", "velo_to_cam"):
        for line in (day / f"calib_{name}.txt").read_text().splitlines():
            key, _, values = line.partition(":")
            entries[key] = values.split()
    rectification, extrinsic = np.eye(4), np.eye(4)
    rectification[:3, :3] = np.array(entries["R_rect_00"], float).reshape(3, 3)
    extrinsic[:3, :3] = np.array(entries["R"], float).reshape(3, 3)
    extrinsic[:3, 3] = np.array(entries["T"], float)
    projection = np.array(entries["P_rect_02"], float).reshape(3, 4)
    homogeneous = np.vstack([points_m.T, np.ones(len(points_m))])
    u, v, w = projection @ rectification @ extrinsic @ homogeneous
    return u / w, v / w, w


def largest_difference_px(drive, bag):
    """Import a drive; return the largest distance from KITTI's formula and the points compared."""
    import_drive(drive, bag)
    sweeps = sorted((drive / "velodyne_points" / "data").iterdir())
    largest_px, count = 0.0, 0
    for frame, file in zip(Recording(bag, FrameConfig()).frames(), sweeps, strict=True):
        points_m = np.fromfile(file, np.float32).reshape(-1, 4)[:, :3].astype(np.float64)
        u, v, w = kittis_formula(drive.parent, points_m)
        in_camera = transform_points(frame.camera_from_lidar, frame.lidar_points_m)
        u_px, v_px, depth_m = project_points(in_camera, frame.camera)
        seen = (w > 0.5) & (abs(u - 620.5) < 621) & (abs(v - 187) < 188)
        np.testing.assert_allclose(depth_m[seen], w[seen], rtol=1e-5)
        largest_px = max(largest_px, np.hypot(u_px - u, v_px - v)[seen].max())
        count += seen.sum()
    return largest_px, count


def test_projection_with_kittis_own_calibration(tmp_path):
    write_calibration(tmp_path, REAL_CAMERAS, REAL_VELODYNE)
    drive, rng = tmp_path / "2011_09_26_drive_0001_sync", np.random.default_rng(0)
    for name in ("image_02", "velodyne_points"):
        (drive / name / "data").mkdir(parents=True)
    for frame in range(2):
        picture = drive / "image_02" / "data" / f"{frame:010d}.png"
        cv2.imwrite(str(picture), np.zeros((375, 1242, 3), np.uint8))
        points = rng.uniform([1, -40, -3, 0], [80, 40, 3, 1], (20_000, 4)).astype(np.float32)
        points.tofile(drive / "velodyne_points" / "data" / f"{frame:010d}.bin")
    largest_px, count = largest_difference_px(drive, tmp_path / "bag")
    assert count > 10_000
    assert largest_px < 0.01


def test_projection_of_the_real_drive(tmp_path, capsys):
    day = Path(__file__).parents[3] / "shared" / "data" / "kitti_drive" / "2011_09_26"
    if not day.is_dir():
        pytest.skip("the real drive of ../shared/data is not here")
    drive = day / "2011_09_26_drive_0052_sync"
    largest_px, count = largest_difference_px(drive, tmp_path / "bag")
    with capsys.disabled():
        print(f"\nKITTI's formula: at most {largest_px:.6f} px apart on {count} points")
    assert count > 100_000
    assert largest_px < 0.01


def test_calibration_errors_name_the_entry(tmp_path):
    write_calibration(tmp_path, {k: v for k, v in CAMERAS.items() if k != "P_rect_02"})
    with pytest.raises(DataError, match="no P_rect_02 of 12 numbers"):
        read_calibration(tmp_path, SIZE)
    write_calibration(tmp_path, velodyne={**VELODYNE, "T": "1 2 x"})
    with pytest.raises(DataError, match="no T of 3 numbers"):
        read_calibration(tmp_path, SIZE)
    write_calibration(tmp_path)
    with pytest.raises(DataError, match="images are 8x12"):
        read_calibration(tmp_path, (8, 12))
    (tmp_path / "calib_velo_to_cam.txt").unlink()
    with pytest.raises(DataError, match="beside the drive folder"):
        read_calibration(tmp_path, SIZE)


def test_drive_errors(tmp_path):
    drive = write_drive(tmp_path)
    with pytest.raises(DataError, match="pass one of its drives: 2011_09_26_drive_0001_sync"):
        import_drive(tmp_path, tmp_path / "bag")
    with pytest.raises(DataError, match="no KITTI drive"):
        import_drive(tmp_path / "other_sync", tmp_path / "bag")
    sweep = drive / "velodyne_points" / "data" / "0000000001.bin"
    sweep.write_bytes(sweep.read_bytes()[:-3])
    with pytest.raises(DataError, match="not a multiple of 16"):
        import_drive(drive, tmp_path / "bag")
    sweep.unlink()
    (drive / "image_02" / "data" / "0000000001.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"0000000001\.png is no picture"):
        import_drive(drive, tmp_path / "bag")
    (drive / "image_02" / "timestamps.txt").write_text("2011-09-26 13:02:25\n")
    with pytest.raises(DataError, match="no time for frame 1"):
        import_drive(drive, tmp_path / "bag")
    assert not (tmp_path / "bag").exists()


def test_command_line(tmp_path, capsys):
    drive = write_drive(tmp_path)
    assert main(["import-kitti", str(drive), str(tmp_path / "bag")]) == 0
    assert "3 images, 3 LiDAR sweeps" in capsys.readouterr().out
    assert main(["import-kitti", str(drive), str(tmp_path / "bag")]) == 1
    assert "exists already" in capsys.readouterr().err
    with BagReader(tmp_path / "bag") as reader:
        _, _, info = next(reader.messages(["/camera/camera_info"]))
    assert camera_info_to_intrinsics(info).width == 6


def test_the_drive_may_be_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(write_drive(tmp_path))
    assert main(["import-kitti", ".", str(tmp_path / "bag")]) == 0


def test_a_cut_picture_is_an_error(tmp_path):
    drive = write_drive(tmp_path)
    picture = drive / "image_02" / "data" / "0000000001.png"
    picture.write_bytes(picture.read_bytes()[:-20])
    with pytest.raises(MonoDepthError, match=r"0000000001\.png"):
        import_drive(drive, tmp_path / "bag")
    assert not (tmp_path / "bag").exists()
