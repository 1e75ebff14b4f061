"""`mono_depth models`: what can be run."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mono_depth_ros.models import DepthNetwork

# The rest is in the checkpoint's record.
_SHOWN_SCORES = ("abs_rel", "rmse_m", "rmse_log", "delta1")
_COLUMNS = ("network", "preset", "backbone", "parameters", "GMAC", "at", "products", "input sizes")

HELP = "list the networks with their cost, and the shipped checkpoints with their scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this command."""
    parser.add_argument(
        "--time",
        nargs="*",
        metavar="PRESET",
        help="measure frames per second of these presets with PyTorch on this computer's CPU "
        "instead (default: the light ones)",
    )


def run(args: argparse.Namespace) -> int:
    """Print the presets of all networks and the checkpoints, or measure presets."""
    if args.time is not None:
        print(
            "\n".join(_aligned([("preset", "at", "ms per frame", "frames/s"), *_timed(args.time)]))
        )
        return 0
    print("\n".join(_aligned([_COLUMNS, *_preset_rows()])))
    print("\ncheckpoints (run by name, checkpoint:=NAME):")
    _print_checkpoints()
    return 0


def _timed(names: list[str]) -> Iterator[tuple[str, ...]]:
    from mono_depth_ros.errors import ConfigError
    from mono_depth_ros.models.presets import load_preset, median_frame_time_s, shipped_presets

    presets = shipped_presets()
    unknown = sorted(set(names) - set(presets))
    if unknown:
        raise ConfigError(f"no preset {', '.join(unknown)}; choose from {', '.join(presets)}")
    for name in names or [name for name in presets if name.endswith("_light")]:
        seconds, size = median_frame_time_s(load_preset(presets[name]))
        yield name, f"{size.height}x{size.width}", f"{1e3 * seconds:.1f}", f"{1 / seconds:.1f}"


def _preset_rows() -> list[tuple[str, ...]]:
    from mono_depth_ros.models.presets import (
        count_parameters,
        describe,
        load_preset,
        shipped_presets,
    )

    rows: list[tuple[str, ...]] = []
    for name, path in shipped_presets().items():
        preset = load_preset(path)
        network, gmac = describe(preset)
        size = network.config.image_size
        at = f"{size.height}x{size.width}"
        rows.append(
            (
                preset.network,
                name,
                network.config.backbone,
                f"{count_parameters(network) / 1e6:.2f} M",
                f"{gmac:.2f}",
                at,
                _products(network),
                f"{at} only" if network.required_size else "any from 64x64 up",
            )
        )
    return rows


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _print_checkpoints() -> None:
    from mono_depth_ros.checkpoint import load_network, shipped_checkpoints
    from mono_depth_ros.models.presets import count_parameters

    for name, path in shipped_checkpoints().items():
        network, info = load_network(path)
        print(
            f"  {name}: {info.network}, {count_parameters(network) / 1e6:.2f} M parameters, "
            f"{path.stat().st_size / 1e6:.1f} MB, image {info.image_size.height}x"
            f"{info.image_size.width}, depth to {network.max_depth_m:g} m, "
            f"products: {_products(network)}"
        )
        print(f"    trained on: {info.training_data}")
        for line in _score_lines(info.scores):
            print(f"    {line}")


def _products(network: DepthNetwork) -> str:
    """Return what a network answers; a confidence that nobody compared with errors is marked."""
    names = ["depth", *network.product_names]
    if "confidence" in names and not network.confidence_calibrated:
        names[names.index("confidence")] = "confidence (uncalibrated)"
    return ", ".join(names)


def _score_lines(scores: dict[str, float]) -> list[str]:
    """Return one line per place where a checkpoint was scored."""
    lines: dict[str, list[str]] = {}
    for key, value in scores.items():
        place, _, name = key.rpartition(".")
        if name in _SHOWN_SCORES:
            lines.setdefault(place, []).append(f"{name} {value:.3f}")
    return [f"{place.replace('_', ' ')}: {', '.join(cells)}" for place, cells in lines.items()]
