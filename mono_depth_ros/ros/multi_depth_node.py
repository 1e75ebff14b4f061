"""The depth node for several cameras: one network, one run of it for all images that wait."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage

from mono_depth_ros.config import require_ranges
from mono_depth_ros.decoding import compressed_image_to_rgb, image_to_rgb
from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.prediction import Prediction
from mono_depth_ros.ros import depth_process
from mono_depth_ros.ros.camera_view import CameraViews
from mono_depth_ros.ros.depth_node import DepthNode
from mono_depth_ros.ros.device_errors import is_device_error, is_out_of_memory
from mono_depth_ros.ros.diagnostics import Diagnostics, FrameTimes
from mono_depth_ros.ros.fair_worker import FairWorker
from mono_depth_ros.ros.inputs import ImageMessage, Inputs
from mono_depth_ros.ros.outputs import Outputs, TakenFrame
from mono_depth_ros.ros.parameters import declare_config
from mono_depth_ros.ros.rate_limit import RateLimit
from mono_depth_ros.ros.tally import EMPTY_DEPTH, SERVED, SERVED_EMPTY, FrameTally

_CAMERA_NAME = re.compile(r"[A-Za-z]\w*")


@dataclass(frozen=True)
class CamerasConfig:
    """Which cameras a node serves.

    Raises:
        ConfigError: a name is twice there or no part of a topic's name, or a number is outside its
            range.
    """

    cameras: tuple[str, ...] = field(
        default=("camera",),
        metadata={
            "description": "names of the cameras; of each NAME the node hears NAME/image and "
            "NAME/camera_info and publishes ~/NAME/depth/image and so on",
            "read_only": True,
        },
    )
    max_batch: int = field(
        default=0,
        metadata={
            "description": "most images in one run of the network; 0: of all cameras",
            "range": (0, 64),
            "read_only": True,
        },
    )

    def __post_init__(self) -> None:
        require_ranges(self)
        wrong = [name for name in self.cameras if not _CAMERA_NAME.fullmatch(name)]
        if wrong or not self.cameras:
            raise ConfigError(
                f"cameras are {', '.join(map(repr, self.cameras)) or 'none'}; name one or more, of "
                "letters, digits and underscores, the first a letter: [front, rear]"
            )
        if len(set(self.cameras)) < len(self.cameras):
            raise ConfigError(f"cameras {', '.join(self.cameras)}: no name may be there twice")


class _CameraTally(FrameTally):
    """Counts of one camera, which also count in those of all."""

    def __init__(self, log: Callable[[str], object], name: str, total: FrameTally) -> None:
        super().__init__(lambda text: log(f"{name}: {text}"))
        self._total = total

    def receive(self) -> None:
        super().receive()
        self._total.receive()

    def count(self, outcome: str, frames: int = 1) -> None:
        super().count(outcome, frames)
        self._total.count(outcome, frames)


class _Camera:
    """What a node holds for each camera, whether or not it is active."""

    def __init__(self, node: MultiDepthNode, number: int, name: str) -> None:
        self.number, self.name = number, name
        self.tally = _CameraTally(node.get_logger().warning, name, node.tally)
        self.diagnostics = Diagnostics(node, self.tally, node.network.facts, name)
        self.views: CameraViews | None = None
        self.inputs: Inputs | None = None
        self.info: CameraInfo | None = None
        self.last_input: tuple[type, int, int] | None = None
        self.limit = RateLimit()


class _CameraOutputs:
    """The outputs of all cameras, set together; see `Outputs`."""

    def __init__(
        self, cameras: Sequence[str], node: LifecycleNode, qos: Any, *settings: Any
    ) -> None:
        self._all: list[Outputs] = []
        try:
            for name in cameras:
                self._all.append(Outputs(node, qos, *settings, prefix=f"{name}/"))
        except MonoDepthError:
            self.close()
            raise

    def of(self, number: int) -> Outputs:
        """Return those of one camera."""
        return self._all[number]

    def use(self, *settings: Any) -> None:
        # What one refuses, the first refuses before anything has changed.
        for outputs in self._all:
            outputs.use(*settings)

    def set_output(self, config: Any) -> None:
        for outputs in self._all:
            outputs.set_output(config)

    def set_clouds(self, config: Any) -> None:
        for outputs in self._all:
            outputs.set_clouds(config)

    def close(self) -> None:
        for outputs in self._all:
            outputs.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """A frame between decoding and publishing, with the seconds it took so far."""

    camera: _Camera
    frame: TakenFrame
    wait_s: float
    decode_s: float


class MultiDepthNode(DepthNode):
    """Lifecycle node `multi_depth_node`: a depth node for the cameras of the parameter `cameras`.

    Of each NAME among them it subscribes NAME/image, NAME/image/compressed and NAME/camera_info and
    publishes ~/NAME/depth/image and all else that `DepthNode` publishes. All other parameters and
    services are those of that node, and hold for all cameras.

    The network runs once for the newest image of every camera that has one; where that are more
    than `max_batch`, cameras take turns. Stamps and frames are each image's own. /diagnostics has a
    status of the frames of all cameras and one of each; a frame that cannot be used is dropped and
    costs the others nothing.

    Args:
        load_predictor, node_arguments: see `DepthNode`.
    """

    NAME = "multi_depth_node"

    def __init__(self, *arguments: Any, **node_arguments: Any) -> None:
        super().__init__(*arguments, **node_arguments)
        self._cameras = [
            _Camera(self, number, name) for number, name in enumerate(self.cameras.cameras)
        ]

    def camera_tallies(self) -> dict[str, FrameTally]:
        """Return the counts of each camera's frames, by its name."""
        return {camera.name: camera.tally for camera in self._cameras}

    def _declare_more(self) -> tuple[tuple[type, ...], Callable[..., Any]]:
        self.cameras = declare_config(self, CamerasConfig)
        return (CamerasConfig,), partial(_CameraOutputs, self.cameras.cameras)

    def _start_input(self) -> list[str]:
        device = self.network.loaded.predictor.device
        self._worker = FairWorker(
            len(self._cameras),
            self.cameras.max_batch or len(self._cameras),
            self._process_round,
            lambda number: self._cameras[number].info is not None,
            "depth_worker",
        )
        self._worker.start()
        topics = []
        for camera in self._cameras:
            camera.views = CameraViews(self.config.rectified, device, self.get_logger().info)
            camera.inputs = Inputs(
                self,
                self.config,
                partial(self._on_image_of, camera),
                partial(self._on_camera_info_of, camera),
                f"{camera.name}/",
            )
            topics += camera.inputs.image_topics
            camera.diagnostics.state = "active"
        return topics

    def _stop_input(self) -> None:
        for camera in self._cameras:
            if camera.inputs is not None:
                camera.inputs.close()
        if self._worker is not None:
            self._worker.stop()
            self._count_left_out("deactivated")
        self._worker = None
        for camera in self._cameras:
            camera.inputs = camera.info = camera.last_input = None
            camera.diagnostics.state = "inactive"
        self._diagnostics.state = "inactive"

    def _count_left_out(self, why: str) -> None:
        for camera in self._cameras:
            reason = "no camera_info" if camera.info is None else why
            camera.tally.count(reason, self._worker.left_out(camera.number))

    def _on_camera_info_of(self, camera: _Camera, info: CameraInfo) -> None:
        camera.views.add(info)
        camera.info = info  # its images are taken once this is set
        if self._worker is not None:
            self._worker.wake()

    def _on_image_of(self, camera: _Camera, image: ImageMessage) -> None:
        if self._worker is None:
            return
        camera.tally.receive()
        replaced = self._worker.offer(camera.number, (image, time.perf_counter()))
        waits = camera.info is None
        if waits:
            topic = camera.inputs.hear_latched_camera_info()
            camera.tally.warn(
                "no camera_info",
                f"images come but no camera_info on {topic}; the newest image waits",
            )
        camera.tally.count("no camera_info" if waits else "replaced by a newer frame", replaced)

    def _process_round(self, items: Sequence[tuple[int, tuple[ImageMessage, float]]]) -> None:
        """Take a frame of each camera, ask the network about all of them, publish the answers."""
        taken = []
        for number, (image, received_s) in items:
            camera = self._cameras[number]
            with _Dropping(self, [camera]):
                found = self._take(camera, image, received_s)
                if isinstance(found, str):
                    camera.tally.count(found)
                else:
                    taken.append(found)
        # Network and size may change between two frames; those of the same are asked together.
        groups: dict[tuple[int, str], list[_Taken]] = {}
        for one in taken:
            settings = one.frame.plan.settings
            key = (id(settings.predictor), settings.output.output_size)
            groups.setdefault(key, []).append(one)
        for group in groups.values():
            began_s = time.perf_counter()
            with _Dropping(self, [one.camera for one in group]):
                answers = self._answers(group)
                predict_s = time.perf_counter() - began_s
                for one, answer in zip(group, answers, strict=True):
                    with _Dropping(self, [one.camera]):
                        self._give(one, answer, predict_s)

    def _answers(self, group: Sequence[_Taken]) -> list[Prediction | None]:
        """Ask the network about a group, in two parts if it is too large for the GPU's memory.

        Only where `on_device_error` says smaller_batch; rounds are smaller from then on.
        """
        try:
            return _ask(group)
        except RuntimeError as error:
            allowed = self.config.on_device_error == "smaller_batch" and len(group) > 1
            if not (allowed and is_out_of_memory(error)):
                raise
        import torch

        torch.cuda.empty_cache()
        half = (len(group) + 1) // 2
        self.network.trouble = (
            f"out of memory with {len(group)} images in one run; from now on at most {half}"
        )
        self.get_logger().error(self.network.trouble)
        if self._worker is not None:
            self._worker.most = half
        return [*self._answers(group[:half]), *self._answers(group[half:])]

    def _take(self, camera: _Camera, image: ImageMessage, received_s: float) -> _Taken | str:
        """Return a frame, or why there is none."""
        taken_s = time.perf_counter()
        stamp = image.header.stamp
        last, camera.last_input = camera.last_input, (type(image), stamp.sec, stamp.nanosec)
        this = camera.last_input
        if last is not None and last[1:] == this[1:] and last[0] is not this[0]:
            return "other transport of the last frame"
        outputs = self.network.outputs.of(camera.number)
        plan = outputs.plan()
        if not plan.wanted:
            return "nobody subscribed"
        if not camera.limit.passes(taken_s, self.config.max_rate_hz):
            return "above max_rate_hz"
        camera.views.device = plan.settings.predictor.device
        view = camera.views.of(image.header, camera.inputs.topic_of(image))
        compressed = isinstance(image, CompressedImage)
        decode = partial(compressed_image_to_rgb if compressed else image_to_rgb, image)
        frame = outputs.take(plan, view, decode, image.header)
        return _Taken(camera, frame, taken_s - received_s, time.perf_counter() - taken_s)

    def _give(self, one: _Taken, answer: Prediction | None, predict_s: float) -> None:
        began_s = time.perf_counter()
        header = one.frame.header
        has_depth = self.network.outputs.of(one.camera.number).give(one.frame, answer)
        self.network.camera = one.frame.view.camera
        publish_s = time.perf_counter() - began_s
        # rclpy's Time refuses stamps before 1970, which are only strange.
        stamp_ns = header.stamp.sec * 10**9 + header.stamp.nanosec
        age_s = 1e-9 * (self.get_clock().now().nanoseconds - stamp_ns)
        times = FrameTimes(one.wait_s, one.decode_s, predict_s, publish_s, age_s)
        one.camera.diagnostics.served(times, header)
        self._diagnostics.served(times, header)
        one.camera.tally.count(SERVED if has_depth else SERVED_EMPTY)
        if not has_depth:
            one.camera.tally.warn(SERVED_EMPTY, EMPTY_DEPTH)


class _Dropping:
    """Turns an exception into a dropped frame of each camera that it concerns."""

    def __init__(self, node: MultiDepthNode, cameras: Sequence[_Camera]) -> None:
        self._node, self._cameras = node, cameras

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None:
            return False
        if isinstance(error, MonoDepthError):
            reason, text = type(error).__name__, str(error)
        elif not isinstance(error, Exception):
            return False
        elif is_device_error(error):
            reason, text = "device error", str(error)
            self._node._alarm.trigger()
        else:
            reason, text = "unexpected error", traceback.format_exc()
        for camera in self._cameras:
            camera.tally.drop(reason, text)
        return True


def _ask(group: Sequence[_Taken]) -> list[Prediction | None]:
    """Ask the network once about all frames that need it; None for the others."""
    settings = group[0].frame.plan.settings
    asked = [one.frame.question for one in group if one.frame.question is not None]
    answers = iter(settings.predictor.predict_batch(asked, settings.output.output_size))
    return [None if one.frame.question is None else next(answers) for one in group]


def main(args: list[str] | None = None, **options: Any) -> NoReturn:
    """Run the node; see `depth_process.main`."""
    depth_process.main(args, node_class=MultiDepthNode, **options)


if __name__ == "__main__":
    main()
