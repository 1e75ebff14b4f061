"""Metric calibration of one network on one camera: what is applied, and the file it is kept in.

A calibrated depth is 1 / (1 / (depth_scale * depth_m) + inverse_depth_shift_per_m): one factor, and
where it was fitted a shift in inverse depth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import yaml

from mono_depth_ros.atomic import replacing
from mono_depth_ros.config import from_mapping, load_yaml, to_mapping
from mono_depth_ros.errors import ConfigError

if TYPE_CHECKING:
    from mono_depth_ros.checkpoint import CheckpointInfo
    from mono_depth_ros.predictor import InferenceConfig

FORMAT = 1
Method = Literal["scale", "scale-shift", "camera-height", "distance"]

_FIRST = ("format", "method", "depth_scale", "inverse_depth_shift_per_m")

# How far the focal length may be from the calibrated one before a user is warned.
FOCAL_TOLERANCE = 0.02

_HEADER = "# Written by `mono_depth calibrate`: depth = 1 / (1 / (depth_scale * depth) + shift).\n"


@dataclass(frozen=True, slots=True)
class DepthCalibration:
    """The correction of a network's depth; it does nothing by default.

    Attributes:
        depth_scale: factor on every depth, after the focal correction.
        inverse_depth_shift_per_m: added to the inverse of the scaled depth, 1/m.

    Raises:
        ConfigError: the scale is not positive and finite, or the shift not finite.
    """

    depth_scale: float = 1.0
    inverse_depth_shift_per_m: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.depth_scale < math.inf:
            raise ConfigError(f"depth_scale must be positive and finite, got {self.depth_scale}")
        if not math.isfinite(self.inverse_depth_shift_per_m):
            raise ConfigError(
                f"inverse_depth_shift_per_m must be finite, got {self.inverse_depth_shift_per_m}"
            )

    def apply(self, depth_m: Any) -> Any:
        """Return the calibrated depth, metres, an array or tensor of the same shape and type.

        NaN where the input is NaN, or where a negative shift leaves no positive inverse depth. The
        result may be the input itself when nothing changes.
        """
        scaled = depth_m if self.depth_scale == 1.0 else depth_m * self.depth_scale
        if self.inverse_depth_shift_per_m == 0.0:
            return scaled
        # 1 / (1/d + b) = d / (1 + b d), which needs one division and takes d = 0.
        denominator = 1.0 + self.inverse_depth_shift_per_m * scaled
        if not isinstance(depth_m, np.ndarray):
            depth_m = scaled / denominator
            depth_m[denominator <= 0.0] = math.nan
            return depth_m
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(denominator > 0.0, scaled / denominator, np.nan).astype(depth_m.dtype)


@dataclass(frozen=True, slots=True)
class CalibratedCamera:
    """The camera of a fit, pixels; `network_fx_px` is fx of the image as the network sees it."""

    fx_px: float
    width_px: int
    height_px: int
    network_fx_px: float


@dataclass(frozen=True, slots=True)
class Residuals:
    """Errors of predictions p against truths g: |p - g| / g, and the share with ratio < 1.25.

    `pixels` is how many were compared; a floor's height counts as one.
    """

    pixels: int
    median_abs_rel: float
    abs_rel: float
    delta1: float


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """What a calibration file says.

    Attributes:
        method: how it was fitted, see `mono_depth calibrate`; by-hand was not.
        depth_scale: see `DepthCalibration`.
        checkpoint: name of the network's checkpoint.
        checkpoint_sha256: of its tensors; other weights need another calibration.
        camera: the camera it was fitted on.
        fitted_range_m: 5th and 95th percentile of the true depths of the fit.
        frames: fitted on.
        frames_left_out: unreadable, or without what the method needs.
        pixels: fitted on; with camera-height the number of floors.
        residuals_on: the odd frames, which took no part in the fit, or the fitted ones where there
            are no others.
        before: residuals of the uncalibrated depth.
        after: of the calibrated depth, where it is one.
        inverse_depth_shift_per_m: see `DepthCalibration`.
        format: version of this file.

    Raises:
        ConfigError: scale, shift or format are impossible.
    """

    method: Literal[Method, "by-hand"]
    depth_scale: float
    checkpoint: str
    checkpoint_sha256: str
    camera: CalibratedCamera
    fitted_range_m: tuple[float, float]
    frames: int
    frames_left_out: int
    pixels: int
    residuals_on: Literal["odd frames", "fitted frames"]
    before: Residuals
    after: Residuals
    inverse_depth_shift_per_m: float = 0.0
    format: int = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ConfigError(f"calibration has format {self.format}, this version reads {FORMAT}")
        if not 0.0 < self.camera.network_fx_px < math.inf:
            raise ConfigError(f"network_fx_px must be positive, got {self.camera.network_fx_px}")
        DepthCalibration(self.depth_scale, self.inverse_depth_shift_per_m)

    def applied_to(self, config: InferenceConfig, info: CheckpointInfo) -> InferenceConfig:
        """Return the settings with this calibration in them.

        Args:
            config: settings that do not calibrate.
            info: of the checkpoint that is run.

        Raises:
            ConfigError: the calibration was fitted for other weights, or `config` has a scale or
                shift of its own.
        """
        if info.sha256 != self.checkpoint_sha256:
            raise ConfigError(
                f"the calibration is for checkpoint {self.checkpoint} (sha256 "
                f"{self.checkpoint_sha256[:12]}), not for {info.name} ({info.sha256[:12]}); "
                "run mono_depth calibrate with this checkpoint"
            )
        own = config.depth_scale, config.inverse_depth_shift_per_m
        if own != (1.0, 0.0):
            raise ConfigError(
                f"depth_scale {own[0]} and inverse_depth_shift_per_m {own[1]} are set besides a "
                "calibration file; set them to 1 and 0, or leave the file out"
            )
        return replace(
            config,
            depth_scale=self.depth_scale,
            inverse_depth_shift_per_m=self.inverse_depth_shift_per_m,
        )

    def camera_warning(self, network_fx_px: float) -> str | None:
        """Return what is wrong with another focal length, None within 2 % of the calibrated one.

        A warning only: the focal correction still holds, and the camera is known first when a robot
        already drives.
        """
        fitted_px = self.camera.network_fx_px
        if abs(network_fx_px / fitted_px - 1.0) <= FOCAL_TOLERANCE:
            return None
        return (
            f"the calibration was fitted on a camera of fx {fitted_px:.1f} px as the network sees "
            f"it, this one has {network_fx_px:.1f} px; calibrate again with this camera"
        )


def calibration_by_hand(
    info: CheckpointInfo,
    camera: CalibratedCamera,
    depth_scale: float,
    inverse_depth_shift_per_m: float,
) -> CalibrationFile:
    """Return a calibration that somebody found by trying; it was fitted on 0 pixels, all figures 0.

    Args:
        info: of the checkpoint it is for.
        camera: it was tried with.
        depth_scale: see `DepthCalibration`.
        inverse_depth_shift_per_m: likewise.

    Raises:
        ConfigError: scale or shift are impossible.
    """
    nothing = Residuals(0, 0.0, 0.0, 0.0)
    return CalibrationFile(
        method="by-hand",
        depth_scale=depth_scale,
        checkpoint=info.name,
        checkpoint_sha256=info.sha256,
        camera=camera,
        fitted_range_m=(0.0, 0.0),
        frames=0,
        frames_left_out=0,
        pixels=0,
        residuals_on="fitted frames",
        before=nothing,
        after=nothing,
        inverse_depth_shift_per_m=inverse_depth_shift_per_m,
    )


def load_calibration(path: str | Path) -> CalibrationFile:
    """Read a calibration file.

    Raises:
        ConfigError: the file is missing, no YAML, has unknown, missing or impossible settings, or
            is of another format.
    """
    path = Path(path).expanduser()
    return from_mapping(CalibrationFile, load_yaml(path), str(path))


def save_calibration(path: Path, calibration: CalibrationFile) -> None:
    """Write a calibration under a temporary name, then rename it; the folder is made if missing."""
    values = to_mapping(calibration)
    if calibration.method not in ("scale-shift", "by-hand"):
        del values["inverse_depth_shift_per_m"]
    ordered = {key: values.pop(key) for key in _FIRST if key in values} | values
    text = _HEADER + yaml.safe_dump(ordered, sort_keys=False, allow_unicode=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
