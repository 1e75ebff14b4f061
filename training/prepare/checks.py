"""Every file of a prepared data set, opened once: bad ones leave their splits and are named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.decoding import require_whole_picture
from mono_depth_ros.errors import DataError, DecodingError
from mono_depth_ros.labels import CITYSCAPES_IGNORE, NYU_VOID, City, Nyu
from training.datasets.reader import decode_depth
from training.manifest import DepthFile, LabelSet, Manifest, Record
from training.prepare.leakage import without_leaks
from training.prepare.workers import over_all

Depth = Literal["files", "contents"]

_DIGITS = 16
_POINT_BYTES = 16
_CALIBRATION_FILES = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt")
# A Velodyne HDL-64E reaches 120 m.
_LARGEST_RANGE_M = 250.0
_NYU40_LARGEST, _CITYSCAPES_LARGEST = max(Nyu), max(City)
_VOID: Mapping[LabelSet, int] = {"nyu40": NYU_VOID, "cityscapes": CITYSCAPES_IGNORE}


@dataclass(frozen=True, slots=True)
class Plausible:
    """What depth of a data set looks like when its scale is right.

    Attributes:
        least_median_m: of a picture's measured pixels.
        largest_m: only `share_beyond` of them are farther. A bound on the maximum would refuse
            real pictures: KITTI's annotated maps reach 85 m, in a pixel of a thousand.
        share_beyond: see there.
    """

    least_median_m: float
    largest_m: float
    share_beyond: float = 0.02


# Millimetres read as 1/256 m are 3.9 times too large; NYU's sensor ends at 10 m. Disparity says
# little about far pixels, so only half of them need to be near.
PLAUSIBLE: Mapping[str, Plausible] = MappingProxyType(
    {
        "nyu": Plausible(0.1, 10.0),
        "kitti": Plausible(1.0, 80.0),
        "stereo2015": Plausible(1.0, 150.0, 0.5),
        "cityscapes": Plausible(1.0, 150.0, 0.5),
        "bag": Plausible(0.1, 250.0),
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came out of one record.

    Attributes:
        problem: why it cannot be used; "" if it can.
        sha256: as in `Record`.
        image_sha256: of the image alone; "" if it was not read.
        largest_label: -1 without labels.
    """

    problem: str = ""
    sha256: str = ""
    image_sha256: str = ""
    largest_label: int = -1


def check(manifest: Manifest, depth: Depth = "contents", workers: int | None = None) -> Manifest:
    """Check every file of every record.

    Args:
        manifest: as a `prepare` function returned it.
        depth: "files" only looks whether they are there and not empty; "contents" reads, hashes
            and decodes them, and also looks at sizes, depths and labels.
        workers: threads; None for one per core.

    Returns:
        The manifest with the bad records' reasons in `problems`, the others' `sha256` filled in
        ("contents"), and without training frames that are in a judging split too.
    """
    records = list(dict.fromkeys(r for split in manifest.splits.values() for r in split))
    checker = Checker(manifest, depth)
    found = dict(zip(records, over_all(checker.check, records, workers, "checking"), strict=True))
    found = _with_wrong_base(found, manifest.label_set)
    good = {r: replace(r, sha256=f.sha256) for r, f in found.items() if not f.problem}
    digests = {good[r]: f.image_sha256 for r, f in found.items() if r in good and f.image_sha256}
    kept = {
        name: tuple(good[record] for record in split if record in good)
        for name, split in manifest.splits.items()
    }
    problems = (*manifest.problems, *(f.problem for f in found.values() if f.problem))
    return _without_empty(without_leaks(replace(manifest, splits=kept, problems=problems), digests))


class Checker:
    """Checks single records; safe to use in several threads.

    Args:
        manifest: whose records they are.
        depth: see `check`.
    """

    def __init__(self, manifest: Manifest, depth: Depth) -> None:
        self._root, self._depth = manifest.root, depth
        self._plausible = PLAUSIBLE.get(manifest.dataset)
        self._label_set: LabelSet = manifest.label_set

    def check(self, record: Record) -> Finding:
        """Return what is wrong with a record's files, or their hashes."""
        try:
            if self._depth == "files":
                return self._present(record)
            return self._contents(record)
        except DataError as error:
            return Finding(f"{record.name} left out: {error}")

    def _present(self, record: Record) -> Finding:
        for path in (record.image, record.labels, *(d.path for d in _depths(record))):
            if path:
                self._size(path)
        for depth in _depths(record):
            self._require_calibration(depth)
        return Finding()

    def _contents(self, record: Record) -> Finding:
        image = self._read(record.image)
        shape = _decode(image, record.image, cv2.IMREAD_COLOR).shape[:2]
        parts = [image]
        for depth in _depths(record):
            data = self._read(depth.path)
            self._check_depth(data, depth, shape)
            if depth is record.depth:
                parts.append(data)
        largest = -1
        if record.labels:
            parts.append(self._read(record.labels))
            largest = self._check_labels(parts[-1], record.labels, shape)
        digest = hashlib.sha256()
        for part in parts:
            digest.update(part)
        image_digest = hashlib.sha256(image).hexdigest()
        return Finding("", digest.hexdigest()[:_DIGITS], image_digest, largest)

    def _size(self, path: str) -> int:
        try:
            size = (self._root / path).stat().st_size
        except OSError as error:
            raise DataError(f"{path} is missing") from error
        if size == 0:
            raise DataError(f"{path} is empty (0 bytes); fetch it again")
        return size

    def _read(self, path: str) -> bytes:
        self._size(path)
        try:
            return (self._root / path).read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error

    def _require_calibration(self, depth: DepthFile) -> None:
        if depth.kind == "velodyne":
            for name in _CALIBRATION_FILES:
                self._size(f"{depth.calibration}/{name}")

    def _check_depth(self, data: bytes, depth: DepthFile, shape: Sequence[int]) -> None:
        if depth.kind == "velodyne":
            self._require_calibration(depth)
            _check_scan(data, depth.path)
            return
        code = _decode(data, depth.path, cv2.IMREAD_UNCHANGED)
        if code.dtype != np.uint16 or code.ndim != 2:
            raise DataError(f"{depth.path} is {_form(code)}; depth must be one channel of 16 bits")
        _require_same_size(code, depth.path, shape)
        depth_m = decode_depth(code, depth)
        measured_m = depth_m[np.isfinite(depth_m)]
        if measured_m.size == 0:
            raise DataError(f"{depth.path} is without any depth, all codes are 0")
        if self._plausible is not None:
            _check_scale(measured_m, depth, self._plausible)

    def _check_labels(self, data: bytes, path: str, shape: Sequence[int]) -> int:
        labels = _decode(data, path, cv2.IMREAD_UNCHANGED)
        if labels.dtype != np.uint8 or labels.ndim != 2:
            raise DataError(f"{path} is {_form(labels)}; labels must be one channel of 8 bits")
        _require_same_size(labels, path, shape)
        largest, void = int(labels.max()), _VOID.get(self._label_set)
        if void is not None and (labels == void).all():
            raise DataError(f"{path} labels nothing, all of it is {void} (void)")
        if self._label_set == "nyu40" and largest > _NYU40_LARGEST:
            raise DataError(
                f"{path} has label {largest}, its base is wrong: 0 must be void and 1 to 40 the "
                "classes, not 0 to 39 with 255 for void"
            )
        if self._label_set == "cityscapes":
            largest_class = labels[labels != CITYSCAPES_IGNORE].max()
            if largest_class > _CITYSCAPES_LARGEST:
                raise DataError(
                    f"{path} has label {largest_class}; train ids are 0 to 18 and 255, these look "
                    "like label ids"
                )
        return largest


def _depths(record: Record) -> tuple[DepthFile, ...]:
    return tuple(depth for depth in (record.depth, record.filled) if depth is not None)


def _decode(data: bytes, path: str, flags: int) -> npt.NDArray:
    try:
        require_whole_picture(data, path)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except DecodingError as error:
        raise DataError(f"{error}; fetch it again") from error
    except cv2.error:
        picture = None
    if picture is None:
        raise DataError(f"{path} cannot be decoded; fetch it again")
    return picture


def _require_same_size(picture: npt.NDArray, path: str, shape: Sequence[int]) -> None:
    if picture.shape != tuple(shape):
        raise DataError(
            f"{path} is {picture.shape[0]}x{picture.shape[1]}, its image {shape[0]}x{shape[1]}"
        )


def _check_scale(
    measured_m: npt.NDArray[np.float32], depth: DepthFile, plausible: Plausible
) -> None:
    median_m = float(np.median(measured_m))
    share = float(np.mean(measured_m > plausible.largest_m))
    if median_m < plausible.least_median_m or share > plausible.share_beyond:
        raise DataError(
            f"{depth.path} read with scale {depth.scale:g} has a median of {median_m:.3g} m and "
            f"{100 * share:.0f} % beyond {plausible.largest_m:g} m; it was written with another "
            "scale"
        )


def _check_scan(data: bytes, path: str) -> None:
    if len(data) % _POINT_BYTES:
        raise DataError(f"{path} has {len(data)} bytes, not a multiple of 16; fetch it again")
    points = np.frombuffer(data, "<f4").reshape(-1, 4)[:, :3]
    if not np.isfinite(points).all() or np.abs(points).max() > _LARGEST_RANGE_M:
        raise DataError(f"{path} is no scan in metres: it has points beyond {_LARGEST_RANGE_M} m")
    if not points.any():
        raise DataError(f"{path} is without any point, all are 0")


def _form(picture: npt.NDArray) -> str:
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    return f"{channels} x {picture.dtype}"


def _with_wrong_base(found: Mapping[Record, Finding], label_set: LabelSet) -> dict[Record, Finding]:
    """Blame all labels of NYU if no picture of many reaches class 40, which most pictures have."""
    labelled = [finding.largest_label for finding in found.values() if finding.largest_label >= 0]
    if label_set != "nyu40" or not labelled or max(labelled) != _NYU40_LARGEST - 1:
        return dict(found)
    reason = "the largest label of all pictures is 39: 0 must be void and 1 to 40 the classes"
    return {
        record: replace(finding, problem=f"{record.name} left out: {reason}")
        if finding.largest_label >= 0
        else finding
        for record, finding in found.items()
    }


def _without_empty(manifest: Manifest) -> Manifest:
    empty = [name for name, records in manifest.splits.items() if not records]
    return replace(
        manifest,
        splits={name: records for name, records in manifest.splits.items() if records},
        problems=(
            *manifest.problems,
            *(f"{name} has no frames, it is not written" for name in empty),
        ),
    )
