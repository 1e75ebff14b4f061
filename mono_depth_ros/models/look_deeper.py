"""Look Deeper into Depth: semantic booster and attention-driven loss (ECCV 2018).

Encoder without skips, two decoder branches for depth and semantics that lend each other their maps
through lateral sharing units, up-skips from every decoder scale to the prediction.

Built from the supplement (section 3, Table 3); the authors published no code. Where it is silent
this file decides:

* conv2 is a 1x1 convolution, batch norm, ReLU; an up-convolution is bilinear enlargement by two,
  3x3 convolution, batch norm, ReLU; predictions are 3x3 convolutions.
* The up-skip h is a 1x1 convolution to the last decoder width, then bilinear enlargement. It reads
  maps before the lateral sharing, as Table 3 prints.
* The scalars of the lateral sharing units start at 0 (own branch) and 0.1 (other branch).
* Logits are enlarged bilinearly to the image; depth is the sigmoid of them times the largest depth.
* Images are zero-padded evenly, after normalisation, to a multiple of 32 and the answer is cropped.
* The shared attention map is conv2's, "near the network bottleneck".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.attention import enlarge
from mono_depth_ros.models.base import DepthNetwork, ImageSize, NetworkSettings
from mono_depth_ros.models.blocks import (
    RANGE_MARGIN,
    Window,
    at_least_float32,
    conv_bn_relu,
    depth_from_logits,
    pad_to_multiple,
)
from mono_depth_ros.models.encoder import STRIDES, BackboneName, make_encoder
from mono_depth_ros.models.semantic_classes import Semantics, class_names
from mono_depth_ros.models.sharing import (
    LAYERS_PER_TASK,
    BranchOut,
    Cascaded,
    Decoded,
    MergeIn,
    prediction,
    up_conv,
)

Structure = Literal["synergy", "single", "fine_tuned", "cascaded", "merge_in", "branch_out"]

NYU_SIZE = ImageSize(240, 320)


@dataclass(frozen=True, slots=True)
class LookDeeperConfig(NetworkSettings):
    """Settings of Look Deeper; the defaults are the paper's 40-class network on NYU Depth V2.

    The outdoor network of the supplement's section 8 has `semantics` cityscapes with two
    `extra_classes`, 256x512 images, and `lateral_gradient` off.

    Attributes:
        image_size: 240x320 on NYU is recalled from the main paper; the supplement has 256x512
            outdoors.
        backbone: the paper has ResNet50 only.
        semantics: class set of the semantic branch, see `semantic_classes`; `none` leaves the depth
            branch alone (Table 7). The paper has 4, 40 and, outdoors, 21 classes.
        extra_classes: values of Cityscapes beyond its 19 that are classes too; 2 give the paper's
            21.
        structure: `synergy` is the paper's network; the others are the study of its section 2, see
            `sharing`.
        lateral_sharing: lateral sharing units between the branches; `synergy` with semantics only.
        lsu_intra_init: start of the scalars on a branch's own map, beside the identity.
        lsu_cross_init: start of the scalars on the other branch's map.
        lateral_gradient: let the loss of one task flow through the units into the other branch.
            Off, with losses that are 0 where a target is missing, each sample leaves the branch
            without a target alone: the frozen branches of the outdoor recipe. The common layers
            and the units learn from every sample.
        up_skip: predict from all decoder scales, not from the last alone; `synergy` only.
        cascade_order: task that comes first in `cascaded`.
        split_depth: number of common layers in `branch_out` (4 had the best depth in Table 2), of
            separate ones in `merge_in`.
        bottleneck: width of conv2.
        decoder_channels: widths of the four up-convolutions.
        depth_activation: `sigmoid` times the largest depth, or `softplus`, clamped there.
        pad_to_stride: pad images to a multiple of 32. Off, the encoder rounds 240 rows up to 8
            and the last enlargement squeezes 256 to 240.
    """

    image_size: ImageSize = NYU_SIZE
    backbone: BackboneName = "resnet50"
    semantics: Semantics = "nyu40"
    extra_classes: int = 0
    structure: Structure = "synergy"
    lateral_sharing: bool = True
    lsu_intra_init: float = 0.0
    lsu_cross_init: float = 0.1
    lateral_gradient: bool = True
    up_skip: bool = True
    cascade_order: Literal["depth_first", "semantics_first"] = "depth_first"
    split_depth: int = 4
    bottleneck: int = 1024
    decoder_channels: tuple[int, ...] = (512, 256, 128, 64)
    depth_activation: Literal["sigmoid", "softplus"] = "sigmoid"
    pad_to_stride: bool = True

    def __post_init__(self) -> None:
        NetworkSettings.__post_init__(self)
        class_names(self.semantics, self.extra_classes)
        if len(self.decoder_channels) != 4 or min(*self.decoder_channels, self.bottleneck) < 1:
            raise ConfigError(
                f"decoder_channels is {self.decoder_channels}, bottleneck {self.bottleneck}; "
                "set four positive widths and one"
            )
        most = LAYERS_PER_TASK - (self.structure == "merge_in")
        if not 1 <= self.split_depth <= most:
            raise ConfigError(
                f"split_depth is {self.split_depth}; with structure {self.structure} "
                f"choose 1 to {most}"
            )
        if self.structure == "single" and self.semantics != "none":
            raise ConfigError(
                f"structure single predicts depth alone, but semantics is {self.semantics}; "
                "set semantics to none"
            )
        if self.structure not in ("synergy", "single") and self.semantics == "none":
            raise ConfigError(
                f"structure {self.structure} needs two tasks, but semantics is none; "
                "choose a class set, or structure single"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the semantic classes in the order of the logits."""
        return class_names(self.semantics, self.extra_classes)


class LateralSharingUnit(nn.Module):
    """Mix the maps of the two branches at one scale (supplement, Table 3).

    depth' = (1 + phi_D) depth + phi_S semantic; semantic' = (1 + gamma_S) semantic + gamma_D depth.
    Both read the maps before mixing; the four weights are scalars.
    """

    def __init__(self, intra_init: float, cross_init: float, gradient: bool) -> None:
        super().__init__()
        self.gradient = gradient
        self.phi_depth = nn.Parameter(torch.tensor(intra_init))
        self.phi_semantic = nn.Parameter(torch.tensor(cross_init))
        self.gamma_semantic = nn.Parameter(torch.tensor(intra_init))
        self.gamma_depth = nn.Parameter(torch.tensor(cross_init))

    def forward(self, depth: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
        """Two maps (B, C, h, w) → two maps (B, C, h, w)."""
        lent_depth = depth if self.gradient else depth.detach()
        lent_semantic = semantic if self.gradient else semantic.detach()
        return (
            (1.0 + self.phi_depth) * depth + self.phi_semantic * lent_semantic,
            (1.0 + self.gamma_semantic) * semantic + self.gamma_depth * lent_depth,
        )


class TaskBranch(nn.Module):
    """Four up-convolutions and the prediction of one task.

    Args:
        inputs: width of conv2.
        widths: of the up-convolutions.
        outputs: channels of the prediction.
        up_skip: add all maps, brought to the last width and scale, before the prediction.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...], outputs: int, up_skip: bool) -> None:
        super().__init__()
        before = (inputs, *widths[:-1])
        self.up = nn.ModuleList(up_conv(i, o) for i, o in zip(before, widths, strict=True))
        skips = (nn.Conv2d(i, widths[-1], 1) for i in before) if up_skip else ()
        self.skips = nn.ModuleList(skips)
        self.head = prediction(widths[-1], outputs)

    def predict(self, maps: list[Tensor]) -> Tensor:
        """Maps before lateral sharing, conv2 and the four up-convolutions → logits (B, O, h, w)."""
        *earlier, last = maps
        if self.skips:
            for skip, features in zip(self.skips, earlier, strict=True):
                last = last + enlarge(skip(features), last.shape[-2:], "bilinear")
        return self.head(last)


class Synergy(nn.Module):
    """Depth and semantic branch side by side (supplement, Table 3)."""

    def __init__(self, inputs: int, config: LookDeeperConfig) -> None:
        super().__init__()

        def branch(outputs: int) -> TaskBranch:
            return TaskBranch(config.bottleneck, config.decoder_channels, outputs, config.up_skip)

        classes = len(config.class_names)
        self.conv2 = conv_bn_relu(inputs, config.bottleneck, 1)
        self.depth = branch(1)
        self.semantic = branch(classes) if classes else None
        units = len(config.decoder_channels) - 1 if classes and config.lateral_sharing else 0
        self.sharing = nn.ModuleList(
            LateralSharingUnit(
                config.lsu_intra_init, config.lsu_cross_init, config.lateral_gradient
            )
            for _ in range(units)
        )

    def forward(self, deepest: Tensor, depth_only: bool = False) -> Decoded:
        """(B, inputs, h, w) → logits at 16 times that scale.

        With `depth_only` the semantic branch runs as far as depth needs it: not at all without
        lateral sharing, three of four up-convolutions with it.
        """
        shared = self.conv2(deepest)
        if self.semantic is None or (depth_only and not self.sharing):
            maps = [shared]
            for up in self.depth.up:
                maps.append(up(maps[-1]))
            return Decoded(self.depth.predict(maps), None, (shared, maps[1]))
        depth_maps, semantic_maps = self._both(self.semantic, shared, depth_only)
        semantic_logits = None if depth_only else self.semantic.predict(semantic_maps)
        attended = (shared, depth_maps[1], semantic_maps[1])
        return Decoded(self.depth.predict(depth_maps), semantic_logits, attended)

    def _both(
        self, semantic_branch: TaskBranch, shared: Tensor, depth_only: bool
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the un-mixed maps of both branches, conv2 first."""
        depth_maps, semantic_maps = [shared], [shared]
        last = len(self.depth.up) - 1
        for level, (depth_up, semantic_up) in enumerate(
            zip(self.depth.up, semantic_branch.up, strict=True)
        ):
            depth, semantic = depth_maps[-1], semantic_maps[-1]
            if level and self.sharing:
                depth, semantic = self.sharing[level - 1](depth, semantic)
            depth_maps.append(depth_up(depth))
            if level < last or not depth_only:
                semantic_maps.append(semantic_up(semantic))
        return depth_maps, semantic_maps


class LookDeeper(DepthNetwork):
    """Look Deeper into Depth (ECCV 2018); decisions are in the module's docstring."""

    config: LookDeeperConfig

    def __init__(self, config: LookDeeperConfig) -> None:
        super().__init__()
        self.config = config
        self.class_names = config.class_names
        self.encoder = make_encoder(config.backbone, config.backbone_width)
        self.decoder = _make_decoder(self.encoder.channels[-1], config)
        if config.structure == "synergy":
            self.attention_names = ("backbone", "depth")
            self.attention_names += ("semantic",) if config.class_names else ()
        self.product_names = (("attention",) if self.attention_names else ()) + (
            ("semantics",) if config.class_names else ()
        )

    def forward(self, image: Tensor) -> Tensor:
        """Predict depth without what only the semantic prediction needs; see `DepthNetwork`."""
        x, window = self._fit(image)
        decoded = self.decoder(self.encoder(x)[-1], depth_only=True)
        return self._depth_m(decoded, x.shape[-2:])[window].to(image.dtype)

    def training_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` (B, 1, h, w) and, with semantics, `semantic_logits` (B, K, h, w)."""
        return self._outputs(image)[0]

    def products(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m`, `attention` and `semantics` (B, 1, h, w) uint8, index into the classes.

        `attention` (B, len(attention_names), h, w): sum over the channels of |activation| of conv2
        and of the first up-convolution of each branch (supplement, equation 1), enlarged to the
        image. `semantics` counts from 0 in the order of `class_names`.
        """
        outputs, attention = self._outputs(image)
        products = {"depth_m": outputs["depth_m"]}
        if attention is not None:
            products["attention"] = attention
        if "semantic_logits" in outputs:
            classes = outputs["semantic_logits"].argmax(dim=1, keepdim=True)
            products["semantics"] = classes.to(torch.uint8)
        return products

    def _outputs(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        x, window = self._fit(image)
        size = x.shape[-2:]
        decoded = self.decoder(self.encoder(x)[-1])
        outputs = {"depth_m": self._depth_m(decoded, size)[window].to(image.dtype)}
        if decoded.semantic_logits is not None:
            outputs["semantic_logits"] = enlarge(decoded.semantic_logits, size, "bilinear")[window]
        if not decoded.attended:
            return outputs, None
        attention = [
            enlarge(_activation(map_), size, "bilinear")[window] for map_ in decoded.attended
        ]
        return outputs, torch.cat(attention, dim=1)

    def _fit(self, image: Tensor) -> tuple[Tensor, Window]:
        """Normalise, and pad if asked for; return the image and the index of the answer in it."""
        normalised = self.normalise(image)
        return pad_to_multiple(normalised, STRIDES[-1] if self.config.pad_to_stride else 1)

    def _depth_m(self, decoded: Decoded, size: torch.Size) -> Tensor:
        logits, max_depth_m = (
            enlarge(decoded.depth_logits, size, "bilinear"),
            self.config.max_depth_m,
        )
        if self.config.depth_activation == "sigmoid":
            return depth_from_logits(logits, max_depth_m)
        depth_m = functional.softplus(at_least_float32(logits))
        return depth_m.clamp(max_depth_m * RANGE_MARGIN, max_depth_m * (1.0 - RANGE_MARGIN))


def _make_decoder(inputs: int, config: LookDeeperConfig) -> nn.Module:
    if config.structure == "synergy":
        return Synergy(inputs, config)
    widths = (inputs, config.bottleneck, *config.decoder_channels)
    classes = len(config.class_names)
    if config.structure == "cascaded":
        return Cascaded(widths, classes, config.cascade_order == "depth_first")
    if config.structure == "merge_in":
        return MergeIn(widths, classes, config.split_depth)
    # One task alone, or two that take turns, share all layers before the predictions.
    branching = config.structure == "branch_out"
    return BranchOut(widths, classes, config.split_depth if branching else LAYERS_PER_TASK)


def _activation(features: Tensor) -> Tensor:
    """(B, C, h, w) → (B, 1, h, w), the sum over channels; in float32, since C may be 1024."""
    return features.float().abs().sum(dim=1, keepdim=True).to(features.dtype)
