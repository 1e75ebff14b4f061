"""Scale-invariant loss on log depth (Eigen et al. 2014) and its variants in the five papers."""

from __future__ import annotations

import torch
from torch import Tensor

from training.losses.masking import full_precision, nothing
from training.losses.regression import valid_error

# Added under the root, whose gradient is infinite at 0.
ROOT_EPSILON = 1e-7


@full_precision
def scale_invariant_log(
    prediction_m: Tensor,
    target_m: Tensor,
    variance_focus: float = 0.5,
    root: bool = True,
    factor: float = 1.0,
    nearest_m: float = 0.0,
) -> Tensor:
    """Return factor * sqrt(mean(e^2) - variance_focus * mean(e)^2), e = ln prediction - ln target.

    PWA: variance_focus 0.5 with root (paper, "Training loss"). BTS and HMA's code: 0.85, root,
    factor 10. HMA's text: 0.85 without root. Kim et al.: 0.5 without root.

    Args:
        prediction_m: (B, 1, h, w), metres.
        target_m: (B, 1, h, w), metres, NaN where there is no measurement.
        variance_focus: 0 is the plain squared log error, 1 ignores a common scale.
        root: take the square root.
        factor: multiplied onto the result.
        nearest_m: targets at or below are left out (BTS: 0.1 for NYU, 1.0 for KITTI).

    Returns:
        Scalar; exactly 0 with zero gradient when no target is valid.

    Raises:
        ShapeError: the two maps differ in shape.
    """
    error = valid_error(prediction_m, target_m, log=True, nearest_m=nearest_m)
    if not len(error):
        return nothing(prediction_m)
    loss = error.square().mean() - variance_focus * error.mean().square()
    if root:
        loss = torch.sqrt(loss.clamp_min(0.0) + ROOT_EPSILON)
    return factor * loss
