"""What all losses share: which pixels count, and full precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.models.base import IGNORED_LABEL

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


def labelled(logits: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Check labels against logits; return the mask of pixels that have one.

    Args:
        logits: (B, channels, h, w).
        labels: (B, h, w) integer, 0 to `classes` - 1, or -1 for none.
        classes: that the logits stand for.

    Raises:
        ShapeError: they do not belong together.
    """
    if logits.ndim != 4 or labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ShapeError(
            f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} do not belong "
            "together; pass (B, channels, h, w) and (B, h, w)"
        )
    if labels.is_floating_point():
        raise ShapeError(f"labels are {labels.dtype}; pass integers")
    if not labels.numel():
        return labels != IGNORED_LABEL
    least, most = labels.min(), labels.max()
    if least < IGNORED_LABEL or most >= classes:
        raise ShapeError(
            f"labels go from {least.item()} to {most.item()}, the network has {classes} classes; "
            f"map them to {IGNORED_LABEL}..{classes - 1}"
        )
    return labels != IGNORED_LABEL


def nothing(*predictions: Tensor) -> Tensor:
    """Return 0 with zero gradient for every prediction, for batches without a valid pixel."""
    return torch.stack(
        [(torch.nan_to_num(prediction) * 0.0).sum() for prediction in predictions]
    ).sum()


def _promoted(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value
