"""Attention-driven depth loss of Look Deeper into Depth (ECCV 2018)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from training.losses.masking import SMALLEST_DEPTH_M, full_precision, measured, nothing
from training.losses.regression import berhu_distance, difference

LambdaMode = Literal["robust", "paper", "none"]
Distance = Literal["berhu_log", "berhu", "l1_log", "l1", "l2_log", "l2"]
AlphaNormaliser = Literal["cap", "batch"]


@full_precision
def depth_aware(
    prediction_m: Tensor,
    target_m: Tensor,
    max_depth_m: float = 10.0,
    lambda_mode: LambdaMode = "robust",
    distance: Distance = "berhu_log",
    alpha_normaliser: AlphaNormaliser = "cap",
    nearest_m: float = 0.0,
) -> Tensor:
    """Return the mean of (alpha_D + lambda_D) * l(d, d*).

    alpha_D = d* / largest depth lets far pixels count more; lambda_D falls to 0 as the prediction
    becomes right, so near pixels that are wrong still count. Both are weights without gradient.
    The supplement names the loss L_DA and does not print it; the formula is that of three
    re-implementations.

    A sample without a depth target (all NaN) adds nothing to sum or count and receives no gradient.

    Args:
        prediction_m: (B, 1, h, w), metres.
        target_m: (B, 1, h, w), metres, NaN where there is no measurement.
        max_depth_m: where alpha_D reaches 1.
        lambda_mode: `robust` 1 - min / max of ln(1 + d) and ln(1 + d*), in [0, 1) everywhere;
            `paper` the same of ln d and ln d*, clamped to [0, 1] since it leaves that range around
            1 m and below; `none` leaves lambda_D out.
        distance: l; berHu, absolute or squared error, of depth or of its logarithm.
        alpha_normaliser: `cap` divides by `max_depth_m`, `batch` by the largest target of the
            batch, as the re-implementations do: the weight of a pixel then depends on its
            neighbours in the batch.
        nearest_m: targets at or below are left out.

    Returns:
        Scalar; exactly 0 with zero gradient when no target is valid.

    Raises:
        ShapeError: the two maps differ in shape.
    """
    valid = measured(prediction_m, target_m, nearest_m)
    if not valid.any():
        return nothing(prediction_m)
    prediction, target = prediction_m[valid], target_m[valid]
    largest_m = max_depth_m if alpha_normaliser == "cap" else target.max()
    alpha = (target / largest_m).clamp(max=1.0)
    weight = alpha + _lambda(prediction.detach(), target, lambda_mode)
    error = difference(prediction, target, distance.endswith("_log"))
    return (weight * _distance(error, distance)).mean()


def _lambda(prediction_m: Tensor, target_m: Tensor, mode: LambdaMode) -> Tensor:
    """lambda_D of each pixel, (N,) → (N,)."""
    if mode == "none":
        return torch.zeros_like(target_m)
    prediction_m = prediction_m.clamp_min(SMALLEST_DEPTH_M)
    if mode == "robust":
        a, b = prediction_m.log1p(), target_m.log1p()
        return 1.0 - torch.minimum(a, b) / torch.maximum(a, b)
    a, b = prediction_m.log(), target_m.log()
    smaller, larger = torch.minimum(a, b), torch.maximum(a, b)
    # ln 1 = 0 under the line: right predictions have lambda 0, all others of that kind 1.
    wrong_at_1_m = (larger == 0.0) & (smaller < 0.0)
    ratio = smaller / torch.where(larger == 0.0, torch.ones_like(larger), larger)
    ratio = torch.where(smaller == larger, torch.ones_like(ratio), ratio)
    return torch.where(wrong_at_1_m, torch.ones_like(ratio), (1.0 - ratio).clamp(0.0, 1.0))


def _distance(error: Tensor, distance: Distance) -> Tensor:
    if distance.startswith("berhu"):
        return berhu_distance(error)
    return error.abs() if distance.startswith("l1") else error.square()
