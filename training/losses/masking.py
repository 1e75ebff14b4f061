"""What all losses share: which pixels count, and full precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from mono_depth_ros.errors import ShapeError

# Predictions are clamped here before a logarithm; a sigmoid head can underflow to 0.
SMALLEST_DEPTH_M = 1e-3


def full_precision(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compute a loss outside autocast, half-precision tensors promoted to float32.

    Half precision loses small differences of logarithms. float64 stays, for gradient checks.
    """

    @wraps(loss)
    def wrapped(*args: Any, **kwargs: Any) -> Tensor:
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        with torch.autocast(tensors[0].device.type, enabled=False):
            return loss(
                *(_promoted(a) for a in args), **{key: _promoted(a) for key, a in kwargs.items()}
            )

    return wrapped


def measured(prediction_m: Tensor, target_m: Tensor, nearest_m: float = 0.0) -> Tensor:
    """Return the mask of pixels that count: target finite, positive and beyond `nearest_m`.

    Raises:
        ShapeError: the two maps differ in shape.
    """
    if prediction_m.shape != target_m.shape:
        raise ShapeError(
            f"prediction {tuple(prediction_m.shape)} and target {tuple(target_m.shape)} must agree"
        )
    return target_m.isfinite() & (target_m > max(nearest_m, 0.0))


def nothing(*predictions: Tensor) -> Tensor:
    """Return 0 with zero gradient for every prediction, for batches without a valid pixel."""
    return torch.stack(
        [torch.nan_to_num(prediction).sum() * 0.0 for prediction in predictions]
    ).sum()


def _promoted(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value
