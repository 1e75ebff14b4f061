"""Differences between reports, worked out by hand, and the command that prints them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from report_scene import START_NS, frame, report, report_of
from wall_scene import PERIOD_NS, wall_depth
from wall_scene import START_NS as BAG_START_NS

from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.comparison import (
    Difference,
    compare_reports,
    comparison_record,
    frame_differences,
    report_names,
    verdict,
)
from mono_depth_ros.evaluation.comparison_page import comparison_html, comparison_lines
from mono_depth_ros.evaluation.intervals import IntervalConfig
from mono_depth_ros.evaluation.settings import EvaluationConfig

BINS = (0.0, 10.0, 20.0)


def compare(first, *others, **settings):
    named = {"first": first, **{f"other {i}": other for i, other in enumerate(others)}}
    return compare_reports(named, IntervalConfig(**settings))


class TestDifferences:
    def test_a_known_difference_on_scenes_of_uneven_difficulty(self):
        first = [0.1, 0.5, 0.2, 0.9, 0.3, 0.4]
        comparison = compare(report_of(first), report_of([v + 0.05 for v in first]))
        (paired,) = comparison.paired
        difference = paired.differences["abs_rel"]
        assert difference.value == pytest.approx(0.05)
        # Paired, it has no width, although the scores range from 0.1 to 0.9.
        assert (difference.low, difference.high) == (pytest.approx(0.05), pytest.approx(0.05))
        assert difference.excludes_zero
        # Six frames at 2 Hz.
        assert (len(paired.stamps_ns), paired.units) == (6, 3)
        assert paired.differences["rmse_m"] == Difference(0.0, 0.0, 0.0)
        assert frame_differences(comparison, paired, "abs_rel") == pytest.approx([0.05] * 6)

    def test_two_blocks_by_hand(self):
        # Blocks differ by -0.1 and +0.3: draws give -0.1, 0.1 and 0.3.
        first, other = report_of([0.5] * 4), report_of([0.4, 0.4, 0.8, 0.8])
        (paired,) = compare(first, other).paired
        difference = paired.differences["abs_rel"]
        assert difference.value == pytest.approx(0.1)
        assert (difference.low, difference.high) == (pytest.approx(-0.1), pytest.approx(0.3))
        assert not difference.excludes_zero

    def test_a_report_with_itself(self):
        same = report_of([0.1, 0.5, 0.2, 0.9])
        (paired,) = compare(same, same).paired
        for difference in paired.differences.values():
            assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)
            assert not difference.excludes_zero
        assert paired.warnings == ()

    def test_only_frames_that_both_scored_count(self):
        # Stamps 0 to 3 s and 1 to 4 s; the frame at 2 s has no pixel in the second.
        second = 1_000_000_000
        first = report_of([0.1, 0.2, 0.3, 0.4], second)
        frames = [
            frame(START_NS + second, 0.3),
            frame(START_NS + 2 * second, 9.0, count=0),
            frame(START_NS + 3 * second, 0.6),
            frame(START_NS + 4 * second, 9.0),
        ]
        (paired,) = compare(first, report(frames)).paired
        assert paired.stamps_ns == (START_NS + second, START_NS + 3 * second)
        assert (paired.first.abs_rel, paired.this.abs_rel) == pytest.approx((0.3, 0.45))
        assert paired.differences["abs_rel"].value == pytest.approx(0.15)
        assert any("2 of the first report and 2 of this one" in text for text in paired.warnings)

    def test_pooled_pixels_follow_the_first_protocol(self):
        config = EvaluationConfig(switches={"average": "pixels"}, range_bins_m=BINS)
        stamps_ns = (START_NS, START_NS + 1_000_000_000)
        first = report(
            [frame(ns, 0.0, n) for ns, n in zip(stamps_ns, (5, 15), strict=True)], config
        )
        other = report(
            [frame(*row) for row in zip(stamps_ns, (0.0, 0.4), (5, 15), strict=True)], config
        )
        (paired,) = compare(first, other).paired
        # Three quarters of the pixels differ by 0.4.
        assert paired.differences["abs_rel"].value == pytest.approx(0.3)
        assert paired.differences["abs_rel"].high == pytest.approx(0.4)

    def test_nothing_in_common(self):
        comparison = compare(report_of([0.1, 0.2]), report_of([0.1, 0.2], start_ns=START_NS + 7))
        (paired,) = comparison.paired
        assert math.isnan(paired.differences["abs_rel"].value)
        assert paired.warnings == ("no frame was scored in both reports",)
        assert "no interval" in comparison_html(comparison)
        record = json.dumps(comparison_record(comparison))
        assert '"shared_frames": 0' in record

    def test_one_report_is_no_comparison(self):
        with pytest.raises(ConfigError, match="two or more"):
            compare(report_of([0.1]))


@pytest.mark.parametrize(
    ("score", "ends", "words"),
    [
        ("abs_rel", (0.1, 0.05, 0.15), "excludes 0, worse"),
        ("abs_rel", (-0.1, -0.15, -0.05), "excludes 0, better"),
        ("delta1", (0.1, 0.05, 0.15), "excludes 0, better"),
        ("mean_log", (0.1, 0.05, 0.15), "excludes 0"),
        ("abs_rel", (0.1, -0.05, 0.15), "includes 0"),
        ("abs_rel", (0.1, 0.0, 0.15), "includes 0"),
        ("abs_rel", (0.1, math.nan, math.nan), "no interval"),
    ],
)
def test_verdicts(score, ends, words):
    assert verdict(score, Difference(*ends)) == words


class TestWarnings:
    def of(self, other):
        return compare(report_of([0.1, 0.2, 0.3]), other).paired[0].warnings

    def test_profiles_and_switches(self):
        config = EvaluationConfig(profile="kitti-garg", range_bins_m=BINS)
        texts = " | ".join(self.of(report_of([0.1, 0.2, 0.3], config=config)))
        assert "profile is 'kitti-garg', in the first report 'lidar'" in texts
        assert "switch crop is 'garg', in the first report 'none'" in texts
        assert "switch cap_m" not in texts

    def test_settings_of_the_truth_but_not_of_the_page(self):
        config = EvaluationConfig(occlusion="none", range_bins_m=BINS, pictures=1)
        (text,) = self.of(report_of([0.1, 0.2, 0.3], config=config))
        assert text == "occlusion is 'none', in the first report 'opposite'"

    def test_a_topic_that_was_named_is_the_same_as_one_that_was_found(self):
        config = EvaluationConfig(range_bins_m=BINS)
        named = replace(config, frames=replace(config.frames, image_topic="/image"))
        assert self.of(report_of([0.1, 0.2, 0.3], config=named)) == ()
        (text,) = self.of(report_of([0.1, 0.2, 0.3], **{"image topic": "/right"}))
        assert text == "image topic is '/right', in the first report '/image'"

    def test_recordings(self):
        (text,) = self.of(report_of([0.1, 0.2, 0.3], recording="other bag"))
        assert text == "recording is 'other bag', in the first report 'bag'"

    def test_truth_and_coverage(self):
        stamps_ns = [START_NS + i * 500_000_000 for i in range(3)]
        (text,) = self.of(report([frame(ns, 0.1, truth_pixels=21) for ns in stamps_ns]))
        assert text == "the truth differs in 3 of 3 shared frames"
        (text,) = self.of(report([frame(ns, 0.1, count=15) for ns in stamps_ns]))
        assert "cover 50.00% of the truth's pixels in the first report, 75.00% in this" in text


def test_names_are_as_short_as_they_may_be():
    assert report_names([Path("/runs/a"), Path("/runs/b")]) == ["a", "b"]
    assert report_names([Path("/x/report"), Path("/y/report")]) == ["x/report", "y/report"]
    same = [Path("/x/a")] * 3
    assert report_names(same) == ["a", "a (2)", "a (3)"]


def test_lines_for_a_terminal():
    comparison = compare(report_of([0.1] * 4), report_of([0.15] * 4), unit="frame")
    lines = "\n".join(comparison_lines(comparison))
    assert re.search(r"^first +lidar +4 +50\.0% +40 +0\.1000", lines, re.MULTILINE)
    assert "other 0 minus first: 4 shared frames; 95 % of 1000 draws of 4 single frames" in lines
    row = r"^AbsRel +0\.1000 +0\.1500 +\+0\.0500 +\+0\.0500 +\+0\.0500 +excludes 0, worse$"
    assert re.search(row, lines, re.MULTILINE)


class TestCommand:
    @pytest.fixture
    def reports(self, make_bag, tmp_path):
        """Write reports of depth that is 10 % and 30 % too far, on frames of two blocks."""

        def extra(writer, stamp_ns):
            depth_m = wall_depth((stamp_ns - BAG_START_NS) // PERIOD_NS)
            writer.write_depth("/a", stamp_ns, "camera", 1.1 * depth_m)
            writer.write_depth("/b", stamp_ns, "camera", 1.3 * depth_m)

        bag = make_bag(extra=extra)
        for topic in "ab":
            arguments = ["evaluate", str(bag), "--depth-topic", f"/{topic}", "--block-s", "0.2"]
            assert main([*arguments, "--out", str(tmp_path / topic)]) == 0
        return [str(tmp_path / topic) for topic in "ab"]

    def test_tables_page_and_record(self, reports, tmp_path, capsys):
        out = tmp_path / "comparison"
        arguments = ["compare", *reports, "--out", str(out), "--block-s", "0.2"]
        for _ in range(2):
            capsys.readouterr()
            assert main(arguments) == 0
        printed = capsys.readouterr()
        assert re.search(r"^AbsRel +0\.1000 +0\.3000 +\+0\.2000", printed.out, re.MULTILINE)
        assert "excludes 0, worse" in printed.out
        assert "warning" not in printed.err
        record = json.loads((out / "comparison.json").read_text())
        (paired,) = record["paired"]
        difference = paired["differences"]["abs_rel"]
        assert difference["value"] == pytest.approx(0.2, rel=1e-5)
        assert difference["excludes_zero"] is True
        assert (paired["shared_frames"], paired["units"], paired["name"]) == (4, 2, "b")
        html = (out / "comparison.html").read_text()
        assert html.count("<svg ") == 3
        assert "http" not in html and "src=" not in html
        assert sorted(path.name for path in out.iterdir()) == ["comparison.html", "comparison.json"]

    def test_a_report_with_itself(self, reports, capsys):
        assert main(["compare", reports[0], reports[0], "--fail-if", "abs_rel>0"]) == 0
        assert re.search(
            r"^AbsRel .*\+0\.0000 +no interval$", capsys.readouterr().out, re.MULTILINE
        )

    def test_gates_on_the_difference(self, reports, capsys):
        arguments = ["compare", *reports, "--fail-if", "abs_rel>0.3", "--fail-if", "rmse_m>0.1"]
        assert main(arguments) == 3
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("b: rmse_m>0.1 failed: rmse_m is 0.")

    def test_mistakes(self, reports, tmp_path, capsys):
        foreign = tmp_path / "mine"
        foreign.mkdir()
        (foreign / "thesis.tex").write_text("important")
        for arguments, message in (
            (reports[:1], "two or more"),
            ([*reports, "--fail-if", "absrel>1"], "no metric"),
            ([*reports, "--out", str(foreign)], "is no comparison"),
            ([*reports, "--block-s", "0"], "block_s"),
            ([reports[0], str(foreign)], "holds no scores.json"),
        ):
            assert main(["compare", *arguments]) == 1
            assert message in capsys.readouterr().err

    def test_evaluate_gates_before_and_after(self, make_bag, tmp_path, capsys):
        out = tmp_path / "gated"
        arguments = ["evaluate", str(make_bag()), "--depth-topic", "/ground_truth/depth"]
        arguments += ["--out", str(out)]
        assert main([*arguments, "--fail-if", "abs_rel>nonsense"]) == 1
        assert main([*arguments, "--fail-if", "bins[1-2].abs_rel>1"]) == 1
        assert not out.exists()
        capsys.readouterr()
        conditions = ["--fail-if", "delta1>0.5", "--fail-if", "abs_rel>0.1"]
        assert main([*arguments, *conditions, "--fail-if", "bins[20-40].abs_rel>1"]) == 3
        assert (out / "report.html").is_file()
        assert [line.split()[0] for line in capsys.readouterr().err.splitlines()[-2:]] == [
            "delta1>0.5",
            "bins[20-40].abs_rel>1",
        ]
        assert main([*arguments, "--fail-if", "abs_rel>0.1", "--fail-if", "coverage<1"]) == 0
