"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PLAIN_INTERVAL_S = 5.0


def progress(iterable: Iterable[T], total: int | None, label: str) -> Iterator[T]:
    """Yield the items of `iterable` and report on stderr how far it got.

    Args:
        iterable: what to go through.
        total: number of items, None where nobody knows.
        label: what is being done, for the reader.

    Yields:
        The items, unchanged. Leaving early or an error inside the loop ends the report as well.
    """
    if sys.stderr.isatty():
        # tqdm costs 50 ms to import, which commands without progress need not pay.
        from tqdm import tqdm

        yield from tqdm(iterable, total=total, desc=label, dynamic_ncols=True)
    else:
        yield from _plain(iterable, total, label)


def _plain(iterable: Iterable[T], total: int | None, label: str) -> Iterator[T]:
    start_s = reported_s = time.monotonic()
    count = 0
    for count, item in enumerate(iterable, start=1):
        yield item
        now_s = time.monotonic()
        if now_s - reported_s >= PLAIN_INTERVAL_S and count != total:
            reported_s = now_s
            _line(label, count, total, now_s - start_s)
    _line(label, count, total, time.monotonic() - start_s)


def _line(label: str, count: int, total: int | None, elapsed_s: float) -> None:
    of_total = "" if total is None else f"/{total}"
    left = ""
    if total is not None and 0 < count < total:
        left = f", {elapsed_s / count * (total - count):.0f} s left"
    sys.stderr.write(f"{label}: {count}{of_total} after {elapsed_s:.1f} s{left}\n")
    sys.stderr.flush()
