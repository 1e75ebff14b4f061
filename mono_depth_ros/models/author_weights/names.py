"""What one network's table of author names says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mono_depth_ros.models.base import DepthNetwork


@dataclass(frozen=True, slots=True)
class AuthorNames:
    """Names of the authors' tensors for one of our networks.

    Attributes:
        names: our name → theirs, for all tensors but the constants every network adds.
        unused: beginnings of the names of tensors that their code builds and never uses.
    """

    names: dict[str, str]
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthorWeights:
    """One network in the table of author weights.

    Attributes:
        names: network → its names.
        settings: under which our network computes what the authors' code computes.
    """

    names: Callable[[DepthNetwork], AuthorNames]
    settings: Mapping[str, Any] = field(default_factory=dict)
