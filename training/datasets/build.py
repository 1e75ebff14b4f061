"""From the data section of a recipe to the images of a run."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models import DepthNetwork
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.models.semantic_classes import Semantics, label_map
from training.config import CHECKOUT, PreparedDataConfig, TrainConfig
from training.datasets import world
from training.datasets.prepared import Camera, JoinedDataset, PreparedDataset, Reading
from training.datasets.reader import PreparedReader
from training.manifest import LabelSet, Manifest, Record, read_manifest
from training.transforms import read_transforms, with_size
from training.view import View, ViewConfig

logger = logging.getLogger(__name__)

# So many pictures of a camera are looked at for their size; most of them are right.
_LOOKS = 5
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
    sizes = [_camera_sizes(config, *source) for source in sources]
    focal_px = config.data.training_focal_px or _focal_px(config, sources, sizes, view, size)
    transforms = with_size(read_transforms(config.augmentation), size)
    train, validation, words = [], [], []
    digests: dict[str, str] = {}
    for (manifest, learn, check), known in zip(sources, sizes, strict=True):
        reading = Reading(
            label_map=_label_map(config, network, manifest),
            training_focal_px=focal_px if config.data.normalise_focal else None,
            max_depth_m=network.max_depth_m,
            strict=config.data.strict,
        )
        records = manifest.records(learn)
        checked = manifest.records(check)
        train.append(
            PreparedDataset(manifest, records, reading, view, transforms, config.seed, known)
        )
        validation.append(PreparedDataset(manifest, checked, reading, view, sizes=known))
        digests.update({f"{manifest.dataset}/{k}": v for k, v in manifest.digests.items()})
        words.append(f"{manifest.layout}, {len(records)} images")
    _require_truth(config, train, validation)
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
    return [(_manifest(part), part.train, part.validation) for part in config.data.prepared]


def _manifest(part: PreparedDataConfig) -> Manifest:
    manifest = read_manifest(CHECKOUT / part.folder)
    if part.depth:
        return manifest
    splits = {
        name: tuple(replace(record, depth=None, filled=None) for record in manifest.splits[name])
        for name in (part.train, part.validation)
        if name in manifest.splits
    }
    return replace(manifest, splits=splits)


def _camera_sizes(
    config: TrainConfig, manifest: Manifest, *splits: str
) -> dict[Camera, ImageSize] | None:
    """Return the size that most pictures of each camera have; the world's are all of one size."""
    if config.data.world is not None:
        return None
    cameras: dict[Camera, list[Record]] = defaultdict(list)
    for split in splits:
        for record in manifest.records(split):
            cameras[record.intrinsics].append(record)
    reader = PreparedReader(manifest)
    return {camera: _usual_size(reader, records) for camera, records in cameras.items()}


def _usual_size(reader: PreparedReader, records: list[Record]) -> ImageSize:
    """Return the most frequent size of some pictures of one camera, spread over all of them."""
    seen: Counter[ImageSize] = Counter()
    for record in records[:: max(1, len(records) // _LOOKS)]:
        try:
            height, width = reader.image(record).shape[:2]
        except DataError as error:
            logger.warning("%s", error)
            continue
        seen[ImageSize(height, width)] += 1
    if not seen:
        raise DataError(
            f"no picture like {records[0].image} in {reader.root} can be read; fetch them again, "
            "then run training.prepare again"
        )
    return seen.most_common(1)[0][0]


def _focal_px(
    config: TrainConfig,
    sources: list[tuple[Manifest, str, str]],
    sizes: list[dict[Camera, ImageSize] | None],
    view: ViewConfig,
    size: ImageSize,
) -> float:
    """Return the median focal length of the training images as the network sees them."""
    if config.data.world is not None:
        return world.network_camera(config.data.world.kind, size).fx
    focal_px = [
        focal
        for (manifest, split, _), known in zip(sources, sizes, strict=True)
        for focal in _focal_lengths(manifest.records(split), known or {}, view)
    ]
    return float(np.median(focal_px))


def _focal_lengths(
    records: tuple[Record, ...], sizes: Mapping[Camera, ImageSize], config: ViewConfig
) -> list[float]:
    """Return fx of every record in its view."""
    known = {
        camera: View.fit(config, size).camera(Intrinsics(*camera, size.width, size.height)).fx
        for camera, size in sizes.items()
    }
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


def _require_truth(
    config: TrainConfig, train: list[PreparedDataset], validation: list[PreparedDataset]
) -> None:
    """Raise ConfigError unless there is something to learn from, and to choose the best by."""
    labelled = any(record.labels for part in train for record in part.records)
    if config.loss.focal_semantic is not None and not labelled:
        raise ConfigError("loss.focal_semantic needs labels, the training images have none")
    judged = [record for part in validation for record in part.records]
    if config.loss.learns_depth and not any(record.depth for record in judged):
        raise ConfigError("no validation image has depth; name another split for validation")
    if not config.loss.learns_depth and not any(record.labels for record in judged):
        raise ConfigError("no validation image has labels; name another split for validation")
