"""What judges which training split, and what is taken out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.manifest import Manifest, Record
from training.prepare.leakage import held_out_for, without_leaks

KITTI = (
    "eigen_train",
    "eigen_validation",
    "eigen_train_all",
    "eigen_test",
    "eigen_test_velodyne",
    "benchmark_train",
    "benchmark_validation",
    "benchmark_test",
    "selection",
    "list_mine_train",
    "list_mine_test",
    "list_mine_val",
    "list_benchmark",
)
NYU = (
    "train",
    "validation",
    "test",
    "train795",
    "validation795",
    "train_all",
    "train795_all",
)


@pytest.mark.parametrize(
    ("training", "splits", "judges"),
    [
        ("eigen_train", KITTI, ("eigen_validation", "eigen_test", "eigen_test_velodyne")),
        ("eigen_train_all", KITTI, ("eigen_test", "eigen_test_velodyne")),
        ("benchmark_train", KITTI, ("benchmark_validation", "benchmark_test", "selection")),
        (
            "list_mine_train",
            KITTI,
            ("eigen_test", "eigen_test_velodyne", "list_mine_test", "list_mine_val"),
        ),
        ("list_latest", KITTI, ("eigen_test", "eigen_test_velodyne")),
        ("list_benchmark", KITTI, ("benchmark_test", "selection")),
        ("list_eigen_benchmark", KITTI, ("eigen_test", "eigen_test_velodyne")),
        ("list_mine_val", KITTI, ()),
        ("list_kitti_eigen_test", KITTI, ()),
        ("eigen_test", KITTI, ()),
        ("selection", KITTI, ()),
        ("train", NYU, ("validation", "test", "validation795")),
        ("train795", NYU, ("validation", "test", "validation795")),
        ("train_all", NYU, ("test",)),
        ("train795_all", NYU, ("test",)),
        ("train200", ("train", "train200", "validation"), ("validation",)),
        ("list", ("list", "test"), ()),
    ],
)
def test_which_splits_judge_a_training_split(training, splits, judges):
    assert held_out_for(training, dict.fromkeys(splits)) == judges


def record(name, group):
    return Record(name, group, f"{name}.png", (1.0, 1.0, 0.0, 0.0))


def manifest_of(**splits):
    return Manifest("nyu", "a test", Path("/data"), splits)


def test_a_group_in_both_leaves_training():
    kitchen, bath, study = record("a", "kitchen"), record("b", "bath"), record("c", "study")
    second = record("d", "kitchen")
    manifest = manifest_of(train=(kitchen, bath, second), test=(record("e", "kitchen"), study))
    clean = without_leaks(manifest, {})
    assert clean.splits["train"] == (bath,)
    assert clean.splits["test"] == manifest.splits["test"]
    assert clean.problems == ("train: 2 frames left out, kitchen is in test too",)


def test_a_picture_stored_twice_leaves_training():
    mine, other, twin = record("a", "kitchen"), record("b", "kitchen"), record("c", "bath")
    digests = {mine: "1234", other: "5678", twin: "1234"}
    clean = without_leaks(manifest_of(train=(mine, other), validation=(twin,)), digests)
    assert clean.splits["train"] == (other,)
    assert clean.problems == ("train: 1 frame left out, a.png is the picture c.png of validation",)
    unread = without_leaks(manifest_of(train=(mine, other), validation=(twin,)), {})
    assert unread.problems == ()


def test_a_list_loses_the_test_drives_and_the_line_says_how_to_keep_them():
    mine, theirs = record("a", "drive_0001"), record("b", "drive_0002")
    manifest = manifest_of(list_mine=(mine, theirs), list_my_test=(theirs,), eigen_test=(theirs,))
    clean = without_leaks(manifest, {})
    assert clean.splits == {
        "list_mine": (mine,),
        "list_my_test": (theirs,),
        "eigen_test": (theirs,),
    }
    assert clean.problems == (
        "list_mine: 1 frame left out, drive_0002 is in eigen_test too; a list to test on has "
        "`test` or `val` in its name",
    )


def test_two_ways_to_split_may_cross():
    frame = record("a", "drive_0002")
    manifest = manifest_of(benchmark_train=(frame,), eigen_test=(frame,))
    assert without_leaks(manifest, {frame: "12"}) == manifest


@given(
    training=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=12, unique=True),
    judging=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=12, unique=True),
)
def test_nothing_is_shared_afterwards_and_nothing_else_is_lost(training, judging):
    def records(split, rows):
        return tuple(record(f"{split}{i}", f"g{group}") for i, (group, _) in enumerate(rows))

    train, test = records("a", training), records("b", judging)
    pictures = [str(picture) for _, picture in (*training, *judging)]
    digests = dict(zip((*train, *test), pictures, strict=True))
    kept = without_leaks(manifest_of(train=train, test=test), digests).splits["train"]
    groups, images = {r.group for r in test}, {digests[r] for r in test}
    assert kept == tuple(r for r in train if r.group not in groups and digests[r] not in images)
