"""Where the error lies, which frames are worst, how scale flickers: numbers by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from report_scene import START_NS, frame, report
from wall_scene import CAMERA, wall_depth

from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.evaluation.details import DetailSums
from mono_depth_ros.evaluation.extremes import Extremes, worst_and_best
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.pipeline import evaluate_bag
from mono_depth_ros.evaluation.protocols import PROTOCOLS, select_pixels, select_places
from mono_depth_ros.evaluation.report import score_rows, write_report
from mono_depth_ros.evaluation.saved_report import read_report
from mono_depth_ros.evaluation.scores import scale_flicker
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.metrics import (
    DepthErrors,
    median_over_images,
    pixel_errors,
    scale_and_shift,
)

LIDAR = PROTOCOLS["lidar"]
FITTED = replace(LIDAR, alignment="scale-and-shift")
MS = 1_000_000


def row(*values):
    return np.array([values], np.float64)


class TestScaleAndShift:
    def test_an_exact_affine_inverse_depth_is_found(self):
        g = np.array([2.0, 4.0, 5.0, 10.0])
        a, b = scale_and_shift(3.0 / (1 / g - 0.05), g)
        assert (a, b) == (pytest.approx(3.0), pytest.approx(0.05))

    def test_equal_to_a_general_solver(self):
        rng = np.random.default_rng(3)
        p, g = rng.uniform(1, 50, 500), rng.uniform(1, 50, 500)
        design = np.stack([1 / p, np.ones(500)], axis=1)
        expected = np.linalg.lstsq(design, 1 / g, rcond=None)[0]
        np.testing.assert_allclose(scale_and_shift(p, g), expected, rtol=1e-9)

    def test_one_depth_everywhere_becomes_the_mean_of_inverse_depth(self):
        assert scale_and_shift(np.full(2, 7.0), np.array([2.0, 4.0])) == (0.0, 0.375)
        assert all(map(math.isnan, scale_and_shift(np.empty(0), np.empty(0))))

    def test_through_the_protocol(self):
        # Inverse depths 0.5, 0.25 and 0.125 are hit exactly; what is not predicted stays so.
        p, g, total = select_pixels(
            1 / row(1.0, 0.5, 0.25, np.nan), row(2.0, 4.0, 8.0, 3.0), FITTED
        )
        np.testing.assert_allclose(p, [2.0, 4.0, 8.0])
        assert (g.tolist(), total) == ([2.0, 4.0, 8.0], 4)

    def test_what_is_not_above_zero_is_missing_and_what_is_deep_is_capped(self):
        # x = 1 / p, y = 1 / g; a reference fit by numpy's polynomial.
        x = np.array([0.10, 0.2, 0.3, 0.4, 0.001])
        g = np.array([10.0, 4.0, 2.0, 1.2, 60.0])
        slope, offset = np.polyfit(x, 1 / g, 1)
        fitted = slope * x + offset
        assert (fitted <= 0).any()
        p, kept, total = select_pixels(1 / x[None], g[None], FITTED)
        np.testing.assert_allclose(p, np.minimum(1 / fitted[fitted > 0], 80.0), rtol=1e-6)
        assert kept.tolist() == g[fitted > 0].tolist() and total == 5
        near = replace(FITTED, cap_m=70.0, clamp_m=(0.001, 70.0), missing="minimum")
        p, _, _ = select_pixels(1 / x[None], g[None], near)
        assert p[fitted <= 0].tolist() == [0.001] * int((fitted <= 0).sum())

    def test_no_deeper_than_the_cap(self):
        # The fit of 0.5, 0.2 and 0.05 over 3, 2 and 1 is 0.475, 0.25 and 0.025, or 40 m.
        x, g = row(3.0, 2.0, 1.0), row(2.0, 5.0, 20.0)
        assert select_pixels(1 / x, g, FITTED)[0] == pytest.approx([1 / 0.475, 4.0, 40.0])
        capped = replace(FITTED, cap_m=30.0)
        assert select_pixels(1 / x, g, capped)[0] == pytest.approx([1 / 0.475, 4.0, 30.0])

    def test_the_devkits_filling_does_not_spoil_it(self):
        devkit = replace(PROTOCOLS["kitti-benchmark"], alignment="scale-and-shift")
        x, g = np.array([0.1, 0.2, 0.3, 0.4, 0.001]), np.array([10.0, 4.0, 2.0, 1.2, 60.0])
        p, _, _ = select_pixels(1 / x[None], g[None], devkit)
        assert 0 < p.size < 5 and np.isfinite(p).all()


def test_places_are_those_of_the_full_frame():
    rng = np.random.default_rng(0)
    reference_m = np.full((375, 1242), np.nan)
    rows, columns = rng.integers(160, 360, 300), rng.integers(60, 1180, 300)
    reference_m[rows, columns] = rng.uniform(1, 70, 300)
    for name in ("lidar", "kitti-garg", "kitti-garg-kb"):
        pixels = select_places(2 * reference_m, reference_m, PROTOCOLS[name])
        assert pixels.shape == (375, 1242) and pixels.reference_m.size > 200
        found_m = reference_m[pixels.rows, pixels.columns]
        np.testing.assert_array_equal(found_m, pixels.reference_m)


class TestDetails:
    def details(self, prediction_m, reference_m, protocol=LIDAR):
        sums = DetailSums()
        sums.add(select_places(prediction_m, reference_m, protocol))
        return sums.value()

    def test_regions_by_hand(self):
        reference_m = np.full((6, 9), np.nan)
        prediction_m = np.full((6, 9), 10.0)
        reference_m[0, 0], reference_m[1, 2], reference_m[5, 8] = 8.0, 5.0, 20.0
        first, *middle, last = self.details(prediction_m, reference_m).regions
        # 10 against 8 is a ratio of 1.25, which is not below 1.25.
        assert (first.count, first.abs_rel, first.bias) == (2, 0.625, 0.625)
        assert (first.delta1, last.delta1) == (0.0, 0.0)
        assert (last.count, last.abs_rel, last.bias) == (1, 0.5, -0.5)
        assert all(region.count == 0 and math.isnan(region.abs_rel) for region in middle)

    def test_thirds_of_sizes_that_three_does_not_divide(self):
        ones = np.ones((4, 5))
        counts = [region.count for region in self.details(ones, ones).regions]
        # Rows 0 and 1, 2, 3; columns 0 and 1, 2 and 3, 4.
        assert counts == [4, 4, 2, 2, 2, 1, 2, 2, 1]

    def test_ranges_and_histogram_by_hand(self):
        details = self.details(row(1.1, 0.9, 5.0, 300.0), row(1.0, 1.0, 4.0, 79.0))
        (at_1, at_4, at_79) = details.ranges
        assert at_1.low_m == 1.0 and at_1.high_m == pytest.approx(10 ** (1 / 12))
        assert (at_1.errors.count, at_1.errors.delta1) == (2, 1.0)
        assert at_1.errors.abs_rel == pytest.approx(0.1)
        assert at_1.errors.bias == pytest.approx(0.0, abs=1e-12)
        assert at_4.low_m < 4.0 < at_4.high_m and at_4.errors.bias == 0.25
        assert at_79.errors.abs_rel == pytest.approx(221 / 79)
        edges, counts = details.error_edges, details.error_counts
        assert (edges[0], edges[-2], edges[-1]) == (-1.0, 1.0, math.inf)
        assert sum(counts) == 4 and counts[-1] == 1
        assert counts[edges.index(0.25)] == 1 and edges[edges.index(0.0) + 1] == 0.025
        assert sum(counts[: edges.index(0.0)]) == 1

    def test_frames_are_pooled(self):
        parts, whole = [DetailSums(), DetailSums()], DetailSums()
        rng = np.random.default_rng(2)
        p, g = rng.uniform(0.05, 90, (2, 6, 6)), rng.uniform(0.05, 79, (2, 6, 6))
        for part, prediction_m, reference_m in zip(parts, p, g, strict=True):
            part.add(select_places(prediction_m, reference_m, LIDAR))
            whole.add(select_places(prediction_m, reference_m, LIDAR))
        parts[0].merge(parts[1])
        assert parts[0].value() == whole.value()
        upper_left = p[:, :2, :2], g[:, :2, :2]
        expected = pixel_errors(upper_left[0].ravel(), upper_left[1].ravel())
        found = whole.value().regions[0]
        assert (found.count, found.delta1) == (8, expected.delta1)
        assert found.abs_rel == pytest.approx(expected.abs_rel)

    def test_predictions_that_are_no_number_are_left_out(self):
        keep = replace(LIDAR, missing="keep")
        details = self.details(row(np.nan, np.inf, 0.0, 2.0), row(1.0, 1.0, 1.0, 2.0), keep)
        assert sum(region.count for region in details.regions) == 2
        assert sum(details.error_counts) == 2 and details.error_counts[0] == 1


class TestFlicker:
    def scores(self, *stamps_and_scales):
        ms, scales = np.array(stamps_and_scales).T
        return START_NS + ms.astype(np.int64) * MS, scales

    def test_by_hand(self):
        # Steps of ln 1.1, ln 1.2 and ln 1.5; the last frame is half a second away.
        scores = self.scores((0, 1.0), (100, 1.1), (200, 1.1 / 1.2), (300, 1.375), (800, 9.0))
        value, pairs = scale_flicker(*scores)
        assert (value, pairs) == (pytest.approx(math.log(1.2)), 3)
        assert scale_flicker(*(values[::-1] for values in scores)) == (value, pairs)

    def test_frames_without_a_scale_make_no_pair_of_their_own(self):
        scores = self.scores((0, 1.0), (100, math.nan), (200, 2.0), (300, math.inf))
        assert scale_flicker(*scores) == (pytest.approx(math.log(2)), 1)
        value, pairs = scale_flicker(*(values[:2] for values in scores))
        assert math.isnan(value) and pairs == 0


def test_averages_by_hand():
    # Images of 10, 30 and 20 pixels with AbsRel 0.1, 0.2 and 0.6.
    frames = [
        frame(START_NS, 0.1, 10),
        frame(START_NS + MS, 0.2, 30),
        frame(START_NS + 2 * MS, 0.6, 20),
        frame(START_NS + 3 * MS, 0.0, 0),
    ]
    summary = report(frames).summary
    assert summary.model == summary.mean_of_images
    assert summary.mean_of_images.abs_rel == pytest.approx(0.3)
    assert summary.pooled.abs_rel == pytest.approx((1 + 6 + 12) / 60)
    assert (summary.median_of_images.abs_rel, summary.median_of_images.count) == (0.2, 60)
    by_pixels = EvaluationConfig(switches={"average": "pixels"}, range_bins_m=(0.0, 10.0, 20.0))
    assert report(frames, by_pixels).summary.model == summary.pooled
    assert math.isnan(median_over_images([DepthErrors.empty()]).abs_rel)


class TestExtremes:
    def kept(self, wanted, abs_rels):
        extremes = Extremes(wanted)
        rgb = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
        for index, abs_rel in enumerate(abs_rels):
            shot = Frame(index, index, rgb, CAMERA)
            extremes.add(shot, wall_depth(0), wall_depth(0), abs_rel)
            assert len(extremes._kept) <= 2 * wanted
        shown = [[float(p.title.split()[4][:-1]) for p in part] for part in extremes.drawn(10.0)]
        chosen = worst_and_best(abs_rels, wanted)
        assert shown == [[abs_rels[place] for place in places] for places in chosen]
        return shown

    def test_the_largest_and_the_smallest(self):
        abs_rels = np.random.default_rng(4).permutation(100) / 100
        assert self.kept(3, abs_rels) == [[0.99, 0.98, 0.97], [0.0, 0.01, 0.02]]
        assert self.kept(2, [0.5, 0.4, math.nan, 0.3, 0.2, 0.1]) == [[0.5, 0.4], [0.1, 0.2]]

    def test_a_short_recording_shows_no_frame_twice(self):
        assert self.kept(3, [0.1, 0.3, 0.2, 0.4]) == [[0.4, 0.3, 0.2], [0.1]]
        assert self.kept(3, [0.1]) == [[0.1], []]
        assert self.kept(0, [0.1, 0.2]) == [[], []]

    def test_what_is_kept_does_not_change_with_its_source(self):
        extremes = Extremes(1)
        rgb, depth_m = np.zeros((12, 16, 3), np.uint8), wall_depth(0)
        extremes.add(Frame(0, 0, rgb, CAMERA), depth_m, depth_m, 0.1)
        rgb[:], depth_m[:] = 255, 99.0
        (kept,) = extremes._kept
        assert kept.rgb.max() == 0 and kept.prediction_m.max() == 4.0


class TestReport:
    @pytest.fixture
    def evaluation(self, make_bag):
        config = EvaluationConfig(occlusion="none", range_bins_m=(0.0, 10.0), pictures=0)

        def uneven(rgb, camera):
            return wall_depth(int(rgb[0, 0, 0])) * (1 + (int(rgb[0, 0, 0]) + 1) / 7)

        return evaluate_bag(make_bag(), uneven, config)

    @pytest.fixture
    def folder(self, evaluation, tmp_path):
        return write_report(evaluation, tmp_path / "report").parent

    def edit(self, folder, change):
        record = json.loads((folder / "scores.json").read_text())
        change(record)
        (folder / "scores.json").write_text(json.dumps(record))

    def test_of_a_wall_by_hand(self, evaluation):
        # Scales 7/8, 7/9, 7/10 and 7/11 at 10 Hz.
        summary = evaluation.summary
        assert summary.scale_flicker == pytest.approx(math.log(10 / 9), rel=1e-5)
        assert summary.flicker_pairs == 3
        assert summary.scale_and_shift.abs_rel == pytest.approx(0.0, abs=1e-5)
        details = evaluation.details
        assert sum(r.count for r in details.regions) == summary.truth_pixels
        assert details.regions[4].bias == pytest.approx(2.5 / 7, rel=1e-5)
        assert (evaluation.worst, evaluation.best) == ((), ())
        rows = [name for name, _ in score_rows(evaluation)]
        assert rows[rows.index("prediction, median-aligned per image") + 1 :][:3] == [
            "prediction, scale-and-shift aligned, not metric",
            "prediction, pooled over all pixels",
            "prediction, median of images",
        ]

    def test_details_are_read_again_bit_for_bit(self, evaluation, folder):
        assert repr(read_report(folder).details) == repr(evaluation.details)

    def test_a_report_of_an_earlier_version_is_still_read(self, evaluation, folder):
        later = ["scale_and_shift", "mean_of_images", "pooled", "median_of_images"]

        def age(record):
            del record["details"], record["config"]["extremes"]
            for name in [*later, "scale_flicker", "flicker_pairs"]:
                del record["scores"][name]

        self.edit(folder, age)
        lines = (folder / "per_frame.csv").read_text().splitlines()
        (folder / "per_frame.csv").write_text(
            "".join(",".join(line.split(",")[:-11]) + "\n" for line in lines)
        )
        old = read_report(folder)
        assert old.details is None and old.summary.model == evaluation.summary.model
        assert math.isnan(old.summary.scale_flicker) and old.summary.pooled.count == 0
        frames = list(old.frames.values())
        assert [f.model for f in frames] == [f.model for f in evaluation.frames]
        assert [f.scale_and_shift.count for f in frames] == [0] * 4

    def test_a_report_without_products_is_still_read(self, evaluation, folder):
        def age(record):
            for name in ("confidence", "classes", "point_flicker", "point_flicker_frames"):
                del record["details"][name]

        self.edit(folder, age)
        assert repr(read_report(folder).details) == repr(evaluation.details)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda d: d["regions"].pop(), "nine thirds"),
            (lambda d: d["regions"][0].update(row="lower"), "nine thirds"),
            (lambda d: d["regions"][0].pop("bias"), r"regions\[0\] does not have exactly"),
            (lambda d: d["ranges"][0].update(count=-1), "no count"),
            (lambda d: d["error_counts"].pop(), "error_edges are 82, of 80"),
            (lambda d: d.update(ranges={}), "ranges is no list"),
        ],
    )
    def test_damaged_details(self, folder, change, message):
        self.edit(folder, lambda record: change(record["details"]))
        with pytest.raises(DataError, match=rf"scores\.json is damaged: .*{message}"):
            read_report(folder)

    def test_the_page_begins_with_the_summary_and_ends_with_the_provenance(self, folder):
        html = (folder / "report.html").read_text()
        headings = [part.split("<")[0].split(">")[1] for part in html.split("<h2 ")[1:]]
        assert (headings[0], headings[1], headings[-1]) == (
            "Summary",
            "Scores",
            "What was compared",
        )
        assert headings[2:6] == [
            "Error against range",
            "Relative error of pixels",
            "Where in the image",
            "Over time",
        ]
        # On average 2.5 / 7; a constant of 4 m is off by (1 + 1/3 + 0 + 1/5) / 8.
        assert "off by 35.7%" in html and "off by 19.2%, which is less" in html

    def test_nothing_predicted_is_a_page_too(self, make_bag, tmp_path):
        config = EvaluationConfig(occlusion="none", range_bins_m=(0.0, 10.0))
        nothing = evaluate_bag(
            make_bag("other"), lambda rgb, _: np.full(rgb.shape[:2], np.nan, np.float32), config
        )
        page = write_report(nothing, tmp_path / "nothing")
        assert "No pixel of the truth was predicted." in page.read_text()
        assert repr(read_report(page.parent).details) == repr(nothing.details)


def test_extremes_below_zero_are_refused():
    with pytest.raises(ConfigError, match="extremes must be 0 or more"):
        EvaluationConfig(extremes=-1)
