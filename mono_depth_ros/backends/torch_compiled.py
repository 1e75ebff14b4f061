"""PyTorch, compiled and replayed as one CUDA graph: no Python and no launches between kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from mono_depth_ros.backends.base import Precision, TorchBackend
from mono_depth_ros.backends.torch_eager import TORCH_TYPES, answers_of
from mono_depth_ros.models.base import DepthNetwork, ImageSize

# Compiling, choosing algorithms and filling the allocator must be over before the capture.
_WARM_UP_RUNS = 3

Answer = Callable[[Tensor], dict[str, Tensor]]


class Program(Protocol):
    """A network compiled for a fixed number of images, over fixed buffers.

    Attributes:
        images: (n, h, w, 3) uint8, what `replay` reads.
        answers: name → (n, C, h, w), what it writes.
    """

    images: Tensor
    answers: dict[str, Tensor]

    def replay(self) -> None:
        """Run the network."""


class TorchCompiled(TorchBackend):
    """Runs a network with torch.compile inside CUDA graphs, one per number of images.

    Conversion from uint8 and network are one graph over fixed buffers. Fewer images than there is a
    graph for take the next larger one; more of them compile one more, which takes half a minute.

    Args:
        network: in eval mode; it is moved to `device`.
        size: of all images.
        device: a GPU.
        precision: float32, bfloat16 or float16.
        compile_program: makes a program from what answers images and from its input; tests put
            their own in place.
    """

    def __init__(
        self,
        network: DepthNetwork,
        size: ImageSize,
        device: torch.device,
        precision: Precision,
        compile_program: Callable[[Answer, Tensor], Program] | None = None,
    ) -> None:
        self._network = network.to(device)
        self._network.to(memory_format=torch.channels_last)
        self.device, self._type = device, TORCH_TYPES[precision]
        self._shape = (size.height, size.width, 3)
        self._compile = compile_program or CudaGraph
        self._programs = {(1, False): self._program(1, False)}

    @torch.no_grad()
    def answer(self, images: Tensor, products: bool = False) -> dict[str, Tensor]:
        """Run the network once on all images; see `TorchBackend.answer`."""
        program = self._smallest_program(len(images), products)
        program.images[: len(images)].copy_(images, non_blocking=True)
        program.replay()
        return {name: answer[: len(images)] for name, answer in program.answers.items()}

    def _smallest_program(self, count: int, products: bool) -> Program:
        counts = {made for made, _ in self._programs if made >= count} or {count}
        key = (min(counts), products)
        if key not in self._programs:
            self._programs[key] = self._program(*key)
        return self._programs[key]

    def _program(self, count: int, products: bool) -> Program:
        images = torch.zeros((count, *self._shape), dtype=torch.uint8, device=self.device)
        return self._compile(
            lambda given: answers_of(self._network, given, products, self._type), images
        )


class CudaGraph:
    """A `Program` on a GPU.

    Args:
        answer: what is compiled and captured.
        images: its input.
    """

    @torch.no_grad()
    def __init__(self, answer: Answer, images: Tensor) -> None:
        self.images, self._device = images, images.device
        compiled = torch.compile(answer, dynamic=False)
        with torch.cuda.device(self._device):
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP_RUNS):
                    compiled(images)
            torch.cuda.current_stream().wait_stream(side)
            self._graph = torch.cuda.CUDAGraph()
            # Another thread may serve with PyTorch meanwhile, which must not end the capture.
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
                self.answers = compiled(images)

    def replay(self) -> None:
        """Run the network on `images`, into `answers`."""
        with torch.cuda.device(self._device):
            self._graph.replay()
