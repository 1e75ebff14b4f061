"""RGB image in, metric depth out: the one way the node, the evaluator and the CLI run a network."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mono_depth_ros.backends import BackendName, Precision, TorchBackend, make_backend
from mono_depth_ros.calibration import CalibrationFile, DepthCalibration, load_calibration
from mono_depth_ros.checkpoint import CheckpointInfo, load_network
from mono_depth_ros.device import resolve_device
from mono_depth_ros.device_frames import DeviceLetterbox, Uploader
from mono_depth_ros.errors import ConfigError, ShapeError
from mono_depth_ros.geometry import Intrinsics
from mono_depth_ros.models.base import DepthNetwork, ImageSize
from mono_depth_ros.prediction import Array, Prediction, Question
from mono_depth_ros.preprocessing import (
    Letterbox,
    OutputSize,
    Upsampling,
    resize_image,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class InferenceConfig:
    """How a checkpoint is run; the one place where these settings have defaults.

    Attributes:
        device: `auto` takes the first GPU where there is one, else the CPU; `cpu`; `cuda`;
            `cuda:N`.
        backend: how the network is executed: `torch`; `torch_compiled`, on a GPU;
            `onnxruntime`; `openvino`, on a CPU. The last two need packages of
            requirements-backends.txt.
        precision: of the computation; `backends.PRECISIONS` says what each backend offers.
        depth_scale: calibration factor multiplied onto every depth, after the focal correction.
        inverse_depth_shift_per_m: calibration shift added to the inverse of that depth, 1/m.
        min_depth_m: nearer depths become NaN.
        max_depth_m: farther depths become NaN.
        upsampling: how depth is enlarged to the camera image, `linear` or `nearest`.
    """

    device: str = field(
        default="auto", metadata={"description": "auto, cpu, cuda or cuda:N", "read_only": True}
    )
    backend: BackendName = field(
        default="torch",
        metadata={
            "description": "what executes the network: torch, torch_compiled (GPU only), "
            "onnxruntime, openvino (CPU only)",
            "read_only": True,
        },
    )
    precision: Precision = field(
        default="float32",
        metadata={
            "description": "of the computation: float32, bfloat16, float16 (GPU only), int8 "
            "(openvino)",
            "read_only": True,
        },
    )
    depth_scale: float = field(
        default=1.0, metadata={"description": "calibration factor on every depth"}
    )
    inverse_depth_shift_per_m: float = field(
        default=0.0,
        metadata={"description": "calibration shift of every inverse depth after the factor, 1/m"},
    )
    min_depth_m: float = field(
        default=0.0, metadata={"description": "nearer depths are published as NaN, metres"}
    )
    max_depth_m: float = field(
        default=math.inf, metadata={"description": "farther depths are published as NaN, metres"}
    )
    upsampling: Upsampling = field(
        default="linear", metadata={"description": "depth to camera size: linear or nearest"}
    )

    def __post_init__(self) -> None:
        DepthCalibration(self.depth_scale, self.inverse_depth_shift_per_m)
        if not 0.0 <= self.min_depth_m < self.max_depth_m:
            raise ConfigError(
                f"need 0 <= min_depth_m < max_depth_m, got {self.min_depth_m} and "
                f"{self.max_depth_m}"
            )


class DepthPredictor:
    """A loaded network with its preprocessing, its metric scale and a device.

    Metric scale (design): depth_m = forward(image) * f / f_train * depth_scale, where f is fx of
    the letterboxed camera and f_train the checkpoint's. A camera of half the focal length sees
    everything half as large, which a network takes for twice as far. A calibration may also shift
    the inverse of that depth; what is then no depth becomes NaN.

    Attributes:
        config: the settings in force.
        info: of the checkpoint.
        device: where the network runs.
        backend: runs the network alone, on images of its own size.
    """

    def __init__(
        self, network: DepthNetwork, info: CheckpointInfo, config: InferenceConfig | None = None
    ) -> None:
        self.config = config or InferenceConfig()
        self.info = info
        self.device = resolve_device(self.config.device)
        self._network = network.eval()
        self.backend = make_backend(
            network, info.image_size, self.device, self.config.backend, self.config.precision
        )
        self._letterboxes: dict[tuple[int, int], Letterbox] = {}
        self._uploader = Uploader(self.device)
        self._device_letterboxes: dict[Letterbox, DeviceLetterbox] = {}
        self._calibration: CalibrationFile | None = None
        self._warned_of_px: set[float] = set()

    @classmethod
    def load(
        cls,
        checkpoint: str | Path,
        config: InferenceConfig | None = None,
        calibration: str | Path | None = None,
    ) -> DepthPredictor:
        """Load a shipped checkpoint by name, or a .safetensors file.

        Args:
            checkpoint: name or file.
            config: how it is run.
            calibration: file that `mono_depth calibrate` wrote for it, if any.

        Raises:
            CheckpointError: see `checkpoint.load_network`.
            DeviceError: the device asked for is not there.
            BackendError, ConfigError: see `make_backend`, `load_calibration` and `calibrate`.
        """
        fitted = None if calibration is None else load_calibration(calibration)
        network, info = load_network(checkpoint)
        predictor = cls(network, info, config)
        if fitted is not None:
            predictor.calibrate(fitted)
        return predictor

    def calibrate(
        self, calibration: CalibrationFile, config: InferenceConfig | None = None
    ) -> None:
        """Put a calibration into the settings, and warn of cameras that it was not fitted on.

        Args:
            calibration: what is put in.
            config: settings without one; those in force by default.

        Raises:
            ConfigError: it is for other weights, or the settings already have a scale or shift;
                nothing changed.
        """
        self.config = calibration.applied_to(config or self.config, self.info)
        self._calibration = calibration

    @property
    def product_names(self) -> tuple[str, ...]:
        """What the network answers besides depth: of confidence, attention, semantics."""
        return self._network.product_names

    @property
    def attention_names(self) -> tuple[str, ...]:
        """What the channels of `Prediction.attention` are, in order."""
        return self._network.attention_names

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the values of `Prediction.semantics` mean, in index order."""
        return self._network.class_names

    def __call__(
        self, rgb: npt.NDArray[np.uint8], camera: Intrinsics | None
    ) -> npt.NDArray[np.float32]:
        """Return `depth_m` of `predict`."""
        return self.predict(rgb, camera).depth_m

    def predict(
        self,
        rgb: npt.NDArray[np.uint8],
        camera: Intrinsics | None,
        products: Collection[str] = (),
        size: OutputSize = "camera",
    ) -> Prediction:
        """Predict the depth of one rectified image, and what else is asked for.

        Args:
            rgb: (H, W, 3) uint8, RGB.
            camera: intrinsics of that image, or None: then the focal correction is left out and
                depth is metric only if the camera's focal length is that of the training data.
            products: of confidence, attention, semantics; those the network has none of are left
                out. Nothing is computed for those that nobody asks for.
            size: of the answer: `camera`, the pixels of `rgb`; `network`, those of
                `network_camera(camera)`, the image as the network sees it without its padding.

        Raises:
            ShapeError: the image is not (H, W, 3) uint8, or the camera has another size.
        """
        return self.predict_batch([Question(rgb, camera, products)], size)[0]

    def predict_batch(
        self, questions: Sequence[Question], size: OutputSize = "camera"
    ) -> list[Prediction]:
        """Predict the depth of several images, of any sizes and cameras, in one run of the network.

        Args:
            questions: one per image; see `predict`.
            size: of all answers, likewise.

        Returns:
            One answer per question, in that order, as `predict` would give it one by one.

        Raises:
            ShapeError: an image is not (H, W, 3) uint8, or its camera has another size.
        """
        if not questions:
            return []
        if self.takes_tensors and isinstance(questions[0].rgb, np.ndarray):
            uploaded = [replace(question, rgb=self.upload(question.rgb)) for question in questions]
            return [answer.on_host() for answer in self.predict_batch(uploaded, size)]
        # Read once: the node may replace the settings while this runs.
        config = self.config
        frames, scales, pictures = [], [], []
        for question in questions:
            if question.rgb.ndim != 3:
                raise ShapeError(f"image is {question.rgb.shape}; pass (H, W, 3) uint8 RGB")
            letterbox = self._letterbox(question.rgb.shape[0], question.rgb.shape[1])
            on_device = isinstance(question.rgb, Tensor)
            scales.append(config.depth_scale * self._focal_ratio(letterbox, question.camera))
            pictures.append(self._frame(letterbox, on_device).image_to_target(question.rgb))
            onto = letterbox if size == "camera" else letterbox.unscaled()
            frames.append(self._frame(onto, on_device))
        wanted = [
            [name for name in self.product_names if name in question.products]
            for question in questions
        ]
        answers = self._run(pictures, any(wanted))
        return [
            self._answer({name: found[name] for name in ("depth_m", *names)}, scale, onto, config)
            for found, names, scale, onto in zip(answers, wanted, scales, frames, strict=True)
        ]

    def _run(self, pictures: Sequence[Array], products: bool) -> list[dict[str, Array]]:
        """Run the network on arrays, or on tensors; return name → (C, h, w) of the same kind."""
        if not isinstance(pictures[0], Tensor):
            return self.backend.run_batch(pictures, products)
        if not isinstance(self.backend, TorchBackend):
            raise ShapeError(f"backend {self.config.backend} takes arrays, not tensors")
        found = self.backend.answer(torch.stack(list(pictures)), products)
        return [{name: found[name][i] for name in found} for i in range(len(pictures))]

    def _answer(
        self,
        answers: Mapping[str, Array],
        scale: float,
        onto: Any,
        config: InferenceConfig,
    ) -> Prediction:
        """Return the network's answers for one image on that image's pixels."""
        depth = answers["depth_m"][0] * scale
        depth[~((depth > -math.inf) & (depth < math.inf))] = math.nan
        depth_m = onto.to_source(depth, config.upsampling)
        # After enlarging, as it was fitted: NaN and a bend do not mix into neighbours.
        shift = DepthCalibration(inverse_depth_shift_per_m=config.inverse_depth_shift_per_m)
        depth_m = _drop_out_of_range(shift.apply(depth_m), config)
        return Prediction(
            depth_m,
            class_names=self.class_names if "semantics" in answers else (),
            **{
                name: _on_source(name, answer, onto)
                for name, answer in answers.items()
                if name != "depth_m"
            },
        )

    @property
    def takes_tensors(self) -> bool:
        """Whether images are resized on a GPU: what `upload` brings there is answered there."""
        return self.device.type != "cpu" and isinstance(self.backend, TorchBackend)

    def upload(self, rgb: npt.NDArray[np.uint8]) -> Tensor:
        """Return an image (H, W, 3) uint8 on `device`, without waiting until it is there."""
        return self._uploader(rgb)

    def _frame(self, letterbox: Letterbox, on_device: bool) -> Any:
        """Return what places arrays or tensors: a Letterbox or a DeviceLetterbox."""
        if not on_device:
            return letterbox
        if letterbox not in self._device_letterboxes:
            self._device_letterboxes[letterbox] = DeviceLetterbox(letterbox, self.device)
        return self._device_letterboxes[letterbox]

    def warm_up(self, height: int, width: int, images: int = 1) -> None:
        """Run once on black images of camera size, so that the first frame is not the slow one.

        Args:
            height: of the images.
            width: likewise.
            images: how many of them one run is to take at most.
        """
        black = np.zeros((height, width, 3), np.uint8)
        self.predict_batch([Question(black, None)] * images)

    def _letterbox(self, height: int, width: int) -> Letterbox:
        key = (height, width)
        if key not in self._letterboxes:
            self._letterboxes[key] = Letterbox.fit(ImageSize(height, width), self.info.image_size)
        return self._letterboxes[key]

    def network_camera(self, camera: Intrinsics) -> Intrinsics:
        """Return the intrinsics of a camera's image as the network sees it, without padding."""
        resized = self._letterbox(camera.height, camera.width).resized
        return camera.resized(resized.width, resized.height)

    def network_picture(self, rgb: Array) -> Array:
        """Return an image (H, W, 3) uint8, array or tensor, as the network sees it, unpadded."""
        letterbox = self._letterbox(rgb.shape[0], rgb.shape[1])
        if isinstance(rgb, Tensor):
            return letterbox.without_padding(self._frame(letterbox, True).image_to_target(rgb))
        return resize_image(rgb, letterbox.resized.height, letterbox.resized.width)

    def largest_depth_m(self, camera: Intrinsics | None) -> float:
        """Return the largest depth that images of a camera can get, metres; inf if no bound."""
        config, network_max_m = self.config, self._network.max_depth_m
        if camera is not None:
            letterbox = self._letterbox(camera.height, camera.width)
            network_max_m *= self._focal_ratio(letterbox, camera)
        calibration = DepthCalibration(config.depth_scale, config.inverse_depth_shift_per_m)
        largest_m = float(calibration.apply(np.array(network_max_m)))
        return math.inf if math.isnan(largest_m) else largest_m

    def network_focal_px(self, camera: Intrinsics) -> float:
        """Return fx of a camera's image after letterboxing, pixels."""
        return self._letterbox(camera.height, camera.width).camera(camera).fx

    def _focal_ratio(self, letterbox: Letterbox, camera: Intrinsics | None) -> float:
        if camera is None:
            return 1.0
        network_fx_px = letterbox.camera(camera).fx
        self._warn_of_camera(network_fx_px)
        return self.info.focal_ratio(network_fx_px)

    def _warn_of_camera(self, network_fx_px: float) -> None:
        if self._calibration is None or network_fx_px in self._warned_of_px:
            return
        self._warned_of_px.add(network_fx_px)
        if warning := self._calibration.camera_warning(network_fx_px):
            logger.warning("%s", warning)


def _on_source(name: str, answer: Array, onto: Any) -> Array:
    if name == "semantics":
        return onto.to_source(answer[0], "nearest")
    if name == "confidence":
        return onto.to_source(answer[0], "linear")
    channels = [onto.to_source(channel, "linear") for channel in answer]
    return torch.stack(channels, -1) if isinstance(answer, Tensor) else np.stack(channels, -1)


def _drop_out_of_range(depth_m: Array, config: InferenceConfig) -> Array:
    low, high = config.min_depth_m, config.max_depth_m
    if low > 0.0 or high < math.inf:
        depth_m[(depth_m < low) | (depth_m > high)] = math.nan
    return depth_m
