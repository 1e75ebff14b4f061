"""The predictor: size, metric scale, range, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.device import resolve_device
from mono_depth_ros.errors import ConfigError, DeviceError, ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import DepthNetwork, ImageSize
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig


class RampNetwork(DepthNetwork):
    """Answers 1 m in the leftmost column, 2 m in the next, whatever it sees."""

    max_depth_m = 100.0

    def training_outputs(self, image):
        batch, _, height, width = image.shape
        ramp = torch.arange(1.0, width + 1).expand(batch, 1, height, width)
        return {"depth_m": ramp}


def ramp_predictor(focal_px=50.0, **settings):
    info = CheckpointInfo("ramp", "ramp", {}, ImageSize(64, 96), training_focal_px=focal_px)
    return DepthPredictor(RampNetwork(), info, InferenceConfig(device="cpu", **settings))


RGB = np.zeros((64, 96, 3), np.uint8)
CAMERA = Intrinsics(50, 50, 47.5, 31.5, 96, 64)


def test_depth_is_scaled_by_the_focal_length_the_network_sees():
    expected = np.tile(np.arange(1, 97, dtype=np.float32), (64, 1))
    np.testing.assert_array_equal(ramp_predictor()(RGB, CAMERA), expected)
    np.testing.assert_array_equal(ramp_predictor()(RGB, None), expected)
    twice = Intrinsics(100, 100, 47.5, 31.5, 96, 64)
    np.testing.assert_array_equal(ramp_predictor()(RGB, twice), 2 * expected)
    calibrated = ramp_predictor(depth_scale=1.5)(RGB, twice)
    np.testing.assert_array_equal(calibrated, 3 * expected)


def test_a_shift_is_added_to_the_inverse_of_the_scaled_depth():
    depth_m = ramp_predictor(depth_scale=2.0, inverse_depth_shift_per_m=-0.125)(RGB, CAMERA)
    # 2 d = 2, 4, 6, 8 m: 1/2 - 1/8, 1/4 - 1/8, 1/6 - 1/8, then nothing is left.
    np.testing.assert_allclose(depth_m[0, :4], [8 / 3, 8, 24, np.nan], rtol=1e-6)
    assert np.isnan(depth_m[:, 3:]).all()
    assert depth_m.dtype == np.float32


def test_a_camera_of_twice_the_resolution_gives_the_same_depth():
    """Same optics, more pixels: fx doubles, the letterbox halves it again."""
    large = Intrinsics(100, 100, 95.5, 63.5, 192, 128)
    depth_m = ramp_predictor()(np.zeros((128, 192, 3), np.uint8), large)
    assert depth_m.shape == (128, 192)
    assert depth_m.dtype == np.float32
    # Column u of the camera is column (u + 0.5) / 2 - 0.5 of the network.
    np.testing.assert_allclose(depth_m[5, 2:-2], (np.arange(2, 190) + 0.5) / 2 + 0.5, rtol=1e-6)


def test_letterboxed_columns_come_from_the_inside():
    """A square camera fills columns 16 to 79 of the network's 96."""
    camera = Intrinsics(50, 50, 31.5, 31.5, 64, 64)
    depth_m = ramp_predictor()(np.zeros((64, 64, 3), np.uint8), camera)
    np.testing.assert_array_equal(depth_m[0], np.arange(17, 81))


def test_out_of_range_depth_is_nan():
    depth_m = ramp_predictor(min_depth_m=3.0, max_depth_m=5.0)(RGB, CAMERA)
    np.testing.assert_array_equal(depth_m[0, :6], [np.nan, np.nan, 3, 4, 5, np.nan])


def test_what_is_not_finite_is_nan():
    predictor = ramp_predictor()
    answer = predictor._network.training_outputs(torch.zeros(1, 3, 64, 96))["depth_m"].clone()
    answer[..., 10], answer[..., 20], answer[..., 30] = float("inf"), -float("inf"), float("nan")
    predictor._network.training_outputs = lambda image: {"depth_m": answer}
    depth_m = predictor(RGB, CAMERA)
    assert (~np.isfinite(depth_m[0])).nonzero()[0].tolist() == [10, 20, 30]
    assert np.isnan(depth_m[:, [10, 20, 30]]).all()


def test_checkpoint_runs_and_repeats(light_checkpoint):
    predictor = DepthPredictor.load(light_checkpoint, InferenceConfig(device="cpu"))
    predictor.warm_up(50, 70)
    rgb = np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8)
    depth_m = predictor(rgb, None)
    assert depth_m.shape == (50, 70)
    assert np.isfinite(depth_m).all() and depth_m.min() > 0 and depth_m.max() < 10
    np.testing.assert_array_equal(predictor(rgb, None), depth_m)


@pytest.mark.parametrize(
    "rgb", [np.zeros((64, 96), np.uint8), np.zeros((64, 96, 3)), RGB[:, :, :2]]
)
def test_wrong_images_are_refused(rgb):
    with pytest.raises(ShapeError, match="uint8 RGB"):
        ramp_predictor()(rgb, None)


def test_camera_of_another_size_is_refused():
    with pytest.raises(ShapeError, match="camera_info"):
        ramp_predictor()(RGB, Intrinsics(50, 50, 1, 1, 64, 96))


def test_settings_are_checked():
    unshifted = {"inverse_depth_shift_per_m": float("inf")}
    for settings in ({"depth_scale": 0.0}, unshifted, {"min_depth_m": 5.0, "max_depth_m": 4.0}):
        with pytest.raises(ConfigError):
            InferenceConfig(**settings)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta"])
def test_devices_that_are_not_there_are_refused(device):
    with pytest.raises(DeviceError, match=r"cuda"):
        resolve_device(device)


class AllKnowingNetwork(RampNetwork):
    """Confidence a hundredth of the column, two attention maps, class 0 left of column 48."""

    product_names = ("confidence", "attention", "semantics")
    class_names = ("left", "right")

    def products(self, image):
        depth_m = self(image)
        return {
            "depth_m": depth_m,
            "confidence": depth_m / 100,
            "attention": torch.cat([depth_m, 2 * depth_m], dim=1),
            "semantics": (depth_m > 48).to(torch.uint8),
        }


def all_knowing():
    info = CheckpointInfo("all", "all", {}, ImageSize(64, 96))
    return DepthPredictor(AllKnowingNetwork(), info, InferenceConfig(device="cpu"))


def test_products_lie_on_the_pixels_of_the_image():
    """At twice the size: linear between columns 1/100 apart, classes not mixed."""
    predictor = all_knowing()
    assert predictor.class_names == ("left", "right")
    found = predictor.predict(np.zeros((128, 192, 3), np.uint8), None, predictor.product_names)
    # Pixel u of the image is at (u + 0.5) / 2 - 0.5 of the network's, where column c holds c + 1.
    columns = np.clip((np.arange(192) + 0.5) / 2 - 0.5, 0, 95) + 1
    np.testing.assert_allclose(found.depth_m, np.tile(columns, (128, 1)), rtol=1e-6)
    np.testing.assert_allclose(found.confidence, np.tile(columns / 100, (128, 1)), rtol=1e-5)
    np.testing.assert_allclose(found.attention[..., 1], 2 * found.attention[..., 0], rtol=1e-5)
    assert found.attention.shape == (128, 192, 2) and found.semantics.dtype == np.uint8
    np.testing.assert_array_equal(found.semantics, np.tile(np.arange(192) >= 96, (128, 1)))


def test_only_products_that_are_asked_for_and_exist_are_given():
    found = all_knowing().predict(RGB, None, ["semantics"])
    assert found.confidence is None and found.attention is None and found.semantics is not None
    found = ramp_predictor().predict(RGB, None, ["confidence"])
    assert found.confidence is None and found.depth_m.shape == (64, 96)


def test_at_network_size_nothing_is_resized_and_the_camera_fits():
    """A camera of twice the size, square: the network's columns 16 to 79 of 96 show it."""
    camera = Intrinsics(100, 100, 63.5, 63.5, 128, 128)
    predictor = all_knowing()
    found = predictor.predict(
        np.zeros((128, 128, 3), np.uint8), camera, predictor.product_names, "network"
    )
    columns = np.tile(np.arange(17, 81, dtype=np.float32), (64, 1))
    np.testing.assert_array_equal(found.depth_m, columns)
    np.testing.assert_array_equal(found.confidence, columns / np.float32(100))
    np.testing.assert_array_equal(found.attention[..., 1], 2 * columns)
    np.testing.assert_array_equal(found.semantics, columns > 48)
    # Half of everything; the centre of 128 pixels, 63.5, becomes that of 64.
    assert predictor.network_camera(camera) == Intrinsics(50, 50, 31.5, 31.5, 64, 64)


def test_the_largest_depth_is_scaled_as_all_depths_are():
    twice = Intrinsics(100, 100, 47.5, 31.5, 96, 64)
    assert ramp_predictor().largest_depth_m(None) == 100.0
    assert ramp_predictor(depth_scale=1.5).largest_depth_m(twice) == 300.0
    shifted = ramp_predictor(inverse_depth_shift_per_m=0.01)
    assert shifted.largest_depth_m(CAMERA) == pytest.approx(50.0)
    assert ramp_predictor(inverse_depth_shift_per_m=-0.01).largest_depth_m(CAMERA) == np.inf
