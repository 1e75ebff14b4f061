"""Lens distortion taken out of images: from CameraInfo's K, D, R, P to a pinhole camera's picture.

Sources of the formulas, written out here in float64: `distortion_model` of sensor_msgs/CameraInfo
and REP 104 say what the models are called; plumb_bob, rational_polynomial, the thin prism and the
tilted sensor are those of OpenCV's calib3d module ("Detailed Description"), equidistant is that of
its fisheye module (Kannala and Brandt 2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.decoding import camera_info_to_intrinsics
from mono_depth_ros.errors import CalibrationError, ShapeError
from mono_depth_ros.geometry import Intrinsics

FloatMap = npt.NDArray[np.float64]
ByteImage = npt.NDArray[np.uint8]

Lens = tuple[str, tuple[float, ...]]
"""Distortion model and its coefficients."""

_PINHOLE, _FISHEYE = ("plumb_bob", "rational_polynomial"), ("equidistant", "fisheye")
# Tried angles from the axis: enough to find where a lens folds to 0.05 degrees.
_ANGLES = 2001
# OpenCV interpolates 8-bit images at multiples of 1/32 px. Both roads sample exactly there, so that
# a GPU and a CPU see the same picture.
_STEPS_PER_PX = 32
_OUTSIDE_PX = -9.0
_NO_ROTATION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Rectification:
    """What turns the images of a camera into those of a pinhole camera.

    Attributes:
        lens: of the camera.
        raw: K of the image as the camera took it.
        rectified: the pinhole camera; of any size, for example that of a network's input
            (`Letterbox.camera`), when the two resamplings are to be one.
        rotation: rectified_from_raw, (3, 3) row by row, CameraInfo's R.
    """

    lens: Lens
    raw: Intrinsics
    rectified: Intrinsics
    rotation: tuple[float, ...] = _NO_ROTATION

    @property
    def moves_nothing(self) -> bool:
        """Whether the image is that of the pinhole camera already."""
        straight = self.rotation == _NO_ROTATION and not bends(self.lens)
        return straight and self.raw == self.rectified


def read_rectification(info: Any) -> Rectification:
    """Read what the images need that a sensor_msgs/CameraInfo accompanies and nobody rectified.

    The pinhole camera is P with binning and region of interest applied, or K where P is empty. The
    images of a lens without distortion are taken for that camera's as they are, as image_proc does.
    R of zeros is none.

    Args:
        info: an object with the fields of CameraInfo, named as ROS 1 or ROS 2 names them.

    Raises:
        CalibrationError: K, P, D or R is impossible, or the distortion model unknown.
    """
    lens = lens_of(info)
    require_known(lens)
    pinhole = camera_info_to_intrinsics(info, rectified=True)
    if not bends(lens):
        return Rectification(lens, pinhole, pinhole)
    raw = camera_info_to_intrinsics(info, rectified=False)
    return Rectification(lens, raw, pinhole, _rotation_of(info))


def lens_of(info: Any) -> Lens:
    """Return model and coefficients of a CameraInfo (d, or D as ROS 1 writes it)."""
    values: Sequence[float] = info.d if hasattr(info, "d") else info.D
    return str(info.distortion_model), tuple(float(value) for value in values)


def bends(lens: Lens) -> bool:
    """Whether a lens distorts: zeros do not, except that an equidistant lens is never a pinhole."""
    model, coefficients = lens
    return any(coefficients) or (model in _FISHEYE and len(coefficients) == 4)


def require_known(lens: Lens) -> None:
    """Refuse a lens that `sampling_map` cannot compute.

    Raises:
        CalibrationError: the model is unknown, or has another number of coefficients or some that
            are not finite.
    """
    model, coefficients = lens
    if not all(map(math.isfinite, coefficients)):
        raise CalibrationError(
            f"camera_info has distortion coefficients {coefficients}; all of them must be finite: "
            "calibrate the camera"
        )
    allowed = {**dict.fromkeys(_PINHOLE, (4, 5, 8, 12, 14)), **dict.fromkeys(_FISHEYE, (4,))}
    if bends(lens) and len(coefficients) not in allowed.get(model, ()):
        raise CalibrationError(
            f"camera_info has the distortion {model!r} with {len(coefficients)} coefficients; "
            "known are plumb_bob and rational_polynomial with 4, 5, 8, 12 or 14 and equidistant "
            "with 4: rectify the images before, for example with image_proc"
        )


def distort(lens: Lens, x: FloatMap, y: FloatMap) -> tuple[FloatMap, FloatMap]:
    """Return where a lens puts rays, on the plane at distance 1.

    Args:
        lens: a known one, see `require_known`.
        x: right over forward, any shape, float64.
        y: down over forward, likewise.
    """
    model, coefficients = lens
    if not bends(lens):
        return x, y
    if model in _FISHEYE:
        r = np.hypot(x, y)
        # At the centre the limit: an angle and its tangent are the same there.
        scale = np.divide(_fisheye_radius(coefficients, r), r, out=np.ones_like(r), where=r > 0)
        return x * scale, y * scale
    _, _, p1, p2, _, _, _, _, s1, s2, s3, s4, tilt_x, tilt_y = _padded(coefficients)
    r2 = x * x + y * y
    radial = _radial_factor(coefficients, r2)
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + s1 * r2 + s2 * r2 * r2
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + s3 * r2 + s4 * r2 * r2
    return _tilted(u, v, tilt_x, tilt_y) if tilt_x or tilt_y else (u, v)


def sampling_map(rectification: Rectification) -> tuple[FloatMap, FloatMap]:
    """Return where each pixel of the rectified image lies in the camera's own.

    Returns:
        u and v, (H, W) float64 pixels each, H and W of the rectified camera; NaN where a ray does
        not come from the front of the camera or where the lens model, a polynomial, has turned back
        on itself and would show a ghost of what it shows elsewhere.

    Raises:
        CalibrationError: see `require_known`.
    """
    require_known(rectification.lens)
    # An absurd calibration overflows; what is then not finite lies nowhere.
    with np.errstate(all="ignore"):
        return _sampling_map(rectification)


class ImageRectifier:
    """Rectifies the images of one camera, each in one resampling.

    Bilinear, at 1/32 px; black where the camera saw nothing. Computed where the network runs: with
    OpenCV's fixed-point maps on a CPU, with torch's grid_sample on a GPU.

    Args:
        rectification: what to do.
        device: a torch device or its name.

    Attributes:
        seen: (H, W) bool of the rectified image, whether the camera saw the pixel.

    Raises:
        CalibrationError: see `require_known`.
    """

    def __init__(self, rectification: Rectification, device: Any = "cpu") -> None:
        self._raw = raw = rectification.raw
        u, v = sampling_map(rectification)
        u, v = _on_steps(u, raw.width), _on_steps(v, raw.height)
        self.seen = (u >= 0) & (v >= 0) & (u <= raw.width - 1) & (v <= raw.height - 1)
        sampler = _CpuSampler if str(device) == "cpu" else _TorchSampler
        self._sample = sampler(u, v, raw, device)

    def image(self, rgb: Any) -> Any:
        """Return an image (H, W, 3) uint8 rectified, of the rectified camera's size.

        Args:
            rgb: an array; or a tensor on `device`, and so is then the answer.

        Raises:
            ShapeError: the image is not (H, W, 3) uint8 of the camera's size.
        """
        expected = (self._raw.height, self._raw.width, 3)
        if tuple(rgb.shape) != expected or str(rgb.dtype).removeprefix("torch.") != "uint8":
            raise ShapeError(f"image is {tuple(rgb.shape)} {rgb.dtype}; need {expected} uint8")
        return self._sample(rgb)


class _CpuSampler:
    def __init__(self, u: FloatMap, v: FloatMap, raw: Intrinsics, device: Any) -> None:
        self._maps = cv2.convertMaps(u.astype(np.float32), v.astype(np.float32), cv2.CV_16SC2)

    def __call__(self, rgb: ByteImage) -> ByteImage:
        return np.asarray(cv2.remap(rgb, *self._maps, cv2.INTER_LINEAR), np.uint8)


class _TorchSampler:
    def __init__(self, u: FloatMap, v: FloatMap, raw: Intrinsics, device: Any) -> None:
        import torch  # seconds, which a CPU's road need not pay

        sizes = np.array((raw.width, raw.height)) - 1
        grid = 2.0 * np.stack((u, v), -1) / np.maximum(sizes, 1) - 1.0
        self._grid = torch.from_numpy(grid[None].astype(np.float32)).to(device)

    def __call__(self, rgb: Any) -> Any:
        import torch

        if isinstance(rgb, np.ndarray):
            # torch warns of arrays that it could write to and must not, such as a message's data.
            image = torch.from_numpy(np.require(rgb, requirements=("C", "W")))
            return np.ascontiguousarray(self(image.to(self._grid.device)).cpu().numpy())
        planes = rgb.permute(2, 0, 1)[None].float()
        sampled = torch.nn.functional.grid_sample(planes, self._grid, align_corners=True)
        return sampled[0].permute(1, 2, 0).round().to(torch.uint8)


def _on_steps(axis_px: FloatMap, length: int) -> FloatMap:
    """Round to OpenCV's steps; what is far away comes nearer, as its maps hold 16 bits."""
    near = np.clip(np.nan_to_num(axis_px, nan=_OUTSIDE_PX), _OUTSIDE_PX, length - _OUTSIDE_PX)
    return np.asarray(np.round(near * _STEPS_PER_PX) / _STEPS_PER_PX, np.float64)


def _sampling_map(rectification: Rectification) -> tuple[FloatMap, FloatMap]:
    raw, rectified = rectification.raw, rectification.rectified
    columns = (np.arange(rectified.width) - rectified.cx) / rectified.fx
    rows = (np.arange(rectified.height) - rectified.cy) / rectified.fy
    x, y = np.meshgrid(columns, rows)
    raw_from_rectified = np.reshape(rectification.rotation, (3, 3)).T
    if not np.array_equal(raw_from_rectified, np.eye(3)):
        rays = np.stack((x, y, np.ones_like(x)), -1) @ raw_from_rectified.T
        forward = np.where(rays[..., 2] > 0, rays[..., 2], np.nan)
        x, y = rays[..., 0] / forward, rays[..., 1] / forward
    r = np.hypot(x, y)
    largest = float(np.max(r, initial=0.0, where=np.isfinite(r)))
    x[r >= _folding_radius(rectification.lens, largest)] = np.nan
    x, y = distort(rectification.lens, x, y)
    return raw.fx * x + raw.cx, raw.fy * y + raw.cy


def _padded(coefficients: Sequence[float]) -> list[float]:
    return [*coefficients, *[0.0] * (14 - len(coefficients))]


def _radial_factor(coefficients: Sequence[float], r2: FloatMap) -> FloatMap:
    k1, k2, _, _, k3, k4, k5, k6, *_ = _padded(coefficients)
    factor = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return np.asarray(factor, np.float64)


def _fisheye_radius(coefficients: Sequence[float], r: FloatMap) -> FloatMap:
    k1, k2, k3, k4 = coefficients
    angle = np.arctan(r)
    a2 = angle * angle
    return np.asarray(angle * (1 + a2 * (k1 + a2 * (k2 + a2 * (k3 + a2 * k4)))), np.float64)


def _tilted(u: FloatMap, v: FloatMap, tilt_x: float, tilt_y: float) -> tuple[FloatMap, FloatMap]:
    """Project onto a sensor that is tilted about x, then y (Louhichi et al. 2007), radians."""
    cos_x, sin_x, cos_y, sin_y = *_cos_sin(tilt_x), *_cos_sin(tilt_y)
    about_x = np.array([[1, 0, 0], [0, cos_x, sin_x], [0, -sin_x, cos_x]])
    about_y = np.array([[cos_y, 0, -sin_y], [0, 1, 0], [sin_y, 0, cos_y]])
    turn = about_y @ about_x
    a, b, c = turn[:, 2]
    onto_sensor = np.array([[c, 0, -a], [0, c, -b], [0, 0, 1]]) @ turn
    x, y, w = np.moveaxis(np.stack((u, v, np.ones_like(u)), -1) @ onto_sensor.T, -1, 0)
    return x / w, y / w


def _cos_sin(angle: float) -> tuple[float, float]:
    return math.cos(angle), math.sin(angle)


def _folding_radius(lens: Lens, largest: float) -> float:
    """Return from which radius of the undistorted picture on the distorted one no longer grows."""
    model, coefficients = lens
    if not bends(lens):
        return math.inf
    r = np.tan(np.linspace(0.0, math.atan(largest), _ANGLES))
    if model in _FISHEYE:
        distorted = _fisheye_radius(coefficients, r)
    else:
        distorted = r * _radial_factor(coefficients, r * r)
    # A rational lens also leaps through infinity; there it shrinks.
    folded = ~(np.diff(distorted) > 0)
    return float(r[np.argmax(folded)]) if largest > 0 and folded.any() else math.inf


def _rotation_of(info: Any) -> tuple[float, ...]:
    values = info.r if hasattr(info, "r") else info.R
    rotation = np.array([float(value) for value in values])
    if rotation.size == 9 and not rotation.any():
        return _NO_ROTATION
    square = rotation.reshape(3, 3) if rotation.size == 9 else np.full((3, 3), np.nan)
    with np.errstate(all="ignore"):
        is_turn = np.allclose(square @ square.T, np.eye(3), atol=1e-3) and np.linalg.det(square) > 0
    if not is_turn:
        raise CalibrationError(
            f"camera_info.r is {rotation.tolist()}, no rotation matrix; send the identity unless "
            "the camera is one of a calibrated stereo pair"
        )
    return tuple(rotation.tolist())
