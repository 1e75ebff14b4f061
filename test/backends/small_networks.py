"""All networks, small enough to export and compile in a second or two."""

from __future__ import annotations

import torch

from mono_depth_ros.models import create_model
from mono_depth_ros.models.base import ImageSize

SIZE = ImageSize(64, 96)
_COMMON = {"image_size": {"height": 64, "width": 96}, "max_depth_m": 10.0}
_TRUNK = {"backbone": "mobilenet_v2", "backbone_width": 0.25}

SETTINGS = {
    "pwa": {
        "decoder_channels": [16, 16, 16, 16],
        "aspp_bottleneck": 16,
        "aspp_growth": 8,
        "patch_size": 32,
    },
    "hma": {
        "num_features": 32,
        "head_channels": 8,
        "attention_channels": 8,
        "aspp_rates": [3, 6],
    },
    "acan": {
        "min_depth_m": 0.5,
        "bins": 10,
        "key_channels": 16,
        "value_channels": 16,
        "context_channels": 8,
    },
    "asc_gcm": {
        "decoder_channels": [32, 16, 16, 8, 8],
        "gcm_hidden": 16,
        "context_grid": [2, 3],
    },
    "look_deeper": {
        "semantics": "nyu13",
        "bottleneck": 32,
        "decoder_channels": [16, 16, 8, 8],
    },
    "hgc": {
        "decoder_channels": [16, 16, 8, 8],
        "aspp_bottleneck": 16,
        "aspp_growth": 8,
        "head_channels": 8,
        "context_grid": [2, 3],
        "context_hidden": 16,
    },
}


def small_network(name):
    """Return a network with fixed random weights and a depth that varies over the picture.

    Random heads answer nearly one depth for all pixels, which would hide a graph that ignores them.
    """
    torch.manual_seed(1)
    network = create_model(name, {**_COMMON, **_TRUNK, **SETTINGS[name]})
    image = torch.rand(4, 3, 64, 96)
    with torch.no_grad():
        for _ in range(20):
            network.train()(image)
    return network.eval()
