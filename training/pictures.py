"""What TensorBoard shows of a validation image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mono_depth_ros.coloring import DepthColorizer
from mono_depth_ros.models import DepthNetwork

Picture = npt.NDArray[np.uint8]


@torch.inference_mode()
def validation_pictures(
    network: DepthNetwork, item: dict[str, Any], device: torch.device
) -> Iterator[tuple[str, Picture]]:
    """Yield names and (h, w, 3) uint8 pictures: image, truth, depth and attention maps.

    Args:
        network: in evaluation mode.
        item: of a validation set.
        device: of the network.
    """
    products = network.products(item["image"][None].to(device))
    colors = DepthColorizer(network.max_depth_m)
    yield "image", (255.0 * item["image"]).byte().permute(1, 2, 0).numpy()
    # The colouriser reuses its array.
    yield "depth/truth", colors(item["depth_m"][0].numpy()).copy()
    yield "depth/answer", colors(products["depth_m"][0, 0].float().cpu().numpy())
    if "attention" in products:
        for name, values in zip(network.attention_names, products["attention"][0], strict=True):
            yield f"attention/{name}", _grey(values)


def _grey(values: Tensor) -> Picture:
    """Stretch (h, w) between its least and largest value."""
    values = values.float().cpu()
    low, high = values.min(), values.max()
    grey = (255.0 * (values - low) / (high - low).clamp_min(1e-12)).byte().numpy()
    return np.repeat(grey[..., None], 3, axis=-1)
