"""A recording and a network in, its metric calibration out.

What a frame says about the scale is a list of depths that the network predicted beside what they
are in truth: pixels of LiDAR or a depth image, the height of the camera over the floor, or one
measured distance. Every method fits such pairs on the even frames and is judged on the odd ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from mono_depth_ros.calibration import (
    FOCAL_TOLERANCE,
    CalibratedCamera,
    CalibrationFile,
    DepthCalibration,
    Method,
    Residuals,
)
from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.errors import BagError, CalibrationError, ConfigError
from mono_depth_ros.evaluation.calibration_fits import fit_floor, fit_scale, fit_scale_shift
from mono_depth_ros.evaluation.camera_frames import CameraRecording
from mono_depth_ros.evaluation.frame_scoring import reference_depth
from mono_depth_ros.evaluation.frames import Frame, Recording
from mono_depth_ros.evaluation.headers import FRAME_ERRORS
from mono_depth_ros.evaluation.protocols import select_pixels
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.geometry import Intrinsics, depth_to_points
from mono_depth_ros.metrics import pixel_errors

FloatArray = npt.NDArray[np.floating]
Track = Callable[[Iterable[Frame], int], Iterable[Frame]]

# All pixels of all frames up to so many; of longer recordings every frame is thinned evenly.
MOST_PIXELS = 10_000_000
_RANGE_POINTS = 1_000
_NEEDED = {"camera-height": ("camera_height_m",), "distance": ("distance_m", "pixel_uv")}
_RANGE_PERCENT = (5, 95)


class CalibratedNetwork(Protocol):
    """What is calibrated; `DepthPredictor` is one."""

    info: CheckpointInfo

    def __call__(self, rgb: npt.NDArray[np.uint8], camera: Intrinsics) -> FloatArray:
        """Return (H, W) metres, NaN unknown."""

    def network_focal_px(self, camera: Intrinsics) -> float:
        """Return fx of the image as the network sees it, pixels."""


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """What the truth is and what is fitted to it.

    Attributes:
        method: "scale" and "scale-shift" take the truth of `evaluation`, "camera-height" and
            "distance" the numbers below.
        evaluation: topics, truth, occlusion rule and which pixels count; clamping, alignment and
            rounding of predictions are not used.
        camera_height_m: of the camera over the floor.
        distance_m: along the optical axis, of the thing at `pixel_uv`.
        pixel_uv: column and row in the recorded image.
        frame: in which frame, counted from 0 in recorded order.
    """

    method: Method = "scale"
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    camera_height_m: float | None = None
    distance_m: float | None = None
    pixel_uv: tuple[int, int] | None = None
    frame: int = 0

    def __post_init__(self) -> None:
        for name in _NEEDED.get(self.method, ()):
            if getattr(self, name) is None:
                raise ConfigError(f"method {self.method} needs {name}")
        for name in ("camera_height_m", "distance_m"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < math.inf:
                raise ConfigError(f"{name} must be positive and finite, got {value}")
        if self.frame < 0:
            raise ConfigError(f"frame must be 0 or more, got {self.frame}")


@dataclass(frozen=True, slots=True)
class FramePairs:
    """What one frame says: (N,) predictions and truths in metres.

    `range_m` holds (M,) true depths, metres, of the part of the image that was looked at.
    """

    camera: Intrinsics
    prediction_m: FloatArray
    truth_m: FloatArray
    range_m: FloatArray


def calibrate_bag(
    bag: str | Path,
    network: CalibratedNetwork,
    config: CalibrateConfig | None = None,
    *,
    track: Track = lambda frames, _: frames,
) -> CalibrationFile:
    """Fit the calibration of an uncalibrated network to a recording.

    Args:
        bag: anything `BagReader` opens.
        network: with depth_scale 1 and no shift.
        config: truth and method.
        track: wraps the frames while they are worked through, to show progress.

    Raises:
        BagError: the recording is unreadable or lacks something.
        CalibrationError: no frame says anything about the scale, the focal length changes by more
            than 2 %, or the fit is impossible.
        ConfigError: the asked-for pixel or frame does not exist.
    """
    config = config or CalibrateConfig()
    read = {"camera-height": floor_heights, "distance": measured_distance}
    pairs, left_out = read.get(config.method, truth_pixels)(bag, network, config, track)
    camera = _only_camera(pairs)
    fitted, checked = pairs[::2], pairs[1::2] or pairs[:1]
    fit = fit_scale_shift if config.method == "scale-shift" else fit_scale
    calibration = fit(*_joined(fitted))
    low_m, high_m = np.percentile(np.concatenate([p.range_m for p in fitted]), _RANGE_PERCENT)
    before, after = residuals(*_joined(checked), calibration)
    return CalibrationFile(
        method=config.method,
        depth_scale=calibration.depth_scale,
        checkpoint=network.info.name,
        checkpoint_sha256=network.info.sha256,
        camera=CalibratedCamera(
            camera.fx, camera.width, camera.height, network.network_focal_px(camera)
        ),
        fitted_range_m=(float(low_m), float(high_m)),
        frames=len(fitted),
        frames_left_out=left_out,
        pixels=sum(p.truth_m.size for p in fitted),
        residuals_on=_residuals_on(pairs),
        before=before,
        after=after,
        inverse_depth_shift_per_m=calibration.inverse_depth_shift_per_m,
    )


def truth_pixels(
    bag: str | Path, network: CalibratedNetwork, config: CalibrateConfig, track: Track
) -> tuple[list[FramePairs], int]:
    """Return the pixels with prediction and truth of every frame that has any, and frames left out.

    Raises:
        BagError: see `Recording`; or no truth falls into an image.
    """
    evaluation = config.evaluation
    # A fit needs what the network said, not what a benchmark makes of it.
    protocol = replace(
        evaluation.protocol, clamp_m=None, missing="skip", png_scale=None, alignment="none"
    )
    recording = Recording(bag, evaluation.frames)
    most = max(MOST_PIXELS // len(recording.pairs), 1)
    found = []
    for frame in track(recording.frames(), len(recording.pairs)):
        try:
            prediction_m = _predict(network, frame)
            p, g, _ = select_pixels(prediction_m, reference_depth(frame, evaluation), protocol)
        except FRAME_ERRORS as error:
            recording.leave_out(frame.stamp_ns, error)
            continue
        kept = _thinned(p.size, most)
        p, g = p[kept].astype(np.float32), g[kept].astype(np.float32)
        if p.size:
            found.append(FramePairs(frame.camera, p, g, g))
    if not found:
        if recording.unreadable:
            raise recording.nothing_left()
        raise BagError(
            f"no depth of {recording.topics.truth} meets a prediction in an image of "
            f"{recording.topics.image}; check the profile's window and the transform between "
            "camera and LiDAR"
        )
    return found, len(recording.pairs) - len(found)


def floor_heights(
    bag: str | Path, network: CalibratedNetwork, config: CalibrateConfig, track: Track
) -> tuple[list[FramePairs], int]:
    """Return predicted and true height of the camera, one pair per frame that shows a floor.

    Frames without one are left out and counted, see `fit_floor`.

    Raises:
        BagError: see `CameraRecording`.
        CalibrationError: no frame shows a floor.
    """
    height_m = config.camera_height_m or math.nan
    recording = CameraRecording(bag, config.evaluation.frames)
    found = []
    for frame in track(recording.frames(), recording.count):
        try:
            depth_m = _predict(network, frame)
            # Beyond what the camera saw a rectified image is black.
            depth_m = depth_m if frame.seen is None else np.where(frame.seen, depth_m, np.nan)
            points_m = depth_to_points(depth_m, frame.camera).reshape(-1, 3)
        except FRAME_ERRORS as error:
            recording.leave_out(f"the image at {frame.stamp_ns} ns", error)
            continue
        floor = fit_floor(points_m)
        if floor is None:
            recording.leave_out(f"the image at {frame.stamp_ns} ns", "it shows no dominant floor")
            continue
        floor_m = points_m[floor.contains(points_m), 2] * (height_m / floor.height_m)
        found.append(
            FramePairs(
                frame.camera,
                np.array([floor.height_m]),
                np.array([height_m]),
                floor_m[_thinned(floor_m.size, _RANGE_POINTS)],
            )
        )
    if not found:
        raise CalibrationError(
            f"none of {recording.count} frames shows a dominant floor to the network; record more "
            "floor, or calibrate from LiDAR, a depth image or --distance"
        )
    return found, recording.left_out


def measured_distance(
    bag: str | Path, network: CalibratedNetwork, config: CalibrateConfig, _track: Track
) -> tuple[list[FramePairs], int]:
    """Return the one pair of a measured distance and the prediction at its pixel.

    Raises:
        BagError: see `CameraRecording`; or the frame itself is unreadable.
        ConfigError: the frame or the pixel does not exist.
        CalibrationError: there is no prediction at the pixel, or it is not in the rectified image.
    """
    (u, v), frames = config.pixel_uv or (0, 0), replace(config.evaluation.frames, max_frames=None)
    recording = CameraRecording(bag, frames)
    frame = recording.frame(config.frame)
    if not (0 <= u < frame.camera.width and 0 <= v < frame.camera.height):
        raise ConfigError(
            f"pixel {u} {v} is outside the image of {frame.camera.width}x{frame.camera.height} "
            "(width x height); columns and rows count from 0"
        )
    column, row = recording.rectified_pixel(frame, (u, v))
    predicted_m = _predict(network, frame)[row, column]
    if not predicted_m > 0:
        raise CalibrationError(f"the network has no depth at pixel {u} {v}; choose another one")
    truth_m = np.array([config.distance_m or math.nan])
    return [FramePairs(frame.camera, np.array([predicted_m]), truth_m, truth_m)], 0


def residuals(
    prediction_m: FloatArray, truth_m: FloatArray, calibration: DepthCalibration
) -> tuple[Residuals, Residuals]:
    """Return the errors of (N,) predictions against truths, before and after a calibration.

    Raises:
        CalibrationError: the calibration leaves no prediction a depth.
    """
    calibrated_m = calibration.apply(prediction_m)
    known = np.isfinite(calibrated_m)
    if not known.any():
        raise CalibrationError("the calibration leaves no depth; fit with --method scale")
    return _errors(prediction_m, truth_m), _errors(calibrated_m[known], truth_m[known])


def _errors(prediction_m: FloatArray, truth_m: FloatArray) -> Residuals:
    errors = pixel_errors(prediction_m, truth_m)
    p, g = np.asarray(prediction_m, np.float64), np.asarray(truth_m, np.float64)
    median = float(np.median(np.abs(p - g) / g))
    return Residuals(errors.count, median, errors.abs_rel, errors.delta1)


def _predict(network: CalibratedNetwork, frame: Frame) -> FloatArray:
    if frame.rgb is None:
        raise BagError("a frame without its image cannot be predicted")
    return network(frame.rgb, frame.camera)


def _only_camera(pairs: Sequence[FramePairs]) -> Intrinsics:
    first = pairs[0].camera
    for camera in (p.camera for p in pairs):
        if abs(camera.fx / first.fx - 1.0) > FOCAL_TOLERANCE:
            raise CalibrationError(
                f"the focal length changes from {first.fx:.1f} to {camera.fx:.1f} px within the "
                "recording; calibrate with one camera at one zoom"
            )
    return first


def _joined(pairs: Sequence[FramePairs]) -> tuple[FloatArray, FloatArray]:
    return (
        np.concatenate([p.prediction_m for p in pairs]),
        np.concatenate([p.truth_m for p in pairs]),
    )


def _residuals_on(pairs: Sequence[FramePairs]) -> Literal["odd frames", "fitted frames"]:
    return "odd frames" if len(pairs) > 1 else "fitted frames"


def _thinned(count: int, most: int) -> npt.NDArray[np.int64]:
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
