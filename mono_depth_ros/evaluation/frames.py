"""From a recording to frames: an image, its camera, and the truth that belongs to it."""

from __future__ import annotations

import logging
import struct
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.topics import COMPRESSED_IMAGE, TRANSFORMS, find_topics
from mono_depth_ros.decoding import (
    camera_info_to_intrinsics,
    compressed_image_to_rgb,
    image_to_depth,
    image_to_rgb,
    point_cloud_to_xyz,
)
from mono_depth_ros.errors import BagError, CalibrationError, ConfigError
from mono_depth_ros.evaluation.association import match_nearest
from mono_depth_ros.evaluation.transforms import StaticTransforms
from mono_depth_ros.geometry import Intrinsics, transform_from_quaternion

logger = logging.getLogger(__name__)

_REORDER_WINDOW = 64


@dataclass(frozen=True, slots=True)
class FrameConfig:
    """How frames are put together.

    Attributes:
        truth: "lidar" takes a point cloud, "depth" a depth image as the reference.
        image_topic: None finds it by type, as do the next two.
        camera_info_topic: the image's sibling by default.
        truth_topic: the point cloud or depth image.
        tolerance_ms: largest distance between the stamps of image and truth.
        rectified: whether the images are; False takes K instead of P from camera_info.
        camera_from_lidar: x, y, z (metres), qx, qy, qz, qw, where the recording has no /tf_static.
        max_frames: evenly spread frames are taken when there are more; None takes all.
        accept_damaged: use what a damaged recording holds before the damage.
    """

    truth: Literal["lidar", "depth"] = "lidar"
    image_topic: str | None = None
    camera_info_topic: str | None = None
    truth_topic: str | None = None
    tolerance_ms: float = 50.0
    rectified: bool = True
    camera_from_lidar: tuple[float, float, float, float, float, float, float] | None = None
    max_frames: int | None = None
    accept_damaged: bool = False

    def __post_init__(self) -> None:
        if not self.tolerance_ms >= 0:
            raise ConfigError(f"tolerance_ms must be 0 or more, got {self.tolerance_ms}")
        if self.max_frames is not None and self.max_frames < 1:
            raise ConfigError(f"max_frames must be at least 1, got {self.max_frames}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One image with its truth; either the LiDAR pair or `depth_m` is set.

    Attributes:
        stamp_ns: the image's header stamp.
        truth_stamp_ns: the header stamp of the cloud or depth image.
        rgb: (H, W, 3) uint8; None when only the truth was asked for.
        camera: intrinsics of that image.
        lidar_points_m: (N, 3) float32 metres, LiDAR frame.
        camera_from_lidar: (4, 4).
        depth_m: (H, W) float32 metres, NaN = none, of a recorded depth image.
    """

    stamp_ns: int
    truth_stamp_ns: int
    rgb: npt.NDArray[np.uint8] | None
    camera: Intrinsics
    lidar_points_m: npt.NDArray[np.float32] | None = None
    camera_from_lidar: npt.NDArray[np.float64] | None = None
    depth_m: npt.NDArray[np.float32] | None = None


class Recording:
    """A bag whose images are matched with their truth.

    The constructor reads headers, calibration and transforms of the whole bag; `frames` then reads
    images and clouds side by side, so that memory holds a few messages however the bag is ordered.

    Args:
        bag: anything `BagReader` opens.
        config: topics, tolerance, truth.

    Attributes:
        topics: the topics in use.
        pairs: (M, 2) the recorded positions of matched images and truths, in image order.
        images: how many images the bag holds.
        truths: how many clouds or depth images it holds.

    Raises:
        BagError: the bag is unreadable, lacks a topic or transform, is ambiguous, or no image has a
            truth within the tolerance.
    """

    def __init__(self, bag: str | Path, config: FrameConfig) -> None:
        self.path, self._config = Path(bag), config
        self._cameras: dict[int, Intrinsics] = {}
        self._camera_frame = self._truth_frame = ""
        image_ns, truth_ns = self._read_headers()
        self.images, self.truths = len(image_ns), len(truth_ns)
        self._require(image_ns, truth_ns)
        self.pairs = self._match(image_ns, truth_ns)
        self._stamps = image_ns, truth_ns
        self._camera_stamps = np.array(sorted(self._cameras), np.int64)
        self.camera_from_lidar = self._extrinsics() if config.truth == "lidar" else None

    def frames(self, *, with_images: bool = True) -> Iterator[Frame]:
        """Yield the matched frames in the order of their images.

        Args:
            with_images: False leaves images unread, for passes over the truth alone.
        """
        image_ns, truth_ns = self._stamps
        with ExitStack() as stack:
            pairs = self.pairs.tolist()
            truths = stack.enter_context(
                MessageSequence(self.path, self.topics.truth, [truth for _, truth in pairs])
            )
            images = None
            if with_images:
                images = stack.enter_context(
                    MessageSequence(self.path, self.topics.image, [image for image, _ in pairs])
                )
            for image, truth in pairs:
                stamp_ns = image_ns[image]
                camera = self._camera_at(stamp_ns)
                rgb = None if images is None else self._decode(images.message(image), camera)
                yield Frame(
                    stamp_ns, truth_ns[truth], rgb, camera, *self._truth(truths.message(truth))
                )

    def _read_headers(self) -> tuple[list[int], list[int]]:
        config = self._config
        self.transforms = StaticTransforms()
        image_ns: list[int] = []
        truth_ns: list[int] = []
        info_frame = ""
        with BagReader(self.path) as reader:
            self.topics = find_topics(
                reader,
                config.image_topic,
                config.camera_info_topic,
                config.truth_topic,
                depth_truth=config.truth == "depth",
            )
            self._compressed = reader.topics[self.topics.image] == COMPRESSED_IMAGE
            static = [t for t, kind in reader.topics.items() if _is_static(t, kind)]
            for topic, message, cdr in self._scan(reader, static):
                if topic == self.topics.image:
                    stamp_ns, self._camera_frame = read_header(cdr)
                    image_ns.append(stamp_ns)
                elif topic == self.topics.truth:
                    stamp_ns, self._truth_frame = read_header(cdr)
                    truth_ns.append(stamp_ns)
                elif topic == self.topics.camera_info:
                    stamp_ns, info_frame = read_header(cdr)
                    camera = camera_info_to_intrinsics(message, rectified=config.rectified)
                    self._cameras[stamp_ns] = camera
                else:
                    self._add_transforms(message)
        # Some drivers leave the image's frame empty and fill in the camera_info's.
        self._camera_frame = self._camera_frame or info_frame
        return image_ns, truth_ns

    def _scan(self, reader: BagReader, static: list[str]) -> Iterator[tuple[str, Any, bytes]]:
        """Yield (topic, message, CDR); images and clouds stay undecoded, their header is enough."""
        names = self.topics
        wanted = {names.image, names.camera_info, names.truth, *static}
        try:
            for topic, msgtype, _, cdr in reader.raw_messages(wanted):
                heavy = topic in (names.image, names.truth)
                yield topic, None if heavy else reader.decode(topic, msgtype, cdr), cdr
        except BagError as error:
            if not self._config.accept_damaged:
                raise BagError(
                    f"{error}; set accept_damaged to evaluate what lies before the damage"
                ) from error
            logger.warning("%s; evaluating what lies before the damage", error)

    def _add_transforms(self, message: Any) -> None:
        for stamped in message.transforms:
            t, q = stamped.transform.translation, stamped.transform.rotation
            self.transforms.add(
                stamped.header.frame_id,
                stamped.child_frame_id,
                transform_from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w)),
            )

    def _require(self, image_ns: list[int], truth_ns: list[int]) -> None:
        for stamps, topic in ((image_ns, self.topics.image), (truth_ns, self.topics.truth)):
            if not stamps:
                raise BagError(f"{self.path} holds no message on {topic}")
        if not self._cameras:
            raise BagError(f"{self.path} holds no message on {self.topics.camera_info}")

    def _match(self, image_ns: list[int], truth_ns: list[int]) -> npt.NDArray[np.int64]:
        tolerance_ns = round(self._config.tolerance_ms * 1e6)
        matches = match_nearest(image_ns, truth_ns, tolerance_ns)
        pairs = np.column_stack([np.flatnonzero(matches >= 0), matches[matches >= 0]])
        if len(pairs) == 0:
            raise BagError(
                f"no image of {self.topics.image} has a {self.topics.truth} within "
                f"{self._config.tolerance_ms} ms (images {_span(image_ns)}, truth "
                f"{_span(truth_ns)}); raise the tolerance or synchronise the clocks"
            )
        limit = self._config.max_frames
        if limit is not None and len(pairs) > limit:
            pairs = pairs[np.linspace(0, len(pairs) - 1, limit).round().astype(np.int64)]
        return pairs

    def _extrinsics(self) -> npt.NDArray[np.float64]:
        given = self._config.camera_from_lidar
        if given is not None:
            return transform_from_quaternion(given[:3], given[3:])
        return self.transforms.lookup(self._camera_frame, self._truth_frame)

    def _camera_at(self, stamp_ns: int) -> Intrinsics:
        if stamp_ns in self._cameras:
            return self._cameras[stamp_ns]
        nearest = np.argmin(np.abs(self._camera_stamps - stamp_ns))
        return self._cameras[int(self._camera_stamps[nearest])]

    def _decode(self, message: Any, camera: Intrinsics) -> npt.NDArray[np.uint8]:
        rgb = compressed_image_to_rgb(message) if self._compressed else image_to_rgb(message)
        if rgb.shape[:2] != (camera.height, camera.width):
            raise CalibrationError(
                f"image on {self.topics.image} is {rgb.shape[0]}x{rgb.shape[1]}, its camera_info "
                f"on {self.topics.camera_info} is for {camera.height}x{camera.width}; record the "
                "camera_info of this image"
            )
        return rgb

    def _truth(self, message: Any) -> tuple[Any, Any, Any]:
        if self._config.truth == "depth":
            return None, None, image_to_depth(message)
        return point_cloud_to_xyz(message), self.camera_from_lidar, None


class MessageSequence:
    """The wanted messages of one topic, read forward once; a context manager.

    Positions may be asked for out of order by up to `_REORDER_WINDOW` messages.

    Args:
        path: the recording.
        topic: which messages.
        positions: which of them will be asked for, counted in recorded order.
    """

    def __init__(self, path: Path, topic: str, positions: Collection[int]) -> None:
        self._reader, self._topic = BagReader(path), topic
        self._wanted = frozenset(positions)
        self._kept: dict[int, tuple[str, str, bytes]] = {}

    def __enter__(self) -> MessageSequence:
        self._reader.__enter__()
        self._records = enumerate(self._reader.raw_messages([self._topic]))
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.__exit__(None, None, None)

    def message(self, position: int) -> Any:
        """Return the message recorded at `position` among those of the topic."""
        while position not in self._kept:
            index, (topic, msgtype, _, cdr) = next(self._records)
            if index in self._wanted:
                self._kept[index] = topic, msgtype, cdr
        message = self._reader.decode(*self._kept.pop(position))
        for passed in [kept for kept in self._kept if kept < position - _REORDER_WINDOW]:
            del self._kept[passed]
        return message


def read_header(cdr: bytes) -> tuple[int, str]:
    """Return (stamp_ns, frame_id) of a serialised message that begins with a std_msgs/Header."""
    order = "<" if cdr[1] & 1 else ">"
    try:
        seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", cdr, 4)
        frame_id = cdr[16 : 16 + length].rstrip(b"\0").decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise BagError(f"a message of {len(cdr)} bytes has no readable header: {error}") from error
    return seconds * 1_000_000_000 + nanoseconds, frame_id


def _is_static(topic: str, msgtype: str) -> bool:
    return msgtype == TRANSFORMS and topic.endswith("tf_static")


def _span(stamps_ns: list[int]) -> str:
    return f"{min(stamps_ns) / 1e9:.3f} to {max(stamps_ns) / 1e9:.3f} s"
