"""What `python -m training.evaluate --out` wrote, and the rows of the papers' tables it belongs to.

A run belongs to each row whose network settings and loss it was trained with, whatever it is
called. In what else its recipe differs from the row's, and in what its images differ from the
table's, is said beside its figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.config import from_mapping, to_mapping
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.models import MODELS
from training.config import TrainConfig
from training.evaluation.profiles import read_profile
from training.evaluation.report import FORMAT
from training.objective import ObjectiveConfig
from training.studies import Study, StudyRow, study_recipe


@dataclass(frozen=True, slots=True)
class Place:
    """Where the figures under a key of `paper:` are found.

    Attributes:
        recipe: key in `recipes:` of what was trained.
        dataset: that it is scored on.
        profile: that it is scored under.
        images: that the profile's split has with a truth.
        stratum: of the pixels; empty for all.
        remark: on the paper's figures.
    """

    recipe: str
    dataset: str
    profile: str
    images: int
    stratum: str = ""
    remark: str = ""

    @property
    def split(self) -> str:
        """The split that the profile is for."""
        return read_profile(self.profile, self.dataset).split


PLACES = {
    "nyu": Place("nyu", "nyu", "nyu-eigen", 654),
    "nyu_4m": Place("nyu", "nyu", "nyu-eigen", 654, "below 4 m"),
    "nyu_6m": Place("nyu", "nyu", "nyu-eigen", 654, "below 6 m"),
    "nyu_8m": Place("nyu", "nyu", "nyu-eigen", 654, "below 8 m"),
    "kitti": Place("kitti", "kitti", "kitti-garg", 652),
    "kitti_50m": Place("kitti", "kitti", "kitti-garg@50", 652),
    "kitti_benchmark": Place(
        "kitti_benchmark",
        "kitti",
        "kitti-benchmark",
        1000,
        remark="the paper's figures are the server's, on 500 images without public truth",
    ),
}
# They say how the node runs the network, not what it is.
_SETTINGS_NOT_COMPARED = ("image_size", "attention_pixel")
# Compared on their own, or without a say in what a run learns on average.
_RECIPE_NOT_COMPARED = (
    *("name", "network", "network_settings", "loss", "initial_checkpoint"),
    *("seed", "device", "deterministic", "validate_every", "save_every", "state_part_mb"),
)
_SPLITS = ("train", "validation")
_DATA_NOT_COMPARED = ("prepared", "workers", "strict")
_FLIP = {True: "on", False: "off", None: "unknown"}
# Longer values are named alone.
_LONGEST = 24


@dataclass(frozen=True)
class Run:
    """One scores.json.

    Attributes:
        path: of the file.
        info: of the checkpoint that was scored.
        dataset: that it was scored on.
        profiles: name → what the file says about it.
        semantics: scores of classes; None without.
        about: how it was predicted, and warnings.
        left_out: images that could not be scored.
    """

    path: Path
    info: CheckpointInfo
    dataset: str
    profiles: Mapping[str, Any]
    semantics: Mapping[str, Any] | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    left_out: int = 0

    def value(self, place: Place, metric: str) -> float | None:
        """Return a score, None where it was not computed or is of another split."""
        scores = self.profiles.get(place.profile, {})
        if scores.get("split") != place.split:
            return None
        if metric == "mean_iou":
            return None if self.semantics is None else self.semantics["mean_iou"]
        if place.stratum:
            return scores.get("strata", {}).get(place.stratum, {}).get(metric)
        # SILog is the same in both.
        return {**scores.get("devkit", {}), **scores.get("scores", {})}.get(metric)


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """Read score files; folders are searched for scores*.json.

    Raises:
        DataError: a path does not exist, a folder holds no scores, or a file is no score file of a
            checkpoint.
    """
    runs = []
    for path in paths:
        files = sorted(path.rglob("scores*.json")) if path.is_dir() else [path]
        if not files:
            raise DataError(
                f"{path} holds no scores*.json; write one with training.evaluate --out scores.json"
            )
        runs += [_read_run(file) for file in files]
    return runs


def _read_run(path: Path) -> Run:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["format"] != FORMAT:
            raise DataError(f"{path} has format {record['format']}, need {FORMAT}; evaluate again")
        if record["checkpoint"] is None:
            raise DataError(f"{path} does not say which checkpoint was scored; leave it out")
        return Run(
            path,
            from_mapping(CheckpointInfo, record["checkpoint"]),
            record["dataset"],
            record["profiles"],
            record["semantics"],
            record["about"],
            len(record["left_out"]),
        )
    except (OSError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"{path} is no file of training.evaluate --out: {error}") from error


@dataclass(frozen=True)
class Match:
    """A run in a row of a table.

    Attributes:
        study: the table.
        row: of that table.
        recipe: key in `recipes:`, on what the row is trained.
        run: that was scored.
    """

    study: Study
    row: StudyRow
    recipe: str
    run: Run

    def marks(self, place: Place) -> list[str]:
        """Return in a few words why the figures are not those that the row asks for."""
        marks = []
        images = self._images(place)
        if images is not None and images != place.images:
            marks.append("partial" if images < place.images else "other images")
        if self.differences():
            marks.append("other recipe")
        return marks

    def notes(self, place: Place) -> Iterator[str]:
        """Yield how the figures came about, a line each."""
        known = "loss" in self.run.info.recipe
        images = self._images(place)
        if images is not None:
            left_out = f" ({self.run.left_out} left out)" if self.run.left_out else ""
            yield (
                f"{images} of {place.images} images{left_out}, flip averaging "
                f"{_FLIP[self.run.about.get('flip averaging')]}; trained on "
                f"{self.run.info.training_data}"
            )
            if known and place.split in _recipe_of(self.run)["data.validation"]:
                yield f"the best checkpoint was chosen on the images of split {place.split}"
        elif place.profile in self.run.profiles:
            split = self.run.profiles[place.profile]["split"]
            yield f"scored on split {split} alone; this table is about split {place.split}"
        if self.differences():
            yield f"other recipe: {'; '.join(self.differences())}"
        if not known:
            yield "its recipe is unknown"
        yield from (f"WARNING: {line}" for line in self.run.about.get("warnings", ()))

    def differences(self) -> list[str]:
        """Return the settings in which the run's recipe differs from the row's."""
        if "loss" not in self.run.info.recipe:
            return []
        ours = _recipe_of(self.run)
        row = _plain(from_mapping(TrainConfig, study_recipe(self.study, self.row, self.recipe)))
        return [_difference(key, ours[key], row[key]) for key in row if ours[key] != row[key]]

    def _images(self, place: Place) -> int | None:
        """Return how many images of the place's split were scored; None if that split was not."""
        scores = self.run.profiles.get(place.profile, {})
        return scores["images"] if scores.get("split") == place.split else None


def _recipe_of(run: Run) -> dict[str, Any]:
    """Return what a run was trained by, without what the training noted down."""
    known = {field.name for field in fields(TrainConfig)}
    recipe = {key: value for key, value in run.info.recipe.items() if key in known}
    return _plain(from_mapping(TrainConfig, recipe, f"{run.path}: recipe"))


def _plain(config: TrainConfig) -> dict[str, Any]:
    """Return the settings that are compared, on one level."""
    values = to_mapping(config)
    plain = {key: value for key, value in values.items() if key not in _RECIPE_NOT_COMPARED}
    data, optimizer = plain.pop("data"), plain.pop("optimizer")
    plain |= {f"data.{name}": [part[name] for part in data["prepared"]] for name in _SPLITS}
    plain |= {f"data.{key}": v for key, v in data.items() if key not in _DATA_NOT_COMPARED}
    return plain | {f"optimizer.{key}": value for key, value in optimizer.items()}


def _difference(key: str, ours: Any, theirs: Any) -> str:
    words = [_words(ours), _words(theirs)]
    return key if max(map(len, words)) > _LONGEST else f"{key} {words[0]}, not {words[1]}"


def _words(value: Any) -> str:
    if isinstance(value, list):
        return " + ".join(map(str, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def matches(study: Study, run: Run, recipe: str) -> list[StudyRow]:
    """Return the rows of a table that a run was trained as, at most one in sensible tables.

    Network settings and loss must be those of the row's recipe, and both must start from another
    checkpoint or neither. Weights without a recipe, such as the authors', count if one row alone
    has their settings.

    Args:
        study: the table.
        run: that was scored.
        recipe: key in `recipes:`, on what the row is trained.
    """
    if run.info.network != study.network:
        return []
    ours = _network_settings(study.network, run.info.settings)
    rows = [
        row
        for row in study.rows
        if recipe in (row.recipes or study.recipes)
        and _network_settings(study.network, study.settings_of(row, recipe)) == ours
    ]
    trained = run.info.recipe
    if "loss" not in trained:
        return rows if len(rows) == 1 else []
    loss = from_mapping(ObjectiveConfig, trained["loss"], f"{run.path}: loss")
    started = bool(trained.get("initial_checkpoint"))
    return [
        row
        for row in rows
        if study.loss_of(row, recipe) == loss
        and bool(study_recipe(study, row, recipe).get("initial_checkpoint")) == started
    ]


def _network_settings(network: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    full = to_mapping(from_mapping(MODELS[network][0], settings, network))
    return {key: value for key, value in full.items() if key not in _SETTINGS_NOT_COMPARED}
