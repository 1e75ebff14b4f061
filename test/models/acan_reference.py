"""ACAN as its layer table says, run from tensors under the authors' names."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torchvision.models import resnet50

KEYS, VALUES, CONTEXT, BINS = 20, 28, 12, 16
BLOCKS = {"layer1": 3, "layer2": 4, "layer3": 6, "layer4": 3}
NEAREST_M, FARTHEST_M = 1.98, 80.0


class AuthorAcan:
    """The authors' tensors, narrow, with random numbers, and what their code computes with them."""

    def __init__(self, head: str, inference: str) -> None:
        torch.manual_seed(0)
        self.head, self.inference = head, inference
        encoder = resnet50(weights=None).state_dict()
        self.state = {name: t for name, t in encoder.items() if not name.startswith("fc.")}
        saconv, merged = "decoder.saconv.", VALUES + CONTEXT
        self._linear(saconv + "f_key.conv", KEYS, 2048, 1, 1)
        self.state |= {
            f"{saconv}f_key.bn.{name}": tensor
            for name, tensor in torch.nn.BatchNorm2d(KEYS).state_dict().items()
        }
        self._linear(saconv + "f_value.conv1", VALUES, 2048, 3, 3)
        self._linear(saconv + "f_value.conv2", VALUES, VALUES, 1, 1)
        self._linear("decoder.image_context.linear1", CONTEXT, 2048)
        self._linear("decoder.image_context.linear2", CONTEXT, CONTEXT)
        self._linear("decoder.merge.conv1", VALUES, merged, 1, 1)
        outputs = 2 * BINS if head == "ordinal" else BINS
        self._linear("classifier.conv", outputs, VALUES, 1, 1)
        # Listed twice: their query is the module of their key.
        query = {k.replace("f_key", "f_query"): v for k, v in self.state.items() if "f_key" in k}
        self.state |= query
        self._measure_norms()

    def _linear(self, name: str, *shape: int) -> None:
        self.state[f"{name}.weight"] = torch.randn(shape) * math.sqrt(2 / math.prod(shape[1:]))
        self.state[f"{name}.bias"] = torch.randn(shape[0]) * 0.1

    def _measure_norms(self) -> None:
        """Random scales; means and variances of one batch, as after training."""
        for name, tensor in self.state.items():
            if tensor.ndim == 1 and name.endswith("weight"):
                tensor.uniform_(0.5, 1.5)
        self.measuring = True
        self(blotches(4, seed=2))
        self.measuring = False

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, h, w) in [0, 1], sides multiples of 8 → depth (B, 1, h, w) in metres."""
        with torch.no_grad():
            return self._depth(self._decode(self._encode(image)))

    def _conv(self, name, x, **settings):
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        return functional.conv2d(x, weight, bias, **settings)

    def _norm(self, name, x):
        mean, var, weight, bias = (
            self.state[f"{name}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        if self.measuring:
            mean.copy_(x.mean((0, 2, 3)))
            var.copy_(x.var((0, 2, 3)))
        return functional.batch_norm(x, mean, var, weight, bias)

    def _encode(self, image):
        x = self._norm("bn1", self._conv("conv1", image, stride=2, padding=3)).relu()
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for layer, count in BLOCKS.items():
            dilation = {"layer3": 2, "layer4": 4}.get(layer, 1)
            for i in range(count):
                stride = 2 if (layer, i) == ("layer2", 0) else 1
                x = self._bottleneck(f"{layer}.{i}", x, stride, dilation)
        return x

    def _bottleneck(self, name, x, stride, dilation):
        y = self._norm(f"{name}.bn1", self._conv(f"{name}.conv1", x)).relu()
        y = self._conv(f"{name}.conv2", y, stride=stride, padding=dilation, dilation=dilation)
        y = self._norm(f"{name}.bn2", y).relu()
        y = self._norm(f"{name}.bn3", self._conv(f"{name}.conv3", y))
        if f"{name}.downsample.0.weight" in self.state:
            shortcut = self._conv(f"{name}.downsample.0", x, stride=stride)
            x = self._norm(f"{name}.downsample.1", shortcut)
        return (x + y).relu()

    def _decode(self, x):
        batch, _, height, width = x.shape
        saconv = "decoder.saconv."
        query = self._norm(saconv + "f_query.bn", self._conv(saconv + "f_query.conv", x)).relu()
        key = self._norm(saconv + "f_key.bn", self._conv(saconv + "f_key.conv", x)).relu()
        similarity = torch.einsum("bcyx,bcvu->byxvu", query, key) / math.sqrt(KEYS)
        weights = similarity.flatten(3).softmax(-1).view_as(similarity)
        value = self._conv(saconv + "f_value.conv1", x, padding=1).relu()
        value = self._conv(saconv + "f_value.conv2", value).relu()
        pixels = torch.einsum("byxvu,bcvu->bcyx", weights, value)
        image = x.mean((2, 3))
        for name in ("linear1", "linear2"):
            name = "decoder.image_context." + name
            weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
            image = functional.linear(image, weight, bias).relu()
        image = image.view(batch, -1, 1, 1).repeat(1, 1, height, width)
        merged = self._conv("decoder.merge.conv1", torch.cat((pixels, image), 1)).relu()
        coarse = self._conv("classifier.conv", merged)
        return functional.interpolate(
            coarse, scale_factor=8, mode="bilinear", align_corners=True
        ).double()

    def _depth(self, y):
        if self.head == "ordinal":
            p = y[:, 1::2].exp() / (y[:, 0::2].exp() + y[:, 1::2].exp())
            total = p.sum(1) if self.inference == "soft" else (p > 0.5).double().sum(1)
            label = total.floor()
            near = (threshold(label) + threshold(label + 1)) / 2
            far = (threshold(label + 1) + threshold(label + 2)) / 2
            depth_m = near * (1 - total + label) + far * (total - label)
        elif self.inference == "soft":
            logs = threshold(torch.arange(BINS).double()).log()
            depth_m = torch.einsum("bkyx,k->byx", y.softmax(1), logs).exp()
        else:
            depth_m = threshold(y.argmax(1).double())
        return depth_m[:, None].float()


def threshold(index: torch.Tensor) -> torch.Tensor:
    return NEAREST_M * (FARTHEST_M / NEAREST_M) ** (index / (BINS - 1))


def blotches(count: int, seed: int) -> torch.Tensor:
    """Images of 64x96 on which attention has something to tell apart."""
    cells = torch.rand(count, 3, 4, 6, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(cells, size=(64, 96), mode="nearest")
