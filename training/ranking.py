"""Rank the shipped checkpoints: `python -m training.ranking rooms streets`.

One table per kind from one run: scores on world test set v1, parameters, work, and run time with
the networks in turn, so that another program on the computer slows all of them alike.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from mono_depth_ros.atomic import replacing
from mono_depth_ros.backends.self_test import fixed_pictures
from mono_depth_ros.checkpoint import shipped_checkpoints
from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.models.presets import Preset, count_parameters, describe
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.timing import time_in_turns
from mono_depth_ros.world import KINDS
from training.evaluation.world import scores_on_world
from training.evaluation.world_test import SCENES

_TIMED_S = 20.0


@dataclass(frozen=True, slots=True)
class Rank:
    """One checkpoint.

    Attributes:
        checkpoint: its name.
        abs_rel, rmse_m, delta1: means over world test set v1.
        parameters: trainable values.
        gmac: multiplications with addition for one image, in 10^9.
        network_ms: median time of one image of uint8 to depth, the network alone.
    """

    checkpoint: str
    abs_rel: float
    rmse_m: float
    delta1: float
    parameters: int
    gmac: float
    network_ms: float


def rank(kind: str, device: str, scenes: int = SCENES, seconds: float = _TIMED_S) -> list[Rank]:
    """Score and time all shipped checkpoints of a kind; return them, the smallest AbsRel first.

    Args:
        kind: rooms or streets.
        device: auto, cpu, cuda or cuda:N.
        scenes: of the test set, one image each.
        seconds: of timing, for all checkpoints together.

    Raises:
        ConfigError: no checkpoint of that kind ships.
    """
    names = [name for name in shipped_checkpoints() if name.endswith(f"_{kind}")]
    if not names:
        raise ConfigError(f"no checkpoint for {kind} ships; kinds are {', '.join(KINDS)}")
    config = InferenceConfig(device=device)
    predictors = {name: DepthPredictor.load(name, config) for name in names}
    scores = scores_on_world(predictors, kind, scenes)
    times = time_in_turns(
        {
            name: partial(each.backend.run, fixed_pictures(each.info.image_size)[0])
            for name, each in predictors.items()
        },
        seconds,
    )
    ranks = []
    for name, predictor in predictors.items():
        network, gmac = describe(Preset(predictor.info.network, predictor.info.settings))
        found = scores[name].model
        ranks.append(
            Rank(
                name,
                found.abs_rel,
                found.rmse_m,
                found.delta1,
                count_parameters(network),
                gmac,
                times[name].median_ms,
            )
        )
    return sorted(ranks, key=lambda each: each.abs_rel)


def table(kind: str, ranks: Sequence[Rank]) -> Iterator[str]:
    """Yield the lines of one kind's table."""
    yield f"world test set v1, procedural {kind}; PyTorch with {torch.get_num_threads()} threads"
    width = max(len(each.checkpoint) for each in ranks)
    yield f"{'':<{width}}  AbsRel  RMSE m      δ1  parameters   GMAC     ms"
    for each in ranks:
        yield (
            f"{each.checkpoint:<{width}}  {each.abs_rel:.4f}  {each.rmse_m:6.3f}  "
            f"{each.delta1:.4f}  {each.parameters:10,}  {each.gmac:5.2f}  {each.network_ms:5.1f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="rooms, streets (default: both)")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    ranks = {}
    try:
        for kind in options.kinds or KINDS:
            ranks[kind] = rank(kind, options.device)
            sys.stdout.write("\n".join(table(kind, ranks[kind])) + "\n\n")
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    if options.json is not None:
        plain = {kind: [asdict(each) for each in found] for kind, found in ranks.items()}
        with replacing(options.json) as temporary:
            temporary.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
