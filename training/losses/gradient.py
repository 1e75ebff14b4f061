"""Gradient loss, L_JG of Look Deeper into Depth (ECCV 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from training.losses.masking import SMALLEST_DEPTH_M, full_precision, measured, nothing

_SOBEL_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


@full_precision
def joint_gradient(
    prediction_m: Tensor, target_m: Tensor, log: bool = True, nearest_m: float = 0.0
) -> Tensor:
    """Return the mean of |S_x d - S_x d*| + |S_y d - S_y d*|, S the 3x3 Sobel filters.

    The supplement names the loss and does not print it; this is a re-implementation's. "Joint" is
    read as both axes. Only windows without an invalid pixel count, so edges of holes do not.

    Args:
        prediction_m: (B, 1, h, w), metres.
        target_m: (B, 1, h, w), metres, NaN where there is no measurement.
        log: compare logarithms of depth, so that far edges do not outweigh near ones.
        nearest_m: targets at or below are left out.

    Returns:
        Scalar; exactly 0 with zero gradient when no 3x3 window is valid.

    Raises:
        ShapeError: the two maps differ in shape.
    """
    valid = measured(prediction_m, target_m, nearest_m)
    if min(valid.shape[-2:]) < 3:
        return nothing(prediction_m)
    whole = functional.max_pool2d((~valid).to(prediction_m.dtype), 3, stride=1) == 0.0
    if not whole.any():
        return nothing(prediction_m)
    # Filled before the logarithm: a masked NaN would still poison the gradient.
    prediction_m = torch.where(valid, prediction_m, 1.0)
    target_m = torch.where(valid, target_m, 1.0)
    if log:
        prediction_m, target_m = prediction_m.clamp_min(SMALLEST_DEPTH_M).log(), target_m.log()
    # The filters are linear: the difference of gradients is the gradient of the difference.
    sobel_x = prediction_m.new_tensor(_SOBEL_X)
    filters = torch.stack((sobel_x, sobel_x.T))[:, None]
    slopes = functional.conv2d(prediction_m - target_m, filters)
    return slopes.abs().sum(dim=1, keepdim=True)[whole].mean()
