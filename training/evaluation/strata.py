"""Scores of parts of the pixels: ranges of the true depth, classes, and what lies near edges.

Ranges are averaged like the whole (over images, those without such a pixel left out); classes and
edges are pooled over all pixels, because a class may have a handful of them in an image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.protocols import Protocol, select_pixels
from mono_depth_ros.metrics import DepthErrors, pixel_errors
from mono_depth_ros.models.semantic_classes import Semantics, class_names, label_map
from training.manifest import LabelSet

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]

# A step of more than this share between neighbours is an edge; the ground of KITTI, seen from
# 1.65 m at 80 m, falls by 7 % per row.
EDGE_STEP = 0.1
EDGE_RADIUS_PX = 5

NEAR_EDGES, OFF_EDGES = "near depth edges", "away from depth edges"


@dataclass(frozen=True, slots=True)
class RangeBin:
    """True depths from `low_m`, included, to `high_m`, excluded."""

    low_m: float
    high_m: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.low_m < self.high_m:
            raise ConfigError(f"range {self.low_m:g}-{self.high_m:g} m is empty; give low < high")

    @property
    def name(self) -> str:
        """The bin in words."""
        if self.low_m == 0.0:
            return f"below {self.high_m:g} m"
        if self.high_m == math.inf:
            return f"{self.low_m:g} m and more"
        return f"{self.low_m:g} to {self.high_m:g} m"


def default_ranges(dataset: str) -> tuple[RangeBin, ...]:
    """Return the bins of a data set.

    NYU: below 4, 6 and 8 m, each from 0, as in Tables 4 to 7 of Look Deeper's supplement. Others:
    0 to 20, 20 to 50 and 50 to 80 m.
    """
    if dataset == "nyu":
        return tuple(RangeBin(0.0, high_m) for high_m in (4.0, 6.0, 8.0))
    return tuple(RangeBin(low_m, high_m) for low_m, high_m in pairwise((0.0, 20.0, 50.0, 80.0)))


def parse_ranges(text: str) -> tuple[RangeBin, ...]:
    """Read bins like `0-4,0-6,4-inf`.

    Raises:
        ConfigError: something is no pair of increasing metres.
    """
    bins = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        try:
            bins.append(RangeBin(float(low), float(high)))
        except ValueError as error:
            raise ConfigError(f"range {part!r}: give metres as LOW-HIGH, e.g. 0-4,4-8") from error
    return tuple(bins)


def range_errors(
    prediction_m: FloatArray, reference_m: FloatArray, bins: Sequence[RangeBin]
) -> dict[str, DepthErrors]:
    """Return the errors of each bin, of the pixels of `select_pixels`, (N,) each."""
    errors = {}
    for part in bins:
        inside = (reference_m >= part.low_m) & (reference_m < part.high_m)
        errors[part.name] = pixel_errors(prediction_m[inside], reference_m[inside])
    return errors


def masked_errors(
    prediction_m: FloatArray,
    reference_m: FloatArray,
    protocol: Protocol,
    masks: Mapping[str, BoolArray],
) -> dict[str, DepthErrors]:
    """Return the errors of each mask (H, W); the maps are full frames as for `select_pixels`."""
    errors = {}
    for name, mask in masks.items():
        part_m = np.where(mask, reference_m, np.nan)
        p, g, _ = select_pixels(prediction_m, part_m, protocol)
        errors[name] = pixel_errors(p, g)
    return errors


def edge_masks(reference_m: FloatArray) -> dict[str, BoolArray]:
    """Return where the truth is near a depth edge, and where it is not, (H, W) each.

    An edge lies between two neighbours, both measured, of which one is more than 10 % farther; near
    means at most 5 px away in rows and columns.
    """
    near = cv2.dilate(
        _edges(reference_m).astype(np.uint8),
        np.ones((2 * EDGE_RADIUS_PX + 1,) * 2, np.uint8),
    ).astype(bool)
    return {NEAR_EDGES: near, OFF_EDGES: ~near}


def class_masks(
    labels: npt.NDArray[np.uint8], classes: npt.NDArray[np.int16], names: Sequence[str]
) -> dict[str, BoolArray]:
    """Return where each class is, of the classes that are in the image.

    Args:
        labels: (H, W) as stored.
        classes: (256,) class of each stored label, -1 for none.
        names: of the classes.
    """
    index = classes[labels]
    return {names[k]: index == k for k in np.unique(index) if k >= 0}


def stratum_classes(
    label_set: LabelSet, nyu: Semantics = "nyu4"
) -> tuple[npt.NDArray[np.int16], tuple[str, ...]]:
    """Return the class of each stored label, (256,), and the names of the classes.

    Args:
        label_set: of the data.
        nyu: class set for NYU's labels.

    Raises:
        ConfigError: `nyu` is no class set of NYU.
    """
    if label_set == "cityscapes":
        return label_map("cityscapes"), class_names("cityscapes")
    if nyu not in ("nyu4", "nyu13", "nyu40"):
        raise ConfigError(f"classes of NYU are nyu4, nyu13 or nyu40, not {nyu}")
    return label_map(nyu), class_names(nyu)


def _edges(depth_m: FloatArray) -> BoolArray:
    """Return (H, W) True at both sides of a step between neighbours in a row or column."""
    edge = np.zeros(depth_m.shape, bool)
    with np.errstate(invalid="ignore"):
        for near, far in (
            ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
            ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ):
            a, b = depth_m[near], depth_m[far]
            step = np.maximum(a, b) > (1.0 + EDGE_STEP) * np.minimum(a, b)
            edge[near] |= step
            edge[far] |= step
    return edge
