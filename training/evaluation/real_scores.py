"""Scores on real frames, metric and median-aligned, against one constant depth; and pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.checkpoint import CheckpointInfo
from mono_depth_ros.coloring import DepthColorizer
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.pictures import overlay_depth
from mono_depth_ros.evaluation.protocols import Protocol, score
from mono_depth_ros.evaluation.report import padded
from mono_depth_ros.files import write_rgb
from mono_depth_ros.metrics import DepthErrors, mean_over_images
from training.evaluation.real_frames import RealFrame, RealSet, Scene, Use, load_frames
from training.evaluation.world import Predictor

FloatArray = npt.NDArray[np.float32]

# `load_frames` leaves only the depths that count, so the protocols themselves leave nothing out.
_METRIC = Protocol("depth camera or LiDAR", min_m=0.0, cap_m=math.inf)
_ALIGNED = Protocol("depth camera or LiDAR", min_m=0.0, cap_m=math.inf, alignment="median")

# Networks that reach beyond it were made for streets.
_ROOMS_AT_MOST_M = 20.0
# Columns of one picture, and the share of measured pixels below which the truth is drawn as dots.
_TILE_WIDTH_PX = 480
_SPARSE_SHARE = 0.2
_TITLES = ("frames", "pixels", "AbsRel", "δ1", "AbsRel aligned", "δ1 aligned")


@dataclass(frozen=True, slots=True)
class SetScores:
    """Means over the images of one set.

    Attributes:
        name: of the set.
        use: of the set.
        scene: of the set.
        frames: images in the set.
        truth_pixels: reference pixels that count; `metric.count` of them had a prediction.
        metric: the prediction in metres as it is.
        aligned: after every image's prediction is multiplied by median(truth) /
            median(prediction); says nothing about metric scale.
        constant_m: median of all reference depths of the set.
        constant: that one depth for every pixel.
        constant_aligned: the same aligned, which is every image's own median.
    """

    name: str
    use: Use
    scene: Scene
    frames: int
    truth_pixels: int
    metric: DepthErrors
    aligned: DepthErrors
    constant_m: float
    constant: DepthErrors
    constant_aligned: DepthErrors


def score_real_frames(
    predictor: Predictor, sets: Sequence[RealSet], root: Path, pictures: Path | None = None
) -> list[SetScores]:
    """Score a predictor, run like the node runs it, on every set.

    Args:
        predictor: (rgb (H, W, 3) uint8, camera) to (H, W) metres, NaN = unknown.
        sets: on which; see `for_scene` for those of a checkpoint.
        root: folder at which the paths of the sets start.
        pictures: folder for one PNG per set; None draws nothing.

    Raises:
        ConfigError, DataError, DecodingError, CalibrationError: see `load_frames`.
        ShapeError: a prediction has another size than its image.
    """
    scores = []
    for part in sets:
        frames = load_frames(part, root)
        predictions_m = [predictor(frame.rgb, frame.camera) for frame in frames]
        scores.append(_score_set(part, frames, predictions_m))
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            write_rgb(pictures / f"{part.name}.png", draw_set(part, frames, predictions_m))
    return scores


def scene_of(info: CheckpointInfo) -> Scene:
    """Return the scene that a checkpoint is for.

    The kind of world in its recipe, or else what its largest depth is made for.

    Raises:
        ConfigError: neither is known.
    """
    data = info.recipe.get("data", {})
    # Recipes of the first checkpoints had no section for the world.
    kind = (data.get("world") or data).get("kind")
    if kind == "rooms" or kind == "streets":
        return kind
    largest_m = info.settings.get("max_depth_m")
    if largest_m is None:
        raise ConfigError(
            f"checkpoint {info.name} says neither on which world it was trained nor how far it "
            "reaches; say --scene rooms or --scene streets"
        )
    return "streets" if largest_m > _ROOMS_AT_MOST_M else "rooms"


def for_scene(sets: Sequence[RealSet], scene: Scene) -> list[RealSet]:
    """Return the sets of a scene.

    Raises:
        ConfigError: there is none.
    """
    found = [part for part in sets if part.scene == scene]
    if not found:
        raise ConfigError(f"none of the sets {', '.join(s.name for s in sets)} is of {scene}")
    return found


def draw_set(
    part: RealSet, frames: Sequence[RealFrame], predictions_m: Sequence[FloatArray]
) -> npt.NDArray[np.uint8]:
    """Draw image, prediction and truth side by side, one row per frame.

    Colours are linear in depth from 0 to the set's largest depth; sparse truth is drawn as dots on
    the image.

    Returns:
        (rows, 3 * 480, 3) uint8.
    """
    colors = DepthColorizer(part.depth_range_m[1])
    rows = []
    for frame, prediction_m in zip(frames, predictions_m, strict=True):
        if np.isfinite(frame.truth_m).mean() < _SPARSE_SHARE:
            truth = overlay_depth(frame.rgb, frame.truth_m, part.depth_range_m[1])
        else:
            truth = colors(frame.truth_m).copy()  # the colouriser reuses its array
        rows.append(np.hstack([_tile(p) for p in (frame.rgb, colors(prediction_m), truth)]))
    return np.vstack(rows)


def score_lines(scores: Mapping[str, Sequence[SetScores]]) -> list[str]:
    """Return one table: for every set a row per checkpoint, then its constant depth.

    Args:
        scores: label of a checkpoint to what `score_real_frames` returned for it.
    """
    by_set: dict[str, dict[str, SetScores]] = {}
    for label, found in scores.items():
        for part in found:
            by_set.setdefault(part.name, {})[label] = part
    rows = [["", *_TITLES]]
    for name, of_set in by_set.items():
        first = next(iter(of_set.values()))
        rows.append([f"{name} ({first.scene}, for {first.use})", *[""] * len(_TITLES)])
        rows += [_row(label, s, s.metric, s.aligned) for label, s in of_set.items()]
        label = f"constant {first.constant_m:.2f} m"
        rows.append(_row(label, first, first.constant, first.constant_aligned))
    return padded(rows)


def _score_set(
    part: RealSet, frames: Sequence[RealFrame], predictions_m: Sequence[FloatArray]
) -> SetScores:
    truths_m = [frame.truth_m for frame in frames]
    known_m = np.concatenate([truth_m[np.isfinite(truth_m)] for truth_m in truths_m])
    constant_m = float(np.median(known_m))
    constants_m = [np.full(truth_m.shape, constant_m) for truth_m in truths_m]

    def mean(answers_m: Sequence[npt.NDArray[np.floating]], protocol: Protocol) -> DepthErrors:
        pairs = zip(answers_m, truths_m, strict=True)
        return mean_over_images([score(answer, truth, protocol) for answer, truth in pairs])

    return SetScores(
        name=part.name,
        use=part.use,
        scene=part.scene,
        frames=len(frames),
        truth_pixels=known_m.size,
        metric=mean(predictions_m, _METRIC),
        aligned=mean(predictions_m, _ALIGNED),
        constant_m=constant_m,
        constant=mean(constants_m, _METRIC),
        constant_aligned=mean(constants_m, _ALIGNED),
    )


def _row(label: str, scores: SetScores, metric: DepthErrors, aligned: DepthErrors) -> list[str]:
    pixels = str(metric.count)
    if metric.count != scores.truth_pixels:
        pixels += f" of {scores.truth_pixels}"
    values = (metric.abs_rel, metric.delta1, aligned.abs_rel, aligned.delta1)
    cells = ("-" if math.isnan(value) else f"{value:.4f}" for value in values)
    return [f"  {label}", str(scores.frames), pixels, *cells]


def _tile(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height_px = max(round(rgb.shape[0] * _TILE_WIDTH_PX / rgb.shape[1]), 1)
    size = (_TILE_WIDTH_PX, height_px)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
