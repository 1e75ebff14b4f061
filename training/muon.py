"""Muon: orthogonalised momentum for convolution kernels (Jordan et al. 2024), Adam for the rest.

From random weights and in few steps it gets further than Adam: a step changes all directions of a
kernel alike, not only those with large gradients. Torch's own Muon takes matrices alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Quintic iteration that brings singular values from (0, 1] close to 1, by Jordan et al.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95
_ADAM_BETAS = (0.9, 0.99)
_ADAM_EPSILON = 1e-8
# Learning rate of biases, norms, scalars and depthwise kernels, over that of the other kernels.
ADAM_SHARE = 0.5


class Muon(torch.optim.Optimizer):
    """Muon for the kernels of a network, Adam for its other parameters.

    A kernel is a weight with more than one input channel, read as a matrix of output channels by
    all the rest. Group 0 holds the kernels, group 1 the others; `lr_scale` of a group is multiplied
    onto the rate that a schedule sets.

    Args:
        network: whose parameters are trained.
        learning_rate: of the kernels; about 0.02.
        weight_decay: of the kernels, times the learning rate.
    """

    def __init__(self, network: nn.Module, learning_rate: float, weight_decay: float) -> None:
        parameters = list(network.parameters())
        kernels = [p for p in parameters if _is_kernel(p)]
        others = [p for p in parameters if not _is_kernel(p)]
        groups = [
            {"params": kernels, "weight_decay": weight_decay, "lr_scale": 1.0},
            {"params": others, "weight_decay": 0.0, "lr_scale": ADAM_SHARE},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": learning_rate})
        for group in self.param_groups:
            group["lr"] = learning_rate * group["lr_scale"]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update = _muon_update if _is_kernel(parameter) else _adam_update
                    direction = update(parameter.grad, self.state[parameter])
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                    parameter.add_(direction, alpha=-group["lr"])
        return loss


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return roughly U V^T of the singular value decomposition U S V^T.

    Args:
        matrix: (rows, columns).

    Returns:
        The same shape; singular values between about 0.7 and 1.2 where those of `matrix` are not
        much smaller than its largest.
    """
    a, b, c = _QUINTIC
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


def _is_kernel(parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and parameter.shape[1] > 1


def _muon_update(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    momentum = state["momentum"].mul_(_MOMENTUM).add_(gradient)
    nesterov = gradient.add(momentum, alpha=_MOMENTUM)
    rows = gradient.shape[0]
    direction = orthogonalised(nesterov.reshape(rows, -1)).reshape(gradient.shape)
    # Tall matrices: keeps the size of the change of each output channel.
    return direction * math.sqrt(max(1.0, rows / gradient[0].numel()))


def _adam_update(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    if not state:
        state["step"] = 0
        state["mean"] = torch.zeros_like(gradient)
        state["square"] = torch.zeros_like(gradient)
    state["step"] += 1
    first, second = _ADAM_BETAS
    mean = state["mean"].lerp_(gradient, 1.0 - first) / (1.0 - first ** state["step"])
    square = state["square"].lerp_(gradient.square(), 1.0 - second)
    square = square / (1.0 - second ** state["step"])
    return mean / (square.sqrt() + _ADAM_EPSILON)
