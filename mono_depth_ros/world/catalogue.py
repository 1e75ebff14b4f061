"""The kinds of scenes there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.world.rooms import make_room
from mono_depth_ros.world.scene import Scene
from mono_depth_ros.world.streets import make_street

KINDS: Mapping[str, Callable[[int], Scene]] = MappingProxyType(
    {"rooms": make_room, "streets": make_street}
)


def make_scene(kind: str, seed: int) -> Scene:
    """Return the scene of a kind ("rooms" or "streets") and a seed >= 0; the same every time.

    Raises:
        ConfigError: the kind is unknown or the seed negative.
    """
    if kind not in KINDS:
        raise ConfigError(f"no scenes of kind {kind!r}; choose from {', '.join(KINDS)}")
    if seed < 0:
        raise ConfigError(f"scene seed {seed} is negative; use 0 or more")
    return KINDS[kind](seed)
