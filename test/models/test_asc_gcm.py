"""ASC+GCM: layer and parameter counts, the four ways to meet another image size, its switches."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st

from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.asc_gcm import AscGcmConfig, over_windows, window_starts
from mono_depth_ros.models.base import ImageSize
from training.config import CHECKOUT

TINY = {
    "image_size": {"height": 64, "width": 96},
    "backbone": "mobilenet_v2",
    "backbone_width": 0.25,
    "decoder_channels": [16, 16, 16, 16, 8],
    "gcm_hidden": 16,
    "context_grid": [2, 3],
}
HANDLINGS = ("adaptive_pool", "sliding_windows", "resize_image", "resize_kernel")


def count(settings: dict) -> dict[str, int]:
    with torch.device("meta"):
        network = create_model("asc_gcm", settings)
    return {name: sum(p.numel() for p in m.parameters()) for name, m in network.named_children()}


def twins(settings: dict, *changes: dict) -> list[torch.nn.Module]:
    """Networks with different settings and equal weights, in eval mode."""
    torch.manual_seed(5)
    first = create_model("asc_gcm", settings).eval()
    networks = [create_model("asc_gcm", settings | change).eval() for change in changes]
    for network in networks:
        network.load_state_dict(first.state_dict())
    return [first, *networks]


@pytest.mark.parametrize(
    ("backbone", "encoder", "concat", "plain", "add"),
    # A prototype written independently of this file counted these.
    [
        ("resnet50", 23_508_032, 41_693_007, 38_809_889, 56_054_351),
        ("resnet101", 42_500_160, 60_685_135, 57_802_017, 75_046_479),
        ("resnext101_32x8d", 86_742_336, 104_927_311, 102_044_193, 119_288_655),
    ],
)
def test_parameters_of_the_paper_networks(backbone, encoder, concat, plain, add):
    counts = count({"backbone": backbone})
    assert counts["encoder"] == encoder
    # Five deconvolutions 9 * in * out with norm, two 3x3 convolutions with norm, the 3x3 head.
    pairs = [(2048, 512), (1536, 256), (768, 128), (384, 64), (128, 32)]
    assert counts["up"] == sum(9 * i * o + 2 * o for i, o in pairs)
    assert counts["residual"] == 2 * (9 * 256 * 256 + 2 * 256)
    assert counts["head"] == 9 * 32 + 1
    assert counts["skips"] == 1_377_838
    # Kernel 14 x 18, perceptron 2048 → 128 → 512, 1x1 back to 2048.
    assert counts["context"] == 14 * 18 * 512 + 2048 * 128 + 128 * 512 + 512 * 2048 == 1_505_280
    assert sum(counts.values()) == concat
    baseline = count({"backbone": backbone, "skip": "plain", "gcm": False})
    assert sum(baseline.values()) == plain
    assert sum(count({"backbone": backbone, "skip_fusion": "add"}).values()) == add


def test_both_modules_add_the_paper_s_parameters_for_every_backbone():
    for backbone in ("resnet50", "resnet101", "resnext101_32x8d"):
        with_modules, without = (
            sum(count({"backbone": backbone} | change).values())
            for change in ({}, {"skip": "plain", "gcm": False})
        )
        # "increased only by 2.8M" (section IV-D)
        assert with_modules - without == pytest.approx(2.8e6, rel=0.03)


@torch.no_grad()
@pytest.mark.parametrize("skip", ["asc", "plain"])
def test_every_handling_is_the_plain_network_at_the_training_size(skip):
    changes = [{"grid_handling": handling} for handling in HANDLINGS]
    first, *others = twins(TINY | {"skip": skip}, *changes)
    image = torch.rand(2, 3, 64, 96)
    encoded = first.encoder(first.normalise(image))
    skips = encoded[:4]
    if skip == "asc":
        skips = [module(x)[0] for module, x in zip(first.skips, skips, strict=True)]
    x = first.residual(
        first.up[1](torch.cat((first.up[0](first.context(encoded[4])), skips[3]), 1))
    )
    x = first.up[2](torch.cat((x, skips[2]), 1))
    x = first.up[3](torch.cat((x, skips[1]), 1))
    x = first.up[4](torch.cat((x, skips[0]), 1))
    expected = 10.0 * torch.sigmoid(first.head(x))
    for network in (first, *others):
        torch.testing.assert_close(network(image), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_handlings_of_another_size():
    image = torch.rand(2, 3, 64, 160)
    changes = [{"grid_handling": handling} for handling in HANDLINGS]
    trained, pooled, windows, resized, kernel = twins(TINY, *changes)
    # 160 px and windows of 96 px: 64 px to spare need two steps of at most 48 px.
    answers = torch.zeros(2, 1, 64, 160)
    count = torch.zeros(160)
    for x in (0, 32, 64):
        answers[..., x : x + 96] += trained(image[..., x : x + 96])
        count[x : x + 96] += 1
    torch.testing.assert_close(windows(image), answers / count, rtol=1e-4, atol=1e-4)

    def resize(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)

    expected = resize(trained(resize(image, (64, 96))), (64, 160))
    torch.testing.assert_close(resized(image), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(trained(image), pooled(image))
    assert kernel.context.resize_kernel and not pooled.context.resize_kernel


def test_windows_of_the_papers_sizes():
    assert window_starts(1216, 704) == [0, 256, 512]
    assert window_starts(352, 352) == [0]
    assert window_starts(480, 448) == [0, 32]
    assert window_starts(640, 576) == [0, 64]


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 40), st.integers(4, 40), st.integers(4, 20), st.integers(4, 20))
def test_windows_cover_the_image_and_average_to_it(height, width, window_height, window_width):
    image = torch.rand(2, 3, height, width)

    def answer(part: torch.Tensor) -> torch.Tensor:
        assert part.shape[1:] == (3, window_height, window_width)
        return part

    same = over_windows(image, ImageSize(window_height, window_width), answer)
    torch.testing.assert_close(same, image)
    for length, window in ((height, window_height), (width, window_width)):
        starts = window_starts(max(length, window), window)
        assert starts[0] == 0 and starts[-1] + window == max(length, window)
        assert all(b - a <= (window + 1) // 2 for a, b in pairwise(starts))


@torch.no_grad()
@pytest.mark.parametrize("handling", HANDLINGS)
def test_products_are_one_map_per_skip(handling):
    network = create_model("asc_gcm", TINY | {"grid_handling": handling}).eval()
    assert network.attention_names == ("asc/2", "asc/4", "asc/8", "asc/16")
    image = torch.rand(1, 3, 70, 131)
    products = network.products(image)
    assert products["attention"].shape == (1, 4, 70, 131)
    assert products["attention"].min() > 0 and products["attention"].max() < 1
    torch.testing.assert_close(products["depth_m"], network(image))


@torch.no_grad()
def test_the_map_of_a_skip_is_the_sigmoid_of_its_spatial_branch():
    network = create_model("asc_gcm", TINY).eval()
    network.skips[1].spatial[4].bias.fill_(0.3)
    network.skips[1].spatial[4].weight.zero_()
    attention = network.products(torch.rand(1, 3, 64, 96))["attention"]
    torch.testing.assert_close(attention[:, 1], torch.full((1, 64, 96), 0.3).sigmoid())


@pytest.mark.parametrize(
    ("skip", "names"),
    [
        ("plain", ()),
        ("se", ()),
        ("bam", ("bam/2", "bam/4", "bam/8", "bam/16")),
        ("cbam", ("cbam/2", "cbam/4", "cbam/8", "cbam/16")),
    ],
)
def test_other_skips_have_maps_where_they_attend_to_pixels(skip, names):
    network = create_model("asc_gcm", TINY | {"skip": skip}).eval()
    with torch.no_grad():
        products = network.products(torch.rand(1, 3, 64, 96))
    assert network.attention_names == names
    assert network.product_names == (("attention",) if names else ())
    assert set(products) == {"depth_m", *network.product_names}
    assert not names or products["attention"].shape == (1, 4, 64, 96)


@pytest.mark.parametrize(
    "change",
    [
        *({"skip": skip} for skip in ("plain", "se", "bam", "cbam")),
        {"gcm": False},
        {"asc_sigmoid": False},
        {"asc_dilations": [2, 4]},
        {"residual_blocks": 0},
        {"residual_blocks": 2},
        {"skip_fusion": "add", "decoder_channels": None},
        *({"grid_handling": handling, "context_grid": [3, 4]} for handling in HANDLINGS),
    ],
    ids=str,
)
def test_every_switch_trains(change):
    network = create_model("asc_gcm", TINY | change)
    network(torch.rand(2, 3, 64, 96)).mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.parametrize("seed", range(4))
def test_every_parameter_of_a_narrow_network_has_a_gradient(seed):
    """Perceptrons without biases on 8 to 24 channels, whose hidden units may all answer 0."""
    torch.manual_seed(seed)
    preset = load_yaml(CHECKOUT / "config/networks/asc_gcm_light.yaml")["settings"]
    network = create_model("asc_gcm", preset | {"backbone_width": 0.25, "context_grid": [2, 3]})
    network.train().training_outputs(torch.rand(2, 3, 64, 96))["depth_m"].mean().backward()
    assert not [name for name, p in network.named_parameters() if not p.grad.any()]


@torch.no_grad()
def test_depth_stays_inside_the_range_when_the_head_saturates():
    network = create_model("asc_gcm", TINY | {"max_depth_m": 80.0}).eval()
    for bias in (-200.0, 200.0):
        network.head.bias.fill_(bias)
        depth_m = network(torch.rand(1, 3, 64, 96))
        assert depth_m.min() > 0.0 and depth_m.max() < 80.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"decoder_channels": [16, 8]}, "5 widths"),
        ({"asc_dilations": []}, "asc_dilations must be 1 or more"),
        ({"context_grid": [0, 3]}, "context_grid must be 1 or more"),
        ({"residual_blocks": -1}, "residual_blocks must be 0 or more"),
        ({"skip": "attentive"}, "asc, plain, se, bam, cbam"),
        ({"skip_fusion": "add"}, r"\(24, 8, 8, 8\).*skip_fusion to concat"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        create_model("asc_gcm", TINY | change)


@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnext101_32x8d", "light"])
def test_presets_are_built_for_their_size(name):
    preset = load_yaml(CHECKOUT / f"config/networks/asc_gcm_{name}.yaml")
    config = from_mapping(AscGcmConfig, preset["settings"])
    rows, cols = config.context_grid
    padded = [-(-side // 32) for side in (config.image_size.height, config.image_size.width)]
    assert [rows, cols] == padded
    if name == "light":
        assert sum(count(preset["settings"]).values()) == 1_633_137
    else:
        assert config == AscGcmConfig(backbone=name)
