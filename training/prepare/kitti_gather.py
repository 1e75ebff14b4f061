"""Wanted frames of KITTI become records; what is missing becomes one line per split and drive."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from training.manifest import DepthFile, Record
from training.prepare.kitti_files import Calibrations, CameraName, Files
from training.prepare.kitti_layout import joined
from training.prepare.kitti_split import Frame

# Codes per metre of the annotated maps (the depth devkit's readme).
CODES_PER_METRE = 256.0

# "map": an annotated map, or the frame is left out. "map if there": the frame stays without one,
# and is reported. "none": the frame has none. "sweep": the projected Velodyne.
Truth = Literal["map", "map if there", "none", "sweep"]


class Wanted(NamedTuple):
    """A picture that a split asks for."""

    frame: Frame
    truth: Truth = "map"
    camera: CameraName = "02"


class Gatherer:
    """Looks up the frames that splits ask for.

    Attributes:
        problems: one line per split and drive that lacks files, and per damaged calibration.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self._calibrations = Calibrations(files)
        self._problems: list[str] = []

    @property
    def problems(self) -> list[str]:
        """What was missing so far."""
        return [*self._problems, *self._calibrations.problems]

    def take(self, split: str, wanted: Sequence[Wanted]) -> tuple[Record, ...]:
        """Return the records of the frames that are there, in the order asked for."""
        records: list[Record] = []
        lacking: dict[tuple[str, str], list[int]] = defaultdict(list)
        for item in wanted:
            record, lack = self._record(item)
            if record is not None:
                records.append(record)
            if lack:
                lacking[item.frame.drive, lack].append(item.frame.number)
        drives = Counter(item.frame.drive for item in wanted)
        if wanted and not records:
            found = " and ".join(sorted({lack for _, lack in lacking}))
            self._problems.append(
                f"{split} is not written: none of its {len(wanted)} frames of {len(drives)} drives "
                f"is complete; they lack {found}"
            )
            return ()
        self._problems += [
            self._lack(split, drive, lack, numbers, drives[drive])
            for (drive, lack), numbers in lacking.items()
        ]
        return tuple(records)

    def _lack(self, split: str, drive: str, lack: str, numbers: Sequence[int], asked: int) -> str:
        folder = self.files.drive_folder(drive)
        if not (self.files.layout.root / folder).is_dir():
            return f"{split}: no {folder}, {len(numbers)} frames"
        if len(numbers) == asked:
            return f"{split}: {drive} lacks {lack} in all {asked} frames"
        return (
            f"{split}: {drive} lacks {lack} in {len(numbers)} of {asked} frames: {ranges(numbers)}"
        )

    def _record(self, wanted: Wanted) -> tuple[Record | None, str]:
        """Return the record and what is missing, "" for nothing."""
        frame, truth, camera = wanted
        image = self.files.image(frame, camera)
        if image is None:
            return None, f"image_{camera}"
        pinhole = self._calibrations.of(frame.drive, camera)
        if pinhole is None:
            return None, "calib_cam_to_cam.txt"
        depth, lack = self._depth(wanted)
        if lack and truth != "map if there":
            return None, lack
        name = f"{frame.drive}_image_{camera}_{frame.number:010d}"
        return Record(name, frame.drive, image, pinhole, depth), lack

    def _depth(self, wanted: Wanted) -> tuple[DepthFile | None, str]:
        frame, truth, camera = wanted
        if truth == "none":
            return None, ""
        if truth == "sweep":
            return self._sweep(frame)
        path = self.files.annotated(frame, camera)
        if path is None:
            return None, f"annotated image_{camera}"
        return DepthFile(path, "linear", CODES_PER_METRE), ""

    def _sweep(self, frame: Frame) -> tuple[DepthFile | None, str]:
        path, day = self.files.scan(frame), self.files.day_folder(frame.drive)
        if path is None:
            return None, "velodyne_points"
        for name in ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt"):
            if not (self.files.layout.root / joined(day, name)).is_file():
                return None, name
        return DepthFile(path, "velodyne", calibration=day), ""


def ranges(numbers: Iterable[int]) -> str:
    """Write frame or line numbers shortly: 1, 5, 6 and 7 are "1, 5-7"."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
