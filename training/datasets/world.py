"""The procedural world as a training set: frames rendered once, kept on disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
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

    An item is `image` (3, h, w) float32 RGB in [0, 1], `depth_m` (1, h, w) float32 metres with NaN
    where unknown, and `labels` (h, w) int64 if a `label_map` is given. Depth is normalised to the
    training focal length, depth * f_train / f, because that is what the networks answer
    (`mono_depth_ros.predictor`).

    Args:
        folder: holds manifest.json, rgb/, depth/ and labels/.
        size: of the network's image.
        training_focal_px: fx at `size` to which depth is normalised.
        max_depth_m: farther depths, which the head cannot answer, become NaN.
        augmentation: None for validation.
        seed: of the augmentation.
        label_map: (256,) int16, the class of each label on disk, -1 for none.
    """

    def __init__(
        self,
        folder: Path,
        size: ImageSize,
        training_focal_px: float,
        max_depth_m: float,
        augmentation: AugmentationConfig | None = None,
        seed: int = 0,
        label_map: npt.NDArray[np.int16] | None = None,
    ) -> None:
        self.folder, self.size, self.training_focal_px = folder, size, training_focal_px
        self.max_depth_m, self.augmentation, self.seed = max_depth_m, augmentation, seed
        self.label_map = label_map
        try:
            self._manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise DataError(f"{folder} has no readable manifest.json: {error}") from error
        self._frames: list[Mapping[str, Any]] = self._manifest["frames"]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        epoch, index = key
        rgb = self._read_rgb(index)
        sample = {
            "image": torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))),
            "depth_m": torch.from_numpy(self.depth_m(index))[None],
        }
        if self.label_map is not None:
            sample["labels"] = torch.from_numpy(self.label_map[self._read_labels(index)])[None]
        if self.augmentation:
            # One stream per image and epoch: results do not depend on worker count or on resuming.
            seed = int(np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0])
            generator = torch.Generator().manual_seed(seed)
            sample = augment(sample, self.augmentation, generator)
        sample["image"] = sample["image"].float() / 255.0
        if "labels" in sample:
            sample["labels"] = sample["labels"][0].long()
        return sample

    def depth_m(self, index: int) -> npt.NDArray[np.float32]:
        """Return the depth of one frame without augmentation, (h, w) metres, NaN where unknown."""
        code = self._read_picture(f"depth/{index:06d}.png", cv2.IMREAD_UNCHANGED)
        focal_px = self._frames[index]["intrinsics"][0] * self.size.width / code.shape[1]
        depth_m = code.astype(np.float32) / self._manifest["depth_scale"]
        depth_m *= self.training_focal_px / focal_px
        depth_m[(code == 0) | (depth_m > self.max_depth_m)] = np.nan
        return self._shrink(depth_m)

    def _read_rgb(self, index: int) -> npt.NDArray[np.uint8]:
        suffix = self._manifest["image_format"]
        bgr = self._read_picture(f"rgb/{index:06d}.{suffix}", cv2.IMREAD_COLOR)
        return resize_image(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), self.size.height, self.size.width)

    def _read_labels(self, index: int) -> np.ndarray:
        return self._shrink(self._read_picture(f"labels/{index:06d}.png", cv2.IMREAD_UNCHANGED))

    def _read_picture(self, name: str, flags: int) -> np.ndarray:
        picture = cv2.imread(str(self.folder / name), flags)
        if picture is None:
            raise DataError(f"{name} of {self.folder} is missing or damaged; render it again")
        return picture

    def _shrink(self, values: np.ndarray) -> np.ndarray:
        """Take the nearest pixel: mixed depths and labels are wrong ones."""
        size = (self.size.width, self.size.height)
        return cv2.resize(values, size, interpolation=cv2.INTER_NEAREST_EXACT)
