"""ASC+GCM: attentive skip connections and a global context module (Kim et al., IEEE Access 2020).

Encoder, global context module on the bottleneck, five transposed convolutions with a residual block
after the second, attentive skip connections from the encoder, one 3x3 convolution, sigmoid times
the largest depth.

The authors published no code, and the tables of the paper are not in its text. Where it is silent
this file decides:

* Decoder widths are those of PWA, a later network of the same laboratory, and skips are
  concatenated; adding them needs the encoder's widths and 14 M parameters more.
* One residual block. A decoder block is deconvolution, batch norm, ReLU, as the paper says.
* The encoder's maps at strides 2 to 16 have skips; the one at stride 32 is the bottleneck.
* Images are zero-padded evenly, after normalisation, to a multiple of 32.
* The kernel of the global context module has the size of the training map, so the printed network
  runs at no other. `grid_handling` says how other images are fitted to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.attention import (
    AttentiveSkip,
    BottleneckAttention,
    ConvBlockAttention,
    GlobalContext,
    SqueezeExcitation,
    enlarge,
)
from mono_depth_ros.models.base import DepthNetwork, ImageSize, NetworkSettings, require_positive
from mono_depth_ros.models.blocks import (
    ResidualBlock,
    ceil_to,
    deconv_bn_relu,
    depth_from_logits,
    pad_evenly,
    pad_to_multiple,
)
from mono_depth_ros.models.encoder import STRIDES, BackboneName, make_encoder

SkipKind = Literal["asc", "plain", "se", "bam", "cbam"]
GridHandling = Literal["adaptive_pool", "sliding_windows", "resize_image", "resize_kernel"]

NYU_CROP = ImageSize(448, 576)
"""Size of the paper's training crops of NYU Depth V2."""

CONCAT_WIDTHS = (512, 256, 128, 64, 32)
"""Decoder widths with concatenated skips; with added ones they follow the encoder."""


@dataclass(frozen=True, slots=True)
class AscGcmConfig(NetworkSettings):
    """Settings of ASC+GCM; the defaults are the paper's ResNet-50 network on NYU Depth V2.

    The paper trains on 448x576 crops of NYU Depth V2 and 352x704 crops of KITTI (grid 11 x 22,
    max_depth_m 80), and tests on whole images without saying how.

    Attributes:
        image_size: cameras of other sizes are letterboxed to this one; the network takes any.
        backbone: resnet50, resnet101 and resnext101_32x8d in the paper.
        skip: what happens to an encoder's map on its way to the decoder: `asc`; `plain` for the
            baseline of Table 3; `se`, `bam`, `cbam` for Table 4.
        gcm: global context module; off in the upper rows of Table 3.
        asc_dilations: of the ASPP in ASC; the paper's best are 3, 6, 9 (Table 5).
        asc_width_divisor: channels of the skip over the width of an ASPP branch, which has two
            channels at least; 32 comes closest to the paper's 2.8 M parameters for ASC and GCM.
        asc_sigmoid: sigmoid on both maps of ASC; the paper mentions none, BAM has one.
        gcm_hidden: d_h of GCM; the paper's best is 512 (Table 5).
        reduction: channels over hidden width of every perceptron; 16 in the paper.
        context_grid: (rows, cols) of GCM's kernel, the training size over 32.
        grid_handling: how an image of another size than context_grid * 32 meets the kernel:
            `adaptive_pool` averages the map to the grid, `resize_kernel` resizes the kernel,
            `resize_image` resizes image and depth, `sliding_windows` averages the answers of
            windows of the training size.
        residual_blocks: between the second and third decoder block; the paper says "blocks".
        skip_fusion: `concat` or `add`.
        decoder_channels: widths of the five transposed convolutions; None means 512, 256, 128, 64,
            32 for `concat`, and the encoder's widths and 32 for `add`.
    """

    image_size: ImageSize = NYU_CROP
    backbone: BackboneName = "resnet50"
    skip: SkipKind = "asc"
    gcm: bool = True
    asc_dilations: tuple[int, ...] = (3, 6, 9)
    asc_width_divisor: int = 32
    asc_sigmoid: bool = True
    gcm_hidden: int = 512
    reduction: int = 16
    context_grid: tuple[int, int] = (14, 18)
    grid_handling: GridHandling = "adaptive_pool"
    residual_blocks: int = 1
    skip_fusion: Literal["concat", "add"] = "concat"
    decoder_channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        NetworkSettings.__post_init__(self)
        widths = CONCAT_WIDTHS if self.decoder_channels is None else self.decoder_channels
        require_positive(
            asc_width_divisor=self.asc_width_divisor,
            gcm_hidden=self.gcm_hidden,
            reduction=self.reduction,
            asc_dilations=self.asc_dilations,
            context_grid=self.context_grid,
            decoder_channels=widths,
        )
        if self.residual_blocks < 0:
            raise ConfigError(f"residual_blocks must be 0 or more, got {self.residual_blocks}")
        if len(widths) != 5:
            raise ConfigError(f"decoder_channels needs 5 widths, got {self.decoder_channels}")

    @property
    def training_size(self) -> ImageSize:
        """The image size that GCM's kernel was made for."""
        return ImageSize(*(STRIDES[-1] * cells for cells in self.context_grid))


class AscGcm(DepthNetwork):
    """ASC+GCM (IEEE Access 2020); decisions are in the module's docstring."""

    config: AscGcmConfig

    def __init__(self, config: AscGcmConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = make_encoder(config.backbone, config.backbone_width)
        widths, skips = self._decoder_widths(), self.encoder.channels[:4]
        self.skips = nn.ModuleList(
            _skip_module(config, channels) for channels in skips if config.skip != "plain"
        )
        self.context: nn.Module = nn.Identity()
        if config.gcm:
            self.context = GlobalContext(
                self.encoder.channels[4],
                config.context_grid,
                config.gcm_hidden,
                config.reduction,
                config.grid_handling == "resize_kernel",
            )
        concat = config.skip_fusion == "concat"
        inputs = [self.encoder.channels[4]]
        inputs += [
            width + skip * concat for width, skip in zip(widths[:4], reversed(skips), strict=True)
        ]
        self.up = nn.ModuleList(deconv_bn_relu(i, o) for i, o in zip(inputs, widths, strict=True))
        self.residual = nn.Sequential(
            *(ResidualBlock(widths[1]) for _ in range(config.residual_blocks))
        )
        self.head = nn.Conv2d(widths[4], 1, 3, padding=1)
        if config.skip in ("asc", "bam", "cbam"):
            self.product_names = ("attention",)
            self.attention_names = tuple(f"{config.skip}/{stride}" for stride in STRIDES[:4])

    def training_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` (B, 1, h, w)."""
        depth_m = self._fitted(self.normalise(image), self._depth_m)
        return {"depth_m": depth_m.to(image.dtype)}

    def products(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m` (B, 1, h, w) and `attention` (B, 4, h, w), one map per skip.

        The maps are in (0, 1), finest first: the sigmoid of F' for `asc`, the spatial map for
        `cbam`, the mean over channels for `bam`. `se` and `plain` have no map and no such product.
        """
        if not self.attention_names:
            return {"depth_m": self(image)}
        maps = self._fitted(self.normalise(image), self._depth_and_attention).to(image.dtype)
        return {"depth_m": maps[:, :1], "attention": maps[:, 1:]}

    def _fitted(self, image: Tensor, answer: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply `answer` to a normalised image of any size, (B, 3, h, w) → (B, C, h, w)."""
        training = self.config.training_size
        if self.config.grid_handling == "sliding_windows":
            return over_windows(image, training, answer)
        if self.config.grid_handling == "resize_image":
            resized = enlarge(image, (training.height, training.width), "bilinear")
            return enlarge(answer(resized), (image.shape[-2], image.shape[-1]), "bilinear")
        padded, window = pad_to_multiple(image, STRIDES[-1])
        return answer(padded)[window]

    def _depth_m(self, image: Tensor) -> Tensor:
        return self._run(image)[0]

    def _depth_and_attention(self, image: Tensor) -> Tensor:
        depth_m, maps = self._run(image)
        size = (image.shape[-2], image.shape[-1])
        return torch.cat((depth_m, *(enlarge(m, size, "bilinear") for m in maps)), dim=1)

    def _run(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(B, 3, H, W), 32 divides H and W → depth (B, 1, H, W) and each skip's spatial map."""
        *skipped, bottleneck = self.encoder(image)
        maps = []
        if self.config.skip != "plain":
            attended = [skip(x) for skip, x in zip(self.skips, skipped, strict=True)]
            skipped = [features for features, _ in attended]
            maps = [weights.spatial for _, weights in attended if weights.spatial is not None]
        x = self.context(bottleneck)
        for stage in range(4):
            x = self.up[stage](x)
            if stage == 1:
                x = self.residual(x)
            x = self._fuse(x, skipped[3 - stage])
        logits = self.head(self.up[4](x))
        return depth_from_logits(logits, self.config.max_depth_m), maps

    def _fuse(self, decoded: Tensor, skipped: Tensor) -> Tensor:
        if self.config.skip_fusion == "add":
            return decoded + skipped
        return torch.cat((decoded, skipped), dim=1)

    def _decoder_widths(self) -> tuple[int, ...]:
        asked = self.config.decoder_channels
        if self.config.skip_fusion == "concat":
            return asked or CONCAT_WIDTHS
        encoder_widths = tuple(reversed(self.encoder.channels[:4]))
        widths = asked or (*encoder_widths, CONCAT_WIDTHS[-1])
        if widths[:4] != encoder_widths:
            raise ConfigError(
                f"decoder_channels is {widths}, but added skips of {self.config.backbone} have "
                f"{encoder_widths} channels; start with these, leave decoder_channels out, or set "
                "skip_fusion to concat"
            )
        return widths


def over_windows(image: Tensor, window: ImageSize, answer: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply `answer` to windows of an image and average where they overlap.

    Windows are spread evenly and overlap by half or more: 3 across a KITTI image of 1216 px with
    windows of 704 px, 2 by 2 in a NYU image of 480x640 with windows of 448x576. A side smaller
    than the window is zero-padded evenly.

    Args:
        image: (B, 3, h, w).
        window: size that `answer` is given.
        answer: (N, 3, window.height, window.width) → (N, C, the same).

    Returns:
        (B, C, h, w).
    """
    height, width = image.shape[-2:]
    full_height, full_width = max(height, window.height), max(width, window.width)
    padded, top, left = pad_evenly(image, full_height, full_width)
    places = [
        (..., slice(y, y + window.height), slice(x, x + window.width))
        for y in window_starts(full_height, window.height)
        for x in window_starts(full_width, window.width)
    ]
    answers = answer(torch.cat([padded[place] for place in places])).chunk(len(places))
    total = answers[0].new_zeros(len(image), answers[0].shape[1], full_height, full_width)
    count = total.new_zeros(full_height, full_width)
    for place, part in zip(places, answers, strict=True):
        total[place] += part
        count[place] += 1
    return (total / count)[..., top : top + height, left : left + width]


def window_starts(length: int, window: int) -> list[int]:
    """Return where windows begin that cover `length` evenly and overlap by half or more."""
    extra = length - window
    steps = ceil_to(2 * extra, window) // window
    return [extra * step // steps for step in range(steps + 1)] if steps else [0]


def _skip_module(config: AscGcmConfig, channels: int) -> nn.Module:
    if config.skip == "asc":
        return AttentiveSkip(
            channels,
            config.asc_dilations,
            config.asc_width_divisor,
            config.reduction,
            config.asc_sigmoid,
        )
    kinds = {"se": SqueezeExcitation, "bam": BottleneckAttention, "cbam": ConvBlockAttention}
    return kinds[config.skip](channels, config.reduction)
