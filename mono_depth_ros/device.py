"""Where to compute."""

from __future__ import annotations

import logging

import torch

from mono_depth_ros.errors import DeviceError

logger = logging.getLogger(__name__)


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn a `device` setting into a torch device; "auto" takes a GPU where there is one.

    Raises:
        DeviceError: the device is not of this computer; nothing falls back to the CPU silently.
    """
    if isinstance(device, torch.device):
        return device
    if device == "auto":
        chosen = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        logger.info("device auto: running on %s", chosen)
        return chosen
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"no device {device!r}; choose auto, cpu, cuda or cuda:N") from error
    if chosen.type not in ("cpu", "cuda"):
        raise DeviceError(f"device {device!r} is not supported; choose auto, cpu, cuda or cuda:N")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {device!r} asked for, this computer has {torch.cuda.device_count()} CUDA "
            "devices; check the driver (nvidia-smi) or choose device:=cpu"
        )
    return chosen
