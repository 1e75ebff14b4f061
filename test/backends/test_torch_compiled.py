"""Which graph answers how many images; the graphs themselves need a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_networks import SIZE, small_network

from mono_depth_ros.backends.torch_compiled import TorchCompiled
from mono_depth_ros.backends.torch_eager import TorchEager

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 255, (4, SIZE.height, SIZE.width, 3), np.uint8)


class FixedBuffers:
    """Runs as a CUDA graph does: from its own input into its own output, whole batches only."""

    @torch.no_grad()
    def __init__(self, answer, images):
        self._answer, self.images = answer, images
        self.answers = {name: value.clone() for name, value in answer(images).items()}
        self.replays = 0

    def replay(self):
        self.replays += 1
        for name, value in self._answer(self.images).items():
            self.answers[name].copy_(value)


@pytest.fixture(scope="module")
def network():
    return small_network("pwa")


@pytest.fixture
def made(network):
    """Return a backend and the list of its programs."""
    programs = []

    def compile_program(answer, images):
        programs.append(FixedBuffers(answer, images))
        return programs[-1]

    return TorchCompiled(network, SIZE, CPU, "float32", compile_program), programs


def test_fewer_images_take_the_next_larger_graph(network, made):
    backend, programs = made
    eager = TorchEager(network, CPU, "float32")
    for count, sizes in ((1, [1]), (4, [1, 4]), (2, [1, 4]), (3, [1, 4]), (1, [1, 4])):
        found = backend.run_batch(list(PICTURES[:count]))
        expected = eager.run_batch(list(PICTURES[:count]))
        assert len(found) == count and [len(each.images) for each in programs] == sizes
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a["depth_m"], b["depth_m"], rtol=1e-4)
    assert [each.replays for each in programs] == [2, 3]


def test_products_have_graphs_of_their_own(made):
    backend, programs = made
    found = backend.run_batch(list(PICTURES[:2]), products=True)
    assert set(found[0]) == {"depth_m", "attention"}
    assert [(len(each.images), set(each.answers)) for each in programs] == [
        (1, {"depth_m"}),
        (2, {"depth_m", "attention"}),
    ]
