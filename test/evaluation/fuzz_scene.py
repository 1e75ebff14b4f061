"""A tiny recording with every kind of message that an evaluation reads, and ways to damage it."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer

from mono_depth_ros.bags.messages import TYPESTORE, camera_info_message
from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.geometry import Intrinsics

CAMERA = Intrinsics(fx=30.0, fy=30.0, cx=15.5, cy=11.5, width=32, height=24)
FRAMES = 3
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000

Record = tuple[str, str, int, bytes]  # topic, type, log time in nanoseconds, CDR


@dataclass(frozen=True)
class Scene:
    """A recording to damage, and how it is evaluated."""

    bag: Path
    config: FrameConfig
    records: list[Record]


def make_scenes(folder: Path) -> list[Scene]:
    """Write the recordings: raw images and /tf in mcap; JPEG, lens and odometry in sqlite3."""
    lens = FrameConfig(rectified=False)
    depth = FrameConfig(truth="depth", truth_topic="/ground_truth/depth")
    scenes = []
    for name, storage, configs in (
        ("raw", StoragePlugin.MCAP, (FrameConfig(), depth)),
        ("jpeg", StoragePlugin.SQLITE3, (FrameConfig(), lens)),
    ):
        write_scene(folder / "first" / name, compressed=name == "jpeg")
        records = read_records(folder / "first" / name)
        write_records(folder / name, records, storage)
        scenes += [Scene(folder / name, config, records) for config in configs]
    return scenes


def write_scene(bag: Path, *, compressed: bool) -> None:
    """Write one recording of a plane 5 m away from camera and LiDAR."""
    types, eye = TYPESTORE.types, np.eye(4)
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width].reshape(2, -1)
    points = np.zeros(u.size, [*((name, "<f4") for name in "xyz"), ("t", "<u4")])
    points["x"], points["y"] = (u - CAMERA.cx) / CAMERA.fx * 5, (v - CAMERA.cy) / CAMERA.fy * 5
    points["z"], points["t"] = 5.0, np.arange(u.size) * 1000
    with BagWriter(bag) as writer:
        links = [("base", "camera", eye), ("base", "lidar", eye)]
        writer.write_transforms("/tf_static", START_NS, links)
        for index in range(FRAMES):
            stamp_ns = START_NS + index * PERIOD_NS
            info = camera_info_message(stamp_ns, "camera", CAMERA)
            pose = eye.copy()
            pose[0, 3] = 0.1 * index
            moved = [("odom", "base", pose)]
            if compressed:
                info.d[0] = 0.01
                header = info.header
                rng = np.random.default_rng(index)
                pixels = rng.integers(0, 255, (CAMERA.height, CAMERA.width, 3)).astype(np.uint8)
                data = np.asarray(cv2.imencode(".jpg" if index else ".png", pixels)[1]).ravel()
                image = types["sensor_msgs/msg/CompressedImage"](header, "bgr8; jpeg", data)
                writer.write_message("/camera/image/compressed", stamp_ns, image)
                writer.write_message("/odom", stamp_ns, odometry(stamp_ns, 0.1 * index))
            else:
                rgb = np.full((CAMERA.height, CAMERA.width, 3), index, np.uint8)
                writer.write_image("/camera/image", stamp_ns, "camera", rgb)
                depth_m = np.full((CAMERA.height, CAMERA.width), 5.0, np.float32)
                writer.write_depth("/ground_truth/depth", stamp_ns, "camera", depth_m)
                writer.write_transforms("/tf", stamp_ns, moved)
            writer.write_message("/camera/camera_info", stamp_ns, info)
            writer.write_points("/lidar/points", stamp_ns, "lidar", points)


def odometry(stamp_ns: int, x_m: float) -> Any:
    """Return a nav_msgs/Odometry of base in odom."""
    types = TYPESTORE.types
    info = camera_info_message(stamp_ns, "odom", CAMERA)
    vector = types["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    pose = types["geometry_msgs/msg/Pose"](
        types["geometry_msgs/msg/Point"](x_m, 0.0, 0.0),
        types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
    )
    zeros = np.zeros(36)
    return types["nav_msgs/msg/Odometry"](
        info.header,
        "base",
        types["geometry_msgs/msg/PoseWithCovariance"](pose, zeros),
        types["geometry_msgs/msg/TwistWithCovariance"](
            types["geometry_msgs/msg/Twist"](vector, vector), zeros
        ),
    )


def read_records(bag: Path) -> list[Record]:
    """Return everything that a recording holds."""
    with BagReader(bag) as reader:
        return [(t, kind, stamp, bytes(cdr)) for t, kind, stamp, cdr in reader.raw_messages()]


def write_mutant(scene: Scene, bag: Path, rng: np.random.Generator) -> None:
    """Write a damaged copy: of some messages, or of the files as a whole."""
    if rng.random() < 0.5:
        # SQLite waits for the disk, and metadata.yaml takes as long to read as all the rest.
        write_records(bag, mutated_records(scene.records, rng), StoragePlugin.MCAP)
        if rng.random() < 0.9:
            (bag / "metadata.yaml").unlink()
    else:
        shutil.copytree(scene.bag, bag)
        mutate_files(bag, rng)


def write_records(bag: Path, records: list[Record], storage: StoragePlugin) -> None:
    """Write serialised messages, without QoS, whose YAML takes longest to read."""
    connections: dict[str, Any] = {}
    with Writer(bag, version=9, storage_plugin=storage) as writer:
        for topic, msgtype, log_time_ns, cdr in records:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msgtype, typestore=TYPESTORE)
            writer.write(connections[topic], log_time_ns, cdr)


def mutated_records(records: list[Record], rng: np.random.Generator) -> list[Record]:
    """Return the records with one to four messages changed, in their bytes or their meaning."""
    changed = list(records)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(changed)))
        topic, msgtype, log_time_ns, cdr = changed[at]
        mutate = mutate_bytes if rng.random() < 0.5 else mutate_fields
        changed[at] = topic, msgtype, log_time_ns, mutate(cdr, msgtype, rng)
        if rng.random() < 0.1:
            changed.insert(int(rng.integers(len(changed))), changed[at])
        if rng.random() < 0.1 and len(changed) > 1:
            del changed[int(rng.integers(len(changed)))]
    return changed


def mutate_bytes(cdr: bytes, _: str, rng: np.random.Generator) -> bytes:
    """Flip, insert, delete, cut, or overwrite four bytes with an extreme number."""
    data = bytearray(cdr)
    # Heads are small against pixels, and where everything is decided.
    for _ in range(rng.integers(1, 4)):
        end = len(data) if rng.random() < 0.4 else min(len(data), 100)
        at = int(rng.integers(max(end, 1)))
        kind = rng.integers(6)
        if kind == 0 and data:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at:at] = rng.bytes(int(rng.integers(1, 20)))
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 20))]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            data[at // 4 * 4 : at // 4 * 4 + 4] = struct.pack("<I", int(rng.choice(EXTREMES)))
        else:
            data[at : at + 8] = struct.pack("<d", float(rng.choice(ODD_FLOATS)))
    return bytes(data)


EXTREMES = [0, 1, 2, 3, 255, 65535, 65536, 2**27, 2**30, 2**31 - 1, 2**31, 2**32 - 1]
ODD_FLOATS = [np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-300, 1e9, 1e300, 5e-324]
ODD_TEXTS = ["", "rgb8", "bayer_rggb8", "nv24", "32FC1", "16UC1", "mono16", "/lidar", "x" * 300]
ODD_TEXTS += ["jpeg", "compressedDepth", "equidistant", "plumb_bob", "camera", "odom", "\0"]
LIMITS = {"uint8": 2**8, "uint16": 2**16, "uint32": 2**32, "int32": 2**31}


def mutate_fields(cdr: bytes, msgtype: str, rng: np.random.Generator) -> bytes:
    """Give one or two fields of a message an odd value of the right type."""
    try:
        message = TYPESTORE.deserialize_cdr(cdr, msgtype)
    except Exception:  # it was damaged before
        return mutate_bytes(cdr, msgtype, rng)
    for _ in range(rng.integers(1, 3)):
        places = list(_leaves(message))
        owner, name = places[int(rng.integers(len(places)))]
        _assign(owner, name, rng)
    return bytes(TYPESTORE.serialize_cdr(message, msgtype))


def _leaves(message: Any) -> list[tuple[Any, str]]:
    found = []
    for name, _ in TYPESTORE.fielddefs[message.__msgtype__][1]:
        value = getattr(message, name)
        if hasattr(value, "__dataclass_fields__"):
            found += _leaves(value)
        elif isinstance(value, list) and value and hasattr(value[0], "__dataclass_fields__"):
            found += [(message, name), *(leaf for item in value for leaf in _leaves(item))]
        else:
            found.append((message, name))
    return found


def _assign(owner: Any, name: str, rng: np.random.Generator) -> None:
    value = getattr(owner, name)
    if isinstance(value, np.ndarray):
        changed = value.copy()
        if changed.dtype.kind == "f" and changed.size:
            some = rng.integers(changed.size, size=int(rng.integers(1, 4)))
            changed[some] = rng.choice(ODD_FLOATS)
        elif rng.random() < 0.5 and changed.size:
            changed[rng.integers(changed.size, size=8)] = 255
        else:
            changed = np.resize(changed, int(rng.choice([0, 1, 7, 2 * changed.size])))
        _, fields = TYPESTORE.fielddefs[owner.__msgtype__]
        is_array = dict(fields)[name][0].name == "ARRAY"
        object.__setattr__(owner, name, changed if not is_array else np.resize(changed, value.size))
    elif isinstance(value, list):
        object.__setattr__(owner, name, value[: int(rng.integers(len(value)))] + value[:1])
    elif isinstance(value, str):
        object.__setattr__(owner, name, str(rng.choice(ODD_TEXTS)))
    elif isinstance(value, bool):
        object.__setattr__(owner, name, not value)
    elif isinstance(value, float):
        object.__setattr__(owner, name, float(rng.choice(ODD_FLOATS)))
    else:
        limit = LIMITS[dict(TYPESTORE.fielddefs[owner.__msgtype__][1])[name][1][0]]
        object.__setattr__(owner, name, int(rng.choice([e for e in EXTREMES if e < limit])))


def mutate_files(bag: Path, rng: np.random.Generator) -> None:
    """Damage the storage file or metadata.yaml of a recording."""
    storage = next(file for file in bag.iterdir() if file.suffix != ".yaml")
    metadata = bag / "metadata.yaml"
    if rng.random() < 0.3:
        metadata.unlink()
    file = metadata if metadata.exists() and rng.random() < 0.3 else storage
    data = bytearray(file.read_bytes())
    mutations: list[Callable[[bytearray, np.random.Generator], None]]
    mutations = [_flip, _flip, _cut, _swap, _fill, _number]
    for _ in range(rng.integers(1, 3)):
        mutations[int(rng.integers(len(mutations)))](data, rng)
    file.write_bytes(data)


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(max(len(data), 1), size=int(rng.integers(1, 30))).tolist():
        if at < len(data):
            data[at] ^= 1 << int(rng.integers(8))


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data) + 1)) :]


def _swap(data: bytearray, rng: np.random.Generator) -> None:
    """Exchange two blocks of equal length, as a broken disk would."""
    size = min(int(rng.choice([16, 512, 4096])), len(data) // 3)
    first, second = (int(at) for at in rng.integers(len(data) - size + 1, size=2))
    one, other = data[first : first + size], data[second : second + size]
    data[first : first + size], data[second : second + size] = other, one


def _fill(data: bytearray, rng: np.random.Generator) -> None:
    size, at = int(rng.choice([4, 64, 512])), int(rng.integers(len(data) + 1))
    data[at : at + size] = bytes([int(rng.choice([0, 255]))]) * len(data[at : at + size])


def _number(data: bytearray, rng: np.random.Generator) -> None:
    """Overwrite a length with an extreme one."""
    at = int(rng.integers(max(len(data) - 8, 1)))
    data[at : at + 4] = struct.pack("<I", int(rng.choice(EXTREMES)))[: len(data) - at]
