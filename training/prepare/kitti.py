"""KITTI as a prepared data set: Eigen's split, the depth benchmark, and the user's own lists.

Splits, each written if any of its files is there:

* eigen_train_all: the 23,158 left images of the rule in `kitti_split`, with annotated maps;
  eigen_train and eigen_validation are its parts.
* eigen_test: 697 images, 652 with annotated maps (protocols kitti-garg, kitti-garg-kb and
  kitti-eigen).
* eigen_test_velodyne: the same images with the projected LiDAR sweep (protocol kitti-velodyne).
* benchmark_train, benchmark_validation: every annotated map of both cameras, 85,898 and 6,852,
  parted as KITTI's train/ and val/ are; where the user merged them, by the 13 drives of val/.
* selection: val_selection_cropped, 1000 crops of val/ (protocol kitti-benchmark).
* benchmark_test: test_depth_prediction_anonymous, 500 crops without depth, for the server.
* list_<name>: the user's list files.

What may be trained on what: no drive is in both eigen_train_all and eigen_test. But of the lists
of the benchmark that Monodepth2 ships, 29,416 of 72,084 training lines and 4,922 of 6,060
validation lines lie in drives of eigen_test, so a network that trained on the benchmark cannot be
scored on eigen_test. Five training drives of eigen_train_all are in val/; they are
eigen_validation, so eigen_train is clean of val/ and of the selection, and eigen_train_all is not.
From a list to train on, the checks take the frames that Eigen's test drives hold; see `leakage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mono_depth_ros.errors import DataError
from training.manifest import Manifest, Record, hold_out
from training.prepare import not_found
from training.prepare.kitti_files import CAMERA_NAMES, Files
from training.prepare.kitti_gather import Gatherer, Wanted
from training.prepare.kitti_layout import ANNOTATED_FOLDERS, RAW_FOLDERS, Layout, find
from training.prepare.kitti_lists import is_list_line, lists_beside, split_name, take_list
from training.prepare.kitti_selection import anonymous_records, selection_records
from training.prepare.kitti_split import (
    OFFICIAL_VAL_DRIVES,
    VALIDATION_DRIVES,
    Frame,
    eigen_test_frames,
    eigen_test_frames_without_map,
    eigen_training_frames,
)
from training.prepare.lists import unused_lists

__all__ = ["find", "prepare"]

Splits = dict[str, tuple[Record, ...]]


def prepare(root: Path, out: Path, lists: Sequence[Path] = ()) -> Manifest:
    """List the records of every split that is there; nothing is written, no picture is opened.

    Args:
        root: holds raw drives, annotated maps, or one of the cropped sets; see `kitti_layout`.
        out: not needed, KITTI's files are used where they lie.
        lists: list files besides those that lie in the root; see `kitti_lists`.

    Raises:
        DataError: nothing of KITTI is there, a list that was asked for cannot be read, or there are
            no raw drives for it.
    """
    layout = find(root)
    if layout is None:
        raise not_found(root, "kitti")
    gatherer = Gatherer(Files(layout))
    problems = _absent(layout)
    splits: Splits = {}
    used: list[Path] = []
    if layout.raw is not None:
        splits |= _eigen(gatherer)
        splits |= _benchmark(gatherer) if gatherer.files.annotated_drives() else {}
        used = _each_once([*lists_beside(layout.root), *lists])
        listed, unreadable = _listed(gatherer, used)
        splits |= listed
        problems += unreadable
    elif lists:
        raise DataError(f"{layout.root} has no raw drives for the frames of {lists[0]}")
    for name, folder, read in (
        ("selection", layout.selection, selection_records),
        ("benchmark_test", layout.anonymous, anonymous_records),
    ):
        if folder is not None:
            splits[name], left_out = read(layout.root, folder)
            problems += left_out
    problems += gatherer.problems
    problems += _not_told(splits, problems)
    splits = {name: records for name, records in splits.items() if records}
    words = filter(None, (str(layout), unused_lists([layout.root], used, is_list_line)))
    return Manifest("kitti", "; ".join(words), layout.root, splits, problems=tuple(problems))


def _eigen(gatherer: Gatherer) -> Splits:
    unmapped = eigen_test_frames_without_map()
    test = eigen_test_frames()
    maps = bool(gatherer.files.annotated_drives())
    splits: Splits = {
        "eigen_test": gatherer.take(
            "eigen_test",
            [Wanted(f, "none" if f in unmapped or not maps else "map if there") for f in test],
        ),
        "eigen_test_velodyne": gatherer.take(
            "eigen_test_velodyne", [Wanted(frame, "sweep") for frame in test]
        ),
    }
    if maps:
        pool = gatherer.take("eigen_train_all", [Wanted(f) for f in eigen_training_frames()])
        training, validation = hold_out(pool, VALIDATION_DRIVES)
        splits |= {
            "eigen_train": training,
            "eigen_validation": validation,
            "eigen_train_all": pool,
        }
    return splits


def _benchmark(gatherer: Gatherer) -> Splits:
    files = gatherer.files
    training: list[Wanted] = []
    validation: list[Wanted] = []
    for drive in files.annotated_drives():
        part = validation if drive in OFFICIAL_VAL_DRIVES else training
        for camera in CAMERA_NAMES:
            numbers = files.annotated_numbers(drive, camera)
            part += [Wanted(Frame(drive, number), "map", camera) for number in numbers]
    return {
        name: gatherer.take(name, wanted)
        for name, wanted in (("benchmark_train", training), ("benchmark_validation", validation))
    }


def _listed(gatherer: Gatherer, paths: Sequence[Path]) -> tuple[Splits, list[str]]:
    splits: Splits = {}
    problems: list[str] = []
    for path in paths:
        name = split_name(path)
        if name in splits:
            raise DataError(f"two lists are called {path.stem}; rename {path}")
        splits[name], unreadable = take_list(gatherer, path)
        problems += unreadable
    return splits, problems


def _absent(layout: Layout) -> list[str]:
    """Return a line if one half of KITTI is not there at all."""
    if layout.raw is None:
        places = ", ".join(name or "the root" for name in RAW_FOLDERS)
        return [
            f"no raw drives (<date>/<drive>_sync) in {places}: no split of Eigen or the benchmark"
        ]
    if not layout.annotated and not layout.beside_images:
        places = ", ".join(name or "the root" for name in ANNOTATED_FOLDERS)
        return [
            f"no annotated maps (<drive>_sync/proj_depth/groundtruth) in {places}, in train or val "
            "below them, or in the raw drives: nothing to train on"
        ]
    return []


def _not_told(splits: Splits, problems: Sequence[str]) -> list[str]:
    """Return a line for each empty split that no problem is about yet."""
    told = {problem.partition(" ")[0].rstrip(":") for problem in problems}
    return [
        f"{name} is not written: none of its drives is here"
        for name, records in splits.items()
        if not records and name not in told
    ]


def _each_once(paths: Sequence[Path]) -> list[Path]:
    return list({path.absolute(): path for path in paths}.values())
