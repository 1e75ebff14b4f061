from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.metrics import (
    DepthErrors,
    depth_errors,
    devkit_errors,
    mean_over_images,
    mean_over_images_devkit,
    median_scale,
    pixel_errors,
    pool_over_pixels,
    scale_invariant_log,
)

VECTORS = json.loads((Path(__file__).parent / "data" / "metric_vectors.json").read_text())
# Our field for each name under which a peer prints the same quantity.
SAME = {
    **{"silog": "silog", "log10": "log10", "log_10": "log10", "abs_rel": "abs_rel"},
    **{"arel": "abs_rel", "sq_rel": "sq_rel", "sqrel": "sq_rel", "rmse": "rmse_m"},
    **{"rmse_log": "rmse_log", "rmselog": "rmse_log", "d1": "delta1", "d2": "delta2"},
    **{"d3": "delta3", "a1": "delta1", "a2": "delta2", "a3": "delta3"},
    **{"AbsRel": "abs_rel", "SqRel": "sq_rel", "RMSE": "rmse_m", "LogRMSE": "rmse_log"},
}
# The same name for another quantity; each has a test of its own below.
OTHER = {
    "glpdepth": {"silog"},
    "depth_anything_v2": {"silog"},
    "unidepth": {"silog"},
    "acan": {"log10"},
}
PLAIN_PEERS = [
    *["bts", "adabins", "zoedepth", "toolbox", "monodepth2", "glpdepth", "depth_anything_v2"],
    *["unidepth", "acan", "monodepth_benchmark_eigen"],
]


def tiny(dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    case = VECTORS["case1_tiny"]
    as_float32 = (np.array(case[key], np.float32) for key in ("pred", "gt"))
    prediction, reference = (array.astype(dtype).ravel() for array in as_float32)
    return prediction, reference


@pytest.mark.parametrize("peer", PLAIN_PEERS)
@pytest.mark.parametrize(("precision", "rel"), [("float32", 1e-5), ("float64", 1e-9)])
def test_tiny_case_equals_every_peer(peer, precision, rel):
    errors = depth_errors(*tiny(np.dtype(precision).type))
    for name, expected in VECTORS["case1_tiny"][precision][peer].items():
        if name in SAME and name not in OTHER.get(peer, ()):
            # GLPDepth and UniDepth round thresholds through float32 tensors in both precisions.
            tolerance = max(rel, 1e-7) if SAME[name].startswith("delta") else rel
            assert getattr(errors, SAME[name]) == pytest.approx(expected, rel=tolerance), name


def test_three_meanings_of_silog_on_the_tiny_case():
    prediction, reference = tiny()
    vectors, n = VECTORS["case1_tiny"]["float64"], prediction.size
    log_ratio = np.log(prediction / reference)
    assert scale_invariant_log(log_ratio, 0.5) == pytest.approx(
        vectors["glpdepth"]["silog"], rel=1e-9
    )
    bessel = depth_errors(prediction, reference).silog * math.sqrt(n / (n - 1))
    assert bessel == pytest.approx(vectors["unidepth"]["silog"], rel=1e-9)


def test_acan_prints_log10_with_the_natural_logarithm():
    expected = VECTORS["case1_tiny"]["float64"]["acan"]["log10"]
    assert depth_errors(*tiny()).log10 * math.log(10) == pytest.approx(expected, rel=1e-9)


def test_devkit_units_on_the_tiny_case():
    case = VECTORS["case1_tiny"]
    errors = devkit_errors(*tiny())
    expected = case["float64"]["monodepth_benchmark_kitti_devkit_units"]
    assert errors.mae_mm == pytest.approx(1000 * expected["MAE"], rel=1e-9)
    assert errors.rmse_mm == pytest.approx(1000 * expected["RMSE"], rel=1e-9)
    assert errors.imae_per_km == pytest.approx(expected["InvMAE"], rel=1e-9)
    assert errors.irmse_per_km == pytest.approx(expected["InvRMSE"], rel=1e-9)
    assert errors.silog == pytest.approx(expected["LogSI"], rel=1e-9)
    assert errors.abs_rel_percent == pytest.approx(expected["AbsRel"], rel=1e-9)
    assert errors.sq_rel_percent == pytest.approx(expected["SqRel"], rel=1e-9)


def test_devkit_binary_on_sixteen_bit_maps():
    case = VECTORS["case1_tiny"]["kitti_devkit_cpp_on_uint16"]
    prediction, reference = (np.array(case[key]).ravel() / 256.0 for key in ("pred_u16", "gt_u16"))
    errors, expected = devkit_errors(prediction, reference), case["result"]["leaderboard_units"]
    assert errors.count == case["result"]["num_pixels"]
    assert errors.silog == pytest.approx(expected["SILog(x100)"], rel=1e-5)
    assert errors.sq_rel_percent == pytest.approx(expected["sqErrorRel(%)"], rel=1e-5)
    assert errors.abs_rel_percent == pytest.approx(expected["absErrorRel(%)"], rel=1e-5)
    assert errors.irmse_per_km == pytest.approx(expected["iRMSE(1/km)"], rel=1e-5)


@pytest.mark.parametrize("name", VECTORS["case2_degenerate"]["cases"])
@pytest.mark.parametrize("peer", PLAIN_PEERS)
def test_degenerate_cases(name, peer):
    case = VECTORS["case2_degenerate"]["cases"][name]
    errors = depth_errors(np.array(case["pred"]), np.array(case["gt"]))
    for key, expected in case["out_float64"][peer].items():
        if key not in SAME or key in OTHER.get(peer, ()):
            continue
        # Peers take the root of a tiny negative variance; ours, like the toolbox's, is 0 there.
        expected = 0.0 if expected == "nan" else expected
        tolerance = {"rel": 1e-9, "abs": 1e-9}
        assert getattr(errors, SAME[key]) == pytest.approx(expected, **tolerance), key


def test_ratio_of_exactly_five_quarters_is_not_below_it():
    errors = depth_errors(np.array([1.25, 2.5, 5.0]), np.array([1.0, 2.0, 4.0]))
    assert (errors.delta1, errors.delta2) == (0.0, 1.0)


def test_numbers_worked_out_by_hand():
    # g = 2, 4; p = 1, 5: differences -1, 1.
    errors = depth_errors(np.array([1.0, 5.0]), np.array([2.0, 4.0]))
    assert errors.count == 2
    assert errors.abs_rel == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert errors.sq_rel == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert errors.rmse_m == pytest.approx(1.0)
    assert errors.mean_log == pytest.approx((math.log(0.5) + math.log(1.25)) / 2)
    half_spread = (math.log(1.25) - math.log(0.5)) / 2
    assert errors.silog == pytest.approx(100 * half_spread)
    assert (errors.delta1, errors.delta2, errors.delta3) == (0.0, 0.5, 0.5)


def test_unknown_depth_is_left_out_and_never_counted_as_zero():
    nan = np.nan
    prediction = np.array([[1.0, nan, 3.0], [np.inf, 2.0, 1.0]])
    reference = np.array([[2.0, 5.0, nan], [4.0, 2.0, 0.0]])
    errors = depth_errors(prediction, reference)
    assert errors.count == 2
    assert errors.abs_rel == pytest.approx((0.5 + 0.0) / 2)


def test_no_pixel_gives_count_zero_and_nan_scores():
    errors = depth_errors(np.full((2, 2), np.nan), np.ones((2, 2)))
    assert errors.count == 0
    scores = [getattr(errors, f.name) for f in fields(errors) if f.name != "count"]
    assert len(scores) == 10
    assert all(math.isnan(value) for value in scores)
    assert devkit_errors(np.array([]), np.array([])).count == 0


def test_shapes_must_agree():
    with pytest.raises(ShapeError, match=r"\(2, 3\).*\(3, 2\)"):
        depth_errors(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(ShapeError):
        depth_errors(np.ones(3), np.ones(3), mask=np.ones(1, bool))


def test_empty_images_do_not_enter_the_mean():
    expected = VECTORS["case10_empty_images"]["toolbox"]["agg of [empty, perfect, other]"]
    # The third image follows from the aggregate: g = 2, 4 and p = 2.2, 3.9 is its only solution.
    perfect = depth_errors(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    other = depth_errors(np.array([2.2, 3.9]), np.array([2.0, 4.0]))
    mean = mean_over_images([DepthErrors.empty(), perfect, other])
    assert mean.count == 4
    for name, value in expected.items():
        assert getattr(mean, SAME[name]) == pytest.approx(value, rel=1e-9), name
    assert mean_over_images([DepthErrors.empty()]).count == 0
    assert math.isnan(mean_over_images([]).abs_rel)


def test_mean_weighs_images_and_pool_weighs_pixels():
    one = depth_errors(np.array([2.0]), np.array([1.0]))  # abs_rel 1
    three = depth_errors(np.full(3, 4.0), np.full(3, 4.0))  # abs_rel 0
    assert mean_over_images([one, three]).abs_rel == pytest.approx(0.5)
    assert pool_over_pixels([one, three]).abs_rel == pytest.approx(0.25)
    assert pool_over_pixels([]).count == 0


def test_devkit_mean_skips_empty_images():
    full = devkit_errors(np.array([2.0]), np.array([1.0]))
    mean = mean_over_images_devkit([full, devkit_errors(np.array([]), np.array([]))])
    assert (mean.count, mean.abs_rel_percent) == (1, 100.0)


def test_median_scale_is_ratio_of_medians():
    assert median_scale(np.array([1.0, 2.0, 9.0]), np.array([3.0, 4.0, 5.0])) == 2.0


depths = st.floats(0.1, 100.0)


@given(st.lists(hnp.arrays(np.float64, (2, 5), elements=depths), min_size=1, max_size=6))
def test_pooling_images_equals_one_image_of_all_pixels(images):
    pooled = pool_over_pixels([depth_errors(image[0], image[1]) for image in images])
    together = depth_errors(*np.concatenate(images, axis=1))
    for field in fields(DepthErrors):
        value, expected = getattr(pooled, field.name), getattr(together, field.name)
        # silog is a root of a difference, so its absolute error is that of a rounded square.
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-4), field.name


@given(hnp.arrays(np.float64, (2, 7), elements=depths), st.floats(0.2, 5.0))
def test_silog_ignores_scale_and_other_scores_are_bounded(pair, factor):
    errors = pixel_errors(*pair)
    scaled = pixel_errors(factor * pair[0], pair[1])
    assert scaled.silog == pytest.approx(errors.silog, rel=1e-6, abs=1e-4)
    assert errors.silog <= 100 * errors.rmse_log * (1 + 1e-12)
    assert 0.0 <= errors.delta1 <= errors.delta2 <= errors.delta3 <= 1.0
