"""Which profiles a data set has, and what they need."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from small_data import info, make_data

from mono_depth_ros.errors import ConfigError, DataError
from training.evaluation.predict import Answer
from training.evaluation.profiles import Job, default_profiles, describe, make_jobs, read_profile
from training.evaluation.report import evaluation_lines
from training.evaluation.run import evaluate
from training.manifest import DepthFile, Manifest, Record


def record(name, depth="depth", filled=None, labels=""):
    return Record(
        name=name,
        group="g",
        image=f"{name}.png",
        intrinsics=(1.0, 1.0, 0.0, 0.0),
        depth=DepthFile(depth) if depth else None,
        filled=DepthFile(filled) if filled else None,
        labels=labels,
    )


def kitti():
    return Manifest(
        "kitti",
        "",
        Path("/"),
        {
            "eigen_test": (record("a"), record("b", depth=None)),
            "eigen_test_velodyne": (record("a", depth="scan_a"), record("b", depth="scan_b")),
            "selection": (),
        },
    )


def test_a_cap_in_the_name_caps_truth_and_prediction():
    profile = read_profile("kitti-garg@50", "kitti")
    assert profile.name == "kitti-garg@50"
    assert profile.protocol.cap_m == 50.0
    assert profile.protocol.clamp_m == (1e-3, 50.0)
    assert profile.protocol.crop == "garg" and profile.split == "eigen_test"
    assert read_profile("kitti-garg", "kitti").protocol.cap_m == 80.0
    assert read_profile("kitti-benchmark", "kitti").protocol.cap_m == math.inf
    assert read_profile("lidar@30", "bag").protocol.clamp_m is None


@pytest.mark.parametrize(
    "name", ["kitti-garg@", "kitti-garg@far", "kitti-garg@0", "nyu-eigen", "x"]
)
def test_names_that_are_none(name):
    with pytest.raises(ConfigError, match=r"metres|choose from"):
        read_profile(name, "kitti")


def test_the_filled_truth_belongs_to_its_own_profile():
    both = record("a", depth="raw", filled="dense")
    assert read_profile("nyu-eigen", "nyu").reference(both).path == "raw"
    assert read_profile("nyu-eigen-filled", "nyu").reference(both).path == "dense"


def test_profiles_without_their_split_are_named():
    profiles, absent = default_profiles(kitti())
    assert [p.name for p in profiles] == [
        "kitti-garg",
        "kitti-garg@50",
        "kitti-garg-kb",
        "kitti-eigen",
        "kitti-velodyne",
    ]
    assert absent == ["kitti-benchmark"]
    with pytest.raises(DataError, match="nothing to score against"):
        default_profiles(Manifest("nyu", "", Path("/"), {"train": (record("a"),)}))


def test_an_image_of_two_splits_is_one_job():
    profiles, _ = default_profiles(kitti())
    first, second = make_jobs(kitti(), profiles)
    assert first.record.name == "a" and second.record.name == "b"
    assert first.references["kitti-garg"].path == "depth"
    assert first.references["kitti-velodyne"].path == "scan_a"
    # One of the 45 frames without an annotated map: scored against its scan alone.
    assert {name: file.path for name, file in second.references.items()} == {
        "kitti-velodyne": "scan_b"
    }


def test_images_with_nothing_to_compare_are_no_jobs():
    rows = (record("a"), record("b", depth=None), record("c", depth=None, labels="c_labels.png"))
    manifest = Manifest("bag", "", Path("/"), {"validation": rows})
    jobs = make_jobs(manifest, default_profiles(manifest)[0])
    assert [job.record.name for job in jobs] == ["a", "c"]


def test_asking_for_what_is_not_there_is_an_error():
    with pytest.raises(DataError, match="selection"):
        make_jobs(kitti(), [read_profile("kitti-benchmark", "kitti")])
    no_depth = Manifest("nyu", "", Path("/"), {"test": (record("a", filled=None),)})
    with pytest.raises(DataError, match="no image of split test has the truth"):
        make_jobs(no_depth, [read_profile("nyu-eigen-filled", "nyu")])


def test_another_split_in_place_of_the_profiles_own():
    manifest = Manifest("nyu", "", Path("/"), {"validation": (record("a"),)})
    profiles, absent = default_profiles(manifest, "validation")
    assert [p.name for p in profiles] == ["nyu-eigen"] and absent == ["nyu-eigen-filled"]
    assert profiles[0].split == "validation"


def test_the_description_says_what_numbers_depend_on():
    text = describe(read_profile("kitti-garg-kb@50", "kitti"))
    for part in ("kb frame", "crop garg", "0.001 to 50 m, ends excluded", "clamped to 0.001-50"):
        assert part in text


class TestLabelsAlone:
    """Cityscapes without its disparity is scored for classes."""

    def manifest(self, *records):
        return Manifest("cityscapes", "", Path("/"), {"validation": records}, "cityscapes")

    def test_images_with_labels_are_looked_at(self):
        labelled = record("a", depth=None, labels="labels")
        manifest = self.manifest(labelled, record("b", depth=None))
        (profile,), absent = default_profiles(manifest)
        assert (profile.name, profile.split, absent) == ("lidar", "validation", [])
        assert make_jobs(manifest, [profile]) == [Job(labelled, {})]

    def test_another_truth_is_not_overlooked(self):
        manifest = self.manifest(record("a", depth=None, filled="dense", labels="labels"))
        with pytest.raises(DataError, match="nothing to score against"):
            default_profiles(manifest)
        with pytest.raises(DataError, match="choose another profile"):
            make_jobs(manifest, [read_profile("lidar", "cityscapes")])

    def test_their_classes_are_scored(self, tmp_path):
        labels = np.array([[0, 0, 0, 1], [1, 1, 1, 255]], np.uint8)
        rows = [("a", np.zeros((2, 4), np.uint8), None, labels)]
        manifest = make_data(tmp_path, "cityscapes", {"validation": rows}, "cityscapes")
        classes = ("road", "sidewalk", *(f"other {n}" for n in range(17)))
        about = info(settings={"semantics": "cityscapes"}, classes=classes)
        answer = Answer(np.ones((2, 4), np.float32), np.zeros((2, 4), np.int16))
        evaluation = evaluate(lambda *_: answer, manifest, info=about)
        # All is called road: 3 of 7 pixels are. IoU 3/7 and 0.
        assert evaluation.semantics.pixel_accuracy == pytest.approx(3 / 7)
        assert evaluation.semantics.mean_iou == pytest.approx(3 / 14)
        lines = "\n".join(evaluation_lines(evaluation, "tiny"))
        assert "pixel accuracy 0.4286" in lines
        assert "lidar: depth of cityscapes" in lines and "1 without truth" in lines
