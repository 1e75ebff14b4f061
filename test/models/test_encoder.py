"""Backbones against torchvision's own forward, their dilated form, and pretrained weight files."""

from __future__ import annotations

import re
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models as torchvision_models
from torchvision.models import get_model_weights

from mono_depth_ros.errors import CheckpointError, ConfigError
from mono_depth_ros.models import create_model
from mono_depth_ros.models.backbone_weights import load_backbone_weights
from mono_depth_ros.models.encoder import BACKBONES, make_encoder

CHANNELS = {
    "resnet50": (64, 256, 512, 1024, 2048),
    "resnet101": (64, 256, 512, 1024, 2048),
    "resnext50_32x4d": (64, 256, 512, 1024, 2048),
    "resnext101_32x8d": (64, 256, 512, 1024, 2048),
    "densenet121": (64, 64, 128, 256, 1024),
    "densenet161": (96, 96, 192, 384, 2208),
    "mobilenet_v2": (16, 24, 32, 96, 320),
}
# Smallest of each family.
FAMILIES = ("resnet50", "densenet121", "mobilenet_v2")


def torchvision_map(classifier: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """The last map before pooling, in torchvision's own words."""
    if hasattr(classifier, "layer4"):
        x = classifier.maxpool(classifier.relu(classifier.bn1(classifier.conv1(image))))
        return classifier.layer4(classifier.layer3(classifier.layer2(classifier.layer1(x))))
    if hasattr(classifier.features, "denseblock4"):
        return classifier.features(image).relu()
    return classifier.features[:18](image)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(
    ("output_stride", "strides"), [(32, (2, 4, 8, 16, 32)), (8, (2, 4, 8, 8, 8))]
)
def test_maps_have_the_channels_and_strides_they_declare(backbone, output_stride, strides):
    with torch.device("meta"):
        encoder = make_encoder(backbone, output_stride=output_stride)
        maps = encoder(torch.rand(1, 3, 64, 96))
    assert encoder.channels == CHANNELS[backbone]
    assert encoder.strides == strides
    for features, channels, stride in zip(maps, encoder.channels, strides, strict=True):
        assert features.shape == (1, channels, 64 // stride, 96 // stride)


@pytest.mark.parametrize("backbone", FAMILIES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_weight_file_of_torchvision_gives_torchvisions_features(backbone, suffix, tmp_path):
    torch.manual_seed(4)
    classifier = getattr(torchvision_models, backbone)(weights=None).eval()
    path = tmp_path / f"weights{suffix}"
    save_file(classifier.state_dict(), path) if suffix == ".safetensors" else torch.save(
        classifier.state_dict(), path
    )
    encoder = make_encoder(backbone).eval()
    load_backbone_weights(encoder, backbone, str(path))
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(
            encoder(image)[-1], torchvision_map(classifier, image), rtol=0, atol=0
        )


def test_densenet_files_of_old_releases_load(tmp_path):
    """Torchvision's own weights of DenseNet: dotted names, batches not counted."""
    classifier = torchvision_models.densenet121(weights=None)
    state = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in classifier.state_dict().items()
        if not key.endswith(".num_batches_tracked")
    }
    assert any(".norm.1." in key for key in state)
    torch.save(state, tmp_path / "old.pth")
    encoder = make_encoder("densenet121")
    load_backbone_weights(encoder, "densenet121", str(tmp_path / "old.pth"))
    expected = classifier.features.denseblock1.denselayer1.conv2.weight
    assert torch.equal(
        encoder.state_dict()["stages.2.denseblock1.denselayer1.conv2.weight"], expected
    )


@pytest.mark.parametrize("backbone", FAMILIES)
def test_dilated_weights_are_those_of_the_plain_network(backbone):
    """Same names and shapes, so ImageNet weights load either way."""
    plain, dilated = make_encoder(backbone), make_encoder(backbone, output_stride=8)
    dilated.load_state_dict(plain.state_dict())


def test_every_3x3_convolution_of_the_last_stages_is_dilated_as_in_acan():
    """layer3 by 2 and layer4 by 4, their first blocks included, and no stride left."""
    for backbone, blocks in (("resnet50", (6, 3)), ("resnet101", (23, 3))):
        with torch.device("meta"):
            stages = make_encoder(backbone, output_stride=8).stages
        for stage, count, dilation in zip(stages[3:], blocks, (2, 4), strict=True):
            convolutions = [m for m in stage.modules() if isinstance(m, nn.Conv2d)]
            spatial = [m for m in convolutions if m.kernel_size == (3, 3)]
            assert len(spatial) == count
            assert (
                {m.dilation for m in spatial} == {m.padding for m in spatial} == {(dilation,) * 2}
            )
            assert {m.stride for m in convolutions} == {(1, 1)}


def test_width_is_mobilenets_alone():
    assert make_encoder("mobilenet_v2", 0.5).channels == (8, 16, 16, 48, 160)
    with pytest.raises(ConfigError, match="width 1 only"):
        make_encoder("resnet50", 0.5)
    with pytest.raises(ConfigError, match="resnet50, resnet101"):
        make_encoder("vgg16")


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize(("source", "name"), [("imagenet", "V1"), ("imagenet_v2", "V2")])
def test_each_setting_asks_for_its_own_weights(backbone, source, name, monkeypatch):
    """The papers had the first ones, torchvision's default is the second where there are two."""
    calls = []

    def get_state_dict(self, *args, **kwargs):
        calls.append(self)
        raise URLError("not needed")

    weights = get_model_weights(backbone)
    monkeypatch.setattr(weights, "get_state_dict", get_state_dict)
    with torch.device("meta"):
        encoder = make_encoder(backbone)
    if backbone.startswith("densenet") and name == "V2":
        with pytest.raises(ConfigError, match=r"no IMAGENET1K_V2 weights.* imagenet$"):
            load_backbone_weights(encoder, backbone, source)
        assert not calls
        return
    with pytest.raises(CheckpointError):
        load_backbone_weights(encoder, backbone, source)
    assert calls == [weights[f"IMAGENET1K_{name}"]]


def test_imagenet_weights_come_from_torchvisions_api(monkeypatch):
    """The first weights of the backbone are asked for, with their hash checked."""
    classifier = torchvision_models.mobilenet_v2(weights=None)
    calls = []

    def get_state_dict(self, *args, **kwargs):
        calls.append((self, kwargs))
        return classifier.state_dict()

    weights = get_model_weights("mobilenet_v2")
    monkeypatch.setattr(weights, "get_state_dict", get_state_dict)
    settings = {"image_size": {"height": 64, "width": 96}}
    network = create_model("pwa", settings, backbone_weights="imagenet")
    assert calls == [(weights.IMAGENET1K_V1, {"progress": True, "check_hash": True})]
    first = network.encoder.state_dict()["stages.0.0.0.weight"]
    assert torch.equal(first, classifier.features[0][0].weight)


def test_without_a_connection_the_error_says_what_to_do(monkeypatch):
    def get_state_dict(self, *args, **kwargs):
        raise URLError("Name or service not known")

    monkeypatch.setattr(get_model_weights("resnet50"), "get_state_dict", get_state_dict)
    with pytest.raises(CheckpointError) as caught:
        load_backbone_weights(make_encoder("resnet50"), "resnet50", "imagenet")
    message = str(caught.value)
    for advice in ("resnet50-", "checkpoints", "backbone_weights: PATH", "backbone_weights: none"):
        assert advice in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no backbone weights at"),
        (
            {"conv1.weight": torch.zeros(64, 3, 7, 7)},
            r"lack 264 of 318 tensors, for example bn1\.bias",
        ),
        ({"epoch": 3}, "holds no state dict"),
        (b"not a zip file", "no readable state dict"),
    ],
)
def test_files_that_do_not_fit_are_refused(content, message, tmp_path):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with torch.device("meta"):
        encoder = make_encoder("resnet50")
    with pytest.raises(CheckpointError, match=message):
        load_backbone_weights(encoder, "resnet50", str(path))


def test_weights_of_another_backbone_are_refused(tmp_path):
    """ResNeXt50 has ResNet50's names, but not its shapes."""
    torch.save(torchvision_models.resnext50_32x4d(weights=None).state_dict(), tmp_path / "x.pth")
    with pytest.raises(CheckpointError) as caught:
        load_backbone_weights(make_encoder("resnet50"), "resnet50", str(tmp_path / "x.pth"))
    assert re.search(
        r"do not fit resnet50: \d+ of 318 tensors have another shape, the first is "
        r"layer1\.0\.conv1\.weight with \(128, 64, 1, 1\) in place of \(64, 64, 1, 1\)$",
        str(caught.value),
    )


@pytest.mark.parametrize("source", ["imagenet", "weights.pth"])
def test_weights_for_a_narrow_backbone_are_refused_before_they_are_read(source, monkeypatch):
    def get_state_dict(self, *args, **kwargs):
        raise AssertionError("nothing may be downloaded")

    monkeypatch.setattr(get_model_weights("mobilenet_v2"), "get_state_dict", get_state_dict)
    with pytest.raises(ConfigError) as caught:
        create_model("hma", {"backbone": "mobilenet_v2", "backbone_width": 0.75}, source)
    message = str(caught.value)
    assert "set backbone_width: 1.0 or backbone_weights: none" in message and len(message) < 200
