"""Metric calibration: what is applied, the file, and how a predictor takes it."""

from __future__ import annotations

import dataclasses
import logging
import math

import numpy as np
import pytest
import yaml

from mono_depth_ros.calibration import (
    CalibratedCamera,
    CalibrationFile,
    DepthCalibration,
    Residuals,
    load_calibration,
    save_calibration,
)
from mono_depth_ros.checkpoint import read_info
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

# The light checkpoint is for 64x96 images, which this camera's letterbox halves to.
CAMERA = Intrinsics(160, 160, 95.5, 63.5, 192, 128)
RGB = np.full((128, 192, 3), 90, np.uint8)


def calibration_of(sha256="ab" * 32, **values):
    residuals = Residuals(100, 0.1, 0.12, 0.9)
    given = {
        "method": "scale",
        "depth_scale": 1.25,
        "checkpoint": "tiny",
        "checkpoint_sha256": sha256,
        "camera": CalibratedCamera(160.0, 192, 128, 80.0),
        "fitted_range_m": (0.5, 6.0),
        "frames": 3,
        "frames_left_out": 0,
        "pixels": 300,
        "residuals_on": "odd frames",
        "before": residuals,
        "after": residuals,
    }
    return CalibrationFile(**{**given, **values})


@pytest.fixture
def fitted(light_checkpoint):
    return calibration_of(read_info(light_checkpoint).sha256)


class TestDepthCalibration:
    def test_default_changes_nothing(self):
        depth_m = np.array([0.0, 1.5, np.nan], np.float32)
        assert DepthCalibration().apply(depth_m) is depth_m

    def test_scale_then_shift(self):
        depth_m = np.array([[1.0, 2.0], [4.0, np.nan]], np.float32)
        scaled = DepthCalibration(1.5).apply(depth_m)
        np.testing.assert_array_equal(scaled, np.float32([[1.5, 3.0], [6.0, np.nan]]))
        # 1 / (1/2 + 1/4), 1 / (1/4 + 1/4), 1 / (1/8 + 1/4)
        shifted = DepthCalibration(2.0, 0.25).apply(depth_m)
        np.testing.assert_allclose(shifted, [[4 / 3, 2.0], [8 / 3, np.nan]], rtol=1e-6)
        assert shifted.dtype == scaled.dtype == np.float32
        assert depth_m[0, 0] == 1.0

    def test_inverse_depth_of_zero_or_less_is_no_depth(self):
        shifted = DepthCalibration(1.0, -0.25).apply(np.array([0.0, 2.0, 4.0, 5.0]))
        np.testing.assert_allclose(shifted, [0.0, 4.0, np.nan, np.nan])

    @pytest.mark.parametrize("values", [(0.0,), (-1.0,), (math.inf,), (math.nan,), (1.0, math.nan)])
    def test_impossible_values(self, values):
        with pytest.raises(ConfigError, match=r"depth_scale must|shift_per_m must"):
            DepthCalibration(*values)


class TestFile:
    @pytest.mark.parametrize("values", [{}, {"method": "scale-shift", "depth_scale": 1 / 3}])
    def test_round_trip(self, tmp_path, values):
        shift = 0.1 / 3 if values else 0.0
        written = calibration_of(inverse_depth_shift_per_m=shift, **values)
        path = tmp_path / "new" / "calibration.yaml"
        save_calibration(path, written)
        assert load_calibration(path) == written
        assert [file.name for file in path.parent.iterdir()] == ["calibration.yaml"]
        assert ("inverse_depth_shift_per_m" in path.read_text()) == bool(values)
        first = path.read_bytes()
        save_calibration(path, written)
        assert path.read_bytes() == first

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"dept_scale": 1.0}, "no setting dept_scale"),
            ({"depth_scale": -1.0}, "depth_scale must be positive"),
            ({"depth_scale": "far"}, "depth_scale must be float"),
            ({"method": "guess"}, "choose from scale, scale-shift, camera-height, distance"),
            ({"format": 2}, "format 2, this version reads 1"),
            ({"camera": {"fx_px": 1.0}}, "camera needs height_px, network_fx_px, width_px"),
            ({"after": None}, "after must be a mapping"),
        ],
    )
    def test_wrong_files_are_refused(self, tmp_path, change, reason):
        path = tmp_path / "c.yaml"
        save_calibration(path, calibration_of())
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
        with pytest.raises(ConfigError, match=reason):
            load_calibration(path)

    def test_missing_settings_and_files_are_refused(self, tmp_path):
        (tmp_path / "c.yaml").write_text("method: scale\ndepth_scale: 1.0\n")
        with pytest.raises(ConfigError, match="needs after, before, camera, checkpoint"):
            load_calibration(tmp_path / "c.yaml")
        with pytest.raises(ConfigError, match="cannot read"):
            load_calibration(tmp_path / "none.yaml")


class TestPredictor:
    def test_takes_scale_and_shift(self, light_checkpoint, fitted, tmp_path, caplog):
        shifted = dataclasses.replace(
            fitted, method="scale-shift", depth_scale=0.5, inverse_depth_shift_per_m=0.1
        )
        save_calibration(tmp_path / "c.yaml", shifted)
        config = InferenceConfig(device="cpu")
        plain_m = DepthPredictor.load(light_checkpoint, config)(RGB, CAMERA)
        predictor = DepthPredictor.load(light_checkpoint, config, tmp_path / "c.yaml")
        with caplog.at_level(logging.WARNING):
            np.testing.assert_allclose(
                predictor(RGB, CAMERA), 1 / (1 / (0.5 * plain_m) + 0.1), rtol=1e-5
            )
        assert not caplog.records

    def test_is_never_calibrated_twice(self, light_checkpoint, fitted, tmp_path):
        save_calibration(tmp_path / "c.yaml", fitted)
        for own in ({"depth_scale": 1.25}, {"inverse_depth_shift_per_m": 0.1}):
            config = InferenceConfig(device="cpu", **own)
            with pytest.raises(ConfigError, match="besides a calibration file"):
                DepthPredictor.load(light_checkpoint, config, tmp_path / "c.yaml")
        predictor = DepthPredictor.load(
            light_checkpoint, InferenceConfig(device="cpu"), tmp_path / "c.yaml"
        )
        with pytest.raises(ConfigError, match="besides a calibration file"):
            predictor.calibrate(fitted)
        assert predictor.config.depth_scale == 1.25

    def test_refuses_the_calibration_of_other_weights(self, light_checkpoint, tmp_path):
        save_calibration(tmp_path / "c.yaml", calibration_of("cd" * 32))
        with pytest.raises(ConfigError, match=r"sha256 cdcdcdcdcdcd.*not for tiny"):
            DepthPredictor.load(light_checkpoint, calibration=tmp_path / "c.yaml")

    def test_warns_once_of_another_focal_length(self, light_checkpoint, fitted, caplog):
        predictor = DepthPredictor.load(light_checkpoint, InferenceConfig(device="cpu"))
        predictor.calibrate(fitted)
        within = dataclasses.replace(CAMERA, fx=160 * 1.019)
        # Half the pixels behind the same lens: the network sees the same image.
        binned = CAMERA.resized(96, 64)
        other = dataclasses.replace(CAMERA, fx=160 * 1.03)
        with caplog.at_level(logging.WARNING):
            predictor(RGB, None)
            predictor(RGB, within)
            predictor(RGB[::2, ::2].copy(), binned)
            assert not caplog.records
            predictor(RGB, other)
            predictor(RGB, other)
        assert [record.getMessage() for record in caplog.records] == [
            "the calibration was fitted on a camera of fx 80.0 px as the network sees it, this one "
            "has 82.4 px; calibrate again with this camera"
        ]
