"""One pass over the validation images: what a run logs, and what chooses its best weights."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mono_depth_ros.metrics import DepthErrors, depth_errors, mean_over_images
from mono_depth_ros.models import DepthNetwork
from mono_depth_ros.semantic_metrics import SemanticCounts, SemanticScores

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Validation:
    """Scores of one state of a network.

    Attributes:
        errors: of depth, mean over images.
        semantics: over all labelled pixels; None where the recipe reads no labels.
        left_out: images that could not be read, or have no truth in the view; they are logged.
        shown: the first image that could be read, as an item of the data set; None without any.
    """

    errors: DepthErrors
    semantics: SemanticScores | None
    left_out: int
    shown: dict[str, Any] | None

    def scores(self) -> dict[str, float]:
        """Return all numbers by name."""
        scores: dict[str, float] = asdict(self.errors) | {"left_out": self.left_out}
        if self.semantics is not None:
            scores["pixel_accuracy"] = self.semantics.pixel_accuracy
            scores["mean_iou"] = self.semantics.mean_iou
        return scores

    def loss(self, *, depth: bool) -> float:
        """Return what the best weights have least of: AbsRel, or 1 - mIoU if depth is not learnt.

        NaN where there is nothing to compare.
        """
        if depth:
            return self.errors.abs_rel
        return float("nan") if self.semantics is None else 1.0 - self.semantics.mean_iou

    def __str__(self) -> str:
        """Return one line for people."""
        errors = self.errors
        text = f"AbsRel {errors.abs_rel:.4f} RMSE {errors.rmse_m:.3f} m delta1 {errors.delta1:.4f}"
        if self.semantics is not None:
            text += f" mIoU {self.semantics.mean_iou:.4f}"
        return text + (f", {self.left_out} images left out" if self.left_out else "")


@torch.inference_mode()
def validate(
    network: DepthNetwork, loader: Iterable[dict[str, Any]], device: torch.device
) -> Validation:
    """Score every image.

    Args:
        network: on `device`; put into evaluation mode.
        loader: of a `PreparedDataset` without augmentation.
        device: where to compute.
    """
    network.eval()
    errors: list[DepthErrors] = []
    classes, labelled = SemanticCounts(network.class_names), False
    left_out, shown = 0, None
    for batch in loader:
        for problem in filter(None, batch["problem"]):
            logger.warning("validation: %s", problem)
            left_out += 1
        if "image" not in batch:
            continue
        image = batch["image"].to(device)
        products = network.products(image) if "labels" in batch else {"depth_m": network(image)}
        answers_m = products["depth_m"][:, 0].float().cpu().numpy()
        errors += map(depth_errors, answers_m, batch["depth_m"][:, 0].numpy())
        if "labels" in batch:
            labelled = True
            for answer, truth in zip(products["semantics"][:, 0], batch["labels"], strict=True):
                classes.add(answer.cpu().numpy(), truth.numpy())
        if shown is None:
            shown = {name: values[0] for name, values in batch.items()}
    scores = classes.scores() if labelled else None
    return Validation(mean_over_images(errors), scores, left_out, shown)
