"""`Details` as the plain values of scores.json, and back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from mono_depth_ros.evaluation.details import (
    REGION_COLUMNS,
    REGION_ROWS,
    Details,
    RangeErrors,
)
from mono_depth_ros.evaluation.pooled_errors import PooledErrors
from mono_depth_ros.evaluation.products import ClassErrors, ConfidenceErrors, Products
from mono_depth_ros.evaluation.record_values import count, errors, items, mapping, number
from mono_depth_ros.semantic_metrics import SemanticScores

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
        **_products_record(details.products),
        "point_flicker": details.point_flicker,
        "point_flicker_frames": details.point_flicker_frames,
    }


def _products_record(products: Products) -> dict[str, Any]:
    semantics = products.semantics
    return {
        "confidence": [
            {"low": b.low, "high": b.high, "confidence": b.confidence, **asdict(b.errors)}
            for b in products.confidence
        ],
        "classes": [{"name": found.name, **asdict(found.errors)} for found in products.classes],
        **({} if semantics is None else {"semantics": asdict(semantics)}),
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
        products=_products(values),
        point_flicker=number(values.get("point_flicker"), "details.point_flicker"),
        point_flicker_frames=count(
            values.get("point_flicker_frames", 0), "details.point_flicker_frames"
        ),
    )


def _products(values: Mapping[str, Any]) -> Products:
    """Read what reports of earlier versions lack."""
    confidence = items(values.get("confidence", []), "details.confidence")
    classes = items(values.get("classes", []), "details.classes")
    semantics = values.get("semantics")
    return Products(
        tuple(_confidence(b, f"details.confidence[{i}]") for i, b in enumerate(confidence)),
        tuple(
            ClassErrors(str(mapping(c, where).get("name")), _pooled(c, ("name",), where))
            for i, c in enumerate(classes)
            for where in [f"details.classes[{i}]"]
        ),
        None if semantics is None else _semantics(mapping(semantics, "details.semantics")),
    )


def _confidence(values: Any, where: str) -> ConfidenceErrors:
    keys = ("low", "high", "confidence")
    low, high, mean = (number(mapping(values, where).get(key), where) for key in keys)
    return ConfidenceErrors(low, high, mean, _pooled(values, keys, where))


def _semantics(values: Mapping[str, Any]) -> SemanticScores:
    where = "details.semantics"
    iou = mapping(values.get("iou"), f"{where}.iou")
    return SemanticScores(
        pixels=count(values.get("pixels"), where),
        pixel_accuracy=number(values.get("pixel_accuracy"), where),
        mean_accuracy=number(values.get("mean_accuracy"), where),
        mean_iou=number(values.get("mean_iou"), where),
        iou={name: number(value, where) for name, value in iou.items()},
    )


def _range(values: Any, where: str) -> RangeErrors:
    low_m, high_m = (number(mapping(values, where).get(key), where) for key in ("low_m", "high_m"))
    return RangeErrors(low_m, high_m, _pooled(values, ("low_m", "high_m"), where))


def _pooled(values: Any, other_keys: Collection[str], where: str) -> PooledErrors:
    found = {key: value for key, value in mapping(values, where).items() if key not in other_keys}
    return errors(PooledErrors, found, where)
