"""A checkpoint as what answers for the images of prepared data.

A recipe with a `view` (KITTI's bottom-centre window, ACAN's crop) is followed: the network sees
that part of the frame, and what it did not see has no depth. A checkpoint of the procedural world
is run like the node runs it, letterboxed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mono_depth_ros.checkpoint import CheckpointInfo, load_network
from mono_depth_ros.config import from_mapping
from mono_depth_ros.device import resolve_device
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import IGNORED_LABEL, DepthNetwork, ImageSize
from mono_depth_ros.predictor import DepthPredictor, InferenceConfig
from mono_depth_ros.preprocessing import image_to_tensor
from training.datasets.reader import PreparedReader, intrinsics_of
from training.manifest import Record
from training.view import View, ViewConfig, Window

# Nearest depth of a map that is averaged with its mirror image (AdaBins' evaluation).
_NEAREST_M = 1e-3


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known about one image.

    Attributes:
        depth_m: (H, W) float32 metres of the full frame, NaN where there is no prediction.
        semantics: (H, W) int16 class index, -1 where there is none; None without semantics.
    """

    depth_m: npt.NDArray[np.float32]
    semantics: npt.NDArray[np.int16] | None = None


class Source(Protocol):
    """What answers for records: a network, or predictions on disk."""

    def __call__(self, record: Record, reader: PreparedReader) -> Answer:
        """Return the answer for one image; DataError or ShapeError if there is none."""


class ViewSource:
    """A network that sees a view of the frame.

    depth_m = network(view) * f / f_train, both focal lengths of the image as the network sees it;
    the factor is left out where the recipe says `normalise_focal: false`.

    Args:
        network: in eval mode.
        info: of its checkpoint.
        view: what it sees.
        device: auto, cpu, cuda or cuda:N.
        flip: average with the answer for the mirrored view, mirrored back; both clipped first.
    """

    def __init__(
        self,
        network: DepthNetwork,
        info: CheckpointInfo,
        view: ViewConfig,
        device: str = "auto",
        flip: bool = False,
    ) -> None:
        self.info, self.view, self.flip = info, view, flip
        self.device = resolve_device(device)
        self._network = network.eval().to(self.device)
        # Convolutions with few channels are 1.3 to 2 times faster in this layout.
        self._network.to(memory_format=torch.channels_last)
        self._views: dict[tuple[int, int], View] = {}

    def __call__(self, record: Record, reader: PreparedReader) -> Answer:
        """Answer for one image of prepared data."""
        rgb = reader.image(record)
        return self.answer(rgb, intrinsics_of(record, (rgb.shape[0], rgb.shape[1])))

    @torch.inference_mode()
    def answer(self, rgb: npt.NDArray[np.uint8], camera: Intrinsics) -> Answer:
        """Answer for a full frame (H, W, 3) uint8 RGB.

        Raises:
            ShapeError: the frame is smaller than the view's crop, or the network takes another
                size.
        """
        view = self._view(rgb.shape[0], rgb.shape[1])
        image = image_to_tensor(view.image(rgb)).to(self.device)
        depth, semantics = self._run(image)
        if self.flip:
            mirrored, _ = self._run(image.flip(-1))
            nearest, farthest = _NEAREST_M, float(self._network.config.max_depth_m)
            depth = (
                depth.clamp(nearest, farthest) + mirrored.flip(-1).clamp(nearest, farthest)
            ) / 2
        depth = depth * self._metric_scale(view.camera(camera).fx)
        depth_m = view.depth_to_source(depth[0, 0].float().cpu().numpy())
        classes = None if semantics is None else labels_to_source(view, semantics[0, 0])
        return Answer(depth_m, classes)

    def _run(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        if "semantics" not in self._network.product_names:
            return self._network(image), None
        products = self._network.products(image)
        return products["depth_m"], products.get("semantics")

    def _view(self, height: int, width: int) -> View:
        if (height, width) not in self._views:
            self._views[height, width] = View.fit(self.view, ImageSize(height, width))
        return self._views[height, width]

    def _metric_scale(self, focal_px: float) -> float:
        if self.info.training_focal_px is None or not normalises_focal(self.info.recipe):
            return 1.0
        return focal_px / self.info.training_focal_px


class LetterboxSource:
    """A checkpoint as the node runs it: the whole frame, shrunk with its aspect kept.

    Args:
        predictor: the checkpoint.
        flip: as in `ViewSource`, clipped at the near end only.
    """

    def __init__(self, predictor: DepthPredictor, flip: bool = False) -> None:
        self.predictor, self.info, self.flip = predictor, predictor.info, flip

    def __call__(self, record: Record, reader: PreparedReader) -> Answer:
        """Answer for one image of prepared data."""
        rgb = reader.image(record)
        camera = intrinsics_of(record, (rgb.shape[0], rgb.shape[1]))
        depth_m = self.predictor(rgb, camera)
        if self.flip:
            mirrored_m = self.predictor(np.ascontiguousarray(rgb[:, ::-1]), camera)[:, ::-1]
            pair = np.stack((depth_m, mirrored_m))
            depth_m = np.maximum(pair, np.float32(_NEAREST_M)).mean(axis=0)
        return Answer(depth_m)


def load_source(
    checkpoint: str,
    device: str = "auto",
    flip: bool = False,
    view: ViewConfig | None = None,
    settings: Mapping[str, Any] | None = None,
) -> ViewSource | LetterboxSource:
    """Load a checkpoint as what answers for prepared data.

    Args:
        checkpoint: shipped name or .safetensors file.
        device: auto, cpu, cuda or cuda:N.
        flip: average with the mirrored image.
        view: in place of the recipe's; for converted weights, which have no recipe.
        settings: see `mono_depth_ros.checkpoint.load_network`.

    Raises:
        CheckpointError: see `mono_depth_ros.checkpoint.load_network`.
        ConfigError: the recipe's view is damaged.
        DeviceError: the device is not there.
    """
    network, info = load_network(checkpoint, settings)
    view = view or recipe_view(info)
    if view is None:
        config = InferenceConfig(device=device)
        return LetterboxSource(DepthPredictor(network, info, config), flip)
    return ViewSource(network, info, view, device, flip)


def recipe_view(info: CheckpointInfo) -> ViewConfig | None:
    """Return the view that a checkpoint's recipe trained with, None for the procedural world.

    A recipe on prepared data without a view resizes the full frame to the network's image size.
    """
    if info.recipe.get("view") is not None:
        return from_mapping(ViewConfig, info.recipe["view"], f"recipe of {info.name}: view")
    if info.recipe.get("data", {}).get("prepared"):
        return ViewConfig("none", info.image_size)
    return None


def add_view_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare --crop and --size, which replace the recipe's view."""
    crops = get_args(Window)
    parser.add_argument("--crop", choices=crops, help="what the network sees (default: its recipe)")
    parser.add_argument("--size", metavar="HxW", help="to which the crop is resized (default: not)")


def parse_view(crop: str | None, size: str | None) -> ViewConfig | None:
    """Return the view of --crop and --size, None where neither is given.

    Raises:
        ConfigError: the size is no HEIGHTxWIDTH.
    """
    if crop is None and size is None:
        return None
    resized = None
    if size is not None:
        height, _, width = size.partition("x")
        if not (height.isdecimal() and width.isdecimal()):
            raise ConfigError(f"--size {size!r}: give HEIGHTxWIDTH, e.g. 352x1216")
        resized = {"height": int(height), "width": int(width)}
    return from_mapping(ViewConfig, {"crop": crop or "none", "size": resized}, "view")


def normalises_focal(recipe: Mapping[str, Any]) -> bool:
    """Return whether a recipe's network answers for one focal length; the default is yes."""
    return bool(recipe.get("data", {}).get("normalise_focal", True))


def labels_to_source(view: View, labels: Tensor) -> npt.NDArray[np.int16]:
    """Enlarge (h, w) classes of a view to its window in a full frame (H, W), elsewhere -1."""
    top, bottom, left, right = view.window
    full = np.full((view.source.height, view.source.width), IGNORED_LABEL, np.int16)
    size = (right - left, bottom - top)
    classes = labels.to(torch.int16).cpu().numpy()
    full[top:bottom, left:right] = cv2.resize(classes, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return full
