"""Messages of one topic, read forward once."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.errors import BagError, DecodingError

_REORDER_WINDOW = 64


class MessageSequence:
    """The wanted messages of one topic, read forward once; a context manager.

    Positions may be asked for out of order by up to `_REORDER_WINDOW` messages.

    Args:
        path: the recording.
        topic: which messages.
        positions: which of them will be asked for, counted in recorded order.
        beside: topics that were read together with it when the positions were counted. How much of
            a damaged file can be read may depend on them; leave them out for a whole recording.
    """

    def __init__(
        self, path: Path, topic: str, positions: Collection[int], beside: Collection[str] = ()
    ) -> None:
        self._reader, self._topic = BagReader(path), topic
        self._read = {topic, *beside}
        self._wanted = frozenset(positions)
        self._kept: dict[int, tuple[str, str, bytes]] = {}

    def __enter__(self) -> MessageSequence:
        self._reader.__enter__()
        records = self._reader.raw_messages(self._read)
        self._records = enumerate(record for record in records if record[0] == self._topic)
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.__exit__(None, None, None)

    def message(self, position: int) -> Any:
        """Return the message recorded at `position` among those of the topic.

        Raises:
            DecodingError: its bytes do not fit its type, it lies behind a damage of the recording,
                or it was passed too long ago.
        """
        while position not in self._kept:
            try:
                index, (topic, msgtype, _, cdr) = next(self._records)
            except StopIteration:
                raise DecodingError(
                    f"message {position} on {self._topic} is out of order by more than "
                    f"{_REORDER_WINDOW} messages"
                ) from None
            except BagError as error:
                raise DecodingError(f"message {position} on {self._topic}: {error}") from error
            # What is passed by a long jump would be forgotten below anyway.
            if index in self._wanted and index >= position - _REORDER_WINDOW:
                self._kept[index] = topic, msgtype, cdr
        record = self._kept.pop(position)
        for passed in [kept for kept in self._kept if kept < position - _REORDER_WINDOW]:
            del self._kept[passed]
        try:
            return self._reader.decode(*record)
        except BagError as error:
            raise DecodingError(f"{self._topic}: {error}") from error
