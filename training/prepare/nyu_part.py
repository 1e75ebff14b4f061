"""What the sources of NYU Depth V2 have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mono_depth_ros.world.rooms import ROOM_CAMERA
from training.manifest import Record
from training.prepare.nyu_frames import Pairs, all_pairs, listed_pairs

INTRINSICS = (ROOM_CAMERA.fx, ROOM_CAMERA.fy, ROOM_CAMERA.cx, ROOM_CAMERA.cy)


@dataclass(frozen=True, slots=True)
class Part:
    """Frames of one source.

    Attributes:
        records: in the order of their list.
        words: what was found, for the report.
        problems: what was left out, one line each.
        held_out: groups for validation, where the source and not their names decides.
        list_file: that the records were taken from.
    """

    records: tuple[Record, ...] = ()
    words: str = ""
    problems: tuple[str, ...] = ()
    held_out: frozenset[str] = frozenset()
    list_file: Path | None = None


def pairs_of(files: dict[str, Path], list_file: Path | None) -> Pairs:
    """Return the pairs of a list, all of them without one."""
    return all_pairs(files) if list_file is None else listed_pairs(list_file, files)


def path_from(path: Path, root: Path) -> str:
    """Return a path from the root; an absolute one for what is made elsewhere."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
