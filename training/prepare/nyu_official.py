"""The official frames of NYU Depth V2: from the .mat, or from what somebody else made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from mono_depth_ros.errors import DataError
from training.datasets.reader import read_picture
from training.manifest import DepthFile, LabelSet, Record
from training.prepare.nyu_frames import Pair, files_below, is_scene, scene_of
from training.prepare.nyu_labelled import DEPTH_SCALE, make_pictures, open_labelled, picture
from training.prepare.nyu_labels import read_classes
from training.prepare.nyu_layout import TEST_LISTS, Layout, find_list, frame_folders
from training.prepare.nyu_mat import CLASSES, SPLITS, Tables, read_splits
from training.prepare.nyu_part import INTRINSICS, Part, pairs_of, path_from

_LOOKS = 8


@dataclass(frozen=True, slots=True)
class Official:
    """The official frames.

    Attributes:
        train795: the labelled training frames.
        test: the test frames.
        label_set: of both.
    """

    train795: Part
    test: Part
    label_set: LabelSet = ""


def official_frames(layout: Layout, out: Path, tables: Tables) -> Official:
    """Return the frames of the .mat, or without it those that somebody else made from it."""
    if layout.labelled is None:
        return _official_folders(layout)
    splits_file = layout.labelled.with_name(SPLITS)
    if splits_file.is_file():
        return _labelled(layout, layout.labelled, out / "labelled", tables)
    problem = (
        f"{layout.labelled} is not used: {SPLITS}, which says what its test frames are, belongs "
        f"in {splits_file.parent}"
    )
    if not layout.has_pictures:
        raise DataError(problem)
    official = _official_folders(layout)
    return replace(
        official, test=replace(official.test, problems=(problem, *official.test.problems))
    )


def _labelled(layout: Layout, file: Path, folder: Path, tables: Tables) -> Official:
    splits = read_splits(file.with_name(SPLITS), tables)
    classes_file = file.with_name(CLASSES)
    classes = read_classes(classes_file, tables) if classes_file.is_file() else None
    problems: tuple[str, ...] = ()
    if classes is None:
        problems = (f"no labels: {CLASSES} belongs in {classes_file.parent}",)
    with open_labelled(file) as frames:
        if len(frames) != len(splits.train) + len(splits.test):
            raise DataError(
                f"{file} has {len(frames)} frames, {SPLITS} beside it is for "
                f"{len(splits.train) + len(splits.test)}; fetch both again"
            )
        scenes = frames.scenes()
        make_pictures(frames, folder, classes)
    words = (
        f"{len(splits.test)} test and {len(splits.train)} labelled training frames of {file}, raw "
        f"and filled depth, {'without labels' if classes is None else '40 classes'}"
    )
    train, test = (
        tuple(
            _labelled_record(layout.root, folder, index, scenes[index], classes is not None)
            for index in indices
        )
        for indices in (splits.train, splits.test)
    )
    label_set: LabelSet = "" if classes is None else "nyu40"
    return Official(Part(train, words, problems), Part(test, words, problems), label_set)


def _labelled_record(root: Path, folder: Path, index: int, scene: str, with_labels: bool) -> Record:
    paths = {
        kind: path_from(picture(folder, kind, index), root)
        for kind in ("rgb", "depth", "filled", "labels40")
    }
    return Record(
        name=f"labelled/{index:05d}",
        group=scene,
        image=paths["rgb"],
        intrinsics=INTRINSICS,
        depth=DepthFile(paths["depth"], scale=DEPTH_SCALE),
        filled=DepthFile(paths["filled"], scale=DEPTH_SCALE),
        labels=paths["labels40"] if with_labels else "",
    )


def _official_folders(layout: Layout) -> Official:
    test_list = find_list(layout, layout.root, TEST_LISTS)
    test = _rooms(layout, layout.test, test_list)
    return Official(_without(_rooms(layout, layout.train795, None), test), test)


def _without(train795: Part, test: Part) -> Part:
    """Leave out training frames that are test frames, too; both have their number as name."""
    tested = {record.name for record in test.records}
    problems = tuple(
        f"train795_all: 1 frame left out, {record.image} is in test too, its number is there"
        for record in train795.records
        if record.name in tested
    )
    records = tuple(record for record in train795.records if record.name not in tested)
    return replace(train795, records=records, problems=(*train795.problems, *problems))


def _rooms(layout: Layout, folder: Path | None, list_file: Path | None) -> Part:
    if folder is None:
        return Part()
    is_test = folder == layout.test
    # Beside the scenes of the depth toolbox only types of room are test frames.
    names = [name for name in frame_folders(folder) if not (is_test and is_scene(name))]
    found = pairs_of(files_below(folder, names), list_file)
    filled = _without_holes(found.pairs)
    records = tuple(_room_record(layout.root, pair, filled and is_test) for pair in found.pairs)
    words = (
        f"{len(records)} {'test' if is_test else 'labelled training'} frames in {folder}, "
        f"{'filled' if filled else 'raw'} depth, no labels"
        f"{'' if is_test or all(map(is_scene, names)) else ', maybe of scenes held out'}"
    )
    return Part(records, words, found.problems, list_file=list_file)


def _room_record(root: Path, pair: Pair, filled: bool) -> Record:
    """Return a frame; without the .mat only the type of its room is known, not its scene."""
    depth = DepthFile(path_from(pair.depth, root), scale=DEPTH_SCALE)
    return Record(
        name=f"labelled/{pair.number:05d}",
        group=scene_of(pair.folder)
        if is_scene(pair.folder)
        else path_from(pair.image.parent, root),
        image=path_from(pair.image, root),
        intrinsics=INTRINSICS,
        depth=None if filled else depth,
        filled=depth if filled else None,
    )


def _without_holes(pairs: Sequence[Pair]) -> bool:
    """Return whether a look into some depths finds filled ones; both are passed around as test set.

    The sensor leaves holes in every picture, at its border at the latest.
    """
    codes = []
    for pair in pairs[:: max(1, len(pairs) // _LOOKS)][:_LOOKS]:
        try:
            codes.append(read_picture(pair.depth, cv2.IMREAD_UNCHANGED))
        except DataError:
            continue
    return bool(codes) and all(code.all() for code in codes)
