"""Where a user's KITTI lies: the folders it is met in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from training.prepare.kitti_split import date_of

# In the order in which they are tried; "" is the root itself.
RAW_FOLDERS = ("raw", "raw_data", "input", "kitti_data", "")
ANNOTATED_FOLDERS = ("data_depth_annotated", "gts", "gt_depth", "")
OFFICIAL_FOLDERS = ("train", "val", "")
SELECTION_FOLDERS = ("depth_selection", "data_depth_selection/depth_selection", "")
SELECTION, ANONYMOUS = "val_selection_cropped", "test_depth_prediction_anonymous"
# Folders of depth_selection/ that a user may name instead of it.
_CROPPED_SETS = (SELECTION, ANONYMOUS, "test_depth_completion_anonymous")

_DATE = re.compile(r"\d{4}_\d\d_\d\d")
DRIVE = re.compile(r"\d{4}_\d\d_\d\d_drive_\d{4}_sync")


@dataclass(frozen=True, slots=True)
class Layout:
    """What of KITTI was found; folders are relative to the root, None where there is none.

    Attributes:
        root: absolute folder.
        raw: folder of the days.
        annotated: folders of drives with annotated maps, in the order in which they are asked.
        beside_images: annotated maps lie in the raw drives too, as Monodepth2 wants them.
        selection: val_selection_cropped.
        anonymous: test_depth_prediction_anonymous.
    """

    root: Path
    raw: str | None
    annotated: tuple[str, ...]
    beside_images: bool
    selection: str | None
    anonymous: str | None

    def __str__(self) -> str:
        parts = []
        if self.raw is not None:
            parts.append(f"raw drives in {_shown(self.raw)}")
        if self.annotated:
            parts.append(f"annotated maps in {' and '.join(map(_shown, self.annotated))}")
        if self.beside_images:
            parts.append("annotated maps inside the raw drives")
        parts += [_shown(folder) for folder in (self.selection, self.anonymous) if folder]
        return ", ".join(parts)


def find(root: Path) -> Layout | None:
    """Recognise KITTI in a folder; None if there is nothing of it.

    Raw drives, annotated maps and the two cropped sets are looked for in the folders named above,
    in that order; annotated maps may be apart in train/ and val/, merged, or in the raw drives. One
    of the cropped sets stands for the folder that it is in.
    """
    root = root.absolute()
    if root.name in _CROPPED_SETS and root.is_dir():
        root = root.parent
    raw = next((name for name in RAW_FOLDERS if any(raw_drives(root / name))), None)
    annotated = tuple(
        joined(name, part)
        for name in ANNOTATED_FOLDERS
        for part in OFFICIAL_FOLDERS
        if any(mapped_drives(root / name / part))
    )
    beside = raw is not None and any(
        _has_maps(root / raw / date_of(drive) / drive) for drive in raw_drives(root / raw)
    )
    selection, anonymous = (_cropped(root, SELECTION), _cropped(root, ANONYMOUS))
    if raw is None and not annotated and selection is None and anonymous is None:
        return None
    return Layout(root, raw, annotated, beside, selection, anonymous)


def raw_drives(raw: Path) -> Iterator[str]:
    """Yield the drives of a folder of days, by name."""
    for date in filter(_DATE.fullmatch, names_in(raw)):
        yield from filter(DRIVE.fullmatch, names_in(raw / date))


def mapped_drives(folder: Path) -> Iterator[str]:
    """Yield the drives of a folder of annotated maps, by name."""
    for drive in filter(DRIVE.fullmatch, names_in(folder)):
        if _has_maps(folder / drive):
            yield drive


def names_in(folder: Path) -> list[str]:
    """Return what a folder holds, sorted; nothing if it is none."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def joined(*parts: str) -> str:
    """Return the path of parts from the root, of which "" is the root itself."""
    return "/".join(part for part in parts if part)


def _has_maps(drive: Path) -> bool:
    # proj_depth/ may hold nothing but velodyne_raw/, the sparse input of depth completion.
    return (drive / "proj_depth" / "groundtruth").is_dir()


def _cropped(root: Path, name: str) -> str | None:
    folders = (joined(outer, name) for outer in SELECTION_FOLDERS)
    return next((folder for folder in folders if (root / folder / "image").is_dir()), None)


def _shown(folder: str) -> str:
    return f"{folder}/" if folder else "the root"
