"""Pixel accuracy and intersection over union of predicted classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.metrics import require_same_shape

IntArray = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class SemanticScores:
    """Scores over all pixels of all images whose truth is a class.

    Attributes:
        pixels: with a class; 0 makes every score NaN.
        pixel_accuracy: share of them with the right class.
        mean_accuracy: mean over the classes of the truth of the share that was found.
        mean_iou: mean over classes of intersection / union, classes left out that are neither in
            truth nor in prediction.
        iou: class name → intersection / union, NaN for those left out.
    """

    pixels: int
    pixel_accuracy: float
    mean_accuracy: float
    mean_iou: float
    iou: dict[str, float]


class SemanticCounts:
    """Counts pixels by true and predicted class, image by image.

    Args:
        names: of the classes, in index order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        # The last column counts pixels without a prediction.
        self.counts = np.zeros((len(names), len(names) + 1), np.int64)

    def add(self, prediction: IntArray, truth: IntArray) -> None:
        """Count one image.

        Args:
            prediction: (H, W) class index, -1 where there is none.
            truth: (H, W) class index, -1 where there is none; those pixels do not count.

        Raises:
            ShapeError: the sizes differ.
        """
        require_same_shape(prediction, truth)
        classes, columns = self.counts.shape
        known = truth >= 0
        predicted = prediction[known].astype(np.int64)
        predicted[(predicted < 0) | (predicted >= classes)] = classes
        flat = truth[known].astype(np.int64) * columns + predicted
        self.counts += np.bincount(flat, minlength=self.counts.size).reshape(self.counts.shape)

    def scores(self) -> SemanticScores:
        """Return the scores of what was counted so far."""
        right = np.diagonal(self.counts).astype(np.float64)
        in_truth, total = self.counts.sum(axis=1), self.counts.sum()
        union = in_truth + self.counts[:, :-1].sum(axis=0) - right
        with np.errstate(divide="ignore", invalid="ignore"):
            iou = right / union
            recall = right / in_truth
        return SemanticScores(
            pixels=int(total),
            pixel_accuracy=float(right.sum() / total) if total else float("nan"),
            mean_accuracy=_mean_known(recall),
            mean_iou=_mean_known(iou),
            iou={name: float(value) for name, value in zip(self.names, iou, strict=True)},
        )


def _mean_known(values: npt.NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
