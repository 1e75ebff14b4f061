"""PyTorch, GPUs and the checkpoint; run as a program it prints a section per line, as JSON."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import TYPE_CHECKING

from mono_depth_ros.doctor.findings import Section
from mono_depth_ros.errors import MonoDepthError

if TYPE_CHECKING:
    from mono_depth_ros.predictor import DepthPredictor

_TIMED_RUNS = 3
# Convolutions of another device round differently; more than this is another answer.
_SAME_DEPTH = 0.01
_NVIDIA_DRIVER = "/proc/driver/nvidia/version"


def check_torch() -> Section:
    """Look at PyTorch and its GPUs."""
    import torch

    section = Section("PyTorch")
    section.facts["torch"] = f"{torch.__version__}, CUDA {torch.version.cuda or 'none (CPU build)'}"
    section.facts["CPU threads"] = str(torch.get_num_threads())
    driver = os.path.exists(_NVIDIA_DRIVER)
    section.facts["NVIDIA driver"] = "loaded" if driver else "none"
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            section.facts[f"cuda:{index}"] = (
                f"{name}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
            )
    elif driver:
        build = torch.version.cuda is None
        section.add(
            "warning",
            "there is an NVIDIA driver, but PyTorch "
            + ("is a build for CPUs" if build else "finds no GPU"),
            "device auto then means the CPU, ten to fifty times slower.",
            "install the PyTorch that pytorch.org names for your CUDA version"
            if build
            else "compare `nvidia-smi` with the CUDA version above; in a container start it with "
            "--gpus all",
        )  # fmt: skip
    return section


def check_checkpoint(checkpoint: str, device: str) -> Section:
    """Load a checkpoint and ask it for the depth of a known picture, twice."""
    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

    section = Section("Checkpoint", {"checkpoint": checkpoint})
    try:
        predictor = DepthPredictor.load(checkpoint, InferenceConfig(device=device))
    except MonoDepthError as error:
        section.add(
            "error", f"{checkpoint} cannot be loaded: {error}",
            "depth_node cannot be configured with it.",
            "`mono_depth models` lists the shipped ones; copy or write others again",
        )  # fmt: skip
        return section
    info = predictor.info
    section.facts["network"] = f"{info.network}, trained on {info.training_data}"
    size = info.image_size
    section.facts["size"] = f"{size.width}x{size.height}, focal length {info.training_focal_px} px"
    section.facts["answers"] = ", ".join(("depth", *predictor.product_names))
    section.facts["sha256"] = info.sha256
    _self_test(section, predictor)
    return section


def _self_test(section: Section, predictor: DepthPredictor) -> None:
    import numpy as np
    import torch

    size = predictor.info.image_size
    rgb = np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3), np.uint8)
    depth_m = predictor(rgb, None)
    began_s = time.perf_counter()
    for _ in range(_TIMED_RUNS):
        again_m = predictor(rgb, None)
    frame_ms = 1e3 * (time.perf_counter() - began_s) / _TIMED_RUNS
    section.facts["self test"] = (
        f"{np.nanmin(depth_m):.2f} to {np.nanmax(depth_m):.2f} m, {frame_ms:.1f} ms per frame on "
        f"{predictor.device}"
    )
    largest_m = predictor.largest_depth_m(None)
    sound = np.isfinite(depth_m).all() and depth_m.min() > 0 and depth_m.max() <= largest_m
    same = np.allclose(depth_m, again_m, rtol=_SAME_DEPTH)
    if not sound or not same:
        bound = "" if math.isinf(largest_m) else f" up to {largest_m:g} m"
        section.add(
            "error",
            "the self test failed: "
            + ("two runs differ" if sound else f"depth is not finite and positive{bound}"),
            "Depth of camera images will not be right either.",
            "try device cpu; if that works, update the GPU's driver and PyTorch",
        )  # fmt: skip
    if predictor.device.type == "cuda":
        from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

        on_cpu = DepthPredictor.load(section.facts["checkpoint"], InferenceConfig(device="cpu"))
        error = float(np.max(np.abs(depth_m / on_cpu(rgb, None) - 1)))
        section.facts["GPU against CPU"] = f"largest difference {100 * error:.3f} %"
        if not error < _SAME_DEPTH:
            section.add(
                "error", f"GPU and CPU differ by {100 * error:.1f} % of the depth",
                "The GPU computes another network than was trained.",
                f"update driver and PyTorch (now {torch.__version__}), or choose device cpu",
            )  # fmt: skip


def main() -> None:
    """Print each section as soon as it is known; arguments are checkpoint and device."""
    checkpoint, device = sys.argv[1:]
    # What libraries print on the way must not end up in the JSON.
    output, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps(check_torch().to_mapping()), file=output, flush=True)
    print(json.dumps(check_checkpoint(checkpoint, device).to_mapping()), file=output)


if __name__ == "__main__":
    main()
