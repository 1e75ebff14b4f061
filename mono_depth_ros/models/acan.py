"""ACAN: attention-based context aggregation network (Chen, Zhao, Hu, 2019).

Dilated encoder at stride 8, self-attention between all its pixels, one context vector of the whole
image, a 1x1 convolution over both, a classifier over 80 intervals of ln(depth), bilinear upsampling
of its logits, and soft ordinal inference.

Where the paper is silent this file follows the authors' code (miraiaroha/ACAN): the value
transform, the two fully connected layers after the pooling, the dropouts, the initialisation. It
differs from the code where that only removes a limit or a flaw:

* Any image size: global pooling and broadcasting in place of windows of one fixed size. Images are
  zero-padded, after normalisation, to a multiple of 8.
* P = sigmoid of the pair's difference, which does not overflow as a ratio of exponentials does.
* The attention logits are scaled before the product and normalised in float32.
* Without image context the branch is dropped. The paper sets the pooled vector to zero, which
  leaves a constant vector; the bias of the convolution after it can say the same.
* The auxiliary head (256 classes on the third stage) is not ported: its weight is 0 in every
  released script, and it does not fit 80 classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models.base import DepthNetwork, ImageSize, NetworkSettings, require_positive
from mono_depth_ros.models.blocks import Window, at_least_float32, pad_to_multiple
from mono_depth_ros.models.discretisation import (
    Inference,
    SidMode,
    SpacingIncreasingDiscretisation,
    class_label,
    ordinal_label,
    ordinal_margins,
)
from mono_depth_ros.models.encoder import BackboneName, make_encoder

STRIDE: Final = 8
"""Image pixels per attention pixel."""

NYU_CROP = ImageSize(256, 352)


@dataclass(frozen=True, slots=True)
class AcanConfig(NetworkSettings):
    """Settings of ACAN; the defaults are the paper's ResNet50 network on NYU Depth V2.

    For KITTI the paper has `image_size` 160x512, the authors' code 160x640, `min_depth_m` 1.98 and
    `max_depth_m` 80.

    Attributes:
        image_size: the paper's crop of NYU; any size from 64 px up is taken.
        backbone: the paper has resnet50 and resnet101.
        min_depth_m: near end of the depth range; 0.72 for NYU and 1.98 for KITTI in the code.
        bins: intervals of depth K; the paper has 80.
        head: `ordinal` (eq. 10), or `cross_entropy` for the rows of Table III.
        inference: `soft` (eq. 13) or `hard` (eq. 12), Table III.
        sid_mode: how depth becomes a label and back; see `discretisation`. The published forms
            answer depths about 2 % too large.
        image_context: the global pooling branch; off in the upper rows of Table II.
        key_channels: width of keys and queries.
        value_channels: width of the attended features and of the classifier's input.
        context_channels: width of the image context.
        dropout: probability of the three dropouts around context and merge.
        imagenet_normalisation: subtract ImageNet's mean and divide by its deviation, as the
            pretrained backbones expect; the authors' code does not.
        align_corners: how the logits are upsampled; the code has true.
        attention_pixel: (row, col) in the image whose attention the product `attention` shows;
            None for the centre.
        confidence_temperature: divides the evidence that `confidence` is computed from, not that of
            the depth; above 1 the network is less sure. 1 leaves its own distribution; None does
            so too and marks it as uncalibrated. `training.calibrate_confidence` fits it.
    """

    image_size: ImageSize = NYU_CROP
    backbone: BackboneName = "resnet50"
    min_depth_m: float = 0.72
    bins: int = 80
    head: Literal["ordinal", "cross_entropy"] = "ordinal"
    inference: Inference = "soft"
    sid_mode: SidMode = "consistent"
    image_context: bool = True
    key_channels: int = 512
    value_channels: int = 2048
    context_channels: int = 512
    dropout: float = 0.5
    imagenet_normalisation: bool = True
    align_corners: bool = True
    attention_pixel: tuple[int, int] | None = None
    confidence_temperature: float | None = None

    def __post_init__(self) -> None:
        NetworkSettings.__post_init__(self)
        self.discretisation  # noqa: B018 - refuses a wrong range
        require_positive(
            key_channels=self.key_channels,
            value_channels=self.value_channels,
            context_channels=self.context_channels,
        )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError(f"dropout is {self.dropout}; give 0 or more and less than 1")
        temperature = self.confidence_temperature
        if temperature is not None and not 0.0 < temperature < math.inf:
            raise ConfigError(
                f"confidence_temperature is {temperature}; give a positive number, "
                "or null for an uncalibrated confidence"
            )
        row, col = self.attention_pixel or (0, 0)
        if not (0 <= row < self.image_size.height and 0 <= col < self.image_size.width):
            raise ConfigError(
                f"attention_pixel is {self.attention_pixel}; give (row, col) inside the image of "
                f"{self.image_size.height}x{self.image_size.width} (height x width)"
            )

    @property
    def discretisation(self) -> SpacingIncreasingDiscretisation:
        """The classes of depth."""
        return SpacingIncreasingDiscretisation(
            self.min_depth_m, self.max_depth_m, self.bins, self.sid_mode
        )


class SelfAttention(nn.Module):
    """Pixel-level attention of ACAN (section III-B, eqs. 1 to 4): every pixel looks at every other.

    Keys and queries are one map, so W = softmax(K^T K / sqrt(C_K)). The paper does not define the
    values psi(x); as in the authors' code they are a 3x3 and a 1x1 convolution, each with ReLU.
    """

    def __init__(self, inputs: int, key_channels: int, value_channels: int) -> None:
        super().__init__()
        self.key = nn.Sequential(
            # The norm makes this bias superfluous, but the authors' weights hold one.
            nn.Conv2d(inputs, key_channels, 1),
            nn.BatchNorm2d(key_channels),
            nn.ReLU(inplace=True),
        )
        self.value = nn.Sequential(
            nn.Conv2d(inputs, value_channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(value_channels, value_channels, 1),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Attend.

        Args:
            features: (B, C, h, w).

        Returns:
            The context (B, value_channels, h, w) and ln W (B, N, N) in float32, N = h * w
            row-major, row i the distribution of pixel i over all pixels j.
        """
        keys = self.key(features).flatten(2)
        # Scaled before the product, which float16 could not hold.
        scores = (keys * keys.shape[1] ** -0.5).transpose(1, 2) @ keys
        log_attention = scores.float().log_softmax(-1)
        values = self.value(features)
        context = values.flatten(2) @ log_attention.exp().to(values.dtype).transpose(1, 2)
        return context.view(values.shape), log_attention


class ImageContext(nn.Module):
    """One vector of the whole image: average pooling and two fully connected layers."""

    def __init__(self, inputs: int, channels: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(
            nn.Linear(inputs, channels),
            nn.ReLU(inplace=True),
            nn.Linear(channels, channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) → (B, channels, h, w), the same everywhere."""
        pooled = self.dropout(features.mean((2, 3)))
        return self.layers(pooled)[:, :, None, None].expand(-1, -1, *features.shape[-2:])


class Acan(DepthNetwork):
    """ACAN (2019); decisions are in the module's docstring."""

    config: AcanConfig
    product_names: tuple[str, ...] = ("confidence", "attention")
    attention_names: tuple[str, ...] = ("attention_pixel",)

    def __init__(self, config: AcanConfig) -> None:
        super().__init__()
        self.config = config
        self.discretisation = config.discretisation
        if not config.imagenet_normalisation:
            self.image_mean.zero_()
            self.image_std.fill_(1.0)
        self.encoder = make_encoder(config.backbone, config.backbone_width, output_stride=STRIDE)
        inputs, width = self.encoder.channels[-1], config.value_channels
        self.attention = SelfAttention(inputs, config.key_channels, width)
        merged = width
        if config.image_context:
            self.context = ImageContext(inputs, config.context_channels, config.dropout)
            merged += config.context_channels
        self.merge = nn.Sequential(
            nn.Dropout2d(config.dropout),
            nn.Conv2d(merged, width, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(config.dropout),
        )
        outputs = 2 * config.bins if config.head == "ordinal" else config.bins
        self.classifier = nn.Conv2d(width, outputs, 1)
        self._initialise()

    @property
    def confidence_calibrated(self) -> bool:
        """Whether `confidence_temperature` is set."""
        return self.config.confidence_temperature is not None

    @property
    def max_depth_m(self) -> float:
        """Largest depth the head can answer; the published SID modes go beyond the range."""
        if self.config.sid_mode == "consistent":
            return self.config.max_depth_m
        largest = torch.tensor(float(self.config.bins))
        if self.config.head == "ordinal":
            return self.discretisation.ordinal_depth_m(largest).item()
        return self.discretisation.class_depth_m(largest - 1.0).item()

    def forward(self, image: Tensor) -> Tensor:
        """Predict depth; see `DepthNetwork.forward`."""
        coarse, _, window = self._run(image)
        evidence = self._upsample(self.evidence(coarse), window)
        return self._depth_m(evidence).to(image.dtype)

    def training_outputs(self, image: Tensor) -> dict[str, Tensor]:
        """Return what the losses need.

        Returns:
            `depth_m` (B, 1, h, w); `ordinal_logits` (B, 2K, h, w) or `class_logits` (B, K, h, w);
            `log_attention` (B, N, N) float32, row i ln of the attention of pixel i of the padded
            image at stride 8.
        """
        coarse, log_attention, window = self._run(image)
        logits = self._upsample(coarse, window)
        depth_m = self._depth_m(self.evidence(logits)).to(image.dtype)
        name = "ordinal_logits" if self.config.head == "ordinal" else "class_logits"
        return {"depth_m": depth_m, name: logits, "log_attention": log_attention}

    def products(self, image: Tensor) -> dict[str, Tensor]:
        """Return `depth_m`, `confidence` and `attention`, each (B, 1, h, w).

        `confidence` is the probability of depths within a factor of 1.25 of the answer; without a
        `confidence_temperature` it is the network's own, which tends to be too sure. `attention` is
        the share that `attention_pixel` gives to every pixel; at stride 8 it sums to 1.
        """
        coarse, log_attention, window = self._run(image)
        evidence = self._upsample(self.evidence(coarse), window)
        depth_m = self._depth_m(evidence)
        row = self._attention_row(log_attention, coarse.shape[-2:], window)
        products = {
            "depth_m": depth_m,
            "confidence": self.confidence(
                evidence, depth_m, self.config.confidence_temperature or 1.0
            ),
            "attention": self._upsample(row, window),
        }
        return {name: product.to(image.dtype) for name, product in products.items()}

    def evidence(self, logits: Tensor) -> Tensor:
        """Return (B, K, h, w), float32 or wider: logits of P(class > k), or of the classes.

        For ordinal logits these are half the channels, and upsampling them is the same as
        upsampling all; it halves the cost of the whole head.
        """
        if self.config.head == "ordinal":
            return ordinal_margins(logits)
        return at_least_float32(logits)

    def confidence(self, evidence: Tensor, depth_m: Tensor, temperature: float) -> Tensor:
        """Return the probability of depths within a factor of 1.25 of `depth_m`.

        Args:
            evidence: (B, K, h, w), of `evidence`.
            depth_m: (B, 1, h, w), the answer, metres.
            temperature: divides the evidence.

        Returns:
            (B, 1, h, w) in [0, 1].
        """
        evidence = evidence / temperature
        if self.config.head == "ordinal":
            exceeding = evidence.sigmoid()
        else:
            exceeding = (1.0 - evidence.softmax(1).cumsum(1)).clamp_min(0.0)
        return self.discretisation.confidence(exceeding, depth_m)

    def _run(self, image: Tensor) -> tuple[Tensor, Tensor, Window]:
        """Return logits at stride 8, ln of the attention, and the image's place in the padding."""
        x, window = pad_to_multiple(self.normalise(image), STRIDE)
        features = self.encoder(x)[-1]
        context, log_attention = self.attention(features)
        if self.config.image_context:
            context = torch.cat((context, self.context(features)), dim=1)
        return self.classifier(self.merge(context)), log_attention, window

    def _upsample(self, coarse: Tensor, window: Window) -> Tensor:
        height, width = coarse.shape[-2:]
        full = functional.interpolate(
            coarse,
            size=(STRIDE * height, STRIDE * width),
            mode="bilinear",
            align_corners=self.config.align_corners,
        )
        return full[window]

    def _depth_m(self, evidence: Tensor) -> Tensor:
        """(B, K, h, w) → the answer (B, 1, h, w), metres."""
        inference = self.config.inference
        if self.config.head == "ordinal":
            label = ordinal_label(evidence.sigmoid(), inference)
            return self.discretisation.ordinal_depth_m(label)
        return self.discretisation.class_depth_m(class_label(evidence.softmax(1), inference))

    def _attention_row(self, log_attention: Tensor, grid: torch.Size, window: Window) -> Tensor:
        """Return the attention of `attention_pixel` as a map (B, 1, rows, cols)."""
        vertical, horizontal = window[1:]
        assert isinstance(vertical, slice) and isinstance(horizontal, slice)
        if self.config.attention_pixel is None:
            row = (vertical.start + vertical.stop) // 2
            col = (horizontal.start + horizontal.stop) // 2
        else:
            # An image smaller than `image_size` may end before the pixel.
            row = min(vertical.start + self.config.attention_pixel[0], vertical.stop - 1)
            col = min(horizontal.start + self.config.attention_pixel[1], horizontal.stop - 1)
        index = row // STRIDE * grid[1] + col // STRIDE
        return log_attention[:, index].exp().view(-1, 1, *grid)

    def _initialise(self) -> None:
        """He initialisation for every convolution of the decoder, as in the authors' code."""
        for part in (self.attention, self.merge, self.classifier):
            for module in part.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    assert module.bias is not None
                    nn.init.zeros_(module.bias)
