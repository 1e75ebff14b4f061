"""What it costs to read a recording, message by message and decoded."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mono_depth_ros.bags import messages
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.decoding import compressed_image_to_rgb, image_to_rgb, point_cloud_to_xyz

_FRAMES, _PERIOD_NS, _START_NS = 50, 100_000_000, 1_700_000_000_000_000_000
_POINTS = 120_000
_DECODE = {
    "sensor_msgs/msg/Image": image_to_rgb,
    "sensor_msgs/msg/CompressedImage": compressed_image_to_rgb,
    "sensor_msgs/msg/PointCloud2": point_cloud_to_xyz,
}


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """Reading one kind of message from an mcap file that the disk cache holds.

    Attributes:
        content: what the messages hold.
        message_ms: mean time of a message, from the file to arrays, milliseconds.
        mb_per_s: bytes of messages per second, in 10^6.
    """

    content: str
    message_ms: float
    mb_per_s: float


def measure_reading(height: int, width: int) -> list[ReadingRow]:
    """Write a recording for a while, and read raw images, JPEGs and sweeps of 120,000 points."""
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "bag"
        contents = _write(bag, height, width)
        return [_read(bag, topic, content) for topic, content in contents.items()]


def _read(bag: Path, topic: str, content: str) -> ReadingRow:
    size = count = 0
    with BagReader(bag) as reader:
        decode = _DECODE[reader.topics[topic]]
        began_s = time.perf_counter()
        for _, _, message in reader.messages([topic]):
            decode(message)
            size += len(message.data)
            count += 1
        elapsed_s = time.perf_counter() - began_s
    return ReadingRow(content, 1e3 * elapsed_s / count, 1e-6 * size / elapsed_s)


def _write(bag: Path, height: int, width: int) -> dict[str, str]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8)
    rgb = np.asarray(cv2.resize(coarse, (width, height)), np.uint8)
    ok, jpeg = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    assert ok
    sweep = np.zeros(_POINTS, [(name, np.float32) for name in ("x", "y", "z", "intensity")])
    for axis in "xyz":
        sweep[axis] = rng.uniform(-20.0, 20.0, _POINTS)
    with BagWriter(bag) as writer:
        for index in range(_FRAMES):
            stamp_ns = _START_NS + index * _PERIOD_NS
            writer.write_image("/image", stamp_ns, "camera", rgb)
            writer.write_message("/image/compressed", stamp_ns, _compressed(stamp_ns, jpeg))
            writer.write_points("/points", stamp_ns, "lidar", sweep)
    return {
        "/image": f"raw image {width}x{height}",
        "/image/compressed": f"JPEG {width}x{height}",
        "/points": f"sweep of {_POINTS} points",
    }


def _compressed(stamp_ns: int, jpeg: np.ndarray[Any, Any]) -> Any:
    header = messages.image_message(stamp_ns, "camera", np.zeros((1, 1, 3), np.uint8)).header
    types = messages.TYPESTORE.types
    return types["sensor_msgs/msg/CompressedImage"](
        header=header, format="jpeg", data=jpeg.reshape(-1)
    )
