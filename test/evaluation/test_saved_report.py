"""What an evaluation writes is what is read again, or an error that says what is wrong."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from wall_scene import wall_depth

from mono_depth_ros.errors import DataError
from mono_depth_ros.evaluation.intervals import IntervalConfig
from mono_depth_ros.evaluation.pipeline import evaluate_bag, summarise
from mono_depth_ros.evaluation.report import write_report
from mono_depth_ros.evaluation.saved_report import read_report
from mono_depth_ros.evaluation.settings import EvaluationConfig

CONFIG = EvaluationConfig(
    occlusion="none",
    range_bins_m=(0.0, 2.5, 10.0, 80.0),
    pictures=0,
    intervals=IntervalConfig(block_s=0.2),
)


def uneven(rgb, camera):
    """Predict the wall too far by a factor that no decimal fraction is."""
    index = int(rgb[0, 0, 0])
    depth_m = wall_depth(index) * (1 + (index + 1) / 7)
    depth_m[:2] = np.nan
    return depth_m


@pytest.fixture
def evaluation(make_bag):
    return evaluate_bag(make_bag(), uneven, CONFIG)


@pytest.fixture
def folder(evaluation, tmp_path):
    return write_report(evaluation, tmp_path / "report", {"prediction": "uneven"}).parent


def edit(folder, change):
    path = folder / "scores.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def edit_rows(folder, change):
    path = folder / "per_frame.csv"
    with path.open() as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_reading_gives_back_every_bit(evaluation, folder):
    report = read_report(folder)
    # repr, because NaN of the empty bin is not equal to itself.
    assert repr(tuple(report.frames.values())) == repr(tuple(evaluation.frames))
    assert list(report.frames) == [frame.stamp_ns for frame in evaluation.frames]
    assert repr(report.summary) == repr(evaluation.summary)
    assert report.config == CONFIG
    assert report.protocol == CONFIG.protocol
    assert report.interval == evaluation.interval()
    assert report.facts["prediction"] == "uneven"
    frames = list(report.frames.values())
    again = summarise(frames, report.summary.constant_m, (0, 0), report.config)
    assert repr(again) == repr(report.summary)
    with pytest.raises(TypeError):
        report.frames[0] = frames[0]


def test_the_interval_is_written_with_what_was_drawn(evaluation, folder):
    record = json.loads((folder / "scores.json").read_text())
    assert record["format"] == 1
    # Four frames at 10 Hz are two blocks of 0.2 s, of AbsRel 1.5/7 and 3.5/7.
    interval = record["interval"]
    assert (interval["units"], "count" in interval["low"]) == (2, False)
    assert "2 blocks of 0.2 s" in interval["drawn"]
    assert interval["low"]["abs_rel"] == pytest.approx(1.5 / 7)
    assert interval["high"]["abs_rel"] == pytest.approx(3.5 / 7)
    page = (folder / "report.html").read_text()
    assert "95 % of draws, from" in page and "0.2143" in page
    assert "2 blocks of 0.2 s" in page


def test_a_recording_of_one_block_says_why_it_has_no_interval(make_bag, tmp_path):
    config = EvaluationConfig(occlusion="none", pictures=0)
    page = write_report(evaluate_bag(make_bag(), uneven, config), tmp_path / "report")
    assert read_report(page.parent).interval is None
    assert "fewer than 2 blocks of 1 s" in page.read_text()


def test_infinite_scores_keep_their_sign(make_bag, tmp_path):
    def zero(rgb, camera):
        depth_m = wall_depth(0)
        depth_m[:2] = 0.0
        return depth_m

    config = EvaluationConfig(
        occlusion="none",
        switches={"missing": "keep", "cap_m": math.inf},
        range_bins_m=(0.0, math.inf),
        pictures=0,
    )
    write_report(evaluate_bag(make_bag(), zero, config), tmp_path / "report")
    report = read_report(tmp_path / "report")
    assert (report.summary.model.mean_log, report.summary.model.rmse_log) == (-math.inf, math.inf)
    assert report.protocol.cap_m == math.inf == report.config.range_bins_m[-1]


def test_no_report(folder, tmp_path):
    for path in (tmp_path / "nothing", tmp_path, folder / "scores.json"):
        with pytest.raises(DataError, match=r"holds no scores\.json; give the folder"):
            read_report(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(format=99), "format 99, this version reads format 1"),
        (lambda r: r.pop("format"), "has no format"),
        (lambda r: r.pop("config"), "lacks config"),
        (lambda r: r.update(scores=[]), "lacks scores"),
        (lambda r: r["scores"]["model"].pop("abs_rel"), "scores.model does not have exactly"),
        (lambda r: r["scores"]["model"].update(abs_rel="0.1"), "abs_rel is '0.1', no number"),
        (lambda r: r["scores"]["model"].update(count=1.5), "count is 1.5, no count"),
        (lambda r: r["scores"].pop("aligned"), "scores.aligned is missing"),
        (lambda r: r["scores"].pop("constant_m"), "constant_m"),
        (lambda r: r["scores"].pop("frames"), "scores.frames is None"),
        (lambda r: r["scores"]["bins"].pop(), "bins are not the 3"),
        (lambda r: r["scores"]["bins"][1].update(low_m=2), "not the bin from 2.5 to 10 m"),
        (lambda r: r["scores"]["bins"].insert(0, r["scores"]["bins"].pop()), "not the bin from 0"),
        (lambda r: r.update(interval=[]), "interval"),
        (lambda r: r["interval"].pop("low"), "interval.low is missing"),
        (lambda r: r["config"].update(colour="red"), "no setting colour"),
        (lambda r: r["protocol"].update(cap_m=-1), "cap_m"),
    ],
)
def test_damaged_scores(folder, change, message):
    edit(folder, change)
    with pytest.raises(DataError, match=message) as error:
        read_report(folder)
    assert "scores.json" in str(error.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": 1'])
def test_scores_that_are_no_json(folder, text):
    (folder / "scores.json").write_bytes(text)
    with pytest.raises(DataError, match=r"scores\.json is damaged"):
        read_report(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.clear(), "line 1"),
        (lambda rows: rows[0].__setitem__(4, "pixels"), "line 1"),
        (lambda rows: rows.pop(), "3 frames"),
        (lambda rows: rows.append(rows[1]), "line 6 repeats the stamp"),
        (lambda rows: rows[2].pop(), "line 3 has"),
        (lambda rows: rows[2].__setitem__(5, ""), "line 3: could not convert"),
        (lambda rows: rows[2].__setitem__(0, "1.7e18"), "line 3: invalid literal"),
        (lambda rows: rows[2].__setitem__(4, "1"), "pixels"),
    ],
)
def test_damaged_frames(folder, change, message):
    edit_rows(folder, change)
    with pytest.raises(DataError, match=rf"per_frame\.csv is damaged: .*{message}"):
        read_report(folder)


def test_missing_frames(folder):
    (folder / "per_frame.csv").unlink()
    with pytest.raises(DataError, match=r"per_frame\.csv is damaged: No such file"):
        read_report(folder)


def test_a_failed_write_leaves_the_earlier_report(evaluation, folder, monkeypatch):
    before = (folder / "scores.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mono_depth_ros.evaluation.report.write_frames", full)
    with pytest.raises(DataError, match="No space left"):
        write_report(evaluation, folder)
    assert (folder / "scores.json").read_bytes() == before
    assert not list(folder.parent.glob(".*unfinished*"))
