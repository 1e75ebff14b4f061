"""`mono_depth models`: what can be run."""

from __future__ import annotations

import argparse

# The rest is in the checkpoint's record.
_SHOWN_SCORES = ("abs_rel", "rmse_m", "rmse_log", "delta1")
_COLUMNS = ("network", "preset", "backbone", "parameters", "GMAC", "at", "products", "input sizes")

HELP = "list the networks with their cost, and the shipped checkpoints with their scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: the list has no options."""


def run(args: argparse.Namespace) -> int:
    """Print the presets of all networks and the checkpoints."""
    print("\n".join(_aligned([_COLUMNS, *_preset_rows()])))
    print("\ncheckpoints (run by name, checkpoint:=NAME):")
    _print_checkpoints()
    return 0


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
                ", ".join(("depth", *network.product_names)),
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
            f"products: {', '.join(('depth', *network.product_names))}"
        )
        print(f"    trained on: {info.training_data}")
        for line in _score_lines(info.scores):
            print(f"    {line}")


def _score_lines(scores: dict[str, float]) -> list[str]:
    """Return one line per place where a checkpoint was scored."""
    lines: dict[str, list[str]] = {}
    for key, value in scores.items():
        place, _, name = key.rpartition(".")
        if name in _SHOWN_SCORES:
            lines.setdefault(place, []).append(f"{name} {value:.3f}")
    return [f"{place.replace('_', ' ')}: {', '.join(cells)}" for place, cells in lines.items()]
