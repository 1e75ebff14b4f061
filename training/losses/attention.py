"""The attention loss of ACAN: pixels should look at pixels of similar depth."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.models.acan import STRIDE
from mono_depth_ros.models.blocks import ceil_to, pad_evenly
from training.losses.masking import full_precision, nothing

Pooling = Literal["mean_log", "nearest"]


@full_precision
def attention_divergence(
    log_attention: Tensor,
    target_m: Tensor,
    grid: tuple[int, int] | None = None,
    pooling: Pooling = "mean_log",
) -> Tensor:
    """Return the mean over pixels i of KL(w*_i || w_i) (ACAN, eqs. 6, 7).

    The paper's target exp(ln d_max - |ln d_i - ln d_j|), normalised over j, is r_ij / sum_j r_ij
    with r_ij = min(d_i, d_j) / max(d_i, d_j). The authors' code takes class labels in place of
    depths. Pixels j without a measurement take no share of the target, pixels i without one are not
    counted. The target has no gradient.

    Args:
        log_attention: (B, N, N), row i ln of the attention of pixel i, as ACAN's
            `training_outputs` has it.
        target_m: (B, 1, h, w), metres, NaN where there is no measurement.
        grid: (rows, cols) of the padded image at stride 8, rows * cols = N; None for the
            smallest that holds the target, which is ACAN's.
        pooling: depth of a cell of the grid; `mean_log` is the mean of the measured ln(depth), for
            sparse targets too, `nearest` the first pixel of the cell, as in the authors' code.

    Returns:
        Scalar; exactly 0 with zero gradient when no target is valid.

    Raises:
        ShapeError: the attention does not belong to this grid.
    """
    log_depth = _log_depth_on_grid(target_m, grid, pooling)
    batch, cells = log_depth.shape
    if log_attention.shape != (batch, cells, cells):
        raise ShapeError(
            f"attention is {tuple(log_attention.shape)}, a target of {tuple(target_m.shape)} with "
            f"grid {grid} needs {(batch, cells, cells)}; pass the grid of the padded image"
        )
    counted = log_depth.isfinite().sum()
    if counted == 0:
        return nothing(log_attention)
    # One image at a time: a batch of N x N targets would cost several times the attention itself.
    divergences = [
        _divergence(log_w, depth) for log_w, depth in zip(log_attention, log_depth, strict=True)
    ]
    return torch.stack(divergences).sum() / counted


def _divergence(log_attention: Tensor, log_depth: Tensor) -> Tensor:
    """Sum KL(target || attention) over the valid rows of one image, (N, N) and (N,)."""
    with torch.no_grad():
        valid = log_depth.isfinite()
        log_depth = log_depth.nan_to_num()
        log_ratio = -(log_depth[:, None] - log_depth[None]).abs()
        log_target = log_ratio.masked_fill(~valid, -torch.inf).log_softmax(-1)
        counts = valid[:, None] & valid
        target = log_target.exp().where(counts, 0.0)
        self_information = (target * log_target.where(counts, 0.0)).sum()
    return self_information - (target * log_attention).sum()


@torch.no_grad()
def _log_depth_on_grid(target_m: Tensor, grid: tuple[int, int] | None, pooling: Pooling) -> Tensor:
    """Return ln of the depth of every cell, (B, N), NaN where nothing was measured.

    The target is padded evenly as the network pads its image, so cells match.
    """
    height, width = target_m.shape[-2:]
    rows, cols = grid or (ceil_to(height, STRIDE) // STRIDE, ceil_to(width, STRIDE) // STRIDE)
    if rows * STRIDE < height or cols * STRIDE < width:
        raise ShapeError(
            f"a grid of {rows}x{cols} cells of {STRIDE} px does not hold a target of "
            f"{height}x{width} px; pass the grid of the padded image"
        )
    log_depth = torch.where(target_m > 0.0, target_m, torch.nan).log()
    # Padding is 0, which is no NaN, so validity is padded along with the depths.
    measured = log_depth.isfinite().to(target_m.dtype)
    maps = torch.cat((log_depth.nan_to_num(0.0, 0.0, 0.0), measured), dim=1)
    maps, _, _ = pad_evenly(maps, rows * STRIDE, cols * STRIDE)
    if pooling == "nearest":
        maps = maps[..., ::STRIDE, ::STRIDE]
    else:
        maps = functional.avg_pool2d(maps, STRIDE)
    total, weight = maps.flatten(2).unbind(1)
    return torch.where(weight > 0.0, total / weight, torch.nan)
