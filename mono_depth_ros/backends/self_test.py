"""Is a backend's answer PyTorch's answer? Asked whenever one is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.backends.base import Backend, Precision
from mono_depth_ros.errors import BackendError
from mono_depth_ros.models.base import ImageSize

TOLERANCES: Mapping[Precision, float] = MappingProxyType(
    {
        # Other orders of summation change trained networks by 1e-6 and random ones by 1e-5. On GPUs
        # TensorFloat-32 has 10 bits of mantissa, 1e-3 per product.
        "float32": 2e-3,
        # 10 bits of mantissa.
        "float16": 1e-2,
        # 7 bits of mantissa: 4e-3 per value; random networks reach 1e-2.
        "bfloat16": 3e-2,
        # 256 levels per map; on the pictures that fixed them, trained networks stay within 4e-2.
        "int8": 1e-1,
    }
)
"""Largest mean of |depth - PyTorch's| over the mean of PyTorch's depth."""

_PICTURES, _SEED = 3, 20210202


def require_same_answers(
    backend: Backend,
    reference: Backend,
    pictures: Sequence[npt.NDArray[np.uint8]],
    precision: Precision,
) -> None:
    """Compare two backends on pictures, see `test_pictures`.

    Raises:
        BackendError: depth is not finite, or deviates by more than the precision explains.
    """
    for number, rgb in enumerate(pictures):
        depth_m = backend.run(rgb)["depth_m"]
        expected_m = reference.run(rgb)["depth_m"]
        if depth_m.shape != expected_m.shape or not np.isfinite(depth_m).all():
            raise BackendError(
                f"{type(backend).__name__} answers {depth_m.shape} with "
                f"{int((~np.isfinite(depth_m)).sum())} values that are no numbers, PyTorch "
                f"{expected_m.shape}; use backend torch"
            )
        deviation = float(np.abs(depth_m - expected_m).mean() / expected_m.mean())
        if deviation > TOLERANCES[precision]:
            raise BackendError(
                f"{type(backend).__name__} in {precision} deviates from PyTorch by "
                f"{100 * deviation:.2f} % of the depth on test picture {number}, more than the "
                f"{100 * TOLERANCES[precision]:g} % this precision explains; use backend torch, or "
                "another precision"
            )


def test_pictures(
    size: ImageSize, calibrated_on: Sequence[npt.NDArray[np.uint8]]
) -> Sequence[npt.NDArray[np.uint8]]:
    """Return what to compare on: pictures that fixed the scales of int8, or fixed ones."""
    return calibrated_on[:_PICTURES] or fixed_pictures(size)


def fixed_pictures(size: ImageSize) -> list[npt.NDArray[np.uint8]]:
    """Return pictures (h, w, 3) uint8 with smooth regions, edges and texture; always the same."""
    rng = np.random.default_rng(_SEED)
    pictures = []
    for _ in range(_PICTURES):
        total = np.zeros((size.height, size.width, 3), np.float32)
        for cells, share in ((2, 0.5), (7, 0.3), (31, 0.2)):
            coarse = rng.uniform(0.0, 255.0, (cells, cells, 3)).astype(np.float32)
            method = cv2.INTER_NEAREST if cells == 7 else cv2.INTER_LINEAR
            total += share * cv2.resize(coarse, (size.width, size.height), interpolation=method)
        pictures.append(total.astype(np.uint8))
    return pictures
