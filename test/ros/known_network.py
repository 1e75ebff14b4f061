"""A network whose every answer can be read off the picture, in a real predictor."""

from __future__ import annotations

import torch

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.models.base import DepthNetwork, ImageSize
from mono_depth_ros.predictor import DepthPredictor


class KnownNetwork(DepthNetwork):
    """Depth is 10 m times red, confidence green, attention blue and 2 - blue, bright red is sky."""

    max_depth_m = 10.0
    product_names = ("confidence", "attention", "semantics")
    attention_names = ("first", "second")
    class_names = ("ground", "Sky")

    def __init__(self):
        super().__init__()
        self.calls = []

    def training_outputs(self, image):
        self.calls.append("depth")
        return {"depth_m": 10.0 * image[:, :1]}

    def products(self, image):
        self.calls.append("products")
        red, green, blue = image.split(1, dim=1)
        return {
            "depth_m": 10.0 * red,
            "confidence": green,
            "attention": torch.cat([blue, 2.0 - blue], dim=1),
            "semantics": (red > 0.9).to(torch.uint8),
        }


class DepthOnlyNetwork(KnownNetwork):
    """The same without anything beside depth."""

    product_names = attention_names = class_names = ()


def load_known(checkpoint, config, network=KnownNetwork):
    info = CheckpointInfo("known", "known", {"max_depth_m": 10.0}, ImageSize(64, 96))
    return DepthPredictor(network(), info, config)


def load_depth_only(checkpoint, config):
    return load_known(checkpoint, config, DepthOnlyNetwork)
