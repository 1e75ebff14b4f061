"""Backbones behind one interface: five feature maps at strides 2, 4, 8, 16, 32.

Torchvision's modules keep torchvision's parameter names, so its weight files load into them.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from typing import Literal, get_args

from torch import Tensor, nn
from torchvision import models as torchvision_models
from torchvision.models import DenseNet, MobileNetV2, ResNet
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import Bottleneck

from mono_depth_ros.errors import ConfigError

BackboneName = Literal[
    "resnet50",
    "resnet101",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "densenet121",
    "densenet161",
    "mobilenet_v2",
]
BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
OutputStride = Literal[8, 32]

STRIDES = (2, 4, 8, 16, 32)

# Modules of each stage, by torchvision's names. DenseNet: as in BTS, each map is taken after the
# transition that halves it, and the last after its norm. MobileNetV2: where stages end, each after
# the last block of its resolution; the 1280-channel convolution beyond is a classifier's.
_RESNET_STAGES = (
    ("conv1", "bn1", "relu"),
    ("maxpool", "layer1"),
    ("layer2",),
    ("layer3",),
    ("layer4",),
)
_DENSENET_STAGES = (
    ("conv0", "norm0", "relu0"),
    ("pool0",),
    ("denseblock1", "transition1"),
    ("denseblock2", "transition2"),
    ("denseblock3", "transition3", "denseblock4", "norm5"),
)
_MOBILENET_V2_ENDS = (0, 2, 4, 7, 14, 18)

# Of the last norm of residual branches in fresh networks.
_BRANCH_SCALE = 0.2


class Encoder(nn.Module):
    """A backbone as five stages; `channels[i]` is the depth of the map at stride `strides[i]`."""

    def __init__(
        self,
        stages: list[nn.Sequential],
        channels: tuple[int, ...],
        strides: tuple[int, ...] = STRIDES,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.strides = strides

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return five maps (B, channels[i], h / strides[i], w / strides[i]).

        The largest stride must divide h and w.
        """
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features


def make_encoder(
    backbone: BackboneName, width: float = 1.0, output_stride: OutputStride = 32
) -> Encoder:
    """Build a backbone with fresh weights.

    With `output_stride` 8 the last two stages keep the resolution of the third, as ACAN asks for:
    their strides become 1 and every 3x3 convolution in them, the first included, is dilated by 2
    and by 4. (Torchvision's own option leaves the first block of a stage at the dilation before.)
    The same rule holds for all families: DenseNet loses the pooling of its last two transitions,
    MobileNetV2 the stride of its last two downsampling blocks. Weights fit either form.

    Args:
        backbone: key of the networks' `backbone` setting.
        width: multiplier of every layer's channels, rounded to eights; MobileNetV2 only.
        output_stride: stride of the last map.

    Raises:
        ConfigError: the backbone is unknown, or has one width only.
    """
    if backbone not in BACKBONES:
        raise ConfigError(f"no backbone {backbone!r}; choose from {', '.join(BACKBONES)}")
    if width != 1.0 and backbone != "mobilenet_v2":
        raise ConfigError(
            f"backbone_width is {width}, but {backbone} has width 1 only; set it to 1"
        )
    if width <= 0.0:
        raise ConfigError(f"backbone_width must be positive, got {width}")
    settings = {"width_mult": width} if backbone == "mobilenet_v2" else {}
    classifier = getattr(torchvision_models, backbone)(weights=None, **settings)
    _quieten_residual_branches(classifier)
    stages, channels = _split(classifier)
    if output_stride == 8:
        _dilate(classifier, stages)
        return Encoder(stages, channels, (2, 4, 8, 8, 8))
    return Encoder(stages, channels)


def _split(classifier: nn.Module) -> tuple[list[nn.Sequential], tuple[int, ...]]:
    """Return the five stages of a torchvision classifier and their output channels."""
    if isinstance(classifier, ResNet):
        stages = [_pick(classifier, names) for names in _RESNET_STAGES]
        layers = (classifier.layer1, classifier.layer2, classifier.layer3, classifier.layer4)
        return stages, (
            classifier.bn1.num_features,
            *(layer[-1].bn3.num_features for layer in layers),
        )
    if isinstance(classifier, DenseNet):
        stages = [_pick(classifier.features, names) for names in _DENSENET_STAGES]
        # Torchvision applies this one as a function.
        stages[-1].add_module("relu5", nn.ReLU(inplace=True))
        first = classifier.features.norm0.num_features
        transitions = (classifier.features.transition1, classifier.features.transition2)
        return stages, (
            first,
            first,
            *(transition.conv.out_channels for transition in transitions),
            classifier.features.norm5.num_features,
        )
    assert isinstance(classifier, MobileNetV2)
    layers = classifier.features
    stages = [layers[first:end] for first, end in pairwise(_MOBILENET_V2_ENDS)]
    return stages, tuple(layers[end - 1].out_channels for end in _MOBILENET_V2_ENDS[1:])


def _pick(owner: nn.Module, names: tuple[str, ...]) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, owner.get_submodule(name)) for name in names))


def _quieten_residual_branches(classifier: nn.Module) -> None:
    """Start residual blocks close to the identity: the last norm of a branch scales by 0.2.

    As Goyal et al. 2017, section 5.1, who start at 0, where the branch itself has no gradient.
    Random trunks then train faster, and their activations do not grow from block to block, which
    would make half precision useless before training.
    """
    for block in classifier.modules():
        if isinstance(block, Bottleneck):
            nn.init.constant_(block.bn3.weight, _BRANCH_SCALE)
        elif isinstance(block, InvertedResidual) and block.use_res_connect:
            nn.init.constant_(block.conv[-1].weight, _BRANCH_SCALE)


def _dilate(classifier: nn.Module, stages: list[nn.Sequential]) -> None:
    """Keep stride 8 from the third stage on."""
    if isinstance(classifier, DenseNet):
        blocks = classifier.features
        blocks.transition2.pool = blocks.transition3.pool = nn.Identity()
        parts = ((blocks.denseblock3, 2), (blocks.denseblock4, 4))
    else:
        parts = ((stages[3], 2), (stages[4], 4))
    for part, dilation in parts:
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d):
                layer.stride = (1, 1)
                if layer.kernel_size == (3, 3):
                    layer.dilation = layer.padding = (dilation, dilation)
