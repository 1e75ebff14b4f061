"""HMA-Depth: counts of the authors' code, equations 2 to 6 by hand, and every row of Table 3."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mono_depth_ros.config import load_yaml
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.hma import hierarchical_masks

NETWORKS = Path(__file__).resolve().parents[2] / "config" / "networks"
TINY = {
    "backbone": "mobilenet_v2",
    "backbone_width": 0.25,
    "num_features": 32,
    "head_channels": 8,
    "attention_channels": 8,
}
# Depth and attention of each scale where they are set by hand.
DEPTH = {"h8": 0.2, "h4": 0.4, "h2": 0.6, "h1": 0.8}
ATTENTION = {"h8": 0.5, "h4": 0.25, "h2": 0.1}


class Constant(nn.Module):
    """A head that answers the same everywhere."""

    def __init__(self, probability):
        super().__init__()
        self.logit = torch.tensor(probability).logit()

    def forward(self, features):
        return self.logit.expand(features.shape[0], 1, *features.shape[2:])


def with_constant_heads(**choices):
    network = create_model("hma", TINY | choices).eval()
    for heads, values in ((network.depth_heads, DEPTH), (network.attention_heads, ATTENTION)):
        for name in heads:
            heads[name] = Constant(values[name])
    return network


def meta_model(values):
    with torch.device("meta"):
        return create_model("hma", values).eval()


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def gmac(network, height, width):
    image = torch.zeros(1, 3, height, width, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() / 2e9


@pytest.mark.parametrize(
    ("backbone", "count"),
    # The authors' code on six backbones, less what it builds and never uses.
    [
        ("resnet50", 52_079_552),
        ("resnet101", 71_071_680),
        ("resnext50_32x4d", 51_551_424),
        ("resnext101_32x8d", 115_313_856),
        ("densenet121", 25_765_632),
        ("densenet161", 51_598_272),
    ],
)
def test_parameters_of_the_authors_network(backbone, count):
    assert parameters(meta_model({"backbone": backbone})) == count


def test_parameters_of_heads_and_work_of_the_default_network():
    network = meta_model({})
    heads = [parameters(network.depth_heads[name]) for name in ("h8", "h4", "h2", "h1")]
    # c * 256 * 9 + 256 * 256 * 9 + 256, and scale and shift of two norms.
    assert heads == [c * 2304 + 589_824 + 256 + 1024 for c in (128, 128, 64, 32)]
    assert heads == [886_016, 886_016, 738_560, 664_832]
    attention = [parameters(network.attention_heads[name]) for name in ("h8", "h4", "h2")]
    assert attention == [590_336, 590_336, 295_424]
    assert gmac(network, 480, 640) == pytest.approx(424, abs=0.5)


def test_norms_have_the_constants_of_bts():
    network = meta_model({})
    constants = {
        name: (module.eps, module.momentum)
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and not name.startswith("encoder")
    }
    inside_branches = {f"decoder.aspp.branches.{i}.3" for i in range(5)}
    for name, value in constants.items():
        if name in inside_branches:
            assert value == (1e-5, 0.01), name
        elif name.startswith("decoder"):
            assert value == (1.1e-5, 0.01), name
        else:
            assert value == (1e-5, 0.1), name
    # up16, up8, norm8, up4, up2; 5 inside branches and 4 before them; 2 in each of 4 depth heads.
    assert len(constants) == 5 + 9 + 8


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=4))
def test_masks_sum_to_one(shares):
    maps = [torch.full((1, 1, 1, 1), share) for share in shares]
    masks = hierarchical_masks(maps)
    assert masks.shape == (1, len(shares) + 1, 1, 1)
    assert masks.min() >= 0
    assert float(masks.sum()) == pytest.approx(1.0, abs=1e-6)


def test_masks_by_hand():
    masks = hierarchical_masks([torch.full((1, 1, 2, 3), v) for v in (0.5, 0.25, 0.1)])
    # .5, .25 * .5, .1 * .5 * .75, .5 * .75 * .9
    expected = torch.tensor([0.5, 0.125, 0.0375, 0.3375]).view(1, 4, 1, 1).expand(1, 4, 2, 3)
    torch.testing.assert_close(masks, expected)


@pytest.mark.parametrize(
    ("choices", "names", "masks", "depth_m"),
    [
        # 10 * (.2 * .5 + .4 * .125 + .6 * .0375 + .8 * .3375)
        ({}, ("h/8", "h/4", "h/2", "h"), (0.5, 0.125, 0.0375, 0.3375), 4.425),
        # 10 * (.2 * .5 + .4 * .125 + .6 * .375)
        ({"scales": "without_h"}, ("h/8", "h/4", "h/2"), (0.5, 0.125, 0.375), 3.75),
        # 10 * (.4 * .25 + .6 * .1 * .75 + .8 * .75 * .9)
        ({"scales": "without_h8"}, ("h/4", "h/2", "h"), (0.25, 0.075, 0.675), 6.85),
        ({"fusion": "mean"}, (), None, 5.0),
        ({"fusion": "sum"}, (), None, 20.0),
        ({"fusion": "mean", "scales": "without_h"}, (), None, 4.0),
        ({"fusion": "sum", "scales": "without_h8", "max_depth_m": 80.0}, (), None, 144.0),
    ],
)
def test_rows_of_table_3_fuse_as_worked_out_by_hand(choices, names, masks, depth_m):
    network = with_constant_heads(**choices)
    assert network.attention_names == names
    assert network.product_names == (("attention",) if names else ())
    with torch.no_grad():
        products = network.products(torch.rand(2, 3, 70, 101))  # no multiple of anything
    expected = torch.full((2, 1, 70, 101), depth_m)
    torch.testing.assert_close(products["depth_m"], expected, rtol=1e-5, atol=0)
    assert ("attention" in products) == (masks is not None)
    if masks is not None:
        expected = torch.tensor(masks).view(1, -1, 1, 1).expand(2, -1, 70, 101)
        torch.testing.assert_close(products["attention"], expected)


@pytest.mark.parametrize("fusion", ["attention", "mean", "sum"])
@pytest.mark.parametrize("scales", ["all", "without_h", "without_h8"])
def test_every_variant_trains_all_it_builds(scales, fusion):
    network = create_model("hma", TINY | {"scales": scales, "fusion": fusion})
    depth_m = network(torch.rand(2, 3, 64, 96))
    assert depth_m.min() > 0 and depth_m.max() < network.max_depth_m
    depth_m.mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_a_saturated_network_stays_inside_its_range():
    network = create_model("hma", TINY).eval()
    image = torch.rand(1, 3, 64, 96)
    for probability, bound in ((0.0, 0.0), (1.0, 10.0)):
        for name in network.depth_heads:
            network.depth_heads[name] = Constant(probability)
        with torch.no_grad():
            depth_m = network(image)
        assert depth_m.min() > 0.0 and depth_m.max() < 10.0
        torch.testing.assert_close(depth_m, torch.full_like(depth_m, bound), rtol=0, atol=1e-4)


def test_compat_pad_mixes_a_border_of_one_half_into_the_masks():
    masks = {}
    for compat_pad in (False, True):
        torch.manual_seed(0)
        network = create_model("hma", TINY | {"compat_pad": compat_pad}).eval()
        # Attention of every pixel is sigmoid(20), all but 1, if nothing is padded.
        for head in network.attention_heads.values():
            head[0] = nn.Conv2d(head[0].in_channels, 8, 3, padding=1)
            nn.init.zeros_(head[0].weight)
            nn.init.constant_(head[0].bias, 1.0)
            nn.init.constant_(head[2].weight, 20.0 / 8)
        with torch.no_grad():
            masks[compat_pad] = network.products(torch.rand(1, 3, 64, 96))["attention"][0]
    assert masks[False][0].min() > 0.999
    # The map at h/8 is 8x12, padded 10x14. Row 0 of 64 lies at 0.5 / 6.4 - 0.5 < 0: the border.
    assert masks[True][0][0].max() == pytest.approx(0.5, abs=1e-6)
    assert masks[True][0][32, 48] > 0.999
    torch.testing.assert_close(masks[True].sum(0), torch.ones(64, 96))


def test_decoder_enlarges_as_told():
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 96)
    nearest = create_model("hma", TINY).eval()
    bilinear = create_model("hma", TINY | {"up_mode": "bilinear"}).eval()
    bilinear.load_state_dict(nearest.state_dict())
    with torch.no_grad():
        assert (nearest(image) - bilinear(image)).abs().max() > 1e-4


def test_light_preset_is_small():
    content = load_yaml(NETWORKS / "hma_light.yaml")
    assert content["network"] == "hma"
    network = meta_model(content["settings"])
    assert parameters(network) < 1_600_000
    assert gmac(network, 240, 320) < 1.3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_features": 100}, "num_features is 100"),
        ({"head_channels": 0}, "must be 1 or more"),
        ({"aspp_rates": []}, "aspp_rates"),
        ({"scales": "without_h4"}, "choose from"),
        ({"backbone_width": 0.5}, "width 1 only"),
    ],
)
def test_wrong_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        meta_model(values)
