"""Whether camera and LiDAR of a recording fit together, told from the edges both of them see.

Where the LiDAR's range jumps or two surfaces meet, the image mostly has an edge. The mean strength
of the image's edges at the LiDAR's edges is a score that drops when the set-up is wrong. Three
explanations are tried, each on its own: another rotation between camera and LiDAR, another time of
the LiDAR (points are moved by the camera's motion, found from tracked corners), another focal
length. The one that raises the score most is believed, and reported if it is larger than
calibrations usually err, and if the gain is large and similar in all parts of the recording.

A rotation and a time offset look alike while the robot turns at a constant rate; they are one group
and then both readings are given. The time supposes that most of what is near stands still: between
other vehicles its estimate may have the wrong sign. Units are judged by the median distance alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import BagError, ConfigError
from mono_depth_ros.evaluation.alignment import Alignment, Correction, Measured, measure
from mono_depth_ros.evaluation.correction_search import (
    FOCAL,
    KINDS,
    ROTATION,
    TIME,
    Fit,
    fit_correction,
)
from mono_depth_ros.evaluation.frames import Frame

# Median distances beyond these are taken for a wrong unit.
_NEAREST_MEDIAN_M, _FARTHEST_MEDIAN_M = 0.1, 200.0
_UNIT_FACTOR = 1000.0
# Deviations up to these raise nothing.
_LIMIT_DEG, _LIMIT_S, _LIMIT_FOCAL = 1.2, 0.065, 0.06
# What the score must gain: in units of its spread over parts of the recording, and relative to the
# best score.
_LEAST_CONFIDENCE, _LEAST_GAIN = 1.5, 0.12
# A second reading is given when it explains at least this part of the gain, and can raise the
# warning when it explains nearly all.
_ALSO_POSSIBLE, _AS_GOOD = 0.7, 0.9
# Jumps of range in all frames together; with fewer, one wrong pair of edges decides.
_FEWEST_JUMPS = 800.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What seems wrong with a recording's set-up.

    The three corrections are alternatives: each is the best one if nothing else is wrong. All say
    what to change, so that a set-up without fault has (0, 0, 0), 0, 1, 1.

    Attributes:
        frames: frames looked at.
        edges: jumps of range in all of them.
        conclusive: False where there are too few edges to judge anything but the unit; corrections
            are NaN if there are none at all.
        turning_deg_s: median turning rate of the camera, NaN where it could not be tracked.
        score: mean relative image contrast at LiDAR edges with the given set-up.
        best_score: the same with the best correction.
        rotation_deg: rotation vector in camera axes (x right, y down, z forward). The right
            camera_from_lidar is that rotation times the given one.
        time_offset_ms: to be added to the LiDAR's stamps; positive where a sweep was taken later
            than its stamp says (relative to the camera's), negative where stamps are late.
        focal_scale: what fx and fy must be multiplied by.
        unit_factor: what distances must be multiplied by to be metres: 1, 1000 or 0.001.
        warnings: one per group, "extrinsics or time", "focal length" or "unit"; each begins with
            the group and a colon, and names the estimate and what to check.
    """

    frames: int
    edges: int
    conclusive: bool
    turning_deg_s: float
    score: float
    best_score: float
    rotation_deg: tuple[float, float, float]
    time_offset_ms: float
    focal_scale: float
    unit_factor: float
    warnings: tuple[str, ...]


def diagnose(frames: Iterable[Frame], max_frames: int = 60, *, moved: bool = False) -> Diagnosis:
    """Compare images and LiDAR of a recording.

    Costs about 0.05 s per frame of 640x480 looked at on one core, outdoors with dense edges twice
    that; memory does not grow with the length of the recording.

    Args:
        frames: in the order of time, with images and with points of single sweeps; neighbours not
            more than half a second apart, or time offsets cannot be told. Frames with a depth image
            are judged by their unit only.
        max_frames: evenly spread frames are looked at when there are more.
        moved: whether points have been moved to the image's stamp already; else what the stamps
            say is allowed for with the camera's own motion.

    Raises:
        BagError: there is no frame, or a frame has no image or no truth.
        ConfigError: max_frames is less than 1.
    """
    check = SetupCheck(max_frames, moved=moved)
    for frame in frames:
        check.add(frame)
    return check.result()


class SetupCheck:
    """`diagnose` for frames that come one by one; arguments and errors as there.

    Frames of another size than the first are not looked at.
    """

    def __init__(self, max_frames: int = 60, *, moved: bool = False) -> None:
        if max_frames < 1:
            raise ConfigError(f"max_frames must be at least 1, got {max_frames}")
        self._max_frames, self._moved = max_frames, moved
        self._kept: list[tuple[float, Measured | None]] = []
        self._last: Frame | None = None
        self._count, self._stride = 0, 1

    def add(self, frame: Frame) -> None:
        """Take the next frame; the one before it is looked at."""
        if self._last is not None and _size(frame) != _size(self._last):
            return
        if self._last is not None:
            self._look(self._last, frame)
        self._last = frame

    def result(self) -> Diagnosis:
        """Return what all frames say; nothing may be added afterwards."""
        if self._last is not None:
            self._look(self._last, None)
            self._last = None
        if not self._kept:
            raise BagError("there is no frame to diagnose")
        factor = float(np.median([factor for factor, _ in self._kept]))
        measured = [frame for _, frame in self._kept if frame is not None]
        return _conclude(len(self._kept), factor, measured)

    @property
    def looked_at(self) -> int:
        """How many frames were looked at."""
        return len(self._kept)

    def look(self, frame: Frame, following: Frame | None) -> None:
        """Look at one frame, for callers that choose them; the next one tells the motion."""
        if following is not None and _size(following) != _size(frame):
            following = None
        self._kept.append(_look(frame, following, self._moved))

    def _look(self, frame: Frame, following: Frame | None) -> None:
        self._count += 1
        if (self._count - 1) % self._stride:
            return
        self.look(frame, following)
        if len(self._kept) > self._max_frames:
            self._kept, self._stride = self._kept[::2], 2 * self._stride


def _size(frame: Frame) -> tuple[int, int]:
    return frame.camera.width, frame.camera.height


def _look(frame: Frame, following: Frame | None, moved: bool) -> tuple[float, Measured | None]:
    """Return the factor to metres and, of a frame with a cloud, its edges."""
    factor = unit_factor(_distances_m(frame))
    if frame.depth_m is not None:
        return factor, None
    if frame.lidar_points_m is None or frame.camera_from_lidar is None or frame.rgb is None:
        raise BagError("a diagnosis needs frames with an image, and LiDAR points or a depth image")
    if factor != 1.0:
        frame = replace(frame, lidar_points_m=frame.lidar_points_m * np.float32(factor))
    return factor, measure(frame, following, moved=moved)


def unit_warning(frames: Iterable[Frame], max_frames: int = 20) -> str:
    """Return the warning about the unit of truths, of the first frames; empty if none is due.

    Raises:
        BagError: a frame has no truth.
    """
    factors = [unit_factor(_distances_m(frame)) for frame in islice(frames, max_frames)]
    factor = float(np.median(factors)) if factors else 1.0
    return "" if factor == 1.0 else _unit_warning(factor)


def _distances_m(frame: Frame) -> npt.NDArray[np.floating]:
    """Return the distances of a frame's truth, as if they were metres."""
    if frame.depth_m is not None:
        return frame.depth_m
    if frame.lidar_points_m is None:
        raise BagError("a diagnosis needs frames with LiDAR points or a depth image")
    return np.linalg.norm(frame.lidar_points_m, axis=1)


def unit_factor(distances: npt.NDArray[np.floating]) -> float:
    """Return what distances must be multiplied by to be plausible metres: 1, 1000 or 0.001.

    Values that are not finite or not positive do not count.
    """
    known = distances[np.isfinite(distances) & (distances > 0.0)]
    median = float(np.median(known)) if known.size else 1.0
    if median > _FARTHEST_MEDIAN_M:
        return 1.0 / _UNIT_FACTOR
    return _UNIT_FACTOR if median < _NEAREST_MEDIAN_M else 1.0


def _conclude(count: int, factor: float, measured: list[Measured]) -> Diagnosis:
    warnings = [] if factor == 1.0 else [_unit_warning(factor)]
    nan = math.nan
    empty = Diagnosis(
        count, 0, False, nan, nan, nan, (nan, nan, nan), nan, nan, factor, tuple(warnings)
    )
    if not any(frame.weights.size for frame in measured):
        return empty
    alignment = Alignment(measured)
    given = alignment.sums(Correction(), 0).sum() / alignment.weight.sum()
    fits: dict[tuple[int, ...], Fit] = {free: fit_correction(alignment, free) for free in KINDS}
    best_score = float(given + max(0.0, *(fit.gain for fit in fits.values())))
    jumps = sum(frame.jumps for frame in measured)
    conclusive = jumps >= _FEWEST_JUMPS
    if conclusive:
        warnings += _warnings(fits, best_score)
    rates = np.array([np.linalg.norm(frame.velocity[:3]) for frame in measured])
    known = rates[np.isfinite(rates)]
    x, y, z = map(float, fits[ROTATION].values)
    return Diagnosis(
        frames=count,
        edges=round(jumps),
        conclusive=conclusive,
        turning_deg_s=math.degrees(np.median(known)) if known.size else nan,
        score=float(given),
        best_score=best_score,
        rotation_deg=(x, y, z),
        time_offset_ms=1e3 * float(fits[TIME].values[0]) if known.size else nan,
        focal_scale=math.exp(fits[FOCAL].values[0]),
        unit_factor=factor,
        warnings=tuple(warnings),
    )


def _warnings(fits: Mapping[tuple[int, ...], Fit], best_score: float) -> list[str]:
    """Return the warning of the group that explains most, if it is large and sure enough."""
    rotation, time, focal = fits[ROTATION], fits[TIME], fits[FOCAL]
    if focal.gain >= max(rotation.gain, time.gain):
        large = abs(focal.values[0]) > _LIMIT_FOCAL
        return [_focal_warning(focal)] if large and _sure(focal, best_score) else []
    first = max(rotation, time, key=lambda fit: fit.gain)
    large_turn = np.linalg.norm(rotation.values) > _LIMIT_DEG
    large_time = abs(time.values[0]) > _LIMIT_S
    large = (large_turn and rotation.gain >= _AS_GOOD * first.gain) or (
        large_time and time.gain >= _AS_GOOD * first.gain
    )
    return [_pose_warning(rotation, time)] if large and _sure(first, best_score) else []


def _sure(fit: Fit, best_score: float) -> bool:
    return fit.confidence > _LEAST_CONFIDENCE and fit.gain > _LEAST_GAIN * best_score


def _pose_warning(rotation: Fit, time: Fit) -> str:
    x, y, z = rotation.values
    angle = np.linalg.norm(rotation.values)
    late = "earlier than their stamps say" if time.values[0] < 0 else "later than their stamps say"
    readings = [
        (
            rotation.gain,
            f"camera_from_lidar is off by {angle:.1f} degrees; turn it by ({x:.1f}, {y:.1f}, "
            f"{z:.1f}) degrees about the camera's x, y, z axes",
        ),
        (
            time.gain,
            f"sweeps were taken {1e3 * abs(time.values[0]):.0f} ms {late}; add "
            f"{1e3 * time.values[0]:.0f} ms to the LiDAR's stamps",
        ),
    ]
    readings.sort(key=lambda reading: -reading[0])
    text = readings[0][1]
    if readings[1][0] >= _ALSO_POSSIBLE * readings[0][0]:
        text += (
            f"; or {readings[1][1]} (turning at a constant rate cannot tell which: record a drive "
            "that turns both ways)"
        )
    return (
        f"extrinsics or time: {text}. Check /tf_static or the calibration, and how camera and "
        "LiDAR are synchronised"
    )


def _focal_warning(focal: Fit) -> str:
    scale = math.exp(focal.values[0])
    return (
        f"focal length: fx and fy should be multiplied by {scale:.3f}. Check that camera_info is "
        "of this image size, lens and zoom"
    )


def _unit_warning(factor: float) -> str:
    wrong = "small" if factor > 1 else "large"
    return (
        f"unit: distances are {_UNIT_FACTOR:.0f} times too {wrong}; multiply them by {factor:g}. "
        "Check whether millimetres are published as metres"
    )
