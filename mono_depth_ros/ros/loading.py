"""What the depth node loads when it is configured: network, calibration, colours."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from mono_depth_ros.calibration import CalibrationFile, load_calibration
from mono_depth_ros.errors import ConfigError
from mono_depth_ros.ros.parameters import NodeConfig

if TYPE_CHECKING:
    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

LoadPredictor = Callable[[str, "InferenceConfig"], "DepthPredictor"]


def load_calibrated(
    load: LoadPredictor, config: NodeConfig, inference: InferenceConfig
) -> tuple[DepthPredictor, CalibrationFile | None]:
    """Load checkpoint and calibration, and run the network once on a black image.

    Raises:
        CheckpointError, DeviceError: see `DepthPredictor.load`.
        ConfigError: the calibration is unreadable, for other weights, or meets a depth_scale or
            shift that is set as well.
    """
    import torch

    # The last core is left to the executor and DDS: threads that wait for one another stall
    # whenever one of them is displaced.
    all_but_one = max((os.cpu_count() or 1) - 1, 1)
    torch.set_num_threads(config.num_threads or all_but_one)
    calibration = load_calibration(config.calibration_file) if config.calibration_file else None
    predictor = load(config.checkpoint, inference)
    if calibration is not None:
        predictor.calibrate(calibration)
    predictor.warm_up(predictor.info.image_size.height, predictor.info.image_size.width)
    return predictor, calibration


def largest_color_m(config: NodeConfig, predictor: DepthPredictor) -> float:
    """Return the depth of the last colour: the one that is asked for, or the checkpoint's largest.

    Raises:
        ConfigError: neither is known.
    """
    largest_m = config.color_max_depth_m or predictor.info.settings.get("max_depth_m")
    if largest_m is None:
        raise ConfigError(
            f"checkpoint {predictor.info.name} names no largest depth; set color_max_depth_m"
        )
    return float(largest_m)
