"""The scores of a frame and of a recording."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from itertools import chain
from typing import Any, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt

from mono_depth_ros.metrics import DepthErrors, DevkitErrors

Errors = TypeVar("Errors", DepthErrors, DevkitErrors)

ErrorsName = Literal["model", "aligned", "constant"]
_ERRORS, _DEVKIT = len(fields(DepthErrors)), len(fields(DevkitErrors))

# Two scored frames further apart than this say nothing about flicker.
FLICKER_GAP_S = 0.5


@dataclass(frozen=True, slots=True)
class FrameScore:
    """Scores of one frame.

    Attributes:
        stamp_ns: the image's stamp.
        truth_stamp_ns: the truth's stamp.
        truth_pixels: reference pixels that count, `model.count` of which were predicted.
        model: the prediction.
        aligned: the prediction after scaling by `scale`.
        scale: median(reference) / median(prediction), NaN without pixels.
        constant: one depth for every pixel of the recording.
        bins: the prediction per range bin.
        devkit: the prediction in the KITTI leaderboard's terms.
        scale_and_shift: the prediction after the alignment of that name, which is not metric;
            without a pixel in reports of earlier versions.
    """

    stamp_ns: int
    truth_stamp_ns: int
    truth_pixels: int
    model: DepthErrors
    aligned: DepthErrors
    scale: float
    constant: DepthErrors
    bins: tuple[DepthErrors, ...]
    devkit: DevkitErrors
    scale_and_shift: DepthErrors

    @classmethod
    def empty(cls, bins: int) -> FrameScore:
        """Return the score of a frame without a pixel."""
        none = DepthErrors.empty()
        devkit = DevkitErrors(0, *[math.nan] * (len(fields(DevkitErrors)) - 1))
        return cls(0, 0, 0, none, none, math.nan, none, (none,) * bins, devkit, none)

    def values(self) -> list[float]:
        """Return all numbers in one row, integers first; `from_values` reads it."""
        values: list[float] = [self.stamp_ns, self.truth_stamp_ns, self.truth_pixels, self.scale]
        for scores in (self.model, self.aligned, self.constant, *self.bins):
            values += astuple(scores)
        return [*values, *astuple(self.devkit), *astuple(self.scale_and_shift)]

    @classmethod
    def from_values(
        cls, values: Iterator[Any], bins: int, scale_and_shift: bool = True
    ) -> FrameScore:
        """Read a row of numbers, or of their texts, from left to right.

        Args:
            values: as `values` returns them.
            bins: number of range bins.
            scale_and_shift: False for rows that end before these scores.

        Raises:
            ValueError: something is no number.
        """

        def scores(kind: type[Errors]) -> Errors:
            return kind(int(next(values)), *(float(next(values)) for _ in fields(kind)[1:]))

        stamp_ns, truth_stamp_ns, truth_pixels = (int(next(values)) for _ in range(3))
        scale = float(next(values))
        model, aligned, constant = (scores(DepthErrors) for _ in range(3))
        return cls(
            stamp_ns=stamp_ns,
            truth_stamp_ns=truth_stamp_ns,
            truth_pixels=truth_pixels,
            model=model,
            aligned=aligned,
            scale=scale,
            constant=constant,
            bins=tuple(scores(DepthErrors) for _ in range(bins)),
            devkit=scores(DevkitErrors),
            scale_and_shift=scores(DepthErrors) if scale_and_shift else DepthErrors.empty(),
        )


class ScoreTable(Sequence[FrameScore]):
    """Scores of frames as two arrays, which take a fifth of the memory of so many `FrameScore`.

    `errors` and the other columns keep what one average needs, not all scores of all frames.

    Args:
        stamps_ns: (N, 2) int64 stamps of image and truth.
        values: (N, M) float64, the rest of `FrameScore.values`.
        bins: number of range bins.
    """

    def __init__(
        self, stamps_ns: npt.NDArray[np.int64], values: npt.NDArray[np.float64], bins: int
    ) -> None:
        self.stamps_ns, self.values, self.bins = stamps_ns, values, bins

    @classmethod
    def of(cls, scores: Sequence[FrameScore], bins: int) -> ScoreTable:
        """Return the table of scores."""
        rows = [score.values() for score in scores]
        stamps_ns = np.array([row[:2] for row in rows], np.int64).reshape(len(rows), 2)
        # The width of a row that nobody has must be known, too.
        width = len(FrameScore.empty(bins).values()) - 2
        values = np.array([row[2:] for row in rows], np.float64).reshape(len(rows), width)
        return cls(stamps_ns, values, bins)

    @overload
    def __getitem__(self, index: int) -> FrameScore: ...

    @overload
    def __getitem__(self, index: slice) -> ScoreTable: ...

    def __getitem__(self, index: int | slice) -> FrameScore | ScoreTable:
        """Return one score, or the table of some."""
        if isinstance(index, slice):
            return ScoreTable(self.stamps_ns[index], self.values[index], self.bins)
        row = chain(self.stamps_ns[index].tolist(), self.values[index].tolist())
        return FrameScore.from_values(row, self.bins)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.stamps_ns)

    def errors(self, name: ErrorsName) -> list[DepthErrors]:
        """Return one kind of errors of all frames, named as in `FrameScore`."""
        return self._at(2 + ("model", "aligned", "constant").index(name) * _ERRORS)

    def bin_errors(self, index: int) -> list[DepthErrors]:
        """Return the errors in one range bin of all frames."""
        return self._at(2 + (3 + index) * _ERRORS)

    def devkit(self) -> list[DevkitErrors]:
        """Return `FrameScore.devkit` of all frames."""
        rows = self.values[:, self._devkit : self._devkit + _DEVKIT].tolist()
        return [DevkitErrors(int(row[0]), *row[1:]) for row in rows]

    def scale_and_shift(self) -> list[DepthErrors]:
        """Return `FrameScore.scale_and_shift` of all frames."""
        return self._at(self._devkit + _DEVKIT)

    @property
    def truth_pixels(self) -> npt.NDArray[np.float64]:
        """`FrameScore.truth_pixels` of all frames."""
        return self.values[:, 0]

    @property
    def scales(self) -> npt.NDArray[np.float64]:
        """`FrameScore.scale` of all frames."""
        return self.values[:, 1]

    @property
    def _devkit(self) -> int:
        return 2 + (3 + self.bins) * _ERRORS

    def _at(self, start: int) -> list[DepthErrors]:
        rows = self.values[:, start : start + _ERRORS].tolist()
        return [DepthErrors(int(row[0]), *row[1:]) for row in rows]


@dataclass(frozen=True, slots=True)
class Summary:
    """Scores of a recording, averaged as the protocol says; names as in `FrameScore`.

    Attributes:
        constant_m: the depth of the constant baseline, the median of all reference depths.
        unpredicted_frames: matched frames for which there was no prediction; not scored.
        unreadable_frames: matched frames with an unusable image, truth or camera_info; not scored.
        mean_of_images: the prediction, images of equal weight; `model` is this or the next.
        pooled: the prediction, pixels of equal weight.
        median_of_images: the prediction, median of every score over images.
        scale_flicker: as the function of that name, NaN without neighbours.
        flicker_pairs: number of neighbours in it.
    """

    model: DepthErrors
    aligned: DepthErrors
    constant: DepthErrors
    constant_m: float
    bins: tuple[DepthErrors, ...]
    devkit: DevkitErrors
    frames: int
    unpredicted_frames: int
    unreadable_frames: int
    truth_pixels: int
    median_scale: float
    scale_and_shift: DepthErrors
    mean_of_images: DepthErrors
    pooled: DepthErrors
    median_of_images: DepthErrors
    scale_flicker: float
    flicker_pairs: int

    @property
    def coverage(self) -> float:
        """The share of the truth's pixels that were predicted, NaN without any."""
        return self.model.count / self.truth_pixels if self.truth_pixels else math.nan


def scale_flicker(
    stamps_ns: npt.NDArray[np.int64], scales: npt.NDArray[np.float64]
) -> tuple[float, int]:
    """Return how much the metric scale changes from one scored frame to the next.

    What is returned is the median of |ln(s_t / s_(t-1))| over neighbours by stamp less than 0.5 s
    apart: 0.02 means that half of the steps change the scale of the whole scene by more than 2 %.
    Of single points `PointFlicker` speaks, which needs the poses of the camera.

    Args:
        stamps_ns: (N,) of the images.
        scales: (N,) median(reference) / median(prediction), NaN without pixels.

    Returns:
        The median, NaN without a pair, and the number of pairs.
    """
    usable = np.isfinite(scales) & (scales > 0)
    order = np.argsort(stamps_ns[usable], kind="stable")
    near = np.diff(stamps_ns[usable][order]) < FLICKER_GAP_S * 1e9
    steps = np.abs(np.diff(np.log(scales[usable][order])))[near]
    return (float(np.median(steps)) if steps.size else math.nan), int(steps.size)
