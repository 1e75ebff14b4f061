"""Fit ACAN's confidence: `python -m training.calibrate_confidence CHECKPOINT --out FILE`.

One temperature divides the evidence that confidence is computed from, so that of the pixels with
confidence 0.8, eight in ten are within a factor of 1.25 of the truth. It is fitted on scenes of the
procedural world that no recipe trains on, and judged on others. Depth does not change.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mono_depth_ros.checkpoint import CheckpointInfo, copy_checkpoint, load_network
from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.models.acan import Acan
from mono_depth_ros.models.base import ImageSize
from mono_depth_ros.models.discretisation import CONFIDENCE_RATIO
from mono_depth_ros.preprocessing import image_to_tensor
from mono_depth_ros.progress import progress
from mono_depth_ros.world import KINDS, training_frame
from training.datasets.world import network_camera
from training.evaluation.world_test import FIRST_TEST_SEED
from training.view import View, ViewConfig

# Recipes train and validate on scenes below; those of the tests are above.
FIRST_CALIBRATION_SEED = 2_000_000
_FRAMES_PER_SCENE = 2
# Rendered larger and shrunk by area average, as training images are.
_RENDER_SCALE = 1.5
# Neighbours say the same; every fourth pixel of every fourth row is enough.
_PIXEL_STEP = 4
_TEMPERATURES = (1 / 32, 32.0)


@dataclass(frozen=True, slots=True)
class Pixels:
    """Answers and whether they were right, N pixels.

    Attributes:
        evidence: (1, K, N, 1), see `Acan.evidence`.
        depth_m: (1, 1, N, 1), what the network answered.
        right: (N,) bool, within a factor of 1.25 of the truth.
    """

    evidence: Tensor
    depth_m: Tensor
    right: Tensor

    def confidence(self, network: Acan, temperature: float) -> Tensor:
        """Return the confidence (N,) at a temperature."""
        return network.confidence(self.evidence, self.depth_m, temperature).flatten()


@dataclass(frozen=True, slots=True)
class Reliability:
    """Confidence against the share of right answers, pixels binned by confidence.

    Attributes:
        edges: (M + 1,) of the bins.
        pixels: (M,) how many each holds.
        confidence: (M,) their mean confidence, NaN in an empty bin.
        right: (M,) share of them that are right, NaN in an empty bin.
        error: expected calibration error: mean over all pixels of |confidence - right| of the bin.
        brier: mean of (confidence - 1 if right, else 0) squared.
    """

    edges: npt.NDArray[np.float64]
    pixels: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    right: npt.NDArray[np.float64]
    error: float
    brier: float


@torch.inference_mode()
def collect(network: Acan, info: CheckpointInfo, kind: str, seeds: Sequence[int]) -> Pixels:
    """Run the network on freshly rendered frames.

    Args:
        network: in eval mode.
        info: of its checkpoint; the frames vary as those of its training did.
        kind: rooms or streets.
        seeds: scenes; each is seen twice.
    """
    camera = network_camera(kind, info.image_size)
    variety = (info.recipe.get("data", {}).get("world") or {}).get("variety", ())
    camera = camera.resized(
        round(_RENDER_SCALE * camera.width), round(_RENDER_SCALE * camera.height)
    )
    view = View.fit(ViewConfig(size=info.image_size), ImageSize(camera.height, camera.width))
    focal_scale = view.camera(camera).fx / (info.training_focal_px or view.camera(camera).fx)
    views = [(seed, index) for seed in seeds for index in range(_FRAMES_PER_SCENE)]
    parts = []
    for seed, index in progress(views, len(views), f"running on {kind}"):
        frame = training_frame(kind, seed, index, camera, variety=variety)
        truth_m = torch.from_numpy(view.nearest(frame.depth_m)) / focal_scale
        parts.append(_pixels(network, image_to_tensor(view.image(frame.rgb)), truth_m))
    return Pixels(
        torch.cat([part.evidence for part in parts], dim=2),
        torch.cat([part.depth_m for part in parts], dim=2),
        torch.cat([part.right for part in parts]),
    )


def _pixels(network: Acan, image: Tensor, truth_m: Tensor) -> Pixels:
    """Return some pixels of an image (1, 3, h, w) with its truth (h, w)."""
    outputs = network.training_outputs(image)
    depth_m = outputs.pop("depth_m")
    logits = outputs["ordinal_logits" if network.config.head == "ordinal" else "class_logits"]
    some = (..., slice(None, None, _PIXEL_STEP), slice(None, None, _PIXEL_STEP))
    truth = truth_m[some].flatten()
    known = truth.isfinite() & (truth > 0)
    truth = truth[known]
    evidence = network.evidence(logits[some]).flatten(2)[..., known].unsqueeze(-1)
    answer = depth_m[some].flatten(2)[..., known].unsqueeze(-1)
    ratio = answer.flatten() / truth
    return Pixels(evidence, answer, torch.maximum(ratio, 1.0 / ratio) < CONFIDENCE_RATIO)


def reliability(confidence: Tensor, right: Tensor, bins: int = 10) -> Reliability:
    """Compare confidences (N,) with what came true (N,)."""
    sure, true = confidence.double().numpy(), right.double().numpy()
    index = np.minimum((sure * bins).astype(np.int64), bins - 1)
    pixels = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, sure, bins) / pixels
        share = np.bincount(index, true, bins) / pixels
    gaps = np.nan_to_num(np.abs(mean - share)) * pixels
    return Reliability(
        edges=np.linspace(0.0, 1.0, bins + 1),
        pixels=pixels,
        confidence=mean,
        right=share,
        error=float(gaps.sum() / max(len(sure), 1)),
        brier=float(np.mean((sure - true) ** 2)),
    )


def fit_temperature(network: Acan, pixels: Pixels) -> float:
    """Return the temperature with the least Brier score, from 1/32 to 32.

    The search narrows a grid over ln(temperature) five times, to steps of 0.2 %.
    """
    right = pixels.right.float()

    def brier(log_temperature: float) -> float:
        confidence = pixels.confidence(network, math.exp(log_temperature))
        return (confidence - right).square().mean().item()

    low, high = (math.log(t) for t in _TEMPERATURES)
    for _ in range(5):
        grid = np.linspace(low, high, 9).tolist()
        best = min(range(len(grid)), key=lambda i: brier(grid[i]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return math.exp((low + high) / 2.0)


def reliability_lines(title: str, table: Reliability) -> list[str]:
    """Return a table as lines of text."""
    lines = [
        f"{title}: expected calibration error {table.error:.4f}, Brier score {table.brier:.4f}",
        f"{'bin':>9}{'confidence':>12}{'right':>9}{'pixels':>10}",
    ]
    for i, count in enumerate(table.pixels):
        if count:
            lines.append(
                f"{table.edges[i]:>5.1f}-{table.edges[i + 1]:.1f}{table.confidence[i]:>12.3f}"
                f"{table.right[i]:>9.3f}{count:>10}"
            )
    return lines


def calibrate(checkpoint: str | Path, out: Path, kind: str | None, scenes: int) -> list[str]:
    """Fit, write the new checkpoint, return the report.

    Args:
        checkpoint: name or file, of an ACAN.
        out: .safetensors file to write.
        kind: rooms or streets; None takes what it was trained on.
        scenes: to fit on, and as many others to judge on.

    Raises:
        ConfigError: the network has no confidence, or there are no scenes.
        CheckpointError: it cannot be read.
    """
    network, info = load_network(checkpoint)
    if not isinstance(network, Acan):
        raise ConfigError(f"{info.name} is {info.network}, which has no confidence; acan has one")
    if scenes < 1:
        raise ConfigError(f"--scenes is {scenes}; one is the least")
    kind = kind or (info.recipe.get("data", {}).get("world") or {}).get("kind", "rooms")
    fitted, judged = (
        collect(network, info, kind, range(first, first + scenes))
        for first in (FIRST_CALIBRATION_SEED, FIRST_TEST_SEED)
    )
    temperature = fit_temperature(network, fitted)
    old = network.config.confidence_temperature or 1.0
    tables = [reliability(judged.confidence(network, t), judged.right) for t in (old, temperature)]
    settings = {"confidence_temperature": temperature}
    scores = {f"procedural_world_{kind}.confidence_error": tables[1].error}
    info = replace(info, settings=info.settings | settings, scores=info.scores | scores)
    copy_checkpoint(checkpoint, out, info)
    return [
        f"{info.name} on {kind}: temperature {temperature:.3f}, fitted on {scenes} scenes; "
        f"judged on {scenes} others",
        *reliability_lines(f"before (temperature {old:.3f})", tables[0]),
        *reliability_lines(f"after (temperature {temperature:.3f})", tables[1]),
        *_warnings(temperature),
        f"written to {out}",
    ]


def _warnings(temperature: float) -> list[str]:
    low, high = _TEMPERATURES
    if low * 1.01 < temperature < high / 1.01:
        return []
    return [
        f"WARNING: the fit ended at a limit of its range, {low:g} to {high:g}; the evidence hardly "
        "says what is right, so this confidence means nothing"
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", help="name or .safetensors file")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="checkpoint to write"
    )
    parser.add_argument("--kind", choices=tuple(KINDS), help="default: what it was trained on")
    parser.add_argument("--scenes", type=int, default=50, help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        lines = calibrate(options.checkpoint, options.out, options.kind, options.scenes)
    except (MonoDepthError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
