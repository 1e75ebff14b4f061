"""Presets: the networks of the papers and their light forms, one YAML file each."""

from __future__ import annotations

import os
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import DepthNetwork, ImageSize

_FOLDER = Path("config") / "networks"


@dataclass(frozen=True, slots=True)
class Preset:
    """Content of a file in config/networks.

    Attributes:
        network: key of `mono_depth_ros.models.MODELS`.
        settings: plain values of its config dataclass.
    """

    network: str
    settings: dict[str, Any] = field(default_factory=dict)


def load_preset(path: Path) -> Preset:
    """Read one preset.

    Raises:
        ConfigError: see `mono_depth_ros.config`.
    """
    return from_mapping(Preset, load_yaml(path))


def shipped_presets() -> dict[str, Path]:
    """Return the presets of this installation, name → file, sorted by name.

    They lie in the checkout, or where colcon (a prefix of AMENT_PREFIX_PATH) or pip put them.

    Raises:
        ConfigError: there are none.
    """
    checkout = Path(__file__).resolve().parents[2]
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    shares = [Path(prefix) / "share" / "mono_depth_ros" for prefix in prefixes if prefix]
    for root in (checkout, *shares):
        files = sorted((root / _FOLDER).glob("*.yaml"))
        if files:
            return {path.stem: path for path in files}
    raise ConfigError(
        f"no {_FOLDER} in {checkout} or below the prefixes {', '.join(map(str, shares))}; "
        "install the package with pip or colcon"
    )


def count_parameters(network: DepthNetwork) -> int:
    """Return the number of trainable values."""
    return sum(parameter.numel() for parameter in network.parameters())


def median_frame_time_s(preset: Preset, frames: int = 30) -> tuple[float, ImageSize]:
    """Run a preset with fresh weights on the CPU; return the median time of a frame and its size.

    Five frames more go first, on which allocators and caches settle.
    """
    network = create_model(preset.network, preset.settings).eval()
    network.to(memory_format=torch.channels_last)
    size: ImageSize = network.config.image_size
    image = torch.rand(1, 3, size.height, size.width).to(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(frames + 5):
            start = time.perf_counter()
            network(image)
            times.append(time.perf_counter() - start)
    return statistics.median(times[5:]), size


def describe(preset: Preset) -> tuple[DepthNetwork, float]:
    """Build a preset without memory; return it with its cost in GMAC for one image of its size.

    A MAC is one multiplication with its addition, of convolutions and matrix products alone.
    """
    # Slow to import, and needed by nothing else.
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):
        network = create_model(preset.network, preset.settings).eval()
        size = network.config.image_size
        image = torch.empty(1, 3, size.height, size.width)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    return network, counter.get_total_flops() / 2e9
