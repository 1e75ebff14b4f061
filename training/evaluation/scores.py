"""One image, and then all images, scored under one profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mono_depth_ros.evaluation.bootstrap import BootstrapConfig, Interval, bootstrap_interval
from mono_depth_ros.evaluation.protocols import select_pixels
from mono_depth_ros.metrics import (
    DepthErrors,
    DevkitErrors,
    devkit_errors,
    mean_over_images,
    mean_over_images_devkit,
    pixel_errors,
    pool_over_pixels,
)
from training.evaluation.profiles import Profile
from training.evaluation.strata import RangeBin, masked_errors, range_errors
from training.manifest import Record

FloatArray = npt.NDArray[np.floating]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image under one profile.

    Attributes:
        name: of the record.
        group: its scene or drive.
        truth_pixels: reference pixels that count, `errors.count` of which were scored.
        errors: of the image.
        devkit: the same pixels in the units of KITTI's leaderboard.
        ranges: errors per range of true depth.
        parts: errors per mask (classes, edges).
    """

    name: str
    group: str
    truth_pixels: int
    errors: DepthErrors
    devkit: DevkitErrors
    ranges: dict[str, DepthErrors]
    parts: dict[str, DepthErrors]


@dataclass(frozen=True, slots=True)
class ProfileScores:
    """All images under one profile.

    Attributes:
        profile: that was applied.
        images: scores per image, in the order of the split.
        without_truth: images of the split that have no truth of this kind (45 of KITTI's 697).
    """

    profile: Profile
    images: tuple[ImageScore, ...]
    without_truth: int

    @property
    def errors(self) -> DepthErrors:
        """The profile's average over all images."""
        return self._average([image.errors for image in self.images])

    @property
    def devkit(self) -> DevkitErrors:
        """Mean over images in the units of KITTI's leaderboard."""
        return mean_over_images_devkit([image.devkit for image in self.images])

    @property
    def truth_pixels(self) -> int:
        """Reference pixels that count, over all images."""
        return sum(image.truth_pixels for image in self.images)

    @property
    def strata(self) -> dict[str, DepthErrors]:
        """Ranges averaged like the whole, then classes and edges pooled over all pixels."""
        ranges = _by_name([image.ranges for image in self.images])
        parts = _by_name([image.parts for image in self.images])
        return {name: self._average(found) for name, found in ranges.items()} | {
            name: pool_over_pixels(found) for name, found in parts.items()
        }

    def interval(self, config: BootstrapConfig) -> Interval | None:
        """Return the bootstrap interval of `errors`; None for averages over pixels, too."""
        if self.profile.protocol.average != "images":
            return None
        errors = [image.errors for image in self.images]
        return bootstrap_interval(errors, [image.group for image in self.images], config)

    @property
    def _average(self) -> Callable[[Sequence[DepthErrors]], DepthErrors]:
        pooled = self.profile.protocol.average == "pixels"
        return pool_over_pixels if pooled else mean_over_images


def score_image(
    record: Record,
    prediction_m: FloatArray,
    reference_m: FloatArray,
    profile: Profile,
    ranges: Sequence[RangeBin] = (),
    masks: Mapping[str, BoolArray] | None = None,
) -> ImageScore:
    """Score one image.

    Args:
        record: of the image.
        prediction_m: (H, W) metres of the full frame, NaN = unknown.
        reference_m: (H, W) metres of the full frame, NaN = no measurement.
        profile: what counts.
        ranges: of true depth, scored each on its own.
        masks: parts of the frame, (H, W) each, scored each on its own.

    Raises:
        ShapeError: the maps differ in size or do not fit the profile's crop.
    """
    protocol = profile.protocol
    p, g, truth_pixels = select_pixels(prediction_m, reference_m, protocol)
    return ImageScore(
        name=record.name,
        group=record.group,
        truth_pixels=truth_pixels,
        errors=pixel_errors(p, g),
        devkit=devkit_errors(p, g),
        ranges=range_errors(p, g, ranges),
        parts=masked_errors(prediction_m, reference_m, protocol, masks or {}),
    )


def _by_name(tables: Sequence[Mapping[str, DepthErrors]]) -> dict[str, list[DepthErrors]]:
    found: dict[str, list[DepthErrors]] = {}
    for table in tables:
        for name, errors in table.items():
            found.setdefault(name, []).append(errors)
    return found
