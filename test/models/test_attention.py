"""Every attention module against its paper's equations, as loops or in a few lines."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.errors import ShapeError
from mono_depth_ros.models.attention import (
    AttentiveSkip,
    BottleneckAttention,
    ConvBlockAttention,
    DualAttention,
    GlobalContext,
    SqueezeExcitation,
)
from mono_depth_ros.models.attention.dual import ChannelAttention, PositionAttention

CHANNELS = 32
# A sixteenth, but never fewer than four.
HIDDEN = 4


def random_input(seed: int = 0, size: tuple[int, int] = (5, 7)) -> torch.Tensor:
    return torch.randn(2, CHANNELS, *size, generator=torch.Generator().manual_seed(seed))


def with_random_norms(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module in eval mode with norms that do something."""
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            for tensor in (part.weight.data, part.bias.data, part.running_mean):
                tensor.normal_()
            part.running_var.uniform_(0.5, 2.0)
    return module.eval()


def norm(part: torch.nn.BatchNorm2d, values: torch.Tensor) -> torch.Tensor:
    """Batch norm in eval mode by its definition."""
    scale = part.weight / (part.running_var + part.eps).sqrt()
    shape = (1, -1, 1, 1)
    return (values - part.running_mean.view(shape)) * scale.view(shape) + part.bias.view(shape)


def matrix(layer: torch.nn.Conv2d) -> torch.Tensor:
    """The weight of a 1x1 convolution as a matrix."""
    return layer.weight[:, :, 0, 0]


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def test_squeeze_excitation_equals_the_equations():
    module, features = SqueezeExcitation(CHANNELS), random_input()
    output, maps = module(features)
    w1, w2 = matrix(module.channel[0]), matrix(module.channel[2])
    assert w1.shape == (HIDDEN, CHANNELS) and parameters(module) == 2 * CHANNELS * HIDDEN
    for image, weights, answer in zip(features, maps.channel, output, strict=True):
        z = torch.stack([channel.sum() / channel.numel() for channel in image])
        s = torch.sigmoid(w2 @ (w1 @ z).clamp_min(0.0))
        torch.testing.assert_close(weights[:, 0, 0], s)
        for c in range(CHANNELS):
            torch.testing.assert_close(answer[c], s[c] * image[c])
    assert maps.spatial is None


@torch.no_grad()
def test_bottleneck_attention_equals_the_equations():
    torch.manual_seed(1)
    module, features = with_random_norms(BottleneckAttention(CHANNELS)), random_input(1)
    output, maps = module(features)
    (mlp, channel_norm), spatial = module.channel, module.spatial
    z = features.mean((2, 3))
    hidden = (z @ matrix(mlp[0]).T + mlp[0].bias).relu()
    m_c = norm(channel_norm, (hidden @ matrix(mlp[2]).T + mlp[2].bias)[:, :, None, None])
    m_s = features
    for block, dilation in ((spatial[0], 1), (spatial[1], 4), (spatial[2], 4)):
        padding = dilation * (block[0].kernel_size[0] // 2)
        m_s = functional.conv2d(m_s, block[0].weight, padding=padding, dilation=dilation)
        m_s = norm(block[1], m_s).relu()
    m_s = norm(spatial[4], functional.conv2d(m_s, spatial[3].weight))
    m = 1 / (1 + torch.exp(-(m_c + m_s)))
    assert m.shape == features.shape and m_s.shape == (2, 1, 5, 7)
    torch.testing.assert_close(output, features + features * m)
    torch.testing.assert_close(maps.spatial, m.mean(1, keepdim=True))


def test_bottleneck_attention_needs_a_batch_to_train():
    with pytest.raises(ShapeError, match="2 or more"):
        BottleneckAttention(CHANNELS)(random_input()[:1])


@torch.no_grad()
def test_conv_block_attention_equals_the_equations():
    module, features = ConvBlockAttention(CHANNELS), random_input(2)
    output, maps = module(features)
    w0, w1 = matrix(module.channel[0]), matrix(module.channel[2])
    for b, image in enumerate(features):
        average, largest = image.flatten(1).mean(1), image.flatten(1).max(1).values
        m_c = torch.sigmoid(w1 @ (w0 @ average).relu() + w1 @ (w0 @ largest).relu())
        attended = image * m_c[:, None, None]
        statistics = torch.stack((attended.mean(0), attended.max(0).values))
        padded = functional.pad(statistics, (3, 3, 3, 3))
        m_s = torch.empty(5, 7)
        for y in range(5):
            for x in range(7):
                window = padded[:, y : y + 7, x : x + 7]
                m_s[y, x] = (window * module.spatial.weight[0]).sum() + module.spatial.bias[0]
        m_s = m_s.sigmoid()
        torch.testing.assert_close(output[b], attended * m_s)
        torch.testing.assert_close(maps.spatial[b, 0], m_s)
        torch.testing.assert_close(maps.channel[b, :, 0, 0], m_c)


@torch.no_grad()
def test_position_attention_equals_the_loop():
    module, features = PositionAttention(CHANNELS), random_input(3, (3, 4))
    module.alpha.fill_(0.7)
    output, shares = module(features)
    for b, a in enumerate(features):
        flat = a.flatten(1)
        query, key, value = (
            matrix(layer) @ flat + layer.bias[:, None]
            for layer in (module.query, module.key, module.value)
        )
        expected = torch.empty_like(flat)
        for j in range(12):
            weights = torch.exp(torch.stack([query[:, j] @ key[:, i] for i in range(12)]))
            weights = weights / weights.sum()
            torch.testing.assert_close(shares[b, j], weights)
            total = sum(weights[i] * value[:, i] for i in range(12))
            expected[:, j] = 0.7 * total + flat[:, j]
        torch.testing.assert_close(output[b].flatten(1), expected)


@torch.no_grad()
def test_channel_attention_equals_the_loop():
    module, features = ChannelAttention(), 0.3 * random_input(4, (3, 4))
    module.beta.fill_(0.5)
    for a, answer in zip(features, module(features), strict=True):
        for j in range(CHANNELS):
            weights = torch.exp(torch.stack([(a[i] * a[j]).sum() for i in range(CHANNELS)]))
            total = sum(weights[i] / weights.sum() * a[i] for i in range(CHANNELS))
            torch.testing.assert_close(answer[j], 0.5 * total + a[j])


@torch.no_grad()
def test_dual_attention_starts_as_two_convolutions_and_shares_out_attention():
    module, features = with_random_norms(DualAttention(CHANNELS)), random_input(5)
    output, maps = module(features)
    torch.testing.assert_close(
        output, module.position_conv(features) + module.channel_conv(features)
    )
    # 35 positions give away a share of 1 each.
    torch.testing.assert_close(maps.spatial.sum((1, 2, 3)), torch.full((2,), 35.0))
    assert maps.spatial.min() >= 0


@torch.no_grad()
def test_dual_attention_survives_sums_that_overflow_half_precision():
    features = (40.0 * random_input(6, (16, 16))).half()  # A_j . A_j is about 400,000
    assert ChannelAttention().half()(features).isfinite().all()
    with torch.autocast("cpu", torch.float16):
        assert DualAttention(CHANNELS).eval()(features.float())[0].isfinite().all()


def skip_maps(module: AttentiveSkip, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """F' and F'' before their sigmoids, from the module's weights."""
    x = features
    for pyramid, integration in ((0, 1), (2, 3)):
        branches = module.spatial[pyramid].branches
        x = torch.cat(
            [
                functional.conv2d(x, branch.weight, padding=rate, dilation=rate).relu()
                for branch, rate in zip(branches, (3, 6, 9), strict=True)
            ],
            dim=1,
        )
        x = torch.einsum("bchw,oc->bohw", x, matrix(module.spatial[integration]))
    w1, w2 = matrix(module.channel[0]), matrix(module.channel[2])
    channel = (features.mean((2, 3)) @ w1.T).relu() @ w2.T
    return norm(module.spatial[4], x), channel[:, :, None, None]


@torch.no_grad()
@pytest.mark.parametrize("sigmoid", [True, False])
def test_attentive_skip_equals_the_equations(sigmoid):
    torch.manual_seed(7)
    module = with_random_norms(AttentiveSkip(CHANNELS, sigmoid=sigmoid))
    features = random_input(7, (20, 23))
    output, maps = module(features)
    f1, f2 = skip_maps(module, features)
    assert f1.shape == (2, 1, 20, 23) and f2.shape == (2, CHANNELS, 1, 1)
    torch.testing.assert_close(maps.spatial, f1.sigmoid())
    torch.testing.assert_close(maps.channel, f2.sigmoid())
    if sigmoid:
        f1, f2 = f1.sigmoid(), f2.sigmoid()
    torch.testing.assert_close(output, features * (1 + f1 + f2))


@pytest.mark.parametrize(("channels", "width"), [(16, 2), (64, 2), (256, 8), (1024, 32)])
def test_attentive_skip_parameters(channels, width):
    # ASPP 27 C b, 1x1 3 b b, ASPP 27 b b, 1x1 3 b, norm 2; perceptron of C / 16 units, at least 4.
    perceptron = 2 * channels * max(channels // 16, 4)
    expected = 27 * channels * width + 30 * width**2 + 3 * width + 2 + perceptron
    assert parameters(AttentiveSkip(channels)) == expected


def plain_context(module: GlobalContext, features: torch.Tensor) -> torch.Tensor:
    """The printed module: every weight of the kernel meets one pixel of the channel mean."""
    w1, w2 = matrix(module.channel[0]), matrix(module.channel[2])
    rows, cols = module.grid
    answers = []
    for image in features:
        mean = image.mean(0)
        from_space = torch.zeros(w2.shape[0])
        for y in range(rows):
            for x in range(cols):
                from_space += module.spatial.weight[:, 0, y, x] * mean[y, x]
        from_channels = w2 @ (w1 @ image.flatten(1).max(1).values).relu()
        g = matrix(module.fuse) @ (from_space + from_channels)
        full = functional.interpolate(g.view(1, -1, 1, 1), size=(rows, cols), mode="bilinear")[0]
        answers.append(image + image * full)
    return torch.stack(answers)


@torch.no_grad()
@pytest.mark.parametrize("resize_kernel", [True, False])
def test_global_context_equals_the_plain_kernel_at_the_training_size(resize_kernel):
    module = GlobalContext(CHANNELS, (5, 7), hidden=12, resize_kernel=resize_kernel)
    module.fuse.weight.normal_()
    features = random_input(8)
    torch.testing.assert_close(module(features), plain_context(module, features))
    assert parameters(module) == 35 * 12 + CHANNELS * HIDDEN + HIDDEN * 12 + 12 * CHANNELS


@torch.no_grad()
def test_global_context_averages_a_larger_map_to_the_grid():
    module = GlobalContext(CHANNELS, (5, 7), hidden=12)
    features = random_input(9, (10, 14))
    blocks = features.mean(1).view(2, 5, 2, 7, 2).mean((2, 4))[:, None]
    torch.testing.assert_close(
        module._whole_map(features.mean(1, keepdim=True)), module.spatial(blocks)
    )


@torch.no_grad()
def test_global_context_resizes_its_kernel_to_a_larger_map():
    module = GlobalContext(CHANNELS, (2, 3), hidden=4, resize_kernel=True)
    mean = torch.randn(1, 1, 4, 6)
    # Twice as fine: every new weight is 3/4 its own and 1/4 the next one, along each axis.
    near = torch.tensor([[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]])
    across = torch.zeros(6, 3)
    for new, (left, right, share) in enumerate(
        [(0, 0, 1), (0, 1, 0.75), (0, 1, 0.25), (1, 2, 0.75), (1, 2, 0.25), (2, 2, 1)]
    ):
        across[new, left] += share
        across[new, right] += 1 - share
    kernel = torch.einsum("yi,xj,oij->oyx", near, across, module.spatial.weight[:, 0]) / 4
    expected = (kernel * mean[0]).sum((1, 2))
    torch.testing.assert_close(module._whole_map(mean)[0, :, 0, 0], expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_global_context_of_a_constant_map_does_not_depend_on_its_size(height, width, kernel):
    torch.manual_seed(10)
    module = GlobalContext(CHANNELS, (4, 6), hidden=8, resize_kernel=kernel)
    module.fuse.weight.data.normal_()
    if kernel:  # bilinear resizing keeps the mean of a constant kernel only
        module.spatial.weight.data[:] = torch.randn(8, 1, 1, 1)
    with torch.no_grad():
        at_grid = module(torch.full((1, CHANNELS, 4, 6), 0.8))[..., 0, 0]
        elsewhere = module(torch.full((1, CHANNELS, height, width), 0.8))[..., 0, 0]
    torch.testing.assert_close(elsewhere, at_grid, rtol=1e-4, atol=1e-4)
