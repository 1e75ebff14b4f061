"""The depth node: a camera stream in; metric depth, camera_info, coloured cloud and picture out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo

from mono_depth_ros.cloud_filters import CloudConfig
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.ros.camera_frames import CameraFrames, Dropping, Taken, WaitingImage, ask
from mono_depth_ros.ros.diagnostics import Diagnostics
from mono_depth_ros.ros.inputs import ImageMessage
from mono_depth_ros.ros.loading import LoadPredictor
from mono_depth_ros.ros.outputs import Outputs
from mono_depth_ros.ros.parameters import (
    NodeConfig,
    OutputConfig,
    check_overrides,
    declare_config,
    follow_all_changes,
)
from mono_depth_ros.ros.served_network import ServedNetwork
from mono_depth_ros.ros.tally import FrameTally
from mono_depth_ros.ros.worker import NewestItemWorker, OneBehind

if TYPE_CHECKING:
    from mono_depth_ros.prediction import Prediction


Answered = tuple[Taken, Outputs, "Prediction | None"]
"""A frame, where its answer goes, and that; None where only camera_info is wanted."""


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
        more, make_outputs, images_per_run = self._declare_more()
        self.network = ServedNetwork(
            self, load_predictor, config, inference, output, clouds, make_outputs, images_per_run
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
        self._worker: NewestItemWorker[WaitingImage] | None = None
        self._publisher: OneBehind | None = None
        self._camera = CameraFrames(self.tally, [self._diagnostics])

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
        end_s = time.monotonic() + timeout_s
        ended = self._worker.stop(timeout_s)
        self._count_left_out("ended")
        return ended and self._publisher.stop(max(0.0, end_s - time.monotonic()))

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
        """Unsubscribe and let the threads finish their frames."""
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

    def _declare_more(self) -> tuple[tuple[type, ...], Callable[..., Outputs], int]:
        """Declare parameters of a subclass.

        Returns:
            Their configs, what makes the outputs, most images in one run of the network.
        """
        return (), Outputs, 1

    def _start_input(self) -> list[str]:
        """Start the threads and subscribe; return the topics that images are expected on."""
        device = self.network.loaded.predictor.device
        self._start_publisher()
        self._worker = NewestItemWorker(
            self._process, lambda: self._camera.info is not None, "depth_worker"
        )
        self._worker.start()
        return self._camera.listen(self, self.config, device, self._on_image, self._on_camera_info)

    def _start_publisher(self) -> None:
        """Start the thread that makes and sends messages while the network has the next image.

        To send depth and cloud of 640x480 to another process takes about 4 ms, in which a GPU, or a
        core that is free, can work. Two cores that share node and camera gain nothing.
        """
        self._publisher = OneBehind("depth_publisher")
        self._publisher.start()

    def _on_camera_info(self, info: CameraInfo) -> None:
        self._camera.hear(info)
        if self._worker is not None:
            self._worker.wake()

    def _on_image(self, image: ImageMessage) -> None:
        if self._worker is not None:
            self._camera.receive(image, self._worker.offer)

    def _process(self, item: WaitingImage) -> None:
        """Take an image, ask the network about it, have the answer published."""
        with Dropping(self._alarm.trigger, [self.tally]):
            outputs: Outputs = self.network.outputs
            taken = self._camera.take(*item, outputs, self.config.max_rate_hz)
            if isinstance(taken, str):
                self.tally.count(taken)
                return
            began_s = time.perf_counter()
            (answer,) = ask([taken])
            self._hand_over([(taken, outputs, answer)], time.perf_counter() - began_s)

    def _hand_over(self, answered: Sequence[Answered], predict_s: float) -> None:
        """Have the answers of one run of the network published, after those of the run before."""
        self._publisher.put(partial(self._publish, answered, predict_s))

    def _publish(self, answered: Sequence[Answered], predict_s: float) -> None:
        for taken, outputs, answer in answered:
            with Dropping(self._alarm.trigger, [taken.camera.tally]):
                self.network.camera = taken.frame.view.camera
                taken.camera.give(taken, outputs, answer, predict_s, self.get_clock())

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
        self._camera.unsubscribe()
        self._stop_threads()
        self._camera.forget()

    def _stop_threads(self) -> None:
        """Let them finish what is in work; count what still waits."""
        if self._worker is not None:
            self._worker.stop()
            self._publisher.stop()
            self._count_left_out("deactivated")
        self._worker = self._publisher = None

    def _count_left_out(self, why: str) -> None:
        self._camera.count_left_out(why, self._worker.left_out())

    def _release(self) -> None:
        self._stop_input()
        self.network.release()
        self._diagnostics.state = "unconfigured"
