"""A recording and a predictor in, scores out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mono_depth_ros.bags.topics import Topics
from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.bootstrap import Interval
from mono_depth_ros.evaluation.details import Details
from mono_depth_ros.evaluation.diagnosis import Diagnosis, unit_warning
from mono_depth_ros.evaluation.frames import Recording
from mono_depth_ros.evaluation.inspection import Inspection, inspect
from mono_depth_ros.evaluation.intervals import frame_interval
from mono_depth_ros.evaluation.parts import put_together
from mono_depth_ros.evaluation.pictures import FramePictures
from mono_depth_ros.evaluation.scores import FrameScore, ScoreTable, Summary, scale_flicker
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.evaluation.work import (
    FramePredictor,
    Predictor,
    Work,
    missing_ranges,
    open_parts,
    work_in_processes,
    work_through,
)
from mono_depth_ros.metrics import (
    mean_over_images,
    mean_over_images_devkit,
    median_over_images,
    pool_over_pixels,
)

Track = Callable[[Iterable[Any], int], Iterable[Any]]


class Source(Protocol):
    """Where frames came from, as far as a report names it; a `Recording`, or live topics."""

    @property
    def path(self) -> Path:
        """Whose name is that of the report."""

    @property
    def topics(self) -> Topics:
        """What was read."""

    @property
    def images(self) -> int:
        """How many there were."""

    @property
    def truths(self) -> int:
        """How many there were."""

    @property
    def pairs(self) -> Sized:
        """One per image with a truth."""

    @property
    def fixed_frame(self) -> str:
        """In which the motion of sweeps was compensated; empty where it was not."""

    @property
    def damage(self) -> str:
        """Why parts of a recording could not be read; empty for a whole one."""

    @property
    def unreadable(self) -> Mapping[int, str]:
        """Image stamp to reason, of matched frames that were left out, as far as known."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of `evaluate_bag`.

    Attributes:
        config: what the scores depend on.
        recording: where the frames came from.
        summary: averages.
        frames: per frame, in recorded order.
        pictures: evenly spread frames.
        details: where the error lies.
        worst: pictures of the frames of largest AbsRel, that first.
        best: of the others, those of smallest AbsRel, that first.
        diagnosis: whether camera and LiDAR fit together; None where it was not asked.
        interrupted: in words, how much was scored before an interruption; empty for all.
    """

    config: EvaluationConfig
    recording: Source
    summary: Summary
    frames: Sequence[FrameScore]
    pictures: tuple[FramePictures, ...]
    details: Details
    worst: tuple[FramePictures, ...] = ()
    best: tuple[FramePictures, ...] = ()
    diagnosis: Diagnosis | None = None
    interrupted: str = ""

    def table(self) -> ScoreTable:
        """Return `frames` as a table."""
        return _table(self.frames, self.config)

    def interval(self) -> Interval | None:
        """Return the interval of `summary.model`; None where nothing can be said."""
        table = self.table()
        stamps_ns, average = table.stamps_ns[:, 0].tolist(), self.config.protocol.average
        return frame_interval(stamps_ns, table.errors("model"), average, self.config.intervals)


def evaluate_bag(
    bag: str | Path,
    predictor: Predictor | FramePredictor,
    config: EvaluationConfig | None = None,
    *,
    track: Track = lambda frames, _: frames,
    work: Work | None = None,
) -> Evaluation:
    """Score depth predictions on every frame of a recording that has a truth.

    A frame that cannot be decoded, has an unusable camera_info, or is refused by the predictor is
    left out, logged and counted. A KeyboardInterrupt ends the scoring early; what was scored until
    then is returned, and says so.

    Args:
        bag: anything `BagReader` opens.
        predictor: `(rgb, camera) -> depth_m (H, W)`, or a `FramePredictor`.
        config: protocol, topics, truth; the default is LiDAR truth of all ranges up to 80 m.
        track: wraps what is worked through, one item per frame, to show progress.
        work: several processes, or a folder in which an interrupted evaluation goes on.

    Raises:
        BagError: the recording is unreadable, lacks something, no frame of it is usable, or no
            truth falls into an image.
        CalibrationError: no camera_info is usable.
        ShapeError: predictions and truth differ in size, or the profile needs larger images.
        DataError: scores cannot be kept in files.
        KeyboardInterrupt: before any frame was scored.
    """
    config = config or EvaluationConfig()
    if work is None:
        with tempfile.TemporaryDirectory(prefix="mono_depth-") as folder:
            return evaluate_bag(
                bag, predictor, config, track=track, work=Work(Path(folder) / "parts")
            )
    recording = Recording(bag, config.frames)
    parts, count = open_parts(work, recording, config), len(recording.pairs)
    left = missing_ranges(count, parts.done())
    interrupted = ""
    try:
        if work.workers > 1 and left:
            frames = work_in_processes(recording.path, config, work, parts, left)
        else:
            frames = work_through(recording, predictor, config, parts, left)
        try:
            for _ in track(frames, sum(last - first for first, last in left)):
                pass
        finally:
            frames.close()
        whole = put_together(parts, config)
    except KeyboardInterrupt:
        whole = put_together(parts, config)
        if not whole.scores:
            raise
        interrupted = f"interrupted after {whole.worked} of {count} frames"
    recording.unreadable |= whole.unreadable
    _require_scores(recording, whole.constant_m, len(whole.scores), whole.unpredicted)
    assert whole.constant_m is not None
    summary = summarise(
        whole.scores, whole.constant_m, (whole.unpredicted, len(whole.unreadable)), config
    )
    try:
        seen = inspect(recording, predictor, config, whole)
    except KeyboardInterrupt:
        seen = Inspection()
        interrupted = interrupted or "interrupted before pictures were drawn"
    return Evaluation(
        config=config,
        recording=recording,
        summary=summary,
        frames=whole.scores,
        pictures=seen.pictures,
        details=whole.details,
        worst=seen.worst,
        best=seen.best,
        diagnosis=seen.diagnosis,
        interrupted=interrupted,
    )


def _require_scores(
    recording: Recording, constant_m: float | None, scored: int, unpredicted: int
) -> None:
    """Say why nothing could be scored, if that is so."""
    if recording.unreadable and not scored and not unpredicted:
        raise recording.nothing_left()
    if constant_m is None:
        unit = unit_warning(recording.frames(with_images=False))
        raise BagError(
            f"no depth of {recording.topics.truth} falls into the scored part of an image of "
            f"{recording.topics.image}; "
            + (unit or "check the profile's window and the transform between camera and LiDAR")
        )


def summarise(
    scores: Sequence[FrameScore],
    constant_m: float,
    unscored: tuple[int, int],
    config: EvaluationConfig,
) -> Summary:
    """Average frame scores as the protocol says; `unscored` is (unpredicted, unreadable) frames."""
    average = mean_over_images if config.protocol.average == "images" else pool_over_pixels
    table = _table(scores, config)
    model, scales = table.errors("model"), table.scales[~np.isnan(table.scales)]
    flicker, flicker_pairs = scale_flicker(table.stamps_ns[:, 0], table.scales)
    return Summary(
        model=average(model),
        aligned=average(table.errors("aligned")),
        constant=average(table.errors("constant")),
        constant_m=constant_m,
        bins=tuple(average(table.bin_errors(i)) for i in range(table.bins)),
        devkit=mean_over_images_devkit(table.devkit()),
        frames=len(table),
        unpredicted_frames=unscored[0],
        unreadable_frames=unscored[1],
        truth_pixels=int(table.truth_pixels.sum()),
        median_scale=float(np.median(scales)) if scales.size else math.nan,
        scale_and_shift=average(table.scale_and_shift()),
        mean_of_images=mean_over_images(model),
        pooled=pool_over_pixels(model),
        median_of_images=median_over_images(model),
        scale_flicker=flicker,
        flicker_pairs=flicker_pairs,
    )


def _table(scores: Sequence[FrameScore], config: EvaluationConfig) -> ScoreTable:
    if isinstance(scores, ScoreTable):
        return scores
    return ScoreTable.of(scores, len(config.range_bins_m) - 1)
