"""The kinds of scenes there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.world.rooms import make_room
from mono_depth_ros.world.scene import Scene
from mono_depth_ros.world.streets import make_street
from mono_depth_ros.world.variety import NONE, Variety, require_parts, vary

KINDS: Mapping[str, Callable[[int, Variety], Scene]] = MappingProxyType(
    {"rooms": make_room, "streets": make_street}
)


def make_scene(kind: str, seed: int, variety: Variety = NONE) -> Scene:
    """Return the scene of a kind ("rooms" or "streets") and a seed >= 0; the same every time.

    Args:
        kind: of scene.
        seed: of its layout.
        variety: parts of `variety.PARTS` that vary beyond the layout.

    Raises:
        ConfigError: the kind or a part is unknown, or the seed negative.
    """
    if kind not in KINDS:
        raise ConfigError(f"no scenes of kind {kind!r}; choose from {', '.join(KINDS)}")
    if seed < 0:
        raise ConfigError(f"scene seed {seed} is negative; use 0 or more")
    variety = require_parts(variety)
    return vary(KINDS[kind](seed, variety), variety)
