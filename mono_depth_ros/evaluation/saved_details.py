"""`Details` as the plain values of scores.json, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mono_depth_ros.evaluation.details import (
    REGION_COLUMNS,
    REGION_ROWS,
    Details,
    PooledErrors,
    RangeErrors,
)
from mono_depth_ros.evaluation.record_values import count, errors, items, mapping, number

_PLACES = [{"row": row, "column": column} for row in REGION_ROWS for column in REGION_COLUMNS]


def details_record(details: Details) -> dict[str, Any]:
    """Return plain values; the keys are described in `saved_report`."""
    return {
        "regions": [
            {**place, **asdict(found)}
            for place, found in zip(_PLACES, details.regions, strict=True)
        ],
        "ranges": [
            {"low_m": r.low_m, "high_m": r.high_m, **asdict(r.errors)} for r in details.ranges
        ],
        "error_edges": list(details.error_edges),
        "error_counts": list(details.error_counts),
    }


def details_from(record: Any) -> Details:
    """Read what `details_record` returned.

    Raises:
        ValueError: it is something else.
    """
    values = mapping(record, "details")
    regions = items(values.get("regions"), "details.regions")
    if [{key: mapping(r, "a region").get(key) for key in _PLACES[0]} for r in regions] != _PLACES:
        raise ValueError("details.regions are not the nine thirds of thirds of the image")
    edges = items(values.get("error_edges"), "details.error_edges")
    counts = items(values.get("error_counts"), "details.error_counts")
    if len(edges) != len(counts) + 1:
        raise ValueError(f"details.error_edges are {len(edges)}, of {len(counts)} counts")
    return Details(
        regions=tuple(
            _pooled(r, ("row", "column"), f"details.regions[{i}]") for i, r in enumerate(regions)
        ),
        ranges=tuple(
            _range(r, f"details.ranges[{i}]")
            for i, r in enumerate(items(values.get("ranges"), "details.ranges"))
        ),
        error_edges=tuple(number(edge, "details.error_edges") for edge in edges),
        error_counts=tuple(count(value, "details.error_counts") for value in counts),
    )


def _range(values: Any, where: str) -> RangeErrors:
    low_m, high_m = (number(mapping(values, where).get(key), where) for key in ("low_m", "high_m"))
    return RangeErrors(low_m, high_m, _pooled(values, ("low_m", "high_m"), where))


def _pooled(values: Any, other_keys: tuple[str, str], where: str) -> PooledErrors:
    found = {key: value for key, value in mapping(values, where).items() if key not in other_keys}
    return errors(PooledErrors, found, where)
