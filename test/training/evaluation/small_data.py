"""Prepared data of a few made-up frames, and networks whose answers are known by hand."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import torch

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.models.base import DepthNetwork, ImageSize
from training.manifest import DepthFile, Manifest, Record, read_manifest, write_manifest

CAMERA = (100.0, 100.0, 47.5, 31.5)


class ColumnNetwork(DepthNetwork):
    """Depth is the column of the view plus 1 m, whatever the image shows."""

    def __init__(self, max_depth_m: float = 1000.0, classes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.config = SimpleNamespace(max_depth_m=max_depth_m, image_size=ImageSize(64, 96))
        self.class_names = classes
        self.product_names = ("semantics",) if classes else ()

    def training_outputs(self, image):
        depth = torch.arange(1.0, image.shape[-1] + 1.0).expand(
            image.shape[0], 1, *image.shape[-2:]
        )
        return {"depth_m": depth}

    def products(self, image):
        """The left half is class 0, the right half class 1."""
        depth = self(image)
        return {"depth_m": depth, "semantics": (depth > image.shape[-1] / 2).to(torch.uint8)}


class RedNetwork(DepthNetwork):
    """Depth is ten times the red channel."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(max_depth_m=10.0, image_size=ImageSize(64, 96))

    def training_outputs(self, image):
        return {"depth_m": 10.0 * image[:, :1]}


def info(
    recipe=None, training_focal_px=None, network="pwa", settings=None, name="tiny", classes=()
):
    return CheckpointInfo(
        name=name,
        network=network,
        settings=settings or {},
        image_size=ImageSize(64, 96),
        training_focal_px=training_focal_px,
        class_names=classes,
        recipe=recipe or {},
    )


def write_rgb(path, red):
    """Write (H, W) uint8 as a picture that is red alone."""
    bgr = np.zeros((*red.shape, 3), np.uint8)
    bgr[..., 2] = red
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), bgr)


def write_code(path, code):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), code)


def make_data(root, dataset, splits, label_set="", camera=CAMERA):
    """Write a prepared data set.

    Args:
        root: empty folder.
        dataset: name.
        splits: split → list of (name, red (H, W) uint8, depth (H, W) metres or None, labels or
            None); names of several splits may be equal, then they are the same picture.
    """
    manifest = Manifest(
        dataset,
        "made up",
        root,
        {
            split: tuple(_record(root, camera, *row) for row in rows)
            for split, rows in splits.items()
        },
        label_set,
    )
    write_manifest(root / "prepared", manifest)
    return read_manifest(root / "prepared")


def _record(root, camera, name, red, depth_m, labels=None):
    write_rgb(root / f"{name}.png", red)
    depth = filled = None
    if depth_m is not None:
        write_code(root / f"{name}_depth.png", np.rint(depth_m * 256).astype(np.uint16))
        depth = filled = DepthFile(f"{name}_depth.png", scale=256.0)
    if labels is not None:
        write_code(root / f"{name}_labels.png", labels)
    return Record(
        name=name,
        group=name.split("_")[0],
        image=f"{name}.png",
        intrinsics=camera,
        depth=depth,
        filled=filled,
        labels="" if labels is None else f"{name}_labels.png",
    )
