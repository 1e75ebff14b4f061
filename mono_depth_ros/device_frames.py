"""Images on the device that the network runs on: up to it, to the network's size and back.

What `preprocessing.Letterbox` does with OpenCV on a CPU, for tensors of any device. A frame then
crosses the bus once as uint8 and comes back as what is published.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.preprocessing import Letterbox, Upsampling

# While one image is worked on, the next one may be on its way up.
_RING = 2


class Uploader:
    """Brings images up through a ring of page-locked buffers, without waiting for the device.

    Args:
        device: where to; on the CPU images are only wrapped.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._ring: deque[tuple[Tensor, torch.cuda.Event]] = deque()

    def __call__(self, rgb: npt.NDArray[np.uint8]) -> Tensor:
        """Return (H, W, 3) uint8 on the device."""
        if self.device.type == "cpu":
            # torch warns of arrays that it could write to and must not, such as a message's data.
            return torch.from_numpy(np.require(rgb, requirements=("C", "W")))
        with torch.cuda.device(self.device):
            buffer, is_free = self._next_buffer(rgb.shape)
            buffer.numpy()[...] = rgb
            image = buffer.to(self.device, non_blocking=True)
            is_free.record()
        return image

    def _next_buffer(self, shape: Sequence[int]) -> tuple[Tensor, torch.cuda.Event]:
        if self._ring and self._ring[0][0].shape != tuple(shape):
            self._ring.clear()
        if len(self._ring) < _RING:
            buffer = torch.empty(*shape, dtype=torch.uint8, pin_memory=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._ring.append((buffer, event))
            return self._ring[-1]
        self._ring.rotate(-1)
        self._ring[-1][1].synchronize()
        return self._ring[-1]


class DeviceLetterbox:
    """A `Letterbox` for tensors.

    OpenCV's filters are linear and separable, so an image is resized and padded by two matrix
    products; the matrices are what OpenCV makes of unit impulses. Grey levels may differ from
    OpenCV's by one, where it rounds in between.

    Args:
        letterbox: what to do.
        device: where.
    """

    def __init__(self, letterbox: Letterbox, device: torch.device) -> None:
        self.letterbox = letterbox
        source, resized, target = letterbox.source, letterbox.resized, letterbox.target
        shrinks = resized.height < source.height
        self._rows, self._columns = (
            torch.from_numpy(_resize_matrix(length, inner, shrinks)[_mirrored(inner, start, outer)])
            .to(device)
            .contiguous()
            for length, inner, start, outer in (
                (source.height, resized.height, letterbox.top, target.height),
                (source.width, resized.width, letterbox.left, target.width),
            )
        )

        self._nearest_rows, self._nearest_columns = (
            torch.from_numpy(_nearest(inner, length)).to(device)
            for inner, length in ((resized.height, source.height), (resized.width, source.width))
        )

    def image_to_target(self, rgb: Tensor) -> Tensor:
        """Resize and pad (H, W, 3) uint8, see `Letterbox.image_to_target`.

        Raises:
            ShapeError: `rgb` is not (H, W, 3) uint8 of source size.
        """
        source = self.letterbox.source
        expected = (source.height, source.width, 3)
        if tuple(rgb.shape) != expected or rgb.dtype != torch.uint8:
            raise ShapeError(f"image is {tuple(rgb.shape)} {rgb.dtype}; need {expected} uint8 RGB")
        planes = self._rows @ rgb.permute(2, 0, 1).float() @ self._columns.T
        return planes.round().clamp(0.0, 255.0).to(torch.uint8).permute(1, 2, 0)

    def to_source(self, values: Tensor, upsampling: Upsampling = "linear") -> Tensor:
        """Bring an answer (h, w) back to source size, see `Letterbox.to_source`."""
        box = self.letterbox
        inner = box.without_padding(values)
        size = (box.source.height, box.source.width)
        if inner.shape == size:
            return inner.clone()
        if upsampling == "nearest":
            return inner[self._nearest_rows][:, self._nearest_columns]
        # No matrices here: a single NaN would spread over all of its row and column.
        planes = inner[None, None]
        return functional.interpolate(planes, size, mode="bilinear", align_corners=False)[0, 0]


def _resize_matrix(source: int, resized: int, shrinks: bool) -> npt.NDArray[np.float32]:
    """Return the matrix (resized, source) by which OpenCV resizes one axis."""
    impulses = np.eye(source, dtype=np.float32)
    if source == resized:
        return impulses
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(impulses, (source, resized), interpolation=method), np.float32)


def _nearest(inner: int, outer: int) -> npt.NDArray[np.int64]:
    """Return which of `inner` places OpenCV takes for each of `outer`."""
    places = np.arange(inner, dtype=np.float32)[:, None]
    found = cv2.resize(places, (1, outer), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(found[:, 0], np.int64)


def _mirrored(inner: int, start: int, outer: int) -> npt.NDArray[np.intp]:
    """Return which of `inner` places stands at each of `outer`, mirrored without the edge twice."""
    period = max(2 * (inner - 1), 1)
    place = np.abs(np.arange(outer) - start) % period
    return np.minimum(place, period - place) if inner > 1 else np.zeros(outer, np.intp)
