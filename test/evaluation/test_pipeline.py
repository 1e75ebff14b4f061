from __future__ import annotations

import argparse
import csv
import json
import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from wall_scene import CAMERA, PERIOD_NS, START_NS, wall_depth

from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.cli.evaluate import add_arguments, build_config
from mono_depth_ros.cli.main import main
from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import BagError, ConfigError, DataError, ShapeError
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frames import Recording
from mono_depth_ros.evaluation.pictures import overlay_depth
from mono_depth_ros.evaluation.pipeline import evaluate_bag
from mono_depth_ros.evaluation.recorded import RecordedDepth
from mono_depth_ros.evaluation.report import write_report
from mono_depth_ros.evaluation.settings import EvaluationConfig

ROOT = Path(__file__).parents[2]
REAL_FRAMES = ROOT / "config" / "evaluation" / "real_frames.yaml"
CONFIG = EvaluationConfig(occlusion="none", range_bins_m=(0.0, 2.5, 10.0), pictures=1)


def ten_percent_far(rgb, camera):
    """Predict the wall of the frame number painted into the image, 10 % too far."""
    assert camera == CAMERA
    return 1.1 * wall_depth(int(rgb[0, 0, 0]))


def test_scores_of_a_wall_worked_out_by_hand(make_bag):
    summary = evaluate_bag(make_bag(), ten_percent_far, CONFIG).summary
    assert (summary.frames, summary.truth_pixels) == (4, 4 * 16 * 12)
    assert summary.model.count == 4 * 16 * 12
    assert summary.model.abs_rel == pytest.approx(0.1, rel=1e-5)
    assert summary.model.rmse_log == pytest.approx(math.log(1.1), rel=1e-5)
    assert summary.model.delta1 == 1.0
    assert summary.median_scale == pytest.approx(1 / 1.1, rel=1e-5)
    assert summary.aligned.abs_rel == pytest.approx(0.0, abs=1e-5)


def test_constant_baseline_is_the_median_of_all_truth(make_bag):
    # Left halves at 2, 3, 4, 5 m, right halves at 4 m: the median is 4 m.
    evaluation = evaluate_bag(make_bag(), ten_percent_far, CONFIG)
    summary = evaluation.summary
    assert summary.constant_m == pytest.approx(4.0, rel=2e-4)
    left = [abs(4 - depth) / depth for depth in (2, 3, 4, 5)]
    assert summary.constant.abs_rel == pytest.approx(np.mean(left) / 2, rel=1e-3)


def test_range_bins_hold_what_lies_in_them(make_bag):
    near, far = evaluate_bag(make_bag(), ten_percent_far, CONFIG).summary.bins
    # The left half of frame 0, 2 m, is the only truth below 2.5 m.
    assert (near.count, far.count) == (96, 4 * 192 - 96)
    assert near.abs_rel == pytest.approx(0.1, rel=1e-5)


def test_pixels_without_prediction_lower_coverage_not_scores(make_bag):
    def half(rgb, camera):
        depth_m = ten_percent_far(rgb, camera)
        depth_m[:6] = np.nan
        return depth_m

    summary = evaluate_bag(make_bag(), half, CONFIG).summary
    assert summary.model.abs_rel == pytest.approx(0.1, rel=1e-5)
    assert summary.model.count == summary.truth_pixels // 2


def test_recorded_depth_is_found_by_stamp(make_bag, tmp_path):
    bag = make_bag()
    with BagWriter(tmp_path / "depth") as writer:
        for index in (0, 2, 3):
            stamp_ns = START_NS + index * PERIOD_NS
            depth_m = 1.1 * wall_depth(index)
            writer.write_depth("/depth_node/depth/image", stamp_ns, "camera", depth_m)
    with RecordedDepth(tmp_path / "depth", "/depth_node/depth/image") as recorded:
        summary = evaluate_bag(bag, recorded, CONFIG).summary
    assert (summary.frames, summary.unpredicted_frames) == (3, 1)
    assert summary.model.abs_rel == pytest.approx(0.1, rel=1e-5)
    with pytest.raises(BagError, match="/depth_node/depth/image"):
        RecordedDepth(tmp_path / "depth", "/other")


def test_depth_image_truth_through_the_pipeline(make_bag):
    config = EvaluationConfig(frames=FrameConfig(truth="depth"), range_bins_m=(0.0, 10.0))
    summary = evaluate_bag(make_bag(lidar=False), ten_percent_far, config).summary
    assert summary.model.abs_rel == pytest.approx(0.1, rel=1e-6)


def test_a_wrong_transform_is_noticed(make_bag):
    # The LiDAR looks backwards, so nothing lands in the image.
    behind = (0.0, 0.0, -100.0, 0.0, 0.0, 0.0, 1.0)
    config = EvaluationConfig(frames=FrameConfig(camera_from_lidar=behind))
    with pytest.raises(BagError, match="transform between camera and LiDAR"):
        evaluate_bag(make_bag(), ten_percent_far, config)


def test_a_prediction_of_another_size_is_refused(make_bag):
    with pytest.raises(ShapeError, match=r"\(6, 8\).*\(12, 16\)"):
        evaluate_bag(make_bag(), lambda rgb, camera: np.ones((6, 8)), CONFIG)


def test_report_files_agree_with_each_other(make_bag, tmp_path):
    evaluation = evaluate_bag(make_bag(), ten_percent_far, CONFIG)
    page = write_report(evaluation, tmp_path / "report", {"prediction": "a <test> & more"})
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    with (tmp_path / "report" / "per_frame.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["stamp_ns"]) for row in rows] == [s.stamp_ns for s in evaluation.frames]
    model = scores["scores"]["model"]
    assert sum(int(row["count"]) for row in rows) == model["count"]
    for name in ("abs_rel", "rmse_m", "silog", "delta1"):
        mean = np.mean([float(row[name]) for row in rows])
        assert mean == pytest.approx(model[name], rel=1e-9), name
        constant = np.mean([float(row[f"constant_{name}"]) for row in rows])
        assert constant == pytest.approx(scores["scores"]["constant"][name], rel=1e-9), name
    html = page.read_text()
    assert "a &lt;test&gt; &amp; more" in html
    assert f"{model['abs_rel']:.4f}" in html
    assert "http" not in html.replace("http-equiv", "")
    # Of the four frames one is drawn, three are the worst and one is the best.
    assert html.count("data:image/jpeg;base64,") == 4 * 5
    assert scores["provenance"]["recording"] == "bag"
    assert scores["protocol"]["cap_m"] == 80.0


def test_infinite_caps_and_empty_scores_are_valid_json(make_bag, tmp_path):
    config = EvaluationConfig(switches={"cap_m": math.inf}, range_bins_m=(100.0, 200.0))
    write_report(evaluate_bag(make_bag(), ten_percent_far, config), tmp_path / "report")
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["protocol"]["cap_m"] == "inf"
    empty_bin = scores["scores"]["bins"][0]
    assert (empty_bin["count"], empty_bin["abs_rel"]) == (0, None)


def test_a_report_replaces_reports_only(make_bag, tmp_path):
    evaluation = evaluate_bag(make_bag(), ten_percent_far, CONFIG)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("important")
    with pytest.raises(DataError, match="no evaluation report"):
        write_report(evaluation, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "important"
    for _ in range(2):
        write_report(evaluation, tmp_path / "report")
    files = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert files == ["per_frame.csv", "report.html", "scores.json"]
    assert not [path for path in tmp_path.iterdir() if "unfinished" in path.name]


def test_overlay_draws_points_and_nothing_else():
    rgb = np.full((20, 30, 3), 7, np.uint8)
    depth_m = np.full((20, 30), np.nan, np.float32)
    depth_m[10, 15] = 1.0
    picture = overlay_depth(rgb, depth_m, 80.0, radius_px=1)
    changed = np.argwhere((picture != 7).any(axis=-1))
    assert {tuple(pixel) for pixel in changed.tolist()} <= {
        (10, 15),
        (9, 15),
        (11, 15),
        (10, 14),
        (10, 16),
    }
    red, _, blue = picture[10, 15].tolist()
    assert red > blue
    assert (rgb == 7).all()


def test_command_line_writes_the_report_and_prints_the_table(
    make_bag, light_checkpoint, tmp_path, capsys
):
    out = tmp_path / "report"
    arguments = ["evaluate", str(make_bag()), "--checkpoint", str(light_checkpoint)]
    arguments += ["--out", str(out), "--device", "cpu", "--max-frames", "2", "--max-depth", "10"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    scores = json.loads((out / "scores.json").read_text())
    row = re.search(r"^prediction +\d+ +([\d.]+)", printed, re.MULTILINE)
    assert float(row.group(1)) == pytest.approx(scores["scores"]["model"]["abs_rel"], abs=1e-4)
    assert "constant 4.00 m" in printed
    assert scores["scores"]["frames"] == 2
    assert scores["protocol"]["cap_m"] == 10.0
    assert len(scores["provenance"]["checkpoint sha256"]) == 64


def test_command_line_scores_recorded_depth_and_reports_errors(make_bag, tmp_path, capsys):
    def extra(writer, stamp_ns):
        index = (stamp_ns - START_NS) // PERIOD_NS
        writer.write_depth("/depth_node/depth/image", stamp_ns, "camera", 1.1 * wall_depth(index))

    bag, out = str(make_bag(extra=extra)), str(tmp_path / "report")
    arguments = ["evaluate", bag, "--out", out, "--depth-topic", "/depth_node/depth/image"]
    assert main(arguments) == 0
    assert "0.1000" in capsys.readouterr().out
    assert main([*arguments, "--profile", "garg"]) == 1
    assert "kitti-garg" in capsys.readouterr().err
    assert main([*arguments, "--lidar-topic", "/a", "--truth-depth-topic", "/b"]) == 1
    assert main(["evaluate", str(tmp_path / "none"), *arguments[2:]]) == 1


def test_max_depth_moves_the_clamp_of_profiles_that_have_one(make_bag, tmp_path):
    bag = str(make_bag())
    arguments = [
        "evaluate",
        bag,
        "--depth-topic",
        "/ground_truth/depth",
        "--out",
        str(tmp_path / "r"),
    ]
    assert main([*arguments, "--profile", "kitti-garg", "--max-depth", "50"]) == 0
    protocol = json.loads((tmp_path / "r" / "scores.json").read_text())["protocol"]
    assert (protocol["cap_m"], protocol["clamp_m"]) == (50.0, [0.001, 50.0])


# real_frames.yaml is of training.zero_shot, whose tests load it.
@pytest.mark.parametrize(
    "path",
    sorted(set((ROOT / "config" / "evaluation").glob("*.yaml")) - {REAL_FRAMES}),
    ids=lambda path: path.name,
)
def test_shipped_profiles_load(path):
    assert from_mapping(EvaluationConfig, load_yaml(path)).protocol.cap_m > 0


def test_impossible_settings():
    with pytest.raises(ConfigError, match="ascending"):
        EvaluationConfig(range_bins_m=(0.0, 5.0, 5.0))
    with pytest.raises(ConfigError, match="pictures"):
        EvaluationConfig(pictures=-1)
    with pytest.raises(ConfigError, match="no setting cap"):
        EvaluationConfig(switches={"cap": 5})


def test_real_kitti_points_lie_on_image_edges(tmp_path):
    drive = ROOT.parent / "shared/data/kitti_drive/2011_09_26/2011_09_26_drive_0052_sync"
    if not drive.is_dir():
        pytest.skip("the real drive of ../shared/data is not here")
    assert main(["import-kitti", str(drive), str(tmp_path / "bag")]) == 0
    config = FrameConfig(max_frames=3)
    means = []
    for frame in Recording(tmp_path / "bag", config).frames():
        means.append([edge_strength(frame, shift) for shift in (0, -12, 12)])
    in_place, left, right = np.mean(means, axis=0)
    # Points at depth steps sit on brightness edges; moved 12 px aside they mostly do not.
    assert in_place > 1.15 * max(left, right)


def edge_strength(frame, shift_px):
    """Return the mean horizontal image gradient at points where depth jumps to the next point."""
    points = frame.lidar_points_m[frame.lidar_points_m[:, 0] > 1.0]
    depth = np.linalg.norm(points, axis=1)
    jump = np.zeros(len(points), bool)
    jump[1:-1] = (np.abs(depth[1:-1] - depth[:-2]) > 2.0) & (depth[1:-1] < depth[:-2])
    jump[1:-1] |= (np.abs(depth[1:-1] - depth[2:]) > 2.0) & (depth[1:-1] < depth[2:])
    in_camera = points[jump] @ frame.camera_from_lidar[:3, :3].T + frame.camera_from_lidar[:3, 3]
    u = frame.camera.fx * in_camera[:, 0] / in_camera[:, 2] + frame.camera.cx + shift_px
    v = frame.camera.fy * in_camera[:, 1] / in_camera[:, 2] + frame.camera.cy
    grey = cv2.GaussianBlur(cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2GRAY), (5, 5), 0)
    gradient = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0))
    inside = (u >= 0) & (u < grey.shape[1] - 1) & (v >= 0) & (v < grey.shape[0] - 1)
    return gradient[v[inside].round().astype(int), u[inside].round().astype(int)].mean()


def test_frames_that_a_predictor_refuses_are_counted(make_bag, tmp_path):
    def picky(rgb, camera):
        if rgb[0, 0, 0] == 1:
            raise ShapeError("image of another size")
        return ten_percent_far(rgb, camera)

    evaluation = evaluate_bag(make_bag(), picky, CONFIG)
    assert (evaluation.summary.frames, evaluation.summary.unreadable_frames) == (3, 1)
    write_report(evaluation, tmp_path / "report")
    scores = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert scores["scores"]["unreadable_frames"] == 1
    assert scores["provenance"]["frames unreadable, left out"] == 1

    def refuse(rgb, camera):
        raise ShapeError("image of another size")

    with pytest.raises(BagError, match=r"none of 4 frames is left.*another size"):
        evaluate_bag(make_bag("other"), refuse, CONFIG)


def test_command_line_refuses_a_foreign_folder_before_it_works(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("important")
    arguments = ["evaluate", str(tmp_path / "no_bag"), "--checkpoint", "no_such_checkpoint"]
    assert main([*arguments, "--out", str(tmp_path / "mine")]) == 1
    assert "no evaluation report" in capsys.readouterr().err


def test_a_profile_that_is_a_list_is_a_config_error(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("profile: [lidar]")
    arguments = ["evaluate", "bag", "--depth-topic", "/d", "--out", str(tmp_path / "report")]
    arguments += ["--config", str(tmp_path / "c.yaml"), "--max-depth", "10"]
    assert main(arguments) == 1
    assert "no evaluation profile ['lidar']" in capsys.readouterr().err


def test_camera_options_of_the_command_line(tmp_path):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = ["bag", "--depth-topic", "/d", "--out", str(tmp_path)]
    frames = build_config(parser.parse_args(arguments)).frames
    assert (frames.camera_info_topic, frames.rectified) == (None, True)
    arguments += ["--camera-info-topic", "/info", "--unrectified"]
    frames = build_config(parser.parse_args(arguments)).frames
    assert (frames.camera_info_topic, frames.rectified) == ("/info", False)
