"""The scores of a frame and of a recording."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mono_depth_ros.metrics import DepthErrors, DevkitErrors

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


def scale_flicker(scores: Sequence[FrameScore]) -> tuple[float, int]:
    """Return how much the metric scale changes from one scored frame to the next.

    The scale of a frame is median(reference) / median(prediction). What is returned is the median
    of |ln(s_t / s_(t-1))| over neighbours by stamp less than 0.5 s apart: 0.02 means that half of
    the steps change the scale of the whole scene by more than 2 %. It says nothing about single
    points, whose flicker needs the poses of the camera.

    Returns:
        The median, NaN without a pair, and the number of pairs.
    """
    usable = [s for s in scores if math.isfinite(s.scale) and s.scale > 0]
    usable.sort(key=lambda score: score.stamp_ns)
    steps = [
        abs(math.log(after.scale / before.scale))
        for before, after in pairwise(usable)
        if after.stamp_ns - before.stamp_ns < FLICKER_GAP_S * 1e9
    ]
    return (float(np.median(steps)) if steps else math.nan), len(steps)
