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
from mono_depth_ros.errors import (
    BagError,
    CalibrationError,
    ConfigError,
    DecodingError,
    MonoDepthError,
    ShapeError,
)
from mono_depth_ros.evaluation.association import match_nearest
from mono_depth_ros.evaluation.transforms import StaticTransforms
from mono_depth_ros.geometry import Intrinsics, transform_from_quaternion

logger = logging.getLogger(__name__)

_REORDER_WINDOW = 64
# What a single message can be the cause of; it costs one frame, not the evaluation.
FRAME_ERRORS = (DecodingError, CalibrationError, ShapeError)


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
        unreadable: image stamp to reason, of the matched frames met so far that had to be left out.

    Raises:
        BagError: the bag is unreadable, lacks a topic or transform, is ambiguous, or no image has a
            truth within the tolerance.
        CalibrationError: no camera_info is usable.
    """

    def __init__(self, bag: str | Path, config: FrameConfig) -> None:
        self.path, self._config = Path(bag), config
        self._cameras: dict[int, Intrinsics | MonoDepthError] = {}
        self.unreadable: dict[int, str] = {}
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

        A frame whose image, truth or camera_info cannot be used goes to `unreadable` instead.

        Args:
            with_images: False leaves images unread, for passes over the truth alone.

        Raises:
            BagError: no frame was readable.
        """
        readable = False
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
                try:
                    frame = self._frame(image, truth, images, truths)
                except FRAME_ERRORS as error:
                    self.leave_out(self._stamps[0][image], error)
                else:
                    readable = True
                    yield frame
        if not readable:
            raise self.nothing_left()

    def leave_out(self, stamp_ns: int, error: MonoDepthError) -> None:
        """Count the frame of an image as unreadable; a second pass over it changes nothing."""
        if stamp_ns not in self.unreadable:
            self.unreadable[stamp_ns] = str(error)
            logger.warning("the frame of the image at %d ns is left out: %s", stamp_ns, error)

    def nothing_left(self) -> BagError:
        """Return the error for a recording of which no frame could be used."""
        reason = next(iter(self.unreadable.values()))
        return BagError(
            f"{self.path}: none of {len(self.pairs)} frames is left, {len(self.unreadable)} are "
            f"unreadable; the first one: {reason}"
        )

    def _frame(
        self, image: int, truth: int, images: MessageSequence | None, truths: MessageSequence
    ) -> Frame:
        stamp_ns, truth_stamp_ns = self._stamps[0][image], self._stamps[1][truth]
        camera = self._camera_at(stamp_ns)
        rgb = None if images is None else self._decode(images.message(image), camera)
        reference = self._truth(truths.message(truth), camera)
        return Frame(stamp_ns, truth_stamp_ns, rgb, camera, *reference)

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
            for topic, msgtype, cdr in self._scan(reader, static):
                if topic == self.topics.image:
                    stamp_ns, self._camera_frame = read_header(cdr)
                    image_ns.append(stamp_ns)
                elif topic == self.topics.truth:
                    stamp_ns, self._truth_frame = read_header(cdr)
                    truth_ns.append(stamp_ns)
                elif topic == self.topics.camera_info:
                    stamp_ns, info_frame = read_header(cdr)
                    self._cameras[stamp_ns] = self._camera(reader, msgtype, cdr)
                else:
                    self._add_transforms(reader.decode(topic, msgtype, cdr))
        # Some drivers leave the image's frame empty and fill in the camera_info's.
        self._camera_frame = self._camera_frame or info_frame
        return image_ns, truth_ns

    def _camera(self, reader: BagReader, msgtype: str, cdr: bytes) -> Intrinsics | MonoDepthError:
        """Return the camera, or why this message holds none; its frames need to know."""
        try:
            info = reader.decode(self.topics.camera_info, msgtype, cdr)
            return camera_info_to_intrinsics(info, rectified=self._config.rectified)
        except (BagError, *FRAME_ERRORS) as error:
            return error

    def _scan(self, reader: BagReader, static: list[str]) -> Iterator[tuple[str, str, bytes]]:
        """Yield (topic, type, CDR); of images and clouds the header is enough."""
        names = self.topics
        wanted = {names.image, names.camera_info, names.truth, *static}
        try:
            for topic, msgtype, _, cdr in reader.raw_messages(wanted):
                yield topic, msgtype, cdr
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
        unusable = [c for c in self._cameras.values() if isinstance(c, MonoDepthError)]
        if len(unusable) == len(self._cameras):
            raise CalibrationError(
                f"no camera_info on {self.topics.camera_info} of {self.path} is usable; "
                f"the first one: {unusable[0]}"
            )

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
        if stamp_ns not in self._cameras:
            nearest = np.argmin(np.abs(self._camera_stamps - stamp_ns))
            stamp_ns = int(self._camera_stamps[nearest])
        camera = self._cameras[stamp_ns]
        if isinstance(camera, MonoDepthError):
            raise CalibrationError(f"its camera_info is not usable: {camera}")
        return camera

    def _decode(self, message: Any, camera: Intrinsics) -> npt.NDArray[np.uint8]:
        rgb = compressed_image_to_rgb(message) if self._compressed else image_to_rgb(message)
        if rgb.shape[:2] != (camera.height, camera.width):
            raise CalibrationError(
                f"image on {self.topics.image} is {rgb.shape[0]}x{rgb.shape[1]}, its camera_info "
                f"on {self.topics.camera_info} is for {camera.height}x{camera.width}; record the "
                "camera_info of this image"
            )
        return rgb

    def _truth(self, message: Any, camera: Intrinsics) -> tuple[Any, Any, Any]:
        if self._config.truth == "depth":
            depth_m = image_to_depth(message)
            if depth_m.shape != (camera.height, camera.width):
                raise ShapeError(
                    f"depth image on {self.topics.truth} is {depth_m.shape[0]}x{depth_m.shape[1]}, "
                    f"its camera is {camera.height}x{camera.width}; record depth registered to the "
                    "image"
                )
            return None, None, depth_m
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
        """Return the message recorded at `position` among those of the topic.

        Raises:
            DecodingError: its bytes do not fit its type.
        """
        while position not in self._kept:
            index, (topic, msgtype, _, cdr) = next(self._records)
            if index in self._wanted:
                self._kept[index] = topic, msgtype, cdr
        record = self._kept.pop(position)
        for passed in [kept for kept in self._kept if kept < position - _REORDER_WINDOW]:
            del self._kept[passed]
        try:
            return self._reader.decode(*record)
        except BagError as error:
            raise DecodingError(f"{self._topic}: {error}") from error


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
