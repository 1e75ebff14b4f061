"""Camera and extrinsics from files in place of what a recording says or leaves out."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from rewritten_bags import rewrite, zoomed
from wall_scene import BODY_FROM_OPTICAL, CAMERA, base_from_lidar

from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import BagError, CalibrationError, ConfigError
from mono_depth_ros.evaluation.calibration_files import read_camera, read_extrinsics
from mono_depth_ros.evaluation.camera_frames import CameraRecording
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frames import Recording
from mono_depth_ros.evaluation.live import require_live
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.geometry import Intrinsics, invert_transform, quaternion_from_matrix

# What `camera_calibration` writes.
NARROW_STEREO = """\
image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [438.78, 0.0, 305.59, 0.0, 437.35, 243.74, 0.0, 0.0, 1.0]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.3611, 0.1218, 9.3e-05, 8.9e-4, 0.0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
projection_matrix:
  rows: 3
  cols: 4
  data: [393.65, 0.0, 322.8, 0.0, 0.0, 393.65, 241.1, 0.0, 0.0, 0.0, 1.0, 0.0]
"""


def camera_file(path, camera=CAMERA):
    """Write the file of a rectified camera."""
    matrix = {"rows": 3, "cols": 3, "data": camera.matrix.ravel().tolist()}
    values = {"image_width": camera.width, "image_height": camera.height, "camera_matrix": matrix}
    path.write_text(yaml.safe_dump(values))
    return str(path)


def recorded_transform():
    """Return camera_from_lidar of the recordings that `make_bag` writes."""
    base_from_camera = BODY_FROM_OPTICAL.copy()
    base_from_camera[:3, 3] = [0.3, 0.0, 0.8]
    return invert_transform(base_from_camera) @ base_from_lidar()


def write(path, **values):
    path.write_text(yaml.safe_dump(values))
    return str(path)


class TestCamera:
    def test_what_camera_calibration_writes(self, tmp_path):
        file = tmp_path / "camera.yaml"
        file.write_text(NARROW_STEREO)
        lens = ("plumb_bob", (-0.3611, 0.1218, 9.3e-05, 8.9e-4, 0.0))
        straight = Intrinsics(393.65, 393.65, 322.8, 241.1, 640, 480)
        assert read_camera(file, rectified=True) == (straight, lens)
        bent = Intrinsics(438.78, 437.35, 305.59, 243.74, 640, 480)
        assert read_camera(file, rectified=False) == (bent, lens)

    def test_a_bag_without_camera_info(self, make_bag, tmp_path):
        bag = make_bag(camera=None)
        with pytest.raises(BagError, match="camera_info"):
            Recording(bag, FrameConfig())
        config = FrameConfig(camera_calibration=camera_file(tmp_path / "camera.yaml"))
        recording = Recording(bag, config)
        assert recording.topics.camera_info == "camera.yaml"
        assert [frame.camera for frame in recording.frames()] == [CAMERA] * 4
        assert [frame.camera for frame in CameraRecording(bag, config).frames()] == [CAMERA] * 4

    def test_a_wrong_camera_info_does_not_count(self, make_bag, tmp_path):
        bag = rewrite(make_bag("right"), tmp_path / "wrong", zoomed(1.1))
        assert next(Recording(bag, FrameConfig()).frames()).camera.fx == pytest.approx(22.0)
        config = FrameConfig(camera_calibration=camera_file(tmp_path / "camera.yaml"))
        assert next(Recording(bag, config).frames()).camera == CAMERA

    def test_its_distortion_is_taken_out(self, make_bag, tmp_path):
        file = tmp_path / "camera.yaml"
        values = yaml.safe_load(NARROW_STEREO)
        values |= {"image_width": 16, "image_height": 12}
        values["camera_matrix"]["data"] = CAMERA.matrix.ravel().tolist()
        values["distortion_coefficients"]["data"] = [0.8, 0.0, 0.0, 0.0, 0.0]
        file.write_text(yaml.safe_dump(values))
        config = FrameConfig(camera_calibration=str(file), rectified=False)
        for recording in (Recording, CameraRecording):
            frame = next(recording(make_bag(recording.__name__), config).frames())
            assert frame.camera == CAMERA
            # The corner of the straight image lies (1 + 0.8 r^2) times as far from the centre.
            assert not frame.seen[0, 0] and frame.seen[5, 7]

    def test_another_size_is_named(self, make_bag, tmp_path):
        file = camera_file(tmp_path / "camera.yaml", CAMERA.resized(8, 6))
        with pytest.raises(BagError, match=r"on camera\.yaml is for 6x8"):
            list(Recording(make_bag(), FrameConfig(camera_calibration=file)).frames())

    @pytest.mark.parametrize(
        ("key", "value", "reason"),
        [
            ("image_width", None, "image_width is None"),
            ("image_height", 0, "image_height is 0"),
            ("camera_matrix", {"data": [1, 2]}, "camera_matrix has no data of 9 numbers"),
            ("camera_matrix", {"data": [0.0] * 9}, "not calibrated"),
            ("camera_matrix", {"data": [float("nan")] * 9}, "camera_matrix has no data"),
            ("projection_matrix", 5, "projection_matrix has no data of 12 numbers"),
            ("distortion_coefficients", {"data": ["x"]}, "distortion_coefficients has no data"),
            ("distortion_model", 3, "distortion_model is 3"),
        ],
    )
    def test_a_wrong_entry_is_named(self, tmp_path, key, value, reason):
        values = {**yaml.safe_load(NARROW_STEREO), key: value}
        file = write(tmp_path / "camera.yaml", **values)
        with pytest.raises(CalibrationError, match=reason) as caught:
            read_camera(file, rectified=False)
        assert "camera.yaml" in str(caught.value)

    def test_no_file(self, tmp_path):
        with pytest.raises(ConfigError, match=r"nothing\.yaml"):
            read_camera(tmp_path / "nothing.yaml", rectified=True)

    def test_two_cameras_or_a_live_one_are_refused(self):
        with pytest.raises(ConfigError, match="both name the camera"):
            FrameConfig(camera_calibration="x", camera_info_topic="/y")
        with pytest.raises(ConfigError, match="camera_calibration"):
            require_live(EvaluationConfig(frames=FrameConfig(camera_calibration="x")))


class TestExtrinsics:
    def test_both_forms_give_the_recorded_transform(self, make_bag, tmp_path):
        expected = recorded_transform()
        quaternion = quaternion_from_matrix(expected[:3, :3]).tolist()
        pose = {"translation_m": expected[:3, 3].tolist(), "quaternion_xyzw": quaternion}
        matrix = {"camera_from_lidar": expected.tolist()}
        frames = {"camera_frame": "/camera", "lidar_frame": "lidar"}
        bag = make_bag(transforms=False)
        for number, values in enumerate((pose, matrix, {**pose, **frames}, {**matrix, **frames})):
            file = write(tmp_path / f"extrinsics{number}.yaml", **values)
            recording = Recording(bag, FrameConfig(extrinsics=file))
            np.testing.assert_allclose(recording.camera_from_lidar, expected, atol=1e-12)

    def test_they_count_more_than_tf_static(self, make_bag, tmp_path):
        moved = recorded_transform()
        moved[2, 3] += 1.0
        file = write(tmp_path / "extrinsics.yaml", camera_from_lidar=moved.tolist())
        recording = Recording(make_bag(), FrameConfig(extrinsics=file))
        np.testing.assert_allclose(recording.camera_from_lidar, moved, atol=1e-12)

    @pytest.mark.parametrize(
        ("values", "error", "reason"),
        [
            ({}, ConfigError, "must hold either"),
            ({"translation_m": [0, 0, 0]}, ConfigError, "must hold either"),
            ({"translation_m": [0, 0, 0], "rotation": 1}, ConfigError, "no setting rotation"),
            ({"camera_from_lidar": [[1, 0], [0, 1]]}, ConfigError, "must have 4 entries"),
            ({"camera_from_lidar": np.diag([1, 1, -1, 1]).tolist()}, CalibrationError, "rotation"),
            ({"camera_from_lidar": np.diag([2, 2, 2, 1]).tolist()}, CalibrationError, "rotation"),
            ({"camera_from_lidar": np.diag([1, 1, 1, 2]).tolist()}, CalibrationError, "last row"),
            (
                {"translation_m": [0, 0, 0], "quaternion_xyzw": [0, 0, 0, 0]},
                CalibrationError,
                "no length",
            ),
            (
                {"camera_from_lidar": np.eye(4).tolist(), "lidar_frame": "rear"},
                CalibrationError,
                "LiDAR frame 'rear', the recording's is 'lidar'",
            ),
        ],
    )
    def test_wrong_files_are_named(self, tmp_path, values, error, reason):
        file = write(tmp_path / "extrinsics.yaml", **values)
        with pytest.raises(error, match=reason) as caught:
            read_extrinsics(file, "camera", "lidar")
        assert "extrinsics.yaml" in str(caught.value)

    def test_two_of_them_are_refused(self):
        with pytest.raises(ConfigError, match="say the same thing"):
            FrameConfig(extrinsics="x", camera_from_lidar=(0, 0, 0, 0, 0, 0, 1))


def test_the_commands_take_both_files(make_bag, tmp_path, capsys):
    bag = make_bag(camera=None, transforms=False)
    files = ["--camera-calibration", camera_file(tmp_path / "camera.yaml")]
    matrix = recorded_transform().tolist()
    files += ["--extrinsics", write(tmp_path / "extrinsics.yaml", camera_from_lidar=matrix)]
    evaluate = ["evaluate", str(bag), "--depth-topic", "/ground_truth/depth"]
    # Two images of which one is a depth image: the colour one is taken.
    assert main([*evaluate, "--out", str(tmp_path / "report"), *files]) == 0
    assert main(["extract", str(bag), str(tmp_path / "data"), *files]) == 0
    capsys.readouterr()
    assert main([*evaluate, "--out", str(tmp_path / "none"), *files[:2]]) == 1
    assert "--extrinsics" in capsys.readouterr().err
