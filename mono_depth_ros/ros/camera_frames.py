"""One camera of a depth node: what was heard of it, and what becomes of its images."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rclpy.clock import Clock
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage

from mono_depth_ros.decoding import compressed_image_to_rgb, image_to_rgb
from mono_depth_ros.errors import MonoDepthError
from mono_depth_ros.ros.camera_view import CameraViews
from mono_depth_ros.ros.device_errors import is_device_error
from mono_depth_ros.ros.diagnostics import Diagnostics, FrameTimes
from mono_depth_ros.ros.inputs import ImageMessage, Inputs
from mono_depth_ros.ros.outputs import Outputs, TakenFrame
from mono_depth_ros.ros.parameters import NodeConfig
from mono_depth_ros.ros.rate_limit import RateLimit
from mono_depth_ros.ros.tally import EMPTY_DEPTH, SERVED, SERVED_EMPTY, FrameTally

if TYPE_CHECKING:
    from mono_depth_ros.prediction import Prediction

WaitingImage = tuple[ImageMessage, float]
"""An image and when it was received, by time.perf_counter()."""


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A frame between decoding and publishing, with the seconds it took so far."""

    camera: CameraFrames
    frame: TakenFrame
    wait_s: float
    decode_s: float


class CameraFrames:
    """What a node holds for each camera, whether or not it is active.

    Args:
        tally: counts its frames.
        diagnostics: told of every served frame; the first is its own.
        number: of the camera among those of the node.
        name: likewise, "" for the only one.

    Attributes:
        views: of its images; None before it was first active.
        inputs: its subscriptions; None while inactive.
        info: the newest camera_info; None until one came. Images wait for it.
    """

    def __init__(
        self,
        tally: FrameTally,
        diagnostics: Sequence[Diagnostics],
        number: int = 0,
        name: str = "",
    ) -> None:
        self.tally, self.number, self.name = tally, number, name
        self._diagnostics = tuple(diagnostics)
        self.views: CameraViews | None = None
        self.inputs: Inputs | None = None
        self.info: CameraInfo | None = None
        self._last_input: tuple[type, int, int] | None = None
        self._limit = RateLimit()

    def listen(
        self,
        node: Node,
        config: NodeConfig,
        device: Any,
        on_image: Callable[[ImageMessage], None],
        on_camera_info: Callable[[CameraInfo], None],
    ) -> list[str]:
        """Subscribe; return the topics that images are expected on."""
        self.views = CameraViews(config.rectified, device, node.get_logger().info)
        prefix = f"{self.name}/" if self.name else ""
        self.inputs = Inputs(node, config, on_image, on_camera_info, prefix)
        self._diagnostics[0].state = "active"
        return self.inputs.image_topics

    def unsubscribe(self) -> None:
        """Hear nothing more."""
        if self.inputs is not None:
            self.inputs.close()

    def forget(self) -> None:
        """Forget what was heard, once nothing of it is in work."""
        self.inputs = self.info = self._last_input = None
        self._diagnostics[0].state = "inactive"

    def hear(self, info: CameraInfo) -> None:
        """Take a camera_info; the worker may take images once this is done."""
        self.views.add(info)
        self.info = info

    def receive(self, image: ImageMessage, offer: Callable[[WaitingImage], int]) -> None:
        """Count an image and offer it to the worker.

        Args:
            image: newly come.
            offer: makes it the newest; returns how many waiting ones it replaced.
        """
        self.tally.receive()
        replaced = offer((image, time.perf_counter()))
        waits = self.info is None
        if waits:
            topic = self.inputs.hear_latched_camera_info()
            self.tally.warn(
                "no camera_info",
                f"images come but no camera_info on {topic}; the newest image waits",
            )
        self.tally.count("no camera_info" if waits else "replaced by a newer frame", replaced)

    def count_left_out(self, why: str, frames: int) -> None:
        """Count images that waited when the worker stopped."""
        self.tally.count("no camera_info" if self.info is None else why, frames)

    def take(
        self, image: ImageMessage, received_s: float, outputs: Outputs, most_hz: float
    ) -> Taken | str:
        """Return an image decoded, or why nothing is to be done with it.

        Raises:
            MonoDepthError: it cannot be used.
        """
        taken_s = time.perf_counter()
        if self._is_other_transport_of_last(image):
            return "other transport of the last frame"
        plan = outputs.plan()
        if not plan.wanted:
            return "nobody subscribed"
        if not self._limit.passes(taken_s, most_hz):
            return "above max_rate_hz"
        self.views.device = plan.settings.predictor.device
        view = self.views.of(image.header, self.inputs.topic_of(image))
        compressed = isinstance(image, CompressedImage)
        decode = partial(compressed_image_to_rgb if compressed else image_to_rgb, image)
        began_s = time.perf_counter()
        frame = outputs.take(plan, view, decode, image.header)
        return Taken(self, frame, taken_s - received_s, time.perf_counter() - began_s)

    def give(
        self,
        taken: Taken,
        outputs: Outputs,
        answer: Prediction | None,
        predict_s: float,
        clock: Clock,
    ) -> None:
        """Publish what is wanted of a frame, tell diagnostics, and count it."""
        began_s = time.perf_counter()
        header = taken.frame.header
        has_depth = outputs.give(taken.frame, answer)
        publish_s = time.perf_counter() - began_s
        # rclpy's Time refuses stamps before 1970, which are only strange.
        stamp_ns = header.stamp.sec * 10**9 + header.stamp.nanosec
        age_s = 1e-9 * (clock.now().nanoseconds - stamp_ns)
        times = FrameTimes(taken.wait_s, taken.decode_s, predict_s, publish_s, age_s)
        for diagnostics in self._diagnostics:
            diagnostics.served(times, header)
        if not has_depth:
            self.tally.warn(SERVED_EMPTY, EMPTY_DEPTH)
        self.tally.count(SERVED if has_depth else SERVED_EMPTY)

    def _is_other_transport_of_last(self, image: ImageMessage) -> bool:
        stamp = image.header.stamp
        this = (type(image), stamp.sec, stamp.nanosec)
        last, self._last_input = self._last_input, this
        return last is not None and last[1:] == this[1:] and last[0] is not this[0]


class Dropping:
    """Turns an exception into a dropped frame of each camera that it concerns.

    Args:
        on_device_error: called when the device failed.
        tallies: of the cameras.
    """

    def __init__(self, on_device_error: Callable[[], Any], tallies: Sequence[FrameTally]) -> None:
        self._on_device_error, self._tallies = on_device_error, tallies

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        if isinstance(error, MonoDepthError):
            reason, text = type(error).__name__, str(error)
        elif is_device_error(error):
            reason, text = "device error", str(error)
        else:
            reason, text = "unexpected error", traceback.format_exc()
        for tally in self._tallies:
            tally.drop(reason, text)
        if reason == "device error":
            self._on_device_error()
        return True


def ask(group: Sequence[Taken]) -> list[Prediction | None]:
    """Ask the network once about all frames that need it; None for the others."""
    settings = group[0].frame.plan.settings
    asked = [one.frame.question for one in group if one.frame.question is not None]
    found = settings.predictor.predict_batch(asked, settings.output.output_size) if asked else []
    answers = iter(found)
    return [None if one.frame.question is None else next(answers) for one in group]
