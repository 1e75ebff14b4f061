"""A second look at a few frames: pictures of some, and whether camera and LiDAR fit together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.diagnosis import Diagnosis, SetupCheck
from mono_depth_ros.evaluation.extremes import frame_title, worst_and_best
from mono_depth_ros.evaluation.frame_scoring import reference_depth
from mono_depth_ros.evaluation.frames import Frame, Recording
from mono_depth_ros.evaluation.parts import Whole
from mono_depth_ros.evaluation.pictures import FramePictures, draw_frame
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.evaluation.work import FramePredictor, Predictor, predict

_CHECKED_FRAMES = 60


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was seen.

    Attributes:
        pictures: evenly spread frames.
        worst: those of largest AbsRel, that first.
        best: of the others, those of smallest AbsRel, that first.
        diagnosis: whether camera and LiDAR fit together; None where it was not asked.
    """

    pictures: tuple[FramePictures, ...] = ()
    worst: tuple[FramePictures, ...] = ()
    best: tuple[FramePictures, ...] = ()
    diagnosis: Diagnosis | None = None


def inspect(
    recording: Recording,
    predictor: Predictor | FramePredictor,
    config: EvaluationConfig,
    whole: Whole,
) -> Inspection:
    """Read, and where they are drawn predict, the frames that deserve a look.

    Args:
        recording: that was scored.
        predictor: that was scored.
        config: says how many are drawn, and whether the set-up is checked.
        whole: the scores.

    Raises:
        BagError: a frame that was scored has no image or prediction any more.
    """
    abs_rels = [errors.abs_rel for errors in whole.scores.errors("model")]
    spread = _evenly_spread(len(abs_rels), config.pictures)
    worst, best = worst_and_best(abs_rels, config.extremes if config.pictures else 0)
    # Numbers of scored frames by their places in the recording.
    numbers = {int(whole.places[number]): number for number in (*spread, *worst, *best)}
    check, checked = SetupCheck(moved=bool(recording.fixed_frame)), _checked(recording, config)
    following = {place + 1 for place in checked if place + 1 < len(recording.pairs)}
    drawn: dict[int, FramePictures] = {}
    last: tuple[int, Frame] | None = None
    for place, frame in recording.chosen_frames(sorted({*numbers, *checked, *following})):
        if last is not None:
            check.look(last[1], frame if place == last[0] + 1 else None)
            last = None
        if frame is not None and place in checked:
            last = place, frame
        if place in numbers:
            if frame is None:
                raise BagError(f"frame {place} of {recording.path} cannot be read any more")
            number = numbers[place]
            title = frame_title(number, abs_rels[number], frame.stamp_ns)
            drawn[number] = _draw(title, frame, predictor, config)
    if last is not None:
        check.look(last[1], None)
    return Inspection(
        pictures=tuple(drawn[number] for number in spread),
        worst=tuple(drawn[number] for number in worst),
        best=tuple(drawn[number] for number in best),
        diagnosis=check.result() if check.looked_at else None,
    )


def _draw(
    title: str, frame: Frame, predictor: Predictor | FramePredictor, config: EvaluationConfig
) -> FramePictures:
    prediction = predict(predictor, frame)
    if frame.rgb is None or prediction is None:
        raise BagError(f"the frame of the image at {frame.stamp_ns} ns has changed meanwhile")
    reference_m = reference_depth(frame, config)
    return draw_frame(title, frame.rgb, prediction.depth_m, reference_m, config.range_bins_m[-1])


def _checked(recording: Recording, config: EvaluationConfig) -> list[int]:
    """Return the places of the frames that the set-up check looks at."""
    # Merged sweeps have lost the lines it looks at.
    if not config.check_setup or config.frames.sweeps > 1:
        return []
    stride = math.ceil(len(recording.pairs) / _CHECKED_FRAMES)
    return list(range(0, len(recording.pairs), stride))


def _evenly_spread(count: int, wanted: int) -> list[int]:
    places = np.linspace(0, count - 1, min(wanted, count))
    return sorted(set(places.round().astype(int).tolist()))
