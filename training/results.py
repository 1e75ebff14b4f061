"""Paper against ours: `python -m training.results RUN...` prints every table of the five papers.

A RUN is a scores.json of `python -m training.evaluate --out`, or a folder that holds such files;
`training.scored` says which rows it belongs to. Below our figures stands how they came about. What
nobody ran stays blank, and what the paper does not print, too. With `--study DIR` the results of
`training.study` on the procedural world, and what they say of each claim, come behind them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mono_depth_ros.errors import ConfigError, MonoDepthError
from training.scored import PLACES, Match, Place, Run, matches, read_runs
from training.studies import Study, StudyRow, load_studies
from training.study_claims import read_results, study_lines

NOT_RUN, NOT_PRINTED, NOT_SCORED = "not run", "not printed", "not scored"

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


class Results:
    """All tables with the runs that belong to their rows.

    Args:
        studies: the tables.
        runs: that were scored.
    """

    def __init__(self, studies: Sequence[Study], runs: Sequence[Run]) -> None:
        self.studies = studies
        self.unmatched = []
        self._matches: list[Match] = []
        recipes = {place.recipe: place.dataset for place in PLACES.values()}
        for run in runs:
            found = [
                Match(study, row, recipe, run)
                for study in studies
                for recipe, dataset in recipes.items()
                if dataset == run.dataset
                for row in matches(study, run, recipe)
            ]
            self._matches += found
            if not found:
                self.unmatched.append(run)

    def of_row(self, study: Study, row: StudyRow, place: Place) -> list[Match]:
        """Return the runs of a row that are scored at a place."""
        asked = (study.name, row.name, place.recipe)
        return [m for m in self._matches if (m.study.name, m.row.name, m.recipe) == asked]

    def value(self, match: Match, key: str, metric: str) -> float | None:
        """Return a score of a run; of a gain, against the row whose printed gain is 0."""
        place = PLACES[key]
        if not metric.endswith(_GAIN):
            return match.run.value(place, metric)
        score = metric.removesuffix(_GAIN)
        ours, base = match.run.value(place, score), self.baseline(match, key, metric)
        theirs = None if base is None else base.run.value(place, score)
        if ours is None or theirs is None:
            return None
        return ours - theirs if score in _RISING else theirs - ours

    def baseline(self, match: Match, key: str, metric: str) -> Match | None:
        """Return the run that a gain is measured from, the one with the fewest marks if several."""
        place, score = PLACES[key], metric.removesuffix(_GAIN)
        found = [
            base
            for study in self.studies
            for row in study.rows
            if study.network == match.study.network and row.paper.get(key, {}).get(metric) == 0.0
            for base in self.of_row(study, row, place)
            if base.run.value(place, score) is not None
        ]
        return min(found, key=lambda base: len(base.marks(place)), default=None)


def table_lines(results: Results, study: Study) -> Iterator[str]:
    """Yield one table as text: per data set and cap, the paper's line and ours for every row."""
    keys = [key for key in PLACES if any(key in row.paper for row in study.rows)]
    # A table without figures still has rows that can be run, each on its data set as a whole.
    keys = keys or [key for key in study.recipes if key in PLACES]
    for key in keys:
        metrics, place = _metrics(study, key), PLACES[key]
        where = " ".join(filter(None, (place.profile, place.stratum)))
        yield f"{study.table}: {key.replace('_', ' ')} ({where})"
        if place.remark:
            yield f"  {place.remark}; here: the {place.images} of split {place.split}"
        yield from _body(results, study, key, metrics)
    if not keys:
        yield f"{study.table}: pictures only, no figures are printed"
        yield from (f"  {row.name}" for row in study.rows)


def _metrics(study: Study, key: str) -> list[str]:
    printed = {metric for row in study.rows for metric in row.paper.get(key, ())}
    unknown = printed - set(_TITLES)
    if unknown:
        raise ConfigError(f"{study.table} prints unknown scores {', '.join(sorted(unknown))}")
    return [metric for metric in _TITLES if metric in (printed or _UNPRINTED)]


def _body(results: Results, study: Study, key: str, metrics: Sequence[str]) -> Iterator[str]:
    """Yield the aligned rows, each with its notes below it."""
    rows = [["", "", *(_TITLES[metric] for metric in metrics)]]
    notes: list[list[str]] = [[]]
    for row in study.rows:
        printed = row.paper.get(key, {})
        rows.append([row.name, "paper", *_cells({m: printed.get(m) for m in metrics}, NOT_PRINTED)])
        notes.append([])
        found = results.of_row(study, row, PLACES[key])
        for match in found:
            ours = {metric: results.value(match, key, metric) for metric in metrics}
            who = ", ".join(("ours", *match.marks(PLACES[key])))
            rows.append([f"  {match.run.info.name}", who, *_cells(ours, NOT_SCORED)])
            notes.append([*match.notes(PLACES[key]), *_gain_notes(results, match, key, metrics)])
        if not found:
            rows.append(["", "ours", *_cells(dict.fromkeys(metrics), NOT_RUN)])
            notes.append([])
    for line, below in zip(_aligned(rows), notes, strict=True):
        yield line
        yield from (f"       {note}" for note in below)


def _gain_notes(results: Results, match: Match, key: str, metrics: Sequence[str]) -> Iterator[str]:
    for metric in metrics:
        base = results.baseline(match, key, metric) if metric.endswith(_GAIN) else None
        if base is not None:
            marks = base.marks(PLACES[key])
            yield (
                f"{_TITLES[metric]} is against {base.run.info.name}"
                + (f" ({', '.join(marks)})" if marks else "")
            )


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
    parser.add_argument("--study", type=Path, metavar="DIR", help="results of training.study")
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
        if options.study is not None:
            found = read_results(options.study)
            sys.stdout.write("\n".join(study_lines(found, chosen)) + "\n")
    except MonoDepthError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for run in results.unmatched:
        sys.stdout.write(f"fits no row: {run.path} ({run.info.name}, {run.info.network})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
