"""What every network promises, on every backbone.

By default MobileNetV2 and each network's own smallest backbone are tested in full and the other
combinations once forward; `make test-long` tests the whole product.
"""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from mono_depth_ros.checkpoint import CheckpointInfo, load_network, save_checkpoint
from mono_depth_ros.config import to_mapping
from mono_depth_ros.errors import ShapeError
from mono_depth_ros.models import MODELS, DepthNetwork, create_model
from mono_depth_ros.models.acan import Acan
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.models.encoder import BACKBONES
from mono_depth_ros.models.hgc import Hgc
from mono_depth_ros.models.hma import Hma
from mono_depth_ros.models.look_deeper import LookDeeper
from mono_depth_ros.models.presets import count_parameters, load_preset, shipped_presets

HEIGHT, WIDTH = 64, 96
SMALLEST_BACKBONE = {
    "pwa": "mobilenet_v2",
    "hma": "densenet121",
    "acan": "resnet50",
    "asc_gcm": "resnet50",
    "look_deeper": "resnet50",
    "hgc": "mobilenet_v2",
}
MINIMA = {"acan": 0.72}
# What only these networks need to be told for small images.
EXTRA = {
    "pwa": {"patch_size": 32},
    "asc_gcm": {"context_grid": [2, 3]},
    "hgc": {"context_grid": [2, 3]},
}
EVERY = [(name, backbone) for name in MODELS for backbone in BACKBONES]
USUAL = [(n, b) for n, b in EVERY if b in ("mobilenet_v2", SMALLEST_BACKBONE[n])]
REST = [pair for pair in EVERY if pair not in USUAL]

in_full = pytest.mark.parametrize(
    ("name", "backbone"), [*USUAL, *(pytest.param(*pair, marks=pytest.mark.long) for pair in REST)]
)
every_network = pytest.mark.parametrize("name", MODELS)


def settings(name: str, backbone: str = "mobilenet_v2", size=(HEIGHT, WIDTH)) -> dict:
    """The paper's widths on a small image; MobileNetV2 at quarter width."""
    width = {"backbone_width": 0.25} if backbone == "mobilenet_v2" else {}
    image_size = {"height": size[0], "width": size[1]}
    return {"image_size": image_size, "backbone": backbone, **width, **EXTRA.get(name, {})}


def fresh(name: str, backbone: str = "mobilenet_v2", size=(HEIGHT, WIDTH)) -> DepthNetwork:
    torch.manual_seed(0)
    return create_model(name, settings(name, backbone, size))


def build(name: str, backbone: str = "mobilenet_v2", size=(HEIGHT, WIDTH)) -> DepthNetwork:
    return with_measured_norms(fresh(name, backbone, size))


def build_light(name: str) -> DepthNetwork:
    """The light preset on small images."""
    preset = load_preset(shipped_presets()[f"{name}_light"])
    size = {"image_size": {"height": HEIGHT, "width": WIDTH}}
    torch.manual_seed(0)
    return with_measured_norms(create_model(name, preset.settings | size | EXTRA.get(name, {})))


def with_measured_norms(network: DepthNetwork) -> DepthNetwork:
    """Give norms the statistics of random images.

    With fresh ones features fade from layer to layer, until depth hardly depends on the image.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.eval()
    size = network.required_size or ImageSize(HEIGHT, WIDTH)
    with torch.no_grad():
        network.training_outputs(images(4, (size.height, size.width)))
    return network


@lru_cache
def trained_light(name: str, steps: int = 20) -> DepthNetwork:
    """The light preset after some steps: depth is to follow brightness and the row."""
    network = build_light(name).train()
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for step in range(steps):
        image, depth_m = scenes(4, seed=step)
        error = network.training_outputs(image)["depth_m"].log() - depth_m.log()
        optimizer.zero_grad()
        error.square().mean().sqrt().backward()
        optimizer.step()
    return network.eval()


def scenes(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Smooth pictures with some noise, and depths of 1 to 7 m."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 7, generator=generator)
    image = functional.interpolate(coarse, size=(HEIGHT, WIDTH), mode="bilinear")
    image += 0.1 * torch.rand(image.shape, generator=generator)
    brightness = functional.avg_pool2d(image.mean(1, keepdim=True), 5, stride=1, padding=2)
    rows = torch.linspace(1, 0, HEIGHT).view(1, 1, HEIGHT, 1)
    return image / 1.1, 1 + 3 * rows + 3 * brightness / 1.1


def images(count: int = 2, size=(HEIGHT, WIDTH)) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(1))


@in_full
def test_depth_has_the_images_size_and_the_networks_range(name, backbone):
    network = build(name, backbone).eval()
    with torch.no_grad():
        depth_m = network(images())
    assert depth_m.shape == (2, 1, HEIGHT, WIDTH)
    assert depth_m.dtype == torch.float32 and depth_m.isfinite().all()
    assert depth_m.min() > MINIMA.get(name, 0.0) * 0.999
    assert depth_m.max() <= network.max_depth_m
    # Or nothing that compares depths in this file would mean anything.
    assert (depth_m[0] - depth_m[1]).abs().mean() > 0.01 * depth_m.mean()
    assert depth_m.std() > 0.01 * depth_m.mean()


@in_full
def test_every_parameter_learns(name, backbone):
    network = build(name, backbone).train()
    outputs = network.training_outputs(images())
    assert outputs["depth_m"].shape == (2, 1, HEIGHT, WIDTH)
    sum(output.mean() for output in outputs.values()).backward()
    gradients = {key: parameter.grad for key, parameter in network.named_parameters()}
    assert not [key for key, gradient in gradients.items() if gradient is None]
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@in_full
def test_images_of_a_batch_do_not_touch_each_other(name, backbone):
    network = build(name, backbone).eval()
    batch = images(3)
    with torch.no_grad():
        together = network(batch)
        alone = torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@in_full
def test_a_checkpoint_restores_the_same_depth(name, backbone, tmp_path):
    """Bit for bit from float32; random weights amplify the rounding of half precision to 3 %."""
    network = build(name, backbone).eval()
    with torch.no_grad():
        expected = network(images())
        for precision, tolerance in (("float32", 0.0), ("float16", 0.05)):
            restored = saved_and_loaded(network, name, tmp_path, precision)
            torch.testing.assert_close(restored(images()), expected, rtol=tolerance, atol=0)


@every_network
def test_half_precision_files_keep_what_was_learnt(name, tmp_path):
    """Within a thousandth at every pixel, as soon as a network has learnt a little."""
    network, (image, _) = trained_light(name), scenes(2, seed=1000)
    restored = saved_and_loaded(network, name, tmp_path, "float16")
    with torch.no_grad():
        expected = network(image)
        assert expected.std() > 0.1 * expected.mean()
        torch.testing.assert_close(restored(image), expected, rtol=1e-3, atol=0)


def saved_and_loaded(network: DepthNetwork, name: str, folder: Path, precision) -> DepthNetwork:
    info = CheckpointInfo("x", name, to_mapping(network.config), ImageSize(HEIGHT, WIDTH))
    save_checkpoint(folder / f"{precision}.safetensors", network, info, precision)
    return load_network(folder / f"{precision}.safetensors")[0]


@pytest.mark.parametrize(("name", "backbone"), REST)
def test_every_backbone_answers(name, backbone):
    network = fresh(name, backbone).eval()
    with torch.no_grad():
        depth_m = network(images(1))
    assert depth_m.shape == (1, 1, HEIGHT, WIDTH) and depth_m.isfinite().all()


@every_network
@pytest.mark.parametrize("size", [(64, 64), (65, 97), (101, 150), (72, 203)])
def test_odd_sizes(name, size):
    """PWA can be built for any size and takes that alone; all others take any."""
    network = fresh(name, size=size).eval()
    with torch.no_grad():
        assert network(images(1, size)).shape == (1, 1, *size)
        if network.required_size:
            with pytest.raises(ShapeError, match=f"built for {size[0]}x{size[1]}"):
                network(images(1, (128, 160)))
        else:
            assert network(images(1, (128, 160))).shape == (1, 1, 128, 160)


@every_network
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_images_of_another_type_are_refused(name, dtype):
    """Both types are named: float64 is what NumPy makes of a division."""
    with pytest.raises(ShapeError, match=f"{dtype}, the network torch.float32"):
        build_light(name)(images().to(dtype))


@every_network
def test_images_that_are_too_small_are_refused(name):
    network = fresh(name)
    if network.required_size is None:
        with pytest.raises(ShapeError, match="64 px or more"):
            network(images(1, (63, 96)))


@every_network
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name, dtype):
    """At light widths: many CPUs compute float16 in scalar code, minutes for the papers' heads."""
    network, (image, _) = trained_light(name), scenes(2, seed=1000)
    with torch.no_grad():
        expected = network.products(image)
        halved = deepcopy(network).to(dtype)
        products = halved.products(image.to(dtype))
        assert torch.equal(halved(image.to(dtype)), products["depth_m"])
    assert tuple(products) == tuple(expected)
    classes = products.pop("semantics", torch.zeros(0)), expected.pop("semantics", torch.zeros(0))
    assert (classes[0] == classes[1]).float().sum() >= 0.9 * classes[0].numel()
    for key, value in products.items():
        assert value.dtype == dtype and value.isfinite().all() and value.min() >= 0, key
        # bfloat16 has eight bits of mantissa, and dozens of layers round to them.
        error = (value.float() - expected[key]).abs()
        assert error.mean() < 0.03 * expected[key].max(), key
    torch.testing.assert_close(
        products["depth_m"].float(), expected["depth_m"], rtol=0.05, atol=0.05
    )


@every_network
def test_products_are_what_the_network_says(name):
    network = build(name).eval()
    with torch.no_grad():
        products = network.products(images())
        expected = network(images())
    assert tuple(products) == ("depth_m", *network.product_names)
    torch.testing.assert_close(products["depth_m"], expected, rtol=1e-5, atol=1e-5)
    for key, value in products.items():
        channels = len(network.attention_names) if key == "attention" else 1
        assert value.shape == (2, channels, HEIGHT, WIDTH), key
        assert value.min() >= 0
    if "confidence" in products:
        assert products["confidence"].max() <= 1
    if "semantics" in products:
        assert products["semantics"].dtype == torch.uint8
        assert products["semantics"].max() < len(network.class_names)


@every_network
def test_depth_depends_on_the_opposite_corner(name):
    """All have a part that sees the whole image."""
    network = build(name, size=(128, 160)).eval()
    image = images(1, (128, 160)).requires_grad_()
    network(image)[..., -8:, -8:].sum().backward()
    assert image.grad[..., :32, :32].abs().max() > 0


@every_network
def test_the_network_can_be_exported(name):
    network = build(name).eval()
    with torch.no_grad():
        exported = torch.export.export(network, (images(1),)).module()
        torch.testing.assert_close(exported(images(1)), network(images(1)), rtol=1e-5, atol=1e-5)


@every_network
@pytest.mark.parametrize("bias", [-300.0, 300.0])
def test_a_saturated_head_stays_inside_the_range(name, bias):
    network = fresh(name).eval()
    with torch.no_grad():
        for module in heads(network):
            # HMA's heads have no bias, and read rectified features.
            nn.init.constant_(module.weight, 0.0 if module.bias is not None else bias)
            if module.bias is not None:
                # ACAN: every other channel votes for "farther".
                module.bias[1::2] = bias
                module.bias[0::2] = -bias if len(module.bias) > 1 else bias
        depth_m = network(images())
    assert depth_m.min() > MINIMA.get(name, 0.0) and depth_m.max() < network.max_depth_m


def heads(network: DepthNetwork) -> list[nn.Conv2d]:
    """The convolutions whose answer becomes depth."""
    if isinstance(network, Acan):
        return [network.classifier]
    if isinstance(network, Hma):
        return [head[-1] for head in network.depth_heads.values()]
    if isinstance(network, LookDeeper):
        return [network.decoder.depth.head]
    if isinstance(network, Hgc):
        return [network.heads["h8"][-1], network.heads["h4"][-1], network.heads["h2"]]
    return [network.head]


@every_network
def test_depth_is_float32_under_autocast(name):
    """bfloat16 has steps of 3 cm at 4 m, which no loss should read."""
    network = build(name).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert network.training_outputs(images())["depth_m"].dtype == torch.float32


# Trainable values at the paper's settings, in the order of BACKBONES. Independent counts: HMA, but
# for MobileNetV2, and ACAN on both ResNets, measured on the authors' code without modules that it
# never uses; prototypes written from the same descriptions for PWA on ResNeXt101, DenseNet161 and
# MobileNetV2, ASC+GCM on ResNet50, ResNet101 and ResNeXt101, Look Deeper on ResNet50.
PARAMETERS = {
    "pwa": (40_282_545, 59_274_673, 39_754_417, 103_516_849, 16_536_817, 41_932_209, 3_563_809),
    "hma": (52_079_552, 71_071_680, 51_551_424, 115_313_856, 25_765_632, 51_598_272, 16_248_192),
    "acan": (73_389_792, 92_381_920, 72_861_664, 136_624_096, 36_912_672, 79_466_720, 18_073_504),
    "asc_gcm": (41_693_007, 60_685_135, 41_164_879, 104_927_311, 16_056_297, 42_422_309, 6_635_978),
    "look_deeper": (
        38_414_773,
        57_406_901,
        37_886_645,
        101_649_077,
        20_812_021,
        41_542_581,
        14_948_981,
    ),
}
PWA_SIZE = {"image_size": {"height": 512, "width": 640}}
PWA_WIDTHS = {
    "decoder_channels": [512, 256, 128, 64, 32],
    "aspp_bottleneck": 256,
    "aspp_growth": 128,
}


@pytest.mark.parametrize(("name", "backbone"), [pair for pair in EVERY if pair[0] in PARAMETERS])
def test_parameters_of_the_papers_networks(name, backbone):
    paper = {}
    if name == "pwa":
        paper = PWA_SIZE if backbone == "mobilenet_v2" else PWA_SIZE | PWA_WIDTHS
    with torch.device("meta"):
        network = create_model(name, {**paper, "backbone": backbone})
    assert count_parameters(network) == PARAMETERS[name][BACKBONES.index(backbone)]
