"""A recording and a predictor in, scores out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.topics import Topics
from mono_depth_ros.errors import BagError, ConfigError
from mono_depth_ros.evaluation.bootstrap import Interval
from mono_depth_ros.evaluation.details import Details, DetailSums
from mono_depth_ros.evaluation.diagnosis import Diagnosis, SetupCheck, unit_warning
from mono_depth_ros.evaluation.extremes import Extremes
from mono_depth_ros.evaluation.frames import Frame, FrameConfig, Recording
from mono_depth_ros.evaluation.headers import FRAME_ERRORS
from mono_depth_ros.evaluation.intervals import IntervalConfig, frame_interval
from mono_depth_ros.evaluation.occlusion import drop_occluded
from mono_depth_ros.evaluation.pictures import FramePictures, draw_frame
from mono_depth_ros.evaluation.protocols import Protocol as ScoreProtocol
from mono_depth_ros.evaluation.protocols import protocol_named, select_pixels, select_places
from mono_depth_ros.evaluation.sampling import at_points
from mono_depth_ros.evaluation.scores import FrameScore as FrameScore
from mono_depth_ros.evaluation.scores import Summary as Summary
from mono_depth_ros.evaluation.scores import scale_flicker
from mono_depth_ros.geometry import Intrinsics, lidar_to_depth
from mono_depth_ros.metrics import (
    devkit_errors,
    mean_over_images,
    mean_over_images_devkit,
    median_over_images,
    median_scale,
    pixel_errors,
    pool_over_pixels,
)

FloatArray = npt.NDArray[np.floating]
Predictor = Callable[[npt.NDArray[np.uint8], Intrinsics], FloatArray]

# Bins of the histogram from which the median is read: 1 mm to 1 km in steps of 0.01 %.
_LOG_EDGES = np.linspace(math.log(1e-3), math.log(1e3), 138_156)


class FramePredictor(Protocol):
    """What already knows a frame's depth, for example from another recording."""

    def predict_frame(self, frame: Frame) -> FloatArray | None:
        """Return (H, W) metres, NaN unknown, or None where there is no prediction."""


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """Everything a score depends on besides the recording and the predictor.

    Attributes:
        profile: name of the protocol.
        switches: protocol switches that differ from the profile, for example {cap_m: 50}.
        frames: topics, matching and truth.
        occlusion: "opposite" removes LiDAR points the camera cannot see, "none" keeps all.
        occlusion_gap: relative depth gap of that rule.
        sampling: "subpixel" takes the prediction where each LiDAR point is, "pixel" that of the
            pixel it lies on, as published protocols do.
        range_bins_m: ascending edges of the range bins, metres.
        pictures: number of frames drawn, evenly spread.
        extremes: number of the worst and of the best frames drawn, none where pictures is 0.
        intervals: how the intervals of the scores are drawn.
        check_setup: look for wrong extrinsics, stamps, focal length and units.
    """

    profile: str = "lidar"
    switches: dict[str, Any] = field(default_factory=dict)
    frames: FrameConfig = field(default_factory=FrameConfig)
    occlusion: Literal["opposite", "none"] = "opposite"
    occlusion_gap: float = 0.15
    sampling: Literal["subpixel", "pixel"] = "subpixel"
    range_bins_m: tuple[float, ...] = (0.0, 10.0, 20.0, 40.0, 80.0)
    pictures: int = 6
    extremes: int = 3
    intervals: IntervalConfig = field(default_factory=IntervalConfig)
    check_setup: bool = True

    def __post_init__(self) -> None:
        edges = self.range_bins_m
        if len(edges) < 2 or any(low >= high for low, high in pairwise(edges)):
            raise ConfigError(f"range_bins_m must be two or more ascending edges, got {edges}")
        for name, count in (("pictures", self.pictures), ("extremes", self.extremes)):
            if count < 0:
                raise ConfigError(f"{name} must be 0 or more, got {count}")
        protocol_named(self.profile, self.switches)

    @property
    def protocol(self) -> ScoreProtocol:
        """The profile with its switches applied."""
        return protocol_named(self.profile, self.switches)


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
    """

    config: EvaluationConfig
    recording: Source
    summary: Summary
    frames: tuple[FrameScore, ...]
    pictures: tuple[FramePictures, ...]
    details: Details
    worst: tuple[FramePictures, ...] = ()
    best: tuple[FramePictures, ...] = ()
    diagnosis: Diagnosis | None = None

    def interval(self) -> Interval | None:
        """Return the interval of `summary.model`; None where nothing can be said."""
        stamps_ns = [frame.stamp_ns for frame in self.frames]
        errors = [frame.model for frame in self.frames]
        average = self.config.protocol.average
        return frame_interval(stamps_ns, errors, average, self.config.intervals)


def evaluate_bag(
    bag: str | Path,
    predictor: Predictor | FramePredictor,
    config: EvaluationConfig | None = None,
    *,
    track: Callable[[Iterable[Frame], int], Iterable[Frame]] = lambda frames, _: frames,
) -> Evaluation:
    """Score depth predictions on every frame of a recording that has a truth.

    A frame that cannot be decoded, has an unusable camera_info, or is refused by the predictor is
    left out, logged and counted.

    Args:
        bag: anything `BagReader` opens.
        predictor: `(rgb, camera) -> depth_m (H, W)`, or a `FramePredictor`.
        config: protocol, topics, truth; the default is LiDAR truth of all ranges up to 80 m.
        track: wraps the frames while they are worked through, to show progress.

    Raises:
        BagError: the recording is unreadable, lacks something, no frame of it is usable, or no
            truth falls into an image.
        CalibrationError: no camera_info is usable.
        ShapeError: predictions and truth differ in size, or the profile needs larger images.
    """
    config = config or EvaluationConfig()
    recording = Recording(bag, config.frames)
    constant_m = median_reference(recording, config)
    drawn = _evenly_spread(len(recording.pairs), config.pictures)
    scores: list[FrameScore] = []
    pictures: list[FramePictures] = []
    details, extremes = DetailSums(), Extremes(config.extremes if config.pictures else 0)
    unpredicted, check = 0, _setup_check(recording, config)
    for index, frame in enumerate(track(recording.frames(), len(recording.pairs))):
        if check is not None:
            check.add(frame)
        try:
            prediction_m = _predict(predictor, frame)
        except FRAME_ERRORS as error:
            recording.leave_out(frame.stamp_ns, error)
            continue
        if prediction_m is None:
            unpredicted += 1
            continue
        reference_m = reference_depth(frame, config)
        score = score_frame(frame, prediction_m, reference_m, constant_m, config, details)
        scores.append(score)
        extremes.add(frame, prediction_m, reference_m, score.model.abs_rel)
        if index in drawn and frame.rgb is not None:
            title = f"frame {index}, stamp {frame.stamp_ns} ns"
            scale_m = config.range_bins_m[-1]
            pictures.append(draw_frame(title, frame.rgb, prediction_m, reference_m, scale_m))
    if recording.unreadable and not scores:
        raise recording.nothing_left()
    unscored = unpredicted, len(recording.unreadable)
    summary = summarise(scores, constant_m, unscored, config)
    worst, best = extremes.drawn(config.range_bins_m[-1])
    return Evaluation(
        config,
        recording,
        summary,
        tuple(scores),
        tuple(pictures),
        details.value(),
        worst,
        best,
        None if check is None else check.result(),
    )


def _setup_check(recording: Recording, config: EvaluationConfig) -> SetupCheck | None:
    """Return what looks for faults; merged sweeps have lost the lines it looks at."""
    if not config.check_setup or config.frames.sweeps > 1:
        return None
    return SetupCheck(moved=bool(recording.fixed_frame))


def reference_depth(frame: Frame, config: EvaluationConfig) -> npt.NDArray[np.float32]:
    """Return the truth on the image's pixels, (H, W) metres, NaN = none."""
    depth_m = frame.depth_m if frame.depth_m is not None else _projected(frame, config)
    return depth_m if frame.seen is None else np.where(frame.seen, depth_m, np.float32(np.nan))


def _projected(frame: Frame, config: EvaluationConfig) -> npt.NDArray[np.float32]:
    if frame.lidar_points_m is None or frame.camera_from_lidar is None:
        raise BagError("a frame needs LiDAR points and their transform, or a depth image")
    depth_m = lidar_to_depth(frame.lidar_points_m, frame.camera_from_lidar, frame.camera)
    if config.occlusion == "none":
        return depth_m
    return drop_occluded(
        depth_m,
        config.occlusion_gap,
        camera=frame.camera,
        lidar_in_camera_m=frame.camera_from_lidar[:3, 3],
    )


def median_reference(recording: Recording, config: EvaluationConfig) -> float:
    """Return the median of all reference depths that the protocol counts, to 0.01 %.

    Raises:
        BagError: there is none, which mostly means a wrong transform, camera or unit.
    """
    median = ReferenceMedian(config.protocol)
    for frame in recording.frames(with_images=False):
        median.add(reference_depth(frame, config))
    constant_m = median.value()
    if constant_m is None:
        unit = unit_warning(recording.frames(with_images=False))
        raise BagError(
            f"no depth of {recording.topics.truth} falls into the scored part of an image of "
            f"{recording.topics.image}; "
            + (unit or "check the profile's window and the transform between camera and LiDAR")
        )
    return constant_m


class ReferenceMedian:
    """The median of the reference depths that a protocol counts, frame by frame, to 0.01 %."""

    def __init__(self, protocol: ScoreProtocol) -> None:
        self._protocol = protocol
        self._counts = np.zeros(_LOG_EDGES.size - 1, np.int64)

    def add(self, reference_m: FloatArray) -> npt.NDArray[np.float64]:
        """Count those of one image, (H, W) metres; return them, (N,) metres."""
        _, values, _ = select_pixels(reference_m, reference_m, self._protocol)
        self._counts += np.histogram(np.log(values), _LOG_EDGES)[0]
        return values

    def value(self) -> float | None:
        """Return the median so far in metres, None of no depth at all."""
        total = self._counts.sum()
        if total == 0:
            return None
        middle = np.searchsorted(np.cumsum(self._counts), (total + 1) // 2)
        return float(np.exp((_LOG_EDGES[middle] + _LOG_EDGES[middle + 1]) / 2))


def score_frame(
    frame: Frame,
    prediction_m: FloatArray,
    reference_m: FloatArray,
    constant_m: float,
    config: EvaluationConfig,
    details: DetailSums | None = None,
) -> FrameScore:
    """Score one frame; both maps are (H, W) metres on the image's pixels.

    What is asked per pixel is added to `details`.
    """
    protocol = config.protocol
    prediction_m = _sampled(frame, prediction_m, reference_m, config)
    pixels = select_places(prediction_m, reference_m, protocol)
    if details is not None:
        details.add(pixels)
    p, g = pixels.prediction_m, pixels.reference_m
    aligned = select_pixels(prediction_m, reference_m, replace(protocol, alignment="median"))
    fitted = replace(protocol, alignment="scale-and-shift")
    scale_and_shift = select_pixels(prediction_m, reference_m, fitted)
    constant = np.full(reference_m.shape, constant_m)
    constant_p, constant_g, _ = select_pixels(constant, reference_m, protocol)
    edges = config.range_bins_m
    bins = [(g >= low) & (g < high) for low, high in pairwise(edges)]
    return FrameScore(
        stamp_ns=frame.stamp_ns,
        truth_stamp_ns=frame.truth_stamp_ns,
        truth_pixels=pixels.truth_pixels,
        model=pixel_errors(p, g),
        aligned=pixel_errors(*aligned[:2]),
        scale=median_scale(p, g) if p.size else math.nan,
        constant=pixel_errors(constant_p, constant_g),
        bins=tuple(pixel_errors(p[inside], g[inside]) for inside in bins),
        devkit=devkit_errors(p, g),
        scale_and_shift=pixel_errors(*scale_and_shift[:2]),
    )


def _sampled(
    frame: Frame, prediction_m: FloatArray, reference_m: FloatArray, config: EvaluationConfig
) -> FloatArray:
    """Return the prediction where the truth was measured."""
    if config.sampling == "pixel" or frame.lidar_points_m is None:
        return prediction_m
    if frame.camera_from_lidar is None:
        raise BagError("a frame with LiDAR points needs their transform")
    return at_points(
        prediction_m,
        np.asarray(reference_m, np.float32),
        frame.lidar_points_m,
        frame.camera_from_lidar,
        frame.camera,
    )


def summarise(
    scores: list[FrameScore], constant_m: float, unscored: tuple[int, int], config: EvaluationConfig
) -> Summary:
    """Average frame scores as the protocol says; `unscored` is (unpredicted, unreadable) frames."""
    average = mean_over_images if config.protocol.average == "images" else pool_over_pixels
    scales = [s.scale for s in scores if not math.isnan(s.scale)]
    models = [s.model for s in scores]
    flicker, flicker_pairs = scale_flicker(scores)
    return Summary(
        model=average(models),
        aligned=average([s.aligned for s in scores]),
        constant=average([s.constant for s in scores]),
        constant_m=constant_m,
        bins=tuple(
            average([s.bins[i] for s in scores]) for i in range(len(config.range_bins_m) - 1)
        ),
        devkit=mean_over_images_devkit([s.devkit for s in scores]),
        frames=len(scores),
        unpredicted_frames=unscored[0],
        unreadable_frames=unscored[1],
        truth_pixels=sum(s.truth_pixels for s in scores),
        median_scale=float(np.median(scales)) if scales else math.nan,
        scale_and_shift=average([s.scale_and_shift for s in scores]),
        mean_of_images=mean_over_images(models),
        pooled=pool_over_pixels(models),
        median_of_images=median_over_images(models),
        scale_flicker=flicker,
        flicker_pairs=flicker_pairs,
    )


def _predict(predictor: Predictor | FramePredictor, frame: Frame) -> FloatArray | None:
    if hasattr(predictor, "predict_frame"):
        return predictor.predict_frame(frame)
    if frame.rgb is None:
        raise BagError("a frame without its image cannot be predicted")
    return predictor(frame.rgb, frame.camera)


def _evenly_spread(count: int, wanted: int) -> set[int]:
    return set(np.linspace(0, count - 1, min(wanted, count)).round().astype(int).tolist())
