"""Read ROS 2 bags (mcap, sqlite3) and ROS 1 bags without a ROS installation."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    ConnectionExtRosbag2,
    MessageDefinition,
    MessageDefinitionFormat,
    Qos,
    QosDurability,
)
from rosbags.rosbag1 import Reader as Ros1Reader
from rosbags.rosbag2 import Reader as Ros2Reader
from rosbags.rosbag2.metadata import parse_qos
from rosbags.typesys.msg import normalize_msgtype

from mono_depth_ros.bags.decoders import MessageDecoder, unpack_message
from mono_depth_ros.bags.mcap_stream import McapStream
from mono_depth_ros.bags.sqlite_stream import SqliteStream
from mono_depth_ros.bags.writer import offered_qos
from mono_depth_ros.config import load_yaml
from mono_depth_ros.errors import BagError, ConfigError

logger = logging.getLogger(__name__)

_STORAGE_SUFFIXES = (".mcap", ".db3", ".bag")
_DEFINITION_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}


class _Part(Protocol):
    """One readable storage: a rosbags reader or one of the front-to-back readers."""

    connections: list[Connection]

    def messages(self, topics: Collection[str] | None) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield (connection, log_time_ns, CDR bytes)."""

    def close(self) -> None:
        """Release files."""


class BagReader:
    """Context manager over one recording.

    Opens a rosbag2 folder (with or without metadata.yaml), a lone .mcap or .db3, or a ROS 1 .bag.
    ROS 1 messages are converted to CDR and to the attribute names of ROS 2. A damaged mcap or .db3
    gives every complete message before the damage; the files of a split recording that follow it
    are read all the same; a BagError that names all damage comes last.

    Args:
        path: the folder or file.

    Attributes:
        topics: topic name to message type, e.g. "sensor_msgs/msg/Image".
        counts: topic name to number of messages.
        definitions: message type to its definition text (empty when the bag carries none).
        qos: topic name to the QoS its publishers offered (empty when unknown).

    Raises:
        BagError: the path is missing, empty, or not a bag.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.topics: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.definitions: dict[str, str] = {}
        self.qos: dict[str, tuple[Qos, ...]] = {}
        self._decoder = MessageDecoder()
        self._parts: list[_Part] = []

    def __enter__(self) -> BagReader:
        self._parts = _open_parts(self.path, self._decoder)
        for connection in (c for part in self._parts for c in part.connections):
            self.topics.setdefault(connection.topic, connection.msgtype)
            self.counts[connection.topic] = (
                self.counts.get(connection.topic, 0) + connection.msgcount
            )
            self.definitions.setdefault(connection.msgtype, connection.msgdef.data)
            if not self.qos.get(connection.topic):
                self.qos[connection.topic] = _offered(connection)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for part in self._parts:
            part.close()
        self._parts = []

    def messages(self, topics: Collection[str] | None = None) -> Iterator[tuple[str, int, Any]]:
        """Yield (topic, log_time_ns, message) in recorded order.

        Args:
            topics: names to read; None reads all.

        Raises:
            BagError: a topic is not in the bag or a message cannot be decoded; or, after all that
                can be read, the bag is damaged.
        """
        for connection, log_time_ns, cdr in self._records(topics):
            try:
                message = self._decoder.to_message(connection.msgtype, connection.msgdef, cdr)
            except BagError as error:
                where = f"{self.path}: {connection.topic} at {log_time_ns} ns"
                raise BagError(f"{where}: {error}") from None
            yield connection.topic, log_time_ns, message

    def raw_messages(
        self, topics: Collection[str] | None = None
    ) -> Iterator[tuple[str, str, int, bytes]]:
        """Yield (topic, msgtype, log_time_ns, CDR bytes); otherwise as `messages`."""
        for connection, log_time_ns, cdr in self._records(topics):
            yield connection.topic, connection.msgtype, log_time_ns, cdr

    def damage(self, topics: Collection[str] | None = None) -> str:
        """Read through topics (None: all); return what of them cannot be read, empty for nothing.

        The recording goes by its name, without the folder it lies in.
        """
        try:
            for _ in self._records(topics):
                pass
        except BagError as error:
            return self.shortened(error)
        return ""

    def shortened(self, error: BagError) -> str:
        """Return the text of an error with the recording's name in place of its path."""
        return str(error).replace(str(self.path), self.path.name)

    def decode(self, topic: str, msgtype: str, cdr: bytes) -> Any:
        """Return the message of bytes that `raw_messages` gave.

        Raises:
            BagError: the bytes do not fit the type.
        """
        for connection in (c for part in self._parts for c in part.connections):
            if (connection.topic, connection.msgtype) == (topic, msgtype):
                return self._decoder.to_message(msgtype, connection.msgdef, cdr)
        raise BagError(f"{self.path} has no topic {topic} of type {msgtype}")

    def _records(self, topics: Collection[str] | None) -> Iterator[tuple[Connection, int, bytes]]:
        if not self._parts:
            raise BagError(f"{self.path} is not open; use BagReader in a `with` statement")
        unknown = sorted(set(topics or ()) - set(self.topics))
        if unknown:
            raise BagError(
                f"{self.path} has no topic {', '.join(unknown)}; it has {describe(self.topics)}"
            )
        damage: list[BagError] = []
        for part in self._parts:
            try:
                yield from part.messages(topics)
            except BagError as error:
                damage.append(error)
        if damage:
            raise BagError("; ".join(map(str, damage))) from damage[0]


def describe(topics: dict[str, str]) -> str:
    """Return topics with their types in one line, for error messages."""
    return (
        ", ".join(f"{name} ({msgtype})" for name, msgtype in sorted(topics.items())) or "no topics"
    )


class _RosbagsPart:
    """A storage that the rosbags library opened."""

    def __init__(self, reader: Ros1Reader | Ros2Reader, decoder: MessageDecoder) -> None:
        self._reader = reader
        self._decoder = decoder
        # A damaged database gives numbers and nothing for texts.
        if not all(isinstance(c.topic, str) and c.topic for c in reader.connections):
            raise BagError(f"topics are named {[c.topic for c in reader.connections]}")
        # Some recorders write types without their middle part, sensor_msgs/Image.
        self.connections = [
            c._replace(msgtype=normalize_msgtype(c.msgtype)) for c in reader.connections
        ]
        self._by_id = {connection.id: connection for connection in self.connections}

    def messages(self, topics: Collection[str] | None) -> Iterator[tuple[Connection, int, bytes]]:
        chosen = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not chosen:
            return
        source: Any = self._reader.messages(chosen)
        for count in range(2**63):
            try:
                source_connection, log_time_ns, data = next(source)
                _require_record(log_time_ns, data)
                data = unpack_message(data)
            except StopIteration:
                return
            except BagError:  # a missing library is no damage
                raise
            # Damaged bytes surface as whatever exception the parser trips over, not as one class.
            except Exception as error:
                where = f"{self._reader.path} is damaged after {count} messages"
                raise BagError(f"{where}: {error!r}; they were read") from error
            connection = self._by_id[source_connection.id]
            if isinstance(connection.ext, ConnectionExtRosbag1):
                data = self._decoder.ros1_to_cdr(connection.msgtype, connection.msgdef, data)
            yield connection, log_time_ns, data

    def close(self) -> None:
        self._reader.close()


class _StreamPart:
    """A storage that is read from front to back because its index is missing or not usable."""

    def __init__(self, stream: McapStream | SqliteStream) -> None:
        self._stream = stream
        self.connections = [
            Connection(
                id=number,
                topic=channel.topic,
                msgtype=normalize_msgtype(channel.msgtype),
                msgdef=MessageDefinition(
                    _DEFINITION_FORMATS.get(channel.encoding, MessageDefinitionFormat.NONE),
                    channel.definition,
                ),
                digest="",
                msgcount=stream.counts[channel.topic],
                ext=ConnectionExtRosbag2("cdr", _parse_qos(channel.qos_yaml)),
                owner=stream,
            )
            for number, channel in enumerate(stream.channels)
        ]

    def messages(self, topics: Collection[str] | None) -> Iterator[tuple[Connection, int, bytes]]:
        by_topic = {(c.topic, c.msgtype): c for c in self.connections}
        for channel, log_time_ns, data in self._stream.messages():
            if topics is None or channel.topic in topics:
                connection = by_topic[channel.topic, normalize_msgtype(channel.msgtype)]
                yield connection, log_time_ns, unpack_message(data)

    def close(self) -> None:
        """Hold nothing open between reads."""


class _LostPart:
    """A file of a split recording of which nothing can be read."""

    def __init__(self, error: BagError) -> None:
        self.error = error
        self.connections: list[Connection] = []

    def messages(self, _topics: Collection[str] | None) -> Iterator[tuple[Connection, int, bytes]]:
        raise self.error

    def close(self) -> None:
        """Nothing is open."""


def _open_parts(path: Path, decoder: MessageDecoder) -> list[_Part]:
    if not path.exists():
        raise BagError(f"no bag at {path}; pass a rosbag2 folder, a .mcap, a .db3 or a ROS 1 .bag")
    if path.is_file():
        return [_open_file(path, decoder)]
    files = _storage_files(path)
    # Damage in one of several files must not end the reading of the others.
    alone = len(files) == 1 or any(file.suffix not in _STORAGE_SUFFIXES for file in files)
    try:
        if alone and (path / "metadata.yaml").exists():
            return [_open_rosbags(path, decoder)]
    except BagError as error:
        logger.warning("%s; reading its storage files one by one", error)
    parts = [_open_split(file, decoder) for file in files]
    lost = [part for part in parts if isinstance(part, _LostPart)]
    if len(lost) == len(parts):
        raise lost[0].error
    return parts


def _open_split(file: Path, decoder: MessageDecoder) -> _Part:
    try:
        if not file.exists():
            raise BagError(
                f"{file.parent} lacks {file.name}, which its metadata.yaml lists; copy it too"
            )
        return _open_file(file, decoder)
    except BagError as error:
        return _LostPart(error)


def _storage_files(folder: Path) -> list[Path]:
    """Return the storage files of a folder in recording order."""
    try:
        information = load_yaml(folder / "metadata.yaml")["rosbag2_bagfile_information"]
        # Older recorders wrote the folder's name in front.
        files = [folder / Path(name).name for name in information["relative_file_paths"]]
    except (ConfigError, KeyError, TypeError):
        found = [file for file in folder.iterdir() if file.suffix in _STORAGE_SUFFIXES]
        # name_10.mcap comes after name_9.mcap.
        files = sorted(found, key=lambda file: [int(n) for n in re.findall(r"\d+", file.stem)])
    if not files:
        raise BagError(
            f"{folder} is no bag: it holds no metadata.yaml and no .mcap, .db3 or .bag file"
        )
    return files


def _open_file(path: Path, decoder: MessageDecoder) -> _Part:
    if path.suffix not in _STORAGE_SUFFIXES:
        raise BagError(f"{path} is no bag; pass a rosbag2 folder, a .mcap, a .db3 or a ROS 1 .bag")
    try:
        return _open_rosbags(path, decoder)
    except BagError:
        if path.suffix == ".bag":
            raise
        stream = McapStream(path) if path.suffix == ".mcap" else SqliteStream(path)
        if stream.damage:
            logger.warning("%s is damaged: %s; reading what is before it", path, stream.damage)
        if isinstance(stream, McapStream) and stream.foreign:
            logger.warning("%s: topics that are not in cdr are left out: %s", path, stream.foreign)
        return _StreamPart(stream)


def _open_rosbags(path: Path, decoder: MessageDecoder) -> _Part:
    try:
        reader = Ros1Reader(path) if path.suffix == ".bag" else Ros2Reader(path)
        reader.open()
        part = _RosbagsPart(reader, decoder)
    # Damaged bytes surface as whatever exception the parser trips over, not as one class.
    except Exception as error:
        raise BagError(f"cannot open {path}: {error}") from error
    return part


def _require_record(log_time_ns: Any, data: Any) -> None:
    # A damaged database gives whatever type it likes.
    if not isinstance(log_time_ns, int) or not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"a record is {type(data).__name__} at {log_time_ns!r}")


def _parse_qos(text: str) -> list[Qos]:
    try:
        return list(parse_qos(text))
    except Exception:  # damaged text may fail anywhere; without it QoS is unknown
        return []


def _offered(connection: Connection) -> tuple[Qos, ...]:
    if isinstance(connection.ext, ConnectionExtRosbag2):
        return tuple(connection.ext.offered_qos_profiles)
    durability = (
        QosDurability.TRANSIENT_LOCAL if connection.ext.latching else QosDurability.VOLATILE
    )
    return (offered_qos(durability),)
