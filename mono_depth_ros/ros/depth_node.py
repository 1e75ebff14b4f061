"""The depth node: a camera stream in; metric depth, camera_info, coloured cloud and picture out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, CompressedImage

from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.decoding import compressed_image_to_rgb, image_to_rgb
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.ros.camera_view import CameraViews
from mono_depth_ros.ros.device_errors import is_device_error
from mono_depth_ros.ros.diagnostics import Diagnostics, FrameTimes
from mono_depth_ros.ros.inputs import ImageMessage, Inputs
from mono_depth_ros.ros.loading import LoadPredictor
from mono_depth_ros.ros.outputs import Outputs
from mono_depth_ros.ros.parameters import (
    NodeConfig,
    OutputConfig,
    check_overrides,
    declare_config,
    follow_all_changes,
)
from mono_depth_ros.ros.rate_limit import RateLimit
from mono_depth_ros.ros.served_network import ServedNetwork
from mono_depth_ros.ros.tally import EMPTY_DEPTH, SERVED, SERVED_EMPTY, FrameTally
from mono_depth_ros.ros.worker import NewestItemWorker


class DepthNode(LifecycleNode):
    """Lifecycle node `depth_node`.

    Subscribes `image` (sensor_msgs/Image), `image/compressed` and `camera_info`; publishes the
    topics of `Outputs`, every one with the header of the image it was computed from, and
    /diagnostics and ~/latency, see `Diagnostics`. Lens distortion is taken out first; all outputs
    are then those of the pinhole camera P. The newest image wins, nothing queues, and nothing is
    computed that nobody subscribes to. A frame that cannot be used is dropped, counted by reason in
    `tally` and logged: received frames = served + dropped ones.

    Setting the parameter `checkpoint` exchanges the network while the former one serves, and
    ~/save_calibration and ~/load_calibration keep its metric scale in a file, see `ServedNetwork`.

    Args:
        load_predictor: opens a checkpoint; DepthPredictor.load by default.
        node_arguments: passed on to rclpy's node (namespace, parameter_overrides, ...).

    Raises:
        ConfigError: a parameter has a wrong type or value, or looks misspelt.
    """

    NAME = "depth_node"

    def __init__(self, load_predictor: LoadPredictor | None = None, **node_arguments: Any) -> None:
        # PyTorch needs seconds to import; only what builds a node pays for it.
        from mono_depth_ros.predictor import InferenceConfig

        super().__init__(self.NAME, **node_arguments)
        self.tally = FrameTally(self.get_logger().warning)
        classes = (NodeConfig, InferenceConfig, OutputConfig, CloudConfig)
        config, inference, output, clouds = (declare_config(self, cls) for cls in classes)
        more, make_outputs = self._declare_more()
        self.network = ServedNetwork(
            self, load_predictor, config, inference, output, clouds, make_outputs
        )
        followed = [
            (config, self.network.set_config),
            (inference, self.network.set_inference),
            (output, self.network.set_output),
            (clouds, self.network.set_clouds),
        ]
        follow_all_changes(self, followed)
        known = [item.name for cls in (*classes, *more) for item in fields(cls)]
        for name in check_overrides(self, known):
            self.get_logger().warning(
                f"parameter {name} is given but this node has none of that name; ignored"
            )
        self._diagnostics = Diagnostics(self, self.tally, self.network.facts)
        self._alarm = self.create_guard_condition(self._on_device_error)
        self._worker: NewestItemWorker[tuple[ImageMessage, float]] | None = None
        self._camera_info: CameraInfo | None = None
        self._views: CameraViews | None = None
        self._last_input: tuple[type, int, int] | None = None
        self._inputs: Inputs | None = None
        self._limit = RateLimit()

    @property
    def config(self) -> NodeConfig:
        """The node's parameters."""
        return self.network.config

    def start(self) -> bool:
        """Configure and activate without a lifecycle manager; False when one of the two failed."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def stop(self, timeout_s: float) -> bool:
        """Stop the worker before the node is destroyed; False when it outlasts `timeout_s`."""
        if self._worker is None:
            return True
        ended = self._worker.stop(timeout_s)
        self._count_left_out("ended")
        return ended

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load checkpoint and calibration, run the network once, create the publishers."""
        try:
            self.network.load()
        except MonoDepthError as error:
            self.get_logger().error(f"cannot configure: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            # rclpy turns an exception into the state "error" without a word.
            self.get_logger().error(f"cannot configure: {traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        self._diagnostics.state = "inactive"
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start the worker and subscribe."""
        result = super().on_activate(state)
        topics = ", ".join(self._start_input())
        self.get_logger().info(f"active, waiting for images on {topics}")
        self._diagnostics.state = "active"
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

    def _declare_more(self) -> tuple[tuple[type, ...], Callable[..., Outputs]]:
        """Declare parameters of a subclass; return their configs and what makes its outputs."""
        return (), Outputs

    def _start_input(self) -> list[str]:
        """Start the worker and subscribe; return the topics that images are expected on."""
        device = self.network.loaded.predictor.device
        self._views = CameraViews(self.config.rectified, device, self.get_logger().info)
        self._worker = NewestItemWorker(
            self._process, lambda: self._camera_info is not None, "depth_worker"
        )
        self._worker.start()
        self._inputs = Inputs(self, self.config, self._on_image, self._on_camera_info)
        return self._inputs.image_topics

    def _on_camera_info(self, info: CameraInfo) -> None:
        self._views.add(info)
        self._camera_info = info  # the worker starts once this is set
        if self._worker is not None:
            self._worker.wake()

    def _on_image(self, image: ImageMessage) -> None:
        if self._worker is None:
            return
        self.tally.receive()
        replaced = self._worker.offer((image, time.perf_counter()))
        waits = self._camera_info is None
        if waits:
            topic = self._inputs.hear_latched_camera_info()
            self.tally.warn(
                "no camera_info",
                f"images come but no camera_info on {topic}; the newest image waits",
            )
        self.tally.count("no camera_info" if waits else "replaced by a newer frame", replaced)

    def _process(self, item: tuple[ImageMessage, float]) -> None:
        image, received_s = item
        try:
            self.tally.count(self._serve(image, received_s))
        except MonoDepthError as error:
            self.tally.drop(type(error).__name__, str(error))
        except Exception as error:
            if is_device_error(error):
                self.tally.drop("device error", str(error))
                self._alarm.trigger()
            else:
                self.tally.drop("unexpected error", traceback.format_exc())

    def _serve(self, image: ImageMessage, received_s: float) -> str:
        """Publish what is wanted of an image; return the outcome."""
        taken_s = time.perf_counter()
        if self._is_other_transport_of_last(image):
            return "other transport of the last frame"
        outputs: Outputs = self.network.outputs
        plan = outputs.plan()
        if not plan.wanted:
            return "nobody subscribed"
        if not self._limit.passes(taken_s, self.config.max_rate_hz):
            return "above max_rate_hz"
        self._views.device = plan.settings.predictor.device
        view = self._views.of(image.header, self._inputs.topic_of(image))
        compressed = isinstance(image, CompressedImage)
        decode = partial(compressed_image_to_rgb if compressed else image_to_rgb, image)
        published = outputs.publish(plan, view, decode, image.header)
        self.network.camera = view.camera
        # rclpy's Time refuses stamps before 1970, which are only strange.
        stamp_ns = image.header.stamp.sec * 10**9 + image.header.stamp.nanosec
        age_ns = self.get_clock().now().nanoseconds - stamp_ns
        times = FrameTimes(
            taken_s - received_s,
            published.decode_s,
            published.predict_s,
            published.publish_s,
            1e-9 * age_ns,
        )
        self._diagnostics.served(times, image.header)
        if published.has_depth:
            return SERVED
        self.tally.warn(SERVED_EMPTY, EMPTY_DEPTH)
        return SERVED_EMPTY

    def _is_other_transport_of_last(self, image: ImageMessage) -> bool:
        stamp = image.header.stamp
        this = (type(image), stamp.sec, stamp.nanosec)
        last, self._last_input = self._last_input, this
        return last is not None and last[1:] == this[1:] and last[0] is not this[0]

    def _on_device_error(self) -> None:
        """Do what the parameter `on_device_error` says, in the executor's thread."""
        if self._worker is None or self.network.moving_to_cpu:
            return
        if self.config.on_device_error == "cpu" and self.network.move_to_cpu():
            return
        self.get_logger().fatal(
            "the device failed; the node deactivates. Free its memory or reset it, then clean up "
            "and configure the node again, or set on_device_error to cpu"
        )
        self.network.trouble = "the device failed"
        self.trigger_deactivate()

    def _stop_input(self) -> None:
        if self._inputs is not None:
            self._inputs.close()
        if self._worker is not None:
            self._worker.stop()
            self._count_left_out("deactivated")
        self._inputs = self._worker = self._camera_info = self._last_input = None
        self._diagnostics.state = "inactive"

    def _count_left_out(self, why: str) -> None:
        waited_for_info = self._camera_info is None
        self.tally.count("no camera_info" if waited_for_info else why, self._worker.left_out())

    def _release(self) -> None:
        self._stop_input()
        self.network.release()
        self._diagnostics.state = "unconfigured"
