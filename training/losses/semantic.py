"""Focal loss on semantic classes, L_semF of Look Deeper into Depth (ECCV 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from mono_depth_ros.errors import ConfigError
from training.losses.masking import full_precision, labelled, nothing


@full_precision
def focal_semantic(
    logits: Tensor, labels: Tensor, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Return the mean of -alpha (1 - p)^gamma ln p, p the softmax probability of the true class.

    Focal loss of Lin et al. 2017. The supplement only names it; alpha and gamma are those of a
    re-implementation, which took a sigmoid per class. alpha 1 and gamma 0 is the cross-entropy.

    A sample without labels (all -1) adds nothing to sum or count and receives no gradient.

    Args:
        logits: (B, K, h, w).
        labels: (B, h, w) integer, class 0..K-1, -1 where there is none; see
            `mono_depth_ros.models.semantic_classes.label_map`.
        alpha: factor.
        gamma: 0, or 1 and more; how little well classified pixels count.

    Returns:
        Scalar; exactly 0 with zero gradient when no pixel has a label.

    Raises:
        ShapeError: logits and labels do not belong together.
        ConfigError: gamma lies where its gradient is infinite for a certain prediction.
    """
    if gamma != 0.0 and gamma < 1.0:
        raise ConfigError(f"gamma is {gamma}; choose 0, or 1 and more")
    valid = labelled(logits, labels, classes=logits.shape[1])
    if not valid.any():
        return nothing(logits)
    log_probabilities = logits.movedim(1, -1)[valid].log_softmax(dim=-1)
    log_p = log_probabilities.gather(-1, labels[valid].long().unsqueeze(-1)).squeeze(-1)
    modulation = (-torch.expm1(log_p)).pow(gamma) if gamma else 1.0
    return -alpha * (modulation * log_p).mean()
