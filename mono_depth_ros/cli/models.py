"""`mono_depth models`: what can be run."""

from __future__ import annotations

import argparse

# The rest is in the checkpoint's record.
_SHOWN_SCORES = ("abs_rel", "rmse_m", "rmse_log", "delta1")

HELP = "list the networks and the shipped checkpoints with their size and scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: the list has no options."""


def run(args: argparse.Namespace) -> int:
    """Print one block of networks and one of checkpoints."""
    from mono_depth_ros.checkpoint import load_network, shipped_checkpoints
    from mono_depth_ros.models import MODELS

    print("networks:")
    for name, (_, network_class) in MODELS.items():
        doc = (network_class.__doc__ or "").splitlines()[0]
        print(f"  {name:<16}{doc}")
    print("\ncheckpoints (run by name, checkpoint:=NAME):")
    for name, path in shipped_checkpoints().items():
        network, info = load_network(path)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        print(
            f"  {name}: {info.network}, {parameters / 1e6:.2f} M parameters, "
            f"{path.stat().st_size / 1e6:.1f} MB, image {info.image_size.height}x"
            f"{info.image_size.width}, depth to {network.max_depth_m:g} m, "
            f"products: {', '.join(('depth', *network.product_names))}"
        )
        print(f"    trained on: {info.training_data}")
        for line in _score_lines(info.scores):
            print(f"    {line}")
    return 0


def _score_lines(scores: dict[str, float]) -> list[str]:
    """Return one line per place where a checkpoint was scored."""
    lines: dict[str, list[str]] = {}
    for key, value in scores.items():
        place, _, name = key.rpartition(".")
        if name in _SHOWN_SCORES:
            lines.setdefault(place, []).append(f"{name} {value:.3f}")
    return [f"{place.replace('_', ' ')}: {', '.join(cells)}" for place, cells in lines.items()]
