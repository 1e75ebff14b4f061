"""Plain distances between two depth maps: berHu and squared error."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.masking import SMALLEST_DEPTH_M, full_precision, measured, nothing

LARGEST_DEPTH_M = 1e9

# Laina et al. 2016: the threshold between both halves of berHu is a fifth of the largest error.
BERHU_FRACTION = 0.2


@full_precision
def berhu(
    prediction_m: Tensor,
    target_m: Tensor,
    fraction: float = BERHU_FRACTION,
    log: bool = False,
    nearest_m: float = 0.0,
) -> Tensor:
    """Return the mean reverse Huber distance (Laina et al. 2016): |e| up to c, (e^2 + c^2) / 2c on.

    c = fraction * max |e| over the batch, without gradient.

    Args:
        prediction_m: (B, 1, h, w), metres.
        target_m: (B, 1, h, w), metres, NaN where there is no measurement.
        fraction: above 0.
        log: compare logarithms of depth.
        nearest_m: targets at or below are left out.

    Returns:
        Scalar; exactly 0 with zero gradient when no target is valid.

    Raises:
        ShapeError: the two maps differ in shape.
    """
    error = valid_error(prediction_m, target_m, log, nearest_m)
    return berhu_distance(error, fraction).mean() if len(error) else nothing(prediction_m)


@full_precision
def squared_error(
    prediction_m: Tensor, target_m: Tensor, log: bool = False, nearest_m: float = 0.0
) -> Tensor:
    """Return the mean of e^2, in square metres or, with `log`, without unit; see `berhu`."""
    error = valid_error(prediction_m, target_m, log, nearest_m)
    return error.square().mean() if len(error) else nothing(prediction_m)


def valid_error(prediction_m: Tensor, target_m: Tensor, log: bool, nearest_m: float) -> Tensor:
    """Return prediction - target, or the difference of their logarithms, (N,) for N valid pixels.

    Raises:
        ShapeError: the two maps differ in shape.
    """
    valid = measured(prediction_m, target_m, nearest_m)
    return difference(prediction_m[valid], target_m[valid], log)


def difference(prediction_m: Tensor, target_m: Tensor, log: bool) -> Tensor:
    """Return prediction - target, or the difference of their logarithms, of measured depths."""
    if log:
        return prediction_m.clamp_min(SMALLEST_DEPTH_M).log() - target_m.log()
    # No network answers beyond; squares stay finite.
    return prediction_m.clamp_max(LARGEST_DEPTH_M) - target_m


def berhu_distance(error: Tensor, fraction: float = BERHU_FRACTION) -> Tensor:
    """Return the reverse Huber distance of each error; (N,) → (N,), N at least 1."""
    size = error.abs()
    # The least positive threshold keeps the division finite when all errors are 0.
    tiny = torch.finfo(size.dtype).tiny
    threshold = (fraction * size.detach().max()).clamp_min(tiny)
    # e^2 / c as e * (e / c): the square of a small error would underflow.
    large = 0.5 * (size * (size / threshold) + threshold)
    return torch.where(size <= threshold, size, large)
