"""Look Deeper against its table written out, its parameter counts, and what each part may touch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as functional
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from mono_depth_ros.config import load_yaml
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.look_deeper import LateralSharingUnit, LookDeeperConfig

NETWORKS = Path(__file__).parents[2] / "config" / "networks"

TINY = {
    "image_size": {"height": 64, "width": 96},
    "backbone": "mobilenet_v2",
    "backbone_width": 0.25,
    "semantics": "nyu4",
    "bottleneck": 16,
    "decoder_channels": [12, 10, 8, 6],
}
STUDY = [
    {"structure": "single", "semantics": "none"},
    {"structure": "fine_tuned"},
    {"structure": "cascaded", "cascade_order": "depth_first"},
    {"structure": "cascaded", "cascade_order": "semantics_first"},
    {"structure": "merge_in", "split_depth": 3},
    {"structure": "branch_out", "split_depth": 1},
    {"structure": "branch_out", "split_depth": 5},
]
SYNERGY = [
    {},
    {"semantics": "none"},
    {"lateral_sharing": False},
    {"up_skip": False},
    {"lateral_gradient": False},
]


def tiny(**changes):
    torch.manual_seed(0)
    network = create_model("look_deeper", TINY | changes).train()
    # Fresh statistics let the activations of a fresh network fade until its weights hardly matter.
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.training_outputs(torch.rand(4, 3, 64, 96))
    return network.eval()


def count(module):
    return sum(p.numel() for p in module.parameters())


def trained_by(network, output):
    """Names of the parameters that a loss on one output alone changes."""
    network.zero_grad()
    network.train()
    network.training_outputs(torch.rand(2, 3, 64, 96))[output].square().mean().backward()
    return {name for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}


# Parameters.


@pytest.mark.parametrize(
    ("semantics", "semantic_branch", "total"),
    [("nyu4", 6_394_244, 38_394_001), ("nyu40", 6_415_016, 38_414_773)],
)
def test_parameters_of_the_paper_network(semantics, semantic_branch, total):
    """A prototype written independently of this file counted these."""
    with torch.device("meta"):
        network = create_model("look_deeper", {"semantics": semantics})
    parts = {name: count(module) for name, module in network.decoder.named_children()}
    assert count(network.encoder) == 23_508_032
    assert parts == {
        "conv2": 2_099_200,
        "depth": 6_392_513,
        "semantic": semantic_branch,
        "sharing": 12,
    }
    assert count(network) == total


def branch_parameters(bottleneck, widths, outputs, up_skip=True):
    before = (bottleneck, *widths[:-1])
    ups = sum(9 * i * o + 2 * o for i, o in zip(before, widths, strict=True))
    skips = sum(i * widths[-1] + widths[-1] for i in before) if up_skip else 0
    return ups + skips + 9 * widths[-1] * outputs + outputs


@pytest.mark.parametrize("up_skip", [True, False])
@pytest.mark.parametrize("semantics", ["none", "nyu4"])
def test_parameters_by_hand(up_skip, semantics):
    network = tiny(up_skip=up_skip, semantics=semantics)
    expected = network.encoder.channels[-1] * 16 + 2 * 16
    expected += branch_parameters(16, (12, 10, 8, 6), 1, up_skip)
    if semantics == "nyu4":
        expected += branch_parameters(16, (12, 10, 8, 6), 4, up_skip) + 12
    assert count(network.decoder) == expected


def layer_parameters(trunk):
    """conv2 and the four up-convolutions of TINY."""
    pairs = [(16, 12), (12, 10), (10, 8), (8, 6)]
    return [trunk * 16 + 2 * 16, *(9 * i * o + 2 * o for i, o in pairs)]


@pytest.mark.parametrize("split", [1, 2, 3, 4, 5])
def test_parameters_of_branch_out(split):
    network = tiny(structure="branch_out", split_depth=split)
    layers = layer_parameters(network.encoder.channels[-1])
    heads = 9 * 6 * (1 + 4) + (1 + 4)
    assert count(network.decoder) == sum(layers[:split]) + 2 * sum(layers[split:]) + heads


def test_parameters_of_the_other_structures():
    layers = layer_parameters(tiny().encoder.channels[-1])
    heads = 9 * 6 * (1 + 4) + (1 + 4)
    assert count(tiny(structure="single", semantics="none").decoder) == sum(layers) + 9 * 6 + 1
    assert count(tiny(structure="fine_tuned").decoder) == sum(layers) + heads
    second = 5 * (9 * 6 * 6 + 2 * 6)
    assert count(tiny(structure="cascaded").decoder) == sum(layers) + second + heads
    # Layers 1 to 3 twice; the fourth reads both third layers, 10 channels each.
    merged = 2 * sum(layers[:3]) + sum(layers[3:]) + 9 * 10 * 8 + heads
    assert count(tiny(structure="merge_in", split_depth=3).decoder) == merged


def test_light_preset_is_small_and_cheap():
    preset = load_yaml(NETWORKS / "look_deeper_light.yaml")
    with torch.device("meta"):
        network = create_model("look_deeper", preset["settings"]).eval()
        image = torch.empty(1, 3, 240, 320)
    assert count(network) <= 2_000_000
    with FlopCounterMode(display=False) as counter:
        network(image)
    assert counter.get_total_flops() / 2 <= 1.1e9


# Lateral sharing.

scalar = st.floats(-2, 2, width=32)


@settings(max_examples=30, deadline=None)
@given(scalar, scalar, scalar, scalar, st.integers(0, 1000))
def test_both_mixes_read_unmixed_maps(phi_d, phi_s, gamma_s, gamma_d, seed):
    unit = LateralSharingUnit(0.0, 0.1, gradient=True)
    generator = torch.Generator().manual_seed(seed)
    depth, semantic = torch.randn(2, 1, 3, 4, 5, generator=generator)
    with torch.no_grad():
        unit.phi_depth.fill_(phi_d)
        unit.phi_semantic.fill_(phi_s)
        unit.gamma_semantic.fill_(gamma_s)
        unit.gamma_depth.fill_(gamma_d)
        mixed_depth, mixed_semantic = unit(depth, semantic)
    # A mix that read an already mixed map would hold products of two scalars.
    torch.testing.assert_close(mixed_depth, (1 + phi_d) * depth + phi_s * semantic)
    torch.testing.assert_close(mixed_semantic, (1 + gamma_s) * semantic + gamma_d * depth)


def table_3(network, deepest):
    """The supplement's Table 3, row by row; also the un-mixed maps of both branches."""
    d = network.decoder
    u1, u2, u3 = d.sharing

    def up(branch, row, x):
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return branch.up[row - 1][1](x)

    def mix(own, intra, other, cross):
        return (1 + intra) * own + cross * other

    def predict(branch, *maps):
        total = maps[-1]
        for skip, features in zip(branch.skips, maps[:-1], strict=True):
            total = total + functional.interpolate(
                skip(features), size=maps[-1].shape[2:], mode="bilinear", align_corners=False
            )
        return branch.head(total)

    conv2 = d.conv2(deepest)
    dep1, sem1 = up(d.depth, 1, conv2), up(d.semantic, 1, conv2)
    dep2 = up(d.depth, 2, mix(dep1, u1.phi_depth, sem1, u1.phi_semantic))
    sem2 = up(d.semantic, 2, mix(sem1, u1.gamma_semantic, dep1, u1.gamma_depth))
    dep3 = up(d.depth, 3, mix(dep2, u2.phi_depth, sem2, u2.phi_semantic))
    sem3 = up(d.semantic, 3, mix(sem2, u2.gamma_semantic, dep2, u2.gamma_depth))
    dep4 = up(d.depth, 4, mix(dep3, u3.phi_depth, sem3, u3.phi_semantic))
    sem4 = up(d.semantic, 4, mix(sem3, u3.gamma_semantic, dep3, u3.gamma_depth))
    depth = predict(d.depth, conv2, dep1, dep2, dep3, dep4)
    return depth, predict(d.semantic, conv2, sem1, sem2, sem3, sem4), (conv2, dep1, sem1)


def test_network_equals_table_3():
    network = tiny()
    with torch.no_grad():
        for parameter in network.decoder.sharing.parameters():
            parameter.uniform_(-0.5, 0.5)
        image = torch.rand(2, 3, 64, 96)  # a multiple of 32: nothing is padded
        depth, semantic, attended = table_3(network, network.encoder(network.normalise(image))[-1])
        products, outputs = network.products(image), network.training_outputs(image)
    assert depth.shape == (2, 1, 32, 48) and semantic.shape == (2, 4, 32, 48)

    def full(x):
        return functional.interpolate(x, size=(64, 96), mode="bilinear", align_corners=False)

    torch.testing.assert_close(outputs["depth_m"], 10 * full(depth).sigmoid())
    torch.testing.assert_close(outputs["semantic_logits"], full(semantic))
    assert torch.equal(products["semantics"][:, 0], full(semantic).argmax(1).to(torch.uint8))
    # Equation 1 of the supplement: sum over channels of the absolute activation.
    for i, activation in enumerate(attended):
        expected = full(activation.abs().sum(1, keepdim=True))
        torch.testing.assert_close(products["attention"][:, i : i + 1], expected)


def test_the_semantic_branch_changes_depth_only_through_sharing():
    image = torch.rand(1, 3, 64, 96)
    for sharing in (True, False):
        network = tiny(lateral_sharing=sharing)
        with torch.no_grad():
            before = network(image)
            network.decoder.semantic.up[0][1][0].weight.mul_(-3.0)
            assert torch.equal(before, network(image)) != sharing


# What runs, what learns.


def runs(network, call):
    """Names of the decoder's modules with parameters of their own that ran."""
    names = []
    hooks = [
        module.register_forward_hook(lambda *_, name=name: names.append(name))
        for name, module in network.decoder.named_modules()
        if isinstance(module, torch.nn.Conv2d)
    ]
    with torch.no_grad():
        call(torch.rand(1, 3, 64, 96))
    for hook in hooks:
        hook.remove()
    return {name for name in names if name.startswith("semantic")}


def test_depth_alone_runs_only_the_semantic_layers_it_needs():
    network = tiny(lateral_sharing=False)
    assert runs(network, network) == set()
    network = tiny()
    assert runs(network, network) == {f"semantic.up.{i}.1.0" for i in range(3)}
    everything = {f"semantic.up.{i}.1.0" for i in range(4)} | {"semantic.head"}
    everything |= {f"semantic.skips.{i}" for i in range(4)}
    assert runs(network, network.training_outputs) == everything
    network = tiny(structure="branch_out", split_depth=2)
    assert runs(network, network) == set()


@pytest.mark.parametrize("changes", SYNERGY + STUDY, ids=str)
def test_forward_products_and_training_agree(changes):
    network = tiny(**changes)
    image = torch.rand(2, 3, 70, 100)
    with torch.no_grad():
        depth_m = network(image)
        outputs, products = network.training_outputs(image), network.products(image)
    assert depth_m.shape == (2, 1, 70, 100)
    assert depth_m.min() > 0 and depth_m.max() < 10
    assert torch.equal(depth_m, outputs["depth_m"]) and torch.equal(depth_m, products["depth_m"])
    assert set(products) == {"depth_m", *network.product_names}
    has_semantics = network.config.semantics != "none"
    assert ("semantic_logits" in outputs) == ("semantics" in products) == has_semantics
    if "attention" in products:
        assert products["attention"].shape == (2, len(network.attention_names), 70, 100)
        assert products["attention"].min() >= 0


@pytest.mark.parametrize("changes", SYNERGY + STUDY, ids=str)
def test_every_parameter_learns(changes):
    network = tiny(**changes).train()
    outputs = network.training_outputs(torch.rand(2, 3, 64, 96))
    sum(output.mean() for output in outputs.values()).backward()
    assert not [n for n, p in network.named_parameters() if p.grad is None]
    assert all(p.grad.isfinite().all() for p in network.parameters())


def test_without_lateral_gradient_a_loss_leaves_the_other_branch_alone():
    apart, together = tiny(lateral_gradient=False), tiny()
    for output, other in (("depth_m", "decoder.semantic."), ("semantic_logits", "decoder.depth.")):
        assert not [n for n in trained_by(apart, output) if n.startswith(other)]
        assert [n for n in trained_by(together, output) if n.startswith(other)]
        assert {"encoder.stages.0.0.0.weight", "decoder.conv2.0.weight"} <= trained_by(
            apart, output
        )


def test_a_loss_reaches_the_layers_that_its_structure_shares():
    def parts(output, **changes):
        names = trained_by(tiny(**changes), output)
        return {name.split(".")[1] for name in names if name.startswith("decoder.")}

    branch = {"structure": "branch_out", "split_depth": 2}
    assert parts("depth_m", **branch) == {"shared", "depth"}
    assert parts("semantic_logits", **branch) == {"shared", "semantic"}
    tuned = {"structure": "fine_tuned"}
    assert parts("depth_m", **tuned) == {"shared", "depth"}
    cascade = {"structure": "cascaded", "cascade_order": "semantics_first"}
    assert parts("depth_m", **cascade) == {"first", "second", "depth_head"}
    assert parts("semantic_logits", **cascade) == {"first", "semantic_head"}
    merged = {"structure": "merge_in", "split_depth": 3}
    assert parts("depth_m", **merged) == {"depth", "semantic", "merged", "depth_head"}


# Sizes and heads.


def test_unpadded_rows_are_squeezed_and_padded_rows_are_not():
    image = torch.rand(1, 3, 80, 96)
    seen = {}
    for padded in (True, False):
        network = tiny(pad_to_stride=padded)
        network.encoder.register_forward_hook(
            lambda _, inputs, outputs, key=padded: seen.update(
                {key: (tuple(inputs[0].shape[2:]), tuple(outputs[-1].shape[2:]))}
            )
        )
        with torch.no_grad():
            assert network(image).shape == (1, 1, 80, 96)
    assert seen == {True: ((96, 96), (3, 3)), False: ((80, 96), (3, 3))}


def test_softplus_depth_stays_within_the_range():
    network = tiny(depth_activation="softplus", max_depth_m=2.0)
    with torch.no_grad():
        network.decoder.depth.head.bias.fill_(30.0)
        depth_m = network(torch.rand(1, 3, 64, 96))
        assert 1.999 < depth_m.max() < 2.0
        network.decoder.depth.head.bias.fill_(-5.0)
        assert network(torch.rand(1, 3, 64, 96)).min() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_products(dtype):
    network = tiny().to(dtype)
    with torch.no_grad():
        products = network.products(torch.rand(1, 3, 64, 96, dtype=dtype))
    assert products["depth_m"].dtype == products["attention"].dtype == dtype
    assert all(product.isfinite().all() for product in products.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder_channels": [8, 8, 8]}, "four positive widths"),
        ({"split_depth": 6}, "choose 1 to 5"),
        ({"structure": "merge_in", "split_depth": 5}, "choose 1 to 4"),
        ({"structure": "single"}, "set semantics to none"),
        ({"structure": "cascaded", "semantics": "none"}, "needs two tasks"),
        ({"extra_classes": 2}, "0 to 0"),
        ({"semantics": "nyu41"}, "choose from"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        create_model("look_deeper", TINY | changes)


def test_classes_follow_the_labels():
    config = LookDeeperConfig(semantics="cityscapes", extra_classes=2)
    assert len(config.class_names) == 21
    network = tiny(semantics="cityscapes", extra_classes=2)
    with torch.no_grad():
        outputs = network.training_outputs(torch.rand(1, 3, 64, 96))
    assert outputs["semantic_logits"].shape == (1, 21, 64, 96)
