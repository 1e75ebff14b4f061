"""`mono_depth calibrate`: recordings of known scale, the command, wrong inputs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rewritten_bags import IMAGE, INFO, rewrite
from wall_scene import CAMERA, wall_depth

from mono_depth_ros.bags.process import DEPTH_TOPIC
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.world import write_world_bag
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.calibration import load_calibration
from mono_depth_ros.checkpoint import read_info
from mono_depth_ros.cli.main import main
from mono_depth_ros.decoding import image_to_depth
from mono_depth_ros.errors import BagError, CalibrationError, ConfigError, ShapeError
from mono_depth_ros.evaluation import calibrate
from mono_depth_ros.evaluation.calibrate import CalibrateConfig, calibrate_bag
from mono_depth_ros.evaluation.camera_frames import CameraRecording
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frames import Recording
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.world.catalogue import make_scene
from mono_depth_ros.world.recording import RecordingConfig

LIDAR = EvaluationConfig(occlusion="none")
DEPTH_IMAGE = EvaluationConfig(frames=FrameConfig(truth="depth"))


class Network:
    """Answers what `predict` makes of the red byte of the first pixel, the frame's number."""

    info = SimpleNamespace(name="wall", sha256="12" * 32)

    def __init__(self, predict):
        self.predict = predict

    def network_focal_px(self, camera):
        return camera.fx / 2

    def __call__(self, rgb, camera):
        return self.predict(int(rgb[0, 0, 0]))


UNRECTIFIED = EvaluationConfig(occlusion="none", frames=FrameConfig(rectified=False))
DISTORTION = (-0.8, 0.0, 0.0, 0.0, 0.0)
TEN_PERCENT_FAR = Network(lambda index: 1.1 * wall_depth(index))


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Return a bag of four frames of a room that shows its floor, and its camera's height."""
    path = tmp_path_factory.mktemp("room") / "bag"
    config = RecordingConfig("rooms", 4, 4, 10.0, "16", (96, 128), "cpu", 1)
    assert len(list(write_world_bag(path, config))) == 4
    return path, make_scene("rooms", 4).pose(0.0)[2, 3]


@pytest.fixture(scope="module")
def near_by_a_third(room):
    """Return a network whose depths are 0.7 times those of the room."""
    truth = Recording(room[0], FrameConfig(truth="depth")).frames()
    depths_m = {frame.rgb.tobytes(): 0.7 * frame.depth_m for frame in truth}

    class Known(Network):
        def __call__(self, rgb, camera):
            return depths_m[rgb.tobytes()]

    return Known(None)


@pytest.fixture
def distorted(make_bag, tmp_path):
    """Return a bag whose camera_info has a distortion, and whose images have structure."""

    def change(topic, number, message):
        if topic == INFO:
            message = replace(message, d=np.array(DISTORTION))
        if topic == IMAGE:
            message = replace(message, data=np.arange(message.data.size, dtype=np.uint8))
        return message

    return rewrite(make_bag("straight"), tmp_path / "distorted", change)


def first_depth(bag):
    with BagReader(bag) as reader:
        return image_to_depth(next(reader.messages([DEPTH_TOPIC]))[2])


class TestPixels:
    def test_scale_worked_out_by_hand(self, make_bag):
        fitted = calibrate_bag(make_bag(), TEN_PERCENT_FAR, CalibrateConfig(evaluation=LIDAR))
        assert fitted.depth_scale == pytest.approx(1 / 1.1, rel=1e-5)
        assert (fitted.method, fitted.inverse_depth_shift_per_m) == ("scale", 0.0)
        assert (fitted.frames, fitted.frames_left_out, fitted.pixels) == (2, 0, 2 * 16 * 12)
        # Frames 0 and 2 were fitted: left halves at 2 and 4 m, right halves at 4 m.
        assert fitted.fitted_range_m == pytest.approx((2.0, 4.0), rel=1e-5)
        assert fitted.residuals_on == "odd frames"
        assert fitted.before.pixels == fitted.after.pixels == 2 * 16 * 12
        assert fitted.before.median_abs_rel == pytest.approx(0.1, rel=1e-5)
        assert fitted.before.abs_rel == pytest.approx(0.1, rel=1e-5)
        assert fitted.after.abs_rel == pytest.approx(0.0, abs=1e-5)
        assert (fitted.checkpoint, fitted.checkpoint_sha256) == ("wall", "12" * 32)
        assert (fitted.camera.fx_px, fitted.camera.network_fx_px) == (20.0, 10.0)
        assert (fitted.camera.width_px, fitted.camera.height_px) == (16, 12)

    def test_the_fit_sees_even_frames_and_the_report_odd_ones(self, make_bag):
        network = Network(lambda index: wall_depth(index) * (0.5 if index % 2 == 0 else 1.0))
        fitted = calibrate_bag(make_bag(), network, CalibrateConfig(evaluation=LIDAR))
        assert fitted.depth_scale == pytest.approx(2.0, rel=1e-5)
        assert fitted.before.delta1 == 1.0
        assert fitted.after.abs_rel == pytest.approx(1.0, rel=1e-5)

    def test_scale_and_shift_from_a_depth_image(self, make_bag):
        def predict(index):
            return 0.5 / (1 / wall_depth(index) - 0.1)

        config = CalibrateConfig("scale-shift", DEPTH_IMAGE)
        fitted = calibrate_bag(make_bag(frames=6, lidar=False), Network(predict), config)
        assert fitted.depth_scale == pytest.approx(2.0, rel=1e-4)
        assert fitted.inverse_depth_shift_per_m == pytest.approx(0.1, rel=1e-4)
        assert fitted.after.abs_rel == pytest.approx(0.0, abs=1e-4)

    def test_one_frame_is_fitted_and_reported(self, make_bag):
        config = CalibrateConfig(evaluation=LIDAR)
        fitted = calibrate_bag(make_bag(frames=1), TEN_PERCENT_FAR, config)
        assert (fitted.frames, fitted.residuals_on) == (1, "fitted frames")
        assert fitted.after.abs_rel == pytest.approx(0.0, abs=1e-5)

    def test_the_clamp_of_a_profile_does_not_touch_the_fit(self, make_bag):
        network = Network(lambda index: 50 * wall_depth(index))
        switches = {"crop": "none", "clamp_m": [0.001, 80.0]}
        evaluation = EvaluationConfig(profile="kitti-garg", switches=switches, occlusion="none")
        fitted = calibrate_bag(make_bag(), network, CalibrateConfig(evaluation=evaluation))
        assert fitted.depth_scale == pytest.approx(0.02, rel=1e-5)

    def test_long_recordings_are_thinned(self, make_bag, monkeypatch):
        monkeypatch.setattr(calibrate, "MOST_PIXELS", 40)
        fitted = calibrate_bag(make_bag(), TEN_PERCENT_FAR, CalibrateConfig(evaluation=LIDAR))
        assert (fitted.pixels, fitted.before.pixels) == (20, 20)
        assert fitted.depth_scale == pytest.approx(1 / 1.1, rel=1e-5)

    def test_frames_that_the_network_refuses_are_left_out_and_counted(self, make_bag):
        def predict(index):
            if index == 1:
                raise ShapeError("no")
            return np.full((12, 16), np.nan) if index == 2 else 1.1 * wall_depth(index)

        fitted = calibrate_bag(make_bag(), Network(predict), CalibrateConfig(evaluation=LIDAR))
        assert (fitted.frames, fitted.frames_left_out) == (1, 2)
        assert fitted.residuals_on == "odd frames"

    def test_nothing_to_fit(self, make_bag):
        nothing = Network(lambda index: np.full((12, 16), np.nan))
        with pytest.raises(BagError, match="meets a prediction"):
            calibrate_bag(make_bag(), nothing, CalibrateConfig(evaluation=LIDAR))
        small = Network(lambda index: np.ones((6, 8)))
        with pytest.raises(BagError, match="none of 4 frames is left"):
            calibrate_bag(make_bag("again"), small, CalibrateConfig(evaluation=LIDAR))

    def test_a_zoom_is_refused(self, tmp_path, make_bag):
        with BagWriter(tmp_path / "zoom") as writer:
            for index, frame in enumerate(Recording(make_bag(), LIDAR.frames).frames()):
                camera = replace(frame.camera, fx=21.0 if index == 2 else 20.0)
                writer.write_image("/camera/image_raw", frame.stamp_ns, "camera", frame.rgb)
                writer.write_camera_info("/camera/camera_info", frame.stamp_ns, "camera", camera)
                writer.write_depth("/truth", frame.stamp_ns, "camera", wall_depth(0))
        with pytest.raises(CalibrationError, match=r"from 20\.0 to 21\.0 px"):
            config = CalibrateConfig(evaluation=DEPTH_IMAGE)
            calibrate_bag(tmp_path / "zoom", Network(lambda index: wall_depth(0)), config)


def test_distortion_is_taken_out_as_for_lidar(distorted):
    with_truth = Recording(distorted, UNRECTIFIED.frames).frames()
    alone = CameraRecording(distorted, UNRECTIFIED.frames)
    assert alone.count == 4
    for frame, expected in zip(alone.frames(), with_truth, strict=True):
        assert frame.camera == expected.camera == CAMERA
        np.testing.assert_array_equal(frame.rgb, expected.rgb)
        np.testing.assert_array_equal(frame.seen, expected.seen)
    recorded = next(CameraRecording(distorted, FrameConfig()).frames())
    assert np.abs(recorded.rgb.astype(int) - alone.frame(0).rgb).max() > 10


class TestCameraHeight:
    def test_the_floor_of_a_room_gives_the_scale(self, room, near_by_a_third):
        bag, height_m = room
        config = CalibrateConfig("camera-height", camera_height_m=height_m)
        fitted = calibrate_bag(bag, near_by_a_third, config)
        assert fitted.depth_scale == pytest.approx(1 / 0.7, rel=0.02)
        assert (fitted.frames, fitted.frames_left_out, fitted.pixels) == (2, 0, 2)
        assert fitted.before.median_abs_rel == pytest.approx(0.3, rel=0.02)
        assert fitted.after.median_abs_rel < 0.02
        low_m, high_m = fitted.fitted_range_m
        assert 0.5 * height_m < low_m < high_m < 8.0

    def test_frames_without_a_floor_are_left_out(self, make_bag):
        config = CalibrateConfig("camera-height", camera_height_m=1.0)
        with pytest.raises(CalibrationError, match="none of 4 frames shows a dominant floor"):
            calibrate_bag(make_bag(lidar=False, transforms=False), TEN_PERCENT_FAR, config)

    def test_some_frames_without_a_floor_are_counted(self, room, near_by_a_third):
        class Blinking(type(near_by_a_third)):
            calls = 0

            def __call__(self, rgb, camera):
                self.calls += 1
                depth_m = super().__call__(rgb, camera)
                return np.full_like(depth_m, 3.0) if self.calls == 2 else depth_m

        bag, height_m = room
        config = CalibrateConfig("camera-height", camera_height_m=height_m)
        fitted = calibrate_bag(bag, Blinking(None), config)
        assert (fitted.frames, fitted.frames_left_out) == (2, 1)


class TestDistance:
    def test_one_measured_distance(self, make_bag):
        bag = make_bag(lidar=False, transforms=False)
        # Frame 1: the left half is at 3 m, predicted at 3.3 m; it is 3.5 m by the tape.
        config = CalibrateConfig("distance", distance_m=3.5, pixel_uv=(7, 11), frame=1)
        fitted = calibrate_bag(bag, TEN_PERCENT_FAR, config)
        assert fitted.depth_scale == pytest.approx(3.5 / 3.3, rel=1e-6)
        assert fitted.fitted_range_m == (3.5, 3.5)
        assert (fitted.frames, fitted.pixels, fitted.residuals_on) == (1, 1, "fitted frames")
        assert fitted.before.abs_rel == pytest.approx(0.2 / 3.5, rel=1e-5)
        right = CalibrateConfig("distance", distance_m=3.5, pixel_uv=(8, 11))
        assert calibrate_bag(bag, TEN_PERCENT_FAR, right).depth_scale == pytest.approx(3.5 / 4.4)

    def test_in_a_distorted_image_the_recorded_pixel_counts(self, distorted):
        k1, u, v = DISTORTION[0], np.arange(16.0), np.arange(12.0)[:, None]
        x, y = (u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy
        radial = 1 + k1 * (x**2 + y**2)
        away_px = np.hypot(
            CAMERA.fx * x * radial + CAMERA.cx - 14, CAMERA.fy * y * radial + CAMERA.cy - 1
        )
        row, column = np.unravel_index(away_px.argmin(), away_px.shape)
        assert (column, row) == (15, 0)
        network = Network(lambda index: 1.0 + 16 * v + u)
        config = CalibrateConfig(
            "distance", UNRECTIFIED, distance_m=30.0, pixel_uv=(14, 1), frame=1
        )
        assert calibrate_bag(distorted, network, config).depth_scale == pytest.approx(30 / 16)

    def test_what_does_not_exist_is_refused(self, make_bag):
        bag = make_bag()
        for values, error, reason in (
            ({"pixel_uv": (16, 0)}, ConfigError, r"16 0 is outside the image of 16x12"),
            ({"pixel_uv": (0, -1)}, ConfigError, "outside"),
            ({"pixel_uv": (0, 0), "frame": 4}, ConfigError, "holds images 0 to 3"),
        ):
            with pytest.raises(error, match=reason):
                calibrate_bag(
                    bag, TEN_PERCENT_FAR, CalibrateConfig("distance", distance_m=1.0, **values)
                )
        nothing = Network(lambda index: np.full((12, 16), np.nan))
        config = CalibrateConfig("distance", distance_m=1.0, pixel_uv=(0, 0))
        with pytest.raises(CalibrationError, match="no depth at pixel 0 0"):
            calibrate_bag(bag, nothing, config)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"method": "camera-height"}, "needs camera_height_m"),
        ({"method": "distance", "distance_m": 1.0}, "needs pixel_uv"),
        ({"method": "camera-height", "camera_height_m": -1.0}, "camera_height_m must be positive"),
        ({"frame": -1}, "frame must be 0 or more"),
    ],
)
def test_impossible_settings(values, reason):
    with pytest.raises(ConfigError, match=reason):
        CalibrateConfig(**values)


class TestCommand:
    def test_from_bag_to_evaluation(self, room, light_checkpoint, tmp_path, capsys):
        bag, out = str(room[0]), tmp_path / "calibration.yaml"
        network = ["--checkpoint", str(light_checkpoint), "--device", "cpu"]
        assert main(["calibrate", bag, *network, "--out", str(out)]) == 0
        printed, fitted = capsys.readouterr().out, load_calibration(out)
        assert f"depth_scale {fitted.depth_scale:.4f} by scale" in printed
        assert (
            f"{fitted.before.abs_rel:.4f}" in printed and f"{fitted.after.abs_rel:.4f}" in printed
        )
        assert fitted.checkpoint_sha256 == read_info(light_checkpoint).sha256
        assert fitted.after.median_abs_rel < fitted.before.median_abs_rel
        again = out.read_bytes()
        assert main(["calibrate", bag, *network, "--out", str(out)]) == 0
        assert out.read_bytes() == again

        capsys.readouterr()
        evaluate = ["evaluate", bag, *network, "--out", str(tmp_path / "report")]
        assert main([*evaluate, "--calibration", str(out)]) == 0
        report = (tmp_path / "report" / "scores.json").read_text()
        assert f"scale {fitted.depth_scale:g}, shift 0 1/m" in report

        process = ["process", bag, str(tmp_path / "processed"), *network]
        assert main([*process, "--no-points", "--calibration", str(out)]) == 0
        plain = ["process", bag, str(tmp_path / "plain"), *network, "--no-points"]
        assert main(plain) == 0
        calibrated_m, plain_m = (first_depth(tmp_path / name) for name in ("processed", "plain"))
        np.testing.assert_allclose(calibrated_m, fitted.depth_scale * plain_m, rtol=1e-5)

    def test_wrong_inputs(self, make_bag, light_checkpoint, tmp_path, capsys):
        bag, out = str(make_bag()), tmp_path / "c.yaml"
        network = ["--checkpoint", str(light_checkpoint), "--device", "cpu"]
        start = ["calibrate", bag, *network, "--out", str(out)]
        for arguments, reason in (
            (["--pixel", "1", "2", "--frame", "0"], "--pixel and --frame without --distance"),
            (["--distance", "2"], "--distance needs --pixel U V"),
            (["--camera-height", "0"], "camera_height_m must be positive"),
            (["--camera-height", "1"], "none of 4 frames shows a dominant floor"),
            (["--distance", "2", "--pixel", "99", "2"], "outside the image of 16x12"),
            (["--lidar-topic", "/nowhere"], "no topic /nowhere"),
        ):
            assert main([*start, *arguments]) == 1
            assert reason in capsys.readouterr().err
        assert not out.exists()
        with pytest.raises(SystemExit):
            main([*start, "--camera-height", "1", "--method", "scale-shift"])
        capsys.readouterr()
        out.write_text("my: notes\n")
        assert main(start) == 1
        assert "exists and is no calibration" in capsys.readouterr().err
        assert out.read_text() == "my: notes\n"

    def test_recorded_depth_takes_no_calibration(self, make_bag, tmp_path, capsys):
        arguments = ["evaluate", str(make_bag()), "--depth-topic", "/ground_truth/depth"]
        arguments += ["--out", str(tmp_path / "r"), "--calibration", str(tmp_path / "c.yaml")]
        assert main(arguments) == 1
        assert "--calibration is for --checkpoint" in capsys.readouterr().err
