"""NYU Depth V2 in the layouts that people have, as one prepared data set.

Splits: `test` is the official 654 frames. `train` and `validation` divide `train_all` by scenes.
`train795` and `validation795` divide `train795_all`, the official labelled training frames, by the
same scenes.

Validation takes scenes in the order of the SHA-256 of their names until they hold a twentieth of
the frames of `train_all`. All parts of a scene (kitchen_0028a, kitchen_0028b) go together.

Pictures stay where they are, except those of the .mat: they are written below the prepared data.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from mono_depth_ros.errors import DataError
from mono_depth_ros.world.rooms import ROOM_CAMERA
from training.datasets.reader import read_picture
from training.manifest import DepthFile, LabelSet, Manifest, Record, hold_out
from training.prepare import not_found
from training.prepare.nyu_frames import (
    Pair,
    Pairs,
    all_pairs,
    files_below,
    is_scene,
    listed_pairs,
    scene_of,
)
from training.prepare.nyu_labelled import DEPTH_SCALE, make_pictures, open_labelled, picture
from training.prepare.nyu_labels import read_classes
from training.prepare.nyu_layout import (
    ACAN,
    TEST_LISTS,
    TRAIN_LISTS,
    Layout,
    find,
    find_list,
    frame_folders,
)
from training.prepare.nyu_mat import CLASSES, PUBLISHED, SPLITS, Tables, read_splits

__all__ = ("find", "held_out_scenes", "prepare")

VALIDATION_SHARE = 0.05
# ACAN's PNG, training and test: metres = code / 256.
ACAN_SCALE = 256.0

_PUBLISHED_LINES = 24_231
_LOOKS = 8
_NUMBERED = re.compile(r"(\d+)\.(?:jpe?g|png)")
_INTRINSICS = (ROOM_CAMERA.fx, ROOM_CAMERA.fy, ROOM_CAMERA.cx, ROOM_CAMERA.cy)


@dataclass(frozen=True, slots=True)
class Part:
    """Frames of one source.

    Attributes:
        records: in the order of their list.
        words: what was found, for the report.
        problems: what was left out, one line each.
        held_out: groups for validation, where the source and not their names decides.
    """

    records: tuple[Record, ...] = ()
    words: str = ""
    problems: tuple[str, ...] = ()
    held_out: frozenset[str] = frozenset()


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


def prepare(
    root: Path, out: Path, *, train_list: Path | None = None, tables: Tables = PUBLISHED
) -> Manifest:
    """List the frames, and make the pictures of the .mat that are not made yet.

    Args:
        root: folder that `find` recognises.
        out: gets labelled/ with the pictures of the .mat.
        train_list: which frames of the scenes are for training; None looks for the usual names in
            the data set's folder, beside it, and in train_test_inputs/, splits/ and filenames/
            there. Without any list all frames are.
        tables: what splits.mat and classMapping40.mat must hold.

    Raises:
        DataError: there is no NYU Depth V2, the list or a .mat file is damaged or not the published
            one, or splits.mat is missing and nothing but nyu_depth_v2_labeled.mat is there.
    """
    layout = find(root)
    if layout is None:
        raise not_found(root, "nyu")
    official = _official(layout, out.resolve(), tables)
    training = _training(layout, root.resolve(), train_list)
    everything = training.records or official.train795.records
    by_name = official.train795.records if training.held_out else everything
    held = training.held_out | held_out_scenes(by_name)
    splits = _splits(everything, official, held)
    parts = (training, official.train795, official.test)
    return Manifest(
        dataset="nyu",
        layout="; ".join(
            (
                f"NYU Depth V2 in {layout.root}",
                *dict.fromkeys(part.words for part in parts if part.words),
                _held_words(everything, held),
            )
        ),
        root=layout.root,
        splits={name: records for name, records in splits.items() if records},
        label_set=official.label_set,
        problems=tuple(dict.fromkeys(line for part in parts for line in part.problems)),
    )


def held_out_scenes(records: Sequence[Record]) -> frozenset[str]:
    """Return the scenes for validation; the module's text has the rule. One always stays."""
    frames = Counter(record.group for record in records)
    held: list[str] = []
    held_frames = 0
    for scene in sorted(frames, key=lambda name: hashlib.sha256(name.encode()).digest())[:-1]:
        if held_frames >= VALIDATION_SHARE * len(records):
            break
        held.append(scene)
        held_frames += frames[scene]
    return frozenset(held)


def _splits(
    everything: Sequence[Record], official: Official, held: frozenset[str]
) -> dict[str, tuple[Record, ...]]:
    train, validation = hold_out(everything, held)
    train795, validation795 = hold_out(official.train795.records, held)
    return {
        "train": train,
        "validation": validation,
        "test": official.test.records,
        "train795": train795,
        "validation795": validation795,
        "train_all": tuple(everything),
        "train795_all": official.train795.records,
    }


def _held_words(everything: Sequence[Record], held: frozenset[str]) -> str:
    if not everything:
        return "nothing to train on"
    _, validation = hold_out(everything, held)
    groups, held_groups = ({r.group for r in records} for records in (everything, validation))
    return (
        f"validation holds out {len(held_groups)} of {len(groups)} scenes or groups, "
        f"{len(validation)} of {len(everything)} frames"
    )


def _training(layout: Layout, root: Path, train_list: Path | None) -> Part:
    if layout.scenes is None and train_list is not None:
        raise DataError(f"{layout.root} has no scene folders for the frames of {train_list}")
    if layout.scenes is None:
        return _acan(layout)
    folders = [name for name in frame_folders(layout.scenes) if is_scene(name)]
    files = files_below(layout.scenes, folders)
    train_list = train_list or find_list(layout, root, TRAIN_LISTS)
    found = _pairs(files, train_list)
    records = tuple(_scene_record(layout, pair) for pair in found.pairs)
    if train_list is None:
        words = (
            f"all {len(records)} pairs in {len(folders)} scene folders, because there is no list "
            f"file; the papers' {_PUBLISHED_LINES:,} are in {TRAIN_LISTS[0]}, which belongs in "
            f"{layout.root}"
        )
    else:
        words = f"{len(records)} pairs of {train_list}; the papers' has {_PUBLISHED_LINES:,}"
    return Part(records, words, found.problems)


def _pairs(files: dict[str, Path], list_file: Path | None) -> Pairs:
    return all_pairs(files) if list_file is None else listed_pairs(list_file, files)


def _scene_record(layout: Layout, pair: Pair) -> Record:
    return Record(
        name=f"{pair.folder}/{pair.number:05d}",
        group=scene_of(pair.folder),
        image=_path(pair.image, layout.root),
        intrinsics=_INTRINSICS,
        depth=DepthFile(_path(pair.depth, layout.root), scale=DEPTH_SCALE),
    )


def _acan(layout: Layout) -> Part:
    """Return ACAN's own export: numbers without scenes, of which the last twentieth is held out.

    The export goes through the scenes in order, so at most one scene is on both sides.
    """
    if layout.acan is None:
        return Part()
    images, depths = (_numbered(layout.acan / name) for name in ACAN)
    numbers = sorted(images.keys() & depths.keys())
    first_held = len(numbers) - round(len(numbers) * VALIDATION_SHARE)
    groups = ("train_rgb/first", "train_rgb/last")
    records = tuple(
        Record(
            name=f"train_rgb/{number:05d}",
            group=groups[position >= first_held],
            image=_path(images[number], layout.root),
            intrinsics=_INTRINSICS,
            depth=DepthFile(_path(depths[number], layout.root), scale=ACAN_SCALE),
        )
        for position, number in enumerate(numbers)
    )
    alone = sorted(images.keys() ^ depths.keys())
    problems = tuple(
        f"train_rgb/{number:05d} left out: picture or depth missing" for number in alone
    )
    words = f"{len(records)} pairs of ACAN's train_rgb/ and train_depth/, in 1/256 m"
    return Part(records, words, problems, frozenset(groups[1:]))


def _numbered(folder: Path) -> dict[int, Path]:
    matches = ((_NUMBERED.fullmatch(path.name), path) for path in folder.iterdir())
    return {int(match.group(1)): path for match, path in matches if match}


def _official(layout: Layout, out: Path, tables: Tables) -> Official:
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
        kind: _path(picture(folder, kind, index), root)
        for kind in ("rgb", "depth", "filled", "labels40")
    }
    return Record(
        name=f"labelled/{index:05d}",
        group=scene,
        image=paths["rgb"],
        intrinsics=_INTRINSICS,
        depth=DepthFile(paths["depth"], scale=DEPTH_SCALE),
        filled=DepthFile(paths["filled"], scale=DEPTH_SCALE),
        labels=paths["labels40"] if with_labels else "",
    )


def _official_folders(layout: Layout) -> Official:
    test_list = find_list(layout, layout.root, TEST_LISTS)
    return Official(_rooms(layout, layout.train795, None), _rooms(layout, layout.test, test_list))


def _rooms(layout: Layout, folder: Path | None, list_file: Path | None) -> Part:
    if folder is None:
        return Part()
    is_test = folder == layout.test
    # Beside the scenes of the depth toolbox only types of room are test frames.
    names = [name for name in frame_folders(folder) if not (is_test and is_scene(name))]
    found = _pairs(files_below(folder, names), list_file)
    filled = _without_holes(found.pairs)
    records = tuple(_room_record(layout.root, pair, filled and is_test) for pair in found.pairs)
    words = (
        f"{len(records)} {'test' if is_test else 'labelled training'} frames in {folder}, "
        f"{'filled' if filled else 'raw'} depth, no labels"
        f"{'' if is_test or all(map(is_scene, names)) else ', maybe of scenes held out'}"
    )
    return Part(records, words, found.problems)


def _room_record(root: Path, pair: Pair, filled: bool) -> Record:
    """Return a frame; without the .mat only the type of its room is known, not its scene."""
    depth = DepthFile(_path(pair.depth, root), scale=DEPTH_SCALE)
    return Record(
        name=f"labelled/{pair.number:05d}",
        group=scene_of(pair.folder) if is_scene(pair.folder) else _path(pair.image.parent, root),
        image=_path(pair.image, root),
        intrinsics=_INTRINSICS,
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


def _path(path: Path, root: Path) -> str:
    """Return a path from the root; an absolute one for what is made elsewhere."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
