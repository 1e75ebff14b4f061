"""Depth as classes of equal width in ln(depth), and back (ACAN, section III-C, eqs. 8 to 13).

With x = ln(d / min) / ln(max / min) and K classes, the paper, the authors' code and this file's
default differ in where classes and thresholds lie:

| mode       | label                  | threshold t_k          | hard round trip, mean log error |
|------------|------------------------|------------------------|---------------------------------|
| paper      | floor(x K)             | min (max/min)^(k/(K-1)) | +1.7 % NYU, +2.4 % KITTI       |
| code       | round(x (K-1)), 0 lost | min (max/min)^(k/(K-1)) | +1.7 % NYU, +2.4 % KITTI       |
| consistent | floor(x K)             | min (max/min)^(k/K)     | 0                              |

`consistent` answers the geometric centre of a class, sqrt(t_l t_(l+1)), and between centres
interpolates ln(depth); the others answer (t_l + t_(l+1)) / 2 and interpolate depth (eqs. 12, 13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.base import IGNORED_LABEL
from mono_depth_ros.models.blocks import at_least_float32

SidMode = Literal["paper", "code", "consistent"]
Inference = Literal["soft", "hard"]

CONFIDENCE_RATIO = 1.25
"""The band of the threshold accuracy delta_1."""

# Keeps the far end of the range open in float32.
_END_MARGIN = 1e-4


@dataclass(frozen=True, slots=True)
class SpacingIncreasingDiscretisation:
    """K classes of depth, evenly spaced in ln(depth).

    A label is a real number here: class l, or between two classes under soft inference.

    Attributes:
        min_m: near end of the range, metres.
        max_m: far end, metres.
        bins: number of classes K.
        mode: see the table at the top of this file.
    """

    min_m: float
    max_m: float
    bins: int = 80
    mode: SidMode = "consistent"

    def __post_init__(self) -> None:
        if not 0.0 < self.min_m < self.max_m:
            raise ConfigError(
                f"depth range {self.min_m} to {self.max_m} m is no range; "
                "give 0 < min_depth_m < max_depth_m"
            )
        if self.bins < 2:
            raise ConfigError(f"bins is {self.bins}; two classes are the least")

    @property
    def log_step(self) -> float:
        """ln(t_(k+1) / t_k)."""
        intervals = self.bins if self.mode == "consistent" else self.bins - 1
        return math.log(self.max_m / self.min_m) / intervals

    def labels(self, depth_m: Tensor) -> Tensor:
        """Return the class of every depth (eq. 8).

        Args:
            depth_m: float tensor of any shape, metres, NaN where there is no measurement.

        Returns:
            int64 of the same shape, 0 to K - 1, or -1 for NaN and depths outside the range.
            `code` leaves out the ends of the range and class 0, which it uses to mark what to
            ignore.
        """
        label = torch.nan_to_num(self._edge_index(depth_m)).floor()
        if self.mode == "code":
            inside = (depth_m > self.min_m) & (depth_m < self.max_m) & (label > 0)
        else:
            inside = (depth_m >= self.min_m) & (depth_m <= self.max_m)
        return label.clamp(0, self.bins - 1).long().masked_fill(~inside, IGNORED_LABEL)

    def threshold_m(self, index: Tensor) -> Tensor:
        """Return t_k in metres for any real index k, also outside 0 to K (eq. 9)."""
        return torch.exp(index * self.log_step + math.log(self.min_m))

    def ordinal_depth_m(self, label: Tensor) -> Tensor:
        """Return the depth in metres of labels in [0, K] from `ordinal_label` (eqs. 12, 13).

        Continuous and increasing in the label. `consistent` stays inside the range; the other
        modes reach past its far end, as published.
        """
        if self.mode == "consistent":
            return self._centre_m(label)
        lower = label.floor()
        edges = [self.threshold_m(lower + k) for k in range(3)]
        near, far = (edges[0] + edges[1]) / 2, (edges[1] + edges[2]) / 2
        return near + (label - lower) * (far - near)

    def class_depth_m(self, label: Tensor) -> Tensor:
        """Return the depth in metres of labels in [0, K - 1] from `class_label`.

        `paper` and `code` answer t_l, as the code does. For soft labels that is its
        exp(sum p_k ln t_k), because ln t_k is linear in k.
        """
        return self._centre_m(label) if self.mode == "consistent" else self.threshold_m(label)

    def confidence(self, exceeding: Tensor, depth_m: Tensor) -> Tensor:
        """Return the probability of depths within a factor of 1.25 of the answer.

        That is the band of the accuracy delta_1. Inside a class the probability is spread evenly
        over ln(depth); what lies beyond the last class is outside the band.

        Args:
            exceeding: (B, K, h, w), P(class > k).
            depth_m: (B, 1, h, w), the answer, metres.

        Returns:
            (B, 1, h, w) in [0, 1].
        """
        # P(class >= k) for k = 0 to K: P(depth is beyond the near edge of class k).
        beyond = torch.cat((torch.ones_like(exceeding[:, :1]), exceeding), dim=1)
        near = self._between(beyond, self._edge_index(depth_m / CONFIDENCE_RATIO))
        far = self._between(beyond, self._edge_index(depth_m * CONFIDENCE_RATIO))
        # Ordinal probabilities need not fall with k, so the difference may be negative.
        return (near - far).clamp(0.0, 1.0)

    def _edge_index(self, depth_m: Tensor) -> Tensor:
        """Return where depths lie among the classes: class k reaches from k to k + 1 (eq. 8).

        In the mode `code` classes are rounded to, so they begin half a class before t_k.
        """
        position = (depth_m.log() - math.log(self.min_m)) / math.log(self.max_m / self.min_m)
        return position * (self.bins - 1) + 0.5 if self.mode == "code" else position * self.bins

    def _centre_m(self, label: Tensor) -> Tensor:
        """Geometric centre of class `label`, clamped into the range."""
        return self.threshold_m(label.clamp(0.0, self.bins - 0.5 - _END_MARGIN) + 0.5)

    def _between(self, values: Tensor, index: Tensor) -> Tensor:
        """Linear interpolation along dim 1 of (B, K + 1, h, w) at real indices (B, 1, h, w)."""
        index = index.clamp(0.0, float(self.bins))
        lower = index.floor().clamp(max=self.bins - 1).long()
        return torch.lerp(
            values.gather(1, lower), values.gather(1, lower + 1), index - lower.to(index.dtype)
        )


def ordinal_margins(logits: Tensor) -> Tensor:
    """Return the logits of P(label > k) (eq. 10).

    Args:
        logits: (B, 2K, h, w); channels 2k and 2k + 1 vote for `label <= k` and `label > k`.

    Returns:
        (B, K, h, w), float32 or wider: half precision overflows in the difference.
    """
    logits = at_least_float32(logits)
    return logits[:, 1::2] - logits[:, 0::2]


def ordinal_label(probabilities: Tensor, inference: Inference) -> Tensor:
    """Return the label that ordinal probabilities stand for.

    Args:
        probabilities: (B, K, h, w), P(label > k).
        inference: `hard` counts the probabilities above a half (eq. 12); `soft` sums all, which is
            the expected label (eq. 13).

    Returns:
        (B, 1, h, w) in [0, K], of the type of `probabilities`.
    """
    if inference == "hard":
        probabilities = (probabilities > 0.5).to(probabilities.dtype)
    return probabilities.sum(1, keepdim=True)


def class_label(probabilities: Tensor, inference: Inference) -> Tensor:
    """Return the label that class probabilities stand for.

    Args:
        probabilities: (B, K, h, w), P(label = k).
        inference: `hard` is the most likely class, `soft` the expected label.

    Returns:
        (B, 1, h, w) in [0, K - 1], of the type of `probabilities`.
    """
    if inference == "hard":
        return probabilities.argmax(1, keepdim=True).to(probabilities.dtype)
    classes = torch.arange(
        probabilities.shape[1], dtype=probabilities.dtype, device=probabilities.device
    )
    return (probabilities * classes.view(1, -1, 1, 1)).sum(1, keepdim=True)
