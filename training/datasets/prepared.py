"""Prepared data as a training set: read, augment, and never stop a run for one bad file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from mono_depth_ros.errors import DataError, ShapeError
from mono_depth_ros.models.base import IGNORED_LABEL, ImageSize
from training.datasets.reader import PreparedReader, intrinsics_of
from training.manifest import Manifest, Record
from training.transforms import Sample, Transform, apply
from training.view import View, ViewConfig

# After so many damaged files something else is wrong.
_TRIES = 16

Camera = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """How depth and labels of a data set become targets.

    Attributes:
        label_map: (256,) int16, class of each stored label, -1 for none; None leaves labels out.
        training_focal_px: depth is multiplied by this over the focal length; None leaves it.
        max_depth_m: farther depths, which the head cannot answer, become NaN.
        strict: a file that cannot be read is an error.
    """

    label_map: npt.NDArray[np.int16] | None = None
    training_focal_px: float | None = None
    max_depth_m: float = float("inf")
    strict: bool = False


class PreparedDataset(Dataset[dict[str, Any]]):
    """One split of one prepared data set.

    An item is asked for by (epoch, index) and holds `image` (3, h, w) float32 RGB in [0, 1],
    `depth_m` (1, h, w) float32 metres with NaN where unknown, `labels` (h, w) int64 with -1 where
    there is none (if there is a label map), `name`, and `problem`, "" or a line that names a bad
    file. While training, a record that cannot be read is replaced by another, drawn at random; in
    validation, where no image may count twice, the item is its `problem` alone. All random numbers
    of an item depend on seed, epoch and index alone.

    Args:
        manifest: of the data set.
        records: what is read.
        reading: what depth and labels mean.
        view: what the network sees where there is no augmentation.
        augmentation: from the full frame to the network's image; None for validation.
        seed: of the augmentation.
        sizes: intrinsics → size of that camera's pictures; others are damaged. None takes any.
    """

    def __init__(
        self,
        manifest: Manifest,
        records: Sequence[Record],
        reading: Reading,
        view: ViewConfig,
        augmentation: tuple[Transform, ...] | None = None,
        seed: int = 0,
        sizes: Mapping[Camera, ImageSize] | None = None,
    ) -> None:
        self.records, self.reading, self.view = records, reading, view
        self.augmentation, self.seed, self.sizes = augmentation, seed, sizes
        self._reader = PreparedReader(manifest)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        problems: list[str] = []
        while len(problems) < _TRIES:
            record = self.records[self._place(epoch, index, len(problems))]
            try:
                item = self._item(record, epoch, index)
            except (DataError, ShapeError) as error:
                if self.reading.strict:
                    raise
                problems.append(str(error))
                if self.augmentation is None:
                    return {"problem": problems[0]}
                continue
            if not problems and not _teaches(item["depth_m"], item.get("labels")):
                problems.append(f"{record.name} has no depth and no label in this crop")
            return item | {"problem": "; ".join(problems)}
        raise DataError(f"{_TRIES} images one after another are bad: {'; '.join(problems)}")

    def view_depth_m(self, index: int) -> npt.NDArray[np.float32]:
        """Return the depth of one view without reading its image, (h, w) metres."""
        record = self.records[index]
        if record.depth is None:
            raise DataError(f"{record.name} has no depth")
        depth_m = self._reader.depth_m(record.depth)
        view = View.fit(self.view, ImageSize(*depth_m.shape))
        camera = view.camera(intrinsics_of(record, depth_m.shape))
        return self._in_range(torch.from_numpy(view.nearest(depth_m)), camera.fx).numpy()

    def _place(self, epoch: int, index: int, failures: int) -> int:
        """Return the record for an item after so many bad ones; damaged ones often lie together."""
        if not failures:
            return index
        rng = np.random.default_rng((self.seed, epoch, index, failures))
        return int(rng.integers(len(self.records)))

    def _item(self, record: Record, epoch: int, index: int) -> dict[str, Any]:
        sample = self._sample(record)
        if self.augmentation is None:
            sample = _viewed(sample, self.view)
        else:
            seed = int(np.random.SeedSequence((self.seed, epoch, index)).generate_state(1)[0])
            generator = torch.Generator().manual_seed(seed)
            sample = apply(self.augmentation, sample, generator)
        item: dict[str, Any] = {
            "image": sample.image.float() / 255.0,
            "depth_m": self._in_range(sample.depth_m, sample.camera.fx),
            "name": record.name,
        }
        if sample.labels is not None:
            item["labels"] = sample.labels[0].long()
        return item

    def _sample(self, record: Record) -> Sample:
        rgb = self._reader.image(record)
        shape = (rgb.shape[0], rgb.shape[1])
        usual = ImageSize(*shape) if self.sizes is None else self.sizes[record.intrinsics]
        if usual != ImageSize(*shape):
            raise ShapeError(
                f"{record.name} is {shape[0]}x{shape[1]}, other pictures of its camera "
                f"{usual.height}x{usual.width}; fetch it again"
            )
        depth_m = self._depth_m(record, shape)
        labels = None
        if self.reading.label_map is not None:
            classes = np.full(shape, IGNORED_LABEL, np.int16)
            if record.labels:
                classes = self.reading.label_map[self._reader.labels(record)]
            if classes.shape != shape:
                raise DataError(f"labels of {record.name} are {classes.shape}, the image {shape}")
            labels = torch.from_numpy(classes)[None]
        if not _teaches(torch.from_numpy(depth_m), labels):
            raise DataError(f"{record.name} has no depth and no label anywhere; fetch it again")
        return Sample(
            image=torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1))),
            depth_m=torch.from_numpy(depth_m)[None],
            labels=labels,
            camera=intrinsics_of(record, shape),
        )

    def _depth_m(self, record: Record, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
        if record.depth is None:
            return np.full(shape, np.nan, np.float32)
        return self._reader.depth_m(record.depth, shape)

    def _in_range(self, depth_m: Tensor, focal_px: float) -> Tensor:
        if self.reading.training_focal_px is not None:
            depth_m = depth_m * (self.reading.training_focal_px / focal_px)
        return torch.where(depth_m <= self.reading.max_depth_m, depth_m, torch.nan)


class JoinedDataset(Dataset[dict[str, Any]]):
    """Several data sets, their images numbered through."""

    def __init__(self, parts: Sequence[PreparedDataset]) -> None:
        self.parts = tuple(parts)
        self.sizes = tuple(len(part) for part in parts)

    def __len__(self) -> int:
        return sum(self.sizes)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        epoch, index = key
        for part in self.parts:
            if index < len(part):
                return part[epoch, index]
            index -= len(part)
        raise IndexError(key)


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack tensors; names and problems stay lists.

    Items without an image only leave their problem; without any image there is nothing else.

    Raises:
        ShapeError: the images of a batch differ in size.
    """
    problems = {"problem": [item.pop("problem") for item in items]}
    items = [item for item in items if item]
    if not items:
        return problems
    shapes = {tuple(item["image"].shape[-2:]) for item in items}
    if len(shapes) > 1:
        raise ShapeError(
            f"images of one batch have sizes {sorted(shapes)}; end the augmentation with a crop or "
            "a resize"
        )
    return default_collate(items) | problems


def _viewed(sample: Sample, config: ViewConfig) -> Sample:
    height, width = sample.image.shape[-2:]
    view = View.fit(config, ImageSize(height, width))
    image = view.image(sample.image.permute(1, 2, 0).numpy())
    return replace(
        sample,
        image=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
        depth_m=torch.from_numpy(view.nearest(sample.depth_m[0].numpy()))[None],
        labels=None
        if sample.labels is None
        else torch.from_numpy(view.nearest(sample.labels[0].numpy()))[None],
        camera=view.camera(sample.camera),
    )


def _teaches(depth_m: Tensor, labels: Tensor | None) -> bool:
    return bool(torch.isfinite(depth_m).any()) or (
        labels is not None and bool((labels != IGNORED_LABEL).any())
    )
