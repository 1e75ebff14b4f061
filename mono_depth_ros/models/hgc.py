"""HGC: hierarchical fusion on global context, our own network, made of what the five papers taught.

Encoder, the global context module of ASC+GCM on the bottleneck, the decoder of light PWA with
DenseASPP, and in place of patch-wise attention the hierarchical attention of HMA-Depth: at strides
8, 4 and 2 one small head answers a depth and the share that its scale takes of what the coarser
ones left over.

Where it leaves the papers, and why:

* No head at full resolution: in HMA-Depth it does half of all work.
* Scales are fused before the sigmoid, at stride 2, and the one fused map is enlarged. Far below the
  largest depth a logit is a logarithm of depth, in which the losses measure.
* One head per scale answers both depth and attention; in HMA-Depth they are two.
* The finest head is a single convolution, as in PWA: a wider one at stride 2 costs as much as the
  two coarser heads together.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mono_depth_ros.models.attention import GlobalContext, enlarge
from mono_depth_ros.models.base import DepthNetwork, NetworkSettings, require_positive
from mono_depth_ros.models.blocks import (
    DenseAspp,
    Window,
    at_least_float32,
    conv_bn_relu,
    deconv_bn_relu,
    depth_from_logits,
    pad_to_multiple,
)
from mono_depth_ros.models.encoder import STRIDES, make_encoder
from mono_depth_ros.models.hma import hierarchical_masks


@dataclass(frozen=True, slots=True)
class HgcConfig(NetworkSettings):
    """Settings of HGC.

    Attributes:
        image_size: cameras of other sizes are letterboxed to this one; the network takes any.
        decoder_channels: widths of the four transposed convolutions, strides 16 to 2.
        aspp_bottleneck: width of the 1x1 convolutions in DenseASPP.
        aspp_growth: width of each DenseASPP branch.
        head_channels: width of the heads at strides 8 and 4.
        context_grid: (rows, cols) of the global context's kernel, the training size over 32; maps
            of other sizes are averaged to it.
        context_hidden: d_h of the global context module.
        context_reduction: channels over hidden width of its perceptron.
    """

    decoder_channels: tuple[int, int, int, int] = (128, 64, 32, 24)
    aspp_bottleneck: int = 64
    aspp_growth: int = 24
    head_channels: int = 16
    context_grid: tuple[int, int] = (15, 20)
    context_hidden: int = 128
    context_reduction: int = 16

    def __post_init__(self) -> None:
        NetworkSettings.__post_init__(self)
        require_positive(
            decoder_channels=self.decoder_channels,
            aspp_bottleneck=self.aspp_bottleneck,
            aspp_growth=self.aspp_growth,
            head_channels=self.head_channels,
            context_grid=self.context_grid,
            context_hidden=self.context_hidden,
            context_reduction=self.context_reduction,
        )


class Hgc(DepthNetwork):
    """HGC, hierarchical fusion on global context; decisions are in the module's docstring."""

    config: HgcConfig
    product_names = ("attention",)
    attention_names = ("h/8", "h/4", "h/2")

    def __init__(self, config: HgcConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config.backbone, config.backbone_width)
        _, e4, e8, e16, e32 = self.encoder.channels
        d16, d8, d4, d2 = config.decoder_channels
        self.global_context = GlobalContext(
            e32, config.context_grid, config.context_hidden, config.context_reduction
        )
        # Names and shapes are those of light PWA, so that a run can start from its weights.
        self.up = nn.ModuleList(
            deconv_bn_relu(inputs, outputs)
            for inputs, outputs in ((e32, d16), (d16 + e16, d8), (d8, d4), (d4 + e4, d2))
        )
        self.context = DenseAspp(d8 + e8, d8, config.aspp_bottleneck, config.aspp_growth)
        self.heads = nn.ModuleDict(
            {
                "h8": _head(d8, config.head_channels),
                "h4": _head(d4 + e4, config.head_channels),
                "h2": nn.Conv2d(d2, 1, 3, padding=1),
            }
        )

    def training_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` (B, 1, h, w)."""
        return {"depth_m": self._run(image)[0]}

    def products(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` (B, 1, h, w) and `attention` (B, 3, h, w).

        Channel i is the share of the scale `attention_names[i]` in the answer; they sum to 1.
        """
        depth_m, masks, window = self._run(image)
        masks = enlarge(masks, (2 * masks.shape[-2], 2 * masks.shape[-1]), "bilinear")
        return {"depth_m": depth_m, "attention": masks[window].to(image.dtype)}

    def _run(self, image: Tensor) -> tuple[Tensor, Tensor, Window]:
        """Return depth (B, 1, h, w), the padded image's masks at stride 2, the image's place."""
        x, window = pad_to_multiple(self.normalise(image), STRIDES[-1])
        coarse, middle, fine = self._head_maps(x)
        half = (fine.shape[-2], fine.shape[-1])
        # In float32 or better, so that the masks sum to 1.
        h8 = enlarge(at_least_float32(coarse), half, "bilinear")
        h4 = enlarge(at_least_float32(middle), half, "bilinear")
        masks = hierarchical_masks([h8[:, 1:].sigmoid(), h4[:, 1:].sigmoid()])
        logits = torch.cat((h8[:, :1], h4[:, :1], at_least_float32(fine)), dim=1)
        depth_m = depth_from_logits((masks * logits).sum(1, keepdim=True), self.config.max_depth_m)
        depth_m = enlarge(depth_m, x.shape[-2:], "bilinear")
        return depth_m[window].to(image.dtype), masks, window

    def _head_maps(self, padded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of depth and attention at strides 8 and 4, and of depth at stride 2."""
        _, f4, f8, f16, f32 = self.encoder(padded)
        x = self.up[0](self.global_context(f32))
        x = self.up[1](torch.cat((x, f16), dim=1))
        context = self.context(torch.cat((x, f8), dim=1))
        middle = torch.cat((self.up[2](context), f4), dim=1)
        fine = self.up[3](middle)
        return self.heads["h8"](context), self.heads["h4"](middle), self.heads["h2"](fine)


def _head(inputs: int, width: int) -> nn.Sequential:
    """Return two 3x3 convolutions → logits of depth and of attention, (B, 2, h, w)."""
    return nn.Sequential(conv_bn_relu(inputs, width, 3), nn.Conv2d(width, 2, 3, padding=1))
