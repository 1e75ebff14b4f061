"""Flicker of static points: how the error of one and the same point changes between two frames.

The truth says where a point of the last frame is, the robot's pose where this frame must show it.
Where this frame's own truth has a point of that depth, nothing has moved or come in front, and the
two predictions can be compared with each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mono_depth_ros.evaluation.frame_scoring import Reference
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.sampling import sample_depth
from mono_depth_ros.evaluation.scores import FLICKER_GAP_S
from mono_depth_ros.geometry import (
    FloatArray,
    invert_transform,
    pixels_of,
    project_points,
    transform_points,
)

# A sweep has more; the median of these is as good.
_MOST_POINTS = 5000
# Fewer say nothing about a frame.
_LEAST_POINTS = 20
# A point is the same one where the two truths differ by less: LiDAR noise, and the change of depth
# within a pixel of a road at 80 m.
_SAME_SHARE, _SAME_M = 0.02, 0.05


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """Points of the last frame: where they are in the fixed frame, and ln(prediction / truth)."""

    stamp_ns: int
    fixed_m: FloatArray
    log_ratio: FloatArray


class PointFlicker:
    """Compares every frame with the one before it."""

    def __init__(self) -> None:
        self._last: _Seen | None = None

    def look(self, frame: Frame, prediction_m: FloatArray, reference: Reference) -> float:
        """Return the flicker since the last frame, and become ready for the next.

        Args:
            frame: with its pose; without one, or without LiDAR points, nothing can be said.
            prediction_m: (H, W) metres, NaN = unknown.
            reference: of the frame.

        Returns:
            The median over points of |ln r - ln r_before|, r = prediction / truth of the point. NaN
            where the last frame is 0.5 s away or more, or shares fewer than 20 points with this
            one.
        """
        last, self._last = self._last, _seen(frame, prediction_m, reference)
        pose = frame.fixed_from_camera
        if last is None or pose is None:
            return math.nan
        if not 0 < frame.stamp_ns - last.stamp_ns < FLICKER_GAP_S * 1e9:
            return math.nan
        points_m = transform_points(invert_transform(pose), last.fixed_m)
        u_px, v_px, depth_m = project_points(points_m, frame.camera)
        truth_m = _truth_at(u_px, v_px, reference)
        # NaN, no truth there, compares as false.
        same = np.abs(truth_m - depth_m) < _SAME_SHARE * depth_m + _SAME_M
        predicted_m = sample_depth(prediction_m, u_px[same], v_px[same])
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.abs(np.log(predicted_m / depth_m[same]) - last.log_ratio[same])
        step = step[np.isfinite(step)]
        return float(np.median(step)) if step.size >= _LEAST_POINTS else math.nan


def _seen(frame: Frame, prediction_m: FloatArray, reference: Reference) -> _Seen | None:
    if frame.fixed_from_camera is None or reference.points is None:
        return None
    u_px, v_px, depth_m = reference.points
    rows, columns = pixels_of(u_px, v_px)
    # Without those that another one hides, or that only the LiDAR sees.
    kept = np.flatnonzero(reference.depth_m[rows, columns] == depth_m.astype(np.float32))
    kept = kept[:: max(-(-kept.size // _MOST_POINTS), 1)]
    u_px, v_px, depth_m = u_px[kept], v_px[kept], depth_m[kept]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(sample_depth(prediction_m, u_px, v_px) / depth_m)
    known = np.isfinite(log_ratio)
    depth_m = depth_m[known]
    camera_m = np.stack(
        [
            (u_px[known] - frame.camera.cx) / frame.camera.fx * depth_m,
            (v_px[known] - frame.camera.cy) / frame.camera.fy * depth_m,
            depth_m,
        ],
        axis=1,
    )
    fixed_m = transform_points(frame.fixed_from_camera, camera_m)
    return _Seen(frame.stamp_ns, fixed_m, log_ratio[known])


def _truth_at(u_px: FloatArray, v_px: FloatArray, reference: Reference) -> FloatArray:
    """Return the truth (N,) metres of the pixels, NaN outside the image."""
    height, width = reference.depth_m.shape
    with np.errstate(invalid="ignore"):
        inside = (u_px >= -0.5) & (u_px < width - 0.5) & (v_px >= -0.5) & (v_px < height - 0.5)
    truth_m = np.full(u_px.shape, np.nan)
    truth_m[inside] = reference.depth_m[pixels_of(u_px[inside], v_px[inside])]
    return truth_m
