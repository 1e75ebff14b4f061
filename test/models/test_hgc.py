"""HGC: parameters by hand, fusion with heads set by hand, weights that it shares with light PWA."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.presets import load_preset, shipped_presets

TINY = {
    "image_size": {"height": 64, "width": 96},
    "backbone_width": 0.25,
    "context_grid": [2, 3],
}


class Constant(nn.Module):
    """A head that answers the same logits everywhere."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.tensor(logits).view(1, -1, 1, 1)

    def forward(self, features):
        return self.logits.expand(len(features), -1, *features.shape[2:])


def logit(probability):
    return math.log(probability / (1 - probability))


def with_heads(attention8, attention4):
    """Depth logits -1, 0 and 2 from coarse to fine."""
    network = create_model("hgc", TINY).eval()
    network.heads["h8"] = Constant(-1.0, logit(attention8))
    network.heads["h4"] = Constant(0.0, logit(attention4))
    network.heads["h2"] = Constant(2.0)
    return network


@pytest.mark.parametrize(
    ("attention8", "attention4", "shares"),
    [
        (0.5, 0.5, (0.5, 0.25, 0.25)),
        (0.2, 0.75, (0.2, 0.6, 0.2)),
        (1 - 1e-7, 0.5, (1.0, 0.0, 0.0)),
    ],
)
def test_each_scale_takes_its_share_of_what_coarser_ones_left(attention8, attention4, shares):
    network = with_heads(attention8, attention4)
    products = network.products(torch.rand(2, 3, 64, 96))
    mean = -1.0 * shares[0] + 2.0 * shares[2]
    depth_m = 10.0 / (1.0 + math.exp(-mean))
    assert products["depth_m"].shape == (2, 1, 64, 96)
    torch.testing.assert_close(products["depth_m"], torch.full((2, 1, 64, 96), depth_m))
    for channel, share in enumerate(shares):
        torch.testing.assert_close(
            products["attention"][:, channel], torch.full((2, 64, 96), share), atol=1e-6, rtol=1e-6
        )


def test_shares_of_a_network_sum_to_one_at_every_pixel():
    torch.manual_seed(0)
    network = create_model("hgc", TINY).eval()
    attention = network.products(torch.rand(1, 3, 70, 101))["attention"]
    assert attention.shape == (1, 3, 70, 101)
    torch.testing.assert_close(attention.sum(1), torch.ones(1, 70, 101))


def test_parameters_beyond_pwas():
    light = {name: load_preset(shipped_presets()[f"{name}_light"]) for name in ("hgc", "pwa")}
    hgc, pwa = (create_model(each.network, each.settings) for each in light.values())
    shared = dict(pwa.named_parameters())
    fit = [n for n, p in hgc.named_parameters() if n in shared and p.shape == shared[n].shape]
    own = sum(p.numel() for n, p in hgc.named_parameters() if n not in fit)
    assert {name.split(".")[0] for name in fit} == {"encoder", "up", "context"}
    channels, cells = hgc.encoder.channels[4], 8 * 10
    # Kernel over the map; perceptron without bias; back to the bottleneck's channels.
    context = 128 * cells + channels * (channels // 16) + (channels // 16) * 128 + 128 * channels
    # 3x3 with norm and 3x3 with bias to two logits, from 64 and from 32 + the encoder's channels;
    # one 3x3 with bias.
    heads = sum(9 * c * 16 + 32 + 9 * 16 * 2 + 2 for c in (64, 32 + hgc.encoder.channels[1]))
    assert own == context + heads + 9 * 24 + 1


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("decoder_channels", [16, 16, 8], "decoder_channels must have 4 entries"),
        ("context_grid", [2], "context_grid must have 2 entries"),
        ("head_channels", 0, "head_channels must be 1 or more"),
    ],
)
def test_settings_that_make_no_network(setting, value, message):
    with pytest.raises(ConfigError, match=message):
        create_model("hgc", TINY | {setting: value})
