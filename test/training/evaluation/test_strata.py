"""Scores of ranges, classes and edges, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.protocols import Protocol
from training.evaluation.strata import (
    NEAR_EDGES,
    OFF_EDGES,
    RangeBin,
    class_masks,
    default_ranges,
    edge_masks,
    masked_errors,
    parse_ranges,
    range_errors,
    stratum_classes,
)


def test_ranges_of_the_data_sets():
    assert [b.name for b in default_ranges("nyu")] == ["below 4 m", "below 6 m", "below 8 m"]
    assert [(b.low_m, b.high_m) for b in default_ranges("kitti")] == [(0, 20), (20, 50), (50, 80)]
    assert [b.name for b in parse_ranges("0-4,4-8.5,8.5-inf")] == [
        "below 4 m",
        "4 to 8.5 m",
        "8.5 m and more",
    ]


@pytest.mark.parametrize("text", ["", "4", "8-4", "a-b", "0-nan", "0-4;4-8"])
def test_ranges_that_are_none(text):
    with pytest.raises(ConfigError, match="range"):
        parse_ranges(text)


def test_a_true_depth_on_an_edge_of_a_bin_belongs_above_it():
    g = np.array([1.0, 4.0, 5.0])
    p = np.array([2.0, 5.0, 4.0])
    errors = range_errors(p, g, (RangeBin(0.0, 4.0), RangeBin(4.0, 8.0), RangeBin(8.0, math.inf)))
    assert errors["below 4 m"].abs_rel == 1.0 and errors["below 4 m"].count == 1
    assert errors["4 to 8 m"].abs_rel == pytest.approx((1 / 4 + 1 / 5) / 2)
    assert errors["8 m and more"].count == 0 and math.isnan(errors["8 m and more"].abs_rel)


def test_masks_see_only_their_pixels_but_the_whole_prediction():
    truth = np.array([[1.0, 2.0], [np.nan, 4.0]])
    prediction = np.array([[1.5, 1.0], [9.0, np.nan]])
    protocol = Protocol("", clamp_m=(1e-3, 80.0), missing="minimum")
    masks = {"top": np.array([[True, True], [False, False]]), "low": np.array([[0, 0], [1, 1]]) > 0}
    errors = masked_errors(prediction, truth, protocol, masks)
    assert errors["top"].count == 2 and errors["top"].abs_rel == pytest.approx(0.5)
    # Below there is one truth, whose prediction is missing and counts as 1 mm.
    assert errors["low"].count == 1 and errors["low"].abs_rel == pytest.approx(3.999 / 4)


def test_a_step_of_more_than_a_tenth_is_an_edge():
    row = np.array([10.0] * 10 + [11.5] * 10)
    masks = edge_masks(np.tile(row, (30, 1)))
    # The step is between columns 9 and 10; 5 px from either.
    expected = np.zeros((30, 20), bool)
    expected[:, 4:16] = True
    assert np.array_equal(masks[NEAR_EDGES], expected)
    assert np.array_equal(masks[OFF_EDGES], ~expected)
    # 10 % is no edge yet, and up or down makes no difference.
    assert not edge_masks(np.tile(np.array([10.0, 10.99]), (4, 1)))[NEAR_EDGES].any()
    assert edge_masks(np.array([[3.0], [1.0]]))[NEAR_EDGES].all()


def test_what_was_not_measured_makes_no_edge():
    depth_m = np.full((20, 20), np.nan)
    depth_m[::2, ::2] = np.random.default_rng(0).uniform(1, 80, (10, 10))
    assert not edge_masks(depth_m)[NEAR_EDGES].any()


def test_the_ground_of_kitti_has_no_edges():
    # Camera 1.65 m above the ground, fx 721 px, horizon in row 172, so depth = 1.65 * 721 / row.
    rows = np.arange(375) - 172.0
    with np.errstate(divide="ignore"):
        depth_m = np.where(rows > 0, 1.65 * 721 / rows, np.nan)
    depth_m[depth_m > 80] = np.nan
    assert not edge_masks(np.tile(depth_m[:, None], (1, 4)))[NEAR_EDGES].any()


def test_class_masks_of_nyu():
    classes, names = stratum_classes("nyu40", "nyu4")
    assert names == ("ground", "structure", "furniture", "props")
    # 0 void, 1 wall (structure), 2 floor (ground), 40 other prop.
    labels = np.array([[0, 1], [2, 40]], np.uint8)
    masks = class_masks(labels, classes, names)
    assert {name: np.argwhere(mask).tolist() for name, mask in masks.items()} == {
        "structure": [[0, 1]],
        "ground": [[1, 0]],
        "props": [[1, 1]],
    }
    assert len(stratum_classes("nyu40", "nyu40")[1]) == 40
    assert stratum_classes("cityscapes")[1][10] == "sky"
    with pytest.raises(ConfigError, match="nyu4"):
        stratum_classes("nyu40", "cityscapes")
