"""PyTorch, compiled and replayed as one CUDA graph: no Python and no launches between kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mono_depth_ros.backends.base import Precision, TorchBackend
from mono_depth_ros.backends.torch_eager import TORCH_TYPES, answers_of
from mono_depth_ros.models.base import DepthNetwork, ImageSize

# Compiling, choosing algorithms and filling the allocator must be over before the capture.
_WARM_UP_RUNS = 3


class TorchCompiled(TorchBackend):
    """Runs a network with torch.compile inside a CUDA graph.

    Conversion from uint8 and network are one graph over fixed buffers. Compiling takes half a
    minute or more.

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
        self.device, self._type = device, TORCH_TYPES[precision]
        shape = (1, size.height, size.width, 3)
        self._image = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._programs = {False: self._capture(False)}

    @torch.no_grad()
    def answer(self, images: Tensor, products: bool = False) -> dict[str, Tensor]:
        """Run the network on one image after the other; see `TorchBackend.answer`."""
        if products not in self._programs:
            self._programs[products] = self._capture(products)
        graph, answers = self._programs[products]
        found = []
        with torch.cuda.device(self.device):
            for image in images:
                self._image.copy_(image[None], non_blocking=True)
                graph.replay()
                if len(images) == 1:
                    return answers
                found.append({name: answer.clone() for name, answer in answers.items()})
        return {name: torch.cat([one[name] for one in found]) for name in answers}

    @torch.no_grad()
    def _capture(self, products: bool) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
        program: Callable[[Tensor], dict[str, Tensor]] = torch.compile(
            lambda image: answers_of(self._network, image, products, self._type), dynamic=False
        )
        with torch.cuda.device(self.device):
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
