"""The training state: everything that makes an interrupted run continue as if nothing happened."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mono_depth_ros.atomic import replacing
from mono_depth_ros.errors import DataError

FORMAT = 3

_PART = ".part"


@dataclass
class Progress:
    """Counters of a run, updated in place.

    Attributes:
        step: optimiser steps taken.
        skipped_steps: steps whose loss or gradient was not finite; no update was made.
        skipped_in_a_row: of these, the last ones without a finite step between them.
        bad_items: training images that were damaged, or without depth and labels in their crop.
        seconds: time of all steps so far, over all sessions.
        waited_s: the part of it spent waiting for data.
        best_loss: lowest `Validation.loss` so far.
    """

    step: int = 0
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    bad_items: int = 0
    seconds: float = 0.0
    waited_s: float = 0.0
    best_loss: float = float("inf")


@dataclass
class TrainingState:
    """Network, optimiser, loss scaler, moving average and counters of a run.

    There is no state of random numbers: a step draws its own from its number.

    Attributes:
        average: of the network's state; None where the recipe wants none.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: dict[str, Tensor] | None
    progress: Progress = field(default_factory=Progress)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The network's state as checkpoints hold it: the average, if there is one."""
        return self.network.state_dict() if self.average is None else self.average

    def save(self, path: Path, config: dict[str, Any], part_mb: float | None = None) -> None:
        """Write the state under a temporary name, then rename it.

        Args:
            path: file to write.
            config: settings of the run, plain values.
            part_mb: largest size of a file; `path` then lists numbered files beside it.
        """
        record: dict[str, Any] = {
            "format": FORMAT,
            "config": config,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average,
            "progress": vars(self.progress),
        }
        parts: list[str] = []
        if part_mb is not None:
            record = _write_parts(path, record, round(part_mb * 1e6))
            parts = record["parts"]
        with replacing(path) as temporary:
            torch.save(record, temporary)
        for part in path.parent.glob(f"{path.name}.*{_PART}"):
            if part.name not in parts:
                part.unlink()

    def load(self, path: Path, config: dict[str, Any]) -> None:
        """Continue from a file that `save` wrote.

        Raises:
            DataError: the file is damaged, of another format, or of a run with other settings.
        """
        try:
            record = torch.load(path, map_location="cpu", weights_only=True)
            if "parts" in record:
                record = _read_parts(path, record)
        except Exception as error:
            # Damaged bytes lead torch.load to errors of any kind, struct.error among them.
            raise DataError(f"training state {path} cannot be read: {error}") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise DataError(f"{path} is no training state of format {FORMAT}; delete it")
        changed = list(_differing(config, record["config"]))
        if changed:
            raise DataError(
                f"{path} is of a run with other settings ({', '.join(changed)}); choose another "
                "--out, or delete it to start afresh"
            )
        self.network.load_state_dict(record["network"])
        self.optimizer.load_state_dict(record["optimizer"])
        self.scaler.load_state_dict(record["scaler"])
        for key, value in (self.average or {}).items():
            value.copy_(record["average"][key])
        self.progress.__dict__.update(record["progress"])


def _write_parts(path: Path, record: dict[str, Any], size: int) -> dict[str, Any]:
    """Write a record as files of at most `size` bytes; return the record that lists them.

    Their names hold their content's hash: those of the last save stay whole until the list is
    replaced.
    """
    buffer = io.BytesIO()
    torch.save(record, buffer)
    data, names = buffer.getbuffer(), []
    digest = hashlib.sha256(data).hexdigest()
    for number, start in enumerate(range(0, len(data), size)):
        names.append(f"{path.name}.{digest[:12]}.{number}{_PART}")
        with replacing(path.with_name(names[-1])) as temporary:
            temporary.write_bytes(data[start : start + size])
    return {"format": FORMAT, "parts": names, "sha256": digest}


def _read_parts(path: Path, listed: dict[str, Any]) -> dict[str, Any]:
    data = b"".join(path.with_name(name).read_bytes() for name in listed["parts"])
    if hashlib.sha256(data).hexdigest() != listed["sha256"]:
        raise DataError("its parts do not have the recorded hash")
    record: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return record


def _differing(wanted: Any, saved: Any, name: str = "") -> Iterator[str]:
    """Yield the dotted names of settings that are not the same."""
    if isinstance(wanted, Mapping) and isinstance(saved, Mapping):
        for key in sorted({*wanted, *saved}):
            yield from _differing(wanted.get(key), saved.get(key), f"{name}.{key}" if name else key)
    elif wanted != saved:
        yield name


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
