"""Ways for two tasks to share layers: the study of Look Deeper's supplement, section 2.

The supplement compares single-task, fine-tuned, cascaded, merge-in and branch-out networks in which
"each task consists of 5 convolutional layers". It does not say which; its Figure 2 is a drawing. We
read them as the five layers that one branch of the proposed network consists of before it predicts:
conv2 and four up-convolutions, without lateral sharing and up-skip. In this reading the proposed
network itself branches out after S1. One encoder comes before all structures; a 3x3 convolution per
task predicts from the fifth layer.

* single: one task, the baseline.
* fine-tuned: the layers of `single` with one head per task. It is a way of training: first with the
  loss of one task only, then, from those weights, with the loss of the other only. The first run
  also is the single-task baseline of that task.
* cascaded: the second task's five layers read the fifth layer of the first task. Half scale is
  reached there, so they keep scale and width. Both losses train all.
* merge-in: each task has its own layers up to `split_depth`; their outputs are concatenated and
  read by the remaining layers, from which both tasks are predicted.
* branch-out: layers up to `split_depth` are common (S1 to S1-5 in the supplement's Table 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mono_depth_ros.models.blocks import conv_bn_relu

LAYERS_PER_TASK = 5


class Decoded(NamedTuple):
    """What a decoder makes of the deepest map of the encoder.

    Attributes:
        depth_logits: (B, 1, h, w) at half scale.
        semantic_logits: (B, classes, h, w) at half scale; None without a semantic branch, or where
            only depth was asked for.
        attended: maps (B, C, h, w) at any scale, whose activation is shown as attention.
    """

    depth_logits: Tensor
    semantic_logits: Tensor | None
    attended: tuple[Tensor, ...] = ()


def up_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Return bilinear enlargement by two, 3x3 convolution, batch norm, ReLU."""
    enlarge = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
    return nn.Sequential(enlarge, conv_bn_relu(inputs, outputs, 3))


def prediction(inputs: int, outputs: int) -> nn.Conv2d:
    """Return the 3x3 convolution that predicts one task at half scale."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def task_layers(widths: Sequence[int], first: int, end: int, merged: int = 1) -> nn.Sequential:
    """Return some of the five layers of a task.

    Args:
        widths: channels before the first layer and after each of the five.
        first: of the layers wanted, counted from 0.
        end: one after the last wanted.
        merged: maps that are concatenated before the first of them.
    """
    layers = []
    for index in range(first, end):
        inputs = widths[index] * (merged if index == first else 1)
        outputs = widths[index + 1]
        layers.append(up_conv(inputs, outputs) if index else conv_bn_relu(inputs, outputs, 1))
    return nn.Sequential(*layers)


class BranchOut(nn.Module):
    """Common first layers, then two branches; with `split_depth` 5 only the predictions differ.

    Args:
        widths: channels of the encoder's deepest map and of the five layers.
        classes: semantic classes; 0 leaves depth alone.
        split_depth: number of common layers.
    """

    def __init__(self, widths: Sequence[int], classes: int, split_depth: int) -> None:
        super().__init__()

        def branch(outputs: int) -> nn.Sequential:
            own = task_layers(widths, split_depth, LAYERS_PER_TASK)
            return nn.Sequential(own, prediction(widths[-1], outputs))

        self.shared = task_layers(widths, 0, split_depth)
        self.depth = branch(1)
        self.semantic = branch(classes) if classes else None

    def forward(self, deepest: Tensor, depth_only: bool = False) -> Decoded:
        """(B, widths[0], h, w) → logits at 16 times that scale."""
        shared = self.shared(deepest)
        if self.semantic is None or depth_only:
            return Decoded(self.depth(shared), None)
        return Decoded(self.depth(shared), self.semantic(shared))


class MergeIn(nn.Module):
    """One sub-network per task up to `split_depth`, then common layers that predict both."""

    def __init__(self, widths: Sequence[int], classes: int, split_depth: int) -> None:
        super().__init__()
        self.depth = task_layers(widths, 0, split_depth)
        self.semantic = task_layers(widths, 0, split_depth)
        self.merged = task_layers(widths, split_depth, LAYERS_PER_TASK, merged=2)
        self.depth_head = prediction(widths[-1], 1)
        self.semantic_head = prediction(widths[-1], classes)

    def forward(self, deepest: Tensor, depth_only: bool = False) -> Decoded:
        """(B, widths[0], h, w) → logits at 16 times that scale."""
        both = torch.cat((self.depth(deepest), self.semantic(deepest)), dim=1)
        merged = self.merged(both)
        semantic_logits = None if depth_only else self.semantic_head(merged)
        return Decoded(self.depth_head(merged), semantic_logits)


class Cascaded(nn.Module):
    """The layers of one task after those of the other, each with its prediction."""

    def __init__(self, widths: Sequence[int], classes: int, depth_first: bool) -> None:
        super().__init__()
        self.depth_first = depth_first
        self.first = task_layers(widths, 0, LAYERS_PER_TASK)
        self.second = nn.Sequential(
            *(conv_bn_relu(widths[-1], widths[-1], 3) for _ in range(LAYERS_PER_TASK))
        )
        self.depth_head = prediction(widths[-1], 1)
        self.semantic_head = prediction(widths[-1], classes)

    def forward(self, deepest: Tensor, depth_only: bool = False) -> Decoded:
        """(B, widths[0], h, w) → logits at 16 times that scale."""
        first = self.first(deepest)
        if self.depth_first:
            semantic_logits = None if depth_only else self.semantic_head(self.second(first))
            return Decoded(self.depth_head(first), semantic_logits)
        semantic_logits = None if depth_only else self.semantic_head(first)
        return Decoded(self.depth_head(self.second(first)), semantic_logits)
