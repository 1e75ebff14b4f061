"""PyTorch, compiled and replayed as one CUDA graph: no Python and no launches between kernels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mono_depth_ros.backends.base import Answers, Backend, Precision
from mono_depth_ros.backends.torch_eager import TORCH_TYPES, answers_of
from mono_depth_ros.models.base import DepthNetwork, ImageSize

# Compiling, choosing algorithms and filling the allocator must be over before the capture.
_WARM_UP_RUNS = 3


class TorchCompiled(Backend):
    """Runs a network with torch.compile inside a CUDA graph.

    Images go up as uint8 from a pinned buffer, a quarter of the bytes of float32; conversion and
    network are one graph over fixed buffers. Compiling takes half a minute or more.

    Args:
        network: in eval mode; it is moved to `device`.
        size: of all images.
        device: a GPU.
        precision: float32, bfloat16 or float16.
    """

    def __init__(
        self, network: DepthNetwork, size: ImageSize, device: torch.device, precision: Precision
    ) -> None:
        self._network = network.to(device)
        self._network.to(memory_format=torch.channels_last)
        self._type = TORCH_TYPES[precision]
        shape = (1, size.height, size.width, 3)
        self._pinned = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
        self._image = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._programs = {False: self._capture(False)}

    @torch.no_grad()
    def run(self, rgb: npt.NDArray[np.uint8], products: bool = False) -> Answers:
        """Run the network; see `Backend.run`."""
        if products not in self._programs:
            self._programs[products] = self._capture(products)
        graph, answers = self._programs[products]
        with torch.cuda.device(self._image.device):
            # The former run has ended with its copies to the CPU, so the buffer is free.
            self._pinned.numpy()[0] = rgb
            self._image.copy_(self._pinned, non_blocking=True)
            graph.replay()
            return {name: answer[0].cpu().numpy() for name, answer in answers.items()}

    @torch.no_grad()
    def _capture(self, products: bool) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
        program: Callable[[Tensor], dict[str, Tensor]] = torch.compile(
            lambda image: self._answer(image, products), dynamic=False
        )
        with torch.cuda.device(self._image.device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP_RUNS):
                    program(self._image)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # Another thread may serve with PyTorch meanwhile, which must not end the capture.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                answers = program(self._image)
        return graph, answers

    def _answer(self, image: Tensor, products: bool) -> dict[str, Tensor]:
        scaled = image.permute(0, 3, 1, 2).float() * (1 / 255)
        return answers_of(self._network, scaled, products, self._type)
