"""Loading in a thread, of whatever takes long, while the present thing serves."""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node

from mono_depth_ros.errors import MonoDepthError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Arrival(Generic[T]):
    """What came of loading.

    Attributes:
        wanted: what was asked for.
        loaded: what was loaded; None where that failed.
        problem: why it failed, in a line, or with a traceback where nobody expected it.
    """

    wanted: str
    loaded: T | None
    problem: str = ""


class BackgroundLoader(Generic[T]):
    """Loads one thing after the other; of those that are asked for meanwhile, the last.

    Args:
        node: whose executor calls `arrived`.
        load: runs in the loader's thread.
        arrived: called in the executor's thread.
    """

    def __init__(
        self, node: Node, load: Callable[[str], T], arrived: Callable[[Arrival[T]], None]
    ) -> None:
        self._load, self._arrived = load, arrived
        self._arrivals: deque[Arrival[T]] = deque()
        self._next: deque[str] = deque(maxlen=1)
        self._thread: threading.Thread | None = None
        self._bell = node.create_guard_condition(self._hand_over)

    def want(self, name: str) -> None:
        """Load something, after what is being loaded now; call from the executor's thread."""
        self._next.append(name)
        if self._thread is None:
            # A daemon: loading must not keep the process alive.
            self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
            self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether something is being loaded."""
        return self._thread is not None

    def _work(self) -> None:
        name = self._next.popleft()
        try:
            arrival = Arrival(name, self._load(name))
        except MonoDepthError as error:
            arrival = Arrival(name, None, str(error))
        except Exception:
            arrival = Arrival(name, None, traceback.format_exc())
        self._arrivals.append(arrival)
        # When the process ends, the node may be gone by now.
        with suppress(InvalidHandle):
            self._bell.trigger()

    def _hand_over(self) -> None:
        while self._arrivals:
            arrival = self._arrivals.popleft()
            self._thread = None
            self._arrived(arrival)
            if self._next:
                self.want(self._next[-1])
