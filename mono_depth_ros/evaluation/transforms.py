"""The tree of static transforms of a recording."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import BagError
from mono_depth_ros.geometry import invert_transform

Matrix = npt.NDArray[np.float64]


class StaticTransforms:
    """Frames and the rigid transforms between them, as /tf_static gives them.

    As in tf2, a frame has one parent and a later transform replaces an earlier one; names count
    without a leading slash.
    """

    def __init__(self) -> None:
        self._parents: dict[str, tuple[str, Matrix]] = {}

    def add(self, parent: str, child: str, parent_from_child: npt.ArrayLike) -> None:
        """Add or replace the transform of `child`, (4, 4)."""
        matrix = np.array(parent_from_child, np.float64)
        self._parents[_bare(child)] = (_bare(parent), matrix)

    @property
    def frames(self) -> list[str]:
        """All frame names, sorted."""
        return sorted({*self._parents, *(parent for parent, _ in self._parents.values())})

    def lookup(self, target: str, source: str) -> Matrix:
        """Return target_from_source, (4, 4), along the tree in either direction.

        Raises:
            BagError: the frames are not connected; the message lists what is there.
        """
        target, source = _bare(target), _bare(source)
        reached = {target: np.eye(4)}
        waiting = deque([target])
        while waiting and source not in reached:
            frame = waiting.popleft()
            for neighbour, frame_from_neighbour in self._neighbours(frame):
                if neighbour not in reached:
                    reached[neighbour] = reached[frame] @ frame_from_neighbour
                    waiting.append(neighbour)
        if source not in reached:
            raise BagError(
                f"no static transform between {target!r} and {source!r}; /tf_static holds "
                f"{self._described()}: record /tf_static, or set camera_from_lidar in the "
                "configuration"
            )
        return reached[source]

    def _neighbours(self, frame: str) -> Iterator[tuple[str, Matrix]]:
        if frame in self._parents:
            parent, parent_from_frame = self._parents[frame]
            yield parent, invert_transform(parent_from_frame)
        for child, (parent, frame_from_child) in self._parents.items():
            if parent == frame:
                yield child, frame_from_child

    def _described(self) -> str:
        links = sorted(f"{parent} -> {child}" for child, (parent, _) in self._parents.items())
        return ", ".join(links) or "nothing"


def _bare(name: str) -> str:
    return name.lstrip("/")
