"""Write rosbag2 recordings (mcap or sqlite3) without a ROS installation."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from mono_depth_ros.bags import messages
from mono_depth_ros.bags.decoders import typestore_of
from mono_depth_ros.errors import BagError
from mono_depth_ros.geometry import Intrinsics

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_BAG_VERSION: Final = 9
_STORAGE_ERRORS = (OSError, WriterError, sqlite3.Error)
_FOREVER = QosTime(9223372036, 854775807)


def offered_qos(durability: QosDurability) -> Qos:
    """Return reliable, keep-last QoS of the given durability, as `ros2 bag play` will offer it."""
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=10,
        reliability=QosReliability.RELIABLE,
        durability=durability,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )


class BagWriter:
    """Context manager that writes one rosbag2 folder.

    The bag grows under a temporary name beside its destination and is renamed when the `with`
    block ends without an error; after an error nothing is left. A message's stamp is also its log
    time.

    Args:
        path: folder to create.
        storage: "mcap" or "sqlite3".

    Raises:
        BagError: the storage is unknown, `path` exists already, or the disk refuses to write.
    """

    def __init__(self, path: str | Path, storage: str = "mcap") -> None:
        if storage not in STORAGES:
            raise BagError(f"no bag storage {storage!r}; choose from {', '.join(STORAGES)}")
        self.path = Path(path)
        self._storage = STORAGES[storage]
        self._connections: dict[tuple[str, str], Connection] = {}
        self._workplace: Path | None = None
        self._writer: Writer | None = None

    def __enter__(self) -> BagWriter:
        if self.path.exists():
            raise BagError(f"{self.path} exists already; choose another name or remove it")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            prefix = f".{self.path.name}.unfinished-"
            self._workplace = Path(tempfile.mkdtemp(prefix=prefix, dir=self.path.parent))
            # rosbags names the storage file after the folder, so that has its final name already.
            folder = self._workplace / self.path.name
            self._writer = Writer(folder, version=_BAG_VERSION, storage_plugin=self._storage)
            self._writer.open()
        except _STORAGE_ERRORS as error:
            self._discard()
            reason = error.strerror if isinstance(error, OSError) else error
            raise BagError(
                f"cannot write {self.path}: {reason}; choose a writable folder"
            ) from error
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        writer = self._opened()
        try:
            if error_type is not None:
                writer.abort()
                return
            writer.close()
            writer.path.rename(self.path)
        except _STORAGE_ERRORS as failure:
            raise BagError(
                f"cannot finish {self.path}: {failure}; nothing was written"
            ) from failure
        finally:
            self._discard()

    def write_image(
        self, topic: str, stamp_ns: int, frame_id: str, rgb: npt.NDArray[np.uint8]
    ) -> None:
        """Append a sensor_msgs/Image rgb8 from (H, W, 3) uint8."""
        self.write_message(topic, stamp_ns, messages.image_message(stamp_ns, frame_id, rgb))

    def write_depth(
        self, topic: str, stamp_ns: int, frame_id: str, depth_m: npt.NDArray[np.floating]
    ) -> None:
        """Append a sensor_msgs/Image 32FC1 from (H, W) metres, NaN = no depth."""
        self.write_message(topic, stamp_ns, messages.depth_message(stamp_ns, frame_id, depth_m))

    def write_labels(
        self, topic: str, stamp_ns: int, frame_id: str, labels: npt.NDArray[np.uint8]
    ) -> None:
        """Append a sensor_msgs/Image mono8 from class numbers (H, W) uint8."""
        self.write_message(topic, stamp_ns, messages.labels_message(stamp_ns, frame_id, labels))

    def write_camera_info(
        self, topic: str, stamp_ns: int, frame_id: str, camera: Intrinsics
    ) -> None:
        """Append a sensor_msgs/CameraInfo of a rectified camera; the fourth column of P is zero."""
        self.write_message(
            topic, stamp_ns, messages.camera_info_message(stamp_ns, frame_id, camera)
        )

    def write_points(
        self, topic: str, stamp_ns: int, frame_id: str, points: npt.NDArray[np.void]
    ) -> None:
        """Append a sensor_msgs/PointCloud2 from a structured array, (N,) or organised (H, W)."""
        self.write_message(topic, stamp_ns, messages.cloud_message(stamp_ns, frame_id, points))

    def write_transforms(
        self,
        topic: str,
        stamp_ns: int,
        transforms: Iterable[tuple[str, str, npt.NDArray[np.floating]]],
    ) -> None:
        """Append a tf2_msgs/TFMessage from (parent, child, parent_from_child (4, 4)) tuples."""
        self.write_message(topic, stamp_ns, messages.transforms_message(stamp_ns, transforms))

    def write_message(self, topic: str, log_time_ns: int, message: Any) -> None:
        """Append a message object of the rosbags Jazzy type store."""
        msgtype = message.__msgtype__
        self.write_raw(
            topic, msgtype, log_time_ns, messages.TYPESTORE.serialize_cdr(message, msgtype)
        )

    def write_raw(
        self,
        topic: str,
        msgtype: str,
        log_time_ns: int,
        cdr: bytes | memoryview,
        *,
        definition: str = "",
        qos: Sequence[Qos] = (),
    ) -> None:
        """Append an already serialised message.

        Args:
            topic: absolute topic name.
            msgtype: e.g. "sensor_msgs/msg/Image".
            log_time_ns: receive time of the record, nanoseconds.
            cdr: CDR bytes with the four-byte encapsulation header.
            definition: the MSG or IDL text with all dependencies, for types that ROS 2 Jazzy lacks.
            qos: offered QoS; default reliable and volatile, transient-local for /tf_static.

        Raises:
            BagError: the type is unknown and comes without a definition, or writing failed.
        """
        writer = self._opened()
        try:
            connection = self._connections.get((topic, msgtype))
            if connection is None:
                connection = self._add_topic(topic, msgtype, definition, qos)
                self._connections[topic, msgtype] = connection
            writer.write(connection, log_time_ns, cdr)
        except _STORAGE_ERRORS as error:
            raise BagError(f"cannot write {topic} to {self.path}: {error}") from error

    def _add_topic(
        self, topic: str, msgtype: str, definition: str, qos: Sequence[Qos]
    ) -> Connection:
        latched = topic == "/tf_static" or topic.endswith("/tf_static")
        durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
        return self._opened().add_connection(
            topic,
            msgtype,
            typestore=typestore_of(msgtype, definition),
            offered_qos_profiles=list(qos) or [offered_qos(durability)],
        )

    def _opened(self) -> Writer:
        if self._writer is None:
            raise BagError(
                f"{self.path} is not open for writing; use BagWriter in a `with` statement"
            )
        return self._writer

    def _discard(self) -> None:
        if self._workplace is not None:
            shutil.rmtree(self._workplace, ignore_errors=True)
        self._workplace = self._writer = None
