"""One pass over the images of prepared data: every prediction is made once, scored many times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.errors import DataError, ShapeError
from mono_depth_ros.evaluation.bootstrap import BootstrapConfig
from mono_depth_ros.evaluation.protocols import select_pixels
from mono_depth_ros.models.semantic_classes import Semantics, label_map
from mono_depth_ros.semantic_metrics import SemanticCounts, SemanticScores
from training.datasets.reader import PreparedReader
from training.evaluation.ordinal import OrdinalCounts, OrdinalScores, depth_classes
from training.evaluation.predict import Answer, Source
from training.evaluation.profiles import (
    Job,
    Profile,
    default_profiles,
    make_jobs,
    read_profile,
)
from training.evaluation.saved import PredictionWriter
from training.evaluation.scores import ImageScore, ProfileScores, score_image
from training.evaluation.strata import (
    RangeBin,
    class_masks,
    default_ranges,
    edge_masks,
    stratum_classes,
)
from training.manifest import Manifest

logger = logging.getLogger(__name__)

BoolArray = npt.NDArray[np.bool_]
Track = Callable[[Iterable[Job], int], Iterable[Job]]


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """What is computed besides the predictions.

    Attributes:
        profiles: names; empty takes all of the data set whose split is there.
        split: in place of the profiles' own; empty keeps those.
        ranges: of true depth; None takes the data set's.
        edges: score near depth edges and away from them.
        classes: class set of NYU's labels for scores per class; "none" leaves classes out, also
            those of Cityscapes.
        bootstrap: intervals.
        ordinal: count the confusion of depth classes, under the first profile.
        strict: a damaged file is an error; otherwise its image is named, counted and left out.
    """

    profiles: tuple[str, ...] = ()
    split: str = ""
    ranges: tuple[RangeBin, ...] | None = None
    edges: bool = True
    classes: Semantics = "nyu4"
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    ordinal: bool = True
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of `evaluate`.

    Attributes:
        config: what was asked.
        manifest: of the data.
        profiles: scores of every profile.
        absent: profiles of the data set whose split is not prepared.
        left_out: one line for every image that could not be read or predicted.
        semantics: of networks with classes, on images with labels.
        ordinal: confusion of depth classes under the first profile.
    """

    config: EvaluationConfig
    manifest: Manifest
    profiles: tuple[ProfileScores, ...]
    absent: tuple[str, ...]
    left_out: tuple[str, ...]
    semantics: SemanticScores | None
    ordinal: OrdinalScores | None


def evaluate(
    source: Source,
    manifest: Manifest,
    config: EvaluationConfig | None = None,
    *,
    info: CheckpointInfo | None = None,
    writer: PredictionWriter | None = None,
    track: Track = lambda jobs, _: jobs,
) -> Evaluation:
    """Score what `source` answers for the images of a prepared data set.

    Args:
        source: a checkpoint or saved predictions.
        manifest: of the data.
        config: what is computed.
        info: of the checkpoint, where there is one: its classes of labels and of depth.
        writer: keeps the predictions.
        track: wraps the images while they are worked through, to show progress.

    Raises:
        ConfigError: a profile or class set is unknown.
        DataError: a split or truth is missing, or no image could be scored; with `strict`, one of
            them could not.
        ShapeError: with `strict`, a map has another size than its image.
    """
    config = config or EvaluationConfig()
    profiles, absent = chosen_profiles(manifest, config)
    jobs = make_jobs(manifest, profiles)
    pass_ = _Pass(manifest, profiles, config, info)
    left_out: list[str] = []
    for job in track(jobs, len(jobs)):
        try:
            answer = source(job.record, pass_.reader)
            pass_.score(job, answer)
        except (DataError, ShapeError) as error:
            if config.strict:
                raise
            logger.warning("left out: %s: %s", job.record.name, error)
            left_out.append(f"{job.record.name}: {error}")
            continue
        if writer is not None:
            writer.write(job.record, answer)
    if len(left_out) == len(jobs):
        raise DataError(f"none of {len(jobs)} images could be scored; the first: {left_out[0]}")
    if writer is not None:
        writer.finish()
    result = pass_.result(absent, left_out)
    if result.semantics is None and not any(scores.images for scores in result.profiles):
        raise DataError(
            f"{manifest.layout} has labels and no depth here, and the network has no classes of "
            "them; evaluate one that has, or another split"
        )
    return result


def chosen_profiles(
    manifest: Manifest, config: EvaluationConfig
) -> tuple[list[Profile], list[str]]:
    """Return the profiles that were asked for, and names of those left out for want of a split."""
    if not config.profiles:
        return default_profiles(manifest, config.split)
    names = dict.fromkeys(config.profiles)
    return [read_profile(name, manifest.dataset, config.split) for name in names], []


def seen_in_training(
    info: CheckpointInfo, manifest: Manifest, profiles: Sequence[Profile]
) -> list[str]:
    """Return a warning per split with scenes or drives that the checkpoint was trained on.

    What the recipe says is compared with the splits of these prepared data.
    """
    known = info.recipe.get("data_digests", {})
    groups = set()
    for part in info.recipe.get("data", {}).get("prepared") or ():
        split = part.get("train", "train")
        if f"{manifest.dataset}/{split}" in known:
            groups |= {record.group for record in manifest.splits.get(split, ())}
    lines = []
    for split in dict.fromkeys(profile.split for profile in profiles):
        records = manifest.splits.get(split, ())
        seen = sum(record.group in groups for record in records)
        if seen:
            lines.append(
                f"{seen} of {len(records)} images of split {split} are of scenes or drives that "
                f"{info.name} was trained on; these scores are too good"
            )
    return lines


class _Pass:
    """What grows from image to image."""

    def __init__(
        self,
        manifest: Manifest,
        profiles: Sequence[Profile],
        config: EvaluationConfig,
        info: CheckpointInfo | None,
    ) -> None:
        self.manifest, self.profiles, self.config = manifest, profiles, config
        self.reader = PreparedReader(manifest)
        self.ranges = default_ranges(manifest.dataset) if config.ranges is None else config.ranges
        self.images: dict[str, list[ImageScore]] = {profile.name: [] for profile in profiles}
        self.classes = None
        if manifest.label_set and config.classes != "none":
            self.classes = stratum_classes(manifest.label_set, config.classes)
        self.label_map = _semantic_label_map(manifest, info)
        self.semantics = SemanticCounts(info.class_names if info else ())
        self.ordinal = OrdinalCounts(depth_classes(manifest.dataset, info))

    def score(self, job: Job, answer: Answer) -> None:
        """Score one image; nothing is counted if any of its files is bad."""
        shape = (answer.depth_m.shape[0], answer.depth_m.shape[1])
        truths = {f: self.reader.depth_m(f, shape) for f in set(job.references.values())}
        labels = self.reader.labels(job.record) if job.record.labels else None
        masks = {file: dict(self._masks(truth_m, labels)) for file, truth_m in truths.items()}
        scored = {}
        for profile in self.profiles:
            file = job.references.get(profile.name)
            if file is not None:
                scored[profile.name] = score_image(
                    job.record, answer.depth_m, truths[file], profile, self.ranges, masks[file]
                )
        if labels is not None and answer.semantics is not None and self.label_map is not None:
            self.semantics.add(answer.semantics, self.label_map[labels])
        first = self.profiles[0]
        if self.config.ordinal and first.name in scored:
            truth_m = truths[job.references[first.name]]
            self.ordinal.add(*select_pixels(answer.depth_m, truth_m, first.protocol)[:2])
        for name, image in scored.items():
            self.images[name].append(image)

    def result(self, absent: Sequence[str], left_out: Sequence[str]) -> Evaluation:
        """Return the scores of all images."""
        semantics, ordinal = self.semantics.scores(), self.ordinal.scores()
        return Evaluation(
            config=self.config,
            manifest=self.manifest,
            profiles=tuple(self._profile_scores(profile) for profile in self.profiles),
            absent=tuple(absent),
            left_out=tuple(left_out),
            semantics=semantics if semantics.pixels else None,
            ordinal=ordinal if ordinal.pixels else None,
        )

    def _profile_scores(self, profile: Profile) -> ProfileScores:
        records = self.manifest.records(profile.split)
        without = sum(profile.reference(record) is None for record in records)
        return ProfileScores(profile, tuple(self.images[profile.name]), without)

    def _masks(
        self, truth_m: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8] | None
    ) -> Iterator[tuple[str, BoolArray]]:
        if self.classes is not None and labels is not None:
            yield from class_masks(labels, *self.classes).items()
        if self.config.edges:
            yield from edge_masks(truth_m).items()


def _semantic_label_map(
    manifest: Manifest, info: CheckpointInfo | None
) -> npt.NDArray[np.int16] | None:
    """Return the network's class of every stored label; None if they do not belong together."""
    semantics: Semantics = "none" if info is None else info.settings.get("semantics", "none")
    fitting = {"nyu40": ("nyu4", "nyu13", "nyu40"), "cityscapes": ("cityscapes",)}
    if info is None or semantics not in fitting.get(manifest.label_set, ()):
        return None
    return label_map(semantics, info.settings.get("extra_classes", 0))
