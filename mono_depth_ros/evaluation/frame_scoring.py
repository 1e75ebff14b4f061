"""The scores of one frame: its truth on the image's pixels, and how far a prediction is from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.details import DetailSums
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.occlusion import drop_occluded
from mono_depth_ros.evaluation.protocols import (
    Pixels,
    Protocol,
    counted_pixels,
    select_pixels,
    window_pixels,
)
from mono_depth_ros.evaluation.sampling import sampled_at
from mono_depth_ros.evaluation.scores import FrameScore
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.geometry import FloatArray, lidar_into_image, render_depth
from mono_depth_ros.metrics import DepthErrors, devkit_errors, median_scale, pixel_errors
from mono_depth_ros.prediction import Prediction


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The truth of a frame.

    Attributes:
        depth_m: (H, W) float32 metres on the image's pixels, NaN = none.
        points: u_px, v_px and depth_m, (N,) each, of the LiDAR points in the image; None where the
            truth is a depth image.
    """

    depth_m: npt.NDArray[np.float32]
    points: tuple[FloatArray, FloatArray, FloatArray] | None = None


def reference_of(frame: Frame, config: EvaluationConfig) -> Reference:
    """Return the truth of a frame, without points that only the LiDAR can see.

    Raises:
        BagError: the frame has neither a depth image nor points with their transform.
    """
    depth_m, points = frame.depth_m, None
    if depth_m is None:
        if frame.lidar_points_m is None or frame.camera_from_lidar is None:
            raise BagError("a frame needs LiDAR points and their transform, or a depth image")
        points = lidar_into_image(frame.lidar_points_m, frame.camera_from_lidar, frame.camera)
        depth_m = render_depth(*points, frame.camera)
        if config.occlusion != "none":
            lidar_in_camera_m = frame.camera_from_lidar[:3, 3]
            depth_m = drop_occluded(
                depth_m,
                config.occlusion_gap,
                camera=frame.camera,
                lidar_in_camera_m=lidar_in_camera_m,
            )
    if frame.seen is not None:
        depth_m = np.where(frame.seen, depth_m, np.float32(np.nan))
    return Reference(depth_m, points)


def reference_depth(frame: Frame, config: EvaluationConfig) -> npt.NDArray[np.float32]:
    """Return `depth_m` of `reference_of`."""
    return reference_of(frame, config).depth_m


def counted_depths(
    reference_m: npt.NDArray[np.float32], protocol: Protocol
) -> npt.NDArray[np.float64]:
    """Return the reference depths (N,) metres of an image that a protocol counts."""
    return select_pixels(reference_m, reference_m, protocol)[1]


def score_frame(
    frame: Frame,
    prediction: Prediction,
    reference: Reference,
    config: EvaluationConfig,
    details: DetailSums | None = None,
) -> FrameScore:
    """Score one frame; its `constant` stays empty, because only the whole recording knows it.

    Args:
        frame: whose scores they are.
        prediction: on the image's pixels.
        reference: of the frame.
        config: what the scores depend on.
        details: takes what is asked per pixel.

    Raises:
        ShapeError: prediction and truth differ in size, or the profile needs larger images.
    """
    protocol, prediction_m = config.protocol, prediction.depth_m
    if config.sampling == "subpixel" and reference.points is not None:
        prediction_m = sampled_at(prediction_m, reference.depth_m, *reference.points)
    window = window_pixels(prediction_m, reference.depth_m, protocol)
    pixels = counted_pixels(window, protocol)
    if details is not None:
        details.add(pixels, prediction, frame.labels)
    p, g = pixels.prediction_m, pixels.reference_m
    bins = [(g >= low) & (g < high) for low, high in pairwise(config.range_bins_m)]
    return FrameScore(
        stamp_ns=frame.stamp_ns,
        truth_stamp_ns=frame.truth_stamp_ns,
        truth_pixels=pixels.truth_pixels,
        model=pixel_errors(p, g),
        aligned=_aligned_errors(window, replace(protocol, alignment="median")),
        scale=median_scale(p, g) if p.size else math.nan,
        constant=DepthErrors.empty(),
        bins=tuple(pixel_errors(p[inside], g[inside]) for inside in bins),
        devkit=devkit_errors(p, g),
        scale_and_shift=_aligned_errors(window, replace(protocol, alignment="scale-and-shift")),
    )


def _aligned_errors(window: Pixels, protocol: Protocol) -> DepthErrors:
    pixels = counted_pixels(window, protocol)
    return pixel_errors(pixels.prediction_m, pixels.reference_m)


def constant_errors(
    depths_m: npt.NDArray[np.floating], constant_m: float, protocol: Protocol
) -> DepthErrors:
    """Return the errors of one constant depth against the reference depths of an image.

    Args:
        depths_m: (N,) metres, those that the protocol counts.
        constant_m: the prediction of every pixel.
        protocol: its grid and crop have been applied already.
    """
    row = np.asarray(depths_m)[None]
    whole = replace(protocol, grid="full", crop="none")
    prediction, reference, _ = select_pixels(np.full(row.shape, constant_m), row, whole)
    return pixel_errors(prediction, reference)


class ReferenceMedian:
    """The median of the reference depths that a protocol counts, frame by frame, to 0.01 %."""

    # 1 mm to 1 km in steps of 0.01 %.
    _LOG_EDGES = np.linspace(math.log(1e-3), math.log(1e3), 138_156)
    _STEP = float(_LOG_EDGES[1] - _LOG_EDGES[0])

    def __init__(self) -> None:
        self._counts = np.zeros(self._LOG_EDGES.size - 1, np.int64)

    def add(self, depths_m: npt.NDArray[np.floating]) -> None:
        """Count depths, (N,) positive metres."""
        places = np.floor((np.log(depths_m) - self._LOG_EDGES[0]) / self._STEP)
        inside = (places >= 0) & (places < self._counts.size)
        # Of 138,155 bins a frame fills a few thousand.
        bins, counts = np.unique(places[inside].astype(np.int64), return_counts=True)
        self._counts[bins] += counts

    def value(self) -> float | None:
        """Return the median so far in metres, None of no depth at all."""
        total = self._counts.sum()
        if total == 0:
            return None
        middle = np.searchsorted(np.cumsum(self._counts), (total + 1) // 2)
        return float(np.exp((self._LOG_EDGES[middle] + self._LOG_EDGES[middle + 1]) / 2))
