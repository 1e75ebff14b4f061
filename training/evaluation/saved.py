"""Predictions on disk: written once by a checkpoint, scored as often as one likes.

A folder holds predictions.json, which says whose they are, and `<record name>.npy` per image:
float32 metres of the full frame, NaN where there is no prediction, nothing rounded or clipped; of
networks with classes also `<record name>.classes.png`, uint8 class index, 255 = none.
Folders of 16-bit PNG files from other programs are read too; those of KITTI's bottom-centre window
are put back into the frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.atomic import replacing
from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.config import from_mapping, to_mapping
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.evaluation.protocols import KB_HEIGHT, KB_WIDTH, kb_window
from mono_depth_ros.files import write_depth_npy, write_picture
from mono_depth_ros.models.base import IGNORED_LABEL
from training.datasets.reader import PreparedReader
from training.evaluation.predict import Answer
from training.manifest import Manifest, Record

FORMAT = 1
ABOUT = "predictions.json"

_NO_CLASS = 255


class PredictionWriter:
    """Writes the predictions of one checkpoint on some splits.

    Args:
        folder: to write to; created when missing.
        manifest: of the data.
        splits: that are predicted.
        info: of the checkpoint, where there is one.
        about: how it predicts, plain values.

    Raises:
        DataError: the folder holds something else.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        splits: Sequence[str],
        info: CheckpointInfo | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        if folder.exists() and any(folder.iterdir()) and not (folder / ABOUT).exists():
            raise DataError(
                f"{folder} is not empty and holds no predictions; choose another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)
        self._header = {
            "format": FORMAT,
            "dataset": manifest.dataset,
            "splits": {split: manifest.digests.get(split, "") for split in splits},
            "checkpoint": None if info is None else to_mapping(info),
            "about": dict(about or {}),
            "classes": False,
        }
        # Written last: until then the folder does not pass for complete.
        (folder / ABOUT).unlink(missing_ok=True)

    def write(self, record: Record, answer: Answer) -> None:
        """Write the maps of one image."""
        path = prediction_path(self.folder, record)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_depth_npy(path, answer.depth_m)
        if answer.semantics is not None:
            self._header["classes"] = True
            classes = np.where(answer.semantics == IGNORED_LABEL, _NO_CLASS, answer.semantics)
            write_picture(_classes_path(self.folder, record), classes.astype(np.uint8))

    def finish(self) -> None:
        """Say that all predictions are there."""
        with replacing(self.folder / ABOUT) as temporary:
            temporary.write_text(json.dumps(self._header, indent=1) + "\n")


class SavedSource:
    """Predictions of a folder, asked for like a network.

    `info` is that of the checkpoint that predicted, None where it is not known, and `about` says
    how it did.

    Args:
        folder: of `PredictionWriter`, or of PNG files named like the records.
        png_scale: codes per metre of PNG files (256 for KITTI, 1000 for BTS on NYU); None reads
            .npy files.

    Raises:
        DataError: the folder is missing, unfinished or damaged.
    """

    def __init__(self, folder: Path, png_scale: float | None = None) -> None:
        if png_scale is not None and not png_scale > 0:
            raise ConfigError(f"the scale of PNG predictions must be positive, got {png_scale}")
        if not folder.is_dir():
            raise DataError(f"no folder of predictions at {folder}")
        self.folder, self.png_scale = folder, png_scale
        self._header: dict[str, Any] = {} if png_scale is not None else _read_header(folder)
        self.info: CheckpointInfo | None = self._header.get("checkpoint")
        self.about: dict[str, Any] = self._header.get("about", {})

    def require_made_for(self, manifest: Manifest) -> None:
        """Check that the predictions belong to this prepared data.

        Raises:
            DataError: they were made for another data set, or a split has changed since.
        """
        if not self._header:
            return
        if self._header["dataset"] != manifest.dataset:
            raise DataError(
                f"{self.folder} holds predictions for {self._header['dataset']}, the data are "
                f"{manifest.dataset}"
            )
        for split, digest in self._header["splits"].items():
            if split in manifest.digests and manifest.digests[split] != digest:
                raise DataError(
                    f"split {split} has changed since {self.folder} was predicted; predict again"
                )

    def __call__(self, record: Record, reader: PreparedReader) -> Answer:
        """Return the stored map of one image, on the grid of the image.

        Raises:
            DataError: it is missing, damaged or of another size than the image.
        """
        depth_m = self._read(prediction_path(self.folder, record, self.png_scale is not None))
        shape = reader.image(record).shape[:2]
        if depth_m.shape == (KB_HEIGHT, KB_WIDTH) != shape:
            depth_m = _pasted(depth_m, (shape[0], shape[1]))
        if depth_m.shape != shape:
            raise DataError(
                f"the prediction of {record.name} is {depth_m.shape}, its image {shape}; store "
                "predictions at the size of the image"
            )
        classes = self._read_classes(record, shape) if self._header.get("classes") else None
        return Answer(depth_m, classes)

    def _read_classes(self, record: Record, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
        path = _classes_path(self.folder, record)
        code = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if code is None or code.dtype != np.uint8 or code.shape != shape:
            raise DataError(f"{path} is no 8-bit grey PNG of the image's size; predict again")
        classes = code.astype(np.int16)
        classes[code == _NO_CLASS] = IGNORED_LABEL
        return classes

    def _read(self, path: Path) -> npt.NDArray[np.float32]:
        if not path.is_file():
            raise DataError(f"no prediction at {path}")
        if self.png_scale is None:
            return _read_npy(path)
        code = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if code is None or code.dtype != np.uint16 or code.ndim != 2:
            raise DataError(f"{path} is no 16-bit grey PNG")
        depth_m = code.astype(np.float32) / np.float32(self.png_scale)
        return np.where(code > 0, depth_m, np.float32(np.nan))


def prediction_path(folder: Path, record: Record, png: bool = False) -> Path:
    """Return where the prediction of a record is kept."""
    return folder / f"{record.name}{'.png' if png else '.npy'}"


def _classes_path(folder: Path, record: Record) -> Path:
    return folder / f"{record.name}.classes.png"


def _read_header(folder: Path) -> dict[str, Any]:
    try:
        header = json.loads((folder / ABOUT).read_text())
        if header["format"] != FORMAT:
            raise DataError(f"{folder} has format {header['format']}, need {FORMAT}; predict again")
        info = header["checkpoint"]
        return {
            "dataset": header["dataset"],
            "splits": dict(header["splits"]),
            "about": dict(header["about"]),
            # Folders of earlier versions hold depth alone and do not say so.
            "classes": bool(header.get("classes", False)),
            "checkpoint": None if info is None else from_mapping(CheckpointInfo, info),
        }
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} has no {ABOUT}: the predictions are unfinished, or not ours; for PNG files "
            "of another program give --png-scale, their codes per metre"
        ) from error
    except (OSError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"{folder / ABOUT} is damaged: {error}; predict again") from error


def _read_npy(path: Path) -> npt.NDArray[np.float32]:
    try:
        depth_m = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged: {error}; predict again") from error
    if depth_m.dtype != np.float32 or depth_m.ndim != 2:
        raise DataError(f"{path} is {depth_m.shape} {depth_m.dtype}, need (H, W) float32 metres")
    return np.asarray(depth_m, np.float32)


def _pasted(depth_m: npt.NDArray[np.float32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    top, bottom, left, right = kb_window(*shape)
    full = np.full(shape, np.nan, np.float32)
    full[top:bottom, left:right] = depth_m
    return full
