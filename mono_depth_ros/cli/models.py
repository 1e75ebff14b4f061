"""`mono_depth models`: what can be run."""

from __future__ import annotations

import argparse

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
    print("\ncheckpoints (device runs them by name, checkpoint:=NAME):")
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
        scores = ", ".join(f"{key} {value:.4g}" for key, value in info.scores.items())
        print(f"    scores: {scores or 'none'}")
    return 0
