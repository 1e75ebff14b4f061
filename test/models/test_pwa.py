"""PWA against an explicit per-patch loop, its parameter counts, and every patch size."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional

from mono_depth_ros.config import load_yaml
from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.attention import PatchWiseAttention
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.models.pwa import PwaConfig
from training.config import CHECKOUT

TINY = {
    "image_size": {"height": 96, "width": 160},
    "backbone_width": 0.25,
    "decoder_channels": [16, 16, 16, 16, 8],
    "aspp_bottleneck": 16,
    "aspp_growth": 8,
    "patch_size": 32,
}


def loop_reference(module: PatchWiseAttention, f: torch.Tensor, f_g: torch.Tensor):
    """The paper's equations, one patch after the other."""
    (rows, cols), (ph, pw) = module.grid, module.patch
    size = f.shape[-2:]
    up_g = functional.interpolate(f_g, size=size, mode="bilinear", align_corners=False)
    cells = [(r, c) for r in range(rows) for c in range(cols)]
    window = {
        (r, c): (..., slice(r * ph, r * ph + ph), slice(c * pw, c * pw + pw)) for r, c in cells
    }
    f_max, f_avg = torch.zeros_like(f_g), torch.zeros_like(f_g)
    for cell in cells:
        f_max[(..., *cell)] = f[window[cell]].flatten(2).max(-1).values
        f_avg[(..., *cell)] = f[window[cell]].flatten(2).mean(-1)
    f_c = module.channel_conv(torch.cat((f_g, f_max, f_avg), 1))
    attended = torch.empty_like(f)
    mlps = module.channel_mlps
    for i, cell in enumerate(cells):
        hidden = (f_c[(..., *cell)] @ mlps.reduce_weight[i] + mlps.reduce_bias[i]).relu()
        e_c = (hidden @ mlps.expand_weight[i] + mlps.expand_bias[i]).sigmoid()
        attended[window[cell]] = f[window[cell]] * e_c[:, :, None, None]
    f_s = module.spatial_conv(torch.cat((attended, up_g), 1))
    output, attention = torch.empty_like(f), torch.empty(f.shape[0], 1, *size)
    for j, cell in enumerate(cells):
        patch = f_s[window[cell]]
        statistics = torch.stack((patch.max(1).values, patch.mean(1)), 1)
        weight = module.patch_convs.weight[j : j + 1]
        bias = module.patch_convs.bias[j : j + 1]
        e_s = functional.conv2d(statistics, weight, bias, padding=3).sigmoid()
        attention[window[cell]] = e_s
        output[window[cell]] = attended[window[cell]] * e_s + f[window[cell]] + up_g[window[cell]]
    return output, attention


@pytest.mark.parametrize(
    ("grid", "patch"), [((3, 4), (8, 8)), ((1, 1), (24, 40)), ((2, 5), (16, 16)), ((6, 2), (4, 4))]
)
def test_vectorised_attention_equals_the_loop(grid, patch):
    torch.manual_seed(1)
    module = PatchWiseAttention(16, grid, patch).eval()
    features = torch.randn(2, 16, grid[0] * patch[0], grid[1] * patch[1])
    context = torch.randn(2, 16, *grid)
    with torch.no_grad():
        expected, expected_attention = loop_reference(module, features, context)
        output, attention = module(features, context)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(attention.spatial, expected_attention, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("grid", "patch"), [((3, 4), (8, 8)), ((1, 1), (6, 9)), ((2, 2), (4, 4))])
def test_patches_that_see_their_neighbours(grid, patch):
    """A 7x7 convolution of the whole map with the weights of the patch that a pixel is in."""
    torch.manual_seed(4)
    module = PatchWiseAttention(8, grid, patch, patch_border="neighbours")
    local = torch.randn(2, 8, grid[0] * patch[0], grid[1] * patch[1])
    statistics = torch.stack((local.max(1).values, local.mean(1)), 1)
    with torch.no_grad():
        logits = module._spatial_logits(local)
        for j in range(grid[0] * grid[1]):
            weight, bias = (p[j : j + 1] for p in module.patch_convs.parameters())
            whole = functional.conv2d(statistics, weight, bias, padding=3)
            y, x = j // grid[1] * patch[0], j % grid[1] * patch[1]
            inside = (..., slice(y, y + patch[0]), slice(x, x + patch[1]))
            torch.testing.assert_close(logits[inside], whole[inside], rtol=0, atol=1e-5)


def test_norm_after_the_two_convolutions_of_patch_wise_attention():
    module = PatchWiseAttention(8, (2, 3), (8, 8), context_norm=True)
    for conv, inputs in ((module.channel_conv, 24), (module.spatial_conv, 16)):
        assert [type(part).__name__ for part in conv] == ["Conv2d", "BatchNorm2d", "ReLU"]
        assert sum(p.numel() for p in conv.parameters()) == 9 * inputs * 8 + 2 * 8


def test_a_patch_depends_on_its_own_weights_only():
    torch.manual_seed(2)
    module = PatchWiseAttention(8, (2, 3), (8, 8)).eval()
    features, context = torch.randn(1, 8, 16, 24), torch.randn(1, 8, 2, 3)
    with torch.no_grad():
        before, _ = module(features, context)
        module.patch_convs.bias[4] += 3.0
        after, _ = module(features, context)
    changed = (before != after).any(1)[0]
    expected = torch.zeros(16, 24, dtype=torch.bool)
    expected[8:16, 8:16] = True  # patch 4 of a 2 x 3 grid is row 1, column 1
    assert not changed[~expected].any()
    assert changed[expected].any()


@pytest.mark.parametrize(
    ("patch", "padded", "grid", "parameters"),
    # C = 32: Conv_c 27,680 + Conv_s 18,464 + per patch 292 (MLP) + 99 (7x7 convolution).
    [
        (8, (480, 640), (60, 80), 1_922_944),
        (16, (480, 640), (30, 40), 515_344),
        (32, (480, 640), (15, 20), 163_444),
        (64, (512, 640), (8, 10), 77_424),
        (128, (512, 640), (4, 5), 53_964),
        (256, (512, 768), (2, 3), 48_490),
        ("image", (480, 640), (1, 1), 46_535),
    ],
)
def test_grid_and_attention_parameters_of_table_1(patch, padded, grid, parameters):
    config = PwaConfig(patch_size=patch)
    assert (config.padded_size.height, config.padded_size.width) == padded
    assert config.grid == grid
    module = PatchWiseAttention(32, config.grid, (8, 8))
    assert sum(p.numel() for p in module.parameters()) == parameters


def test_parameters_of_the_paper_network():
    """A prototype written independently of this file counted 3,563,809."""
    network = create_model("pwa", {"image_size": {"height": 512, "width": 640}})
    counts = {name: sum(p.numel() for p in m.parameters()) for name, m in network.named_children()}
    assert counts["encoder"] == 1_811_712
    # Five transposed convolutions 9 * in * out plus scale and shift of their norms.
    pairs = [(320, 320), (416, 96), (96, 32), (56, 24), (40, 32)]
    assert counts["up"] == sum(9 * i * o + 2 * o for i, o in pairs)
    # Five branches: norm (not the first), 1x1 to 128 with norm, 3x3 to 32; the 1x1 back to 96.
    branches = sum((128 + 32 * i) * 128 + 2 * 128 + 9 * 128 * 32 for i in range(5))
    branches += sum(2 * (128 + 32 * i) for i in range(1, 5))
    assert counts["context"] == branches + (128 + 160) * 96 + 2 * 96
    assert counts["attention"] == 77_424
    assert sum(counts.values()) == 3_563_809


@pytest.mark.parametrize(
    ("backbone", "parameters"), [("densenet161", 41_932_209), ("resnext101_32x8d", 103_516_849)]
)
def test_parameters_of_the_large_presets(backbone, parameters):
    """Counted by the same prototype."""
    preset = load_yaml(CHECKOUT / f"config/networks/pwa_{backbone}.yaml")
    with torch.device("meta"):
        network = create_model("pwa", preset["settings"])
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network.config.padded_size == ImageSize(512, 640)


def test_light_preset_is_small_and_attends_at_half_resolution():
    preset = load_yaml(CHECKOUT / "config/networks/pwa_light.yaml")
    network = create_model("pwa", preset["settings"])
    assert sum(p.numel() for p in network.parameters()) == 1_645_617
    # 240x320 padded to 256x320 in patches of 32 px, 16 px of the features
    assert (network.attention.grid, network.attention.patch) == ((8, 10), (16, 16))


@pytest.mark.parametrize("patch", [8, 16, 32, 64, 128, 256, "image"])
@pytest.mark.parametrize("widths", [[16, 16, 16, 16, 8], [16, 16, 16, 8]])
def test_every_patch_size_answers_at_image_size(patch, widths):
    size = {"height": 100, "width": 150}  # no multiple of anything
    settings = TINY | {"patch_size": patch, "decoder_channels": widths, "image_size": size}
    network = create_model("pwa", settings).eval()
    with torch.no_grad():
        products = network.products(torch.rand(2, 3, 100, 150))
    assert products["depth_m"].shape == (2, 1, 100, 150)
    assert products["attention"].shape == (2, 2, 100, 150)
    assert products["depth_m"].min() > 0 and products["depth_m"].max() < 10.0
    assert products["attention"].min() > 0 and products["attention"].max() < 1


@pytest.mark.parametrize("attention", ["pwa", "cbam", "dual", "none"])
@pytest.mark.parametrize("dense_aspp", [True, False])
def test_ablation_switches_train(attention, dense_aspp):
    settings = TINY | {"attention": attention, "dense_aspp": dense_aspp}
    network = create_model("pwa", settings)
    network(torch.rand(2, 3, 96, 160)).mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]
    assert network.product_names == (("attention",) if attention != "none" else ())


def test_attention_switches_have_the_maps_they_name():
    names = {"pwa": ("spatial", "channel"), "cbam": ("spatial", "channel"), "dual": ("position",)}
    for attention, expected in names.items():
        network = create_model("pwa", TINY | {"attention": attention}).eval()
        with torch.no_grad():
            maps = network.products(torch.rand(2, 3, 96, 160))["attention"]
        assert network.attention_names == expected
        assert maps.shape == (2, len(expected), 96, 160) and maps.min() >= 0
        if attention == "cbam":  # one weight per channel for the whole image
            assert torch.equal(maps[:, 1], maps[:, 1, :1, :1].expand(2, 96, 160))
        if attention == "dual":  # shares of a whole
            torch.testing.assert_close(maps.mean((1, 2, 3)), torch.ones(2), rtol=1e-2, atol=0)


@pytest.mark.parametrize("widths", [[16, 16, 16, 16, 8], [16, 16, 16, 8]])
def test_maps_show_the_patch_whose_weights_changed(widths):
    """Also with four blocks, where a patch of 32 image pixels has 16 pixels of the features."""
    torch.manual_seed(6)
    network = create_model("pwa", TINY | {"decoder_channels": widths}).eval()
    image = torch.rand(1, 3, 96, 160)
    # Row 1, column 2 of 3 x 5 patches of 32 px.
    inside = torch.zeros(96, 160, dtype=torch.bool)
    inside[32:64, 64:96] = True
    # Enlarging the spatial map of half the size mixes pixels across the border of the patch.
    margin = 0 if len(widths) == 5 else 1
    reached = inside.clone()
    reached[32 - margin : 64 + margin, 64 - margin : 96 + margin] = True

    def changed_by(parameter: torch.Tensor, channel: int) -> torch.Tensor:
        with torch.no_grad():
            before = network.products(image)["attention"]
            parameter[7] += 3.0
            return (network.products(image)["attention"] != before)[0, channel]

    spatial = changed_by(network.attention.patch_convs.bias, 0)
    assert spatial[inside].all() and not spatial[~reached].any()
    assert torch.equal(changed_by(network.attention.channel_mlps.expand_bias, 1), inside)


def test_depth_stays_inside_the_range_when_the_head_saturates():
    network = create_model("pwa", TINY | {"max_depth_m": 80.0}).eval()
    with torch.no_grad():
        for bias in (-200.0, 200.0):
            network.head.bias.fill_(bias)
            depth_m = network(torch.rand(1, 3, 96, 160))
            assert depth_m.min() > 0.0 and depth_m.max() < 80.0


def test_depth_reacts_to_the_opposite_corner():
    torch.manual_seed(3)
    network = create_model("pwa", TINY).eval()
    image = torch.rand(1, 3, 96, 160)
    changed = image.clone()
    changed[..., :32, :32] = 1.0 - changed[..., :32, :32]
    with torch.no_grad():
        difference = (network(image) - network(changed)).abs()[0, 0]
    assert difference[-8:, -8:].max() > 0


def test_images_of_a_batch_do_not_touch_each_other():
    network = create_model("pwa", TINY).eval()
    images = torch.rand(3, 3, 96, 160)
    with torch.no_grad():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_another_image_size_is_refused_with_both_sizes():
    network = create_model("pwa", TINY)
    with pytest.raises(ShapeError, match=r"96x192.*96x160"):
        network(torch.rand(1, 3, 96, 192))


@pytest.mark.parametrize(
    "image", [torch.rand(3, 96, 160), torch.zeros(1, 3, 96, 160, dtype=torch.uint8)]
)
def test_wrong_layout_is_refused(image):
    with pytest.raises(ShapeError, match="float RGB"):
        create_model("pwa", TINY)(image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 48}, "patch_size is 48"),
        ({"image_size": {"height": 32, "width": 640}}, "64 px or more"),
        ({"decoder_channels": [1, 2]}, "4 or 5 widths"),
        ({"patchsize": 64}, "no setting patchsize"),
        ({"max_depth_m": -1}, "must be positive"),
        ({"attention": "cbam2"}, "choose from"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        create_model("pwa", settings)


def test_unknown_network_lists_the_known():
    with pytest.raises(ConfigError, match="pwa"):
        create_model("resnet_of_dreams")
