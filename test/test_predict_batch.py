"""Several images in one run of the network: the answers of one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.prediction import Question
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

SIZES = [(64, 96), (48, 64), (120, 96)]


@pytest.fixture(scope="module")
def predictor():
    """Return ACAN light with random weights, which answers confidence and attention."""
    torch.manual_seed(0)
    network = create_model("acan", {"image_size": {"height": 64, "width": 96}})
    info = CheckpointInfo("acan", "acan", {}, ImageSize(64, 96), training_focal_px=50.0)
    return DepthPredictor(network, info, InferenceConfig(device="cpu", depth_scale=1.25))


def questions(*products):
    rng = np.random.default_rng(1)
    return [
        Question(
            rng.integers(0, 256, (height, width, 3), np.uint8),
            Intrinsics(focal, focal, width / 2, height / 2, width, height),
            products,
        )
        for (height, width), focal in zip(SIZES, (40.0, 70.0, 110.0), strict=True)
    ]


@pytest.mark.parametrize("size", ["camera", "network"])
def test_answers_are_those_of_one_by_one(predictor, size):
    asked = questions("confidence", "attention")
    # Another image may want less; the others lose nothing by it.
    asked[1] = Question(asked[1].rgb, None)
    together = predictor.predict_batch(asked, size)
    for question, answer in zip(asked, together, strict=True):
        alone = predictor.predict(question.rgb, question.camera, question.products, size)
        np.testing.assert_allclose(answer.depth_m, alone.depth_m, rtol=1e-5)
        assert (answer.confidence is None) == (not question.products)
        if question.products:
            np.testing.assert_allclose(answer.confidence, alone.confidence, atol=1e-5)
            np.testing.assert_allclose(answer.attention, alone.attention, atol=1e-5)
    assert together[0].depth_m.shape == (64, 96)
    if size == "camera":
        assert [answer.depth_m.shape for answer in together] == SIZES


def test_the_network_runs_once(predictor, monkeypatch):
    sizes = []
    forward = predictor._network.forward
    monkeypatch.setattr(
        predictor._network, "forward", lambda image: (sizes.append(len(image)), forward(image))[1]
    )
    predictor.predict_batch(questions())
    assert sizes == [3]


def test_no_question_no_answer(predictor):
    assert predictor.predict_batch([]) == []


def test_a_wrong_image_is_refused(predictor):
    with pytest.raises(ShapeError, match="uint8"):
        predictor.predict_batch([*questions(), Question(np.zeros((4, 4), np.uint8), None)])
