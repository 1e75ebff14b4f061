"""Confusion of depth classes, by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from small_data import info

from mono_depth_ros.models.discretisation import SpacingIncreasingDiscretisation
from training.evaluation.ordinal import OrdinalCounts, depth_classes, draw_confusion


def octaves():
    """Return the classes 1-2, 2-4 and 4-8 m."""
    return OrdinalCounts(SpacingIncreasingDiscretisation(1.0, 8.0, 3))


def test_three_octaves_by_hand():
    counts = octaves()
    truth_m = np.array([1.5, 1.5, 3.0, 5.0, 0.5, 9.0])
    # Right, one too far, two too far, one too near; the last two truths are out of range.
    counts.add(np.array([1.2, 3.0, 100.0, 3.9, 1.5, 5.0]), truth_m)
    counts.add(np.array([np.nan, 0.01]), np.array([1.5, 6.0]))
    scores = counts.scores()
    assert counts.counts.tolist() == [[1, 1, 0], [0, 0, 1], [1, 1, 0]]
    assert scores.pixels == 5
    assert scores.accuracy == pytest.approx(1 / 5)
    assert scores.within_one == pytest.approx(4 / 5)
    assert scores.mean_distance == pytest.approx((0 + 1 + 1 + 1 + 2) / 5)
    assert scores.confusion == pytest.approx(np.array([[0.5, 0.5, 0], [0, 0, 1], [0.5, 0.5, 0]]))


def test_a_perfect_answer_is_the_diagonal():
    counts = octaves()
    depth_m = np.geomspace(1.0, 8.0, 50)
    counts.add(depth_m, depth_m)
    assert counts.scores().accuracy == 1.0
    assert np.array_equal(counts.scores().confusion, np.eye(3))


def test_no_pixel_is_no_score():
    counts = octaves()
    counts.add(np.empty(0), np.empty(0))
    scores = counts.scores()
    assert scores.pixels == 0 and np.isnan([scores.accuracy, scores.within_one]).all()


def test_classes_of_the_paper_and_of_an_acan():
    nyu, kitti = depth_classes("nyu"), depth_classes("kitti")
    assert (nyu.min_m, nyu.max_m, nyu.bins, nyu.mode) == (0.72, 10.0, 80, "consistent")
    assert (kitti.min_m, kitti.max_m, kitti.bins) == (1.98, 80.0, 80)
    settings = {"min_depth_m": 1.0, "max_depth_m": 90.0, "bins": 64, "sid_mode": "code"}
    acan = depth_classes("kitti", info(network="acan", settings=settings))
    assert (acan.min_m, acan.max_m, acan.bins, acan.mode) == (1.0, 90.0, 64, "consistent")


def test_the_picture_is_bright_on_the_diagonal(tmp_path):
    draw_confusion(tmp_path / "c.png", np.array([[1.0, 0.0], [np.nan, np.nan]]))
    picture = cv2.imread(str(tmp_path / "c.png"))
    assert picture.shape == (16, 16, 3)
    assert picture[0, 0].sum() > picture[0, 15].sum()
    assert np.array_equal(picture[15, 0], picture[0, 15])
