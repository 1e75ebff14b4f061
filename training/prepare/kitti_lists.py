"""List files of KITTI as BTS, AdaBins and GLPDepth ship them, resolved against the user's files.

A line has 2, 3 or 5 columns: image, map, focal length, right image, right map. Paths may start with
`/` or with folders of another computer, and may or may not name train/ or val/; drive, camera and
frame are read from them and looked up wherever the user has them. `None` in place of a map is an
image without one. The focal length is not needed: it follows from the drive's calibration.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

from mono_depth_ros.errors import DataError
from training.manifest import Record
from training.prepare.kitti_files import CameraName
from training.prepare.kitti_gather import Gatherer, Truth, Wanted, ranges
from training.prepare.kitti_layout import DRIVE, names_in
from training.prepare.kitti_split import Frame
from training.prepare.lists import first_line, list_lines

_PATH = re.compile(
    rf"(?:.*/)?({DRIVE.pattern})/(?:.*/)?image_(02|03)/(?:data/)?(\d{{10}})\.(?:png|jpe?g)"
)
_FORMS = (
    "image map, image map focal, or image map focal right_image right_map, where map may be None"
)


def lists_beside(root: Path) -> tuple[Path, ...]:
    """Return the .txt files directly in a folder whose first line is one of a list."""
    texts = (root / name for name in names_in(root) if name.endswith(".txt"))
    return tuple(path for path in texts if path.is_file() and is_list_line(first_line(path)))


def split_name(path: Path) -> str:
    """Return the split that a list file becomes: list_<its name>."""
    return f"list_{path.stem}"


def take_list(gatherer: Gatherer, path: Path) -> tuple[tuple[Record, ...], list[str]]:
    """Return the records of a list in its order, and a line about what cannot be read.

    Raises:
        DataError: the file cannot be read, or none of its lines can.
    """
    try:
        lines = list_lines(path)
    except OSError as error:
        raise DataError(f"no list at {path}: {error.strerror}") from error
    wanted: list[Wanted] = []
    unreadable: dict[int, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            wanted += read_line(line)
        except DataError:
            unreadable[number] = line
    problems = []
    if unreadable:
        first = next(iter(unreadable.values()))
        problems.append(
            f"{path} has {len(unreadable)} unreadable lines ({ranges(unreadable)}), the first is "
            f"{first!r}; need {_FORMS}"
        )
    if not wanted:
        raise DataError(problems[0] if problems else f"{path} is empty; need lines of {_FORMS}")
    return gatherer.take(split_name(path), wanted), problems


def read_line(line: str) -> tuple[Wanted, ...]:
    """Return what a line asks for: the left picture and, with five columns, the right one.

    Raises:
        DataError: it has other columns, or image and map are of different frames.
    """
    columns = line.split()
    if len(columns) not in (2, 3, 5):
        raise DataError(f"a line of {len(columns)} columns: {line!r}; need {_FORMS}")
    pairs = [(columns[0], columns[1])]
    if len(columns) == 5:
        pairs.append((columns[3], columns[4]))
    return tuple(_wanted(image, depth, line) for image, depth in pairs)


def is_list_line(line: str) -> bool:
    """Return whether a line is one of a list of KITTI."""
    try:
        read_line(line)
    except DataError:
        return False
    return True


def _wanted(image: str, depth: str, line: str) -> Wanted:
    found = _PATH.fullmatch(image)
    if found is None or (depth != "None" and not _same(found, _PATH.fullmatch(depth))):
        raise DataError(f"no image and map of one frame: {line!r}; need {_FORMS}")
    drive, camera, number = found.groups()
    truth: Truth = "none" if depth == "None" else "map"
    return Wanted(Frame(drive, int(number)), truth, cast(CameraName, camera))


def _same(image: re.Match[str], depth: re.Match[str] | None) -> bool:
    return depth is not None and image.groups() == depth.groups()
