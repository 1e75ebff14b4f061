"""Values of a JSON record, checked as they are read; errors are ValueErrors that say where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from mono_depth_ros.evaluation.pooled_errors import PooledErrors
from mono_depth_ros.metrics import DepthErrors, DevkitErrors

Errors = TypeVar("Errors", DepthErrors, DevkitErrors, PooledErrors)


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """Return a mapping."""
    if not isinstance(value, dict):
        raise ValueError(f"{where} is missing")
    return value


def items(value: Any, where: str) -> Sequence[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise ValueError(f"{where} is no list")
    return value


def number(value: Any, where: str) -> float:
    """Return a number, NaN for null."""
    if value is None:
        return math.nan
    if value in ("inf", "-inf") or (isinstance(value, int | float) and not isinstance(value, bool)):
        return float(value)
    raise ValueError(f"{where} is {value!r}, no number")


def count(value: Any, where: str) -> int:
    """Return a number of things."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{where} is {value!r}, no count")
    return value


def errors(kind: type[Errors], values: Any, where: str) -> Errors:
    """Return scores, whose first is a count."""
    names = [field.name for field in fields(kind)]
    if set(mapping(values, where)) != set(names):
        raise ValueError(f"{where} does not have exactly {', '.join(names)}")
    return kind(
        count(values["count"], f"{where}.count"),
        *(number(values[name], f"{where}.{name}") for name in names[1:]),
    )
