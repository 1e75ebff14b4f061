from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest

from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.evaluation.kitti_velodyne import velodyne_depth_map
from mono_depth_ros.evaluation.protocols import (
    PROTOCOLS,
    Protocol,
    crop_window,
    devkit_fill,
    kb_window,
    protocol_named,
    score,
    score_devkit,
    select_pixels,
)
from mono_depth_ros.metrics import (
    mean_over_images,
    mean_over_images_devkit,
    pool_over_pixels,
    scale_invariant_log,
)

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "metric_vectors.json").read_text())
KITTI = VECTORS["case3_kitti_protocols"]
SAME = {
    **{"silog": "silog", "log10": "log10", "log_10": "log10", "abs_rel": "abs_rel"},
    **{"arel": "abs_rel", "sq_rel": "sq_rel", "sqrel": "sq_rel", "rmse": "rmse_m"},
    **{"rmse_log": "rmse_log", "rmselog": "rmse_log", "d1": "delta1", "d2": "delta2"},
    **{"d3": "delta3", "a1": "delta1", "a2": "delta2", "a3": "delta3"},
}
REL = 2e-5


def kitti_frame(seed, h, w, cap, density, png):
    """Return the vectors' synthetic frame, its bytes checked: codes, truth and prediction."""
    rs = np.random.RandomState(seed)
    a, b, c = (rs.random_sample((h, w)) for _ in range(3))
    dense = 0.6 + (1.15 * cap - 0.6) * a * a
    codes = np.where(b < density, np.floor(dense * png), 0).astype(np.uint16)
    prediction = (dense * (0.75 + 0.6 * c)).astype(np.float32)
    return codes, codes.astype(np.float32) / np.float32(png), prediction


@pytest.fixture(scope="module")
def frames():
    made = []
    for entry in KITTI["frames"]:
        settings = {key: value for key, value in entry.items() if not key.startswith("sha256")}
        codes, truth, prediction = kitti_frame(**settings)
        assert hashlib.sha256(codes.tobytes()).hexdigest() == entry["sha256_gt16"]
        assert hashlib.sha256(truth.tobytes()).hexdigest() == entry["sha256_gt_f32"]
        assert hashlib.sha256(prediction.tobytes()).hexdigest() == entry["sha256_pred_f32"]
        made.append((truth, prediction))
    return made


def kb_only(prediction, outside):
    """Return the full frame of a network that saw the 352x1216 window alone."""
    top, bottom, left, right = kb_window(*prediction.shape)
    full = np.full(prediction.shape, outside, prediction.dtype)
    full[top:bottom, left:right] = prediction[top:bottom, left:right]
    return full


def assert_same(errors, expected, skip=()):
    checked = 0
    for name, value in expected.items():
        if name in SAME and name not in skip:
            assert getattr(errors, SAME[name]) == pytest.approx(value, rel=REL, nan_ok=True), name
            checked += 1
    assert checked >= 6


BTS = Protocol("", crop="garg", clamp_m=(1e-3, 80.0), missing="minimum")
UNCLAMPED = Protocol("", grid="kb", crop="garg", missing="skip")
# peer row -> (switches, what the network saw, names that mean something else there)
ROWS = {
    "bts_eval.py": (BTS, "kb", ()),
    "bts_eval_with_pngs.py(float preds)": (BTS, "kb", ()),
    "bts_eval_with_pngs.py(preds truncated to uint16 png first)": (
        dataclasses.replace(BTS, png_scale=256.0),
        "kb",
        (),
    ),
    "adabins_evaluate.py": (dataclasses.replace(BTS, grid="kb"), "kb", ()),
    "adabins_train.py_validate": (dataclasses.replace(BTS, grid="kb"), "kb", ()),
    "zoedepth_evaluate.py": (dataclasses.replace(BTS, grid="kb"), "kb", ()),
    "toolbox(pred clamped to decode-head range first)": (
        dataclasses.replace(BTS, grid="kb"),
        "kb",
        (),
    ),
    "glpdepth_test.py": (UNCLAMPED, "kb", ("silog",)),
    "unidepth": (dataclasses.replace(UNCLAMPED, min_m=0.0, cap_inclusive=False), "kb", ("silog",)),
}


@pytest.mark.parametrize("crop", ["garg", "eigen"])
@pytest.mark.parametrize("row", ROWS)
def test_peer_rows_are_reached_by_switches(frames, row, crop):
    protocol, seen, other_meaning = ROWS[row]
    protocol = dataclasses.replace(protocol, crop=crop)
    assert seen == "kb"
    errors = [score(kb_only(prediction, np.nan), truth, protocol) for truth, prediction in frames]
    expected = KITTI["results_mean_over_3_images"][crop][row]
    assert_same(mean_over_images(errors), expected, skip=other_meaning)


def test_the_two_other_meanings_of_silog(frames):
    results = KITTI["results_mean_over_3_images"]["garg"]
    half, bessel = [], []
    for truth, prediction in frames:
        p, g, _ = select_pixels(prediction, truth, UNCLAMPED)
        half.append(scale_invariant_log(np.log(p / g), 0.5))
        bessel.append(100 * float(np.std(np.log(p / g), ddof=1)))
    assert np.mean(half) == pytest.approx(results["glpdepth_test.py"]["silog"], rel=REL)
    assert np.mean(bessel) == pytest.approx(results["unidepth"]["silog"], rel=REL)


MONODEPTH2 = {
    "monodepth2_eigen_metric": BTS,
    "monodepth2_eigen_median_scaled": dataclasses.replace(BTS, alignment="median"),
    "monodepth2_eigen_benchmark_metric": dataclasses.replace(
        BTS, crop="none", min_m=0.0, cap_m=math.inf
    ),
    "monodepth2_eigen_benchmark_median_scaled": dataclasses.replace(
        BTS, crop="none", min_m=0.0, cap_m=math.inf, alignment="median"
    ),
}


@pytest.mark.parametrize("row", MONODEPTH2)
def test_monodepth2_rows(frames, row):
    errors = [score(prediction, truth, MONODEPTH2[row]) for truth, prediction in frames]
    results = KITTI["results_mean_over_3_images"]["garg"]
    assert_same(mean_over_images(errors), results[f"{row}(full-size pred, disparity=1/pred)"])


def test_depth_anything_row(frames):
    protocol = Protocol("", cap_inclusive=True, min_pixels=10)
    errors = [score(prediction, truth, protocol) for truth, prediction in frames]
    results = KITTI["results_mean_over_3_images"]["garg"]
    expected = results["depth_anything_v2(no crop, full-size pred)"]
    assert_same(mean_over_images(errors), expected, skip=("silog",))


def test_bts_without_a_crop_scores_the_black_border(frames):
    results = KITTI["results_mean_over_3_images"]["none"]
    protocol = dataclasses.replace(BTS, crop="none")
    errors = [score(kb_only(prediction, 0.0), truth, protocol) for truth, prediction in frames]
    assert_same(mean_over_images(errors), results["bts_eval.py"])


def test_bts_png_evaluation_without_a_crop_divides_by_zero(frames):
    expected = KITTI["results_mean_over_3_images"]["none"]["bts_eval_with_pngs.py(float preds)"]
    protocol = Protocol("", missing="keep")
    errors = []
    for truth, prediction in frames:
        clamped_then_pasted = kb_only(np.clip(prediction, 1e-3, 80.0), 0.0)
        errors.append(score(clamped_then_pasted, truth, protocol))
    mean = mean_over_images(errors)
    assert mean.abs_rel == pytest.approx(expected["abs_rel"], rel=REL)
    assert mean.rmse_m == pytest.approx(expected["rmse"], rel=REL)
    assert mean.delta1 == pytest.approx(expected["d1"], rel=REL)
    assert math.isinf(mean.log10)
    assert math.isinf(mean.rmse_log)


def test_devkit_row(frames):
    results = KITTI["results_mean_over_3_images"]["none"]
    name = "kitti_devkit_cpp(gt png as is, pred floor(x*256) clipped to 1..65535, no crop, no cap)"
    protocol = dataclasses.replace(PROTOCOLS["kitti-benchmark"], png_scale=256.0)
    mean = mean_over_images_devkit([score_devkit(p, truth, protocol) for truth, p in frames])
    expected = results[name]
    assert mean.count == pytest.approx(3 * expected["num_pixels"])
    assert mean.silog == pytest.approx(100 * expected["scale_invariant_log"], rel=5e-3)
    assert mean.abs_rel_percent == pytest.approx(100 * expected["abs_relative"], rel=1e-4)
    assert mean.sq_rel_percent == pytest.approx(100 * expected["squared_relative"], rel=1e-4)
    assert mean.irmse_per_km == pytest.approx(1000 * expected["inverse_rmse_1_per_m"], rel=1e-4)
    assert mean.imae_per_km == pytest.approx(1000 * expected["inverse_mae_1_per_m"], rel=1e-4)
    assert mean.rmse_mm == pytest.approx(1000 * expected["rmse_m"], rel=1e-4)
    assert mean.mae_mm == pytest.approx(1000 * expected["mae_m"], rel=1e-4)


def test_aggregation_over_images_and_over_pixels(frames):
    expected = KITTI["aggregation"]
    errors = [score(p, truth, PROTOCOLS["kitti-garg"]) for truth, p in frames]
    assert [e.count for e in errors] == expected["valid_pixels"]
    for one, reference in zip(errors, expected["per_image"], strict=True):
        assert_same(one, reference)
    assert_same(mean_over_images(errors), expected["mean_of_images"])
    assert_same(pool_over_pixels(errors), expected["pooled_pixels"])


@pytest.fixture(scope="module")
def dirty():
    _, truth, prediction = kitti_frame(104, 375, 1242, 80.0, 0.2, 256.0)
    spots = [(200, 100, np.nan), (210, 200, np.inf), (220, 300, 0.0), (230, 400, -1.0)]
    for row, column, value in spots:
        prediction[row, column : column + 10] = value
        truth[row, column : column + 10] = 7.0
    return truth, prediction


@pytest.mark.parametrize(("row", "grid"), [("bts_eval.py", "full"), ("zoedepth", "kb")])
def test_dirty_prediction_like_the_peers(dirty, row, grid):
    results = VECTORS["case4_dirty_prediction"]["results_garg"]
    truth, prediction = dirty
    protocol = dataclasses.replace(BTS, grid=grid)
    assert_same(score(kb_only(prediction, np.nan), truth, protocol), results[row])


def test_dirty_prediction_spoils_the_numbers_where_it_is_kept(dirty):
    truth, prediction = dirty
    clamped = np.clip(prediction, 1e-3, 80.0)
    errors = score(clamped, truth, Protocol("", crop="garg", missing="keep"))
    expected = VECTORS["case4_dirty_prediction"]["results_garg"]["bts_eval_with_pngs.py"]
    assert math.isnan(errors.abs_rel)
    assert errors.delta1 == pytest.approx(expected["d1"], rel=REL)


def test_skipped_pixels_are_counted_as_uncovered(dirty):
    truth, prediction = dirty
    p, g, total = select_pixels(prediction, truth, Protocol("", crop="garg"))
    assert total - g.size == 40
    assert np.isfinite(p).all()


@pytest.mark.parametrize("size", VECTORS["case5_crop_bounds_r0_r1_c0_c1"])
def test_crop_windows(size):
    expected = VECTORS["case5_crop_bounds_r0_r1_c0_c1"][size]
    height, width = map(int, size.split("x"))
    assert list(crop_window("garg", height, width)) == expected["garg_on_full"]
    assert list(crop_window("eigen", height, width)) == expected["eigen_on_full"]
    top, bottom, left, right = kb_window(height, width)
    assert [top, bottom] == expected["kb_crop_rows"]
    assert [left, right] == expected["kb_crop_cols"]
    for crop in ("garg", "eigen"):
        in_window = crop_window(crop, bottom - top, right - left)
        in_full = np.add(in_window, (top, top, left, left))
        assert in_full.tolist() == expected[f"{crop}_on_kb_crop_expressed_in_full_frame"]


def test_nyu_crop_is_for_nyu_images():
    assert crop_window("nyu", 480, 640) == (45, 471, 41, 601)
    with pytest.raises(ShapeError, match="480x640"):
        crop_window("nyu", 375, 1242)
    with pytest.raises(ShapeError, match="352x1216"):
        kb_window(300, 1242)


def test_cap_is_strict_unless_inclusive():
    reference = np.array([[80.0, 79.0, 1e-3, 1.0]])
    assert score(reference, reference, Protocol("")).count == 2
    assert score(reference, reference, Protocol("", cap_inclusive=True)).count == 4


def test_images_below_the_pixel_minimum_are_left_out():
    depth_m = np.ones((1, 9))
    assert score(depth_m, depth_m, Protocol("", min_pixels=10)).count == 0
    assert score(depth_m, depth_m, Protocol("", min_pixels=9)).count == 9


def test_devkit_fill_by_hand():
    nan = np.nan
    depth_m = np.array(
        [
            [nan, nan, nan, nan],
            [nan, 5.0, nan, 3.0],
            [nan, nan, nan, nan],
            [nan, 0.0, 7.0, nan],
            [nan, nan, nan, nan],
        ]
    )
    expected = [[5, 5, 3, 3], [5, 5, 3, 3], [nan] * 4, [7] * 4, [7] * 4]
    np.testing.assert_array_equal(devkit_fill(depth_m), expected)
    assert np.isnan(devkit_fill(np.full((2, 2), nan))).all()


def test_profiles_take_switches_and_refuse_nonsense():
    changed = protocol_named("kitti-garg", {"cap_m": 50, "clamp_m": [0.001, 50]})
    assert (changed.cap_m, changed.clamp_m, changed.crop) == (50.0, (0.001, 50), "garg")
    with pytest.raises(ConfigError, match="kitti-garg-kb"):
        protocol_named("garg")
    with pytest.raises(ConfigError, match="cropp"):
        protocol_named("lidar", {"cropp": "garg"})
    with pytest.raises(ConfigError, match="min_m < cap_m"):
        protocol_named("lidar", {"cap_m": 0})
    with pytest.raises(ConfigError, match="clamp_m"):
        protocol_named("lidar", {"missing": "minimum"})


def test_velodyne_projection_equals_monodepth2():
    case = VECTORS["case8_velodyne_projection"]
    rs = np.random.RandomState(5)
    q = rs.random_sample((20000, 4))
    columns = [-5 + 65 * q[:, 0], -20 + 40 * q[:, 1], -2.5 + 4.5 * q[:, 2], q[:, 3]]
    points = np.stack(columns, 1).astype(np.float32)
    assert hashlib.sha256(points.tobytes()).hexdigest() == case["sha256_points"]
    projection = projection_of(case["calib"])
    for key, forward in (
        ("vel_depth_True (export_gt_depth.py)", True),
        ("vel_depth_False (training loader)", False),
    ):
        expected = case["out"][key]
        depth_m = velodyne_depth_map(points, projection, (375, 1242), sensor_forward=forward)
        assert depth_m.shape == tuple(expected["shape"])
        assert np.count_nonzero(np.isfinite(depth_m)) == expected["nonzero"]
        assert np.nansum(depth_m) == pytest.approx(expected["sum"], rel=1e-9)
        for row, column, value in expected["samples(row,col,depth)"]:
            assert depth_m[row, column] == pytest.approx(value, rel=1e-9)


def test_velodyne_projection_reproduces_the_colliding_index():
    case = VECTORS["case8_velodyne_projection"]["collision"]
    width, height = case["image_w_h"]
    points = np.array(case["points_xyzr"], np.float32)
    depth_m = velodyne_depth_map(points, projection_of(case["calib"]), (height, width))
    np.testing.assert_allclose(np.nan_to_num(depth_m), case["monodepth2_map"], rtol=1e-6)


def test_velodyne_projection_refuses_other_shapes():
    with pytest.raises(ShapeError):
        velodyne_depth_map(np.zeros((3, 5)), np.zeros((3, 4)), (2, 2))


def projection_of(calib):
    rotation = np.eye(4)
    if calib["R_rect_00"] != "identity":
        rotation[:3, :3] = np.array(calib["R_rect_00"].split(), float).reshape(3, 3)
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = np.array(calib["R"].split(), float).reshape(3, 3)
    extrinsic[:3, 3] = np.array(calib["T"].split(), float)
    return np.array(calib["P_rect_02"].split(), float).reshape(3, 4) @ rotation @ extrinsic
