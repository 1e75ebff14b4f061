"""Ctrl-C and SIGTERM in long work: the first ends it in order, the second at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# 128 + SIGINT, as shells say it.
INTERRUPTED = 130
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt at the first signal within the block; end the process at the next."""
    requested = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal requested
        if requested:
            os._exit(INTERRUPTED)
        requested = True
        sys.stderr.write("interrupted: writing what is done; once more ends at once\n")
        raise KeyboardInterrupt

    earlier = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
