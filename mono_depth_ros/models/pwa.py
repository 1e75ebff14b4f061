"""PWA: Patch-Wise Attention Network for monocular depth estimation (AAAI 2021).

Encoder, U-Net decoder of five transposed convolutions, DenseASPP inline after the second of them,
patch-wise attention on the last decoder map, one 3x3 convolution, sigmoid times the largest depth.

The authors published no code. Where the paper is silent this file decides:

* Skips are concatenated: the stated decoder widths do not match the encoder's at equal scale.
* Decoder blocks are deconvolution, batch norm, ReLU.
* DenseASPP works inline, as in BTS: its output feeds the next decoder block and the context F_G.
* F_G is a 1x1 convolution of that output to the width of F, averaged over each patch.
* Without DenseASPP a 3x3 convolution takes its place, so the decoder keeps its widths.
* Images are zero-padded evenly, after normalisation, to a multiple of patch size and stride 32.
* Table 1 compares with CBAM, here on F, and with dual attention, here on the map at stride 8: its
  weights are as many as pixels squared, 10^11 at full resolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.attention import (
    AttentionMaps,
    ConvBlockAttention,
    DualAttention,
    Interpolation,
    PatchWiseAttention,
    enlarge,
)
from mono_depth_ros.models.attention.patch_wise import PatchBorder
from mono_depth_ros.models.base import DepthNetwork, ImageSize, NetworkSettings, require_positive
from mono_depth_ros.models.blocks import (
    DenseAspp,
    Window,
    ceil_to,
    conv_bn_relu,
    deconv_bn_relu,
    depth_from_logits,
    pad_to_multiple,
)
from mono_depth_ros.models.encoder import STRIDES, make_encoder

PATCH_SIZES_PX = (8, 16, 32, 64, 128, 256)

ATTENTION_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "pwa": ("spatial", "channel"),
        "cbam": ("spatial", "channel"),
        "dual": ("position",),
        "none": (),
    }
)
"""Channels of the product `attention` for each attention module."""


@dataclass(frozen=True, slots=True)
class PwaConfig(NetworkSettings):
    """Settings of PWA; the defaults are the paper's MobileNetV2 network on NYU Depth V2.

    `image_size` is the one size this network accepts; the patch grid follows from it. The paper
    sets `max_depth_m` to 90 for the KITTI benchmark.

    Attributes:
        attention: `pwa`; `cbam`, `dual` or `none` for the other rows of Table 1.
        patch_size: side of a patch in image pixels, or `image` for one patch; the paper has 64.
        dense_aspp: off in the upper rows of Table 1.
        decoder_channels: widths of the transposed convolutions. Five give features at full
            resolution as in the paper; four stop at half, where the light preset attends, and the
            depth is enlarged bilinearly.
        aspp_bottleneck: width of the 1x1 convolutions in DenseASPP.
        aspp_growth: width of each DenseASPP branch.
        attention_reduction: width of F over the hidden width of the perceptrons.
        channel_interpolation: how channel attention is enlarged from patches to pixels.
        context_interpolation: how F_G is enlarged.
        context_norm: batch norm and ReLU after the 3x3 convolutions of patch-wise attention; the
            paper's equations show none.
        patch_border: what a 7x7 convolution sees beyond its patch: `zeros`, or its `neighbours`.
    """

    attention: Literal["pwa", "cbam", "dual", "none"] = "pwa"
    patch_size: int | Literal["image"] = 64
    dense_aspp: bool = True
    decoder_channels: tuple[int, ...] = (320, 96, 32, 24, 32)
    aspp_bottleneck: int = 128
    aspp_growth: int = 32
    attention_reduction: int = 8
    channel_interpolation: Interpolation = "nearest"
    context_interpolation: Interpolation = "bilinear"
    context_norm: bool = False
    patch_border: PatchBorder = "zeros"

    def __post_init__(self) -> None:
        NetworkSettings.__post_init__(self)
        if self.patch_size != "image" and self.patch_size not in PATCH_SIZES_PX:
            raise ConfigError(
                f"patch_size is {self.patch_size}; choose from "
                f"{', '.join(map(str, PATCH_SIZES_PX))} or image"
            )
        if len(self.decoder_channels) not in (4, 5):
            raise ConfigError(f"decoder_channels needs 4 or 5 widths, got {self.decoder_channels}")
        require_positive(
            decoder_channels=self.decoder_channels,
            aspp_bottleneck=self.aspp_bottleneck,
            aspp_growth=self.aspp_growth,
            attention_reduction=self.attention_reduction,
        )

    @property
    def padding_multiple(self) -> int:
        """What height and width are padded to multiples of."""
        patched = self.attention == "pwa" and self.patch_size != "image"
        return max(int(self.patch_size) if patched else 1, STRIDES[-1])

    @property
    def padded_size(self) -> ImageSize:
        """The image size after padding."""
        multiple = self.padding_multiple
        return ImageSize(
            ceil_to(self.image_size.height, multiple), ceil_to(self.image_size.width, multiple)
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Patches as (rows, cols)."""
        if self.patch_size == "image":
            return 1, 1
        return self.padded_size.height // self.patch_size, self.padded_size.width // self.patch_size


class Pwa(DepthNetwork):
    """PWA, patch-wise attention network (AAAI 2021); decisions are in the module's docstring."""

    config: PwaConfig

    def __init__(self, config: PwaConfig) -> None:
        super().__init__()
        self.attention_names = ATTENTION_NAMES[config.attention]
        self.product_names = ("attention",) if self.attention_names else ()
        self.config = config
        self.encoder = make_encoder(config.backbone, config.backbone_width)
        e2, e4, e8, e16, e32 = self.encoder.channels
        widths = config.decoder_channels
        skips = (e16, e8, e4, e2)
        inputs = [e32, *(width + skip for width, skip in zip(widths, skips, strict=False))]
        # The third block reads DenseASPP's output, which has the second block's width.
        inputs[2] = widths[1]
        self.up = nn.ModuleList(deconv_bn_relu(i, o) for i, o in zip(inputs, widths, strict=False))
        if config.dense_aspp:
            self.context: nn.Module = DenseAspp(
                widths[1] + e8, widths[1], config.aspp_bottleneck, config.aspp_growth
            )
        else:
            self.context = conv_bn_relu(widths[1] + e8, widths[1], 3)
        if config.attention == "pwa":
            self.context_projection = nn.Conv2d(widths[1], widths[-1], 1)
            self.attention: nn.Module = self._patch_wise_attention()
        elif config.attention == "cbam":
            self.attention = ConvBlockAttention(widths[-1])
        elif config.attention == "dual":
            self.attention = DualAttention(widths[1])
        self.head = nn.Conv2d(widths[-1], 1, 3, padding=1)

    @property
    def required_size(self) -> ImageSize:
        """The size the patch grid was built for."""
        return self.config.image_size

    def training_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` (B, 1, h, w)."""
        return {"depth_m": self._run(image)[0]}

    def products(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` (B, 1, h, w) and `attention` (B, len(attention_names), h, w).

        `spatial` is the spatial map in (0, 1) and `channel` the mean over channels of the channel
        attention in (0, 1), one value per patch (CBAM: per image). `position`, of dual attention,
        is the attention that a pixel receives from all others, 1 on average.
        """
        depth_m, maps, window = self._run(image)
        if not self.attention_names:
            return {"depth_m": depth_m}
        padded = self.config.padded_size
        size = (padded.height, padded.width)
        full = [] if maps.spatial is None else [enlarge(maps.spatial, size, "bilinear")]
        if maps.channel is not None:
            mean = maps.channel.mean(1, keepdim=True)
            full.append(enlarge(mean, size, self.config.channel_interpolation))
        return {"depth_m": depth_m, "attention": torch.cat(full, dim=1)[window]}

    def _run(self, image: Tensor) -> tuple[Tensor, AttentionMaps, Window]:
        """Return depth (B, 1, h, w), the padded image's attention maps, the image's place in it."""
        x, window = pad_to_multiple(self.normalise(image), self.config.padding_multiple)
        features, maps = self._decode(self.encoder(x))
        depth_m = depth_from_logits(self.head(features), self.config.max_depth_m).to(image.dtype)
        return enlarge(depth_m, x.shape[-2:], "bilinear")[window], maps, window

    def _decode(self, encoded: list[Tensor]) -> tuple[Tensor, AttentionMaps]:
        """Return the head's input and the attention maps."""
        f2, f4, f8, f16, f32 = encoded
        maps = AttentionMaps()
        x = self.up[0](f32)
        x = self.up[1](torch.cat((x, f16), dim=1))
        context = self.context(torch.cat((x, f8), dim=1))
        if self.config.attention == "dual":
            context, maps = self.attention(context)
        x = self.up[2](context)
        x = self.up[3](torch.cat((x, f4), dim=1))
        if len(self.up) == 5:
            x = self.up[4](torch.cat((x, f2), dim=1))
        if self.config.attention == "pwa":
            x, maps = self.attention(x, self._context_per_patch(context))
        elif self.config.attention == "cbam":
            x, maps = self.attention(x)
        return x, maps

    def _patch_wise_attention(self) -> PatchWiseAttention:
        config = self.config
        return PatchWiseAttention(
            config.decoder_channels[-1],
            config.grid,
            self._patch_on_features(),
            config.attention_reduction,
            config.channel_interpolation,
            config.context_interpolation,
            config.context_norm,
            config.patch_border,
        )

    def _context_per_patch(self, context: Tensor) -> Tensor:
        """F_G: (B, C8, H / 8, W / 8) → (B, C, rows, cols)."""
        (rows, cols), padded = self.config.grid, self.config.padded_size
        window = (padded.height // 8 // rows, padded.width // 8 // cols)
        return functional.avg_pool2d(self.context_projection(context), window)

    def _patch_on_features(self) -> tuple[int, int]:
        (rows, cols), padded = self.config.grid, self.config.padded_size
        stride = 1 if len(self.config.decoder_channels) == 5 else 2
        return padded.height // rows // stride, padded.width // cols // stride
