"""Every recipe and every row of a study: loaded, built as written, and stepped once in small.

The small form has MobileNetV2 and narrow layers at 64x96. The optimiser is made for the network as
written too, since its groups and frozen names are those of that network.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache

import pytest
import torch

from mono_depth_ros.config import from_mapping
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import ImageSize
from training.config import CHECKOUT, TrainConfig, load_network_preset, load_train_config
from training.loop import make_optimizer, set_learning_rate, take_step
from training.objective import weighted_losses
from training.studies import load_studies, recipe_at, study_recipe
from training.transforms import Sample, apply, read_transforms, with_size
from training.view import View, ViewConfig

FOLDER = CHECKOUT / "config" / "training"
RECIPES = {
    path.relative_to(FOLDER).with_suffix("").as_posix(): load_train_config(path)
    for path in sorted(FOLDER.rglob("*.yaml"))
}
OF_PAPERS = [name for name, config in RECIPES.items() if config.data.prepared]
STUDIES = load_studies()
ROWS = [(name, row.key) for name, study in STUDIES.items() for row in study.rows]

HEIGHT, WIDTH = 64, 96
SMALL = {
    "backbone": "mobilenet_v2",
    "backbone_width": 0.25,
    "image_size": {"height": HEIGHT, "width": WIDTH},
}
# Widths only: what a row of a study is about stays as it is.
NARROW = {
    "pwa": {"decoder_channels": [16, 16, 16, 8, 8], "aspp_bottleneck": 16, "aspp_growth": 8},
    "hma": {"num_features": 32, "head_channels": 8, "attention_channels": 8},
    "acan": {"key_channels": 16, "value_channels": 32, "context_channels": 16},
    "asc_gcm": {"decoder_channels": [32, 16, 16, 8, 8], "gcm_hidden": 16, "context_grid": [2, 3]},
    "look_deeper": {"bottleneck": 32, "decoder_channels": [32, 16, 16, 8]},
    "hgc": {"decoder_channels": [16, 16, 8, 8], "head_channels": 8, "context_grid": [2, 3]},
}


def small_settings(config):
    preset = load_network_preset(config.network)
    settings = {**preset.settings, **config.network_settings, **NARROW[preset.network], **SMALL}
    if settings.get("skip_fusion") == "add":
        settings["decoder_channels"] = None  # the encoder's widths
    return preset.network, json.dumps(settings, sort_keys=True)


def a_batch(network):
    """Two images with holes in depth and, where the network has classes, in labels."""
    source = torch.Generator().manual_seed(0)
    shape = (2, 1, HEIGHT, WIDTH)
    depth_m = network.max_depth_m * (0.1 + 0.8 * torch.rand(shape, generator=source))
    depth_m[torch.rand(shape, generator=source) < 0.3] = math.nan
    classes = len(network.class_names) or 1
    labels = torch.randint(-1, classes, (2, HEIGHT, WIDTH), generator=source)
    image = torch.rand((2, 3, HEIGHT, WIDTH), generator=source)
    return image, {"depth_m": depth_m, "labels": labels}


@cache
def step_once(network_name, settings, losses, optimizing):
    """Take the first step; return its loss and the parameters that changed.

    Rows that differ in the backbone alone are one in small.
    """
    torch.manual_seed(0)
    network = create_model(network_name, json.loads(settings)).train()
    optimizer = make_optimizer(network, optimizing)
    set_learning_rate(optimizer, optimizing, step=0, steps=100)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    image, truth = a_batch(network)

    def loss():
        outputs = network.training_outputs(image)
        return sum(weighted_losses(losses, network, outputs, truth).values())

    scaler = torch.amp.GradScaler("cpu", enabled=False)
    value = take_step(network, optimizer, scaler, [loss], optimizing.clip_norm)
    after = network.named_parameters()
    return value, {name for name, now in after if not torch.equal(now, before[name])}


def assert_steps(config):
    # The frozen names are those of the backbone as written.
    optimizing = replace(config.optimizer, frozen=())
    value, changed = step_once(*small_settings(config), config.loss, optimizing)
    assert value is not None and value > 0.0
    assert {name.startswith("encoder.") for name in changed} == {True, False}


@cache
def build_as_written(network, settings, optimizer):
    """Build without memory, and give its parameters to the optimiser; rows often share both."""
    with torch.device("meta"):
        made = create_model(network, json.loads(settings))
    make_optimizer(made, optimizer)
    return made


def as_written(config):
    preset = load_network_preset(config.network)
    settings = {**preset.settings, **config.network_settings}
    return build_as_written(preset.network, json.dumps(settings, sort_keys=True), config.optimizer)


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_builds_and_steps(name):
    config = RECIPES[name]
    assert config.name == name.replace("/", "_")
    as_written(config)
    assert_steps(config)


@pytest.mark.parametrize(("name", "key"), ROWS, ids=["-".join(row) for row in ROWS])
def test_row_builds_and_steps(name, key):
    study, row = STUDIES[name], STUDIES[name].row(key)
    first, *others = (
        from_mapping(TrainConfig, study_recipe(study, row, dataset))
        for dataset in row.recipes or study.recipes
    )
    assert_steps(first)
    # Data sets differ in sizes and ranges, which the small form does not show.
    for config in (first, *others):
        as_written(config)


def frozen(config):
    """Return the names that a recipe's optimiser leaves alone, as written."""
    return {name for name, p in as_written(config).named_parameters() if not p.requires_grad}


class TestFrozen:
    """HMA-Depth freezes the first convolution and the weights of norms, but for shortcuts'."""

    @pytest.mark.parametrize("dataset", ["nyu", "kitti"])
    def test_of_resnet50(self, dataset):
        names = frozen(RECIPES[f"hma_{dataset}"])
        # Weight and bias of the stem's norm and of three in each of 16 blocks.
        assert len(names) == 1 + 2 * (1 + 3 * 16)
        assert "encoder.stages.0.conv1.weight" in names
        assert not any("downsample" in name for name in names)

    def test_of_densenet161(self):
        config = from_mapping(TrainConfig, recipe_at("hma_backbones/densenet161/kitti"))
        # Norms: the stem's, two in each of 6 + 12 + 36 + 24 layers, three transitions', the last.
        assert len(frozen(config)) == 1 + 2 * (1 + 2 * 78 + 3 + 1)

    def test_of_all_others(self):
        assert not any(
            config.optimizer.frozen
            for name, config in RECIPES.items()
            if not name.startswith("hma")
        )


def learning_rates(name):
    """Return parameter → rate at the first step."""
    config = RECIPES[name]
    network = as_written(config)
    optimizer = make_optimizer(network, config.optimizer)
    set_learning_rate(optimizer, config.optimizer, step=0, steps=100)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    return {name: rates[id(p)] for name, p in network.named_parameters() if id(p) in rates}


class TestGroups:
    def test_decoder_of_acan_learns_faster_and_its_biases_fastest(self):
        rates = learning_rates("acan_nyu")
        assert rates["encoder.stages.4.layer4.0.conv1.weight"] == pytest.approx(2e-4)
        assert rates["encoder.stages.4.layer4.0.bn1.bias"] == pytest.approx(2e-4)
        assert rates["classifier.weight"] == pytest.approx(2e-3)
        assert rates["classifier.bias"] == pytest.approx(4e-3)

    def test_last_semantic_layer_outdoors(self):
        rates = learning_rates("look_deeper_streets")
        fast = {name for name, rate in rates.items() if rate == pytest.approx(1e-2)}
        assert fast == {"decoder.semantic.head.weight", "decoder.semantic.head.bias"}
        assert {rate for name, rate in rates.items() if name not in fast} == {1e-4}

    def test_decay_of_hma_is_the_encoders(self):
        config = RECIPES["hma_nyu"]
        network = as_written(config)
        optimizer = make_optimizer(network, config.optimizer)
        decays = {
            id(p): group["weight_decay"]
            for group in optimizer.param_groups
            for p in group["params"]
        }
        for name, parameter in network.named_parameters():
            if parameter.requires_grad and parameter.ndim > 1:
                assert decays[id(parameter)] == (0.01 if name.startswith("encoder.") else 0.0)


# Of the papers and, where they are silent, the authors' code: epochs, batch size, algorithm,
# learning rate, power, final share, weight decay.
PRINTED = {
    "pwa_nyu": (10, 8, "adam", 5e-4, 0.9, 0.0, 0.0),
    "pwa_kitti": (10, 16, "adam", 5e-4, 0.9, 0.0, 0.0),
    "pwa_kitti_benchmark": (10, 16, "adam", 1e-4, 0.9, 0.0, 0.0),
    "hma_nyu": (50, 16, "adamw", 1e-4, 0.9, 0.1, 0.0),
    "hma_kitti": (50, 16, "adamw", 1e-4, 0.9, 0.1, 0.0),
    "acan_nyu": (50, 8, "sgd", 2e-4, 0.9, 0.0, 5e-4),
    "acan_kitti": (50, 8, "sgd", 2e-4, 0.9, 0.0, 5e-4),
    "acan_nyu_attention": (10, 8, "sgd", 2e-5, 0.9, 0.0, 5e-4),
    "acan_kitti_attention": (10, 8, "sgd", 2e-5, 0.9, 0.0, 5e-4),
    "asc_gcm_nyu": (40, 4, "adam", 1e-4, 0.9, 0.0, 0.0),
    "asc_gcm_kitti": (40, 4, "adam", 1e-4, 0.9, 0.0, 0.0),
    "look_deeper_nyu": (80, 8, "adam", 1e-4, 0.9, 0.0, 1e-4),
    "look_deeper_streets": (80, 8, "adam", 1e-4, 0.9, 0.0, 1e-4),
}


def test_recipes_of_the_papers_have_their_settings():
    assert set(OF_PAPERS) == set(PRINTED)
    for name, expected in PRINTED.items():
        config = RECIPES[name]
        optimizer = config.optimizer
        assert expected == (
            config.epochs,
            config.batch_size,
            optimizer.algorithm,
            optimizer.learning_rate,
            optimizer.power,
            optimizer.final_rate,
            optimizer.weight_decay,
        ), name


# Sizes, height x width: of the frame, of what training gives the network, of what tests give it.
NYU, KITTI, CITYSCAPES = (480, 640), (375, 1242), (1024, 2048)
SIZES = [
    ("pwa_nyu", NYU, NYU, NYU),
    ("pwa_kitti", KITTI, (352, 1216), (352, 1216)),
    ("pwa_kitti_benchmark", KITTI, (352, 1216), (352, 1216)),
    ("pwa_kitti_benchmark", (352, 1216), (352, 1216), (352, 1216)),
    ("hma_nyu", NYU, (416, 544), NYU),
    ("hma_kitti", KITTI, (352, 704), (352, 1216)),
    ("acan_nyu", NYU, (256, 352), (288, 384)),
    ("acan_nyu_attention", NYU, (256, 352), (288, 384)),
    ("acan_kitti", KITTI, (160, 512), (160, 512)),
    ("acan_kitti_attention", KITTI, (160, 512), (160, 512)),
    ("asc_gcm_nyu", NYU, (448, 576), NYU),
    ("asc_gcm_kitti", KITTI, (352, 704), (352, 1216)),
    ("look_deeper_nyu", NYU, (240, 320), (240, 320)),
    ("look_deeper_streets", KITTI, (256, 512), (256, 512)),
    ("look_deeper_streets", CITYSCAPES, (256, 512), (256, 512)),
]


@pytest.mark.parametrize(("name", "frame", "training", "testing"), SIZES)
def test_images_have_the_papers_sizes(name, frame, training, testing):
    config = RECIPES[name]
    height, width = frame
    size = as_written(config).config.image_size
    sample = Sample(
        image=torch.zeros(3, height, width, dtype=torch.uint8),
        depth_m=torch.ones(1, height, width),
        labels=torch.zeros(1, height, width, dtype=torch.int16),
        camera=Intrinsics(700.0, 700.0, width / 2, height / 2, width, height),
    )
    transforms = with_size(read_transforms(config.augmentation), size)
    for seed in range(2):
        changed = apply(transforms, sample, torch.Generator().manual_seed(seed))
        assert changed.image.shape[-2:] == training
        assert changed.depth_m.isfinite().float().mean() > 0.8
    view = View.fit(config.view or ViewConfig(size=size), ImageSize(height, width))
    assert view.size == ImageSize(*testing)
    required = as_written(config).required_size
    assert required is None or view.size == required == ImageSize(*training)


def test_every_size_is_of_a_recipe_for_a_data_set():
    assert {name for name, *_ in SIZES} == set(OF_PAPERS)


def test_no_recipe_learns_from_test_images():
    for name in OF_PAPERS:
        for part in RECIPES[name].data.prepared:
            splits = {part.train, part.validation}
            assert len(splits) == 2 and not any("test" in split for split in splits)
