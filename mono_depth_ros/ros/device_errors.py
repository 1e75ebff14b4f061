"""Errors of a GPU, after which the next frame will not fare better."""

from __future__ import annotations


def is_device_error(error: BaseException) -> bool:
    """Whether an exception says that the GPU is out of memory, lost or failing."""
    import torch

    kinds = [torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError)]
    # Before PyTorch 2.8 a lost device is a RuntimeError as many others.
    return isinstance(error, tuple(kinds)) or (
        isinstance(error, RuntimeError) and "CUDA error" in str(error)
    )
