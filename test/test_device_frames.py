"""The road of a GPU, walked on a CPU: tensors all the way give what arrays give."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.calibration import DepthCalibration
from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.device_frames import DeviceLetterbox, Uploader
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.filtered_clouds import FilteredCloudBuilder
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.prediction import Prediction, Question, to_host
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.preprocessing import Letterbox
from mono_depth_ros.rectification import ImageRectifier, Rectification

CPU = torch.device("cpu")
NAN = math.nan
sizes = st.tuples(st.integers(2, 90), st.integers(2, 90)).map(lambda size: ImageSize(*size))


def smooth_picture(height, width, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, st.integers(0, 9))
def test_images_are_resized_and_mirrored_as_opencv_does(source, target, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (source.height, source.width, 3), np.uint8)
    letterbox = Letterbox.fit(source, target)
    expected = letterbox.image_to_target(rgb).astype(int)
    found = DeviceLetterbox(letterbox, CPU).image_to_target(torch.from_numpy(rgb)).numpy()
    assert found.dtype == np.uint8 and found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1


@settings(max_examples=200, deadline=None)
@given(sizes, sizes, st.sampled_from(["linear", "nearest"]), st.integers(0, 9))
def test_answers_come_back_as_with_opencv(source, target, upsampling, seed):
    letterbox = Letterbox.fit(source, target)
    answer = np.random.default_rng(seed).uniform(1.0, 9.0, (target.height, target.width))
    answer = answer.astype(np.float32)
    expected = letterbox.to_source(answer, upsampling)
    found = DeviceLetterbox(letterbox, CPU).to_source(torch.from_numpy(answer), upsampling)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


def test_a_wrong_image_is_refused():
    box = DeviceLetterbox(Letterbox.fit(ImageSize(4, 6), ImageSize(8, 8)), CPU)
    with pytest.raises(ShapeError, match=r"need \(4, 6, 3\) uint8"):
        box.image_to_target(torch.zeros(4, 6, 3))


def test_nothing_is_written_to_a_message():
    data = np.frombuffer(bytes(12), np.uint8).reshape(2, 2, 3)
    image = Uploader(CPU)(data)
    image += 1
    assert not data.any()
    np.testing.assert_array_equal(to_host(image), np.ones((2, 2, 3), np.uint8))


@pytest.fixture(scope="module")
def predictor():
    """Return ACAN light with random weights, which answers confidence and attention."""
    torch.manual_seed(0)
    network = create_model("acan", {"image_size": {"height": 64, "width": 96}})
    info = CheckpointInfo("acan", "acan", {}, ImageSize(64, 96), training_focal_px=50.0)
    config = InferenceConfig(
        device="cpu", depth_scale=1.25, inverse_depth_shift_per_m=0.05, max_depth_m=4.0
    )
    return DepthPredictor(network, info, config)


@pytest.mark.parametrize("size", ["camera", "network"])
def test_a_tensor_is_answered_as_its_array(predictor, size):
    asked = [
        Question(
            smooth_picture(height, width, seed),
            Intrinsics(70.0, 70.0, width / 2, height / 2, width, height),
            products,
        )
        for seed, (height, width, products) in enumerate(
            [(120, 160, ("confidence", "attention")), (48, 96, ())]
        )
    ]
    expected = predictor.predict_batch(asked, size)
    tensors = [Question(torch.from_numpy(q.rgb), q.camera, q.products) for q in asked]
    for array, found in zip(expected, predictor.predict_batch(tensors, size), strict=True):
        assert isinstance(found.depth_m, torch.Tensor)
        host = found.on_host()
        # A grey level of 256 may differ, and random weights amplify it.
        np.testing.assert_allclose(host.depth_m, array.depth_m, rtol=5e-3)
        assert (host.confidence is None) == (array.confidence is None)
        if array.confidence is not None:
            np.testing.assert_allclose(host.confidence, array.confidence, atol=5e-3)
            np.testing.assert_allclose(host.attention, array.attention, atol=5e-3)
    if size == "network":
        picture = predictor.network_picture(tensors[0].rgb).numpy().astype(int)
        assert np.abs(picture - predictor.network_picture(asked[0].rgb)).max() <= 1


def test_on_a_gpu_arrays_take_the_same_road(predictor, monkeypatch):
    monkeypatch.setattr(DepthPredictor, "takes_tensors", True)
    uploaded = []
    monkeypatch.setattr(predictor, "_uploader", lambda rgb: uploaded.append(rgb) or up(rgb))
    up = Uploader(CPU)
    rgb = smooth_picture(120, 160)
    depth_m = predictor(rgb, None)
    assert isinstance(depth_m, np.ndarray) and depth_m.shape == (120, 160)
    assert uploaded[0] is rgb and len(uploaded) == 1


@pytest.mark.parametrize("shift", [0.0, 0.2, -0.3])
def test_calibration(shift):
    depth_m = np.array([[0.5, 1.0], [5.0, NAN]], np.float32)
    calibration = DepthCalibration(1.5, shift)
    found = calibration.apply(torch.from_numpy(depth_m.copy())).numpy()
    np.testing.assert_allclose(found, calibration.apply(depth_m), rtol=1e-6)


CONFIGS = [
    CloudConfig(),
    CloudConfig(cloud_stride=3),
    CloudConfig(cloud_max_range_m=4.0, cloud_max_depth_jump=0.1, cloud_min_confidence=0.3),
    CloudConfig(cloud_layout="dense", cloud_min_height_m=-0.5),
    CloudConfig(cloud_layout="dense", cloud_voxel_size_m=0.4, cloud_voxel_point="nearest"),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_clouds_are_the_same_bytes(config):
    rng = np.random.default_rng(2)
    camera = Intrinsics(60.0, 61.0, 30.0, 20.0, 64, 48)
    depth_m = np.where(rng.random((48, 64)) < 0.1, NAN, rng.uniform(1.0, 6.0, (48, 64)))
    arrays = (
        depth_m.astype(np.float32),
        rng.integers(0, 256, (48, 64, 3), np.uint8),
        rng.random((48, 64)).astype(np.float32),
    )
    build = FilteredCloudBuilder(camera, config)
    expected = build(*arrays).copy()
    found = build(*map(torch.from_numpy, arrays)).numpy()
    assert found.shape == expected.shape and len(found) > 0
    is_point = ~np.isnan(expected[..., 2])
    assert found[is_point].tobytes() == expected[is_point].tobytes()
    assert np.isnan(found[~is_point][:, :3]).all()


def test_rectification_of_a_tensor_stays_one():
    raw = Intrinsics(60.0, 60.0, 31.5, 23.5, 64, 48)
    lens = ("plumb_bob", (-0.2, 0.05, 0.0, 0.0, 0.0))
    rgb = smooth_picture(48, 64)
    what = Rectification(lens, raw, raw)
    # A device that is not called cpu takes the sampler of GPUs.
    rectifier = ImageRectifier(what, "cpu:0")
    found = rectifier.image(torch.from_numpy(rgb))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_array_equal(found.numpy(), rectifier.image(rgb))
    assert np.abs(found.numpy().astype(int) - ImageRectifier(what).image(rgb)).max() <= 1


def test_a_prediction_comes_down_whole():
    tensors = {"depth_m": torch.ones(2, 3), "semantics": torch.zeros(2, 3, dtype=torch.uint8)}
    host = Prediction(**tensors, class_names=("a",)).on_host()
    assert host.semantics.dtype == np.uint8 and host.confidence is None
    assert host.class_names == ("a",) and host.depth_m.tolist() == [[1.0] * 3] * 2
