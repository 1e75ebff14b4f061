"""Whole evaluations of made-up data, against peers' own numbers and five-line references."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_data import info, make_data, write_code

from mono_depth_ros.errors import DataError, ShapeError
from mono_depth_ros.evaluation.bootstrap import BootstrapConfig
from training.evaluation.predict import Answer
from training.evaluation.run import EvaluationConfig, evaluate, seen_in_training
from training.evaluation.saved import PredictionWriter, SavedSource
from training.evaluation.strata import RangeBin
from training.manifest import DepthFile

VECTORS = json.loads((Path(__file__).parents[2] / "data/metric_vectors.json").read_text())
KITTI = VECTORS["case3_kitti_protocols"]
SAME = {
    **{"silog": "silog", "log10": "log10", "abs_rel": "abs_rel", "sq_rel": "sq_rel"},
    **{"log_10": "log10", "a1": "delta1", "a2": "delta2", "a3": "delta3"},
    **{"rmse": "rmse_m", "rmse_log": "rmse_log", "d1": "delta1", "d2": "delta2", "d3": "delta3"},
}
QUICK = BootstrapConfig(draws=0)
RED = np.zeros((4, 6), np.uint8)


def kitti_frame(seed, h, w, cap, density, png):
    """Return codes and prediction of the vectors' frame, see their `frame_function`."""
    rs = np.random.RandomState(seed)
    a, b, c = (rs.random_sample((h, w)) for _ in range(3))
    dense = 0.6 + (1.15 * cap - 0.6) * a * a
    codes = np.where(b < density, np.floor(dense * png), 0).astype(np.uint16)
    return codes, (dense * (0.75 + 0.6 * c)).astype(np.float32)


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """Return prepared KITTI data and saved predictions of the three frames of the vectors."""
    root = tmp_path_factory.mktemp("kitti")
    rows, maps = [], {}
    for entry in KITTI["frames"]:
        settings = {key: value for key, value in entry.items() if not key.startswith("sha256")}
        codes, prediction = kitti_frame(**settings)
        name = f"drive_{entry['seed']}"
        rows.append((name, np.zeros(codes.shape, np.uint8), codes / 256.0))
        # What a network that sees the 352x1216 window leaves: rows 23 to 374, columns 13 to 1228.
        full = np.full_like(prediction, np.nan)
        full[23:375, 13:1229] = prediction[23:375, 13:1229]
        maps[name] = full
    data = make_data(root, "kitti", {"eigen_test": rows})
    writer = PredictionWriter(root / "out", data, ["eigen_test"])
    for record in data.records("eigen_test"):
        writer.write(record, Answer(maps[record.name]))
    writer.finish()
    return data, SavedSource(root / "out")


def test_profiles_side_by_side_print_the_peers_numbers(peers):
    data, source = peers
    config = EvaluationConfig(edges=False, bootstrap=QUICK, ordinal=False)
    evaluation = evaluate(source, data, config)
    scores = {s.profile.name: s for s in evaluation.profiles}
    rows = KITTI["results_mean_over_3_images"]
    for profile, crop, peer in (
        ("kitti-garg", "garg", "bts_eval.py"),
        ("kitti-garg-kb", "garg", "adabins_evaluate.py"),
        ("kitti-eigen", "eigen", "bts_eval.py"),
    ):
        for name, value in rows[crop][peer].items():
            found = getattr(scores[profile].errors, SAME[name])
            assert found == pytest.approx(value, rel=2e-5), (profile, name)
    assert [i.errors.count for i in scores["kitti-garg"].images] == [46790, 11981, 2356]
    assert evaluation.absent == ("kitti-velodyne", "kitti-benchmark")
    # Truth below 50 m only, and the prediction clamped there.
    capped = scores["kitti-garg@50"]
    assert capped.truth_pixels < scores["kitti-garg"].truth_pixels
    assert capped.errors.rmse_m < scores["kitti-garg"].errors.rmse_m


def test_the_leaderboards_numbers(peers, tmp_path):
    """The devkit reads codes: predictions as truncated PNG, of the full frame."""
    rows = []
    for entry in KITTI["frames"]:
        settings = {key: value for key, value in entry.items() if not key.startswith("sha256")}
        codes, prediction = kitti_frame(**settings)
        name = f"drive_{entry['seed']}"
        rows.append((name, np.zeros(codes.shape, np.uint8), codes / 256.0))
        write_code(
            tmp_path / f"png/{name}.png",
            np.clip(np.floor(prediction * 256), 1, 65535).astype(np.uint16),
        )
    data = make_data(tmp_path, "kitti", {"selection": rows})
    config = EvaluationConfig(edges=False, bootstrap=QUICK, ordinal=False)
    (scores,) = evaluate(SavedSource(tmp_path / "png", 256.0), data, config).profiles
    name = "kitti_devkit_cpp(gt png as is, pred floor(x*256) clipped to 1..65535, no crop, no cap)"
    expected = KITTI["results_mean_over_3_images"]["none"][name]
    assert scores.devkit.silog == pytest.approx(100 * expected["scale_invariant_log"], rel=5e-3)
    assert scores.devkit.sq_rel_percent == pytest.approx(
        100 * expected["squared_relative"], rel=1e-4
    )
    assert scores.devkit.irmse_per_km == pytest.approx(
        1000 * expected["inverse_rmse_1_per_m"], rel=1e-4
    )


def answer(values):
    """Return a source that answers by record name."""

    def source(record, reader):
        value = values[record.name]
        if isinstance(value, Exception):
            raise value
        return value if isinstance(value, Answer) else Answer(np.asarray(value, np.float32))

    return source


def lidar_data(root, truths, label_set="", labels=None):
    rows = [(n, RED, t, None if labels is None else labels) for n, t in truths.items()]
    return make_data(root, "bag", {"validation": rows}, label_set)


def test_ranges_are_means_over_images_and_edges_are_pooled(tmp_path):
    near = np.full((4, 6), 10.0)
    far = np.full((4, 6), 40.0)
    half = np.where(np.arange(6) < 3, 10.0, 40.0) * np.ones((4, 1))
    data = lidar_data(tmp_path, {"a_0": near, "a_1": far, "b_0": half})
    predictions = {"a_0": near * 1.1, "a_1": far * 1.2, "b_0": half * 1.3}
    config = EvaluationConfig(
        ranges=(RangeBin(0.0, 20.0), RangeBin(20.0, 80.0)), bootstrap=QUICK, ordinal=False
    )
    (scores,) = evaluate(answer(predictions), data, config).profiles
    assert scores.errors.abs_rel == pytest.approx((0.1 + 0.2 + 0.3) / 3, rel=1e-5)
    assert scores.strata["below 20 m"].abs_rel == pytest.approx((0.1 + 0.3) / 2, rel=1e-5)
    assert scores.strata["20 to 80 m"].abs_rel == pytest.approx((0.2 + 0.3) / 2, rel=1e-5)
    # All 24 pixels of b_0 are within 5 px of its edge, none of the other images.
    assert scores.strata["near depth edges"].abs_rel == pytest.approx(0.3, rel=1e-5)
    away = scores.strata["away from depth edges"]
    assert away.abs_rel == pytest.approx((0.1 + 0.2) / 2, rel=1e-5) and away.count == 48


def test_classes_and_semantics(tmp_path):
    labels = np.zeros((4, 6), np.uint8)
    labels[:, :2], labels[:, 2:5] = 2, 1  # floor, wall, and a column of void
    truth_m = np.where(labels == 2, 2.0, 4.0)
    data = lidar_data(tmp_path, {"a_0": truth_m}, "nyu40", labels)
    semantics = np.zeros((4, 6), np.int16)
    semantics[:, 3:] = 1
    prediction = Answer(np.where(labels == 2, 3.0, 4.0).astype(np.float32), semantics)
    about = info(
        settings={"semantics": "nyu4"}, classes=("ground", "structure", "furniture", "props")
    )
    config = EvaluationConfig(bootstrap=QUICK)
    writer = PredictionWriter(tmp_path / "out", data, ["validation"], about)
    evaluation = evaluate(answer({"a_0": prediction}), data, config, info=about, writer=writer)
    strata = evaluation.profiles[0].strata
    assert strata["ground"].abs_rel == pytest.approx(0.5) and strata["ground"].count == 8
    assert strata["structure"].abs_rel == 0.0 and strata["structure"].count == 12
    assert "furniture" not in strata
    # Truth: 8 ground, 12 structure of which 4 are called ground.
    assert evaluation.semantics.pixel_accuracy == pytest.approx(16 / 20)
    assert evaluation.semantics.iou["ground"] == pytest.approx(8 / 12)
    assert evaluation.semantics.iou["structure"] == pytest.approx(8 / 12)
    assert math.isnan(evaluation.semantics.iou["props"])
    again = evaluate(SavedSource(tmp_path / "out"), data, config, info=about)
    assert again.semantics.pixel_accuracy == evaluation.semantics.pixel_accuracy
    without = evaluate(answer({"a_0": prediction}), data, EvaluationConfig(classes="none"))
    assert without.semantics is None and "ground" not in without.profiles[0].strata


def test_classes_of_other_data_are_not_compared(tmp_path):
    labels = np.ones((4, 6), np.uint8)
    data = lidar_data(tmp_path, {"a_0": np.ones((4, 6))}, "nyu40", labels)
    prediction = Answer(np.ones((4, 6), np.float32), np.zeros((4, 6), np.int16))
    about = info(settings={"semantics": "cityscapes"}, classes=("road",))
    evaluation = evaluate(answer({"a_0": prediction}), data, info=about)
    assert evaluation.semantics is None


def test_the_confusion_of_depth_classes(tmp_path):
    # 80 classes from 1.98 to 80 m: each is 4.73 % wide.
    truth_m = np.full((4, 6), 10.0)
    data = lidar_data(tmp_path, {"a_0": truth_m})
    step = (80 / 1.98) ** (1 / 80)
    predicted_m = np.tile([10.0, 10.0, 10.0, 10.0 * step, 10.0 * step, 10.0 * step**3], (4, 1))
    ordinal = evaluate(answer({"a_0": predicted_m}), data).ordinal
    assert ordinal.pixels == 24
    assert ordinal.accuracy == pytest.approx(3 / 6)
    assert ordinal.within_one == pytest.approx(5 / 6)
    assert ordinal.mean_distance == pytest.approx((1 + 1 + 3) / 6)
    row = int(80 * math.log(10 / 1.98) / math.log(80 / 1.98))
    assert ordinal.confusion[row, row : row + 4] == pytest.approx([1 / 2, 1 / 3, 0, 1 / 6])


def test_bad_images_are_named_and_left_out(tmp_path):
    ones = np.ones((4, 6))
    data = lidar_data(tmp_path, {"a_0": ones, "a_1": ones, "b_0": ones, "b_1": ones})
    (tmp_path / "b_1_depth.png").write_bytes(b"no picture")
    answers = {
        "a_0": ones * 2,
        "a_1": DataError("no prediction"),
        "b_0": ones[:2],
        "b_1": ones,
    }
    config = EvaluationConfig(bootstrap=QUICK)
    evaluation = evaluate(answer(answers), data, config)
    assert evaluation.profiles[0].errors.abs_rel == 1.0
    assert [line.split(":")[0] for line in evaluation.left_out] == ["a_1", "b_0", "b_1"]
    assert "b_1_depth.png" in evaluation.left_out[2]
    with pytest.raises(DataError, match="no prediction"):
        evaluate(answer(answers), data, EvaluationConfig(strict=True))
    nothing = dict.fromkeys(answers, ShapeError("too small"))
    with pytest.raises(DataError, match="none of 4 images could be scored; the first: a_0: too"):
        evaluate(answer(nothing), data)


def test_images_without_truth_are_counted(tmp_path):
    ones = np.ones((375, 1242))
    red = np.zeros(ones.shape, np.uint8)
    rows = [("d_0", red, ones), ("d_1", red, None)]
    data = make_data(tmp_path, "kitti", {"eigen_test": rows})
    config = EvaluationConfig(profiles=("kitti-garg",), edges=False, bootstrap=QUICK)
    (scores,) = evaluate(answer({"d_0": ones}), data, config).profiles
    assert len(scores.images) == 1 and scores.without_truth == 1
    # Garg's crop of 375x1242: rows 153 to 370, columns 44 to 1196.
    assert scores.truth_pixels == scores.errors.count == (371 - 153) * (1197 - 44)


def test_nyu_is_scored_inside_its_window_on_both_truths(tmp_path):
    raw = np.full((480, 640), 2.0)
    raw[45:471, 41:300] = 0.0
    filled = np.full((480, 640), 4.0)
    data = make_data(tmp_path, "nyu", {"test": [("bath_0", np.zeros((480, 640), np.uint8), raw)]})
    write_code(tmp_path / "filled.png", (filled * 256).astype(np.uint16))
    record = replace(data.records("test")[0], filled=DepthFile("filled.png", scale=256.0))
    data = replace(data, splits={"test": (record,)})
    prediction = np.full((480, 640), 3.0)
    # Outside rows 45 to 470 and columns 41 to 600 anything goes.
    prediction[:45], prediction[471:], prediction[:, :41], prediction[:, 601:] = 9, 9, 9, 9
    config = EvaluationConfig(edges=False, bootstrap=QUICK)
    holes, dense = evaluate(answer({"bath_0": prediction}), data, config).profiles
    assert holes.profile.name == "nyu-eigen" and dense.profile.name == "nyu-eigen-filled"
    assert holes.errors.count == 426 * 301 and holes.errors.abs_rel == pytest.approx(0.5)
    assert dense.errors.count == 426 * 560 and dense.errors.abs_rel == pytest.approx(0.25)
    assert set(holes.strata) == {"below 4 m", "below 6 m", "below 8 m"}
    # A truth of exactly 4 m is not below 4 m.
    assert dense.strata["below 4 m"].count == 0 and dense.strata["below 6 m"].count == 426 * 560


def test_scores_of_scenes_that_were_trained_on_are_marked(tmp_path):
    ones = np.ones((4, 6))
    rows = {
        "train": [("a_0", RED, ones), ("b_0", RED, ones)],
        "validation": [("b_1", RED, ones), ("c_0", RED, ones), ("b_2", RED, ones)],
    }
    data = make_data(tmp_path, "bag", rows)
    evaluation = evaluate(answer(dict.fromkeys(("b_1", "c_0", "b_2"), ones)), data)
    profiles = [scores.profile for scores in evaluation.profiles]
    recipe = {
        "data": {"prepared": [{"folder": "data/bag", "train": "train"}]},
        "data_digests": {"bag/train": data.digests["train"]},
    }
    (line,) = seen_in_training(info(recipe, name="net"), data, profiles)
    assert line.startswith("2 of 3 images of split validation") and "net was trained on" in line
    recipe["data_digests"] = {"nyu/train": "x"}
    assert seen_in_training(info(recipe), data, profiles) == []
    assert seen_in_training(info(), data, profiles) == []


def test_intervals_of_a_profile(tmp_path):
    ones = np.ones((4, 6))
    data = lidar_data(tmp_path, {"a_0": ones, "a_1": ones, "b_0": ones})
    answers = {"a_0": ones * 1.1, "a_1": ones * 1.1, "b_0": ones * 1.4}
    (scores,) = evaluate(answer(answers), data).profiles
    by_image = scores.interval(BootstrapConfig(draws=400, level=0.999))
    assert by_image.low.count == 3
    assert by_image.low.abs_rel == pytest.approx(0.1, abs=1e-6)
    by_scene = scores.interval(BootstrapConfig(draws=400, unit="group"))
    assert by_scene.low.count == 2
    assert by_scene.high.abs_rel == pytest.approx(0.4, abs=1e-6)
