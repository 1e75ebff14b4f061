"""What a run reports: lines of JSON that a resumed run continues, and TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from torch.utils.tensorboard import SummaryWriter

from mono_depth_ros.atomic import replacing

FILE = "journal.jsonl"


class Journal:
    """Logged values of a run, the same whether it was interrupted or not.

    Args:
        folder: gets journal.jsonl and tensorboard/.
        step: where the run continues; later values, of steps that are taken again, are dropped.
    """

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / FILE
        lines = path.read_text().splitlines() if path.exists() else []
        with replacing(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines if _step(line) <= step))
        self._file = path.open("a")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._board.close()

    def values(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers; what is not finite becomes null in the file."""
        plain = {key: value if math.isfinite(value) else None for key, value in values.items()}
        self._file.write(json.dumps({"step": step, **plain}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def times(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers that no two runs share, to TensorBoard alone."""
        for name, value in values.items():
            self._board.add_scalar(f"time/{name}", value, step)

    def picture(self, step: int, name: str, rgb: npt.NDArray[np.uint8]) -> None:
        """Show (H, W, 3) uint8 in TensorBoard."""
        self._board.add_image(name, rgb, step, dataformats="HWC")

    def flush(self) -> None:
        """Hand the lines to the system; before a save, so that none of its steps is lost."""
        self._file.flush()


def _step(line: str) -> float:
    """Return the step of a line; infinity for one that a kill cut short."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
