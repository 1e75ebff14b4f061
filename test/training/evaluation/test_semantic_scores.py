"""Pixel accuracy and IoU, by hand and against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.semantic_metrics import SemanticCounts

LABELS = arrays(np.int16, (3, 4), elements=st.integers(-1, 3))


def test_two_classes_by_hand():
    counts = SemanticCounts(("a", "b", "c"))
    counts.add(np.array([[0, 0, 1]]), np.array([[0, 1, 1]]))
    counts.add(np.array([[1, -1, 0]]), np.array([[1, 1, -1]]))
    scores = counts.scores()
    # Truth a: 1 found. Truth b: 2 found, 1 called a, 1 without an answer. The last pixel has no
    # truth.
    assert scores.pixels == 5
    assert scores.pixel_accuracy == pytest.approx(3 / 5)
    assert scores.mean_accuracy == pytest.approx((1 + 2 / 4) / 2)
    assert scores.iou["a"] == pytest.approx(1 / 2)
    assert scores.iou["b"] == pytest.approx(2 / 4)
    assert math.isnan(scores.iou["c"])
    assert scores.mean_iou == pytest.approx(0.5)


@settings(max_examples=30, deadline=None)
@given(LABELS, LABELS)
def test_equals_sets_of_pixels(prediction, truth):
    counts = SemanticCounts(("a", "b", "c", "d"))
    counts.add(prediction, truth)
    scores, known = counts.scores(), truth >= 0
    for index, name in enumerate(counts.names):
        found, there = (prediction == index) & known, truth == index
        union = np.count_nonzero(found | there)
        expected = np.count_nonzero(found & there) / union if union else math.nan
        assert scores.iou[name] == pytest.approx(expected, nan_ok=True)
    if known.any():
        assert scores.pixel_accuracy == pytest.approx(np.mean(prediction[known] == truth[known]))


def test_nothing_counted_is_not_a_score():
    scores = SemanticCounts(("a",)).scores()
    assert scores.pixels == 0 and math.isnan(scores.mean_iou) and math.isnan(scores.pixel_accuracy)
    with pytest.raises(ShapeError):
        SemanticCounts(("a",)).add(np.zeros((2, 2), int), np.zeros((2, 3), int))
