"""Pictures of depth and of its error, for people to look at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.coloring import DepthColorizer
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.geometry import true_pixels

ColorArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.floating]

# An absolute relative error of this much is shown in the last colour of the error scale.
ERROR_FULL_SCALE = 0.5


@dataclass(frozen=True, slots=True)
class FramePictures:
    """JPEG files of one frame, as bytes.

    Attributes:
        title: which frame, in words.
        image: what the camera saw.
        overlay: the image with the truth's points coloured by depth.
        prediction: predicted depth, same colours.
        error: the image in grey with the truth's points coloured by relative error.
    """

    title: str
    image: bytes
    overlay: bytes
    prediction: bytes
    error: bytes


def overlay_depth(
    rgb: ColorArray, depth_m: FloatArray, max_depth_m: float = 80.0, radius_px: int | None = None
) -> ColorArray:
    """Draw sparse depths onto their image: near red, far blue.

    Args:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) metres, NaN where there is no point.
        max_depth_m: depth of the last colour.
        radius_px: of the dots; by default 1 per 800 columns, at least 1.

    Returns:
        (H, W, 3) uint8, a new image.
    """
    return _dots(rgb, depth_m, DepthColorizer(max_depth_m)(depth_m), radius_px)


def overlay_error(rgb: ColorArray, prediction_m: FloatArray, reference_m: FloatArray) -> ColorArray:
    """Draw |prediction - reference| / reference at the reference's points: blue 0, red 0.5 or more.

    Args:
        rgb: (H, W, 3) uint8, shown in grey.
        prediction_m: (H, W) metres, NaN unknown; such points stay undrawn.
        reference_m: (H, W) metres, NaN where there is no point.

    Returns:
        (H, W, 3) uint8.
    """
    _require_size(rgb, prediction_m)
    with np.errstate(invalid="ignore"):
        relative = np.abs(prediction_m - reference_m) / reference_m
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) // 2
    return _dots(np.repeat(grey[..., None], 3, 2), relative, _error_colours(relative), None)


def draw_frame(
    title: str,
    rgb: ColorArray,
    prediction_m: FloatArray,
    reference_m: FloatArray,
    max_depth_m: float,
) -> FramePictures:
    """Draw the four pictures of one frame; arrays as in `overlay_error`."""
    return FramePictures(
        title,
        jpeg(rgb),
        jpeg(overlay_depth(rgb, reference_m, max_depth_m)),
        jpeg(DepthColorizer(max_depth_m)(prediction_m)),
        jpeg(overlay_error(rgb, prediction_m, reference_m)),
    )


def depth_scale(max_depth_m: float, count: int) -> list[tuple[int, int, int]]:
    """Return the RGB colours of `count` depths evenly spread from 0 to `max_depth_m`."""
    if not math.isfinite(max_depth_m):
        return []
    depths_m = np.linspace(0.0, max_depth_m, count, dtype=np.float32)[None]
    return _tuples(DepthColorizer(max_depth_m)(depths_m))


def error_scale(count: int) -> list[tuple[int, int, int]]:
    """Return the RGB colours of `count` errors evenly spread from 0 to ERROR_FULL_SCALE."""
    return _tuples(_error_colours(np.linspace(0.0, ERROR_FULL_SCALE, count)[None]))


def jpeg(rgb: ColorArray) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG that keeps the colours of single dots.

    PNG takes four times the room, and a page holds dozens of pictures.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, 85]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]), options)
    return data.tobytes()


def _error_colours(relative: FloatArray) -> ColorArray:
    index = np.nan_to_num(np.clip(relative / ERROR_FULL_SCALE, 0.0, 1.0) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(index, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    return np.asarray(colours, np.uint8)


def _tuples(colours: ColorArray) -> list[tuple[int, int, int]]:
    return [(int(r), int(g), int(b)) for r, g, b in colours[0]]


def _dots(
    rgb: ColorArray, values: FloatArray, colours: ColorArray, radius_px: int | None
) -> ColorArray:
    _require_size(rgb, values)
    radius = max(rgb.shape[1] // 800, 1) if radius_px is None else radius_px
    picture = np.ascontiguousarray(rgb).copy()
    rows, columns = true_pixels(np.isfinite(values))
    # Far points first, so that near ones are drawn over them.
    order = np.argsort(-values[rows, columns], kind="stable")
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        colour = colours[row, column].tolist()
        cv2.circle(picture, (column, row), radius, colour, cv2.FILLED)
    return picture


def _require_size(rgb: ColorArray, values: FloatArray) -> None:
    if rgb.shape != (*values.shape, 3):
        raise ShapeError(f"image is {rgb.shape} and depth {values.shape}; their pixels must agree")
