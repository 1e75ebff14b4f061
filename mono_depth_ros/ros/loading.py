"""What the depth node loads when it is configured: network, calibration, colours."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mono_depth_ros.calibration import CalibrationFile, load_calibration
from mono_depth_ros.errors import DeviceError
from mono_depth_ros.ros.device_errors import is_device_error
from mono_depth_ros.ros.parameters import NodeConfig

if TYPE_CHECKING:
    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

LoadPredictor = Callable[[str, "InferenceConfig"], "DepthPredictor"]


@dataclass(slots=True)
class Loaded:
    """A predictor that is ready to serve.

    Attributes:
        checkpoint: as it was asked for.
        predictor: warm.
        calibration: that is in its settings; None where there is none.
        calibration_file: where that came from; empty where there is none.
        execution: backend and precision, see `execution_of`.
    """

    checkpoint: str
    predictor: DepthPredictor
    calibration: CalibrationFile | None = None
    calibration_file: str = ""
    execution: str = ""

    def set_inference(self, inference: InferenceConfig) -> None:
        """Give the predictor other settings, with the calibration put into them.

        Raises:
            ConfigError: they have a scale or shift of their own besides the calibration.
        """
        fitted = self.calibration
        self.predictor.config = (
            fitted.applied_to(inference, self.predictor.info) if fitted else inference
        )

    def set_calibration(self, path: str, inference: InferenceConfig) -> CalibrationFile:
        """Put the calibration of a file into settings that have none; return it.

        Raises:
            ConfigError: the file is unreadable or for other weights, or the settings have a scale
                or shift.
        """
        calibration = load_calibration(path)
        self.predictor.calibrate(calibration, inference)
        self.calibration, self.calibration_file = calibration, path
        return calibration


def execution_of(inference: InferenceConfig) -> str:
    """Return backend and precision as people read them."""
    return f"{inference.backend}, {inference.precision}"


def load_calibrated(
    load: LoadPredictor, config: NodeConfig, inference: InferenceConfig, images: int = 1
) -> Loaded:
    """Load checkpoint and calibration, and run the network once on so many black images.

    Raises:
        CheckpointError, BackendError: see `DepthPredictor.load`.
        DeviceError: likewise, or the device is lost or out of memory.
        ConfigError: the calibration is unreadable, for other weights, or meets a depth_scale or
            shift that is set as well.
    """
    use_threads(config.num_threads)
    try:
        predictor = load(config.checkpoint, inference)
        loaded = Loaded(config.checkpoint, predictor, execution=execution_of(inference))
        if config.calibration_file:
            loaded.set_calibration(config.calibration_file, inference)
        size = predictor.info.image_size
        predictor.warm_up(size.height, size.width, images)
    except RuntimeError as error:
        if not is_device_error(error):
            raise
        raise DeviceError(
            f"the device failed while {config.checkpoint} was loaded: {error}"
        ) from error
    return loaded


def use_threads(count: int) -> None:
    """Give the network so many threads of the CPU; 0 for all cores but one."""
    import torch

    # The last core is left to the executor and DDS: threads that wait for one another stall
    # whenever one of them is displaced.
    all_but_one = max((os.cpu_count() or 1) - 1, 1)
    torch.set_num_threads(count or all_but_one)
