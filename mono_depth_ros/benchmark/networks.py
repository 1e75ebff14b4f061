"""Networks alone, by backend and precision: how long they take, and what that costs in accuracy."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from mono_depth_ros.backends import (
    PRECISIONS,
    Backend,
    BackendName,
    Precision,
    make_backend,
    require_available,
)
from mono_depth_ros.backends.self_test import fixed_pictures
from mono_depth_ros.backends.world_pictures import WorldPicture, check_pictures
from mono_depth_ros.checkpoint import CheckpointInfo, load_network
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.metrics import depth_errors, mean_over_images
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import DepthNetwork, ImageSize
from mono_depth_ros.models.presets import load_preset, shipped_presets
from mono_depth_ros.timing import Timing, time_in_turns

Execution = tuple[BackendName, Precision]
_NO_TIMING = Timing(math.nan, math.nan, 0)
EAGER: Execution = ("torch", "float32")


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """A network, run in one way.

    Attributes:
        network: checkpoint or preset.
        weights: shipped, or random where only the time counts.
        height, width: of its image.
        backend, precision: how it was run.
        problem: why it could not be run; empty where it could.
        timing: of one image of uint8 to depth on the CPU.
        load_s: seconds to prepare it, compiling and the self-test included.
        times_faster: than PyTorch in float32, in this run.
        abs_rel: mean AbsRel on frames of the procedural world; NaN for random weights.
        abs_rel_change: relative to that of PyTorch in float32.
    """

    network: str
    weights: str
    height: int
    width: int
    backend: BackendName
    precision: Precision
    problem: str = ""
    timing: Timing = _NO_TIMING
    load_s: float = math.nan
    times_faster: float = math.nan
    abs_rel: float = math.nan
    abs_rel_change: float = math.nan


def executions(device: torch.device) -> list[Execution]:
    """Return the ways to run a network on a device, PyTorch in float32 first."""
    return [
        (backend, precision)
        for (backend, kind), precisions in PRECISIONS.items()
        if kind == device.type
        for precision in precisions
    ]


def measure_checkpoint(
    name: str, device: torch.device, seconds: float, frames: int
) -> list[NetworkRow]:
    """Time and score a checkpoint at its own size in all ways that this computer has.

    Args:
        name: see `checkpoint.load_network`.
        device: where to run it.
        seconds: of timing, for all ways together.
        frames: of the procedural world to score it on; scenes that no recipe trains on.
    """
    network, info = load_network(name)
    pictures = check_pictures(info.image_size, network.max_depth_m, frames)
    made, rows = _prepare(network, info.name, "shipped", info.image_size, device)
    errors = {key: _abs_rel(backend, info, pictures) for key, backend in made.items()}
    scored = [
        replace(row, abs_rel=errors[key], abs_rel_change=errors[key] / errors[EAGER] - 1.0)
        if (key := (row.backend, row.precision)) in errors
        else row
        for row in rows
    ]
    return _timed(scored, made, info.image_size, seconds)


def measure_preset(
    name: str, size: ImageSize, device: torch.device, seconds: float
) -> list[NetworkRow]:
    """Time a preset with random weights at a size; see `measure_checkpoint`."""
    preset = load_preset(shipped_presets()[name])
    settings = {**preset.settings, "image_size": {"height": size.height, "width": size.width}}
    if "context_grid" in settings:
        # The kernel has the size of the map, a 32nd of the image's.
        settings["context_grid"] = [-(-size.height // 32), -(-size.width // 32)]
    network = create_model(preset.network, settings).eval()
    made, rows = _prepare(network, name, "random", size, device)
    return _timed(rows, made, size, seconds)


def fastest(rows: Sequence[NetworkRow], reduced: bool) -> NetworkRow | None:
    """Return the fastest way, of those in float32 or of those in reduced precision."""
    ran = [row for row in rows if not row.problem and (row.precision != "float32") == reduced]
    return min(ran, key=lambda row: row.timing.median_ms, default=None)


def _prepare(
    network: DepthNetwork, name: str, weights: str, size: ImageSize, device: torch.device
) -> tuple[dict[Execution, Backend], list[NetworkRow]]:
    made: dict[Execution, Backend] = {}
    rows = []
    for execution in executions(device):
        row = NetworkRow(name, weights, size.height, size.width, *execution)
        began_s = time.perf_counter()
        try:
            require_available(*execution, device)
            made[execution] = make_backend(network, size, device, *execution)
            row = replace(row, load_s=time.perf_counter() - began_s)
        except MonoDepthError as error:
            row = replace(row, problem=str(error))
        rows.append(row)
    return made, rows


def _timed(
    rows: list[NetworkRow], made: dict[Execution, Backend], size: ImageSize, seconds: float
) -> list[NetworkRow]:
    picture = fixed_pictures(size)[0]
    ways = {" ".join(key): partial(backend.run, picture) for key, backend in made.items()}
    times = time_in_turns(ways, seconds)
    eager_ms = times[" ".join(EAGER)].median_ms
    return [
        replace(row, timing=times[key], times_faster=eager_ms / times[key].median_ms)
        if (key := f"{row.backend} {row.precision}") in times
        else row
        for row in rows
    ]


def _abs_rel(backend: Backend, info: CheckpointInfo, pictures: Sequence[WorldPicture]) -> float:
    errors = []
    for picture in pictures:
        depth_m = info.focal_ratio(picture.focal_px) * backend.run(picture.rgb)["depth_m"][0]
        errors.append(depth_errors(depth_m, picture.depth_m))
    return mean_over_images(errors).abs_rel
