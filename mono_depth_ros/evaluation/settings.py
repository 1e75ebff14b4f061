"""What the scores of a recording depend on besides the recording and the predictor."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.intervals import IntervalConfig
from mono_depth_ros.evaluation.protocols import Protocol, protocol_named


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """Everything a score depends on besides the recording and the predictor.

    Attributes:
        profile: name of the protocol.
        switches: protocol switches that differ from the profile, for example {cap_m: 50}.
        frames: topics, matching and truth.
        occlusion: "opposite" removes LiDAR points the camera cannot see, "none" keeps all.
        occlusion_gap: relative depth gap of that rule.
        sampling: "subpixel" takes the prediction where each LiDAR point is, "pixel" that of the
            pixel it lies on, as published protocols do.
        range_bins_m: ascending edges of the range bins, metres.
        pictures: number of frames drawn, evenly spread.
        extremes: number of the worst and of the best frames drawn, none where pictures is 0.
        intervals: how the intervals of the scores are drawn.
        check_setup: look for wrong extrinsics, stamps, focal length and units.
    """

    profile: str = "lidar"
    switches: dict[str, Any] = field(default_factory=dict)
    frames: FrameConfig = field(default_factory=FrameConfig)
    occlusion: Literal["opposite", "none"] = "opposite"
    occlusion_gap: float = 0.15
    sampling: Literal["subpixel", "pixel"] = "subpixel"
    range_bins_m: tuple[float, ...] = (0.0, 10.0, 20.0, 40.0, 80.0)
    pictures: int = 6
    extremes: int = 3
    intervals: IntervalConfig = field(default_factory=IntervalConfig)
    check_setup: bool = True

    def __post_init__(self) -> None:
        edges = self.range_bins_m
        if len(edges) < 2 or any(low >= high for low, high in pairwise(edges)):
            raise ConfigError(f"range_bins_m must be two or more ascending edges, got {edges}")
        for name, count in (("pictures", self.pictures), ("extremes", self.extremes)):
            if count < 0:
                raise ConfigError(f"{name} must be 0 or more, got {count}")
        protocol_named(self.profile, self.switches)

    @property
    def protocol(self) -> Protocol:
        """The profile with its switches applied."""
        return _protocol(self.profile, json.dumps(self.switches, sort_keys=True))


@lru_cache(maxsize=16)
def _protocol(profile: str, switches: str) -> Protocol:
    """Return the protocol; every frame asks for it, and checking it takes a millisecond."""
    return protocol_named(profile, json.loads(switches))
