"""Pairs of picture and depth in the folders of NYU Depth V2, all of them or those of a list.

BTS and who follows it keep <folder>/rgb_00045.jpg and <folder>/sync_depth_00045.png. Their lists
differ in columns, leading slashes and what comes before <folder>; folder and name are enough.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mono_depth_ros.errors import DataError
from training.prepare.lists import list_lines

COLUMNS = (2, 3, 5)

_IMAGE = re.compile(r"rgb_\d+\.(?:jpe?g|png)")
_DEPTH = re.compile(r"sync_depth_\d+\.png")
_SCENE = re.compile(r"(.+_\d+)[a-z]?")


class Pair(NamedTuple):
    """A picture with its depth.

    Attributes:
        folder: that they are in: a part of a scene, or in official_splits a type of room.
        number: in the file's name; in official_splits the index into the labelled .mat.
        image: path of the picture.
        depth: path of the depth.
    """

    folder: str
    number: int
    image: Path
    depth: Path


class Pairs(NamedTuple):
    """What was found, and one line for each thing that was not."""

    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]


def scene_of(folder: str) -> str:
    """Return the scene that a folder is a part of: kitchen_0028 for kitchen_0028b.

    A name that is no scene's, such as a type of room, is returned as it is.
    """
    match = _SCENE.fullmatch(folder)
    return match.group(1) if match else folder


def is_scene(folder: str) -> bool:
    """Return whether a name is a scene's, such as kitchen_0028b, and not a type of room."""
    return _SCENE.fullmatch(folder) is not None


def files_below(parent: Path, folders: Iterable[str]) -> dict[str, Path]:
    """Return the files of some folders in `parent`, by `folder/name` without suffix."""
    return {
        f"{folder}/{path.stem}": path
        for folder in folders
        for path in sorted((parent / folder).iterdir())
        if _IMAGE.fullmatch(path.name) or _DEPTH.fullmatch(path.name)
    }


def has_frames(folder: Path) -> bool:
    """Return whether a folder holds at least one rgb_00000.jpg."""
    return any(_IMAGE.fullmatch(path.name) for path in folder.glob("rgb_*"))


def all_pairs(files: Mapping[str, Path]) -> Pairs:
    """Return all pairs by folder and number; a picture or a depth alone is a problem."""
    pairs, problems, paired = [], [], set()
    for key, image in files.items():
        if not _IMAGE.fullmatch(image.name):
            continue
        depth_key = key.replace("/rgb_", "/sync_depth_")
        paired.add(depth_key)
        if depth_key in files:
            pairs.append(_pair(image, files[depth_key]))
        else:
            problems.append(f"{key} left out: there is no {depth_key}.png")
    for key, path in files.items():
        if _DEPTH.fullmatch(path.name) and key not in paired:
            problems.append(f"{key} left out: its picture is missing")
    return Pairs(tuple(sorted(pairs)), tuple(problems))


def listed_pairs(path: Path, files: Mapping[str, Path]) -> Pairs:
    """Return the pairs of a list file in its order.

    A line has 2, 3 or 5 columns: picture, depth or None, focal length or None (not needed: all have
    the same camera), and the right camera's (ignored: there is none). Paths may begin with a slash,
    and backslashes do, too.

    Args:
        path: of the list.
        files: from `files_below`.

    Raises:
        DataError: the list cannot be read, or not one of its files is on disk.
    """
    pairs: dict[str, Pair] = {}
    problems = []
    for number, line in enumerate(_lines(path), start=1):
        try:
            pair = _listed(_columns(line), files) if line.strip() else None
        except DataError as error:
            problems.append(f"{path.name}, line {number} left out: {error}")
            continue
        if pair is not None and pairs.setdefault(pair.image.as_posix(), pair) is not pair:
            problems.append(f"{path.name}, line {number} left out: the picture is listed before")
    if not pairs:
        raise DataError(
            f"no picture of {path} is on disk ({'; '.join(problems[:2]) or 'it is empty'}); it is "
            "the list of another data set or of other folders"
        )
    return Pairs(tuple(pairs.values()), tuple(problems))


def _lines(path: Path) -> list[str]:
    try:
        return list_lines(path)
    except OSError as error:
        raise DataError(f"the list {path} cannot be read: {error}; fetch it again") from error


def is_list_line(line: str) -> bool:
    """Return whether a line is one of a list of NYU Depth V2."""
    columns = _columns(line)
    return len(columns) in COLUMNS and bool(_IMAGE.fullmatch(columns[0].rpartition("/")[2]))


def _columns(line: str) -> list[str]:
    return line.replace("\\", "/").split()


def _listed(columns: list[str], files: Mapping[str, Path]) -> Pair:
    if len(columns) not in COLUMNS:
        raise DataError(f"{len(columns)} columns, need {', '.join(map(str, COLUMNS))}")
    if columns[1] == "None":
        raise DataError(f"{columns[0]} has no depth")
    if len(columns) > 2 and columns[2] != "None" and not _is_number(columns[2]):
        raise DataError(f"{columns[2]!r} is no focal length; need a number or None")
    image, depth = (files.get(_key(column)) for column in columns[:2])
    if image is None or not _IMAGE.fullmatch(image.name):
        raise DataError(f"{columns[0]} is missing")
    if depth is None or not _DEPTH.fullmatch(depth.name):
        raise DataError(f"{columns[1]} is missing")
    pair = _pair(image, depth)
    if (pair.folder, pair.number) != (depth.parent.name, _number(depth)):
        raise DataError(f"{columns[0]} and {columns[1]} are of two frames")
    return pair


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _key(column: str) -> str:
    return "/".join(column.split("/")[-2:]).rpartition(".")[0]


def _pair(image: Path, depth: Path) -> Pair:
    return Pair(image.parent.name, _number(image), image, depth)


def _number(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])
