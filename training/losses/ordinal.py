"""Losses on classes of depth: ordinal regression and the cross entropies it is compared with."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor

from mono_depth_ros.models.base import IGNORED_LABEL
from mono_depth_ros.models.discretisation import ordinal_margins
from training.losses.masking import full_precision, labelled, nothing


@full_precision
def ordinal_regression(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the ordinal loss of ACAN (eqs. 10, 11): K yes-or-no questions, "is the label > k?".

    -(sum_{k < l} ln P_k + sum_{k >= l} ln(1 - P_k)), summed over k, averaged over valid pixels; K
    ln 2 where the network knows nothing. As logsigmoid of the margins it is exact for any logits;
    the authors' code clamps the probabilities at 1e-8.

    Args:
        logits: (B, 2K, h, w); channels 2k and 2k + 1 vote for `label <= k` and `label > k`.
        labels: (B, h, w) int64, 0 to K - 1, or -1 for what does not count.

    Returns:
        Scalar; exactly 0 with zero gradient when no label is valid.

    Raises:
        ShapeError: logits and labels do not belong together.
    """
    valid = labelled(logits, labels, classes=logits.shape[1] // 2)
    if not valid.any():
        return nothing(logits)
    margins = ordinal_margins(logits)
    thresholds = torch.arange(margins.shape[1], device=labels.device).view(1, -1, 1, 1)
    answers = torch.where(thresholds < labels[:, None], margins, -margins)
    return -functional.logsigmoid(answers).sum(1)[valid].mean()


@full_precision
def cross_entropy(
    logits: Tensor, labels: Tensor, kind: Literal["plain", "per_class"] = "plain"
) -> Tensor:
    """Return the cross entropy over classes of depth, averaged over valid pixels.

    Args:
        logits: (B, K, h, w).
        labels: (B, h, w) int64, 0 to K - 1, or -1 for what does not count.
        kind: `plain` is -ln p_l. `per_class` is the form of ACAN's code, -(ln p_l +
            sum_{k != l} ln(1 - p_k)) with p the softmax; exact here, there clamped at 1e-8.

    Returns:
        Scalar; exactly 0 with zero gradient when no label is valid.

    Raises:
        ShapeError: logits and labels do not belong together.
    """
    valid = labelled(logits, labels, classes=logits.shape[1])
    if not valid.any():
        return nothing(logits)
    labels = labels.long()
    if kind == "plain":
        return functional.cross_entropy(logits, labels, ignore_index=IGNORED_LABEL)
    log_p, log_not_p = _log_probabilities(logits)
    is_label = functional.one_hot(labels.clamp_min(0), logits.shape[1]).permute(0, 3, 1, 2).bool()
    return -torch.where(is_label, log_p, log_not_p).sum(1)[valid].mean()


def _log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return ln p and ln(1 - p) of the softmax over dim 1, both exact."""
    log_p = logits.log_softmax(1)
    top = logits.argmax(1, keepdim=True)
    # Where p may reach 1, 1 - p is the sum of the others; elsewhere p is a half at most.
    others = log_p.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True)
    small = torch.log1p(-log_p.exp().scatter(1, top, 0.0))
    return log_p, small.scatter(1, top, others)
