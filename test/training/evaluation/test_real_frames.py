"""Real frames as sets: reading them, and scores worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from layouts.kitti import camera_of, write_kitti
from layouts.stereo2015 import street_depth
from small_data import info, write_code, write_rgb

from mono_depth_ros.config import from_mapping
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.geometry import Intrinsics
from training.config import CHECKOUT
from training.evaluation.real_frames import KittiDriveSet, RgbdSet, load_frames, load_sets
from training.evaluation.real_scores import for_scene, scene_of, score_lines, score_real_frames
from training.zero_shot import main

SHIPPED = CHECKOUT / "config/evaluation/real_frames.yaml"
REAL = Path(__file__).resolve().parents[4] / "shared/data"
RGBD = {
    "name": "room",
    "use": "choosing",
    "scene": "rooms",
    "kind": "rgbd",
    "images": "room/*.color.png",
    "depths": "room/*.depth.png",
    "depth_codes_per_m": 1000,
    "intrinsics": [50.0, 50.0, 3.5, 2.5],
    "depth_range_m": [0.1, 10.0],
}
DAY, DRIVE = "raw/2011_09_26", "2011_09_26_drive_0001_sync"
KITTI = {
    "name": "street",
    "use": "reporting",
    "scene": "streets",
    "kind": "kitti_drive",
    "drive": f"{DAY}/{DRIVE}",
    "first_frame": 1,
    "last_frame": 2,
    "depth_range_m": [0.1, 80.0],
}
SIZE = (94, 310)


def sets_file(folder, *entries):
    path = folder / "frames.yaml"
    path.write_text(yaml.safe_dump({"sets": list(entries)}))
    return path


def rgbd_set(**changes):
    return of_kind(RgbdSet, RGBD | changes)


def kitti_set(**changes):
    return of_kind(KittiDriveSet, KITTI | changes)


def of_kind(cls, values):
    return from_mapping(cls, {key: value for key, value in values.items() if key != "kind"})


def write_room(root, *depths_m, codes_per_m=1000):
    """Write a frame of 6x8 pixels for each map or number; red is ten times the depth."""
    for index, depth_m in enumerate(depths_m):
        depth_m = np.broadcast_to(np.asarray(depth_m, float), (6, 8))
        write_rgb(root / f"room/{index}.color.png", np.rint(10.0 * depth_m).astype(np.uint8))
        code = np.rint(codes_per_m * depth_m).astype(np.uint16)
        write_code(root / f"room/{index}.depth.png", code)


def twice_the_truth(rgb, camera):
    assert camera == Intrinsics(50.0, 50.0, 3.5, 2.5, width=8, height=6)
    return rgb[..., 0].astype(np.float32) / 5.0


class TestRgbd:
    def test_metres_intrinsics_and_what_does_not_count(self, tmp_path):
        depth_m = np.full((6, 8), 2.0)
        # No measurement, at the cap and beyond it, and what a Kinect writes for unknown.
        depth_m[1, 1:5] = 0.0, 10.0, 12.0, 13.107
        write_room(tmp_path, depth_m, codes_per_m=5000)
        (frame,) = load_frames(rgbd_set(depth_codes_per_m=5000.0), tmp_path)
        assert frame.camera == Intrinsics(50.0, 50.0, 3.5, 2.5, width=8, height=6)
        assert frame.rgb[0, 0].tolist() == [20, 0, 0]
        expected_m = np.full((6, 8), 2.0, np.float32)
        expected_m[1, 1:5] = np.nan
        np.testing.assert_array_equal(frame.truth_m, expected_m)

    def test_border_does_not_count(self, tmp_path):
        depth_m = np.full((6, 8), 5.0)
        depth_m[2:4, 2:6] = 3.0
        write_room(tmp_path, depth_m)
        (frame,) = load_frames(rgbd_set(border_px=2), tmp_path)
        assert np.isfinite(frame.truth_m).sum() == 8
        assert np.nanmax(frame.truth_m) == 3.0
        with pytest.raises(DataError, match=r"0\.color\.png has no depth between 0\.1 and 10 m"):
            load_frames(rgbd_set(border_px=3), tmp_path)

    def test_pictures_and_depth_are_paired_in_order(self, tmp_path):
        write_room(tmp_path, 1.0, 2.0, 3.0)
        frames = load_frames(rgbd_set(), tmp_path)
        assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [10, 20, 30]
        assert [float(frame.truth_m[0, 0]) for frame in frames] == [1.0, 2.0, 3.0]

    def test_missing_and_unfit_files(self, tmp_path):
        with pytest.raises(DataError, match=r"no file room/\*\.color\.png in"):
            load_frames(rgbd_set(), tmp_path)
        write_room(tmp_path, 1.0, 2.0)
        with pytest.raises(ConfigError, match="is no pattern of files"):
            load_frames(rgbd_set(images="room/a**"), tmp_path)
        (tmp_path / "room/1.depth.png").unlink()
        with pytest.raises(DataError, match=r"2 pictures .* and 1 depth files .*; set room needs"):
            load_frames(rgbd_set(), tmp_path)
        write_code(tmp_path / "room/1.depth.png", np.full((6, 7), 1000, np.uint16))
        with pytest.raises(DataError, match=r"\(6, 7\) uint16; depth must be \(6, 8\) uint16"):
            load_frames(rgbd_set(), tmp_path)
        write_code(tmp_path / "room/1.depth.png", np.full((6, 8), 100, np.uint8))
        with pytest.raises(DataError, match="uint8; depth must be"):
            load_frames(rgbd_set(), tmp_path)
        (tmp_path / "room/1.depth.png").write_bytes(b"")
        with pytest.raises(DataError, match="is empty"):
            load_frames(rgbd_set(), tmp_path)


class TestKittiDrive:
    def test_sweeps_land_where_they_were_lifted_from(self, tmp_path):
        write_kitti(tmp_path, {DRIVE: (0, 1, 2, 3)}, annotated=None, size=SIZE, cameras=("02",))
        frames = load_frames(kitti_set(), tmp_path)
        assert [Path(frame.name).stem for frame in frames] == ["0000000001", "0000000002"]
        for number, frame in zip((1, 2), frames, strict=True):
            expected = (*camera_of(SIZE), SIZE[1], SIZE[0])
            camera = frame.camera
            found = (camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height)
            assert found == pytest.approx(expected)
            # A point for every second pixel of every second row, of which the box hides none.
            known = np.isfinite(frame.truth_m)
            assert 0.9 * SIZE[0] * SIZE[1] / 4 < known.sum() <= SIZE[0] * SIZE[1] / 4
            assert not known[1::2].any() and not known[:, 1::2].any()
            truth_m = street_depth(*SIZE, seed=number)
            np.testing.assert_allclose(frame.truth_m[known], truth_m[known], rtol=1e-4)

    def test_points_behind_others_are_dropped_and_the_range_is_kept(self, tmp_path):
        write_kitti(tmp_path, {DRIVE: (1, 2)}, annotated=None, size=SIZE, cameras=("02",))
        sweep = tmp_path / DAY / DRIVE / "velodyne_points/data/0000000001.bin"
        points = np.fromfile(sweep, np.float32).reshape(-1, 4)
        before = load_frames(kitti_set(), tmp_path)[0].truth_m
        # One point of the road twice as far from the LiDAR, so behind its neighbours in the image.
        index = len(points) * 3 // 4
        points[index, :3] *= 2.0
        points.tofile(sweep)
        after = load_frames(kitti_set(), tmp_path)[0].truth_m
        assert np.isfinite(after).sum() == np.isfinite(before).sum() - 1
        near = load_frames(kitti_set(depth_range_m=(0.1, 20.0)), tmp_path)[0].truth_m
        assert np.nanmax(near) < 20.0
        assert np.isfinite(near).sum() == (after < 20.0).sum()

    def test_missing_frames_and_drives(self, tmp_path):
        write_kitti(tmp_path, {DRIVE: (1, 2)}, annotated=None, size=SIZE, cameras=("02",))
        with pytest.raises(DataError, match="lacks image or sweep of frames 3, 4"):
            load_frames(kitti_set(last_frame=4), tmp_path)
        with pytest.raises(DataError, match="no KITTI drive at"):
            load_frames(kitti_set(drive=f"{DAY}/nowhere_sync"), tmp_path)
        (tmp_path / DAY / "calib_velo_to_cam.txt").unlink()
        with pytest.raises(DataError, match="calibration of the recording day"):
            load_frames(kitti_set(), tmp_path)


class TestScores:
    def test_twice_the_truth_is_wrong_by_100_percent_and_right_once_aligned(self, tmp_path):
        depth_m = np.tile(np.linspace(1.0, 4.5, 8), (6, 1))
        write_room(tmp_path, depth_m, 1.5 * depth_m)
        (scores,) = score_real_frames(twice_the_truth, [rgbd_set()], tmp_path)
        assert (scores.name, scores.use, scores.scene) == ("room", "choosing", "rooms")
        assert (scores.frames, scores.truth_pixels, scores.metric.count) == (2, 96, 96)
        # Red holds 8 bits: 10 x 6.75 is rounded.
        assert scores.metric.abs_rel == pytest.approx(1.0, abs=0.02)
        assert scores.metric.delta1 == 0.0
        assert scores.aligned.abs_rel == pytest.approx(0.0, abs=0.02)
        assert scores.aligned.delta1 == 1.0

    def test_numbers_by_hand(self, tmp_path):
        write_room(tmp_path, 2.0, 4.0)
        (scores,) = score_real_frames(twice_the_truth, [rgbd_set()], tmp_path)
        assert scores.metric.abs_rel == 1.0
        assert scores.aligned.abs_rel == 0.0
        # Median of all is 3 m: 3/2 and 4/3 are both above 1.25; aligned it is 2 m and 4 m.
        assert scores.constant_m == 3.0
        assert scores.constant.abs_rel == pytest.approx((1.0 / 2.0 + 1.0 / 4.0) / 2.0)
        assert scores.constant.delta1 == 0.0
        assert scores.constant_aligned.abs_rel == 0.0
        assert scores.constant_aligned.delta1 == 1.0

    def test_images_weigh_the_same_however_much_was_measured(self, tmp_path):
        sparse_m = np.zeros((6, 8))
        sparse_m[0, 0] = 4.0
        write_room(tmp_path, 2.0, sparse_m)
        (scores,) = score_real_frames(
            lambda rgb, _: np.full(rgb.shape[:2], 2.0, np.float32), [rgbd_set()], tmp_path
        )
        assert scores.truth_pixels == 49
        assert scores.metric.abs_rel == pytest.approx((0.0 + 0.5) / 2.0)
        assert scores.metric.delta1 == 0.5

    def test_pixels_without_an_answer_show_in_the_table(self, tmp_path):
        write_room(tmp_path, 2.0)

        def left_half(rgb, camera):
            depth_m = twice_the_truth(rgb, camera)
            depth_m[:, 4:] = np.nan
            return depth_m

        scores = score_real_frames(left_half, [rgbd_set()], tmp_path)
        assert (scores[0].metric.count, scores[0].truth_pixels) == (24, 48)
        lines = score_lines({"half": scores})
        row = ["half", "1", "24", "of", "48", "1.0000", "0.0000", "0.0000", "1.0000"]
        assert lines[2].split() == row
        assert lines[3].split()[:5] == ["constant", "2.00", "m", "1", "48"]

    def test_scores_of_a_drive_and_its_picture(self, tmp_path):
        write_kitti(tmp_path, {DRIVE: (1, 2)}, annotated=None, size=SIZE, cameras=("02",))
        part = kitti_set()
        by_picture = {f.rgb.tobytes(): f.truth_m for f in load_frames(part, tmp_path)}
        out = tmp_path / "pictures"
        (scores,) = score_real_frames(
            lambda rgb, _: 2.0 * by_picture[rgb.tobytes()], [part], tmp_path, out
        )
        assert scores.metric.abs_rel == pytest.approx(1.0, abs=1e-6)
        assert scores.aligned.abs_rel == pytest.approx(0.0, abs=1e-6)
        # Two frames of 94x310 as three tiles of 480 columns, 94 * 480 / 310 = 145.5 rows.
        assert cv2.imread(str(out / "street.png")).shape == (2 * 146, 3 * 480, 3)


class TestSettings:
    def test_both_kinds_load(self, tmp_path):
        rgbd, kitti = load_sets(sets_file(tmp_path, RGBD, KITTI))
        assert rgbd == rgbd_set()
        assert (rgbd.intrinsics, rgbd.border_px) == ((50.0, 50.0, 3.5, 2.5), 0)
        assert kitti == kitti_set()
        assert (kitti.use, kitti.first_frame, kitti.last_frame) == ("reporting", 1, 2)
        assert for_scene([rgbd, kitti], "streets") == [kitti]
        with pytest.raises(ConfigError, match="none of the sets room is of streets"):
            for_scene([rgbd], "streets")

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            (RGBD | {"depth_scale": 1}, r"sets\[0\] has no setting depth_scale"),
            (RGBD | {"drive": "x"}, "has no setting drive"),
            (RGBD | {"kind": "stereo"}, "kind is 'stereo'; choose from rgbd, kitti_drive"),
            (RGBD | {"use": "training"}, "use is 'training'; choose from choosing, reporting"),
            (RGBD | {"intrinsics": [1.0]}, "intrinsics must have 4 entries"),
            (RGBD | {"depth_range_m": [0.1, 11.0]}, "<= 10, the cap of rooms"),
            (RGBD | {"depth_range_m": [2.0, 1.0]}, "need 0 <= low < high"),
            (RGBD | {"depth_codes_per_m": 0}, "must be positive"),
            (RGBD | {"border_px": -1}, "border_px 0 or more"),
            (RGBD | {"images": "/room/*.png"}, "give a path relative to --root"),
            (RGBD | {"name": "../room"}, "set name"),
            (KITTI | {"last_frame": 0}, "first_frame <= last_frame"),
            ({"kind": "rgbd"}, "needs depth_codes_per_m"),
            ("room", r"sets\[0\] must be dict"),
        ],
    )
    def test_impossible_settings(self, tmp_path, entry, message):
        with pytest.raises(ConfigError, match=message):
            load_sets(sets_file(tmp_path, entry))

    def test_file_as_a_whole(self, tmp_path):
        with pytest.raises(ConfigError, match="lists room, room; list sets"):
            load_sets(sets_file(tmp_path, RGBD, RGBD))
        with pytest.raises(ConfigError, match="lists no set"):
            load_sets(sets_file(tmp_path))
        with pytest.raises(ConfigError, match="cannot read"):
            load_sets(tmp_path / "none.yaml")
        (tmp_path / "more.yaml").write_text("sets: []\nroot: here\n")
        with pytest.raises(ConfigError, match="has no setting root"):
            load_sets(tmp_path / "more.yaml")

    def test_scene_of_a_checkpoint(self):
        world = {"data": {"world": {"kind": "streets"}}}
        assert scene_of(info(world, settings={"max_depth_m": 10.0})) == "streets"
        assert scene_of(info({"data": {"kind": "rooms"}})) == "rooms"
        prepared = {"data": {"world": None, "prepared": [{"folder": "data/kitti"}]}}
        assert scene_of(info(prepared, settings={"max_depth_m": 80.0})) == "streets"
        assert scene_of(info(settings={"max_depth_m": 10.0})) == "rooms"
        with pytest.raises(ConfigError, match="say --scene"):
            scene_of(info())


class TestCommand:
    def test_table_json_and_pictures(self, light_checkpoint, tmp_path, capsys):
        write_room(tmp_path, 2.0, 4.0)
        frames = sets_file(tmp_path, RGBD, KITTI)
        arguments = [str(light_checkpoint), "--frames", str(frames), "--root", str(tmp_path)]
        out = tmp_path / "out/scores.json"
        files = ["--json", str(out), "--pictures", str(tmp_path / "drawn")]
        assert main([*arguments, *files]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split()[:2] == ["frames", "pixels"]
        assert lines[1] == "room (rooms, for choosing)"
        assert lines[2].split()[:3] == [str(light_checkpoint), "2", "96"]
        assert lines[3].split()[:5] == ["constant", "3.00", "m", "2", "96"]
        assert len(lines) == 4
        (record,) = json.loads(out.read_text())["checkpoints"]
        assert (record["name"], len(record["sets"])) == ("tiny", 1)
        assert record["sets"][0]["constant"]["abs_rel"] == pytest.approx(0.375)
        assert list(out.parent.iterdir()) == [out]
        assert len(list((tmp_path / "drawn").glob("*/room.png"))) == 1

    def test_errors_are_one_line(self, light_checkpoint, tmp_path, capsys):
        frames = str(sets_file(tmp_path, RGBD))
        name, root = str(light_checkpoint), str(tmp_path)
        for arguments, message in (
            ([name, "--root", str(tmp_path / "none")], "is no folder"),
            ([name, "--frames", frames, "--root", root], "no file room/*.color.png"),
            ([name, "--frames", frames, "--root", root, "--use", "reporting"], "no set for"),
            ([name, "--frames", frames, "--root", root, "--scene", "streets"], "is of streets"),
            (["no_such_checkpoint", "--frames", frames, "--root", root], "no_such_checkpoint"),
        ):
            assert main(arguments) == 1
            error = capsys.readouterr().err
            assert error.startswith("error: ") and message in error


def test_shipped_sets_load():
    sets = load_sets(SHIPPED)
    assert {part.use for part in for_scene(sets, "rooms")} == {"choosing", "reporting"}
    assert {part.use for part in for_scene(sets, "streets")} == {"choosing", "reporting"}


@pytest.mark.skipif(not REAL.is_dir(), reason="the real frames of ../shared/data are not here")
def test_real_frames():
    counts = []
    for part in load_sets(SHIPPED):
        frames = load_frames(part, REAL)
        counts.append(len(frames))
        assert all(np.isfinite(frame.truth_m).sum() > 1000 for frame in frames)
    assert counts == [6, 6, 3, 1, 6]
