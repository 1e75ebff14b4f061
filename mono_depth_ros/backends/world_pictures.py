"""Pictures of the procedural world with their depth, for calibrating int8 and checking exports."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.preprocessing import Letterbox
from mono_depth_ros.world import make_scene, training_frame

# Scenes that no recipe trains, validates or tests on; checks never see what calibrates.
_CALIBRATION_SEED, _CHECK_SEED = 700_000, 800_000
CALIBRATION_PICTURES = 32

# Rooms end before it, streets begin beyond.
_LARGEST_ROOM_M = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class WorldPicture:
    """One picture.

    Attributes:
        rgb: (h, w, 3) uint8.
        depth_m: (h, w) float32, metres, NaN where there is none.
        focal_px: fx.
    """

    rgb: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    focal_px: float


def calibration_pictures(size: ImageSize, max_depth_m: float) -> list[npt.NDArray[np.uint8]]:
    """Return what activations are measured on: rooms or streets, as the largest depth says."""
    pictures = _pictures(size, max_depth_m, _CALIBRATION_SEED, CALIBRATION_PICTURES)
    return [picture.rgb for picture in pictures]


def check_pictures(size: ImageSize, max_depth_m: float, count: int) -> tuple[WorldPicture, ...]:
    """Return pictures of other scenes, with their depth."""
    return _pictures(size, max_depth_m, _CHECK_SEED, count)


@lru_cache(maxsize=2)
def _pictures(
    size: ImageSize, max_depth_m: float, first_seed: int, count: int
) -> tuple[WorldPicture, ...]:
    kind = "rooms" if max_depth_m <= _LARGEST_ROOM_M else "streets"
    reference = make_scene(kind, 0).camera
    camera = Letterbox.fit(ImageSize(reference.height, reference.width), size).camera(reference)
    frames = (training_frame(kind, first_seed + index, 0, camera) for index in range(count))
    return tuple(WorldPicture(frame.rgb, frame.depth_m, frame.camera.fx) for frame in frames)
