"""Serialised messages to Python objects, by the definitions that travel in the bag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from rosbags.interfaces import MessageDefinition, MessageDefinitionFormat, Nodetype
from rosbags.typesys import (
    Stores,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

from mono_depth_ros.bags.compression import decompress_zstd
from mono_depth_ros.bags.messages import TYPESTORE
from mono_depth_ros.errors import BagError

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_IDL_SEPARATOR = "=" * 80 + "\n"
_IDL_MODULE = re.compile(r"^\s*module\s+\w+\s*\{", re.MULTILINE)


def _with_parts(names: Iterable[str]) -> Iterator[str]:
    """Yield message types and all that they are made of."""
    for name in names:
        yield name
        entries: list[Any] = [entry for _, entry in TYPESTORE.fielddefs[name][1]]
        # Arrays and sequences hold another entry and their length.
        many = (Nodetype.ARRAY, Nodetype.SEQUENCE)
        single = [detail[0] if kind in many else (kind, detail) for kind, detail in entries]
        yield from _with_parts(detail for kind, detail in single if kind is Nodetype.NAME)


# What this package takes fields from; a damaged definition may lack them.
_READ = frozenset(
    _with_parts(
        [
            *(f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo")),
            "sensor_msgs/msg/PointCloud2",
            "tf2_msgs/msg/TFMessage",
            "nav_msgs/msg/Odometry",
        ]
    )
)


class MessageDecoder:
    """Deserialises the messages of one bag.

    Every type gets a store of its own, so that a broken definition costs one topic alone.
    """

    def __init__(self) -> None:
        self._stores: dict[tuple[str, MessageDefinition], Typestore] = {}

    def to_message(self, msgtype: str, definition: MessageDefinition, cdr: bytes) -> Any:
        """Return the message object.

        Raises:
            BagError: the type is unknown or the bytes do not fit it.
        """
        store = self._store(msgtype, definition)
        try:
            return store.deserialize_cdr(cdr, msgtype)
        # Damaged bytes and definitions surface as whatever the generated code trips over.
        except Exception as error:
            raise BagError(f"{len(cdr)} bytes are no {msgtype}: {error!r}") from error

    def ros1_to_cdr(self, msgtype: str, definition: MessageDefinition, data: bytes) -> bytes:
        """Return a ROS 1 serialised message as CDR.

        Raises:
            BagError: the type is unknown or the bytes do not fit it.
        """
        store = self._store(msgtype, definition)
        try:
            return bytes(store.ros1_to_cdr(data, msgtype))
        except Exception as error:  # as above
            raise BagError(f"{len(data)} bytes are no ROS 1 {msgtype}: {error!r}") from error

    def _store(self, msgtype: str, definition: MessageDefinition) -> Typestore:
        key = (msgtype, definition)
        if key not in self._stores:
            self._stores[key] = _build_store(msgtype, definition)
        return self._stores[key]


def unpack_message(data: bytes) -> bytes:
    """Undo message-level zstd compression.

    A bag's metadata.yaml says whether messages are compressed, a lone storage file does not; CDR
    begins with a zero byte and zstd with its magic, so the bytes tell.

    Raises:
        BagError: they cannot be unpacked.
    """
    if data[:4] != _ZSTD_MAGIC:
        return data
    try:
        return decompress_zstd(data)
    except BagError:  # the library is missing
        raise
    except Exception as error:  # the library's versions share no error class
        raise BagError(f"a zstd message of {len(data)} bytes is damaged: {error}") from error


def typestore_of(msgtype: str, definition: str) -> Typestore:
    """Return a store that knows a type well enough to record it.

    Args:
        msgtype: e.g. "sensor_msgs/msg/Image".
        definition: MSG or IDL text with all dependencies; unused for types of ROS 2 Jazzy.

    Raises:
        BagError: the type is neither known nor defined by the text.
    """
    if msgtype in TYPESTORE.fielddefs:
        return TYPESTORE
    if not definition:
        raise BagError(f"ROS 2 Jazzy lacks {msgtype} and it comes without a definition; pass it")
    is_idl = _IDL_MODULE.search(definition) is not None
    kind = MessageDefinitionFormat.IDL if is_idl else MessageDefinitionFormat.MSG
    store = _build_store(msgtype, MessageDefinition(kind, definition))
    try:
        store.generate_msgdef(msgtype, ros_version=2)
        store.hash_rihs01(msgtype)
    except Exception as error:  # an incomplete definition fails in any part of the generator
        raise BagError(f"the definition of {msgtype} is not complete: {error!r}") from error
    return store


# A bag is opened several times over, and what is built here generates and compiles code.
@lru_cache(maxsize=128)
def _build_store(msgtype: str, definition: MessageDefinition) -> Typestore:
    if definition.format is MessageDefinitionFormat.NONE:
        if msgtype not in TYPESTORE.fielddefs:
            raise BagError(f"neither the bag nor ROS 2 Jazzy defines {msgtype}; record it as mcap")
        return TYPESTORE
    store = get_typestore(Stores.EMPTY)
    try:
        types = _parse(msgtype, definition)
        # ROS 1 wrote CameraInfo's K, D, R, P in capitals and a `seq` in Header. Where nothing else
        # differs, the ROS 2 definition is taken: every bag gives the same attributes.
        known = {key: TYPESTORE.fielddefs[key] for key in types if _same_layout(key, types[key])}
        for name in _READ.intersection(types):
            _require_fields(name, types[name])
        store.register({**types, **known})
    except Exception as error:  # a damaged definition fails in any part of the parser
        raise BagError(f"the definition of {msgtype} is not readable: {error}") from error
    return store


def _parse(msgtype: str, definition: MessageDefinition) -> dict[str, Any]:
    if definition.format is MessageDefinitionFormat.MSG:
        return dict(get_types_from_msg(definition.data, msgtype))
    text, types = definition.data, {}
    if not text.startswith(f"{_IDL_SEPARATOR}IDL: "):
        return dict(get_types_from_idl(text))
    for part in text.split(_IDL_SEPARATOR)[1:]:
        types.update(get_types_from_idl(part.split("\n", 1)[1]))
    return types


def _require_fields(name: str, definition: Any) -> None:
    theirs = {field if len(field) > 1 else field.lower() for field, _ in definition[1]}
    missing = [field for field, _ in TYPESTORE.fielddefs[name][1] if field not in theirs]
    if missing:
        raise BagError(f"{name} has no {', '.join(missing)}")


def _same_layout(name: str, definition: Any) -> bool:
    if name not in TYPESTORE.fielddefs:
        return False
    ours = [(field.lower(), kind) for field, kind in TYPESTORE.fielddefs[name][1]]
    theirs = [(field.lower(), kind) for field, kind in definition[1]]
    if name == "std_msgs/msg/Header":
        theirs = [field for field in theirs if field[0] != "seq"]
    return ours == theirs
