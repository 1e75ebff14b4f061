"""The network that a depth node serves with: loaded, exchanged and calibrated while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from mono_depth_ros.calibration import (
    CalibratedCamera,
    CalibrationFile,
    calibration_by_hand,
    save_calibration,
)
from mono_depth_ros.checkpoint import read_info
from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.errors import CheckpointError, ConfigError, DeviceError, MonoDepthError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.ros.background_loader import Arrival, BackgroundLoader
from mono_depth_ros.ros.inputs import reliability_of
from mono_depth_ros.ros.loading import Loaded, LoadPredictor, execution_of, load_calibrated
from mono_depth_ros.ros.outputs import Outputs
from mono_depth_ros.ros.parameters import NodeConfig, OutputConfig

if TYPE_CHECKING:
    from mono_depth_ros.predictor import InferenceConfig


class ServedNetwork:
    """A network with its calibration and its outputs.

    All methods are called in the executor's thread. What they change holds from the next frame on,
    because each frame works with the outputs' settings of its beginning.

    Args:
        node: has the parameters `checkpoint` and `calibration_file`, and gets the services
            ~/save_calibration and ~/load_calibration (std_srvs/Trigger).
        load_predictor: opens a checkpoint; None for DepthPredictor.load.
        config, inference, output, clouds: as the parameters are.
        make_outputs: called as `Outputs` is, where there are others.

    Attributes:
        loaded: what serves; None where nothing is loaded.
        outputs: publish what it answers; None likewise.
        trouble: what is wrong with it, for people; empty where nothing is.
        camera: of the last frame, as the network was given it.
        refused: how many checkpoints could not be loaded while another one served.
        moving_to_cpu: whether its device failed and the CPU takes over, until it is released.
    """

    def __init__(
        self,
        node: LifecycleNode,
        load_predictor: LoadPredictor | None,
        config: NodeConfig,
        inference: InferenceConfig,
        output: OutputConfig,
        clouds: CloudConfig,
        make_outputs: Callable[..., Outputs] = Outputs,
        images_per_run: int = 1,
    ) -> None:
        from mono_depth_ros.predictor import DepthPredictor

        self._node, self._log, self._make_outputs = node, node.get_logger(), make_outputs
        self._load_predictor = load_predictor or DepthPredictor.load
        self._check: Callable[[str], Any] = read_info if load_predictor is None else str
        self.config, self.inference, self._output, self._clouds = config, inference, output, clouds
        self._images_per_run = images_per_run
        self.loaded: Loaded | None = None
        self.outputs: Outputs | None = None
        self.trouble = ""
        self.camera: Intrinsics | None = None
        self.moving_to_cpu = False
        self.refused, self._last_refusal = 0, ""
        self._loader = BackgroundLoader(node, self._load, self._arrived)
        node.create_service(Trigger, "~/save_calibration", self._save_calibration)
        node.create_service(Trigger, "~/load_calibration", self._load_calibration)

    def load(self) -> None:
        """Load the checkpoint and create the outputs.

        Backends that compile the network take a while. Until they are ready, PyTorch serves.

        Raises:
            MonoDepthError: see `load_calibrated`, `require_available` and `Outputs`; the device's
                only where the parameter `on_device_error` does not say cpu.
        """
        try:
            loaded = self._load_first()
        except DeviceError as error:
            if self.config.on_device_error != "cpu":
                raise
            self.moving_to_cpu = True
            self._log.error(f"loading on the CPU instead: {error}")
            loaded = self._load_first()
        qos = QoSProfile(depth=2, reliability=reliability_of(self.config.output_reliability))
        self.outputs = self._make_outputs(
            self._node, qos, loaded.predictor, self._output, self._clouds
        )
        self._serve(loaded)
        asked = self._inference_to_load()
        if asked.backend != "torch":
            self._log.info(
                f"preparing {execution_of(asked)}, which may take a minute; PyTorch serves until "
                "then"
            )
            self._loader.want(self.config.checkpoint)

    def release(self) -> None:
        """Free the network, its memory and the outputs."""
        if self.outputs is not None:
            self.outputs.close()
        on_gpu = self.loaded is not None and self.loaded.predictor.device.type == "cuda"
        self.loaded = self.outputs = self.camera = None
        self.trouble, self.moving_to_cpu = "", False
        if on_gpu:
            import torch

            torch.cuda.empty_cache()

    def set_config(self, config: NodeConfig) -> None:
        """Follow the node's parameters; another checkpoint is loaded while the present one serves.

        Raises:
            ConfigError: there is no such checkpoint.
        """
        changed = config.checkpoint != self.config.checkpoint
        serving = self.loaded.checkpoint if self.loaded is not None else None
        if changed and config.checkpoint != serving:
            try:
                self._check(config.checkpoint)
            except CheckpointError as error:
                raise ConfigError(str(error)) from error
        self.config = config
        if self.loaded is None or not changed:
            return
        execution = execution_of(self._inference_to_load())
        if (config.checkpoint, execution) != (serving, self.loaded.execution):
            self._log.info(f"loading {config.checkpoint}; {serving} serves until")
            self._loader.want(config.checkpoint)

    def set_inference(self, inference: InferenceConfig) -> None:
        """Follow the predictor's parameters.

        Raises:
            ConfigError: a scale or shift is set besides a calibration.
        """
        if self.loaded is not None:
            self.loaded.set_inference(inference)
        self.inference = inference

    def set_output(self, output: OutputConfig) -> None:
        """Follow the parameters of the outputs; see `Outputs.set_output`."""
        if self.outputs is not None:
            self.outputs.set_output(output)
        self._output = output

    def set_clouds(self, clouds: CloudConfig) -> None:
        """Follow the parameters of the cloud; see `Outputs.set_clouds`."""
        if self.outputs is not None:
            self.outputs.set_clouds(clouds)
        self._clouds = clouds

    def move_to_cpu(self) -> bool:
        """Load the checkpoint on the CPU after its device failed; False where it runs there."""
        if self.loaded is None or self.loaded.predictor.device.type == "cpu":
            return False
        self.moving_to_cpu = True
        self.trouble = "the device failed; loading on the CPU"
        self._log.error(self.trouble)
        self._loader.want(self.config.checkpoint)
        return True

    def facts(self) -> tuple[str, dict[str, str]]:
        """Return what is wrong, and what else diagnostics tell of it."""
        if self.loaded is None:
            return self.trouble, {"checkpoint": f"{self.config.checkpoint}, not loaded"}
        predictor, calibration = self.loaded.predictor, self.loaded.calibration
        found = {
            "checkpoint": self.loaded.checkpoint,
            "network": predictor.info.network,
            "device": str(predictor.device),
            "backend": self.loaded.execution,
            "calibration": (
                f"{calibration.method}, {self.loaded.calibration_file}" if calibration else "none"
            ),
            "depth scale": f"{predictor.config.depth_scale:g}",
        }
        if self._loader.busy:
            execution = execution_of(self._inference_to_load())
            found["loading"] = f"{self.config.checkpoint} ({execution})"
        if self.refused:
            found["refused checkpoints"] = str(self.refused)
            found["last refusal"] = self._last_refusal
        if predictor.device.type == "cuda":
            import torch

            found["GPU memory, MB"] = f"{torch.cuda.memory_allocated(predictor.device) / 2**20:.0f}"
        return self.trouble, found

    def _load(self, checkpoint: str) -> Loaded:
        config = replace(self.config, checkpoint=checkpoint)
        return self._load_calibrated(config, self._inference_to_load())

    def _load_first(self) -> Loaded:
        """Load what serves first: PyTorch, where the backend that is asked for compiles."""
        asked = self._inference_to_load()
        if asked.backend != "torch":
            from mono_depth_ros.backends import require_available
            from mono_depth_ros.device import resolve_device

            require_available(asked.backend, asked.precision, resolve_device(asked.device))
            asked = replace(asked, backend="torch", precision="float32")
        return self._load_calibrated(self.config, asked)

    def _load_calibrated(self, config: NodeConfig, inference: InferenceConfig) -> Loaded:
        return load_calibrated(self._load_predictor, config, inference, self._images_per_run)

    def _inference_to_load(self) -> InferenceConfig:
        """Return the settings to load with, which are others once the GPU has failed."""
        if not self.moving_to_cpu:
            return self.inference
        from mono_depth_ros.backends import PRECISIONS

        asked = replace(self.inference, device="cpu")
        if asked.precision in PRECISIONS.get((asked.backend, "cpu"), ()):
            return asked
        return replace(asked, backend="torch", precision="float32")

    def _serve(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.trouble = "the device failed; serving on the CPU" if self.moving_to_cpu else ""
        predictor = loaded.predictor
        fitted = f", calibration {loaded.calibration_file}" if loaded.calibration_file else ""
        self._log.info(
            f"loaded {loaded.checkpoint} ({predictor.info.network}) on {predictor.device}, "
            f"{loaded.execution}{fitted}"
        )
        if predictor.class_names:
            classes = ", ".join(f"{i} {name}" for i, name in enumerate(predictor.class_names))
            self._log.info(f"classes of ~/semantics: {classes}")

    def _arrived(self, arrival: Arrival[Loaded]) -> None:
        if self.outputs is None or self.loaded is None or arrival.wanted != self.config.checkpoint:
            return  # cleaned up meanwhile, or something else is wanted by now
        problem = arrival.problem
        if arrival.loaded is not None:
            try:
                arrival.loaded.set_inference(self.inference)
                self.outputs.use(arrival.loaded.predictor, self._output, self._clouds)
                self._serve(arrival.loaded)
                return
            except MonoDepthError as error:
                problem = str(error)
        if self.moving_to_cpu and self.loaded.predictor.device.type != "cpu":
            self.trouble = f"the device failed, and the CPU cannot serve: {problem}"
            self._log.error(self.trouble)
            return
        kept = self.loaded.checkpoint
        self.refused += 1
        if arrival.wanted == kept:
            execution = execution_of(self._inference_to_load())
            self._last_refusal = f"cannot serve with {execution}, PyTorch stays: {problem}"
            self.trouble = self._last_refusal
        else:
            self._last_refusal = f"cannot serve with {arrival.wanted}, {kept} stays: {problem}"
        self._log.error(self._last_refusal)
        self._node.set_parameters([Parameter("checkpoint", value=kept)])

    def _load_calibration(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        try:
            path = str(self._calibration_path())
            calibration = self._require_loaded().set_calibration(path, self.inference)
            response.success = True
            response.message = (
                f"{path}: scale {calibration.depth_scale:g}, shift "
                f"{calibration.inverse_depth_shift_per_m:g} 1/m"
            )
        except MonoDepthError as error:
            response.success, response.message = False, str(error)
        return response

    def _save_calibration(
        self, _request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        try:
            path = self._calibration_path()
            save_calibration(path, self._calibration_in_force())
            response.success, response.message = True, f"wrote {path}"
        except MonoDepthError as error:
            response.success, response.message = False, str(error)
        except OSError as error:
            response.success, response.message = False, f"cannot write: {error}"
        return response

    def _calibration_path(self) -> Path:
        if not self.config.calibration_file:
            raise ConfigError("set the parameter calibration_file to the file's path first")
        return Path(self.config.calibration_file).expanduser()

    def _require_loaded(self) -> Loaded:
        if self.loaded is None:
            raise ConfigError("no network is loaded; configure the node first")
        return self.loaded

    def _calibration_in_force(self) -> CalibrationFile:
        """Return the calibration that was loaded, or what the parameters say."""
        loaded = self._require_loaded()
        if loaded.calibration is not None:
            return loaded.calibration
        if self.camera is None:
            raise ConfigError("no frame was served yet, so the camera is not known; try again")
        predictor = loaded.predictor
        camera = CalibratedCamera(
            self.camera.fx,
            self.camera.width,
            self.camera.height,
            predictor.network_focal_px(self.camera),
        )
        config = predictor.config
        return calibration_by_hand(
            predictor.info, camera, config.depth_scale, config.inverse_depth_shift_per_m
        )
