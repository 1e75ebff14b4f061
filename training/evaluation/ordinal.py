"""Confusion of discretised depth: which class of depth is taken for which (ACAN, Fig. 5).

Depths of truth and prediction fall into classes of equal width in ln(depth). The classes are those
of ACAN's paper, 80 from 0.72 to 10 m on NYU and from 1.98 to 80 m on KITTI, for every network, so
networks can be compared; ACAN's own range and number are taken for ACAN.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.files import write_picture
from mono_depth_ros.models.discretisation import SpacingIncreasingDiscretisation

FloatArray = npt.NDArray[np.floating]

_RANGES_M = {"nyu": (0.72, 10.0)}
_OTHER_RANGE_M = (1.98, 80.0)
# Pixels per class in the picture.
_CELL_PX = 8


@dataclass(frozen=True, slots=True)
class OrdinalScores:
    """How well classes of depth are told apart, over all pixels of all images.

    Attributes:
        pixels: with a true depth in the range; 0 makes every score NaN.
        accuracy: share of them in the right class.
        within_one: share at most one class off.
        mean_distance: mean distance from the right class, in classes.
        confusion: (K, K) share of the pixels of a true class (row) that are answered with a class
            (column); rows of classes without a pixel are NaN.
    """

    pixels: int
    accuracy: float
    within_one: float
    mean_distance: float
    confusion: npt.NDArray[np.float64]


class OrdinalCounts:
    """Counts pixels by true and predicted class of depth.

    Args:
        classes: into which depth is divided.
    """

    def __init__(self, classes: SpacingIncreasingDiscretisation) -> None:
        self.classes = classes
        self.counts = np.zeros((classes.bins, classes.bins), np.int64)

    def add(self, prediction_m: FloatArray, reference_m: FloatArray) -> None:
        """Count pixels already chosen, (N,) metres each.

        True depths outside the range do not count; predictions outside it fall into the nearest
        class, those that are NaN into none.
        """
        low, high = self.classes.min_m, self.classes.max_m
        true = self._labels(reference_m)
        predicted = self._labels(np.clip(prediction_m, low, high))
        known = (true >= 0) & (predicted >= 0)
        flat = true[known] * self.classes.bins + predicted[known]
        self.counts += np.bincount(flat, minlength=self.counts.size).reshape(self.counts.shape)

    def scores(self) -> OrdinalScores:
        """Return the scores of what was counted so far."""
        total = int(self.counts.sum())
        index = np.arange(self.classes.bins)
        distance = np.abs(index[:, None] - index[None])
        with np.errstate(divide="ignore", invalid="ignore"):
            confusion = self.counts / self.counts.sum(axis=1, keepdims=True)
        share = self.counts / total if total else np.full(self.counts.shape, np.nan)
        return OrdinalScores(
            pixels=total,
            accuracy=float(np.trace(share)),
            within_one=float(share[distance <= 1].sum()),
            mean_distance=float((share * distance).sum()),
            confusion=confusion,
        )

    def _labels(self, depth_m: FloatArray) -> npt.NDArray[np.int64]:
        # float64: float32 rounds the ends of the range outwards.
        depth = torch.from_numpy(np.asarray(depth_m, np.float64))
        return self.classes.labels(depth).numpy()


def depth_classes(
    dataset: str, info: CheckpointInfo | None = None
) -> SpacingIncreasingDiscretisation:
    """Return the classes that a data set's confusion is counted in.

    Always the consistent ones of `mono_depth_ros.models.discretisation`: label and threshold agree.

    Args:
        dataset: of the prepared data.
        info: of the checkpoint; an ACAN brings its own range and number of classes.
    """
    low, high = _RANGES_M.get(dataset, _OTHER_RANGE_M)
    if info is not None and info.network == "acan":
        settings = info.settings
        return SpacingIncreasingDiscretisation(
            settings.get("min_depth_m", low), settings.get("max_depth_m", high), settings["bins"]
        )
    return SpacingIncreasingDiscretisation(low, high)


def draw_confusion(path: Path, confusion: npt.NDArray[np.float64]) -> None:
    """Write a confusion matrix (K, K) as a picture: rows are the truth, downwards.

    Dark is 0, bright 1; rows without a pixel are black.
    """
    shades = np.rint(255.0 * np.nan_to_num(confusion)).astype(np.uint8)
    large = np.kron(shades, np.ones((_CELL_PX, _CELL_PX), np.uint8))
    write_picture(path, cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS))
