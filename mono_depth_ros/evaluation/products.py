"""The error by what a network says besides depth: by its confidence, and by class.

Sums only, so that memory does not grow with the recording.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.evaluation.pooled_errors import PooledErrors, Sums, binned, no_sums, pooled
from mono_depth_ros.prediction import Prediction
from mono_depth_ros.semantic_metrics import SemanticCounts, SemanticScores

CONFIDENCE_BINS = 10
_CLASSES = 256

Places = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class ConfidenceErrors:
    """Errors of the pixels of one bin of confidence.

    Attributes:
        low: least confidence; `high` belongs to the next bin, but 1 to the last.
        high: the other end.
        confidence: mean of the pixels, NaN without any.
        errors: of the pixels; where confidence is the probability of an error within a factor of
            1.25, as ACAN's is, a calibrated one equals their delta1.
    """

    low: float
    high: float
    confidence: float
    errors: PooledErrors


@dataclass(frozen=True, slots=True)
class ClassErrors:
    """Errors of the pixels that the network takes for one class."""

    name: str
    errors: PooledErrors


@dataclass(frozen=True, slots=True)
class Products:
    """What a recording says of a network's answers besides depth.

    Attributes:
        confidence: bins, ascending; empty where the network has no confidence.
        classes: those with a pixel, in the network's order; empty where it knows no classes.
        semantics: accuracy of the classes; None where the recording has no labels.
    """

    confidence: tuple[ConfidenceErrors, ...] = ()
    classes: tuple[ClassErrors, ...] = ()
    semantics: SemanticScores | None = None

    @property
    def calibration_error(self) -> float:
        """Mean over pixels of |confidence - delta1| of their bins; NaN without confidence."""
        total = sum(found.errors.count for found in self.confidence)
        if not total:
            return math.nan
        return (
            sum(
                found.errors.count * abs(found.confidence - found.errors.delta1)
                for found in self.confidence
                if found.errors.count
            )
            / total
        )


@dataclass(slots=True)
class ProductSums:
    """Sums of `Products`, frame by frame."""

    # The last row sums confidence itself.
    _confidence: Sums = field(default_factory=lambda: np.zeros((5, CONFIDENCE_BINS)))
    _classes: Sums = field(default_factory=lambda: no_sums(_CLASSES))
    _names: tuple[str, ...] = ()
    # By true and predicted class, the last column without one; (0, 1) without labels.
    _confusion: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 1), np.int64))

    def add(self, rows: Places, columns: Places, values: Sums, prediction: Prediction) -> None:
        """Add the pixels (N,) of one frame whose depth counts, with their `error_values`."""
        if prediction.confidence is not None:
            confidence = prediction.confidence[rows, columns].astype(np.float64)
            known = np.isfinite(confidence)
            places = np.clip(confidence[known] * CONFIDENCE_BINS, 0, CONFIDENCE_BINS - 1)
            summed = np.vstack([values[:, known], confidence[None, known]])
            self._confidence += binned(places.astype(np.int64), summed, CONFIDENCE_BINS)
        if prediction.semantics is not None:
            self._names = prediction.class_names
            classes = prediction.semantics[rows, columns]
            self._classes += binned(classes, values, _CLASSES)

    def add_labels(self, prediction: Prediction, labels: npt.NDArray[np.uint8]) -> None:
        """Compare the classes of one frame with its labels (H, W), as stored.

        Raises:
            ShapeError: the sizes differ.
            ConfigError: see `labels_of_names`.
        """
        if prediction.semantics is None:
            return
        # Needs PyTorch, which recorded depth does without.
        from mono_depth_ros.models.semantic_classes import labels_of_names

        counts = SemanticCounts(prediction.class_names)
        truth = labels_of_names(prediction.class_names)[labels]
        counts.add(prediction.semantics, truth)
        self._merge_confusion(counts.counts)

    def _merge_confusion(self, confusion: npt.NDArray[np.int64]) -> None:
        if not self._confusion.size:
            self._confusion = confusion
        elif confusion.size:
            self._confusion = self._confusion + confusion

    def merge(self, other: ProductSums) -> None:
        """Add the frames of another one."""
        self._confidence += other._confidence
        self._classes += other._classes
        self._names = self._names or other._names
        self._merge_confusion(other._confusion)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the sums, for a file; `from_arrays` reads them."""
        return {
            "confidence": self._confidence,
            "classes": self._classes,
            "class_names": np.array(self._names, np.str_),
            "confusion": self._confusion,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ProductSums:
        """Return the sums that `arrays` gave."""
        names = tuple(str(name) for name in arrays["class_names"])
        return cls(arrays["confidence"], arrays["classes"], names, arrays["confusion"])

    def value(self) -> Products:
        """Return what was summed so far."""
        semantics = None
        if self._confusion.size:
            counts = SemanticCounts(self._names)
            counts.counts = self._confusion
            semantics = counts.scores()
        classes = zip(self._names, pooled(self._classes), strict=False)
        return Products(
            self._bins() if self._confidence[0].any() else (),
            tuple(ClassErrors(name, errors) for name, errors in classes if errors.count),
            semantics,
        )

    def _bins(self) -> tuple[ConfidenceErrors, ...]:
        with np.errstate(invalid="ignore"):
            means = (self._confidence[4] / self._confidence[0]).tolist()
        edges = [i / CONFIDENCE_BINS for i in range(CONFIDENCE_BINS + 1)]
        bins = zip(edges[:-1], edges[1:], means, pooled(self._confidence[:4]), strict=True)
        return tuple(ConfidenceErrors(*found) for found in bins)
