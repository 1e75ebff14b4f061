"""Errors of a GPU, after which the next frame will not fare better."""

from __future__ import annotations

# What PyTorch's messages of a lost or failing device begin with; before 2.8 they are RuntimeErrors
# as many others.
_OF_DEVICE = ("CUDA error", "CUDA driver error", "cuDNN error", "HIP error")


def is_device_error(error: BaseException) -> bool:
    """Whether an exception says that the GPU is out of memory, lost or failing."""
    import torch

    kinds = [torch.OutOfMemoryError, getattr(torch, "AcceleratorError", torch.OutOfMemoryError)]
    return isinstance(error, tuple(kinds)) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _OF_DEVICE)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the GPU is out of memory, so that less may still fit."""
    import torch

    return isinstance(error, torch.OutOfMemoryError)
