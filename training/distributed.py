"""Several processes that train one network, started by torchrun; without it, a single one.

The loss is that of the whole batch: every process gathers what the others predicted, computes the
same loss, and sends gradients back through its own part. So the number of processes changes
nothing, not even for losses that are no mean over images (the root of the scale-invariant loss).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mono_depth_ros.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Processes:
    """Which of how many processes this is.

    Attributes:
        rank: from 0; rank 0 writes files and logs.
        count: of all processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, items: list[Any]) -> list[Any]:
        """Return this process's part of a batch, in order.

        Raises:
            ConfigError: the batch does not split evenly.
        """
        if len(items) % self.count:
            raise ConfigError(
                f"micro-batches of {len(items)} images do not split over {self.count} processes; "
                "change batch_size or accumulate"
            )
        size = len(items) // self.count
        return items[self.rank * size : (self.rank + 1) * size]

    def gathered(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return (b, ...) tensors of all processes as (b * count, ...), in order of the ranks.

        Gradients flow back to the process that a part came from, `count` times as large, since all
        processes compute the same loss; averaging over processes makes up for it.
        """
        if self.count == 1:
            return dict(maps)
        return {name: _Gather.apply(part) for name, part in maps.items()}

    def lists(self, items: list[Any]) -> list[Any]:
        """Return the concatenated lists of all processes."""
        if self.count == 1:
            return items
        parts: list[list[Any]] = [[] for _ in range(self.count)]
        dist.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def any(self, happened: bool) -> bool:
        """Return whether it happened in one of the processes."""
        return any(self.lists([happened]))

    def wrap(self, forward: nn.Module, device: torch.device, *, partly: bool) -> nn.Module:
        """Return the module with gradients averaged over all processes.

        Args:
            forward: what is trained.
            device: of its parameters.
            partly: a step may leave parameters out; looking for them takes time.
        """
        if self.count == 1:
            return forward
        devices = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            forward, device_ids=devices, find_unused_parameters=partly
        )


@contextmanager
def processes(device: str) -> Iterator[tuple[Processes, str]]:
    """Join the processes of torchrun; yield them and the device of this one.

    Args:
        device: of the recipe; `auto` and `cuda` become this process's own GPU.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes(), device
        return
    gpu = device != "cpu" and torch.cuda.is_available()
    if gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Processes(dist.get_rank(), count), device if gpu else "cpu"
    finally:
        dist.destroy_process_group()


class _Gather(torch.autograd.Function):
    """All parts of a batch, for a loss that every process computes alike."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, part.contiguous())
        ctx.size = len(part)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,) = gradients
        start = dist.get_rank() * ctx.size
        # DDP divides the sum over processes by their number; each holds only its part of it.
        return gradient[start : start + ctx.size] * dist.get_world_size()
