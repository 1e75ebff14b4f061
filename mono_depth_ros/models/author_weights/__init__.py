"""Weights that the papers' authors published, in our names; one table of names per network."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from mono_depth_ros.errors import CheckpointError, ConfigError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.author_weights import acan, hma
from mono_depth_ros.models.author_weights.names import AuthorWeights
from mono_depth_ros.models.backbone_weights import COUNTER

# What a DepthNetwork adds to the authors' network: constants, which a new network holds as well.
_CONSTANTS = ("image_mean", "image_std")

AUTHOR_WEIGHTS: Mapping[str, AuthorWeights] = MappingProxyType(
    {
        "hma": AuthorWeights(hma.author_names, hma.CODE_SETTINGS),
        "acan": AuthorWeights(acan.author_names, acan.CODE_SETTINGS),
    }
)
"""Key of `models.MODELS` → how the authors' weights become ours."""


def author_settings(network_key: str) -> Mapping[str, Any]:
    """Return the settings under which a network computes what the authors' code computes.

    Raises:
        ConfigError: no table for this network.
    """
    if network_key not in AUTHOR_WEIGHTS:
        raise ConfigError(
            f"no table of author weights for {network_key!r}; there is one for "
            f"{', '.join(AUTHOR_WEIGHTS)}"
        )
    return AUTHOR_WEIGHTS[network_key].settings


def convert_state_dict(
    network_key: str, settings: Mapping[str, Any], author_state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Rename the authors' tensors, strictly.

    Args:
        network_key: key of `AUTHOR_WEIGHTS`.
        settings: plain values of the network's config; they must describe the authors' network
            (see `author_settings`).
        author_state: the authors' name → tensor; `module.` before the names, of parallel training,
            is dropped, and counters of batches, which old files lack, start at 0.

    Returns:
        Our name → tensor; loads strictly into `create_model(network_key, settings)`.

    Raises:
        ConfigError: no table for this network, or a wrong setting.
        CheckpointError: a tensor is missing, left over, or has another shape.
    """
    author_settings(network_key)
    network = create_model(network_key, settings)
    table = AUTHOR_WEIGHTS[network_key].names(network)
    ours = network.state_dict()
    expected = set(table.names.values())
    author_state = {key.removeprefix("module."): value for key, value in author_state.items()}
    for name in expected - set(author_state):
        if name.endswith(COUNTER):
            author_state[name] = torch.zeros((), dtype=torch.long)
    missing = sorted(expected - set(author_state))
    left_over = sorted(n for n in set(author_state) - expected if not n.startswith(table.unused))
    if missing or left_over:
        raise CheckpointError(
            f"these are not the authors' weights of {network_key} with {dict(settings)}: "
            f"{_some(missing)} missing, {_some(left_over)} left over; change the settings"
        )
    for name, theirs in table.names.items():
        if ours[name].shape != author_state[theirs].shape:
            raise CheckpointError(
                f"{theirs} is {tuple(author_state[theirs].shape)}, but {name} is "
                f"{tuple(ours[name].shape)}; pass the settings that the weights were trained with"
            )
    constants = {name: ours[name] for name in _CONSTANTS}
    return constants | {name: author_state[theirs] for name, theirs in table.names.items()}


def _some(names: list[str]) -> str:
    return f"{len(names)} (first {names[0]})" if names else "none"


__all__ = ["AUTHOR_WEIGHTS", "author_settings", "convert_state_dict"]
