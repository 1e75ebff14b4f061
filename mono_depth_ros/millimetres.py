"""Depth as 16-bit millimetres, the second form of depth images in REP 118."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LARGEST_MM = 65535


def depth_to_millimetres(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Round depth to whole millimetres.

    Args:
        depth_m: any shape, metres, NaN where unknown.

    Returns:
        Same shape; 0 is unknown, and so is what 16 bits cannot hold, depth that rounds to more than
        65.535 m: cut off there, the open sky would be a wall.
    """
    with np.errstate(over="ignore"):
        millimetres = np.rint(depth_m * np.float32(1000.0))
    # NaN compares false, so it is caught as well; casting it would depend on the processor.
    np.putmask(millimetres, ~((millimetres >= 0.0) & (millimetres <= LARGEST_MM)), 0.0)
    return millimetres.astype(np.uint16)
