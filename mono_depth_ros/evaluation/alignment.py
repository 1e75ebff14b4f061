"""How well the edges of LiDAR sweeps lie on edges of their images, as a function of corrections."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.lidar_edges import EdgeSet, find_edges
from mono_depth_ros.geometry import FloatArray, Intrinsics, lidar_to_depth, transform_points

# Images are reduced to this focal length, so that the blurs below mean the same angles everywhere.
_FOCAL_PX = 300.0
# Blur of the edge images, finest first; each is stored at 1, 1/2, 1/4 of the size.
_BLURS_PX = (1.0, 2.5, 6.0)
LEVELS = len(_BLURS_PX)
# Edges are measured relative to the edges within this distance, and to their mean.
_SURROUNDINGS_PX = 61
_LEAST_CONTRAST = 3.0
_MOST_CONTRAST = 4.0
_EDGES_PER_KIND = 250
# Creases bias the pitch: a skirting board's upper edge is stronger than the foot of the wall.
_STRONG_WEIGHT, _WEAK_WEIGHT = 1.0, 0.1
# An edge between two beams is looked for at places at most this far apart.
_PLACES_DEG = 0.4
_LONGEST_STEP_S = 0.5
_FEWEST_TRACKS = 12
_REMAP_WIDTH = 1024
_LARGEST_TURN_RAD = 0.5

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Correction:
    """A change of the set-up; the default changes nothing.

    Attributes:
        rotation_deg: (3,) rotation vector in camera axes; the corrected camera_from_lidar is that
            rotation times the given one.
        time_s: to add to the LiDAR's stamps.
        log_focal: logarithm of what fx and fy are to be multiplied by.
    """

    rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    time_s: float = 0.0
    log_focal: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What the alignment needs of one frame.

    Attributes:
        camera: intrinsics of the reduced image.
        points_m: (N, 3) places on LiDAR edges, camera frame as the given set-up has it.
        across: (N,) whether the edge lies between beams, so that rows of the image tell it.
        weights: (N,)
        jumps: weight of the jumps of range among them.
        responses: per level (2, h, w): vertical edges, horizontal edges; zero mean.
        velocity: (6,) of the scene in the camera frame, angular rad/s and linear m/s; NaN unknown.
    """

    camera: Intrinsics
    points_m: Float32
    across: npt.NDArray[np.bool_]
    weights: Float32
    jumps: float
    responses: tuple[Float32, ...]
    velocity: Float64


def measure(frame: Frame, following: Frame | None, *, moved: bool) -> Measured:
    """Find the edges of a frame and the camera's motion towards the following one.

    Args:
        frame: with image, points and camera_from_lidar.
        following: the next frame of the recording, None at its end.
        moved: whether the points are where they were at the image's stamp; else they are moved by
            the camera's motion between the two stamps.

    Raises:
        ShapeError: the two images differ in size.
    """
    assert frame.rgb is not None and frame.lidar_points_m is not None
    assert frame.camera_from_lidar is not None
    rgb, camera = _reduced(frame.rgb, frame.camera)
    velocity = np.full(6, np.nan)
    if following is not None and following.rgb is not None:
        if following.rgb.shape != frame.rgb.shape:
            raise ShapeError("images change their size; diagnose one camera setting at a time")
        step_s = (following.stamp_ns - frame.stamp_ns) / 1e9
        if 0.0 < step_s <= _LONGEST_STEP_S:
            depth_m = lidar_to_depth(frame.lidar_points_m, frame.camera_from_lidar, camera)
            velocity = _scene_motion(rgb, _reduced(following.rgb, frame.camera)[0], depth_m, camera)
            velocity = velocity / step_s
    edges = find_edges(frame.lidar_points_m, frame.camera_from_lidar, camera)
    points_m, across, weights = _places(edges, frame.camera_from_lidar)
    if not moved and np.isfinite(velocity).all():
        late_s = (frame.truth_stamp_ns - frame.stamp_ns) / 1e9
        points_m = points_m - late_s * _velocities(points_m, velocity)
    return Measured(
        camera,
        points_m.astype(np.float32),
        across,
        weights.astype(np.float32),
        _STRONG_WEIGHT * sum(len(kind.first_m) for kind in edges if kind.strong),
        _responses(rgb),
        velocity,
    )


class Alignment:
    """The score of corrections on a set of frames.

    Args:
        frames: at least one, of images of one size.

    Attributes:
        weight: (F,) weight of each frame, the sum of its edges'.
    """

    def __init__(self, frames: list[Measured]) -> None:
        number = np.repeat(np.arange(len(frames)), [len(frame.points_m) for frame in frames])
        points_m = np.concatenate([frame.points_m for frame in frames])
        velocities = _without_gaps(np.array([frame.velocity for frame in frames]))
        # Coordinates first, as all that follows runs along them.
        self._points_m = np.ascontiguousarray(points_m.T)
        self._moves_m = np.ascontiguousarray(_velocities(points_m, velocities[number]).T)
        self._frame, self._count = number, len(frames)
        self._weights = np.concatenate([frame.weights for frame in frames])
        cameras = [frame.camera for frame in frames]
        self._focal_px = np.array([(c.fx, c.fy) for c in cameras], np.float32)[number].T
        self._centre_px = np.array([(c.cx, c.cy) for c in cameras], np.float32)[number].T
        plane = 2 * number + np.concatenate([frame.across for frame in frames])
        self._atlases = [_atlas([f.responses[k] for f in frames]) for k in range(LEVELS)]
        self._corners_px = [atlas.corners_px[:, plane] for atlas in self._atlases]
        self.weight = np.bincount(number, self._weights, self._count)

    def sums(self, correction: Correction, level: int) -> Float64:
        """Return (F,) per frame the weighted sum of image edges met, at a blur level."""
        points_m = self._points_m
        if correction.time_s:
            points_m = points_m - np.float32(correction.time_s) * self._moves_m
        if any(correction.rotation_deg):
            rotation, _ = cv2.Rodrigues(np.radians(np.array(correction.rotation_deg)))
            points_m = rotation.astype(np.float32) @ points_m
        atlas, scale = self._atlases[level], np.float32(0.5**level)
        focal_px = self._focal_px * (scale * np.float32(math.exp(correction.log_focal)))
        with np.errstate(all="ignore"):
            image_px = focal_px * points_m[:2] / points_m[2]
        # Pixel centres of the reduced maps, as in Intrinsics.resized.
        image_px += scale * (self._centre_px + np.float32(0.5)) - np.float32(0.5)
        (u_px, v_px), (height, width) = image_px, atlas.size
        seen = (points_m[2] > 0.1) & (u_px >= 0) & (u_px < width - 1)
        seen &= (v_px >= 0) & (v_px < height - 1)
        column, row = image_px + self._corners_px[level]
        met = _sampled(atlas.picture, column, row)
        sums = np.bincount(self._frame, np.where(seen, met * self._weights, 0.0), self._count)
        return sums.astype(np.float64, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Atlas:
    """Maps of one size side by side in one picture, which OpenCV samples ten times as fast.

    Attributes:
        picture: (h, w) all of them.
        size: height and width of one.
        corners_px: (2, P) column and row where each begins.
    """

    picture: Float32
    size: tuple[int, int]
    corners_px: Float32


def _atlas(maps: list[Float32]) -> _Atlas:
    """Lay out maps (2, h, w) of F frames as 2 F planes, in about as many rows as columns."""
    planes = np.concatenate(maps)
    count, height, width = planes.shape
    across = math.ceil(math.sqrt(count))
    down = -(-count // across)
    picture = np.zeros((down, across, height, width), np.float32)
    picture.reshape(-1, height, width)[:count] = planes
    number = np.arange(count)
    corners_px = np.stack([number % across * width, number // across * height])
    whole = picture.swapaxes(1, 2).reshape(down * height, across * width)
    return _Atlas(whole, (height, width), corners_px.astype(np.float32))


def _sampled(picture: Float32, column: Float32, row: Float32) -> Float32:
    """Sample a picture bilinearly, to 1/32 pixel, at places (N,); outside of it is 0."""
    # OpenCV takes no side of 2^15 and more.
    rows = -(-column.size // _REMAP_WIDTH)
    padding = rows * _REMAP_WIDTH - column.size
    shape = rows, _REMAP_WIDTH
    column, row = (np.pad(places, (0, padding)).reshape(shape) for places in (column, row))
    met = cv2.remap(picture, column, row, cv2.INTER_LINEAR)
    return np.asarray(met, np.float32).reshape(-1)[: met.size - padding]


def _reduced(rgb: npt.NDArray[np.uint8], camera: Intrinsics) -> tuple[npt.NDArray, Intrinsics]:
    """Reduce an image to the working focal length; smaller ones stay."""
    scale = min(1.0, _FOCAL_PX / max(camera.fx, camera.fy))
    size = max(round(camera.width * scale), 8), max(round(camera.height * scale), 8)
    if size == (camera.width, camera.height):
        return rgb, camera
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), camera.resized(*size)


def _places(
    edges: list[EdgeSet], camera_from_lidar: FloatArray
) -> tuple[Float64, npt.NDArray[np.bool_], Float64]:
    """Spread each edge over the gap it lies in; return points in the camera frame and weights."""
    points, across, weights = [np.zeros((0, 3))], [np.zeros(0, bool)], [np.zeros(0)]
    for kind in edges:
        count = len(kind.first_m)
        kept = np.linspace(0, count - 1, min(count, _EDGES_PER_KIND)).round().astype(np.int64)
        first, second = kind.first_m[kept], kind.second_m[kept]
        places = 2 * int(kind.gap_deg / _PLACES_DEG / 2 + 0.499) + 1 if kind.across else 1
        weight = (_STRONG_WEIGHT if kind.strong else _WEAK_WEIGHT) / places
        for place in range(places):
            part = (place + 0.5) / places
            points.append(first * (1 - part) + second * part)
            across.append(np.full(len(kept), kind.across))
            weights.append(np.full(len(kept), weight))
    return (
        transform_points(camera_from_lidar, np.concatenate(points)),
        np.concatenate(across),
        np.concatenate(weights),
    )


def _responses(rgb: npt.NDArray[np.uint8]) -> tuple[Float32, ...]:
    """Return per level (2, h, w): contrast across vertical and horizontal edges.

    The contrast is relative to the contrast around it, so that bright and dark parts count alike,
    and has no mean over wide areas, so that nothing is gained by moving to a busier part.
    """
    smooth = cv2.GaussianBlur(rgb, (0, 0), 0.8).astype(np.float32)
    slope = np.array([[-0.5, 0.0, 0.5]], np.float32)
    gradients = [
        np.abs(cv2.filter2D(smooth, -1, kernel)).sum(axis=2) for kernel in (slope, slope.T)
    ]
    wide = (_SURROUNDINGS_PX, _SURROUNDINGS_PX)
    around = cv2.blur(gradients[0] + gradients[1], wide) + _LEAST_CONTRAST
    levels: list[list[Float32]] = [[] for _ in _BLURS_PX]
    for gradient in gradients:
        contrast = np.minimum(gradient / around, _MOST_CONTRAST)
        mean = cv2.blur(contrast, wide)
        for level, blur_px in enumerate(_BLURS_PX):
            response = cv2.GaussianBlur(contrast, (0, 0), blur_px) - mean
            if level:
                size = (rgb.shape[1] >> level, rgb.shape[0] >> level)
                response = cv2.resize(response, size, interpolation=cv2.INTER_AREA)
            levels[level].append(response)
    return tuple(np.stack(level) for level in levels)


def _scene_motion(
    rgb: npt.NDArray, following: npt.NDArray, depth_m: Float32, camera: Intrinsics
) -> Float64:
    """Return (6,) rotation vector (rad) and translation (m) of the static scene between two images.

    Corners with a depth nearby are tracked, and the pose is found from their places in space; NaN
    where too few agree. The depth may be somewhat misplaced: outliers do not count.
    """
    unknown = np.full(6, np.nan)
    before, after = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (rgb, following))
    corners = cv2.goodFeaturesToTrack(before, 400, 0.001, 5)
    if corners is None or np.isnan(depth_m).all():
        return unknown
    near_m = cv2.erode(np.where(np.isnan(depth_m), np.inf, depth_m), np.ones((11, 7), np.uint8))
    tracked, found = _track(before, after, corners)
    back, returned = _track(after, before, tracked)
    z_m = near_m[corners[:, 0, 1].astype(int), corners[:, 0, 0].astype(int)]
    # Where no depth is near, erosion gives its own largest number.
    good = found & returned & (z_m <= np.nanmax(depth_m))
    good &= np.linalg.norm((back - corners)[:, 0], axis=1) < 0.5
    if good.sum() < _FEWEST_TRACKS:
        return unknown
    corner_px, tracked_px = corners[good, 0].astype(np.float64), tracked[good].astype(np.float64)
    rays = (corner_px - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    points_m = np.column_stack([rays, np.ones(len(rays))]) * z_m[good, None]
    solved, rotation, shift, inliers = cv2.solvePnPRansac(
        points_m, tracked_px, camera.matrix, None, reprojectionError=1.0, flags=cv2.SOLVEPNP_EPNP
    )
    if not solved or inliers is None or len(inliers) < _FEWEST_TRACKS:
        return unknown
    agreed = inliers[:, 0]
    rotation, shift = cv2.solvePnPRefineLM(
        points_m[agreed], tracked_px[agreed], camera.matrix, None, rotation, shift
    )
    motion = np.concatenate([rotation[:, 0], shift[:, 0]])
    nearer = np.linalg.norm(shift) < np.median(z_m[good][agreed])
    return motion if nearer and np.linalg.norm(rotation) < _LARGEST_TURN_RAD else unknown


def _track(
    before: npt.NDArray, after: npt.NDArray, corners_px: npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray[np.bool_]]:
    """Return where corners (N, 1, 2) went, and whether each was found."""
    # The array for the result is only there for OpenCV's type annotations; it is overwritten.
    place = np.empty_like(corners_px)
    tracked, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners_px, place, winSize=(15, 15))
    return tracked, found[:, 0] > 0


def _without_gaps(velocities: Float64) -> Float64:
    """Fill in unknown velocities (F, 6) from the frames around; zero if all are unknown."""
    known = np.flatnonzero(np.isfinite(velocities).all(axis=1))
    if not known.size:
        return np.zeros_like(velocities)
    number = np.arange(len(velocities))
    columns = [np.interp(number, known, column[known]) for column in velocities.T]
    return np.column_stack(columns)


def _velocities(points_m: npt.NDArray, velocity: npt.NDArray) -> npt.NDArray:
    """Return (N, 3) how fast points of the static scene move in the camera frame, m/s."""
    velocity = velocity.astype(points_m.dtype)
    return np.cross(velocity[..., :3], points_m) + velocity[..., 3:]
