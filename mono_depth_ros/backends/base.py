"""What every backend does: run one network on one image."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mono_depth_ros.errors import ConfigError

BackendName = Literal["torch", "torch_compiled", "onnxruntime", "openvino"]
Precision = Literal["float32", "bfloat16", "float16", "int8"]

Answers = dict[str, npt.NDArray[Any]]
"""Name → (C, h, w), the caller's own: `depth_m` float32 and, asked for, the network's products."""


class Backend(ABC):
    """One network, ready to run on images of one size.

    The focal correction is not its business: networks know no camera.
    """

    @abstractmethod
    def run(self, rgb: npt.NDArray[np.uint8], products: bool = False) -> Answers:
        """Run the network.

        Args:
            rgb: (h, w, 3) uint8 of the size that the backend was built for.
            products: also answer the network's products; the first time may take as long as
                loading did.
        """

    def run_batch(
        self, pictures: Sequence[npt.NDArray[np.uint8]], products: bool = False
    ) -> list[Answers]:
        """Run the network on several images; one by one where it was compiled for one.

        Args:
            pictures: (h, w, 3) uint8 each; see `run`.
            products: likewise.
        """
        return [self.run(picture, products) for picture in pictures]


class TorchBackend(Backend):
    """A backend whose images and answers are tensors of one device.

    Attributes:
        device: where.
    """

    device: torch.device

    @abstractmethod
    def answer(self, images: Tensor, products: bool = False) -> dict[str, Tensor]:
        """Run the network on (B, h, w, 3) uint8 of `device`.

        Returns:
            Name → (B, C, h, w) there; valid until the next call.
        """

    def run(self, rgb: npt.NDArray[np.uint8], products: bool = False) -> Answers:
        """Run the network; see `Backend.run`."""
        return self.run_batch([rgb], products)[0]

    def run_batch(
        self, pictures: Sequence[npt.NDArray[np.uint8]], products: bool = False
    ) -> list[Answers]:
        """Run the network once on all images; see `Backend.run_batch`."""
        images = torch.from_numpy(np.stack(pictures)).to(self.device)
        answers = self.answer(images, products)
        on_cpu = {name: answer.cpu().numpy() for name, answer in answers.items()}
        return [{name: answer[i] for name, answer in on_cpu.items()} for i in range(len(pictures))]


class GraphBackend(Backend):
    """A backend that compiles ONNX graphs: one for depth at once, one with products when asked for.

    Args:
        graph: returns the ONNX file that takes (1, h, w, 3) uint8 and answers depth, and products
            if its argument is true.
        product_names: its further outputs, in order.
    """

    def __init__(self, graph: Callable[[bool], bytes], product_names: Sequence[str]) -> None:
        self._graph, self._product_names = graph, product_names
        self._programs = {False: self._compile(graph(False), ("depth_m",))}

    def run(self, rgb: npt.NDArray[np.uint8], products: bool = False) -> Answers:
        """Run the network; see `Backend.run`."""
        if products not in self._programs:
            names = ("depth_m", *self._product_names)
            self._programs[products] = self._compile(self._graph(products), names)
        return self._programs[products](np.ascontiguousarray(rgb)[np.newaxis])

    @abstractmethod
    def _compile(
        self, graph: bytes, names: Sequence[str]
    ) -> Callable[[npt.NDArray[np.uint8]], Answers]:
        """Return what runs a graph with these outputs on (1, h, w, 3) uint8."""


def require_package(name: str, purpose: str) -> Any:
    """Import an optional package.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{purpose} needs the package {name}: run `pip install {name}`, or for all backends "
            "`pip install -r requirements-backends.txt`"
        ) from error
