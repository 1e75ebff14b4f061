"""What a recording says besides pixels and points: stamps, frames, sizes, cameras, poses."""

from __future__ import annotations

import logging
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.topics import (
    COMPRESSED_IMAGE,
    IMAGE,
    ODOMETRY,
    TRANSFORMS,
    Topics,
    find_topics,
)
from mono_depth_ros.decoding import camera_info_to_intrinsics
from mono_depth_ros.encoded_pictures import picture_size
from mono_depth_ros.errors import (
    BagError,
    CalibrationError,
    DecodingError,
    MonoDepthError,
    ShapeError,
)
from mono_depth_ros.evaluation.calibration_files import read_camera
from mono_depth_ros.evaluation.rig import Poses
from mono_depth_ros.geometry import Intrinsics

if TYPE_CHECKING:
    from mono_depth_ros.evaluation.frame_config import FrameConfig

logger = logging.getLogger(__name__)

# What a single message can be the cause of; it costs one frame, not the evaluation.
FRAME_ERRORS = (DecodingError, CalibrationError, ShapeError)


@dataclass(slots=True)
class HeaderList:
    """The headers of one topic in recorded order.

    Attributes:
        stamps_ns: header stamps; the log time of a message whose header is not readable, which
            lets it be matched, read and refused like any other damaged message.
        frames: frame ids without leading slash, empty where the header is not readable.
    """

    stamps_ns: list[int] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)

    def add(self, cdr: bytes, log_time_ns: int) -> int:
        """Append the header of a message; return its stamp."""
        try:
            stamp_ns, frame = read_header(cdr)
        except BagError:
            stamp_ns, frame = log_time_ns, ""
        self.stamps_ns.append(stamp_ns)
        self.frames.append(frame.lstrip("/"))
        return stamp_ns

    @property
    def frame(self) -> str:
        """The frame of most messages that name one; empty if none does."""
        named = Counter(frame for frame in self.frames if frame)
        return named.most_common(1)[0][0] if named else ""


@dataclass(slots=True)
class Headers:
    """One pass over a recording.

    Attributes:
        topics: the topics in use.
        compressed: whether the images are.
        images: their headers.
        truths: those of the clouds or depth images.
        labels: those of the images of class numbers.
        infos: those of the camera_infos.
        sizes: (height, width) of every image, or why it is not known.
        cameras: stamp of a camera_info to its camera, or why it holds none; that of a file has 0.
        poses: transforms and odometry.
        damage: why parts of the recording could not be read; empty for a whole one.
        read: the topics that were read.
    """

    topics: Topics
    compressed: bool
    images: HeaderList = field(default_factory=HeaderList)
    truths: HeaderList = field(default_factory=HeaderList)
    labels: HeaderList = field(default_factory=HeaderList)
    infos: HeaderList = field(default_factory=HeaderList)
    sizes: list[tuple[int, int] | DecodingError] = field(default_factory=list)
    cameras: dict[int, Intrinsics | MonoDepthError] = field(default_factory=dict)
    poses: Poses = field(default_factory=Poses)
    damage: str = ""
    read: frozenset[str] = frozenset()

    @property
    def camera_frame(self) -> str:
        """The camera's frame; some drivers leave the image's empty and fill the camera_info's."""
        return self.images.frame or self.infos.frame


def scan_headers(path: Path, config: FrameConfig) -> Headers:
    """Read headers, calibration and transforms of a whole bag.

    A transform or odometry message that cannot be decoded is logged and left out.

    Raises:
        BagError: the bag is unreadable, lacks a topic or is ambiguous; or it is damaged and the
            configuration does not accept that.
        ConfigError, CalibrationError: the file that the configuration names is not usable.
    """
    with BagReader(path) as reader:
        topics = find_topics(
            reader,
            config.image_topic,
            config.camera_info_topic,
            config.truth_topic,
            depth_truth=config.truth == "depth",
            camera_file=config.camera_calibration,
        )
        headers = Headers(topics, reader.topics[topics.image] == COMPRESSED_IMAGE)
        transforms, odometry = pose_topics(reader, config)
        read = {topics.image, topics.truth, *transforms, *odometry}
        if config.camera_calibration:
            camera, _ = read_camera(config.camera_calibration, rectified=config.rectified)
            headers.cameras[0] = camera
        else:
            read.add(topics.camera_info)
        if config.labels_topic:
            read.add(_labels_topic(reader, config.labels_topic))
        headers.read = frozenset(read)
        for topic, msgtype, log_time_ns, cdr in _until_damage(reader, headers, config):
            if topic == topics.image:
                headers.images.add(cdr, log_time_ns)
                headers.sizes.append(_image_size(cdr, headers.compressed))
            elif topic == topics.truth:
                headers.truths.add(cdr, log_time_ns)
            elif topic == config.labels_topic:
                headers.labels.add(cdr, log_time_ns)
            elif topic == topics.camera_info:
                stamp_ns = headers.infos.add(cdr, log_time_ns)
                headers.cameras[stamp_ns] = _camera(reader, topic, msgtype, cdr, config.rectified)
            else:
                add_pose(headers.poses, reader, (topic, msgtype, cdr), topic in odometry)
    return headers


def _labels_topic(reader: BagReader, topic: str) -> str:
    if reader.topics.get(topic) != IMAGE:
        raise BagError(f"{reader.path} has no {IMAGE} on {topic}, the topic of the labels")
    return topic


def pose_topics(reader: BagReader, config: FrameConfig) -> tuple[list[str], list[str]]:
    """Return the topics of transforms and those of odometry, none of these if there are several.

    Raises:
        BagError: the odometry that the configuration names is not there.
    """
    transforms = [topic for topic, kind in reader.topics.items() if kind == TRANSFORMS]
    found = [topic for topic, kind in reader.topics.items() if kind == ODOMETRY]
    if config.odometry_topic:
        if config.odometry_topic not in found:
            raise BagError(
                f"{reader.path} has no {ODOMETRY} on {config.odometry_topic}; it has "
                f"{', '.join(sorted(found)) or 'none at all'}"
            )
        return transforms, [config.odometry_topic]
    only = len(found) == 1 and config.fixed_frame != "none"
    return transforms, found if only else []


def add_pose(
    poses: Poses, reader: BagReader, record: tuple[str, str, bytes], is_odometry: bool
) -> None:
    """Add a (topic, type, CDR) of `pose_topics`; one that cannot be decoded is left out."""
    try:
        message = reader.decode(*record)
    except BagError as error:
        poses.leave_out(error)
    else:
        if is_odometry:
            poses.add_odometry(message)
        else:
            poses.add_transforms(message, static=record[0].endswith("tf_static"))


def read_header(cdr: bytes) -> tuple[int, str]:
    """Return (stamp_ns, frame_id) of a serialised message that begins with a std_msgs/Header.

    Raises:
        BagError: there is no such header.
    """
    order = _byte_order(cdr)
    try:
        seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", cdr, 4)
        frame_id = cdr[16 : 16 + length].rstrip(b"\0").decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise BagError(f"a message of {len(cdr)} bytes has no readable header: {error}") from error
    return seconds * 1_000_000_000 + nanoseconds, frame_id


def read_image_size(cdr: bytes, *, compressed: bool) -> tuple[int, int]:
    """Return (height, width) of a serialised sensor_msgs Image or CompressedImage, undecoded.

    Raises:
        DecodingError: the size is not there, or no picture of these bytes can have it.
    """
    order = _byte_order(cdr)
    try:
        (length,) = struct.unpack_from(f"{order}I", cdr, 12)
        after_header = _aligned(16 + length)
        if compressed:
            (length,) = struct.unpack_from(f"{order}I", cdr, after_header)
            file = cdr[_aligned(after_header + 4 + length) + 4 :]
            return picture_size(file, "compressed image", "check the sender")
        height, width = struct.unpack_from(f"{order}II", cdr, after_header)
    except struct.error as error:
        raise DecodingError(f"an image of {len(cdr)} bytes is cut off: {error}") from error
    # No encoding has less than a byte per pixel.
    if height * width > len(cdr):
        raise DecodingError(
            f"image of {height}x{width} pixels comes in {len(cdr)} bytes; check the sender"
        )
    return height, width


def _image_size(cdr: bytes, compressed: bool) -> tuple[int, int] | DecodingError:
    try:
        return read_image_size(cdr, compressed=compressed)
    except DecodingError as error:
        return error


def _byte_order(cdr: bytes) -> str:
    # The second byte of CDR's head; what is too short for one fails where it is read.
    return "<" if cdr[1:2] != b"" and cdr[1] & 1 else ">"


def _aligned(at: int) -> int:
    """Return the next multiple of four; the four bytes of CDR's head do not change it."""
    return -(-at // 4) * 4


def _until_damage(
    reader: BagReader, headers: Headers, config: FrameConfig
) -> Iterator[tuple[str, str, int, bytes]]:
    try:
        yield from reader.raw_messages(headers.read)
    except BagError as error:
        if not config.accept_damaged:
            raise BagError(f"{error}; accept_damaged would take what can be read") from error
        headers.damage = reader.shortened(error)
        logger.warning("%s; evaluating what can be read", error)


def _camera(
    reader: BagReader, topic: str, msgtype: str, cdr: bytes, rectified: bool
) -> Intrinsics | MonoDepthError:
    """Return the camera, or why this message holds none; its frames need to know."""
    try:
        return camera_info_to_intrinsics(reader.decode(topic, msgtype, cdr), rectified=rectified)
    except (BagError, *FRAME_ERRORS) as error:
        return error
