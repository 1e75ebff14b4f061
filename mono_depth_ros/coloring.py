"""Colour pictures of depth, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor

ColorMap = Literal["turbo", "jet", "viridis", "cividis", "inferno", "magma", "plasma", "grey"]


class DepthColorizer:
    """Colour pictures of depth: the map's last colour is near, its first is far, black is unknown.

    Args:
        max_depth_m: depth of the far colour, metres; the colours are linear in depth from 0 to it.
        color_map: OpenCV's map of that name, or `grey`; with `turbo` near is red and far is blue.
    """

    def __init__(self, max_depth_m: float, color_map: ColorMap = "turbo") -> None:
        self._steps_per_m = 254.0 / max_depth_m
        near_to_far = np.arange(256, dtype=np.uint8)[::-1, None]
        if color_map == "grey":
            bgr = cv2.cvtColor(near_to_far, cv2.COLOR_GRAY2BGR)
        else:
            bgr = cv2.applyColorMap(near_to_far, getattr(cv2, f"COLORMAP_{color_map.upper()}"))
        self._palette = np.ascontiguousarray(bgr[..., ::-1])
        self._palette[0] = 0
        self._palette_there: Tensor | None = None
        self._steps = np.empty((0, 0), np.float32)
        self._index = np.empty((0, 0), np.uint8)
        self._rgb = np.empty((0, 0, 3), np.uint8)

    def __call__(self, depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return (H, W) float32 metres as (H, W, 3) uint8 RGB; the next call reuses the array."""
        if self._steps.shape != depth_m.shape:
            self._steps, self._index = np.empty_like(depth_m), np.empty(depth_m.shape, np.uint8)
            self._rgb = np.empty((*depth_m.shape, 3), np.uint8)
        np.multiply(depth_m, self._steps_per_m, out=self._steps)
        self._steps += 1.0  # index 0 is kept for "unknown"
        cv2.patchNaNs(self._steps, 0.0)
        cv2.convertScaleAbs(self._steps, self._index)
        cv2.applyColorMap(self._index, self._palette, self._rgb)
        return self._rgb

    def on_device(self, depth_m: Tensor) -> Tensor:
        """Return (H, W) float32 metres as (H, W, 3) uint8 RGB on the same device."""
        import torch

        if self._palette_there is None or self._palette_there.device != depth_m.device:
            self._palette_there = torch.from_numpy(self._palette[:, 0]).to(depth_m.device)
        steps = (depth_m * self._steps_per_m + 1.0).nan_to_num(0.0)
        return self._palette_there[steps.abs().round().clamp(max=255.0).long()]
