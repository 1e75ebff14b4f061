"""HMA-Depth: hierarchical multi-scale attention for monocular depth (MVA 2021).

Encoder with skips, a dense ASPP at stride 8, and at each of the scales H/8, H/4, H/2 and H a depth
head; the three coarse scales also have an attention head. Each attention map takes its share of
what the coarser scales left over, so the four masks sum to 1 and the depth is their weighted mean.

Where paper and the authors' code (built on BTS) differ this file decides:

* The decoder enlarges by nearest neighbour, as the code does; the text says bilinear (`up_mode`).
* The code pads the attention heads' 1x1 convolution by 1, which shrinks each map by a border of
  0.5. That is a slip; `compat_pad` repeats it for weights that were trained with it.
* Without attention the text averages the depth maps and the code adds them (`fusion`).
* ASPP is densely connected, full resolution has no further 1x1 convolution, and modules that the
  code builds but never calls are left out.
* The code rectifies the deepest map. All ResNets and DenseNets here end rectified; MobileNetV2,
  which the authors do not have, keeps its linear output.
* The code multiplies KITTI depths by focal / 715.0873. Networks know no camera here; the predictor
  does this, with `training_focal_px` 715.0873 in the checkpoint.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.attention import Interpolation, enlarge
from mono_depth_ros.models.base import DepthNetwork, NetworkSettings, require_positive
from mono_depth_ros.models.blocks import RANGE_MARGIN, at_least_float32, pad_to_multiple
from mono_depth_ros.models.encoder import STRIDES, BackboneName, make_encoder

# Strides of the maps that have a depth head, coarse to fine.
_SCALES = {"all": (8, 4, 2, 1), "without_h": (8, 4, 2), "without_h8": (4, 2, 1)}


@dataclass(frozen=True, slots=True)
class HmaConfig(NetworkSettings):
    """Settings of HMA-Depth; the defaults are the paper's ResNet50 network on NYU Depth V2.

    Attributes:
        backbone: ResNet50, ResNeXt50 (32x4d), DenseNet121 or DenseNet161 in the paper.
        scales: which depth maps are fused: `all` four; `without_h`, without the one at full
            resolution; `without_h8`, without the coarsest (Table 3).
        fusion: `attention`, the paper's network; `mean` of the depth maps, Table 3's last row by
            the text; `sum` of them, that row by the code, with a range of as many times
            `max_depth_m` as there are maps.
        up_mode: how the decoder enlarges; the paper says bilinear, the code takes nearest.
        compat_pad: pad the attention heads' 1x1 convolution by 1, as the code does.
        num_features: width of the decoder at stride 16, halved towards full resolution down to a
            sixteenth; 512 in the code. A multiple of 16.
        head_channels: width of the depth heads, 256 in the code. The head at full resolution does
            half of all work.
        attention_channels: width of the attention heads, 512 in the code.
        norm_momentum: of the decoder's norms; 0.01 in the code, whose runs are long. Their
            statistics then lag by a hundred steps.
        aspp_rates: dilations of the ASPP branches; the paper has 3, 6, 12, 18, 24.
    """

    backbone: BackboneName = "resnet50"
    scales: Literal["all", "without_h", "without_h8"] = "all"
    fusion: Literal["attention", "mean", "sum"] = "attention"
    up_mode: Interpolation = "nearest"
    compat_pad: bool = False
    num_features: int = 512
    head_channels: int = 256
    attention_channels: int = 512
    norm_momentum: float = 0.01
    aspp_rates: tuple[int, ...] = (3, 6, 12, 18, 24)

    def __post_init__(self) -> None:
        NetworkSettings.__post_init__(self)
        if self.num_features < 16 or self.num_features % 16:
            raise ConfigError(
                f"num_features is {self.num_features}; it is divided by up to 16, "
                "so it must be a positive multiple of 16"
            )
        if not 0.0 < self.norm_momentum <= 1.0:
            raise ConfigError(f"norm_momentum must lie in (0, 1], got {self.norm_momentum}")
        require_positive(
            head_channels=self.head_channels,
            attention_channels=self.attention_channels,
            aspp_rates=self.aspp_rates,
        )

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the maps that have a depth head, coarse to fine."""
        return _SCALES[self.scales]

    @property
    def attended_strides(self) -> tuple[int, ...]:
        """Strides of the maps that have an attention head; the finest takes what they leave."""
        return self.strides[:-1] if self.fusion == "attention" else ()


def hierarchical_masks(attention: Sequence[Tensor]) -> Tensor:
    """Return the weights of all scales (equations 2 to 5).

    M_1 = A_1, M_2 = A_2 (1 - A_1), ..., and the last, finest scale gets the product of all
    (1 - A_i).

    Args:
        attention: n maps A_i (B, 1, H, W) in [0, 1], coarse to fine.

    Returns:
        (B, n + 1, H, W) in [0, 1], coarse to fine; they sum to 1 over the channels.
    """
    masks, left = [], torch.ones_like(attention[0])
    for share in attention:
        masks.append(left * share)
        left = left * (1.0 - share)
    return torch.cat((*masks, left), dim=1)


class DenseAsppOfBts(nn.Module):
    """Densely connected dilated convolutions as in BTS, whose decoder HMA-Depth has.

    The first branch reads the fused features. Every later branch reads the features before their
    fusion and the answers of all branches before it. A 3x3 convolution takes the fused features and
    all answers to `outputs` channels.

    Args:
        fused: channels of the fused features.
        unfused: channels of the features before their fusion.
        bottleneck: width of the 1x1 convolutions.
        outputs: width of each branch and of the result.
        rates: dilations.
    """

    def __init__(
        self, fused: int, unfused: int, bottleneck: int, outputs: int, rates: Sequence[int]
    ) -> None:
        super().__init__()
        inputs = [fused, *(unfused + i * outputs for i in range(1, len(rates)))]
        self.branches = nn.ModuleList(
            nn.Sequential(
                _norm(width) if i else nn.Identity(),
                nn.ReLU(),
                nn.Conv2d(width, bottleneck, 1, bias=False),
                nn.BatchNorm2d(bottleneck),
                nn.ReLU(inplace=True),
                nn.Conv2d(bottleneck, outputs, 3, padding=rate, dilation=rate, bias=False),
            )
            for i, (width, rate) in enumerate(zip(inputs, rates, strict=True))
        )
        self.merge = _conv_elu(fused + len(rates) * outputs, outputs)

    def forward(self, fused: Tensor, unfused: Tensor) -> Tensor:
        """(B, fused, h, w) and (B, unfused, h, w) → (B, outputs, h, w)."""
        answers = [self.branches[0](fused)]
        for branch in self.branches[1:]:
            answers.append(branch(torch.cat((unfused, *answers), dim=1)))
        return self.merge(torch.cat((fused, *answers), dim=1))


class HmaDecoder(nn.Module):
    """From the encoder's five maps to features at strides 8, 4, 2 and 1.

    Args:
        encoded: channels of the encoder's maps, strides 2 to 32.
        config: widths, rates and how to enlarge; full resolution is left out with `without_h`.
    """

    def __init__(self, encoded: Sequence[int], config: HmaConfig) -> None:
        super().__init__()
        e2, e4, e8, e16, e32 = encoded
        width, mode = config.num_features, config.up_mode
        self.widths = {8: width // 4, 4: width // 4, 2: width // 8, 1: width // 16}
        self.up16 = _up(e32, width, mode)
        self.fuse16 = _conv_elu(width + e16, width)
        self.up8 = _up(width, width // 2, mode)
        self.fuse8 = _conv_elu(width // 2 + e8, width // 2)
        self.norm8 = _norm(width // 2)
        self.aspp = DenseAsppOfBts(
            width // 2, width // 2 + e8, width // 2, self.widths[8], config.aspp_rates
        )
        self.up4 = _up(self.widths[8], self.widths[4], mode)
        self.fuse4 = _conv_elu(self.widths[4] + e4, self.widths[4])
        self.up2 = _up(self.widths[4], self.widths[2], mode)
        self.fuse2 = _conv_elu(self.widths[2] + e2, self.widths[2])
        self.up1 = (
            _up(self.widths[2], self.widths[1], mode, norm=False) if 1 in config.strides else None
        )

    def forward(self, encoded: list[Tensor]) -> dict[int, Tensor]:
        """Return stride → (B, widths[stride], h / stride, w / stride), for the strides it has."""
        f2, f4, f8, f16, f32 = encoded
        x = self.fuse16(torch.cat((self.up16(f32), f16), dim=1))
        unfused = torch.cat((self.up8(x), f8), dim=1)
        x = self.aspp(self.norm8(self.fuse8(unfused)), unfused)
        features = {8: x}
        features[4] = self.fuse4(torch.cat((self.up4(features[8]), f4), dim=1))
        features[2] = self.fuse2(torch.cat((self.up2(features[4]), f2), dim=1))
        if self.up1 is not None:
            features[1] = self.up1(features[2])
        return features


class Hma(DepthNetwork):
    """HMA-Depth (MVA 2021); decisions are in the module's docstring."""

    config: HmaConfig

    def __init__(self, config: HmaConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config.backbone, config.backbone_width)
        self.decoder = HmaDecoder(self.encoder.channels, config)
        widths = self.decoder.widths
        self.depth_heads = nn.ModuleDict(
            {f"h{s}": _depth_head(widths[s], config.head_channels) for s in config.strides}
        )
        self.attention_heads = nn.ModuleDict(
            {
                f"h{s}": _attention_head(
                    widths[s], config.attention_channels, padding=int(config.compat_pad)
                )
                for s in config.attended_strides
            }
        )
        for module in self.decoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = config.norm_momentum
        for part in (self.decoder, self.depth_heads, self.attention_heads):
            part.apply(_xavier)
        if config.fusion == "attention":
            self.product_names = ("attention",)
            self.attention_names = tuple("h" if s == 1 else f"h/{s}" for s in config.strides)

    @property
    def max_depth_m(self) -> float:
        """Largest depth the head can answer, metres; maps that are summed add up."""
        maps = len(self.config.strides) if self.config.fusion == "sum" else 1
        return maps * self.config.max_depth_m

    def training_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` (B, 1, h, w); the paper supervises nothing else."""
        return {"depth_m": self._run(image)[0]}

    def products(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` (B, 1, h, w) and, if there is attention, the masks as `attention`.

        Mask i is the weight of the depth map at scale `attention_names[i]`; they sum to 1.
        """
        depth_m, masks = self._run(image)
        return {"depth_m": depth_m} if masks is None else {"depth_m": depth_m, "attention": masks}

    def _run(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        x, window = pad_to_multiple(self.normalise(image), STRIDES[-1])
        features = self.decoder(self.encoder(x))
        size = x.shape[-2:]
        depths = torch.cat(
            [
                _map_at(size, self.depth_heads[f"h{stride}"](features[stride]))
                for stride in self.config.strides
            ],
            dim=1,
        )
        masks = self._masks(features, size)
        if masks is None:
            fused = depths.mean(1, keepdim=True)
        else:
            fused = (masks * depths).sum(1, keepdim=True)
            masks = masks[window].to(image.dtype)
        depth_m = self.max_depth_m * fused.clamp(RANGE_MARGIN, 1.0 - RANGE_MARGIN)
        return depth_m[window].to(image.dtype), masks

    def _masks(self, features: dict[int, Tensor], size: torch.Size) -> Tensor | None:
        if self.config.fusion != "attention":
            return None
        return hierarchical_masks(
            [
                _map_at(size, self.attention_heads[f"h{stride}"](features[stride]))
                for stride in self.config.attended_strides
            ]
        )


def _map_at(size: torch.Size, logits: Tensor) -> Tensor:
    """Sigmoid, then bilinear to `size`; in float32 or better, so that masks sum to 1."""
    return enlarge(at_least_float32(logits).sigmoid(), size, "bilinear")


def _depth_head(inputs: int, width: int) -> nn.Sequential:
    """Two 3x3 convolutions and a 1x1 one (section 2.2) → logits (B, 1, h, w)."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, 1, 1, bias=False),
    )


def _attention_head(inputs: int, width: int, padding: int) -> nn.Sequential:
    """A 3x3 convolution and a 1x1 one (section 2.2) → logits, `padding` px larger on each side."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1, bias=False),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, 1, 1, padding=padding, bias=False),
    )


def _up(inputs: int, outputs: int, mode: str, norm: bool = True) -> nn.Sequential:
    """Double height and width, 3x3 convolution, ELU, norm."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        enlarge=nn.Upsample(scale_factor=2, mode=mode),
        conv=nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        activation=nn.ELU(),
    )
    if norm:
        layers["norm"] = _norm(outputs)
    return nn.Sequential(layers)


def _conv_elu(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.ELU())


def _norm(channels: int) -> nn.BatchNorm2d:
    # BTS takes this constant over from TensorFlow.
    return nn.BatchNorm2d(channels, eps=1.1e-5)


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
