"""One optimiser step, and the order of the training images."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW
from torch.utils.data import DataLoader, Dataset

from mono_depth_ros.errors import ConfigError
from training.config import OptimizerConfig, ParameterGroup
from training.datasets.prepared import collate
from training.distributed import Processes
from training.muon import Muon

logger = logging.getLogger(__name__)

Key = tuple[int, int]


class StepSampler:
    """Micro-batches of (epoch, index) from a given step on.

    The order of an epoch depends on the seed and the epoch alone, so a run that continues at any
    step, or with another number of processes, sees exactly the batches it would have seen.

    Args:
        sizes: of the data sets, whose images are numbered through.
        batch_size: images per step.
        first_step: where to begin.
        steps: where to end.
        seed: of the order.
        alternate: step k takes all its images from data set k modulo their number.
        accumulate: micro-batches per step.
        processes: each gets its share of every micro-batch.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_size: int,
        first_step: int,
        steps: int,
        seed: int,
        *,
        alternate: bool = False,
        accumulate: int = 1,
        processes: Processes | None = None,
    ) -> None:
        self.batch_size, self.seed, self.accumulate = batch_size, seed, accumulate
        self.first_step, self.steps = first_step, steps
        self.processes = processes or Processes()
        # (number of images, number of the first one) of what a step draws from.
        starts = np.cumsum([0, *sizes[:-1]]).tolist()
        self.pools = list(zip(sizes, starts, strict=True)) if alternate else [(int(sum(sizes)), 0)]
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.accumulate

    def __iter__(self) -> Iterator[list[Key]]:
        micro = self.batch_size // self.accumulate
        for step in range(self.first_step, self.steps):
            batch = self._batch(step)
            for start in range(0, self.batch_size, micro):
                yield self.processes.share(batch[start : start + micro])

    def _batch(self, step: int) -> list[Key]:
        turn, pool = divmod(step, len(self.pools))
        size, first = self.pools[pool]
        batch = []
        for position in range(turn * self.batch_size, (turn + 1) * self.batch_size):
            epoch, place = divmod(position, size)
            batch.append((epoch, first + int(self._order(pool, epoch)[place])))
        return batch

    def _order(self, pool: int, epoch: int) -> np.ndarray:
        if (pool, epoch) not in self._orders:
            # One order per pool in memory.
            self._orders = {key: order for key, order in self._orders.items() if key[0] != pool}
            key = (self.seed, epoch, pool) if pool else (self.seed, epoch)
            order = np.random.default_rng(key).permutation(self.pools[pool][0])
            self._orders[pool, epoch] = order
        return self._orders[pool, epoch]


def in_order(size: int, batch_size: int = 16) -> list[list[Key]]:
    """Return batches of (epoch 0, index) over a whole dataset."""
    return [
        [(0, index) for index in range(first, min(first + batch_size, size))]
        for first in range(0, size, batch_size)
    ]


def make_loader(dataset: Dataset, batches: Iterable[list[Key]], workers: int) -> DataLoader:
    """Return a loader that asks the dataset for exactly these items, in order."""
    return DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        collate_fn=collate,
    )


def make_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over all parameters that learn.

    Weight decay is for kernels alone: norms, biases and the scalars of lateral sharing units say
    nothing about how smooth a function is.

    Raises:
        ConfigError: a group or a frozen name fits no parameter.
    """
    _freeze(network, config.frozen)
    if config.algorithm == "muon":
        return Muon(network, config.learning_rate, config.weight_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    unused = set(config.groups)
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        group = next((g for g in config.groups if _fits(name, g)), ParameterGroup())
        unused.discard(group)
        decay = config.weight_decay if group.weight_decay is None else group.weight_decay
        key = (group.learning_rate_scale, decay if parameter.ndim > 1 else 0.0)
        groups.setdefault(key, []).append(parameter)
    if unused:
        raise ConfigError(
            f"optimizer.groups {[(g.prefix, g.suffix) for g in unused]} fit no parameter that "
            f"is left; names of this network start like {_first_names(network)}"
        )
    settings: list[dict[str, Any]] = [
        {"params": parameters, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]
    if config.algorithm == "sgd":
        return SGD(settings, config.learning_rate, momentum=config.momentum)
    algorithm = {"adam": Adam, "adamw": AdamW}[config.algorithm]
    return algorithm(settings, config.learning_rate, betas=config.betas, eps=config.epsilon)


def _freeze(network: nn.Module, prefixes: Sequence[str]) -> None:
    for prefix in prefixes:
        named = [p for name, p in network.named_parameters() if fnmatchcase(name, f"{prefix}*")]
        if not named:
            raise ConfigError(
                f"optimizer.frozen {prefix!r} is the start of no parameter's name; they start like "
                f"{_first_names(network)}"
            )
        for parameter in named:
            parameter.requires_grad_(False)


def _fits(name: str, group: ParameterGroup) -> bool:
    return fnmatchcase(name, f"{group.prefix}*") and name.endswith(group.suffix)


def _first_names(network: nn.Module) -> str:
    return ", ".join(dict.fromkeys(name.split(".")[0] for name, _ in network.named_parameters()))


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, steps: int
) -> float:
    """Set and return the learning rate of a step: linear warm-up, then decay to the final rate.

    With x the share of the steps after the warm-up that are done, the way from the final rate to
    the full one is multiplied by (1 - x)^power or (1 + cos(pi x)) / 2.
    """
    warmup = config.warmup_steps
    done = max(step - warmup, 0) / max(steps - warmup, 1)
    if config.schedule == "polynomial":
        share = (1.0 - done) ** config.power
    else:
        share = 0.5 * (1.0 + math.cos(math.pi * done))
    share = config.final_rate + (1.0 - config.final_rate) * share
    if step < warmup:
        share *= (step + 1) / (warmup + 1)
    rate = config.learning_rate * share
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    return rate


def take_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    losses: Iterable[Callable[[], Tensor]],
    clip_norm: float,
) -> float | None:
    """Add up the gradients of all micro-batches and update.

    Args:
        network: whose parameters and norm statistics change.
        optimizer: of the network.
        scaler: of float16 losses; disabled otherwise.
        losses: one call per micro-batch gives its share of the loss.
        clip_norm: gradients are scaled down to this norm.

    Returns:
        The loss; None if it or a gradient is not finite, in which case nothing has changed.
    """
    buffers = [b for b in network.buffers() if b.is_floating_point()]
    before = [b.clone() for b in buffers]
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for compute in losses:
        loss = compute()
        # Before the backward pass: one that starts from NaN can take minutes on a CPU.
        if not torch.isfinite(loss):
            torch._foreach_copy_(buffers, before)
            return None
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    if torch.isfinite(norm):
        scaler.step(optimizer)
    scaler.update()
    if not torch.isfinite(norm):
        torch._foreach_copy_(buffers, before)
        return None
    return total
