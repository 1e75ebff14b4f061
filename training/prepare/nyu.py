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
from pathlib import Path

from mono_depth_ros.errors import DataError
from training.manifest import DepthFile, Manifest, Record, hold_out
from training.prepare import not_found
from training.prepare.lists import unused_lists
from training.prepare.nyu_frames import Pair, files_below, is_list_line, is_scene, scene_of
from training.prepare.nyu_labelled import DEPTH_SCALE
from training.prepare.nyu_layout import (
    ACAN,
    TRAIN_LISTS,
    Layout,
    find,
    find_list,
    frame_folders,
    list_parents,
)
from training.prepare.nyu_mat import PUBLISHED, Tables
from training.prepare.nyu_official import Official, official_frames
from training.prepare.nyu_part import INTRINSICS, Part, pairs_of, path_from

__all__ = ("find", "held_out_scenes", "prepare")

VALIDATION_SHARE = 0.05
# ACAN's PNG, training and test: metres = code / 256.
ACAN_SCALE = 256.0

_PUBLISHED_LINES = 24_231
_NUMBERED = re.compile(r"(\d+)\.(?:jpe?g|png)")


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
    official = official_frames(layout, out.resolve(), tables)
    training = _training(layout, root.resolve(), train_list)
    everything = training.records or official.train795.records
    by_name = official.train795.records if training.held_out else everything
    held = training.held_out | held_out_scenes(by_name)
    splits = _splits(everything, official, held)
    parts = (training, official.train795, official.test)
    used = (part.list_file for part in parts if part.list_file is not None)
    words = (
        f"NYU Depth V2 in {layout.root}",
        *dict.fromkeys(part.words for part in parts),
        _held_words(everything, held),
        unused_lists(list_parents(layout, root.resolve()), used, is_list_line),
    )
    return Manifest(
        dataset="nyu",
        layout="; ".join(filter(None, words)),
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
    found = pairs_of(files, train_list)
    records = tuple(_scene_record(layout, pair) for pair in found.pairs)
    if train_list is None:
        words = (
            f"all {len(records)} pairs in {len(folders)} scene folders, because there is no list "
            f"file; the papers' {_PUBLISHED_LINES:,} are in {TRAIN_LISTS[0]}, which belongs in "
            f"{layout.root}"
        )
    else:
        words = f"{len(records)} pairs of {train_list}; the papers' has {_PUBLISHED_LINES:,}"
    return Part(records, words, found.problems, list_file=train_list)


def _scene_record(layout: Layout, pair: Pair) -> Record:
    return Record(
        name=f"{pair.folder}/{pair.number:05d}",
        group=scene_of(pair.folder),
        image=path_from(pair.image, layout.root),
        intrinsics=INTRINSICS,
        depth=DepthFile(path_from(pair.depth, layout.root), scale=DEPTH_SCALE),
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
            image=path_from(images[number], layout.root),
            intrinsics=INTRINSICS,
            depth=DepthFile(path_from(depths[number], layout.root), scale=ACAN_SCALE),
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
