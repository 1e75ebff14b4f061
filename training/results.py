"""Paper against ours: `python -m training.results RUN...` prints every table of the five papers.

A RUN is a scores.json of `python -m training.evaluate --out`, or a folder that holds such files. A
run belongs to each row whose network settings and loss it was trained with, whatever it is called.
What nobody ran stays blank, and what the paper does not print, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.config import from_mapping, to_mapping
from mono_depth_ros.errors import ConfigError, DataError, MonoDepthError
from mono_depth_ros.models import MODELS
from training.objective import ObjectiveConfig
from training.studies import Study, StudyRow, load_studies, study_recipe

FORMAT = 1

NOT_RUN, NOT_PRINTED, NOT_SCORED = "not run", "not printed", "not scored"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the figures under a key of `paper:` are found.

    Attributes:
        recipe: key in `recipes:` of what was trained.
        dataset: that it is scored on.
        profile: that it is scored under.
        stratum: of the pixels; empty for all.
    """

    recipe: str
    dataset: str
    profile: str
    stratum: str = ""


PLACES = {
    "nyu": Place("nyu", "nyu", "nyu-eigen"),
    "nyu_4m": Place("nyu", "nyu", "nyu-eigen", "below 4 m"),
    "nyu_6m": Place("nyu", "nyu", "nyu-eigen", "below 6 m"),
    "nyu_8m": Place("nyu", "nyu", "nyu-eigen", "below 8 m"),
    "kitti": Place("kitti", "kitti", "kitti-garg"),
    "kitti_50m": Place("kitti", "kitti", "kitti-garg@50"),
    # The paper's figures are the server's, on images without public truth; ours are of the 1,000
    # images of val_selection_cropped.
    "kitti_benchmark": Place("kitti_benchmark", "kitti", "kitti-benchmark"),
}
_TITLES = {
    "delta1": "δ1",
    "delta2": "δ2",
    "delta3": "δ3",
    "abs_rel": "AbsRel",
    "sq_rel": "SqRel",
    "rmse_m": "RMSE",
    "rmse_log": "RMSElog",
    "log10": "log10",
    "silog": "SILog",
    "sq_rel_percent": "sqErrRel%",
    "abs_rel_percent": "absErrRel%",
    "irmse_per_km": "iRMSE",
    "mean_iou": "mIoU",
    "rmse_m_gain": "RMSE gain",
    "mean_iou_gain": "mIoU gain",
}
# Columns of a table whose figures are not to be had.
_UNPRINTED = ("delta1", "abs_rel", "rmse_m")
_GAIN = "_gain"
# Scores of which more is better; the gain of all others is what they fell by.
_RISING = ("delta1", "delta2", "delta3", "mean_iou")
# They say how the node runs the network, not what it is.
_NOT_COMPARED = ("image_size", "attention_pixel")


@dataclass(frozen=True)
class Run:
    """One scores.json.

    Attributes:
        path: of the file.
        info: of the checkpoint that was scored.
        dataset: that it was scored on.
        profiles: name → what the file says about it.
        semantics: scores of classes; None without.
    """

    path: Path
    info: CheckpointInfo
    dataset: str
    profiles: Mapping[str, Any]
    semantics: Mapping[str, Any] | None

    def value(self, place: Place, metric: str) -> float | None:
        """Return a score, None where it was not computed."""
        if metric == "mean_iou":
            return None if self.semantics is None else self.semantics["mean_iou"]
        scores = self.profiles.get(place.profile, {})
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
        info = from_mapping(CheckpointInfo, record["checkpoint"])
        return Run(path, info, record["dataset"], record["profiles"], record["semantics"])
    except (OSError, KeyError, TypeError, ValueError, ConfigError) as error:
        raise DataError(f"{path} is no file of training.evaluate --out: {error}") from error


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
    return {key: value for key, value in full.items() if key not in _NOT_COMPARED}


class Results:
    """All tables with the runs that belong to their rows.

    Args:
        studies: the tables.
        runs: that were scored.
    """

    def __init__(self, studies: Sequence[Study], runs: Sequence[Run]) -> None:
        self.studies = studies
        self.unmatched = []
        self._runs: dict[tuple[str, str, str], list[Run]] = {}
        recipes = {place.recipe: place.dataset for place in PLACES.values()}
        for run in runs:
            found = [
                (study.name, row.name, recipe)
                for study in studies
                for recipe, dataset in recipes.items()
                if dataset == run.dataset
                for row in matches(study, run, recipe)
            ]
            for key in found:
                self._runs.setdefault(key, []).append(run)
            if not found:
                self.unmatched.append(run)

    def runs(self, study: Study, row: StudyRow, place: Place) -> list[Run]:
        """Return the runs of a row that are scored at a place."""
        return self._runs.get((study.name, row.name, place.recipe), [])

    def value(self, study: Study, run: Run, key: str, metric: str) -> float | None:
        """Return a score of a run; of a gain, against the row whose printed gain is 0."""
        if not metric.endswith(_GAIN):
            return run.value(PLACES[key], metric)
        score = metric.removesuffix(_GAIN)
        ours, base = run.value(PLACES[key], score), self._baseline(study.network, key, metric)
        if ours is None or base is None:
            return None
        return ours - base if score in _RISING else base - ours

    def _baseline(self, network: str, key: str, metric: str) -> float | None:
        for study in self.studies:
            for row in study.rows:
                if study.network == network and row.paper.get(key, {}).get(metric) == 0.0:
                    for run in self.runs(study, row, PLACES[key]):
                        return run.value(PLACES[key], metric.removesuffix(_GAIN))
        return None


def table_lines(results: Results, study: Study) -> Iterator[str]:
    """Yield one table as text: per data set and cap, the paper's line and ours for every row."""
    keys = [key for key in PLACES if any(key in row.paper for row in study.rows)]
    # A table without figures still has rows that can be run, each on its data set as a whole.
    keys = keys or [key for key in study.recipes if key in PLACES]
    for key in keys:
        metrics, place = _metrics(study, key), PLACES[key]
        where = " ".join(filter(None, (place.profile, place.stratum)))
        yield f"{study.table}: {key.replace('_', ' ')} ({where})"
        rows = [["", "", *(_TITLES[metric] for metric in metrics)]]
        for row in study.rows:
            rows += _row_cells(results, study, row, key, metrics)
        yield from _aligned(rows)
    if not keys:
        yield f"{study.table}: pictures only, no figures are printed"
        yield from (f"  {row.name}" for row in study.rows)


def _metrics(study: Study, key: str) -> list[str]:
    printed = {metric for row in study.rows for metric in row.paper.get(key, ())}
    unknown = printed - set(_TITLES)
    if unknown:
        raise ConfigError(f"{study.table} prints unknown scores {', '.join(sorted(unknown))}")
    return [metric for metric in _TITLES if metric in (printed or _UNPRINTED)]


def _row_cells(
    results: Results, study: Study, row: StudyRow, key: str, metrics: Sequence[str]
) -> Iterator[list[str]]:
    printed = row.paper.get(key, {})
    yield [row.name, "paper", *_cells({m: printed.get(m) for m in metrics}, NOT_PRINTED)]
    runs = results.runs(study, row, PLACES[key])
    for run in runs:
        ours = {metric: results.value(study, run, key, metric) for metric in metrics}
        yield [f"  {run.info.name}", "ours", *_cells(ours, NOT_SCORED)]
    if not runs:
        yield ["", "ours", *_cells(dict.fromkeys(metrics), NOT_RUN)]


def _cells(values: Mapping[str, float | None], blank: str) -> list[str]:
    """Return one cell per score; if there is none at all, a word for it."""
    if all(value is None for value in values.values()):
        return [blank, *[""] * (len(values) - 1)]
    return [_cell(metric, value) for metric, value in values.items()]


def _cell(metric: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.3f}" if metric.endswith(_GAIN) else f"{value:.3f}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        head = [cell.ljust(width) for cell, width in zip(row[:2], widths[:2], strict=True)]
        body = [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        yield "  ".join((" ", *head, *body)).rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="scores.json or folder")
    parser.add_argument("--table", default="", help="only tables whose title contains this")
    options = parser.parse_args(arguments)
    try:
        studies = list(load_studies().values())
        results = Results(studies, read_runs(options.runs))
        chosen = [s for s in studies if options.table.lower() in f"{s.table} {s.name}".lower()]
        if not chosen:
            titles = "; ".join(study.table for study in studies)
            raise ConfigError(f"no table {options.table!r} among: {titles}")
        for study in chosen:
            sys.stdout.write("\n".join(table_lines(results, study)) + "\n\n")
    except MonoDepthError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for run in results.unmatched:
        sys.stdout.write(f"fits no row: {run.path} ({run.info.name}, {run.info.network})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
