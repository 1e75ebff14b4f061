"""HMA-Depth as its layer table says, run from tensors under the authors' names."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torchvision import models as torchvision_models

WIDTH, HEAD, ATTENTION, RATES = 64, 12, 10, (3, 6, 12, 18, 24)
GROWTH = WIDTH // 4
# Taps by torchvision's module names, strides 2 to 32, and their channels.
TAPS = {
    "resnet50": (("relu", "layer1", "layer2", "layer3", "layer4"), (64, 256, 512, 1024, 2048)),
    "densenet121": (
        ("relu0", "pool0", "transition1", "transition2", "norm5"),
        (64, 64, 128, 256, 1024),
    ),
}
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def author_convolutions(skips):
    """Return name -> (inputs, outputs, kernel), some of the dead modules included."""
    s0, s1, s2, s3, s4 = skips
    w, g = WIDTH, GROWTH
    convolutions = {
        "upconv5.conv": (s4, w, 3),
        "conv5.0": (w + s3, w, 3),
        "upconv4.conv": (w, w // 2, 3),
        "conv4.0": (w // 2 + s2, w // 2, 3),
        "daspp_conv.0": (w // 2 + 5 * g, g, 3),
        "upconv3.conv": (g, g, 3),
        "conv3.0": (g + s1, g, 3),
        "upconv2.conv": (g, w // 8, 3),
        "conv2.0": (w // 8 + s0, w // 8, 3),
        "upconv1.conv": (w // 8, w // 16, 3),
        "reduc1x1.reduc.final.0": (w // 16, 1, 1),
        "conv1.0": (w // 16 + 4, w // 16, 3),
        "get_depth.0": (w // 16, 1, 3),
        "ag_conv.0": (w // 16, w // 16, 3),
        "ag_conv3.0": (w // 16, w // 16, 3),
        "ag_get_depth.2": (w // 16, 1, 3),
    }
    for i, rate in enumerate(RATES):
        prefix = f"daspp_{rate}.atrous_conv.aconv_sequence."
        convolutions[prefix + "1"] = (w // 2 if i == 0 else w // 2 + s2 + i * g, w // 2, 1)
        convolutions[prefix + "4"] = (w // 2, g, 3)
    for number, inputs in ((1, g), (2, g), (3, w // 8), (4, w // 16)):
        convolutions[f"head{number}.0"] = (inputs, HEAD, 3)
        convolutions[f"head{number}.3"] = (HEAD, HEAD, 3)
        convolutions[f"head{number}.6"] = (HEAD, 1, 1)
        if number < 4:
            convolutions[f"ag{number}.ag.0"] = (inputs, ATTENTION, 3)
            convolutions[f"ag{number}.ag.2"] = (ATTENTION, 1, 1)
    return convolutions


def author_norms(s2):
    """Return name -> channels."""
    norms = {"bn5": WIDTH, "bn4": WIDTH // 2, "bn4_2": WIDTH // 2, "bn3": GROWTH, "bn2": WIDTH // 8}
    for i, rate in enumerate(RATES):
        norms[f"daspp_{rate}.atrous_conv.aconv_sequence.2"] = WIDTH // 2
        if i:
            norms[f"daspp_{rate}.atrous_conv.first_bn"] = WIDTH // 2 + s2 + i * GROWTH
    return norms | {f"head{number}.{i}": HEAD for number in (1, 2, 3, 4) for i in (1, 4)}


class AuthorHma:
    """The authors' network: torchvision's trunk, and random tensors under the authors' names."""

    def __init__(self, backbone):
        torch.manual_seed(5)
        trunk = getattr(torchvision_models, backbone)(weights=None).eval()
        self.trunk = trunk.features if backbone == "densenet121" else trunk
        self.taps, skips = TAPS[backbone]
        self.state = {f"encoder.base_model.{k}": v for k, v in self.trunk.state_dict().items()}
        for name, (inputs, outputs, kernel) in author_convolutions(skips).items():
            self.state[f"decoder.{name}.weight"] = torch.empty(outputs, inputs, kernel, kernel)
        for name, width in author_norms(skips[2]).items():
            for tensor in ("weight", "bias", "running_mean", "running_var"):
                self.state[f"decoder.{name}.{tensor}"] = torch.empty(width)
            self.state[f"decoder.{name}.num_batches_tracked"] = torch.tensor(3)
        randomise(self.state)

    @torch.no_grad()
    def __call__(self, image, pad=1):
        """Return depth in metres; `pad` is that of the attention heads' 1x1 convolution."""
        size = image.shape[-2:]
        f8, f4, f2, f1 = self.features(self.encode((image - MEAN) / STD))
        a8, a4, a2 = (self.attention(i, f, size, pad) for i, f in ((1, f8), (2, f4), (3, f2)))
        depth = a8 * self.head(1, f8, size) + a4 * (1 - a8) * self.head(2, f4, size)
        depth += a2 * (1 - a8) * (1 - a4) * self.head(3, f2, size)
        return 10.0 * (depth + (1 - a8) * (1 - a4) * (1 - a2) * self.head(4, f1, size))

    def encode(self, x):
        taps = []
        for name, module in self.trunk.named_children():
            if name == "avgpool":
                break
            x = module(x)
            if name in self.taps:
                taps.append(x)
        return taps

    def features(self, taps):
        s0, s1, s2, s3, s4 = taps
        x = self.fuse("conv5", self.norm("bn5", self.up(5, s4.relu()), 1.1e-5), s3)
        before = torch.cat((self.norm("bn4", self.up(4, x), 1.1e-5), s2), 1)
        fused = self.norm("bn4_2", self.fuse("conv4", before), 1.1e-5)
        f8 = self.fuse("daspp_conv", fused, *self.branches(before, fused))
        f4 = self.fuse("conv3", self.norm("bn3", self.up(3, f8), 1.1e-5), s1)
        f2 = self.fuse("conv2", self.norm("bn2", self.up(2, f4), 1.1e-5), s0)
        return f8, f4, f2, self.up(1, f2)

    def branches(self, before, fused):
        answers = []
        for i, rate in enumerate(RATES):
            name = f"daspp_{rate}.atrous_conv."
            x = fused
            if i:
                x = self.norm(name + "first_bn", torch.cat((before, *answers), 1), 1.1e-5)
            x = self.conv(name + "aconv_sequence.1", x.relu(), padding=0)
            x = self.norm(name + "aconv_sequence.2", x).relu()
            answers.append(self.conv(name + "aconv_sequence.4", x, padding=rate, dilation=rate))
        return answers

    def head(self, number, x, size):
        x = self.norm(f"head{number}.1", self.conv(f"head{number}.0", x)).relu()
        x = self.norm(f"head{number}.4", self.conv(f"head{number}.3", x)).relu()
        return enlarge(self.conv(f"head{number}.6", x, padding=0).sigmoid(), size)

    def attention(self, number, x, size, pad):
        x = self.conv(f"ag{number}.ag.0", x).relu()
        return enlarge(self.conv(f"ag{number}.ag.2", x, padding=pad).sigmoid(), size)

    def up(self, number, x):
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return functional.elu(self.conv(f"upconv{number}.conv", x))

    def fuse(self, name, *maps):
        return functional.elu(self.conv(f"{name}.0", torch.cat(maps, 1)))

    def conv(self, name, x, padding=1, dilation=1):
        weight = self.state[f"decoder.{name}.weight"]
        return functional.conv2d(x, weight, padding=padding, dilation=dilation)

    def norm(self, name, x, eps=1e-5):
        mean, var, weight, bias = (
            self.state[f"decoder.{name}.{tensor}"].view(1, -1, 1, 1)
            for tensor in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + eps).sqrt() * weight + bias


def randomise(state):
    """Fill tensors so that signals neither die nor explode, norm statistics included."""
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        if tensor.ndim > 1:
            tensor.normal_().mul_((1.5 / tensor[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "weight")):
            tensor.uniform_(0.5, 1.5)
        else:
            tensor.normal_().mul_(0.2)


def enlarge(x, size):
    return functional.interpolate(x, size, mode="bilinear", align_corners=False)
