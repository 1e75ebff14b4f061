"""What a network is asked about an image, and what it says of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.geometry import Intrinsics


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One image of a batch.

    Attributes:
        rgb: (H, W, 3) uint8, RGB.
        camera: intrinsics of that image; None leaves the focal correction out.
        products: wanted beside depth, of confidence, attention, semantics.
    """

    rgb: npt.NDArray[np.uint8]
    camera: Intrinsics | None
    products: Collection[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a network says of an image, on its pixels or on those that the network sees.

    Attributes:
        depth_m: (H, W) float32, metres along the optical axis, NaN where unknown or out of range.
        confidence: (H, W) float32 in [0, 1]; None where nobody asked or the network has none.
        attention: (H, W, C) float32, not negative, one channel per `attention_names` of the
            network; None likewise.
        semantics: (H, W) uint8, index into `class_names`; None likewise.
        class_names: what the values of `semantics` mean; empty where it is None.
    """

    depth_m: npt.NDArray[np.floating]
    confidence: npt.NDArray[np.float32] | None = None
    attention: npt.NDArray[np.float32] | None = None
    semantics: npt.NDArray[np.uint8] | None = None
    class_names: tuple[str, ...] = ()
