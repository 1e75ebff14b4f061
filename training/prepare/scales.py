"""Whether metres are plausible: a depth picture says nothing about the scale of its codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import DataError
from training.manifest import DepthFile

# Codes per metre that depth is written with: millimetres, KITTI's and ACAN's, centimetres.
_USUAL_SCALES = (1000.0, 256.0, 100.0)


class Measured(NamedTuple):
    """The depth of one picture.

    Attributes:
        median_m: of its measured pixels.
        share_far: of them are farther than `Near.far_m`.
    """

    median_m: float
    share_far: float


@dataclass(frozen=True, slots=True)
class Near:
    """What is too near for a whole data set, though single pictures of it are like that.

    Attributes:
        median_m: half of the pictures have a smaller median, and
        far_m: none has more than `share_far` of its measured pixels beyond this.
        share_far: see there.
    """

    median_m: float
    far_m: float
    share_far: float = 0.0


@dataclass(frozen=True, slots=True)
class Plausible:
    """What depth of a data set looks like when its scale is right.

    Attributes:
        least_median_m: of a picture's measured pixels.
        largest_m: only `share_beyond` of them are farther. A bound on the maximum would refuse
            real pictures: KITTI's annotated maps reach 85 m, in a pixel of a thousand.
        share_beyond: see there.
        near: what all pictures together must not be.
    """

    least_median_m: float
    largest_m: float
    share_beyond: float = 0.02
    near: Near | None = None


# Too far: millimetres read as 1/256 m are 3.9 times too large; NYU's sensor ends at 10 m. Disparity
# says little about far pixels, so only half of them need to be near.
# Too near: NYU's 10 m written as 1/256 m and read as millimetres are 2.6 m; KITTI's 85 m written as
# centimetres and read as 1/256 m are 33 m, and its medians of 13 m are 5 m.
PLAUSIBLE: Mapping[str, Plausible] = MappingProxyType(
    {
        "nyu": Plausible(0.1, 10.0, near=Near(1.0, 3.0, 0.02)),
        "kitti": Plausible(1.0, 80.0, near=Near(8.0, 40.0)),
        "stereo2015": Plausible(1.0, 150.0, 0.5),
        "cityscapes": Plausible(1.0, 150.0, 0.5),
        "bag": Plausible(0.1, 250.0),
    }
)


def measure(
    measured_m: npt.NDArray[np.float32], depth: DepthFile, plausible: Plausible
) -> Measured:
    """Measure the known metres (N,) of one picture.

    Raises:
        DataError: they are not plausible.
    """
    median_m = float(np.median(measured_m))
    share = float(np.mean(measured_m > plausible.largest_m))
    if median_m < plausible.least_median_m or share > plausible.share_beyond:
        raise DataError(
            f"{depth.path} read with scale {depth.scale:g} has a median of {median_m:.3g} m and "
            f"{100 * share:.0f} % beyond {plausible.largest_m:g} m; it was written with another "
            "scale"
        )
    far_m = plausible.near.far_m if plausible.near else np.inf
    return Measured(median_m, float(np.mean(measured_m > far_m)))


def too_near(pictures: list[Measured], scale: float, near: Near) -> str:
    """Return what is wrong with pictures whose codes were read with one scale; "" for nothing."""
    median_m = float(np.median([picture.median_m for picture in pictures]))
    if median_m >= near.median_m or any(p.share_far > near.share_far for p in pictures):
        return ""
    smaller = (s for s in _USUAL_SCALES if s < scale and median_m * scale / s >= near.median_m)
    written = next(smaller, None)
    looks = "another scale" if written is None else f"{written:g} codes per metre"
    return (
        f"read with scale {scale:g} half of them have a median below {median_m:.3g} m and next to "
        f"nothing is beyond {near.far_m:g} m; they look as if written with {looks}, so write them "
        f"again with {scale:g}"
    )
