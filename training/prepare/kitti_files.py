"""An index of a user's KITTI: pictures, maps and sweeps by drive and frame, and the cameras."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from mono_depth_ros.errors import DataError
from training.prepare.kitti_layout import Layout, joined, mapped_drives, names_in
from training.prepare.kitti_split import CAMERAS, Frame, date_of

CameraName = Literal["02", "03"]
CAMERA_NAMES: tuple[CameraName, ...] = ("02", "03")
# fx, fy, cx, cy in pixels.
Pinhole = tuple[float, float, float, float]

# In the order in which they are preferred.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bin")


class Files:
    """The files of a layout by drive, camera and frame; every folder is listed once."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._listed = cache(self._list)

    def image(self, frame: Frame, camera: CameraName) -> str | None:
        """Return the picture's path from the root, None if there is none."""
        if self.layout.raw is None:
            return None
        return self._file(self.drive_folder(frame.drive), f"image_{camera}/data", frame)

    def scan(self, frame: Frame) -> str | None:
        """Return the Velodyne sweep's path from the root, None if there is none."""
        if self.layout.raw is None:
            return None
        return self._file(self.drive_folder(frame.drive), "velodyne_points/data", frame)

    def annotated(self, frame: Frame, camera: CameraName) -> str | None:
        """Return the annotated map's path from the root, None if there is none."""
        inner = f"proj_depth/groundtruth/image_{camera}"
        folders = (self._file(drive, inner, frame) for drive in self._annotated_of(frame.drive))
        return next((path for path in folders if path), None)

    def annotated_numbers(self, drive: str, camera: CameraName) -> list[int]:
        """Return the frames of a drive that have an annotated map, ascending."""
        inner = f"proj_depth/groundtruth/image_{camera}"
        numbers: set[int] = set()
        for folder in self._annotated_of(drive):
            numbers |= self._listed(joined(folder, inner)).keys()
        return sorted(numbers)

    def annotated_drives(self) -> list[str]:
        """Return all drives with annotated maps, by name."""
        root, raw = self.layout.root, self.layout.raw
        found = {drive for name in self.layout.annotated for drive in mapped_drives(root / name)}
        if self.layout.beside_images and raw is not None:
            for date in names_in(root / raw):
                found.update(mapped_drives(root / raw / date))
        return sorted(found)

    def drive_folder(self, drive: str) -> str:
        """Return where the raw drive is expected, from the root."""
        return joined(self.day_folder(drive), drive)

    def day_folder(self, drive: str) -> str:
        """Return where the raw drives and the calibration of a drive's day are expected."""
        return joined(self.layout.raw or "", date_of(drive))

    def _annotated_of(self, drive: str) -> Iterator[str]:
        yield from (joined(folder, drive) for folder in self.layout.annotated)
        if self.layout.beside_images:
            yield self.drive_folder(drive)

    def _file(self, drive_folder: str, inner: str, frame: Frame) -> str | None:
        folder = joined(drive_folder, inner)
        name = self._listed(folder).get(frame.number)
        return joined(folder, name) if name else None

    def _list(self, folder: str) -> Mapping[int, str]:
        """Return number → name of a folder's files; a PNG where a JPEG lies beside it."""
        by_number: dict[int, str] = {}
        names = names_in(self.layout.root / folder)
        for suffix in reversed(SUFFIXES):
            for name in names:
                stem, ending = os.path.splitext(name)
                if ending.lower() == suffix and stem.isdecimal():
                    by_number[int(stem)] = name
        return by_number


class Calibrations:
    """Intrinsics of every day: its own calib_cam_to_cam.txt where it has one, else the table.

    Attributes:
        problems: a line per file that was not understood.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._read = cache(self._read_day)
        self.problems: list[str] = []

    def of(self, drive: str, camera: CameraName) -> Pinhole | None:
        """Return the camera of a drive; None on a day that is none of KITTI's, without a file."""
        return self._read(self._files.day_folder(drive), camera)

    def _read_day(self, day: str, camera: CameraName) -> Pinhole | None:
        path = self._files.layout.root / day / "calib_cam_to_cam.txt"
        date = path.parent.name
        if path.is_file():
            try:
                return read_p_rect(path, camera)
            except DataError as error:
                self.problems.append(f"{error}; the published numbers of {date} are used")
        known = CAMERAS.get(date)
        return (known.fx, known.fy, known.cx, known.cy) if known else None


def read_p_rect(path: Path, camera: CameraName) -> Pinhole:
    """Return fx, fy, cx, cy of P_rect_02 or P_rect_03 in a calib_cam_to_cam.txt.

    Raises:
        DataError: the file has no such entry of twelve numbers.
    """
    key = f"P_rect_{camera}"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    entries = dict(line.partition(":")[::2] for line in lines)
    matrix = numbers_in(entries.get(key, ""))
    if len(matrix) != 12 or matrix[0] <= 0 or matrix[5] <= 0:
        raise DataError(f"{path} has no {key} of twelve numbers; download it again")
    return matrix[0], matrix[5], matrix[2], matrix[6]


def numbers_in(text: str) -> list[float]:
    """Return the numbers of a text; none at all if one of its words is no finite number."""
    try:
        numbers = [float(word) for word in text.split()]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
