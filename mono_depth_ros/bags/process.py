"""A recording with depth: every image of a bag through a network, into a new bag."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags import messages
from mono_depth_ros.bags.decoders import typestore_of
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.topics import TRANSFORMS, find_camera
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.clouds import POINT, CloudBuilder
from mono_depth_ros.decoding import (
    camera_info_to_intrinsics,
    compressed_image_to_rgb,
    image_to_rgb,
)
from mono_depth_ros.errors import BagError, CalibrationError, DecodingError, ShapeError
from mono_depth_ros.geometry import Intrinsics

logger = logging.getLogger(__name__)

# As the node of the default name publishes them.
DEPTH_TOPIC = "/depth_node/depth/image"
CAMERA_INFO_TOPIC = "/depth_node/depth/camera_info"
POINTS_TOPIC = "/depth_node/points"

Predictor = Callable[[npt.NDArray[np.uint8], Intrinsics], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """What to read and what to write.

    Attributes:
        image_topic: None finds it by type.
        camera_info_topic: None takes the image's sibling.
        rectified: whether the images are; False takes K instead of P from camera_info.
        points: write a cloud per image; 16 bytes per pixel.
        copy_input: also write every message of the input bag, unchanged; topics of types that
            neither the bag nor ROS 2 Jazzy defines are left out and named in a warning.
        storage: mcap or sqlite3.
    """

    image_topic: str | None = None
    camera_info_topic: str | None = None
    rectified: bool = True
    points: bool = True
    copy_input: bool = False
    storage: str = "mcap"


def process_bag(
    bag: str | Path,
    out: str | Path,
    predictor: Predictor,
    config: ProcessConfig | None = None,
    *,
    track: Callable[[Iterable[Any], int], Iterable[Any]] = lambda records, _: records,
) -> Counter[str]:
    """Write depth, camera_info and cloud for every image, with the image's header and log time.

    A frame that cannot be decoded, or has no fitting camera_info, is left out and counted. The
    transforms of the input are copied, so that the cloud can be shown in any frame.

    Args:
        bag: anything `BagReader` opens.
        out: rosbag2 folder to create.
        predictor: `(rgb, camera) -> depth_m`.
        config: topics and outputs.
        track: wraps the records while they are worked through, to show progress.

    Returns:
        Number of frames by outcome: `written`, and one key per reason for a dropped frame.

    Raises:
        BagError: the input is unreadable, damaged (what can be read is written first)
            or lacks a topic; the output exists or cannot be written.
    """
    config = config or ProcessConfig()
    outcomes: Counter[str] = Counter()
    with BagReader(bag) as reader:
        image_topic, info_topic = find_camera(reader, config.image_topic, config.camera_info_topic)
        cameras = _Cameras(reader, info_topic, config.rectified)
        records = _UntilDamage(reader, None if config.copy_input else _needed(reader, image_topic))
        with BagWriter(out, config.storage) as writer:
            output = _Output(writer, config.points)
            copier = _Copier(reader, writer)
            for topic, msgtype, log_time_ns, cdr in track(records, records.count):
                if config.copy_input or msgtype == TRANSFORMS:
                    copier.copy(topic, msgtype, log_time_ns, cdr)
                if topic == image_topic:
                    image = reader.decode(topic, msgtype, cdr)
                    outcome = _process(image, log_time_ns, cameras, predictor, output)
                    outcomes[outcome] += 1
    if records.damage is not None:
        raise BagError(f"{records.damage}; {out} holds {outcomes['written']} readable frames")
    return outcomes


class _UntilDamage:
    """The records of a bag; damage ends them and is kept, so that the output can be finished."""

    def __init__(self, reader: BagReader, topics: set[str] | None) -> None:
        self._reader, self._topics = reader, topics
        self.count = sum(reader.counts[topic] for topic in topics or reader.topics)
        self.damage: BagError | None = None

    def __iter__(self) -> Iterator[tuple[str, str, int, bytes]]:
        try:
            yield from self._reader.raw_messages(self._topics)
        except BagError as error:
            self.damage = error


class _Copier:
    """Copies records unchanged, except those of types whose definition is nowhere to be had."""

    def __init__(self, reader: BagReader, writer: BagWriter) -> None:
        self._reader, self._writer = reader, writer
        self._known: dict[tuple[str, str], bool] = {}

    def copy(self, topic: str, msgtype: str, log_time_ns: int, cdr: bytes) -> None:
        """Write the record, or name its topic in a warning the first time."""
        if (topic, msgtype) not in self._known:
            self._known[topic, msgtype] = self._is_known(topic, msgtype)
        if self._known[topic, msgtype]:
            definition, qos = self._reader.definitions[msgtype], self._reader.qos[topic]
            self._writer.write_raw(topic, msgtype, log_time_ns, cdr, definition=definition, qos=qos)

    def _is_known(self, topic: str, msgtype: str) -> bool:
        try:
            typestore_of(msgtype, self._reader.definitions[msgtype])
        except BagError as error:
            logger.warning("%s is not copied: %s", topic, error)
            return False
        return True


class _Cameras:
    """The camera_info messages of a topic, found by stamp."""

    def __init__(self, reader: BagReader, topic: str, rectified: bool) -> None:
        self.rectified = rectified
        self._infos: dict[int, Any] = {}
        for _, _, info in _readable(reader, topic):
            self._infos[messages.stamp_ns(info.header)] = info
        if not self._infos:
            raise BagError(f"{reader.path} holds no message on {topic}")
        self._stamps_ns = np.array(sorted(self._infos), np.int64)

    def nearest(self, stamp_ns: int) -> Any:
        """Return the message stamped nearest to an image; drivers that send one send it once."""
        return self._infos[int(self._stamps_ns[np.abs(self._stamps_ns - stamp_ns).argmin()])]


class _Output:
    """Writes the three results of a frame."""

    def __init__(self, writer: BagWriter, points: bool) -> None:
        self._writer, self._points = writer, points
        self._builder: CloudBuilder | None = None

    def write(
        self,
        log_time_ns: int,
        info: Any,
        camera: Intrinsics,
        rgb: npt.NDArray[np.uint8],
        depth_m: npt.NDArray[np.float32],
    ) -> None:
        """Write depth, camera_info and cloud under the header of `info`."""
        stamp_ns, frame_id = messages.stamp_ns(info.header), info.header.frame_id
        depth = messages.depth_message(stamp_ns, frame_id, depth_m)
        self._writer.write_message(DEPTH_TOPIC, log_time_ns, depth)
        self._writer.write_message(CAMERA_INFO_TOPIC, log_time_ns, info)
        if self._points:
            if self._builder is None or self._builder.camera != camera:
                self._builder = CloudBuilder(camera)
            points = self._builder(depth_m, rgb).view(POINT)[..., 0]
            cloud = messages.cloud_message(stamp_ns, frame_id, points)
            self._writer.write_message(POINTS_TOPIC, log_time_ns, cloud)


def _process(
    image: Any, log_time_ns: int, cameras: _Cameras, predictor: Predictor, output: _Output
) -> str:
    """Work on one image; return `written` or the reason why it was left out."""
    try:
        rgb = image_to_rgb(image) if hasattr(image, "encoding") else compressed_image_to_rgb(image)
        info = cameras.nearest(messages.stamp_ns(image.header))
        camera = camera_info_to_intrinsics(info, rectified=cameras.rectified)
        depth_m = predictor(rgb, camera)
    except (DecodingError, ShapeError, CalibrationError) as error:
        logger.warning("image at %d ns left out: %s", log_time_ns, error)
        return type(error).__name__
    output.write(log_time_ns, replace(info, header=image.header), camera, rgb, depth_m)
    return "written"


def _readable(reader: BagReader, topic: str) -> Iterator[tuple[str, int, Any]]:
    """Yield the messages that can be read of a damaged recording, too."""
    try:
        yield from reader.messages([topic])
    except BagError as error:
        logger.warning("%s", error)


def _needed(reader: BagReader, image_topic: str) -> set[str]:
    return {image_topic, *(t for t, kind in reader.topics.items() if kind == TRANSFORMS)}
