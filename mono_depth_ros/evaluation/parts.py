"""What is kept of scored frames: parts of a recording, in files, put together at the end.

A part is a run of matched frames: one row of numbers per scored frame, sums, and the reference
depths that count, 4 bytes each, because the constant baseline (the median of all of them) is known
at the end alone. Parts may be made in any order, by any process; memory holds one.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.atomic import replacing
from mono_depth_ros.errors import DataError
from mono_depth_ros.evaluation.details import Details, DetailSums
from mono_depth_ros.evaluation.frame_scoring import (
    ReferenceMedian,
    constant_errors,
    counted_depths,
    reference_of,
    score_frame,
)
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.point_flicker import PointFlicker
from mono_depth_ros.evaluation.scores import FrameScore, ScoreTable
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.prediction import Prediction

_DETAILS = "details_"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A run of matched frames that was worked through.

    Attributes:
        first: place of its first frame among the matched ones.
        last: of the frame after its last.
        places: (N,) int64, of the scored frames.
        scores: of those; `constant` is empty.
        depth_counts: (M,) int64, number of counted reference depths of every frame with a truth.
        scored: (M,) bool, which of them have a score.
        depths_m: the depths themselves, float32, frame after frame.
        details: sums over the scored frames.
        unreadable: stamp of an image to why its frame was left out.
    """

    first: int
    last: int
    places: npt.NDArray[np.int64]
    scores: ScoreTable
    depth_counts: npt.NDArray[np.int64]
    scored: npt.NDArray[np.bool_]
    depths_m: npt.NDArray[np.float32]
    details: DetailSums
    unreadable: dict[int, str]

    def depths_of_frames(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the counted depths of the scored frames."""
        ends = np.cumsum(self.depth_counts)
        for end, count, scored in zip(ends, self.depth_counts, self.scored, strict=True):
            if scored:
                yield self.depths_m[end - count : end]


@dataclass(slots=True)
class PartBuilder:
    """Scores frames one by one.

    Attributes:
        config: what scores depend on.
        first: place of the first frame to come.
        flicker: has seen the frames before.
        worked: number of frames that are done, scored or not.
    """

    config: EvaluationConfig
    first: int
    flicker: PointFlicker = field(default_factory=PointFlicker)
    worked: int = 0
    # One entry per frame, so that an interruption leaves whole frames.
    _frames: list[tuple[int, FrameScore | None, npt.NDArray[np.float32], DetailSums]] = field(
        default_factory=list
    )

    def look_back(self, frame: Frame, prediction: Prediction | None) -> None:
        """See the frame before the first one, which another part scores."""
        if prediction is not None:
            self.flicker.look(frame, prediction.depth_m, reference_of(frame, self.config))

    def add(self, frame: Frame, prediction: Prediction | None) -> None:
        """Score the next frame; None where there is no prediction.

        Raises:
            ShapeError: see `score_frame`.
        """
        reference, details, score = reference_of(frame, self.config), DetailSums(), None
        depths_m = counted_depths(reference.depth_m, self.config.protocol).astype(np.float32)
        if prediction is not None:
            score = score_frame(frame, prediction, reference, self.config, details)
            details.add_flicker(self.flicker.look(frame, prediction.depth_m, reference))
        self._frames.append((self.first + self.worked, score, depths_m, details))
        self.worked += 1

    def skip(self) -> None:
        """Pass a frame that cannot be used."""
        self.worked += 1

    def part(self, unreadable: dict[int, str]) -> Part:
        """Return what was worked through; `unreadable` says which frames were left out, and why."""
        bins = len(self.config.range_bins_m) - 1
        sums = DetailSums()
        for *_, details in self._frames:
            sums.merge(details)
        scores = [score for _, score, *_ in self._frames if score is not None]
        places = [place for place, score, *_ in self._frames if score is not None]
        depths_m = [depths_m for _, _, depths_m, _ in self._frames]
        return Part(
            self.first,
            self.first + self.worked,
            np.array(places, np.int64),
            ScoreTable.of(scores, bins),
            np.array([depths.size for depths in depths_m], np.int64),
            np.array([score is not None for _, score, *_ in self._frames], bool),
            np.concatenate([*depths_m, np.zeros(0, np.float32)]),
            sums,
            unreadable,
        )


class PartFolder:
    """The parts of one evaluation, a file each.

    Args:
        folder: exists.
        bins: number of range bins.
    """

    def __init__(self, folder: Path, bins: int) -> None:
        self.folder, self._bins = folder, bins

    def save(self, part: Part) -> None:
        """Write a part; its file appears whole or not at all.

        Raises:
            DataError: the folder cannot be written.
        """
        arrays: dict[str, Any] = {
            "places": part.places,
            "stamps_ns": part.scores.stamps_ns,
            "values": part.scores.values,
            "depth_counts": part.depth_counts,
            "scored": part.scored,
            "depths_m": part.depths_m,
            "unreadable": np.array(json.dumps(part.unreadable)),
        }
        arrays |= {_DETAILS + name: sums for name, sums in part.details.arrays().items()}
        try:
            with replacing(self.folder / f"{part.first:09d}-{part.last:09d}.npz") as temporary:
                np.savez(temporary, **arrays)
        except OSError as error:
            raise DataError(
                f"cannot keep scores in {self.folder}: {error.strerror}; is the disk full?"
            ) from error

    def done(self) -> list[tuple[int, int]]:
        """Return first and last of the parts that are there, ascending."""
        names = (path.stem.partition("-") for path in self.folder.glob("[0-9]*.npz"))
        return sorted((int(first), int(last)) for first, _, last in names)

    def parts(self) -> Iterator[Part]:
        """Read the parts in recorded order.

        Raises:
            DataError: a file is damaged.
        """
        for first, last in self.done():
            yield self._read(first, last)

    def _read(self, first: int, last: int) -> Part:
        path = self.folder / f"{first:09d}-{last:09d}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = dict(file)
            details = {
                name.removeprefix(_DETAILS): array
                for name, array in arrays.items()
                if name.startswith(_DETAILS)
            }
            unreadable = json.loads(str(arrays["unreadable"]))
            return Part(
                first,
                last,
                arrays["places"],
                ScoreTable(arrays["stamps_ns"], arrays["values"], self._bins),
                arrays["depth_counts"],
                arrays["scored"],
                arrays["depths_m"],
                DetailSums.from_arrays(details),
                {int(stamp_ns): reason for stamp_ns, reason in unreadable.items()},
            )
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged: {error}; delete it and try again") from error


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """All parts together.

    Attributes:
        scores: of all scored frames, in recorded order, `constant` included.
        places: (N,) of them among the matched frames.
        constant_m: median of all counted reference depths; None where there is none.
        details: of all scored frames.
        unpredicted: frames with a truth and without a prediction.
        worked: frames that were worked through.
        unreadable: stamp of an image to why its frame was left out.
    """

    scores: ScoreTable
    places: npt.NDArray[np.int64]
    constant_m: float | None
    details: Details
    unpredicted: int
    worked: int
    unreadable: dict[int, str]


def put_together(folder: PartFolder, config: EvaluationConfig) -> Whole:
    """Read all parts, twice: the constant baseline is that of the median of all.

    Raises:
        DataError: see `PartFolder.parts`.
    """
    median, sums = ReferenceMedian(), DetailSums()
    unreadable: dict[int, str] = {}
    unpredicted = worked = 0
    for part in folder.parts():
        median.add(part.depths_m)
        sums.merge(part.details)
        unreadable |= part.unreadable
        unpredicted += int((~part.scored).sum())
        worked += part.last - part.first
    constant_m, bins = median.value(), len(config.range_bins_m) - 1
    tables, places = [ScoreTable.of([], bins)], [np.zeros(0, np.int64)]
    if constant_m is not None:
        for part in folder.parts():
            tables.append(_with_constant(part, constant_m, config))
            places.append(part.places)
    table = ScoreTable(
        np.concatenate([found.stamps_ns for found in tables]),
        np.concatenate([found.values for found in tables]),
        bins,
    )
    details = sums.value()
    return Whole(
        table, np.concatenate(places), constant_m, details, unpredicted, worked, unreadable
    )


def _with_constant(part: Part, constant_m: float, config: EvaluationConfig) -> ScoreTable:
    scores = [
        replace(score, constant=constant_errors(depths_m, constant_m, config.protocol))
        for score, depths_m in zip(part.scores, part.depths_of_frames(), strict=True)
    ]
    return ScoreTable.of(scores, part.scores.bins)
