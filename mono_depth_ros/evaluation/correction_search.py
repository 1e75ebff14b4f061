"""The best correction of a set-up of one kind, and how sure it is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.evaluation.alignment import LEVELS, Alignment, Correction

_Vector = npt.NDArray[np.float64]
# Parameters: rotation vector (degrees), time (s), logarithm of the focal length.
ROTATION, TIME, FOCAL = KINDS = ((0, 1, 2), (3,), (4,))
_STEPS = np.array([1.0, 1.0, 1.0, 0.05, 0.03])
# Per blur level, coarsest first, the parts of _STEPS that are climbed with.
_SCHEDULE = ((2, (1.0, 0.5)), (1, (0.5, 0.25)), (0, (0.2, 0.1, 0.05)))
# Farther from the given set-up other edges are mistaken for the right ones.
_FARTHEST = np.array([3.5, 3.5, 3.5, 0.3, 0.2])
# Places that are climbed from: of the grid, and of those for the sharp images.
_STARTS, _FINALS = 5, 3
# Places on the line of one parameter, 10 ms or 0.6 % apart, and how many of them are climbed from.
_LINE_PLACES, _LINE_STARTS = 61, 2
# Parts of the recording that the spread is measured with.
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Fit:
    """The best correction of one kind.

    Attributes:
        values: of its parameters.
        errors: their standard errors, from leaving out parts of the recording.
        gain: by how much the score rises.
        confidence: that gain over its standard error.
    """

    values: _Vector
    errors: _Vector
    gain: float
    confidence: float


def fit_correction(alignment: Alignment, free: tuple[int, ...]) -> Fit:
    """Search the correction of one kind that raises the score most.

    Args:
        alignment: with at least one edge.
        free: ROTATION (values in degrees), TIME (seconds) or FOCAL (logarithm); the rest stays.

    Returns:
        The fit; its confidence is 0 where the recording cannot be cut into parts.
    """
    best = _search(alignment, free)
    given = alignment.sums(Correction(), 0)
    gains = alignment.sums(_correction(best), 0) - given
    total = alignment.weight.sum()
    middle = np.cumsum(alignment.weight) - alignment.weight / 2
    part = np.minimum(middle / total * _PARTS, _PARTS - 1).astype(np.int64)
    estimates, part_gains = [], []
    for inside in (part == number for number in range(_PARTS)):
        if not alignment.weight[inside].any() or not alignment.weight[~inside].any():
            continue
        part_gains.append(gains[inside].sum() / alignment.weight[inside].sum())
        _, estimate = _climb(alignment, best, free, _SCHEDULE[-1:], ~inside)
        estimates.append(estimate[list(free)])
    values, gain = best[list(free)], float(gains.sum() / total)
    if len(estimates) < 2:
        return Fit(values, np.full(len(free), np.inf), gain, 0.0)
    errors = np.sqrt((len(estimates) - 1) * np.var(estimates, axis=0))
    spread = float(np.std(part_gains, ddof=1)) / math.sqrt(len(part_gains))
    return Fit(values, errors, gain, float(np.mean(part_gains)) / max(spread, 1e-9))


def _search(alignment: Alignment, free: tuple[int, ...]) -> _Vector:
    """Return the best parameters: climb from the best places of a coarse grid."""
    everything = np.ones(len(alignment.weight), bool)
    starts = sorted(
        _grid(free),
        key=lambda start: -alignment.sums(_correction(start), LEVELS - 1).sum(),
    )[:_STARTS]
    climbed = [_climb(alignment, start, free, _SCHEDULE[:2], everything) for start in starts]
    climbed.sort(key=lambda result: -result[0])
    # The given set-up is a start at every level: blurred, a wrong place may look better.
    places = [np.zeros(5)] + [place for _, place in climbed[:_FINALS]]
    places += _best_of_line(alignment, free, everything)
    finals = [_climb(alignment, place, free, _SCHEDULE[2:], everything) for place in places]
    _, best = max(finals, key=lambda result: result[0])
    # Mostly one axis is wrong; what the others were moved by on the way may be a trap.
    places = [best] + [np.where(np.arange(5) == axis, 0.0, best) for axis in free]
    finals = [_climb(alignment, place, free, _SCHEDULE[2:], everything) for place in places]
    return max(finals, key=lambda result: result[0])[1]


def _grid(free: tuple[int, ...]) -> list[_Vector]:
    """Return the places a search starts from: 3 degrees, 0.24 s, 20 % around the given set-up."""
    if free == ROTATION:
        angles = itertools.product(range(-3, 4), range(-3, 4), (-2, 0, 2))
        return [np.array([x, y, z, 0.0, 0.0]) for x, y, z in angles]
    axis = np.diag(_STEPS)[free[0]]
    return [step * axis for step in np.linspace(-6.0, 6.0, 13)]


def _best_of_line(
    alignment: Alignment, free: tuple[int, ...], frames: npt.NDArray[np.bool_]
) -> list[_Vector]:
    """Return the best places of a fine grid at the sharp level, if one parameter alone is free.

    A narrow peak, as of a scene with few edges, may be lost between the blurred ones.
    """
    if len(free) > 1:
        return []
    axis = np.diag(_STEPS)[free[0]]
    line = [step * axis for step in np.linspace(-6.0, 6.0, _LINE_PLACES)]
    line.sort(key=lambda place: -_score(alignment, place, 0, frames))
    return line[:_LINE_STARTS]


def _climb(
    alignment: Alignment,
    start: _Vector,
    free: tuple[int, ...],
    schedule: Iterable[tuple[int, tuple[float, ...]]],
    frames: npt.NDArray[np.bool_],
) -> tuple[float, _Vector]:
    """Go uphill, one parameter after the other, in ever smaller steps; return score and place."""
    place, best = start, -math.inf
    axes = np.diag(_STEPS)[list(free)]
    for level, parts in schedule:
        best = _score(alignment, place, level, frames)
        for part in parts:
            moves = [sign * part * axis for axis in axes for sign in (1.0, -1.0)]
            moved = True
            while moved:
                before = best
                for move in moves:
                    best, place = _step(alignment, (best, place), move, level, frames)
                moved = best > before
    return best, place


def _step(
    alignment: Alignment,
    reached: tuple[float, _Vector],
    move: _Vector,
    level: int,
    frames: npt.NDArray[np.bool_],
) -> tuple[float, _Vector]:
    """Return score and place after the move, or those reached if it leads down or too far."""
    trial = reached[1] + move
    if (np.abs(trial) > _FARTHEST).any():
        return reached
    score = _score(alignment, trial, level, frames)
    return (score, trial) if score > reached[0] + 1e-9 else reached


def _score(
    alignment: Alignment, place: _Vector, level: int, frames: npt.NDArray[np.bool_]
) -> float:
    sums = alignment.sums(_correction(place), level)
    return float(sums[frames].sum() / alignment.weight[frames].sum())


def _correction(place: _Vector) -> Correction:
    x, y, z, time_s, log_focal = map(float, place)
    return Correction((x, y, z), time_s, log_focal)
