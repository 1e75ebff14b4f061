"""Turn the authors' weights into a checkpoint.

`python -m training.convert hma AUTHORS.pth OUT.safetensors --settings backbone=densenet161`
"""

from __future__ import annotations

import argparse
import codecs
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mono_depth_ros.checkpoint import CheckpointInfo, save_checkpoint
from mono_depth_ros.config import to_mapping, with_overrides
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.author_weights import (
    AUTHOR_WEIGHTS,
    author_settings,
    convert_state_dict,
)
from mono_depth_ros.models.state_dicts import read_state_dict

# Where training programs put the network among their counters and optimiser.
_NESTS = ("model", "net", "state_dict", "model_state_dict")


def convert(
    network_key: str,
    source: Path,
    target: Path,
    settings: Mapping[str, Any],
    training_data: str = "",
    training_focal_px: float | None = None,
) -> CheckpointInfo:
    """Read the authors' file, convert it strictly, write a checkpoint.

    Args:
        network_key: key of `AUTHOR_WEIGHTS`.
        source: the authors' file, a state dict or a dict that holds one.
        target: .safetensors file to write.
        settings: of the network, on top of those that follow the authors' code.
        training_data: what the weights were trained on, in words.
        training_focal_px: see `CheckpointInfo`; 715.0873 for HMA-Depth on KITTI.

    Raises:
        ConfigError: there is no table for the network, or it has no such setting.
        CheckpointError: the file cannot be read or does not fit the settings.
    """
    settings = {**author_settings(network_key), **settings}
    state = convert_state_dict(network_key, settings, read_author_state(source))
    network = create_model(network_key, settings)
    network.load_state_dict(state)
    info = CheckpointInfo(
        name=target.stem,
        network=network_key,
        settings=to_mapping(network.config),
        image_size=network.config.image_size,
        training_focal_px=training_focal_px,
        training_data=training_data or f"by the authors ({source.name})",
    )
    # In full: the file is to answer as the authors' network does, to the last digits.
    return save_checkpoint(target, network, info, precision="float32")


def read_author_state(path: Path) -> dict[str, Tensor]:
    """Read name → tensor from a .pth file without running what it may hold.

    Raises:
        CheckpointError: no such file, it holds more than tensors and numbers, or no state dict.
    """
    with torch.serialization.safe_globals(_harmless_globals()):
        return read_state_dict(path, "weights", "pass the authors' .pth file", _NESTS)


def _harmless_globals() -> list[Any]:
    """Return what BTS's NumPy array of step numbers needs to be read; it holds data only."""
    rebuild = np.zeros(1).__reduce__()[0]
    dtypes = (type(np.dtype(name)) for name in ("int32", "int64", "float32", "float64"))
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")  # NumPy 1, NumPy 2
    named = [(rebuild, f"{module}._reconstruct") for module in modules]
    return [*named, np.ndarray, np.dtype, *dtypes, codecs.encode]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network", choices=tuple(AUTHOR_WEIGHTS))
    parser.add_argument("source", type=Path, metavar="AUTHORS.pth")
    parser.add_argument("target", type=Path, metavar="OUT.safetensors")
    parser.add_argument(
        "--settings",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="of the network; the defaults are the paper's, computed as the authors' code does",
    )
    parser.add_argument("--training-data", default="", help="what they were trained on, in words")
    parser.add_argument(
        "--training-focal-px",
        type=float,
        help="fx at which the answers are metric (HMA on KITTI: 715.0873)",
    )
    options = parser.parse_args(arguments)
    try:
        info = convert(
            options.network,
            options.source,
            options.target,
            with_overrides({}, options.settings),
            options.training_data,
            options.training_focal_px,
        )
    except MonoDepthError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{options.target}: {info.network}, sha256 {info.sha256[:12]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
