"""The procedural world as a training set: frames rendered once, kept on disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mono_depth_ros.errors import DataError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.preprocessing import Letterbox, resize_image
from mono_depth_ros.world import make_scene, write_dataset
from training.config import CHECKOUT, AugmentationConfig, WorldDataConfig
from training.transforms import augment

logger = logging.getLogger(__name__)


def network_camera(kind: str, size: ImageSize) -> Intrinsics:
    """Return the intrinsics of the world's reference camera, letterboxed to the network's size."""
    reference = make_scene(kind, seed=0).camera
    return Letterbox.fit(ImageSize(reference.height, reference.width), size).camera(reference)


def prepare(config: WorldDataConfig, size: ImageSize) -> tuple[Path, Path]:
    """Render what is missing; return the folders of training and validation frames."""
    camera = network_camera(config.kind, size)
    camera = camera.resized(
        round(size.width * config.render_scale), round(size.height * config.render_scale)
    )
    folders = []
    for seeds, frames in (
        (config.train_seeds, config.frames_per_scene),
        (config.validation_seeds, config.validation_frames_per_scene),
    ):
        name = f"{config.kind}_{camera.width}x{camera.height}_{seeds[0]}_{seeds[1]}_{frames}"
        folder = CHECKOUT / config.folder / name
        write_dataset(
            folder,
            config.kind,
            range(*seeds),
            frames,
            camera,
            workers=max(config.workers, 1),
            focal_jitter=config.focal_jitter,
        )
        folders.append(folder)
    return folders[0], folders[1]


class WorldDataset(Dataset[dict[str, Tensor]]):
    """Frames that `mono_depth world --dataset` wrote.

    An item is `image` (3, h, w) float32 RGB in [0, 1] and `depth_m` (1, h, w) float32 metres, NaN
    where unknown. Depth is normalised to the training focal length, depth * f_train / f, because
    that is what the networks answer (`mono_depth_ros.predictor`).

    Args:
        folder: holds manifest.json, rgb/ and depth/.
        size: of the network's image.
        training_focal_px: fx at `size` to which depth is normalised.
        max_depth_m: farther depths, which the head cannot answer, become NaN.
        augmentation: None for validation.
        seed: of the augmentation.
    """

    def __init__(
        self,
        folder: Path,
        size: ImageSize,
        training_focal_px: float,
        max_depth_m: float,
        augmentation: AugmentationConfig | None = None,
        seed: int = 0,
    ) -> None:
        self.folder, self.size, self.training_focal_px = folder, size, training_focal_px
        self.max_depth_m, self.augmentation, self.seed = max_depth_m, augmentation, seed
        try:
            self._manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise DataError(f"{folder} has no readable manifest.json: {error}") from error
        self._frames: list[Mapping[str, Any]] = self._manifest["frames"]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = key
        rgb, depth_m = self._read(index)
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        depth = torch.from_numpy(depth_m)[None]
        if self.augmentation:
            # One stream per image and epoch: results do not depend on worker count or on resuming.
            seed = int(np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0])
            generator = torch.Generator().manual_seed(seed)
            image, depth = augment(image, depth, self.augmentation, generator)
        return {"image": image.float() / 255.0, "depth_m": depth}

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        suffix = self._manifest["image_format"]
        bgr = cv2.imread(str(self.folder / "rgb" / f"{index:06d}.{suffix}"), cv2.IMREAD_COLOR)
        depth_path = self.folder / "depth" / f"{index:06d}.png"
        code = cv2.imread(str(depth_path), cv2.IMREAD_UNCHANGED)
        if bgr is None or code is None:
            raise DataError(
                f"frame {index} of {self.folder} is missing or damaged; render it again"
            )
        rgb = resize_image(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), self.size.height, self.size.width)
        focal_px = self._frames[index]["intrinsics"][0] * self.size.width / bgr.shape[1]
        depth_m = code.astype(np.float32) / self._manifest["depth_scale"]
        depth_m *= self.training_focal_px / focal_px
        depth_m[(code == 0) | (depth_m > self.max_depth_m)] = np.nan
        size = (self.size.width, self.size.height)
        return rgb, cv2.resize(depth_m, size, interpolation=cv2.INTER_NEAREST_EXACT)
