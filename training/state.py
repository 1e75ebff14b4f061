"""The training state: everything that makes an interrupted run continue as if nothing happened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mono_depth_ros.atomic import replacing
from mono_depth_ros.errors import DataError

FORMAT = 1


@dataclass
class Progress:
    """Counters of a run, updated in place.

    Attributes:
        step: optimiser steps taken.
        skipped_steps: steps whose loss was not finite; no update was made.
        seconds: computing time so far, over all sessions.
        best_abs_rel: lowest validation AbsRel so far.
    """

    step: int = 0
    skipped_steps: int = 0
    seconds: float = 0.0
    best_abs_rel: float = float("inf")


@dataclass
class TrainingState:
    """Network, optimiser, moving average and counters of a run."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    progress: Progress = field(default_factory=Progress)

    def save(self, path: Path, config: dict[str, Any]) -> None:
        """Write the state under a temporary name, then rename it."""
        record = {
            "format": FORMAT,
            "config": config,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "progress": vars(self.progress),
            "torch_rng": torch.get_rng_state(),
        }
        with replacing(path) as temporary:
            torch.save(record, temporary)

    def load(self, path: Path, config: dict[str, Any]) -> None:
        """Continue from a file that `save` wrote.

        Raises:
            DataError: the file is damaged, of another format, or of a run with other settings.
        """
        try:
            record = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            # Damaged bytes lead torch.load to errors of any kind, struct.error among them.
            raise DataError(f"training state {path} cannot be read: {error}") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise DataError(f"{path} is no training state of format {FORMAT}; delete it")
        changed = sorted(key for key in config if config[key] != record["config"].get(key))
        if changed:
            raise DataError(
                f"{path} is of a run with other settings ({', '.join(changed)}); choose another "
                "--out, or delete it to start afresh"
            )
        self.network.load_state_dict(record["network"])
        self.optimizer.load_state_dict(record["optimizer"])
        for key, value in record["average"].items():
            self.average[key].copy_(value)
        self.progress.__dict__.update(record["progress"])
        torch.set_rng_state(record["torch_rng"])


def start_average(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the network's state to average into."""
    return {key: value.detach().clone() for key, value in network.state_dict().items()}


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the network, norm statistics included.

    Early on the decay is smaller, (1 + step) / (10 + step), so that the random start is forgotten.
    """
    decay = min(decay, (1 + step) / (10 + step))
    for key, value in network.state_dict().items():
        if value.is_floating_point():
            average[key].lerp_(value, 1.0 - decay)
        else:
            average[key].copy_(value)
