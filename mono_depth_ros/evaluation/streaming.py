"""Images, truths and depths of three live streams brought together, in bounded memory."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from mono_depth_ros.errors import ConfigError
from mono_depth_ros.evaluation.association import match_nearest

T = TypeVar("T")

LATE = "older than what is decided"
EVICTED = "waited too long for its partner"


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """An image with its truth, and the depth that was computed from it.

    Attributes:
        stamp_ns: the image's stamp.
        truth_stamp_ns: the truth's stamp.
        image: as it was added.
        truth: as it was added.
        depth: as it was added; None where no depth came for this image.
    """

    stamp_ns: int
    truth_stamp_ns: int
    image: T
    truth: T
    depth: T | None


class StreamMatcher(Generic[T]):
    """Pairs images with truths as `match_nearest` pairs those of a whole recording.

    The pair of an image is final once both streams are twice the tolerance past it, because nothing
    farther away can change it. A depth belongs to the image of its stamp; a later depth says that
    none will come any more. Each stream is expected in the order of its stamps.

    Args:
        tolerance_ns: largest distance between the stamps of an image and its truth.
        most_waiting: messages that may wait per stream; beyond it the oldest goes.

    Attributes:
        images: how many came, each stamp once.
        truths: likewise.
        pairs: how many images have a truth, as far as decided.
        dropped: reason to number of messages that were left out.

    Raises:
        ConfigError: fewer than two may wait.
    """

    def __init__(self, tolerance_ns: int, most_waiting: int) -> None:
        if most_waiting < 2:
            raise ConfigError(f"most_waiting is {most_waiting}; it must be 2 or more")
        self._tolerance_ns, self._most = tolerance_ns, most_waiting
        self._images: _Stream[T] = _Stream()
        self._truths: _Stream[T] = _Stream()
        self._depths: _Stream[T] = _Stream()
        # Pairs that wait for their depth, oldest first.
        self._pairs: list[tuple[int, int, T, T]] = []
        self._decided_ns = -1
        self.images = self.truths = self.pairs = 0
        self.dropped: Counter[str] = Counter()

    def add_image(self, stamp_ns: int, image: T) -> None:
        """Add what is known of an image."""
        if self._accepts(self._images, stamp_ns, self._decided_ns):
            self._images.insert(stamp_ns, image)
            self.images += 1

    def add_truth(self, stamp_ns: int, truth: T) -> None:
        """Add a LiDAR sweep."""
        if self._accepts(self._truths, stamp_ns, self._decided_ns - self._tolerance_ns):
            self._truths.insert(stamp_ns, truth)
            self.truths += 1

    def add_depth(self, stamp_ns: int, depth: T) -> None:
        """Add a depth image."""
        if self._accepts(self._depths, stamp_ns, -1):
            self._depths.insert(stamp_ns, depth)

    def take(self) -> Iterator[Match[T]]:
        """Yield what is complete by now, in the order of the images."""
        past_ns = min(self._images.newest_ns, self._truths.newest_ns) - 2 * self._tolerance_ns
        self._decide(past_ns)
        yield from self._completed()
        self._forget()
        for stream in (self._images, self._truths, self._depths):
            self.dropped[EVICTED] += stream.keep_newest(self._most)
        while len(self._pairs) > self._most:
            self.dropped[EVICTED] += 1
            yield self._match(self._pairs.pop(0))

    def flush(self) -> Iterator[Match[T]]:
        """Yield all that is left, at the end of the streams."""
        self._decide(self._images.newest_ns)
        for pair in self._pairs:
            yield self._match(pair)
        self._pairs = []

    def _accepts(self, stream: _Stream[T], stamp_ns: int, after_ns: int) -> bool:
        if stamp_ns in stream:
            return False
        if stamp_ns <= after_ns:
            self.dropped[LATE] += 1
            return False
        return True

    def _decide(self, until_ns: int) -> None:
        """Settle the pairs of all images up to a stamp."""
        image_ns, truth_ns = self._images.stamps_ns, self._truths.stamps_ns
        first = bisect_left(image_ns, self._decided_ns + 1)
        if not image_ns[first:] or image_ns[first] > until_ns:
            return
        matches = match_nearest(image_ns, truth_ns, self._tolerance_ns).tolist()
        for stamp_ns, match in zip(image_ns[first:], matches[first:], strict=True):
            if stamp_ns > until_ns:
                break
            self._decided_ns = stamp_ns
            if match >= 0:
                self.pairs += 1
                truth = self._truths[truth_ns[match]]
                self._pairs.append((stamp_ns, truth_ns[match], self._images[stamp_ns], truth))

    def _completed(self) -> Iterator[Match[T]]:
        while self._pairs and self._pairs[0][0] <= self._depths.newest_ns:
            yield self._match(self._pairs.pop(0))

    def _match(self, pair: tuple[int, int, T, T]) -> Match[T]:
        return Match(*pair, self._depths.get(pair[0]))

    def _forget(self) -> None:
        """Let go of what can take part in no later pair."""
        self._images.drop_before(self._decided_ns - 2 * self._tolerance_ns)
        self._truths.drop_before(self._decided_ns - self._tolerance_ns)
        oldest_ns = self._pairs[0][0] if self._pairs else self._decided_ns + 1
        self._depths.drop_before(oldest_ns)


class _Stream(Generic[T]):
    """Messages by stamp, in order."""

    def __init__(self) -> None:
        self.stamps_ns: list[int] = []
        self._messages: dict[int, T] = {}
        self.newest_ns = -1

    def __contains__(self, stamp_ns: int) -> bool:
        return stamp_ns in self._messages

    def __getitem__(self, stamp_ns: int) -> T:
        return self._messages[stamp_ns]

    def get(self, stamp_ns: int) -> T | None:
        return self._messages.get(stamp_ns)

    def insert(self, stamp_ns: int, message: T) -> None:
        self.stamps_ns.insert(bisect_left(self.stamps_ns, stamp_ns), stamp_ns)
        self._messages[stamp_ns] = message
        self.newest_ns = max(self.newest_ns, stamp_ns)

    def drop_before(self, stamp_ns: int) -> None:
        count = bisect_left(self.stamps_ns, stamp_ns)
        for passed in self.stamps_ns[:count]:
            del self._messages[passed]
        del self.stamps_ns[:count]

    def keep_newest(self, most: int) -> int:
        """Drop all but the `most` newest; return how many went."""
        excess = len(self.stamps_ns) - most
        if excess > 0:
            self.drop_before(self.stamps_ns[excess])
        return max(excess, 0)
