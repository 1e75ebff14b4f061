"""From the data section of a recipe to the images of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.models import DepthNetwork
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.models.semantic_classes import Semantics, label_map
from training.config import CHECKOUT, TrainConfig
from training.datasets import world
from training.datasets.prepared import JoinedDataset, PreparedDataset, Reading
from training.datasets.reader import intrinsics_of, read_picture
from training.manifest import LabelSet, Manifest, Record, read_manifest
from training.transforms import read_transforms, with_size
from training.view import View, ViewConfig

_FITTING: dict[LabelSet, tuple[str, ...]] = {
    "nyu40": ("nyu4", "nyu13", "nyu40"),
    "cityscapes": ("cityscapes",),
    "": (),
}


@dataclass(frozen=True)
class RunData:
    """Images of a run.

    Attributes:
        train: augmented.
        validation: as the view shows them.
        training_focal_px: median focal length, or the recipe's.
        view: what the network is given.
        description: in words, for the checkpoint.
        digests: data set and split → SHA-256 of what was prepared.
    """

    train: JoinedDataset
    validation: JoinedDataset
    training_focal_px: float
    view: ViewConfig
    description: str
    digests: dict[str, str]


def build_data(config: TrainConfig, network: DepthNetwork) -> RunData:
    """Find, or render, all images of a run.

    Raises:
        ConfigError: losses on labels that the data or the network do not have.
        DataError: a data set is not prepared, or a split is empty.
    """
    size = network.config.image_size
    view = config.view or ViewConfig(size=size)
    sources = _sources(config, size)
    focal_px = config.data.training_focal_px or _focal_px(config, sources, view, size)
    transforms = with_size(read_transforms(config.augmentation), size)
    train, validation, words = [], [], []
    digests: dict[str, str] = {}
    for manifest, learn, check in sources:
        reading = Reading(
            label_map=_label_map(config, network, manifest),
            training_focal_px=focal_px if config.data.normalise_focal else None,
            max_depth_m=network.max_depth_m,
            strict=config.data.strict,
        )
        records = manifest.records(learn)
        train.append(PreparedDataset(manifest, records, reading, view, transforms, config.seed))
        validation.append(PreparedDataset(manifest, manifest.records(check), reading, view))
        digests.update({f"{manifest.dataset}/{k}": v for k, v in manifest.digests.items()})
        words.append(f"{manifest.layout}, {len(records)} images")
    _require_labels(config, train)
    return RunData(
        JoinedDataset(train),
        JoinedDataset(validation),
        focal_px,
        view,
        "; ".join(words),
        digests,
    )


def _sources(config: TrainConfig, size: ImageSize) -> list[tuple[Manifest, str, str]]:
    """Return each data set with the names of its training and validation split."""
    if config.data.world is not None:
        manifest = world.prepare(config.data.world, size, config.data.workers)
        return [(manifest, "train", "validation")]
    return [
        (read_manifest(CHECKOUT / part.folder), part.train, part.validation)
        for part in config.data.prepared
    ]


def _focal_px(
    config: TrainConfig,
    sources: list[tuple[Manifest, str, str]],
    view: ViewConfig,
    size: ImageSize,
) -> float:
    if config.data.world is not None:
        return world.network_camera(config.data.world.kind, size).fx
    focal_px = [
        focal
        for manifest, split, _ in sources
        for focal in _focal_lengths(manifest.root, manifest.records(split), view)
    ]
    return float(np.median(focal_px))


def _focal_lengths(root: Path, records: tuple[Record, ...], config: ViewConfig) -> list[float]:
    """Return fx of every record in its view; pictures of one camera have one size."""
    known: dict[tuple[float, float, float, float], float] = {}
    for record in records:
        if record.intrinsics not in known:
            shape = read_picture(root / record.image, cv2.IMREAD_COLOR).shape[:2]
            view = View.fit(config, ImageSize(*shape))
            known[record.intrinsics] = view.camera(intrinsics_of(record, shape)).fx
    return [known[record.intrinsics] for record in records]


def _label_map(
    config: TrainConfig, network: DepthNetwork, manifest: Manifest
) -> npt.NDArray[np.int16] | None:
    """Return the class of every stored label if the recipe learns from labels."""
    if config.loss.focal_semantic is None:
        return None
    semantics: Semantics = getattr(network.config, "semantics", "none")
    fitting = _FITTING[manifest.label_set]
    if not fitting:
        # Depth alone; the others of the run have the labels.
        return np.full(256, -1, np.int16)
    if semantics not in fitting:
        raise ConfigError(
            f"loss.focal_semantic on {manifest.layout} needs a network with semantics "
            f"{' or '.join(fitting)}, {type(network).__name__} has {semantics}; change its settings"
        )
    return label_map(semantics, network.config.extra_classes)


def _require_labels(config: TrainConfig, parts: list[PreparedDataset]) -> None:
    labelled = any(record.labels for part in parts for record in part.records)
    if config.loss.focal_semantic is not None and not labelled:
        raise ConfigError("loss.focal_semantic needs labels, the training images have none")
