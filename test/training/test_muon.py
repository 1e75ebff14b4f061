"""Muon: orthogonal updates of kernels, Adam as torch has it for all else, exact continuation."""

from __future__ import annotations

import copy

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from training.muon import ADAM_SHARE, Muon, orthogonalised


@given(st.integers(2, 24), st.integers(2, 24), st.integers(0, 99))
def test_all_directions_change_alike(rows, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(rows, rows, generator=generator))
    right, _ = torch.linalg.qr(torch.randn(columns, columns, generator=generator))
    size = min(rows, columns)
    values = 0.1 + 0.9 * torch.rand(size, generator=generator)
    left, right = left[:, :size], right[:, :size]
    answer = orthogonalised((left * values) @ right.T)
    # Same singular vectors, singular values near 1.
    in_basis = left.T @ answer @ right
    diagonal = in_basis.diagonal()
    assert diagonal.min() > 0.6 and diagonal.max() < 1.3
    torch.testing.assert_close(in_basis, diagonal.diag(), rtol=0, atol=1e-4)


def test_vectors_and_depthwise_kernels_follow_adam():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.PReLU(4))
    theirs = copy.deepcopy(ours)
    muon = Muon(ours, 0.02, weight_decay=0.5)
    adam = torch.optim.Adam(theirs.parameters(), 0.02 * ADAM_SHARE, betas=(0.9, 0.99))
    for _ in range(5):
        image = torch.rand(2, 4, 8, 8)
        for network, optimizer in ((ours, muon), (theirs, adam)):
            optimizer.zero_grad()
            network(image).square().sum().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_one_kernel_step_by_hand():
    """First step: momentum is the gradient, and its scale does not matter."""
    layer = nn.Linear(2, 2, bias=False)
    nn.init.eye_(layer.weight)
    optimizer = Muon(layer, 0.1, weight_decay=0.2)
    layer.weight.grad = torch.tensor([[3.0, 0.0], [0.0, 3.0]])
    optimizer.step()
    # Decay leaves 0.98; both singular values are 3 / sqrt(18) = 0.7071 before the iterations.
    value = 0.5**0.5
    for _ in range(5):
        value = 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5
    expected = (0.98 - 0.1 * value) * torch.eye(2)
    torch.testing.assert_close(layer.weight.detach(), expected, rtol=0, atol=1e-5)


def test_a_saved_state_continues_exactly():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    images = [torch.rand(2, 3, 8, 8) for _ in range(6)]

    def run(network, optimizer, images):
        for image in images:
            optimizer.zero_grad()
            network(image).square().sum().backward()
            optimizer.step()

    optimizer = Muon(network, 0.02, 0.01)
    run(network, optimizer, images[:3])
    other = copy.deepcopy(network)
    resumed = Muon(other, 0.02, 0.01)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    run(network, optimizer, images[3:])
    run(other, resumed, images[3:])
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
