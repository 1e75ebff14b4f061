"""State dicts that others saved, read without running what a file may hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mono_depth_ros.errors import CheckpointError


def read_state_dict(
    path: Path, kind: str, advice: str, nests: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Read name → tensor from a .pth or .safetensors file.

    Args:
        path: of the file.
        kind: what the user calls it, for messages.
        advice: what to pass instead, for messages.
        nests: keys under which the file may hold the state dict among other things.

    Raises:
        CheckpointError: no such file, it holds more than tensors and plain values, or no state
            dict.
    """
    if not path.is_file():
        raise CheckpointError(f"no {kind} at {path}; {advice}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    # torch raises whatever its unpickler and zip reader raise.
    except Exception as error:
        raise CheckpointError(
            f"{path} is no readable state dict (.pth or .safetensors): {error}"
        ) from error
    nest = next((key for key in nests if isinstance(content, dict) and key in content), None)
    state = content if nest is None else content[nest]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        places = f", neither itself nor under {', '.join(nests)}" if nests else ""
        raise CheckpointError(f"{path} holds no state dict (name → tensor){places}; {advice}")
    return state
