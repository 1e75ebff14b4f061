"""The depth node: a camera stream in; metric depth, camera_info, coloured cloud and picture out."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeAlias

import rclpy
from rclpy.exceptions import NameValidationException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import try_shutdown
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mono_depth_ros.calibration import CalibrationFile
from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.decoding import compressed_image_to_rgb, image_to_rgb
from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.ros.camera_view import CameraViews, has_latched_publisher
from mono_depth_ros.ros.interruption import ignore_signals, raise_on_first_signal
from mono_depth_ros.ros.loading import LoadPredictor, largest_color_m, load_calibrated
from mono_depth_ros.ros.middleware import use_large_message_profile
from mono_depth_ros.ros.outputs import Outputs
from mono_depth_ros.ros.parameters import (
    NodeConfig,
    OutputConfig,
    check_overrides,
    declare_config,
    follow_all_changes,
)
from mono_depth_ros.ros.tally import FrameTally
from mono_depth_ros.ros.worker import NewestItemWorker

if TYPE_CHECKING:
    from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

ImageMessage: TypeAlias = Image | CompressedImage

# Longest wait for a running inference when the process ends; launch kills a node that needs longer
# than 5 s.
_STOP_TIMEOUT_S = 1.0
_SPIN_PERIOD_S = 0.2


class DepthNode(LifecycleNode):
    """Lifecycle node `depth_node`.

    Subscribes `image` (sensor_msgs/Image), `image/compressed` and `camera_info`; publishes the
    topics of `Outputs`, every one with the header of the image it was computed from.
    Lens distortion is taken out first; all outputs are then those of the pinhole camera P.
    The newest image wins, nothing queues, and nothing is computed that nobody subscribes to. A
    frame that cannot be used is dropped, counted by reason in `tally` and logged.

    Args:
        load_predictor: opens a checkpoint; DepthPredictor.load by default.
        node_arguments: passed on to rclpy's node (namespace, parameter_overrides, ...).

    Raises:
        ConfigError: a parameter has a wrong type or value, or looks misspelt.
    """

    def __init__(self, load_predictor: LoadPredictor | None = None, **node_arguments: Any) -> None:
        # PyTorch needs seconds to import; only what builds a node pays for it.
        from mono_depth_ros.predictor import DepthPredictor, InferenceConfig

        super().__init__("depth_node", **node_arguments)
        self.tally = FrameTally(self.get_logger().warning)
        self._load_predictor = load_predictor or DepthPredictor.load
        self.config = declare_config(self, NodeConfig)
        self._inference = declare_config(self, InferenceConfig)
        self._output, self._clouds = (declare_config(self, c) for c in (OutputConfig, CloudConfig))
        followed = [
            (self._inference, self._set_inference),
            (self._output, self._set_output),
            (self._clouds, self._set_clouds),
        ]
        follow_all_changes(self, followed)
        configs = (NodeConfig, InferenceConfig, OutputConfig, CloudConfig)
        known = [item.name for cls in configs for item in fields(cls)]
        for name in check_overrides(self, known):
            self.get_logger().warning(
                f"parameter {name} is given but this node has none of that name; ignored"
            )
        self._predictor: DepthPredictor | None = None
        self._calibration: CalibrationFile | None = None
        self._worker: NewestItemWorker[ImageMessage] | None = None
        self._camera_info: CameraInfo | None = None
        self._views: CameraViews | None = None
        self._last_input: tuple[type, int, int] | None = None
        self._inputs: dict[str, Any] = {}
        self._outputs: Outputs | None = None

    def start(self) -> bool:
        """Configure and activate without a lifecycle manager; False when one of the two failed."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def stop(self, timeout_s: float) -> bool:
        """Stop the worker before the node is destroyed; False when it outlasts `timeout_s`."""
        return self._worker is None or self._worker.stop(timeout_s)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load checkpoint and calibration, run the network once, create the publishers."""
        try:
            self._load()
        except MonoDepthError as error:
            self.get_logger().error(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            # rclpy turns an exception into the state "error" without a word.
            self.get_logger().error(f"cannot configure: {traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        result = super().on_activate(state)
        self._views = CameraViews(
            self.config.rectified, self._predictor.device, self.get_logger().info
        )
        self._worker = NewestItemWorker(
            self._process, lambda: self._camera_info is not None, "depth_worker"
        )
        self._worker.start()
        self._subscribe()
        self.get_logger().info(f"active, waiting for images on {', '.join(self._input_topics())}")
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and let the worker finish its frame."""
        self._stop_input()
        self.get_logger().info(f"inactive; frames: {self.tally.summary()}")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and its memory."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything and become unconfigured again."""
        self._release()
        return super().on_error(state)

    def _load(self) -> None:
        predictor, self._calibration = load_calibrated(
            self._load_predictor, self.config, self._inference
        )
        qos = QoSProfile(depth=2, reliability=_reliability(self.config.output_reliability))
        color_m = largest_color_m(self.config, predictor)
        self._outputs = Outputs(self, predictor, qos, color_m, self._output, self._clouds)
        self._predictor = predictor
        fitted = f", calibration {self.config.calibration_file}" if self._calibration else ""
        self.get_logger().info(
            f"loaded {self.config.checkpoint} ({predictor.info.network}) on {predictor.device}"
            + fitted
        )
        if predictor.class_names:
            classes = ", ".join(f"{i} {name}" for i, name in enumerate(predictor.class_names))
            self.get_logger().info(f"classes of ~/semantics: {classes}")

    def _set_inference(self, inference: InferenceConfig) -> None:
        if self._predictor is not None:
            fitted = self._calibration
            self._predictor.config = (
                fitted.applied_to(inference, self._predictor.info) if fitted else inference
            )
        self._inference = inference

    def _set_output(self, config: OutputConfig) -> None:
        if self._outputs is not None:
            self._outputs.set_output(config)
        self._output = config

    def _set_clouds(self, config: CloudConfig) -> None:
        if self._outputs is not None:
            self._outputs.set_clouds(config)
        self._clouds = config

    def _subscribe(self) -> None:
        qos = QoSProfile(
            depth=1,
            reliability=_reliability(self.config.image_reliability),
            durability=DurabilityPolicy.VOLATILE,
        )
        transport = self.config.image_transport
        self._inputs["camera_info"] = self.create_subscription(
            CameraInfo, "camera_info", self._on_camera_info, qos
        )
        if transport != "compressed":
            self._inputs["raw"] = self.create_subscription(Image, "image", self._on_raw_image, qos)
        if transport != "raw":
            self._inputs["compressed"] = self.create_subscription(
                CompressedImage, "image/compressed", self._on_image, qos
            )

    def _on_camera_info(self, info: CameraInfo) -> None:
        self._views.add(info)
        self._camera_info = info  # the worker starts once this is set
        if self._worker is not None:
            self._worker.wake()

    def _hear_latched_camera_info(self, topic: str) -> None:
        # Only where one is: a driver that keeps nothing for late subscribers would warn of this
        # subscription in its log.
        if "latched_camera_info" not in self._inputs and has_latched_publisher(self, topic):
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._inputs["latched_camera_info"] = self.create_subscription(
                CameraInfo, "camera_info", self._on_camera_info, qos
            )

    def _on_raw_image(self, image: Image) -> None:
        compressed = self._inputs.pop("compressed", None)
        if compressed is not None:
            # A camera that sends both: keep the lossless one and spare it the encoding.
            self.destroy_subscription(compressed)
        self._on_image(image)

    def _on_image(self, image: ImageMessage) -> None:
        if self._worker is None:
            return
        replaced = self._worker.offer(image)
        if self._camera_info is None:
            topic = self.resolve_topic_name("camera_info")
            self._hear_latched_camera_info(topic)
            self.tally.warn(
                "no camera_info",
                f"images come but no camera_info on {topic}; the newest image waits",
            )
        if replaced:
            self.tally.count(
                "no camera_info" if self._camera_info is None else "replaced by a newer frame"
            )

    def _process(self, image: ImageMessage) -> None:
        try:
            self._publish_depth_of(image)
        except MonoDepthError as error:
            self.tally.drop(type(error).__name__, str(error))
        except Exception:
            self.tally.drop("unexpected error", traceback.format_exc())

    def _publish_depth_of(self, image: ImageMessage) -> None:
        if self._is_other_transport_of_last(image):
            return
        wanted = self._outputs.wanted
        if not wanted:
            self.tally.count("nobody subscribed")
            return
        is_compressed = isinstance(image, CompressedImage)
        topic = self.resolve_topic_name("image/compressed" if is_compressed else "image")
        view = self._views.of(image.header, topic)
        decode = partial(compressed_image_to_rgb if is_compressed else image_to_rgb, image)
        self._outputs.publish(wanted, view, decode, image.header)
        self.tally.count("published")

    def _is_other_transport_of_last(self, image: ImageMessage) -> bool:
        stamp = image.header.stamp
        this = (type(image), stamp.sec, stamp.nanosec)
        last, self._last_input = self._last_input, this
        return last is not None and last[1:] == this[1:] and last[0] is not this[0]

    def _input_topics(self) -> list[str]:
        return [
            subscription.topic_name
            for key, subscription in self._inputs.items()
            if "camera_info" not in key
        ]

    def _stop_input(self) -> None:
        for subscription in self._inputs.values():
            self.destroy_subscription(subscription)
        self._inputs.clear()
        if self._worker is not None:
            self._worker.stop()
        self._worker = self._camera_info = self._last_input = None

    def _release(self) -> None:
        self._stop_input()
        if self._outputs is not None:
            self._outputs.close()
        on_gpu = self._predictor is not None and self._predictor.device.type == "cuda"
        self._predictor = self._outputs = None
        if on_gpu:
            import torch

            torch.cuda.empty_cache()


def main(args: list[str] | None = None, load_predictor: LoadPredictor | None = None) -> NoReturn:
    """Run the node and end the process with the exit code of `run_node`."""
    code = run_node(args, load_predictor)
    sys.stdout.flush()
    sys.stderr.flush()
    # Python needs up to seconds to take PyTorch apart, and crashes when a thread still runs it.
    os._exit(code)


def run_node(
    args: list[str] | None = None, load_predictor: LoadPredictor | None = None
) -> Literal[0, 1]:
    """Run the node until SIGINT or SIGTERM.

    Args:
        args: ROS arguments; those of the process by default.
        load_predictor: see `DepthNode`.

    Returns:
        0 after a signal, 1 when the node cannot start; the reason is logged.
    """
    raise_on_first_signal()
    node = None
    try:
        import mono_depth_ros.predictor  # noqa: F401

        # What PyTorch's import left behind lives on, so no collection (0.3 s) need visit it.
        gc.freeze()
        use_large_message_profile()
        node = _start_rclpy(args, load_predictor)
        if node.config.autostart and not node.start():
            return 1
        _spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError as error:
        # Up to Python 3.11 this is what an interruption inside a class body's __set_name__, of
        # which importing PyTorch runs thousands, comes out as.
        if not isinstance(error.__cause__, KeyboardInterrupt):
            raise
    except MonoDepthError as error:
        get_logger("depth_node").fatal(str(error))
        return 1
    finally:
        ignore_signals()
        # While a network still runs, its thread may yet publish.
        if node is not None and node.stop(_STOP_TIMEOUT_S):
            node.get_logger().info(f"ending; frames: {node.tally.summary()}")
            node.destroy_node()
            node = None
            # A node is a knot of references; until it goes, its memory stays in /dev/shm.
            gc.collect()
            try_shutdown()
    return 0


def _start_rclpy(args: list[str] | None, load_predictor: LoadPredictor | None) -> DepthNode:
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        return DepthNode(load_predictor)
    except (RuntimeError, NameValidationException) as error:
        # A missing parameters file, a bad `-p` or namespace.
        raise ConfigError(f"ROS refuses the arguments of this node: {error}") from error


def _spin(node: DepthNode) -> None:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while rclpy.ok():
        # Bounded, because Python runs its signal handlers only between two waits.
        executor.spin_once(timeout_sec=_SPIN_PERIOD_S)


def _reliability(name: str) -> ReliabilityPolicy:
    return ReliabilityPolicy.RELIABLE if name == "reliable" else ReliabilityPolicy.BEST_EFFORT


if __name__ == "__main__":
    main()
