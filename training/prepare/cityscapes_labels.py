"""Cityscapes' label ids to train ids, the 19 classes that are evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import DataError
from mono_depth_ros.files import write_picture
from mono_depth_ros.labels import CITYSCAPES_IGNORE, City
from training.datasets.reader import read_picture
from training.prepare.made import is_whole_png
from training.prepare.workers import over_all

# cityscapesScripts, helpers/labels.py; all other ids are void or not evaluated.
_CLASS_OF_ID: Mapping[int, City] = {
    7: City.ROAD,
    8: City.SIDEWALK,
    11: City.BUILDING,
    12: City.WALL,
    13: City.FENCE,
    17: City.POLE,
    19: City.TRAFFIC_LIGHT,
    20: City.TRAFFIC_SIGN,
    21: City.VEGETATION,
    22: City.TERRAIN,
    23: City.SKY,
    24: City.PERSON,
    25: City.RIDER,
    26: City.CAR,
    27: City.TRUCK,
    28: City.BUS,
    31: City.TRAIN,
    32: City.MOTORCYCLE,
    33: City.BICYCLE,
}
_TRAIN_IDS = np.full(256, CITYSCAPES_IGNORE, np.uint8)
_TRAIN_IDS[list(_CLASS_OF_ID)] = list(_CLASS_OF_ID.values())


@dataclass(frozen=True, slots=True)
class LabelJob:
    """A picture of label ids and where the same with train ids is to be."""

    source: Path
    made: Path


def to_train_ids(label_ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Map label ids (any shape) to 0..18 and 255."""
    return _TRAIN_IDS[label_ids]


def make_label_pictures(jobs: Sequence[LabelJob]) -> dict[Path, str]:
    """Write the pictures that are missing, cut off or older than their source.

    Returns:
        The `made` of each picture that could not be made → why.
    """
    todo = [job for job in jobs if not _is_current(job)]
    if not todo:
        return {}
    for folder in {job.made.parent for job in todo}:
        folder.mkdir(parents=True, exist_ok=True)
    reasons = over_all(_make, todo, None, "making label pictures")
    return {job.made: why for job, why in zip(todo, reasons, strict=True) if why}


def _is_current(job: LabelJob) -> bool:
    return is_whole_png(job.made) and job.made.stat().st_mtime_ns >= job.source.stat().st_mtime_ns


def _make(job: LabelJob) -> str:
    try:
        label_ids = read_picture(job.source, cv2.IMREAD_UNCHANGED)
        if label_ids.dtype != np.uint8 or label_ids.ndim != 2:
            raise DataError(
                f"{job.source} is {label_ids.shape} {label_ids.dtype}; label ids are (H, W) uint8"
            )
    except DataError as error:
        return str(error)
    write_picture(job.made, to_train_ids(label_ids))
    return ""
