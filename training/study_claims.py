"""What has become of the papers' claims: results of `training.study` beside the papers' rows."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scipy import stats

from mono_depth_ros.errors import DataError
from training.studies import Claim, Study

Verdict = Literal["confirmed", "not confirmed", "undecided", "not run"]
LEVEL = 0.95
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Result:
    """One file of the study.

    Attributes:
        table: name of the study file.
        row: key of its row.
        seed: of the run.
        scores: metric to value on world test set v1.
    """

    table: str
    row: str
    seed: int
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What two rows of the study say of a claim.

    Attributes:
        verdict: confirmed or not where the interval of the difference lies on one side of 0.
        gain: mean over common seeds of AbsRel of the other row minus that of the better one; NaN
            where there is none.
        low: lower end of the interval of the gain (paired t, 95 %); NaN with fewer than two seeds
            that both rows have.
        high: upper end.
        runs: number of runs of the better and of the other row.
    """

    verdict: Verdict
    gain: float
    low: float
    high: float
    runs: tuple[int, int]


def read_results(folder: Path) -> list[Result]:
    """Read all results in a folder.

    Raises:
        DataError: there is none, or a file is not a result.
    """
    results = []
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']}, known is {_FORMAT}")
            values = (content[key] for key in ("table", "row", "seed", "scores"))
            results.append(Result(*values))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is no result of training.study: {error}") from error
    if not results:
        raise DataError(f"{folder} holds no result; run python -m training.study --out {folder}")
    return results


def abs_rels(results: Sequence[Result], study: Study, row: str) -> dict[int, float]:
    """Return seed → AbsRel of the runs of a row, by its key."""
    return {r.seed: r.scores["abs_rel"] for r in results if (r.table, r.row) == (study.name, row)}


def outcome(better: Mapping[int, float], other: Mapping[int, float]) -> Outcome:
    """Compare AbsRel of two rows' runs, seed → value, seed by seed.

    Runs of one seed start with the same encoder and see the same images in the same order, so their
    errors go up and down together: a t-test of the differences (paired) sees more than one of the
    two means.
    """
    runs = len(better), len(other)
    gains = [other[seed] - better[seed] for seed in sorted(better.keys() & other.keys())]
    if not gains:
        return Outcome("not run", math.nan, math.nan, math.nan, runs)
    gain = statistics.fmean(gains)
    if len(gains) < 2:
        return Outcome("undecided", gain, math.nan, math.nan, runs)
    low, high = map(float, stats.ttest_1samp(gains, 0.0).confidence_interval(LEVEL))
    verdict: Verdict = "undecided"
    if low > 0.0:
        verdict = "confirmed"
    elif high < 0.0:
        verdict = "not confirmed"
    return Outcome(verdict, gain, low, high, runs)


def claim_outcome(results: Sequence[Result], study: Study, claim: Claim) -> Outcome:
    """Return what the runs say of a claim."""
    rows = (study.row(claim.better), study.row(claim.than))
    return outcome(*(abs_rels(results, study, row.key) for row in rows))


def study_lines(results: Sequence[Result], studies: Sequence[Study]) -> Iterator[str]:
    """Yield the tables and the claims as lines of text, of all tables that claim something."""
    for study in studies:
        if not study.claims:
            continue
        yield f"{study.table} on procedural rooms (world test set v1, light preset, from scratch)"
        rows = [row for row in study.rows if study.on_world is None or row.key in study.on_world]
        width = max(len(row.name) for row in rows)
        yield f"  {'':<{width}}  {'AbsRel':>8} {'± SE':>8} {'n':>3}"
        for row in rows:
            values = list(abs_rels(results, study, row.key).values())
            yield f"  {row.name:<{width}}  {_mean(values):>8} {_error(values):>8} {len(values):>3}"
        for claim in study.claims:
            found = claim_outcome(results, study, claim)
            yield f"  {found.verdict}: {claim.says}{_figures(found)}"
        yield ""


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f}" if values else ""


def _error(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    return f"{statistics.stdev(values) / math.sqrt(len(values)):.4f}"


def _figures(found: Outcome) -> str:
    if math.isnan(found.gain):
        return ""
    if math.isnan(found.low):
        return f" (AbsRel lower by {found.gain:+.4f}; two seeds are the least to decide)"
    return (
        f" (AbsRel lower by {found.gain:+.4f}, {LEVEL:.0%} {found.low:+.4f} to {found.high:+.4f})"
    )
