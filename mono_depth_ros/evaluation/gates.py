"""Conditions under which an evaluation counts as failed, for continuous integration.

A condition is METRIC OP NUMBER, such as `abs_rel>0.12`; OP is one of > >= < <=. It fails when it
holds, and when the metric is NaN, because a score that could not be computed is no pass. METRIC is

* a field of `DepthErrors` of the prediction: abs_rel, rmse_m, delta1, count, ...
* the same after aligned. or constant., the two comparison rows of the report;
* the same after bins[LOW-HIGH]., a range bin in metres: bins[0-10].abs_rel;
* coverage, frames, unpredicted_frames, unreadable_frames, median_scale or scale_flicker of the
  whole recording.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from types import MappingProxyType

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.bootstrap import SCORES
from mono_depth_ros.evaluation.scores import Summary
from mono_depth_ros.metrics import DepthErrors

OPERATORS: Mapping[str, Callable[[float, float], bool]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
)
RECORDING_METRICS = (
    "coverage",
    "frames",
    "unpredicted_frames",
    "unreadable_frames",
    "median_scale",
    "scale_flicker",
)

_ERRORS = tuple(field.name for field in fields(DepthErrors))
_CONDITION = re.compile(r"\s*([^\s<>=]+)\s*(>=|<=|>|<)\s*([^\s<>=]+)\s*")
_METRIC = re.compile(r"(?:(aligned|constant|bins\[([\d.]+)-([\d.]+|inf)\])\.)?(\w+)")


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition.

    Attributes:
        condition: as it was written, without spaces.
        metric: the part of it before the operator.
        row: "model", "aligned", "constant", "bins", or "recording" for a number of the whole.
        bin_m: ends of the range bin, metres, where `row` is "bins".
        score: name of the field.
        comparison: key of `OPERATORS`.
        limit: the number.
    """

    condition: str
    metric: str
    row: str
    bin_m: tuple[float, float] | None
    score: str
    comparison: str
    limit: float

    def failure(self, value: float) -> str | None:
        """Return one line that says why `value` fails, None if it passes."""
        if math.isnan(value):
            return f"{self.condition} counts as failed: {self.metric} is NaN, nothing was scored"
        if OPERATORS[self.comparison](value, self.limit):
            return f"{self.condition} failed: {self.metric} is {value:.9g}"
        return None


def parse_gate(text: str) -> Gate:
    """Read one condition.

    Raises:
        ConfigError: it is no METRIC OP NUMBER, or there is no such metric.
    """
    condition = _CONDITION.fullmatch(text)
    if condition is None:
        raise ConfigError(
            f"condition {text!r} must look like abs_rel>0.12, with one of {' '.join(OPERATORS)}"
        )
    name, comparison, number = condition.groups()
    metric = _METRIC.fullmatch(name)
    row, low, high, score = metric.groups() if metric else ("", None, None, "")
    if row is None and score in RECORDING_METRICS:
        row = "recording"
    elif score not in _ERRORS:
        raise ConfigError(
            f"condition {text!r}: no metric {name!r}; choose from {', '.join(_ERRORS)}, the same "
            "after aligned., constant. or bins[LOW-HIGH]., and " + ", ".join(RECORDING_METRICS)
        )
    try:
        bin_m = None if low is None else (float(low), float(high or math.inf))
        limit = float(number)
    except ValueError as error:
        raise ConfigError(f"condition {text!r}: {error}; write a number like 0.12") from error
    if math.isnan(limit):
        raise ConfigError(f"condition {text!r} compares with NaN; write a number like 0.12")
    row = "bins" if bin_m else row or "model"
    return Gate(f"{name}{comparison}{number}", name, row, bin_m, score, comparison, limit)


def parse_gates(texts: Sequence[str], range_bins_m: Sequence[float]) -> list[Gate]:
    """Read conditions on a recording's scores.

    Args:
        texts: the conditions.
        range_bins_m: edges of the range bins that will be scored, metres.

    Raises:
        ConfigError: as `parse_gate`, or there is no such range bin.
    """
    gates = [parse_gate(text) for text in texts]
    bins = list(pairwise(range_bins_m))
    for gate in gates:
        if gate.bin_m is not None and gate.bin_m not in bins:
            known = ", ".join(f"bins[{low:g}-{high:g}]" for low, high in bins)
            raise ConfigError(f"condition on {gate.metric}: the range bins are {known}")
    return gates


def parse_difference_gates(texts: Sequence[str]) -> list[Gate]:
    """Read conditions on the difference of the prediction's scores between two reports.

    Raises:
        ConfigError: as `parse_gate`, or of that metric no difference is computed.
    """
    gates = [parse_gate(text) for text in texts]
    for gate in gates:
        if gate.row != "model" or gate.score not in SCORES:
            raise ConfigError(
                f"no difference of {gate.metric} is computed; choose from {', '.join(SCORES)}"
            )
    return gates


def failures(gates: Sequence[Gate], summary: Summary, range_bins_m: Sequence[float]) -> list[str]:
    """Return one line per condition that failed; `range_bins_m` as in `parse_gates`."""
    bins = dict(zip(pairwise(range_bins_m), summary.bins, strict=True))
    rows = {
        "model": summary.model,
        "aligned": summary.aligned,
        "constant": summary.constant,
        "recording": summary,
    }
    values = [
        getattr(rows[gate.row] if gate.bin_m is None else bins[gate.bin_m], gate.score)
        for gate in gates
    ]
    return [line for line in map(Gate.failure, gates, values) if line]


def difference_failures(gates: Sequence[Gate], differences: Mapping[str, float]) -> list[str]:
    """Return one line per condition that failed on differences, which are by name of the score."""
    lines = (gate.failure(differences[gate.score]) for gate in gates)
    return [line for line in lines if line]
