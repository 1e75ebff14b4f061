"""Read a damaged rosbag2 database row by row, without its index, so that it gives what it has."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mono_depth_ros.bags.mcap_stream import Channel
from mono_depth_ros.errors import BagError


class SqliteStream:
    """The messages of one .db3 in the order they were recorded.

    Attributes:
        channels: its topics.
        counts: readable messages per topic.
        damage: what is wrong with the file, None when all rows can be read.

    Raises:
        BagError: the file cannot be opened or its list of topics cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.damage: str | None = None
        try:
            with closing(self._connect()) as database:
                self._by_id = _read_topics(database)
        except sqlite3.Error as error:
            raise BagError(f"cannot open {path}: {error}; nothing of it can be read") from error
        self.channels = list(self._by_id.values())
        try:
            for channel, _, _ in self._walk():
                self.counts[channel.topic] += 1
        except (sqlite3.Error, TypeError, KeyError) as error:
            self.damage = f"after {sum(self.counts.values())} messages ({error})"

    def messages(self) -> Iterator[tuple[Channel, int, bytes]]:
        """Yield (channel, log_time_ns, data) of every message before the damage.

        Raises:
            BagError: after the last readable message, when the file is damaged.
        """
        try:
            yield from self._walk()
        except (sqlite3.Error, TypeError, KeyError) as error:
            total = sum(self.counts.values())
            raise BagError(
                f"{self.path} is damaged: {error}; the {total} messages before it were read"
            ) from error

    def _connect(self) -> sqlite3.Connection:
        # Nobody writes to it, so nothing beside it is looked at or created.
        uri = f"file:{quote(str(self.path.absolute()))}?mode=ro&immutable=1"
        database = sqlite3.connect(uri, uri=True)
        # Without it SQLite reads nothing of a file that is shorter than its head says.
        database.execute("PRAGMA writable_schema = ON")
        database.text_factory = lambda text: text.decode(errors="replace")
        return database

    def _walk(self) -> Iterator[tuple[Channel, int, bytes]]:
        query = "SELECT topic_id, timestamp, data FROM messages NOT INDEXED"
        with closing(self._connect()) as database:
            for topic_id, log_time_ns, data in database.execute(query):
                if not isinstance(log_time_ns, int) or not isinstance(data, bytes):
                    raise TypeError(f"a row holds {type(data).__name__} at {log_time_ns!r}")
                yield self._by_id[topic_id], log_time_ns, data


def _read_topics(database: sqlite3.Connection) -> dict[Any, Channel]:
    definitions: dict[Any, tuple[str, str]] = {}
    with suppress(sqlite3.Error):  # recorders before Iron wrote none
        columns = "topic_type, encoding, encoded_message_definition"
        for name, encoding, text in database.execute(f"SELECT {columns} FROM message_definitions"):
            definitions[name] = str(text), str(encoding)
    rows = database.execute("SELECT id, name, type FROM topics NOT INDEXED")
    return {
        number: Channel(name, msgtype, *definitions.get(msgtype, ("", "")), "")
        for number, name, msgtype in rows
        if isinstance(name, str) and isinstance(msgtype, str)
    }
