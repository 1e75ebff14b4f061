"""One optimiser step, one validation pass, and the order of the training images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW
from torch.utils.data import DataLoader, Dataset

from mono_depth_ros.metrics import DepthErrors, depth_errors, mean_over_images
from training.config import OptimizerConfig
from training.muon import Muon


class StepSampler:
    """Batches of (epoch, index) from a given step on.

    The order of an epoch depends on the seed and the epoch alone, so a run that continues at any
    step sees exactly the batches it would have seen.
    """

    def __init__(self, size: int, batch_size: int, first_step: int, steps: int, seed: int) -> None:
        self.size, self.batch_size, self.seed = size, batch_size, seed
        self.first_step, self.steps = first_step, steps

    def __len__(self) -> int:
        return self.steps - self.first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        permutations: dict[int, np.ndarray] = {}
        for step in range(self.first_step, self.steps):
            batch = []
            for position in range(step * self.batch_size, (step + 1) * self.batch_size):
                epoch, place = divmod(position, self.size)
                if epoch not in permutations:
                    permutations = {epoch: self._order(epoch)}
                batch.append((epoch, int(permutations[epoch][place])))
            yield batch

    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng((self.seed, epoch)).permutation(self.size)


def in_order(size: int, batch_size: int = 16) -> list[list[tuple[int, int]]]:
    """Return batches of (epoch 0, index) over a whole dataset."""
    return [
        [(0, index) for index in range(first, min(first + batch_size, size))]
        for first in range(0, size, batch_size)
    ]


def make_loader(
    dataset: Dataset, batches: Iterable[list[tuple[int, int]]], workers: int
) -> DataLoader:
    """Return a loader that asks the dataset for exactly these items, in order."""
    return DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
    )


def make_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a recipe over all parameters.

    Weight decay is for kernels alone: norms, biases and the scalars of lateral sharing units say
    nothing about how smooth a function is.
    """
    if config.algorithm == "muon":
        return Muon(network, config.learning_rate, config.weight_decay)
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    algorithm = {"adam": Adam, "adamw": AdamW}[config.algorithm]
    return algorithm(groups, config.learning_rate)


def set_learning_rate(
    optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int, steps: int
) -> float:
    """Set and return the learning rate of a step: linear warm-up, then decay to zero.

    With x the share of the steps after the warm-up that are done, the rate is multiplied by
    (1 - x)^power or (1 + cos(pi x)) / 2.
    """
    warmup = config.warmup_steps
    done = max(step - warmup, 0) / max(steps - warmup, 1)
    if config.schedule == "polynomial":
        share = (1.0 - done) ** config.power
    else:
        share = 0.5 * (1.0 + math.cos(math.pi * done))
    if step < warmup:
        share *= (step + 1) / (warmup + 1)
    rate = config.learning_rate * share
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    return rate


def take_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor, clip_norm: float
) -> bool:
    """Back-propagate and update; return False, and change nothing, if anything is not finite."""
    optimizer.zero_grad(set_to_none=True)
    if not torch.isfinite(loss):
        return False
    loss.backward()
    norm = nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    if not torch.isfinite(norm):
        return False
    optimizer.step()
    return True


@torch.inference_mode()
def validate(
    network: nn.Module, loader: Iterable[dict[str, Tensor]], device: torch.device
) -> DepthErrors:
    """Score every image and return the mean over images."""
    network.eval()
    errors = []
    for batch in loader:
        prediction_m = network(batch["image"].to(device))[:, 0].float().cpu().numpy()
        target_m = batch["depth_m"][:, 0].numpy()
        errors += [depth_errors(p, t) for p, t in zip(prediction_m, target_m, strict=True)]
    return mean_over_images(errors)
