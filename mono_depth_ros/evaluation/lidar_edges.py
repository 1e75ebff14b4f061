"""Where a LiDAR sweep has edges: jumps of range, and creases where two surfaces meet.

Points are sorted into lines of equal elevation ("along") and of equal azimuth ("across"). On a
plane the inverse range changes almost linearly along such a line. An edge is a gap between two
neighbours of a line that no straight line spans:

* a jump: inverse range changes by more than an eighth beyond what the neighbours on either side
  lead to expect;
* a crease or a small step: two straight lines, fitted to the points before and after the gap, fit
  far better than one, measured by the range noise, which is estimated from second differences.

Of the two points of a gap the nearer one gives the range, because the edge is the nearer surface's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.geometry import FloatArray, Intrinsics, project_points, transform_points

# Cells of the line grid: finer than the spacing of spinning LiDARs splits their lines.
_AZIMUTH_CELL_DEG, _ELEVATION_CELL_DEG = 0.2, 0.4
# Part of the image around it that a wrong set-up may move into it.
_MARGIN = 0.15
_JUMP = 0.12
# Points on either side of a crease, along and across.
_ARMS = (6, 4)
# Improvement of two lines over one, in units of the noise variance and relative to the range.
_CREASE_SIGNIFICANCE, _CREASE_SIZE = 60.0, 0.006
_LEAST_NOISE_M = 0.004
_FEWEST_POINTS = 50

Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EdgeSet:
    """Edges of one kind, each known to lie between two directions.

    Attributes:
        first_m, second_m: (N, 3) ends of the gap in the LiDAR frame, both at the nearer range.
        across: whether the gap lies between beams (the edge runs horizontally) or along one.
        strong: jumps; else creases and small steps.
        gap_deg: usual angle between neighbours of a line.
    """

    first_m: Float64
    second_m: Float64
    across: bool
    strong: bool
    gap_deg: float


@dataclass(frozen=True, slots=True)
class _Lines:
    """Points ordered line by line.

    Attributes:
        order: index of each point in the cloud.
        line: number of the line it is on.
        cell: number of its cell on that line.
        angle_deg: its place on the line.
        inverse: 1 / range.
        gap_cells: usual distance between neighbours.
    """

    order: Indices
    line: Indices
    cell: Indices
    angle_deg: Float64
    inverse: Float64
    gap_cells: float


def find_edges(
    points_lidar_m: FloatArray, camera_from_lidar: FloatArray, camera: Intrinsics
) -> list[EdgeSet]:
    """Return the edges of a sweep that may be in the image.

    Args:
        points_lidar_m: (N, 3) metres, LiDAR frame, in any order; non-finite points are left out.
        camera_from_lidar: (4, 4), roughly right.
        camera: intrinsics, roughly right.

    Returns:
        Jumps along and across, then creases along and across; empty with too few points.
    """
    points_m = _in_view(points_lidar_m, np.asarray(camera_from_lidar, np.float64), camera)
    if len(points_m) < _FEWEST_POINTS:
        return []
    range_m = np.linalg.norm(points_m, axis=1)
    along, across = _lines(points_m, range_m, np.asarray(camera_from_lidar, np.float64))
    noise_m = _range_noise(along)
    jumps: list[EdgeSet] = []
    creases: list[EdgeSet] = []
    for lines, is_across in ((along, False), (across, True)):
        arm = _ARMS[is_across]
        cell_deg = _ELEVATION_CELL_DEG if is_across else _AZIMUTH_CELL_DEG
        jump = _jumps(lines)
        crease = _creases(lines, arm, 1.5 * (2 * arm - 1) * lines.gap_cells * cell_deg, noise_m)
        crease = crease[~_beside(jump, len(lines.order), arm)[crease]]
        for gaps, strong, found in ((jump, True, jumps), (crease, False, creases)):
            first, second = lines.order[gaps], lines.order[gaps + 1]
            near_m = np.minimum(range_m[first], range_m[second])
            found.append(
                EdgeSet(
                    points_m[first] * (near_m / range_m[first])[:, None],
                    points_m[second] * (near_m / range_m[second])[:, None],
                    is_across,
                    strong,
                    lines.gap_cells * cell_deg,
                )
            )
    return jumps + creases


def _in_view(points_lidar_m: FloatArray, camera_from_lidar: Float64, camera: Intrinsics) -> Float64:
    """Return the points that fall into the image or near it."""
    points_m = np.asarray(points_lidar_m)
    points_m = points_m[np.isfinite(points_m).all(axis=1)]
    # Most of a sweep is behind the camera; it need not be projected.
    points_m = points_m[points_m @ camera_from_lidar[2, :3] + camera_from_lidar[2, 3] > 0.1]
    u_px, v_px, _ = project_points(transform_points(camera_from_lidar, points_m), camera)
    wide, high = _MARGIN * camera.width, _MARGIN * camera.height
    inside = (u_px > -wide) & (u_px < camera.width + wide)
    inside &= (v_px > -high) & (v_px < camera.height + high)
    return points_m[inside].astype(np.float64)


def _lines(
    points_m: Float64, range_m: Float64, camera_from_lidar: Float64
) -> tuple[_Lines, _Lines]:
    """Sort the points into lines of equal elevation and of equal azimuth.

    The axis of azimuth is the LiDAR's z; in a cloud given in optical axes, it is -y.
    """
    forward = camera_from_lidar[2, :3]
    east, north, up = (2, 0, 1) if abs(forward[2]) > 0.8 else (0, 1, 2)
    straight = math.atan2(forward[north], forward[east])
    azimuth = np.arctan2(points_m[:, north], points_m[:, east]) - straight
    azimuth_deg = np.degrees((azimuth + math.pi) % (2 * math.pi) - math.pi)
    elevation_deg = np.degrees(np.arcsin(np.clip(points_m[:, up] / range_m, -1.0, 1.0)))
    column = np.round((azimuth_deg - azimuth_deg.min()) / _AZIMUTH_CELL_DEG).astype(np.int64)
    row = np.round((elevation_deg - elevation_deg.min()) / _ELEVATION_CELL_DEG).astype(np.int64)
    grid = np.full((row.max() + 1, column.max() + 1), -1, np.int64)
    far_first = np.argsort(-range_m)
    grid[row[far_first], column[far_first]] = far_first
    filled_rows = np.flatnonzero((grid >= 0).any(axis=1))
    row_gap = float(np.median(np.diff(filled_rows))) if len(filled_rows) > 1 else 1.0
    sides = []
    for cells, angle_deg, gap in ((grid, azimuth_deg, 1.0), (grid.T, elevation_deg, row_gap)):
        line, cell = np.nonzero(cells >= 0)
        order = cells[line, cell]
        sides.append(_Lines(order, line, cell, angle_deg[order], 1.0 / range_m[order], gap))
    return sides[0], sides[1]


def _range_noise(lines: _Lines) -> float:
    """Return the standard deviation of the ranges, metres, from neighbours along lines."""
    inverse, cell = lines.inverse, lines.cell
    triple = (lines.line[:-2] == lines.line[2:]) & (cell[2:] - cell[:-2] == 2)
    bend = inverse[:-2] - 2.0 * inverse[1:-1] + inverse[2:]
    bend_m = np.abs(bend[triple]) / inverse[1:-1][triple] ** 2
    if bend_m.size < _FEWEST_POINTS:
        return 0.02
    return max(float(np.median(bend_m)) / 0.6745 / math.sqrt(6.0), _LEAST_NOISE_M)


def _jumps(lines: _Lines) -> Indices:
    """Return the gaps (between a point and the next) over which the range jumps."""
    inverse = lines.inverse
    reach = int(1.5 * lines.gap_cells + 1.5)
    joined = (lines.line[1:] == lines.line[:-1]) & (np.diff(lines.cell) <= reach)
    step_deg = np.maximum(np.diff(lines.angle_deg), 1e-3)
    slope = np.where(joined, np.diff(inverse) / step_deg, 0.0)
    before, after = np.append(0.0, slope[:-1]), np.append(slope[1:], 0.0)
    excess = np.minimum(np.abs(slope - before), np.abs(slope - after))
    excess = np.minimum(excess, np.abs(slope)) * step_deg
    return np.flatnonzero(joined & (excess > _JUMP * np.maximum(inverse[1:], inverse[:-1])))


def _creases(lines: _Lines, arm: int, longest_deg: float, noise_m: float) -> Indices:
    """Return the gaps where two lines of `arm` points each fit better than one of both."""
    count = len(lines.order)
    if count < 2 * arm + 1:
        return np.zeros(0, np.int64)
    gap = np.arange(arm - 1, count - arm)
    start, middle, end = gap - arm + 1, gap + 1, gap + arm + 1
    residual = _LineResiduals(lines.angle_deg, lines.inverse)
    apart = residual(start, middle) + residual(middle, end)
    gain = np.maximum(residual(start, end) - apart, 0.0)
    nearest = np.maximum(lines.inverse[gap], lines.inverse[gap + 1])
    significance = gain / (noise_m * nearest**2) ** 2
    found = lines.line[start] == lines.line[end - 1]
    found &= lines.angle_deg[end - 1] - lines.angle_deg[start] < longest_deg
    found &= (significance > _CREASE_SIGNIFICANCE) & (gain > apart)
    found &= np.sqrt(gain / (2 * arm)) > _CREASE_SIZE * nearest
    strength = np.zeros(count)
    strength[gap] = np.where(found, significance, 0.0)
    highest = cv2.dilate(strength[None], np.ones((1, 2 * arm - 1), np.uint8))[0]
    return np.flatnonzero((strength > 0.0) & (strength >= highest))


class _LineResiduals:
    """Sums of squared residuals of straight lines fitted to runs of points."""

    def __init__(self, x: Float64, y: Float64) -> None:
        x, y = x - x.mean(), y - y.mean()
        self._sums = [np.append(0.0, np.cumsum(term)) for term in (x, y, x * x, x * y, y * y)]

    def __call__(self, start: Indices, end: Indices) -> Float64:
        """Return the sum for each run [start, end)."""
        x, y, xx, xy, yy = (total[end] - total[start] for total in self._sums)
        number = end - start
        xx, xy, yy = xx - x * x / number, xy - x * y / number, yy - y * y / number
        return np.maximum(yy - xy * xy / np.maximum(xx, 1e-12), 0.0)


def _beside(gaps: Indices, count: int, arm: int) -> npt.NDArray[np.bool_]:
    """Return for each of `count` gaps whether one of `gaps` is within `arm`."""
    marked = np.zeros((1, count), np.uint8)
    marked[0, gaps] = 1
    return cv2.dilate(marked, np.ones((1, 2 * arm + 1), np.uint8))[0] > 0
