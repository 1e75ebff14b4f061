"""Every file of a prepared data set, opened once: bad ones leave their splits and are named."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import DataError
from mono_depth_ros.labels import CITYSCAPES_IGNORE, NYU_VOID, City, Nyu
from training.datasets.reader import decode_depth, decode_picture
from training.manifest import DepthFile, LabelSet, Manifest, Record
from training.prepare.leakage import without_leaks
from training.prepare.problems import in_order
from training.prepare.scales import PLAUSIBLE, Measured, measure
from training.prepare.whole_set import Finding, blame
from training.prepare.workers import over_all

Depth = Literal["files", "contents"]

_DIGITS = 16
_POINT_BYTES = 16
_CALIBRATION_FILES = ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt")
# A Velodyne HDL-64E reaches 120 m.
_LARGEST_RANGE_M = 250.0
_NYU40_LARGEST, _CITYSCAPES_LARGEST = max(Nyu), max(City)
# Look Deeper learns from the labels of Cityscapes; it has depth from elsewhere, too.
_LABELS_ALONE_DO = ("cityscapes",)
_VOID: Mapping[LabelSet, int] = {"nyu40": NYU_VOID, "cityscapes": CITYSCAPES_IGNORE}


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
    usable = {record: finding for record, finding in found.items() if finding.usable}
    misfits = blame(usable, manifest)
    good = {r: _as_found(r, f) for r, f in usable.items() if r not in misfits.records}
    digests = {good[r]: found[r].image_sha256 for r in good if found[r].image_sha256}
    kept = {
        name: tuple(good[record] for record in split if record in good)
        for name, split in manifest.splits.items()
    }
    own = (finding.problem for finding in found.values() if finding.problem)
    problems = (*manifest.problems, *own, *misfits.problems)
    clean = without_leaks(replace(manifest, splits=kept, problems=problems), digests)
    clean = _without_empty(clean)
    return replace(clean, problems=in_order(clean.problems))


class Checker:
    """Checks single records; safe to use in several threads.

    Args:
        manifest: whose records they are.
        depth: see `check`.
    """

    def __init__(self, manifest: Manifest, depth: Depth) -> None:
        self._root, self._dataset, self._depth = manifest.root, manifest.dataset, depth
        self._plausible = PLAUSIBLE.get(manifest.dataset)
        self._label_set: LabelSet = manifest.label_set

    def check(self, record: Record) -> Finding:
        """Return what is wrong with a record's files, or what is in them."""
        try:
            return self._present(record) if self._depth == "files" else self._contents(record)
        except DataError as error:
            problem = str(error)
        if self._dataset in _LABELS_ALONE_DO and record.labels and record.depth is not None:
            finding = self.check(replace(record, depth=None))
            if not finding.problem:
                problem = f"depth of {record.name} left out: {problem}"
                return replace(finding, problem=problem, without_depth=True)
        return Finding(f"{record.name} left out: {problem}")

    def _present(self, record: Record) -> Finding:
        for path in (record.image, record.labels, *(d.path for d in _depths(record))):
            if path:
                self._size(path)
        for depth in _depths(record):
            self._require_calibration(depth)
        return Finding()

    def _contents(self, record: Record) -> Finding:
        image = self._read(record.image)
        height, width = decode_picture(image, record.image, cv2.IMREAD_COLOR).shape[:2]
        parts, measured, largest = [image], [], -1
        for depth in _depths(record):
            parts.append(self._read(depth.path))
            measured.append(self._check_depth(parts[-1], depth, (height, width)))
        if record.labels:
            parts.append(self._read(record.labels))
            largest = self._check_labels(parts[-1], record.labels, (height, width))
        return Finding(
            sha256=hashlib.sha256(b"".join(parts)).hexdigest()[:_DIGITS],
            image_sha256=hashlib.sha256(image).hexdigest(),
            size=(height, width),
            measured=measured[0] if measured else None,
            largest_label=largest,
        )

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

    def _check_depth(self, data: bytes, depth: DepthFile, shape: Sequence[int]) -> Measured | None:
        if depth.kind == "velodyne":
            self._require_calibration(depth)
            _check_scan(data, depth.path)
            return None
        code = decode_picture(data, depth.path, cv2.IMREAD_UNCHANGED)
        if code.dtype != np.uint16 or code.ndim != 2:
            raise DataError(f"{depth.path} is {_form(code)}; depth must be one channel of 16 bits")
        _require_same_size(code, depth.path, shape)
        depth_m = decode_depth(code, depth)
        measured_m = depth_m[np.isfinite(depth_m)]
        if measured_m.size == 0:
            raise DataError(f"{depth.path} is without any depth, all codes are 0")
        return measure(measured_m, depth, self._plausible) if self._plausible else None

    def _check_labels(self, data: bytes, path: str, shape: Sequence[int]) -> int:
        labels = decode_picture(data, path, cv2.IMREAD_UNCHANGED)
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


def _require_same_size(picture: npt.NDArray, path: str, shape: Sequence[int]) -> None:
    if picture.shape != tuple(shape):
        raise DataError(
            f"{path} is {picture.shape[0]}x{picture.shape[1]}, its image {shape[0]}x{shape[1]}"
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


def _as_found(record: Record, finding: Finding) -> Record:
    depth = None if finding.without_depth else record.depth
    return replace(record, depth=depth, sha256=finding.sha256)


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
