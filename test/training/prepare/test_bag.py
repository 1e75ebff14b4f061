"""Extracted bags as a data set: what is validation, what a damaged folder costs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from layouts.bag import PERIOD_NS, START_NS, write_bag
from layouts.stereo2015 import street_depth

from mono_depth_ros.errors import DataError
from mono_depth_ros.evaluation.extract import ExtractConfig, extract_bag
from training.datasets.reader import PreparedReader
from training.prepare.bag import find, prepare
from training.prepare.checks import check

SIZE = (48, 80)


def extract(folder, name, frames, seed=0):
    write_bag(folder / "bags" / name, frames, SIZE, seed)
    out = folder / "extracted" / name
    extract_bag(folder / "bags" / name, out, ExtractConfig(min_change=0.0, occlusion="none"))
    return out


def numbers(records):
    return [(int(record.name.rpartition("_")[2]) - START_NS) // PERIOD_NS for record in records]


@pytest.mark.parametrize(
    ("frames", "held", "trained"),
    [
        # Frames at 0, 0.5, ..., 9.5 s: 2 held out from 9 s on, the gap is 0.95 s.
        (20, [18, 19], 17),
        # Up to 20.5 s: 4 held out from 19 s on, the gap is 2 s, and 17 s lies in it.
        (42, [38, 39, 40, 41], 34),
        (2, [1], 1),
    ],
)
def test_one_recording_is_cut_by_time(tmp_path, frames, held, trained):
    manifest = prepare(extract(tmp_path, "drive", frames), tmp_path / "out")
    assert numbers(manifest.records("validation")) == held
    assert numbers(manifest.records("train")) == list(range(trained))
    assert manifest.records("train")[0].group == "drive"
    assert manifest.records("validation")[0].group == "drive (end)"
    assert check(manifest).problems == ()


def test_pictures_lead_back_to_what_was_recorded(tmp_path):
    manifest = prepare(extract(tmp_path, "drive", 8), tmp_path / "out")
    record = manifest.records("train")[1]
    assert record.intrinsics == (48.0, 48.0, 40.0, 24.0)
    reader = PreparedReader(manifest)
    assert reader.image(record).shape == (*SIZE, 3)
    depth_m = reader.depth_m(record.depth, SIZE)
    expected_m = street_depth(*SIZE, seed=1)[::3, ::2]
    np.testing.assert_allclose(depth_m[::3, ::2], expected_m, atol=0.51 / 256)
    assert np.isfinite(depth_m).sum() == expected_m.size


def test_of_several_recordings_whole_ones_are_held_out(tmp_path):
    for seed, name in ((0, "a"), (10, "b"), (20, "c")):
        folder = extract(tmp_path, name, 2, seed)
    assert find(folder.parent).recordings == tuple(sorted(folder.parent.iterdir()))
    manifest = prepare(folder.parent, tmp_path / "out")
    assert {record.group for record in manifest.records("train")} == {"a", "b"}
    assert {record.group for record in manifest.records("validation")} == {"c"}
    assert "validation is c" in manifest.layout
    assert check(manifest).problems == ()


def test_damage_is_named(tmp_path):
    folder = extract(tmp_path, "drive", 4)
    frames = folder / "frames.jsonl"
    lines = frames.read_text().splitlines()
    summary = json.loads((folder / "extract.json").read_text())
    (folder / "extract.json").write_text(json.dumps(summary | {"damage": "bag.mcap ends"}))
    broken = [lines[0], lines[1][:20], json.dumps({"stamp_ns": 3}), lines[3]]
    frames.write_text("\n".join(broken))
    problems = prepare(folder, tmp_path / "out").problems
    assert problems[0] == "drive ends early, its bag was damaged: bag.mcap ends"
    assert problems[1].startswith("drive/frames.jsonl line 2 left out: JSONDecodeError")
    assert problems[2].startswith("drive/frames.jsonl line 3 left out: KeyError('intrinsics')")
    frames.unlink()
    with pytest.raises(DataError, match=r"cannot read .*frames\.jsonl"):
        prepare(folder, tmp_path / "out")
    (folder / "extract.json").write_text(json.dumps(summary | {"format": "mono_depth_extract 9"}))
    with pytest.raises(DataError, match="has format mono_depth_extract 9, need"):
        prepare(folder, tmp_path / "out")
    (folder / "extract.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        prepare(folder, tmp_path / "out")


def test_a_single_frame_and_no_recording(tmp_path):
    splits = prepare(extract(tmp_path, "drive", 1), tmp_path / "out").splits
    assert (len(splits["train"]), splits["validation"]) == (1, ())
    assert find(tmp_path / "bags") is None
    with pytest.raises(DataError, match="what `mono_depth extract BAG OUT` wrote"):
        prepare(tmp_path / "bags", tmp_path / "out")
