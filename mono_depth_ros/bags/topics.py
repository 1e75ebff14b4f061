"""Which topics of a recording are the camera and its truth, when the user does not say."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mono_depth_ros.bags.reader import BagReader, describe
from mono_depth_ros.errors import BagError

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
ODOMETRY = "nav_msgs/msg/Odometry"

_DEPTH_ENCODING = re.compile(r"32FC1|16UC1|mono16")


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics an evaluation reads; `truth` is a point cloud or a depth image.

    In place of camera_info there may be a file: then its name is there.
    """

    image: str
    camera_info: str
    truth: str


def find_topics(
    reader: BagReader,
    image: str | None = None,
    camera_info: str | None = None,
    truth: str | None = None,
    *,
    depth_truth: bool = False,
    camera_file: str = "",
) -> Topics:
    """Choose the topics of a recording by type; names given by the user are only checked.

    With `camera_file`, the file that holds the camera, no camera_info is asked for.

    Raises:
        BagError: nothing fits, or several topics fit equally well; the message lists them.
    """
    image, camera_info = find_camera(reader, image, camera_info, camera_file=camera_file)
    if depth_truth:
        depth_images = _depth_images(reader)
        truth = _checked(reader, truth, (IMAGE,)) or _only(depth_images, "depth image", reader)
    else:
        clouds = _of_type(reader, (POINT_CLOUD,))
        truth = _checked(reader, truth, (POINT_CLOUD,)) or _only(clouds, "LiDAR cloud", reader)
    return Topics(image, camera_info, truth)


def find_camera(
    reader: BagReader,
    image: str | None = None,
    camera_info: str | None = None,
    *,
    camera_file: str = "",
) -> tuple[str, str]:
    """Choose a camera's image and camera_info topics; names given by the user are only checked.

    With `camera_file`, the file that holds the camera, its name is the second one.

    Of a raw image and its compressed copy the raw one is taken. The camera_info is the image's
    sibling (`X/image` and `X/camera_info`), or the only one there is.

    Raises:
        BagError: as `find_topics`.
    """
    pictures = (IMAGE, COMPRESSED_IMAGE)
    image = _checked(reader, image, pictures) or _only(
        _colour_images(reader), "camera image", reader
    )
    if camera_file:
        return image, Path(camera_file).name
    return image, _checked(reader, camera_info, (CAMERA_INFO,)) or _camera_info_of(image, reader)


def _checked(reader: BagReader, topic: str | None, types: Collection[str]) -> str | None:
    if topic is not None and reader.topics.get(topic) not in types:
        raise BagError(
            f"{reader.path} has no topic {topic} of type {' or '.join(types)}; "
            f"it has {describe(reader.topics)}"
        )
    return topic


def _only(candidates: list[str], what: str, reader: BagReader) -> str:
    if not candidates:
        empty = ", ".join(sorted(topic for topic, count in reader.counts.items() if not count))
        hint = f"; no message can be read of {empty}" if empty else ""
        raise BagError(f"{reader.path} has no {what}; it has {describe(reader.topics)}{hint}")
    if len(candidates) > 1:
        raise BagError(
            f"{reader.path} has several topics for the {what}: {', '.join(candidates)}; name one"
        )
    return candidates[0]


def _of_type(reader: BagReader, types: Collection[str]) -> list[str]:
    return sorted(t for t, kind in reader.topics.items() if kind in types and reader.counts[t])


def _colour_images(reader: BagReader) -> list[str]:
    raw = set(_of_type(reader, (IMAGE,)))
    if len(raw) > 1:
        raw -= set(_depth_images(reader))
    compressed = {
        topic
        for topic in _of_type(reader, (COMPRESSED_IMAGE,))
        if not topic.endswith("/compressedDepth") and topic.removesuffix("/compressed") not in raw
    }
    candidates = sorted(raw | compressed)
    with_info = [t for t in candidates if _sibling(t) in reader.topics]
    return with_info if len(with_info) == 1 else candidates


def _depth_images(reader: BagReader) -> list[str]:
    """Return the Image topics whose first readable message is a depth image."""
    return sorted(t for t in _of_type(reader, (IMAGE,)) if _is_depth(reader, t))


def _is_depth(reader: BagReader, topic: str) -> bool:
    with suppress(BagError):  # damage, which whoever reads the images reports
        for record in reader.raw_messages([topic]):
            with suppress(BagError):
                message = reader.decode(record[0], record[1], record[3])
                return _DEPTH_ENCODING.fullmatch(message.encoding) is not None
    return False


def _camera_info_of(image: str, reader: BagReader) -> str:
    if reader.topics.get(_sibling(image)) == CAMERA_INFO:
        return _sibling(image)
    return _only(_of_type(reader, (CAMERA_INFO,)), f"camera_info of {image}", reader)


def _sibling(image: str) -> str:
    return image.removesuffix("/compressed").rpartition("/")[0] + "/camera_info"
