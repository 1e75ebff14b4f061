"""Which pixels of a depth image become points of the cloud.

The masks work alike on numpy arrays and on torch tensors of any device, and agree bit for bit:
single-precision products and comparisons, no sums whose order could differ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mono_depth_ros.config import require_ranges
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.geometry import Intrinsics

Array = Any
"""A numpy array or a torch tensor; a function returns what it is given."""

VoxelPoint = Literal["centroid", "nearest"]

# Ordinal networks answer the centre of their last interval, up to 3 % below their largest depth.
_SKY_SHARE = 0.95
_SMALLEST_VOXEL_M = 0.005


def _live(description: str, **metadata: Any) -> dict[str, Any]:
    return {"description": description, **metadata}


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """What the cloud leaves out; the defaults keep every pixel. Each field says what it is.

    Raises:
        ConfigError: a number is outside its range, a band is empty, or a voxel grid is asked of an
            organised cloud.
    """

    cloud_layout: Literal["organised", "dense"] = field(
        default="organised",
        metadata=_live("organised: a point per pixel, NaN where none; dense: only the points"),
    )
    cloud_stride: int = field(
        default=1, metadata=_live("every so many rows and columns give points", range=(1, 64))
    )
    cloud_min_range_m: float = field(
        default=0.0,
        metadata=_live("points nearer to the camera are left out, metres", range=(0.0, math.inf)),
    )
    cloud_max_range_m: float = field(
        default=math.inf,
        metadata=_live("points farther from the camera are left out", range=(0.0, math.inf)),
    )
    cloud_min_height_m: float = field(
        default=-math.inf,
        metadata=_live("points lower than this are left out", range=(-math.inf, math.inf)),
    )
    cloud_max_height_m: float = field(
        default=math.inf,
        metadata=_live("points higher than this are left out", range=(-math.inf, math.inf)),
    )
    cloud_camera_height_m: float = field(
        default=0.0,
        metadata=_live(
            "camera above the ground, for the height limits; 0: they count from the camera",
            range=(-100.0, 1000.0),
        ),
    )
    cloud_camera_pitch_deg: float = field(
        default=0.0,
        metadata=_live("how far the camera looks down, for the height limits", range=(-90.0, 90.0)),
    )
    cloud_min_confidence: float = field(
        default=0.0,
        metadata=_live(
            "pixels of less confidence are left out; above 0 only for networks that have one",
            range=(0.0, 1.0),
        ),
    )
    cloud_max_depth_jump: float = field(
        default=0.0,
        metadata=_live(
            "flying pixels: left out if this share farther than the pixel left, right, above or "
            "below; 0: keep all",
            range=(0.0, 10.0),
        ),
    )
    cloud_drop_sky: bool = field(
        default=False,
        metadata=_live(
            "leave out the sky: by label where the network has that class, else by depth within "
            "5 % of its largest"
        ),
    )
    cloud_ego_mask: str = field(
        default="",
        metadata=_live(
            "the robot in its own image, left out: a PNG of the image's size, not 0 there, or "
            "corners in pixels: 'u,v u,v u,v'"
        ),
    )
    cloud_voxel_size_m: float = field(
        default=0.0,
        metadata=_live(
            "one point per cube of this side, dense layout only; 0: all", range=(0.0, 10.0)
        ),
    )
    cloud_voxel_point: VoxelPoint = field(
        default="centroid",
        metadata=_live("point of a cube: centroid, or its point nearest to the camera"),
    )

    def __post_init__(self) -> None:
        require_ranges(self)
        for low, high in (
            ("cloud_min_range_m", "cloud_max_range_m"),
            ("cloud_min_height_m", "cloud_max_height_m"),
        ):
            if not getattr(self, low) < getattr(self, high):
                raise ConfigError(
                    f"need {low} < {high}, got {getattr(self, low)} and {getattr(self, high)}"
                )
        if 0.0 < self.cloud_voxel_size_m < _SMALLEST_VOXEL_M:
            raise ConfigError(
                f"cloud_voxel_size_m is {self.cloud_voxel_size_m}; allowed is 0 (off) or "
                f"{_SMALLEST_VOXEL_M} and more"
            )
        if self.cloud_voxel_size_m and self.cloud_layout == "organised":
            raise ConfigError(
                "cloud_voxel_size_m needs the dense layout, a grid of cubes has no rows of pixels; "
                "set cloud_layout to dense first"
            )

    @property
    def needs_confidence(self) -> bool:
        """Whether confidence decides about points."""
        return self.cloud_min_confidence > 0.0


class CloudFilter:
    """Says which pixels of one camera's depth images become points.

    Args:
        camera: intrinsics of the depth images to come, pixels.
        config: what to leave out. Its layout and voxels are not this class's business.
        ego_mask: (H, W) bool, True where the robot sees itself; None where it does not.
        sky_label: value of the sky in `semantics`; None where the network has no such class.

    Attributes:
        every: index of the picked rows and columns, (slice, slice).
        picked_camera: intrinsics of the picked pixels.
        needs_semantics: whether calls need `semantics`.
    """

    def __init__(
        self,
        camera: Intrinsics,
        config: CloudConfig,
        ego_mask: npt.NDArray[np.bool_] | None = None,
        sky_label: int | None = None,
    ) -> None:
        self.config = config
        every = slice(None, None, config.cloud_stride)
        self.every = (every, every)
        self.picked_camera = picked = camera.strided(config.cloud_stride)
        self.needs_semantics = config.cloud_drop_sky and sky_label is not None
        self._sky_label = sky_label
        x_per_m = (np.arange(picked.width) - picked.cx) / picked.fx
        y_per_m = ((np.arange(picked.height) - picked.cy) / picked.fy)[:, None]
        self._planes: dict[str, Array] = {}
        if config.cloud_min_range_m > 0.0 or config.cloud_max_range_m < math.inf:
            range_per_m = np.sqrt(1.0 + x_per_m**2 + y_per_m**2)
            self._planes["range"] = range_per_m.astype(np.float32)
        if config.cloud_min_height_m > -math.inf or config.cloud_max_height_m < math.inf:
            pitch = math.radians(config.cloud_camera_pitch_deg)
            fall_per_m = y_per_m * math.cos(pitch) + math.sin(pitch)
            self._planes["fall"] = fall_per_m.astype(np.float32)
        if ego_mask is not None:
            self._planes["not_ego"] = ~ego_mask[self.every]

    @property
    def keeps_all(self) -> bool:
        """Whether no pixel is ever left out."""
        config = self.config
        return not (
            self._planes
            or config.cloud_drop_sky
            or config.needs_confidence
            or config.cloud_max_depth_jump
        )

    def __call__(
        self,
        depth_m: Array,
        confidence: Array | None = None,
        semantics: Array | None = None,
        largest_depth_m: float = math.inf,
    ) -> Array:
        """Say which of the picked pixels become points.

        Args:
            depth_m: (H, W) float32, metres, NaN where unknown; array or tensor.
            confidence: (H, W) float32 in [0, 1], of the same kind; only if the config asks for it.
            semantics: (H, W) uint8, of the same kind; only if `needs_semantics`.
            largest_depth_m: largest depth that this image could have, metres.

        Returns:
            (h, w) bool of the same kind; h and w are the sizes over the stride, rounded up.
        """
        config = self.config
        picked_m = depth_m[self.every]
        keep = (picked_m > 0.0) & (picked_m < math.inf)
        if "range" in self._planes:
            range_m = picked_m * self._plane("range", depth_m)
            keep &= in_band(range_m, config.cloud_min_range_m, config.cloud_max_range_m)
        if "fall" in self._planes:
            height_m = config.cloud_camera_height_m - picked_m * self._plane("fall", depth_m)
            keep &= in_band(height_m, config.cloud_min_height_m, config.cloud_max_height_m)
        if "not_ego" in self._planes:
            keep &= self._plane("not_ego", depth_m)
        if confidence is not None and config.needs_confidence:
            keep &= confidence[self.every] >= config.cloud_min_confidence
        if config.cloud_max_depth_jump:
            # Of neighbours in the whole image: picked ones are farther apart.
            keep &= ~is_flying(depth_m, config.cloud_max_depth_jump)[self.every]
        if semantics is not None and self.needs_semantics:
            keep &= semantics[self.every] != self._sky_label
        elif config.cloud_drop_sky:
            keep &= ~is_at_maximum(picked_m, largest_depth_m)
        return keep

    def _plane(self, name: str, like: Array) -> Array:
        """Return a plane of numbers beside the depth, moved to its device once."""
        plane = self._planes[name]
        if isinstance(like, np.ndarray):
            return plane if isinstance(plane, np.ndarray) else plane.cpu().numpy()
        import torch

        self._planes[name] = torch.as_tensor(plane, device=like.device)
        return self._planes[name]


def in_band(values: Array, lowest: float, highest: float) -> Array:
    """Whether lowest <= value <= highest; False for NaN."""
    return (values >= lowest) & (values <= highest)


def is_flying(depth_m: Array, largest_jump: float) -> Array:
    """Whether pixels may hang in the air between foreground and background.

    Such are those that lie behind the pixel to the left, to the right, above or below by more than
    `largest_jump` times that one's depth. The nearer side of an edge stays, so a pole one pixel
    wide stays; of the background, the pixels along the edge go with the smear between the two.

    Args:
        depth_m: (H, W) float32, metres; NaN is no neighbour and never flies.
        largest_jump: share of the nearer depth, for example 0.1.
    """
    allowed_m = depth_m * (1.0 + largest_jump)
    flying = depth_m > math.inf  # all False
    flying[:, 1:] |= depth_m[:, 1:] > allowed_m[:, :-1]
    flying[:, :-1] |= depth_m[:, :-1] > allowed_m[:, 1:]
    flying[1:] |= depth_m[1:] > allowed_m[:-1]
    flying[:-1] |= depth_m[:-1] > allowed_m[1:]
    return flying


def is_at_maximum(depth_m: Array, largest_depth_m: float) -> Array:
    """Whether depth is within 5 % of the largest one can be.

    So networks answer for the sky if they were trained to; those that saw no truth there do not.
    """
    return depth_m >= _SKY_SHARE * largest_depth_m
