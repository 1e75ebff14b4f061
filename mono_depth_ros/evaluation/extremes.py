"""The worst and the best frames of a run, kept while it goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.pictures import FramePictures, draw_frame


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    index: int
    stamp_ns: int
    abs_rel: float
    rgb: npt.NDArray[np.uint8]
    prediction_m: npt.NDArray[np.float32]
    reference_m: npt.NDArray[np.float32]


def worst_and_best(abs_rels: Sequence[float], wanted: int) -> tuple[list[int], list[int]]:
    """Return the places of so many of the largest and of the smallest AbsRel, those first.

    What is not finite is neither. With few frames each is in one list only, in the worst rather
    than in the best.
    """
    order = sorted(
        (i for i, value in enumerate(abs_rels) if math.isfinite(value)), key=abs_rels.__getitem__
    )
    split = max(len(order) - wanted, 0)
    return order[split:][::-1], order[: min(wanted, split)]


def frame_title(number: int, abs_rel: float, stamp_ns: int) -> str:
    """Return the title of a frame's pictures; `number` counts the scored frames from 0."""
    return f"scored frame {number}, AbsRel {abs_rel:.4f}, stamp {stamp_ns} ns"


class Extremes:
    """Keeps the frames of largest and of smallest AbsRel, so many of each.

    They are drawn at the end, because most that lead for a while do not stay. Until then a frame of
    1280x720 takes 10 MB.

    Args:
        wanted: number of the worst and of the best; 0 keeps nothing.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._scored = 0
        self._kept: list[_Kept] = []

    def add(
        self,
        frame: Frame,
        prediction_m: npt.NDArray[np.floating],
        reference_m: npt.NDArray[np.floating],
        abs_rel: float,
    ) -> None:
        """Keep a frame if it is an extreme so far; maps are (H, W) metres, NaN unknown."""
        index, self._scored = self._scored, self._scored + 1
        if frame.rgb is None or not math.isfinite(abs_rel) or not self._extreme(abs_rel):
            return
        kept = _Kept(
            index,
            frame.stamp_ns,
            abs_rel,
            frame.rgb.copy(),
            np.array(prediction_m, np.float32),
            np.array(reference_m, np.float32),
        )
        self._kept = sorted([*self._kept, kept], key=lambda other: other.abs_rel)
        if len(self._kept) > 2 * self._wanted:
            # The one in the middle, neither among the best nor among the worst.
            del self._kept[self._wanted]

    def drawn(
        self, max_depth_m: float
    ) -> tuple[tuple[FramePictures, ...], tuple[FramePictures, ...]]:
        """Draw the frames with depth colours up to `max_depth_m`.

        Returns:
            The worst, that of largest AbsRel first, and the best, that of smallest first. A frame
            of a short recording is in one of them only, in the worst rather than in the best.
        """
        split = max(len(self._kept) - self._wanted, 0)
        worst, best = self._kept[split:][::-1], self._kept[:split]
        return (
            tuple(_draw(kept, max_depth_m) for kept in worst),
            tuple(_draw(kept, max_depth_m) for kept in best),
        )

    def _extreme(self, abs_rel: float) -> bool:
        if not self._wanted:
            return False
        if len(self._kept) < 2 * self._wanted:
            return True
        best, worst = self._kept[self._wanted - 1], self._kept[self._wanted]
        return abs_rel < best.abs_rel or abs_rel > worst.abs_rel


def _draw(kept: _Kept, max_depth_m: float) -> FramePictures:
    title = frame_title(kept.index, kept.abs_rel, kept.stamp_ns)
    return draw_frame(title, kept.rgb, kept.prediction_m, kept.reference_m, max_depth_m)
