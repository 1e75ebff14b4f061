"""Read an mcap from front to back without its index, so that a cut file gives what it has.

The format is described at https://mcap.dev/spec. A file is a magic number and then records: one
byte operation code, eight bytes length, content. A chunk is a record whose content is again
records, maybe compressed. The index lies at the end, so a recording that was cut off has none.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from mono_depth_ros.bags.compression import decompressor
from mono_depth_ros.errors import BagError

MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END = 1, 2, 3, 4, 5, 6, 15
_RECORD_HEAD = struct.Struct("<BQ")
_MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic of an mcap file; `definition` is the type's text, `encoding` the text's kind."""

    topic: str
    msgtype: str
    definition: str
    encoding: str
    qos_yaml: str


class _Damage(Exception):
    """The bytes stop making sense here; the text says how."""


class McapStream:
    """The messages of one mcap file in the order they were recorded.

    Attributes:
        channels: what the readable part of the file declares, without repetitions.
        counts: complete messages per topic.
        foreign: topics that are left out, and how they are encoded instead of cdr (ROS 2).
        damage: what is wrong with the file, None when it is whole.

    Raises:
        BagError: the file cannot be opened, does not start like an mcap, or holds no topic in cdr.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.channels: list[Channel] = []
        self.counts: Counter[str] = Counter()
        self.damage: str | None = None
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self.foreign: dict[str, str] = {}
        self._by_id: dict[int, Channel | None] = {}
        try:
            for channel, _, _ in self._walk():
                self.counts[channel.topic] += 1
        except _Damage as damage:
            self.damage = str(damage)
        if self.foreign and not self.channels:
            topic, encoding = next(iter(self.foreign.items()))
            raise BagError(
                f"{self.path}: {topic} is encoded as {encoding!r}, only cdr (ROS 2) is read; "
                "convert the recording to a ROS 2 bag"
            )

    def messages(self) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield (channel, log_time_ns, data) of every complete message.

        Raises:
            BagError: after the last complete message, when the file is damaged.
        """
        try:
            yield from self._walk()
        except _Damage as damage:
            total = sum(self.counts.values())
            raise BagError(
                f"{self.path} is damaged: {damage}; the {total} messages before it were read"
            ) from None

    def _walk(self) -> Iterator[tuple[Channel, int, bytes]]:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise BagError(f"cannot open {self.path}: {error.strerror}") from error
        with stream:
            if stream.read(len(MAGIC)) != MAGIC:
                raise BagError(f"{self.path} is not an mcap file: it does not start with its magic")
            size = self.path.stat().st_size
            for code, content, missing in _records(stream, size):
                if code == _CHUNK:
                    yield from self._chunk_messages(content, missing)
                if missing:
                    raise _Damage(f"the record at its end lacks {missing} bytes (cut off)")
                if code == _DATA_END:
                    stream.seek(max(size - len(MAGIC), 0))
                    if stream.read() != MAGIC:
                        raise _Damage("its index at the end is missing (cut off)")
                    return
                if code != _CHUNK:
                    yield from self._record_messages(code, content)
        raise _Damage("it ends without its index (the recorder was killed)")

    def _chunk_messages(self, content: bytes, missing: int) -> Iterator[tuple[Channel, int, bytes]]:
        data, expected, crc = _decompressed(content, missing)
        if not missing and (len(data) != expected or (crc and crc32(data) != crc)):
            raise _Damage("a chunk does not match its size or checksum")
        for code, inner, inner_missing in _records(io.BytesIO(data), len(data)):
            if inner_missing:
                if missing:
                    return
                raise _Damage(f"a record in a chunk lacks {inner_missing} bytes")
            yield from self._record_messages(code, inner)

    def _record_messages(self, code: int, content: bytes) -> Iterator[tuple[Channel, int, bytes]]:
        try:
            if code == _SCHEMA:
                self._read_schema(content)
            elif code == _CHANNEL:
                self._read_channel(content)
            elif code == _MESSAGE:
                channel_id, _, log_time_ns, _ = _MESSAGE_HEAD.unpack_from(content)
                channel = self._by_id[channel_id]
                if channel is not None:
                    yield channel, log_time_ns, content[_MESSAGE_HEAD.size :]
        except (struct.error, UnicodeDecodeError, KeyError) as error:
            raise _Damage(f"a record of kind {code} is not readable ({error!r})") from error

    def _read_schema(self, content: bytes) -> None:
        fields = _Fields(content)
        schema_id = fields.number("<H")
        self._schemas[schema_id] = (fields.text(), fields.text(), fields.text())

    def _read_channel(self, content: bytes) -> None:
        fields = _Fields(content)
        channel_id, schema_id = fields.number("<H"), fields.number("<H")
        topic, message_encoding = fields.text(), fields.text()
        if message_encoding != "cdr":
            self.foreign[topic], self._by_id[channel_id] = message_encoding, None
            return
        metadata = _Fields(fields.block())
        entries = dict(iter(lambda: metadata.pair(), None))
        name, encoding, definition = self._schemas.get(schema_id, ("", "", ""))
        channel = Channel(
            topic, name, definition, encoding, entries.get("offered_qos_profiles", "")
        )
        self._by_id[channel_id] = channel
        # A damaged file may declare one id several times.
        if channel not in self.channels:
            self.channels.append(channel)


class _Fields:
    """Reads the length-prefixed fields of one record in order."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return int(value)

    def block(self) -> bytes:
        size = self.number("<I")
        if self.at + size > len(self.data):
            raise struct.error(f"field of {size} bytes in {len(self.data) - self.at}")
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> str:
        return self.block().decode()

    def pair(self) -> tuple[str, str] | None:
        return None if self.at >= len(self.data) else (self.text(), self.text())


def _records(stream: BinaryIO, size: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield (operation code, content, missing bytes); a missing count above zero ends the file."""
    while stream.tell() < size:
        head = stream.read(_RECORD_HEAD.size)
        if len(head) < _RECORD_HEAD.size:
            yield 0, b"", _RECORD_HEAD.size - len(head)
            return
        code, length = _RECORD_HEAD.unpack(head)
        # A damaged record may announce any length, so no more is asked for than is there.
        content = stream.read(min(length, size - stream.tell()))
        yield code, content, length - len(content)


def _decompressed(content: bytes, missing: int) -> tuple[bytes, int, int]:
    """Return (records, expected size, crc) of a chunk; of a cut chunk what can be had."""
    fields = _Fields(content)
    try:
        _, _, expected, crc = _CHUNK_HEAD.unpack_from(content)
        fields.at = _CHUNK_HEAD.size
        compression = fields.text()
        fields.number("<Q")
    except (struct.error, UnicodeDecodeError) as error:
        if missing:
            return b"", 0, 0
        raise _Damage("a chunk has no readable head") from error
    packed = content[fields.at :]
    if not compression:
        return packed, expected, crc
    decompress = decompressor(compression)
    if decompress is None:
        raise _Damage(f"a chunk is compressed with {compression!r}; only zstd and lz4 are read")
    try:
        return decompress(packed), expected, crc
    except Exception as error:  # the two libraries share no error class
        raise _Damage(f"a {compression} chunk cannot be unpacked ({error})") from error
