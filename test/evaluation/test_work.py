"""Long work: pieces that are kept, interruptions, several processes, several recordings."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wall_scene import PERIOD_NS, START_NS, wall_depth

from mono_depth_ros.cli.main import main
from mono_depth_ros.errors import BagError, ConfigError, DataError, DecodingError, ShapeError
from mono_depth_ros.evaluation import work as work_module
from mono_depth_ros.evaluation.collection import folder_names
from mono_depth_ros.evaluation.pipeline import evaluate_bag
from mono_depth_ros.evaluation.scores import FrameScore, ScoreTable
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.evaluation.work import Work, missing_ranges, shares

CONFIG = EvaluationConfig(occlusion="none", range_bins_m=(0.0, 2.5, 10.0), pictures=2)


def far(rgb, camera, factor=1.1):
    return wall_depth(int(rgb[0, 0, 0])) * factor


@contextmanager
def open_far():
    yield far


def assert_same(one, other):
    """How the work was done must not show; sums over all pixels are rounded in another order."""
    for name in ("summary", "pictures", "worst", "best"):
        assert repr(getattr(one, name)) == repr(getattr(other, name))
    assert repr(list(one.frames)) == repr(list(other.frames))
    assert one.details.error_counts == other.details.error_counts
    for a, b in zip(one.details.regions, other.details.regions, strict=True):
        assert (a.count, a.delta1) == (b.count, b.delta1)
        assert (a.abs_rel, a.bias) == pytest.approx((b.abs_rel, b.bias), rel=1e-12)


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 59), st.integers(1, 20)), max_size=6),
    st.integers(1, 7),
)
def test_what_is_left_is_shared_out_completely(count, found, workers):
    done = {(first, min(first + length, count)) for first, length in found if first < count}
    left = missing_ranges(count, sorted(done))
    places = {place for first, last in left for place in range(first, last)}
    assert places == set(range(count)) - {p for first, last in done for p in range(first, last)}
    parts = [
        [p for low, high in share for p in range(low, high)] for share in shares(left, workers)
    ]
    assert [place for part in parts for place in part] == sorted(places)
    sizes = [len(part) for part in parts] + [0] * (workers - len(parts))
    assert max(sizes) - min(sizes) <= 1


def test_a_table_gives_back_its_scores():
    score = FrameScore.empty(2)
    table = ScoreTable.of([score, score], 2)
    assert [repr(found) for found in table] == [repr(score)] * 2
    assert len(table[1:]) == 1 and len(ScoreTable.of([], 2)) == 0


def test_an_interrupted_evaluation_goes_on_where_it_was(make_bag, tmp_path, monkeypatch):
    """Stopped after 4 of 7 frames, in pieces of 3; then the rest is scored once."""
    monkeypatch.setattr(work_module, "PART_FRAMES", 3)
    bag, work, asked = make_bag(frames=7), Work(tmp_path / "parts", "a"), []

    def stop_after(items, total, limit):
        for done, item in enumerate(items, start=1):
            asked.append(item)
            yield item
            if done == limit:
                raise KeyboardInterrupt

    track = partial(stop_after, limit=4)
    first = evaluate_bag(bag, far, CONFIG, track=track, work=work)
    assert first.interrupted == "interrupted after 4 of 7 frames"
    assert first.summary.frames == 4 and len(first.worst) == 3
    assert asked == [0, 1, 2, 3]
    second = evaluate_bag(bag, far, CONFIG, track=partial(stop_after, limit=99), work=work)
    assert asked == list(range(7)) and not second.interrupted
    assert_same(second, evaluate_bag(bag, far, CONFIG))
    with pytest.raises(KeyboardInterrupt):
        evaluate_bag(bag, interrupted, CONFIG, work=Work(tmp_path / "other"))


def interrupted(rgb, camera):
    raise KeyboardInterrupt


def test_another_evaluation_starts_anew(make_bag, tmp_path, caplog):
    bag, folder = make_bag(frames=3), tmp_path / "parts"
    evaluate_bag(bag, far, CONFIG, work=Work(folder, "a"))
    other = evaluate_bag(bag, partial(far, factor=1.2), CONFIG, work=Work(folder, "b"))
    assert other.summary.model.abs_rel == pytest.approx(0.2, rel=1e-5)
    assert "is of another evaluation and is started anew" in caplog.text
    again = evaluate_bag(bag, interrupted, CONFIG, work=Work(folder, "b"))
    assert again.summary == other.summary and again.interrupted
    (part,) = folder.glob("0*.npz")
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(DataError, match="delete it and try again"):
        evaluate_bag(bag, far, CONFIG, work=Work(folder, "b"))


def test_several_processes_give_the_same_bits(make_bag, tmp_path, monkeypatch):
    bag = make_bag(frames=7)
    alone = evaluate_bag(bag, far, CONFIG)
    counted = []
    together = evaluate_bag(
        bag,
        far,
        CONFIG,
        track=lambda items, total: counted.extend([total, *items]) or [],
        work=Work(tmp_path / "parts", "", 2, open_far),
    )
    assert_same(together, alone)
    assert (counted[0], len(counted)) == (7, 8)
    with pytest.raises(ConfigError, match="open_predictor"):
        Work(tmp_path, workers=2)


@contextmanager
def open_broken():
    def broken(rgb, camera):
        return np.ones((6, 8))

    yield broken


def test_an_error_in_a_process_is_that_of_the_evaluation(make_bag, tmp_path):
    with pytest.raises(ShapeError, match=r"\(6, 8\)"):
        evaluate_bag(make_bag(), far, CONFIG, work=Work(tmp_path / "parts", "", 2, open_broken))


@pytest.fixture
def recorded(make_bag):
    """Return a function that writes a bag with depth which is too large by a factor."""
    bags = []

    def record(frames, factor):
        def extra(writer, stamp_ns):
            depth_m = factor * wall_depth((stamp_ns - START_NS) // PERIOD_NS)
            writer.write_depth("/depth_node/depth/image", stamp_ns, "camera", depth_m)

        bags.append(make_bag(f"bag{len(bags)}", frames=frames, extra=extra))
        return bags[-1]

    return record


def arguments(bags, out, *more):
    depth = ["--depth-topic", "/depth_node/depth/image"]
    return ["evaluate", *map(str, bags), *depth, "--out", str(out), *more]


class TestSeveralRecordings:
    def test_each_has_a_report_and_all_a_table(self, recorded, tmp_path, capsys):
        bags = [recorded(2, 1.1), recorded(4, 1.3)]
        assert main(arguments(bags, tmp_path / "out")) == 0
        names = folder_names(bags)
        assert main(arguments(bags[1:], tmp_path / "single")) == 0
        single = json.loads((tmp_path / "single/scores.json").read_text())["scores"]
        record = json.loads((tmp_path / "out/scores.json").read_text())
        assert [(r["name"], r["frames"]) for r in record["recordings"]] == [
            (names[0], 2),
            (names[1], 4),
        ]
        assert record["recordings"][1]["scores"] == single["model"]
        # Images of equal weight: two with 10 %, four with 30 %.
        assert record["scores"]["model"]["abs_rel"] == pytest.approx(
            (2 * 0.1 + 4 * 0.3) / 6, rel=1e-5
        )
        for name in names:
            assert (tmp_path / "out" / name / "report.html").exists()
            assert f'href="{name}/report.html"' in (tmp_path / "out/report.html").read_text()
        assert not list(tmp_path.glob("*.partial"))
        gate = ["--fail-if", "abs_rel>0.2"]
        assert main(arguments(bags, tmp_path / "out", *gate)) == 3
        assert "all frames" in capsys.readouterr().out

    def test_names_differ(self):
        assert folder_names([Path("a/bag"), Path("b/bag"), Path("c")]) == ["bag", "bag_2", "c"]

    def test_one_bag_only_where_several_make_no_sense(self, recorded, tmp_path, capsys):
        bags = [recorded(1, 1.1), recorded(1, 1.2)]
        assert main(arguments(bags, tmp_path / "out", "--depth-bag", str(bags[0]))) == 1
        assert "--depth-bag is for one BAG" in capsys.readouterr().err


SLOW = """
import sys, time
from mono_depth_ros.cli.main import main
from mono_depth_ros.evaluation.recorded import RecordedDepth

fast = RecordedDepth.predict_frame


def slow(self, frame):
    with open("{calls}", "a") as file:
        file.write("x")
    time.sleep(0.2)
    return fast(self, frame)


RecordedDepth.predict_frame = slow
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_writes_the_report_of_what_is_done(recorded, tmp_path, number, workers):
    """The real command; every frame waits, so that the signal comes in the middle."""
    bag, out = recorded(60, 1.1), tmp_path / "out"
    calls = tmp_path / "calls"
    calls.touch()
    (tmp_path / "slow.py").write_text(SLOW.format(calls=calls))
    command = [sys.executable, str(tmp_path / "slow.py")]
    command += arguments([bag], out, "--workers", str(workers))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as run:
        deadline = time.monotonic() + 60
        while calls.stat().st_size < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        run.send_signal(number)
        printed, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert "of 60 frames; the same command goes on from there" in printed
    record = json.loads((out / "scores.json").read_text())
    assert record["interrupted"] in printed and 0 < record["scores"]["frames"] < 60
    assert "Not complete: interrupted after" in (out / "report.html").read_text()
    assert main(arguments([bag], out)) == 0
    assert not (tmp_path / "out.partial").exists()
    with (out / "per_frame.csv").open() as file:
        assert len(list(csv.reader(file))) == 61
    assert "interrupted" not in json.loads((out / "scores.json").read_text())


def test_nothing_is_left_of_a_recording_without_scores(make_bag, tmp_path):
    def refusing(rgb, camera):
        raise DecodingError("no")

    with pytest.raises(BagError, match="none of 3 frames is left"):
        evaluate_bag(make_bag(frames=3), refusing, CONFIG, work=Work(tmp_path / "parts"))
