"""The networks, in one closed table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from mono_depth_ros.config import from_mapping
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.acan import Acan, AcanConfig
from mono_depth_ros.models.asc_gcm import AscGcm, AscGcmConfig
from mono_depth_ros.models.backbone_weights import NONE, load_backbone_weights
from mono_depth_ros.models.base import DepthNetwork
from mono_depth_ros.models.hgc import Hgc, HgcConfig
from mono_depth_ros.models.hma import Hma, HmaConfig
from mono_depth_ros.models.look_deeper import LookDeeper, LookDeeperConfig
from mono_depth_ros.models.pwa import Pwa, PwaConfig

MODELS: Mapping[str, tuple[type[Any], Callable[[Any], DepthNetwork]]] = MappingProxyType(
    {
        "pwa": (PwaConfig, Pwa),
        "hma": (HmaConfig, Hma),
        "acan": (AcanConfig, Acan),
        "asc_gcm": (AscGcmConfig, AscGcm),
        "look_deeper": (LookDeeperConfig, LookDeeper),
        "hgc": (HgcConfig, Hgc),
    }
)
"""Key → (class of its settings, class of the network that takes them)."""


def create_model(
    name: str, settings: Mapping[str, Any] | None = None, backbone_weights: str = NONE
) -> DepthNetwork:
    """Build the network `name` with fresh weights, its backbone pretrained if asked for.

    Args:
        name: key of `MODELS`.
        settings: plain values for the network's config dataclass; what is left out has its default.
        backbone_weights: `none`, `imagenet`, `imagenet_v2`, or the path of a state dict; see
            `backbone_weights.load_backbone_weights`.

    Raises:
        ConfigError: the network or one of its settings is unknown, or weights are asked for at a
            width that has none.
        CheckpointError: the backbone's weights cannot be had or do not fit.
    """
    if name not in MODELS:
        raise ConfigError(f"no network {name!r}; choose from {', '.join(MODELS)}")
    config_class, network_class = MODELS[name]
    config = from_mapping(config_class, settings or {}, where=name)
    if backbone_weights != NONE and config.backbone_width != 1.0:
        raise ConfigError(
            f"backbone_weights is {backbone_weights}, but pretrained weights have width 1 and "
            f"backbone_width is {config.backbone_width}; set backbone_width: 1.0 or "
            f"backbone_weights: {NONE}"
        )
    network = network_class(config)
    load_backbone_weights(network.encoder, network.config.backbone, backbone_weights)
    return network


__all__ = ["MODELS", "DepthNetwork", "create_model"]
