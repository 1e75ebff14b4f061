"""Named evaluation protocols: the switches in which published depth numbers differ.

Two papers that both print "AbsRel on KITTI" may mean different pixels, caps and averages. A
protocol is a set of switches; `score` applies them in one fixed order. The shipped names and the
code they reproduce:

* kitti-garg: BTS `bts_eval.py --garg_crop` (annotated maps, crop measured on the full frame).
* kitti-garg-kb: AdaBins, ZoeDepth, depth toolbox (the same crop measured on the 352x1216 window).
* kitti-eigen: BTS with Eigen's crop on the full frame.
* kitti-velodyne: Monodepth2 `eigen`, 697 frames with projected LiDAR.
* kitti-benchmark: the official development kit.
* nyu-eigen, nyu-eigen-filled: 480x640, rows 45 to 470, columns 41 to 600, raw or filled truth.
* lidar: bags; every LiDAR pixel up to the cap, pixels without a prediction counted separately.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mono_depth_ros.config import from_mapping, to_mapping
from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.geometry import true_pixels
from mono_depth_ros.metrics import (
    DepthErrors,
    DevkitErrors,
    devkit_errors,
    median_scale,
    pixel_errors,
    require_same_shape,
    scale_and_shift,
)

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

KB_HEIGHT, KB_WIDTH = 352, 1216
# top, bottom, left, right as fractions of the image.
_CROP_FRACTIONS = {
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}
_NYU_SIZE, _NYU_WINDOW = (480, 640), (45, 471, 41, 601)
_DEPTH_FLOOR_M = 1e-3


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a predicted depth map is compared with a reference map.

    Attributes:
        truth: what the reference is, in words, for the report.
        grid: "full" frame, or "kb": both maps are cut to the bottom-centre 352x1216 window first.
        crop: window of the grid that counts.
        min_m: reference depths at or below it are no measurement.
        cap_m: reference depths at or above it are left out; inf = no cap.
        cap_inclusive: whether a reference of exactly min_m or cap_m counts.
        clamp_m: prediction is clamped to this range; None leaves it as it is.
        missing: what happens where there is no prediction. "skip" leaves out what is not finite and
            positive (the pixel counts as uncovered); "minimum" scores NaN as the clamp's lower end;
            "keep" lets it spoil the numbers; "devkit-fill" fills the map like the KITTI devkit.
        png_scale: the prediction is truncated to multiples of 1 / png_scale metres; None keeps it.
        alignment: "none"; or "median": every image's prediction is multiplied by
            median(reference) / median(prediction), so metric scale is not judged; or
            "scale-and-shift": 1 / prediction takes the scale and the shift that fit 1 / reference
            best; what is then not above 0 has no prediction, what is above cap_m becomes cap_m.
        min_pixels: images with fewer pixels are left out.
        average: "images" weighs images equally, "pixels" pools all pixels.
    """

    truth: str
    grid: Literal["full", "kb"] = "full"
    crop: Literal["none", "garg", "eigen", "nyu"] = "none"
    min_m: float = _DEPTH_FLOOR_M
    cap_m: float = 80.0
    cap_inclusive: bool = False
    clamp_m: tuple[float, float] | None = None
    missing: Literal["skip", "minimum", "keep", "devkit-fill"] = "skip"
    png_scale: float | None = None
    alignment: Literal["none", "median", "scale-and-shift"] = "none"
    min_pixels: int = 1
    average: Literal["images", "pixels"] = "images"

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_m < self.cap_m:
            raise ConfigError(f"need 0 <= min_m < cap_m, got {self.min_m} and {self.cap_m}")
        if self.clamp_m is not None and not 0.0 < self.clamp_m[0] < self.clamp_m[1]:
            raise ConfigError(f"clamp_m must be two increasing positive depths, got {self.clamp_m}")
        if self.missing == "minimum" and self.clamp_m is None:
            raise ConfigError("missing: minimum needs clamp_m, whose lower end it takes")
        if self.png_scale is not None and not self.png_scale > 0:
            raise ConfigError(f"png_scale must be positive (256 for KITTI), got {self.png_scale}")
        if self.min_pixels < 1:
            raise ConfigError(f"min_pixels must be at least 1, got {self.min_pixels}")


def _bts(
    truth: str, crop: Literal["garg", "eigen", "nyu"], cap_m: float, **switches: Any
) -> Protocol:
    clamp_m = (_DEPTH_FLOOR_M, cap_m)
    return Protocol(truth, crop=crop, cap_m=cap_m, clamp_m=clamp_m, missing="minimum", **switches)


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "lidar": Protocol("LiDAR of the recording"),
        "kitti-garg": _bts("KITTI annotated depth (652 frames)", "garg", 80.0),
        "kitti-garg-kb": _bts("KITTI annotated depth (652 frames)", "garg", 80.0, grid="kb"),
        "kitti-eigen": _bts("KITTI annotated depth (652 frames)", "eigen", 80.0),
        "kitti-velodyne": _bts("KITTI projected LiDAR (697 frames)", "garg", 80.0),
        "kitti-benchmark": Protocol(
            "KITTI depth selection", min_m=0.0, cap_m=math.inf, missing="devkit-fill"
        ),
        "nyu-eigen": _bts("NYU Depth V2, raw Kinect depth (holes)", "nyu", 10.0),
        "nyu-eigen-filled": _bts("NYU Depth V2, filled depth", "nyu", 10.0),
    }
)


def protocol_named(name: str, switches: Mapping[str, Any] | None = None) -> Protocol:
    """Return a shipped protocol, some of its switches replaced.

    Raises:
        ConfigError: no protocol or switch has that name, or a value is impossible.
    """
    # A profile read from YAML may be a list, which cannot be looked up.
    if not isinstance(name, str) or name not in PROTOCOLS:
        raise ConfigError(f"no evaluation profile {name!r}; choose from {', '.join(PROTOCOLS)}")
    values = {**to_mapping(PROTOCOLS[name]), **(switches or {})}
    return from_mapping(Protocol, values, f"profile {name}")


def cap_switches(name: str, cap_m: float) -> dict[str, Any]:
    """Return the switches that cap a shipped protocol and its clamp at `cap_m`."""
    clamp_m = protocol_named(name).clamp_m
    return {"cap_m": cap_m} if clamp_m is None else {"cap_m": cap_m, "clamp_m": [clamp_m[0], cap_m]}


def kb_window(height: int, width: int) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of the bottom-centre 352x1216 window, ends exclusive."""
    if height < KB_HEIGHT or width < KB_WIDTH:
        raise ShapeError(
            f"image is {height}x{width}; the KITTI benchmark window needs {KB_HEIGHT}x{KB_WIDTH} "
            "or more: use a profile on the full grid"
        )
    left = (width - KB_WIDTH) // 2
    return height - KB_HEIGHT, height, left, left + KB_WIDTH


def crop_window(crop: str, height: int, width: int) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of a named crop, ends exclusive, fractions truncated.

    Raises:
        ShapeError: the NYU crop is asked for another size than 480x640.
    """
    if crop == "none":
        return 0, height, 0, width
    if crop == "nyu":
        if (height, width) != _NYU_SIZE:
            raise ShapeError(f"the NYU crop is for 480x640 images, this one is {height}x{width}")
        return _NYU_WINDOW
    top, bottom, left, right = _CROP_FRACTIONS[crop]
    return int(top * height), int(bottom * height), int(left * width), int(right * width)


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The pixels of one image that count.

    Attributes:
        prediction_m: (N,) float64 metres.
        reference_m: (N,) float64 metres.
        rows: (N,) int64 rows of the full frame.
        columns: (N,) int64 columns of the full frame.
        shape: height and width of the full frame.
        truth_pixels: reference pixels in the window, with and without a prediction.
    """

    prediction_m: npt.NDArray[np.float64]
    reference_m: npt.NDArray[np.float64]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    shape: tuple[int, int]
    truth_pixels: int


def select_pixels(
    prediction_m: FloatArray, reference_m: FloatArray, protocol: Protocol
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], int]:
    """Apply every switch but the average to one image; as `select_places` without the places.

    Returns:
        `prediction_m`, `reference_m` and `truth_pixels` of `Pixels`.
    """
    pixels = select_places(prediction_m, reference_m, protocol)
    return pixels.prediction_m, pixels.reference_m, pixels.truth_pixels


def select_places(prediction_m: FloatArray, reference_m: FloatArray, protocol: Protocol) -> Pixels:
    """Apply every switch but the average to one image; arguments as `window_pixels`."""
    return counted_pixels(window_pixels(prediction_m, reference_m, protocol), protocol)


def window_pixels(prediction_m: FloatArray, reference_m: FloatArray, protocol: Protocol) -> Pixels:
    """Return the pixels of one image that have a reference in the window, as predicted.

    Args:
        prediction_m: (H, W) metres on the grid of the reference, NaN = unknown.
        reference_m: (H, W) metres of the full frame, NaN or 0 = no measurement.
        protocol: the switches; its alignment and average make no difference.

    Raises:
        ShapeError: the maps differ in size or do not fit the crop.
    """
    require_same_shape(prediction_m, reference_m)
    prediction = _stored(np.asarray(prediction_m), protocol)
    # In double precision, so that a depth at the end of the range falls on one side everywhere.
    reference = np.asarray(reference_m, np.float64)
    height, width = reference.shape
    top, left = 0, 0
    if protocol.grid == "kb":
        top, bottom, left, right = kb_window(height, width)
        prediction = prediction[top:bottom, left:right]
        reference = reference[top:bottom, left:right]
    rows, columns = true_pixels(reference_mask(reference, protocol))
    p = prediction[rows, columns].astype(np.float64)
    g = reference[rows, columns]
    return Pixels(p, g, rows + top, columns + left, (height, width), g.size)


def counted_pixels(window: Pixels, protocol: Protocol) -> Pixels:
    """Return what counts of `window_pixels`: aligned, missing predictions dealt with, clamped."""
    rows, columns = window.rows, window.columns
    p, g = _aligned(window.prediction_m, window.reference_m, protocol)
    if _skips_missing(protocol):
        known = np.isfinite(p) & (p > 0)
        p, g, rows, columns = p[known], g[known], rows[known], columns[known]
    if protocol.clamp_m is not None:
        p = np.clip(p, *protocol.clamp_m)
        if protocol.missing == "minimum":
            p = np.where(np.isnan(p), protocol.clamp_m[0], p)
    if g.size < protocol.min_pixels:
        p, g, rows, columns = p[:0], g[:0], rows[:0], columns[:0]
    return Pixels(p, g, rows, columns, window.shape, window.truth_pixels)


def score(prediction_m: FloatArray, reference_m: FloatArray, protocol: Protocol) -> DepthErrors:
    """Return the errors of one image; arguments and errors as `select_pixels`."""
    prediction, reference, _ = select_pixels(prediction_m, reference_m, protocol)
    return pixel_errors(prediction, reference)


def score_devkit(
    prediction_m: FloatArray, reference_m: FloatArray, protocol: Protocol
) -> DevkitErrors:
    """Return the KITTI leaderboard errors of one image; arguments and errors as `select_pixels`."""
    prediction, reference, _ = select_pixels(prediction_m, reference_m, protocol)
    return devkit_errors(prediction, reference)


def reference_mask(reference_m: FloatArray, protocol: Protocol) -> BoolArray:
    """Return (H, W) True where the reference, already on the protocol's grid, counts."""
    top, bottom, left, right = crop_window(protocol.crop, *reference_m.shape)
    inside = np.zeros(reference_m.shape, bool)
    inside[top:bottom, left:right] = True
    with np.errstate(invalid="ignore"):
        if protocol.cap_inclusive:
            in_range = (reference_m >= protocol.min_m) & (reference_m <= protocol.cap_m)
        else:
            in_range = (reference_m > protocol.min_m) & (reference_m < protocol.cap_m)
    return inside & in_range & np.isfinite(reference_m)


def devkit_fill(prediction_m: FloatArray) -> npt.NDArray[np.float64]:
    """Fill pixels without a prediction the way the KITTI development kit does before scoring.

    Along a row a gap takes the smaller of the depths at its two ends, and the first and last depth
    continue to the border; after that empty rows at the top and bottom repeat the nearest filled
    row. Empty rows in between stay NaN.
    """
    filled = np.where(np.isfinite(prediction_m) & (prediction_m > 0), prediction_m, np.nan)
    rows = np.flatnonzero(np.isfinite(filled).any(axis=1))
    for row in rows:
        known = np.flatnonzero(np.isfinite(filled[row]))
        columns = np.arange(filled.shape[1])
        after = np.searchsorted(known, columns)
        left = known[np.clip(np.searchsorted(known, columns, side="right") - 1, 0, None)]
        right = known[np.clip(after, None, known.size - 1)]
        filled[row] = np.minimum(filled[row, left], filled[row, right])
    if rows.size:
        filled[: rows[0]], filled[rows[-1] + 1 :] = filled[rows[0]], filled[rows[-1]]
    return filled


def _stored(prediction: FloatArray, protocol: Protocol) -> FloatArray:
    if protocol.png_scale is not None:
        prediction = prediction.astype(np.float64)
        prediction = np.floor(prediction * protocol.png_scale) / protocol.png_scale
    return devkit_fill(prediction) if protocol.missing == "devkit-fill" else prediction


def _aligned(
    prediction: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], protocol: Protocol
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    known = np.isfinite(prediction) & (prediction > 0)
    if protocol.alignment == "median" and known.any():
        prediction = prediction * median_scale(prediction[known], reference[known])
    if protocol.alignment == "scale-and-shift":
        fitted = known & (reference > 0)
        a, b = scale_and_shift(prediction[fitted], reference[fitted])
        inverse = np.full(prediction.shape, np.nan)
        inverse[known] = a / prediction[known] + b
        with np.errstate(divide="ignore", invalid="ignore"):
            prediction = np.where(inverse > 0, np.minimum(1.0 / inverse, protocol.cap_m), np.nan)
    return prediction, reference


def _skips_missing(protocol: Protocol) -> bool:
    # The devkit fills what a network left out, but not what the fit of scale and shift lost.
    lost = protocol.missing == "devkit-fill" and protocol.alignment == "scale-and-shift"
    return lost or protocol.missing == "skip"
