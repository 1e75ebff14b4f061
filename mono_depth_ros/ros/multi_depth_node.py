"""The depth node for several cameras: one network, one run of it for all images that wait."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo

from mono_depth_ros.config import require_ranges
from mono_depth_ros.errors import ConfigError, MonoDepthError
from mono_depth_ros.prediction import Prediction
from mono_depth_ros.ros import depth_process
from mono_depth_ros.ros.camera_frames import CameraFrames, Dropping, Taken, WaitingImage, ask
from mono_depth_ros.ros.depth_node import DepthNode
from mono_depth_ros.ros.device_errors import is_out_of_memory
from mono_depth_ros.ros.diagnostics import Diagnostics
from mono_depth_ros.ros.fair_worker import FairWorker
from mono_depth_ros.ros.inputs import ImageMessage
from mono_depth_ros.ros.outputs import Outputs
from mono_depth_ros.ros.parameters import declare_config
from mono_depth_ros.ros.tally import FrameTally

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

    @property
    def images_per_run(self) -> int:
        """Most images in one run of the network."""
        return self.max_batch or len(self.cameras)


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
        self._cameras = []
        for number, name in enumerate(self.cameras.cameras):
            tally = _CameraTally(self.get_logger().warning, name, self.tally)
            own = Diagnostics(self, tally, self.network.facts, name)
            self._cameras.append(CameraFrames(tally, [own, self._diagnostics], number, name))

    def camera_tallies(self) -> dict[str, FrameTally]:
        """Return the counts of each camera's frames, by its name."""
        return {camera.name: camera.tally for camera in self._cameras}

    def _declare_more(self) -> tuple[tuple[type, ...], Callable[..., Any], int]:
        self.cameras = declare_config(self, CamerasConfig)
        make_outputs = partial(_CameraOutputs, self.cameras.cameras)
        return (CamerasConfig,), make_outputs, self.cameras.images_per_run

    def _start_input(self) -> list[str]:
        device = self.network.loaded.predictor.device
        self._start_publisher()
        self._worker = FairWorker(
            len(self._cameras),
            self.cameras.images_per_run,
            self._process_round,
            lambda number: self._cameras[number].info is not None,
            "depth_worker",
        )
        self._worker.start()
        topics = []
        for camera in self._cameras:
            on_image = partial(self._on_image_of, camera)
            on_camera_info = partial(self._on_camera_info_of, camera)
            topics += camera.listen(self, self.config, device, on_image, on_camera_info)
        return topics

    def _stop_input(self) -> None:
        for camera in self._cameras:
            camera.unsubscribe()
        self._stop_threads()
        for camera in self._cameras:
            camera.forget()
        self._diagnostics.state = "inactive"

    def _count_left_out(self, why: str) -> None:
        for camera in self._cameras:
            camera.count_left_out(why, self._worker.left_out(camera.number))

    def _on_camera_info_of(self, camera: CameraFrames, info: CameraInfo) -> None:
        camera.hear(info)
        if self._worker is not None:
            self._worker.wake()

    def _on_image_of(self, camera: CameraFrames, image: ImageMessage) -> None:
        if self._worker is not None:
            camera.receive(image, partial(self._worker.offer, camera.number))

    def _process_round(self, items: Sequence[tuple[int, WaitingImage]]) -> None:
        """Take a frame of each camera, ask the network about all of them, publish the answers."""
        taken = []
        for number, item in items:
            camera = self._cameras[number]
            with Dropping(self._alarm.trigger, [camera.tally]):
                outputs = self.network.outputs.of(number)
                found = camera.take(*item, outputs, self.config.max_rate_hz)
                if isinstance(found, str):
                    camera.tally.count(found)
                else:
                    taken.append(found)
        # Network and size may change between two frames; those of the same are asked together.
        groups: dict[tuple[int, str], list[Taken]] = {}
        for one in taken:
            settings = one.frame.plan.settings
            key = (id(settings.predictor), settings.output.output_size)
            groups.setdefault(key, []).append(one)
        for group in groups.values():
            began_s = time.perf_counter()
            with Dropping(self._alarm.trigger, [one.camera.tally for one in group]):
                answers = self._answers(group)
                predict_s = time.perf_counter() - began_s
                outputs = [self.network.outputs.of(one.camera.number) for one in group]
                self._hand_over(list(zip(group, outputs, answers, strict=True)), predict_s)

    def _answers(self, group: Sequence[Taken]) -> list[Prediction | None]:
        """Ask the network about a group, in two parts if it is too large for the GPU's memory.

        Only where `on_device_error` says smaller_batch; rounds are smaller from then on.
        """
        try:
            return ask(group)
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


def main(args: list[str] | None = None, **options: Any) -> NoReturn:
    """Run the node; see `depth_process.main`."""
    depth_process.main(args, node_class=MultiDepthNode, **options)


if __name__ == "__main__":
    main()
