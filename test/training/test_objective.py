"""The recipe's loss: sections are the functions' own settings, terms are weighted and summed."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_args, get_type_hints

import pytest
import torch

from mono_depth_ros.config import from_mapping
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import create_model
from training import losses
from training.objective import ObjectiveConfig, weighted_losses

SIZE = {"image_size": {"height": 64, "width": 96}, "backbone_width": 0.25}
FUNCTIONS = {
    "silog": losses.scale_invariant_log,
    "ordinal": losses.ordinal_regression,
    "cross_entropy": losses.cross_entropy,
    "attention": losses.attention_divergence,
    "depth_aware": losses.depth_aware,
    "focal_semantic": losses.focal_semantic,
    "joint_gradient": losses.joint_gradient,
    "berhu": losses.berhu,
    "squared_error": losses.squared_error,
}
# Given by the network or the image, not by the recipe.
NOT_SETTINGS = {"max_depth_m", "grid"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_section_has_the_settings_and_defaults_of_its_function(name):
    section = next(
        option for option in get_args(get_type_hints(ObjectiveConfig)[name]) if option is not None
    )
    ours = {field.name: field.default for field in fields(section)}
    assert ours.pop("weight") == 1.0
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    theirs = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    assert ours == {key: value for key, value in theirs.items() if key not in NOT_SETTINGS}


def test_every_loss_has_a_section():
    assert {field.name for field in fields(ObjectiveConfig)} == set(FUNCTIONS)
    assert {function.__name__ for function in FUNCTIONS.values()} == set(losses.__all__)


def batch():
    generator = torch.Generator().manual_seed(0)
    depth_m = 1.0 + 8.0 * torch.rand(2, 1, 64, 96, generator=generator)
    depth_m[0, 0, :10] = torch.nan
    labels = torch.randint(-1, 13, (2, 64, 96), generator=generator)
    return {
        "image": torch.rand(2, 3, 64, 96, generator=generator),
        "depth_m": depth_m,
        "labels": labels,
    }


@pytest.mark.parametrize(
    ("network", "settings", "sections"),
    [
        ("pwa", {"patch_size": 32}, {"silog": {}, "berhu": {}, "squared_error": {"weight": 0.1}}),
        ("acan", {}, {"ordinal": {}, "attention": {"weight": 10.0}}),
        ("acan", {"head": "cross_entropy"}, {"cross_entropy": {"kind": "per_class"}}),
        (
            "look_deeper",
            {"semantics": "nyu13"},
            {"depth_aware": {}, "focal_semantic": {}, "joint_gradient": {}},
        ),
    ],
)
def test_terms_reach_every_parameter(network, settings, sections):
    config = from_mapping(ObjectiveConfig, sections)
    model = create_model(network, {**SIZE, **settings, "backbone": "mobilenet_v2"})
    maps = batch()
    terms = weighted_losses(config, model, model.training_outputs(maps["image"]), maps)
    assert set(terms) == set(sections)
    sum(terms.values()).backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(
    ("missing", "left", "still"),
    [("labels", "depth_aware", "decoder.semantic"), ("depth_m", "focal_semantic", "decoder.depth")],
)
def test_a_branch_without_truth_stays_as_it_is(missing, left, still):
    """No gradient at all: one of zero would let Adam's momentum and decay move the weights."""
    config = from_mapping(ObjectiveConfig, {"depth_aware": {}, "focal_semantic": {}})
    settings = {"semantics": "nyu13", "lateral_gradient": False}
    model = create_model("look_deeper", {**SIZE, **settings, "backbone": "mobilenet_v2"})
    maps = batch()
    maps[missing] = torch.full_like(maps[missing], -1 if missing == "labels" else torch.nan)
    terms = weighted_losses(config, model, model.training_outputs(maps["image"]), maps)
    assert set(terms) == {left}
    sum(terms.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    frozen = [name for name in gradients if name.startswith(still)]
    assert frozen and all(gradients[name] is None for name in frozen)
    assert all(gradients[n] is not None for n in gradients if n.startswith("encoder"))


def test_images_without_any_truth_give_zero():
    config = from_mapping(ObjectiveConfig, {"silog": {}})
    model = create_model("pwa", {**SIZE, "patch_size": 32})
    maps = batch()
    maps["depth_m"] = torch.full_like(maps["depth_m"], torch.nan)
    terms = weighted_losses(config, model, model.training_outputs(maps["image"]), maps)
    assert terms["silog"].item() == 0.0


def test_what_is_learnt_decides_what_is_best():
    read = {name: from_mapping(ObjectiveConfig, {name: {}}) for name in FUNCTIONS}
    assert [name for name, config in read.items() if not config.learns_depth] == ["focal_semantic"]


def test_weights_multiply():
    model = create_model("pwa", {**SIZE, "patch_size": 32}).eval()
    maps = batch()
    outputs = {"depth_m": torch.full_like(maps["depth_m"], 3.0)}
    once = weighted_losses(from_mapping(ObjectiveConfig, {"silog": {}}), model, outputs, maps)
    thrice = weighted_losses(
        from_mapping(ObjectiveConfig, {"silog": {"weight": 3.0}}), model, outputs, maps
    )
    assert thrice["silog"].item() == pytest.approx(3.0 * once["silog"].item())
    expected = losses.scale_invariant_log(outputs["depth_m"], maps["depth_m"])
    assert once["silog"].item() == expected.item()


def test_a_loss_the_network_cannot_serve_is_refused():
    model = create_model("pwa", {**SIZE, "patch_size": 32})
    config = from_mapping(ObjectiveConfig, {"ordinal": {}})
    maps = batch()
    with pytest.raises(ConfigError, match=r"loss\.ordinal needs ordinal_logits"):
        weighted_losses(config, model, {"depth_m": maps["depth_m"]}, maps)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"berhu": {"fraction": 0.0}}, "fraction must lie in"),
        ({"focal_semantic": {"gamma": 0.5}}, "gamma must be from 1 up"),
        ({"focal_semantic": {"alpha": -1.0}}, "alpha must be from 0 up"),
        ({"silog": {"variance_focus": 1.5}}, "variance_focus must be from 0 to 1"),
        ({"silog": {"weight": -1.0}}, "weight must be from 0 up"),
        ({"silog": {"weight": float("inf")}}, "weight must be from 0 up"),
        ({"silog": {"factor": float("nan")}}, "factor is NaN"),
        ({"cross_entropy": {"kind": "binary"}}, "choose from plain, per_class"),
    ],
)
def test_settings_without_meaning_are_refused(sections, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(ObjectiveConfig, sections)


def test_a_recipe_without_a_loss_is_refused():
    with pytest.raises(ConfigError, match="silog, ordinal"):
        ObjectiveConfig()
