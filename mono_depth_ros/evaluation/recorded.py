"""Depth that a node has already recorded, in place of a predictor."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.reader import BagReader
from mono_depth_ros.bags.topics import IMAGE
from mono_depth_ros.decoding import image_to_depth
from mono_depth_ros.errors import BagError
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.headers import HeaderList
from mono_depth_ros.evaluation.sequence import MessageSequence

logger = logging.getLogger(__name__)


class RecordedDepth:
    """The depth images of one topic, found by the stamp of the camera image they were made from.

    A context manager. Frames are asked for in recorded order; one that lies before the last reads
    the recording from its start again. Memory holds one depth image. Of a damaged recording the
    depth that can be read is used, and a warning logged.

    Args:
        bag: the recording with the depth, maybe another one than that with the truth.
        topic: a sensor_msgs/Image, 32FC1 metres or 16UC1 millimetres.

    Raises:
        BagError: the recording has no such topic.
    """

    def __init__(self, bag: str | Path, topic: str) -> None:
        self.path, self.topic = Path(bag), topic
        with BagReader(bag) as reader:
            if reader.topics.get(topic) != IMAGE:
                known = sorted(name for name, kind in reader.topics.items() if kind == IMAGE)
                raise BagError(
                    f"{bag} has no depth images on {topic}; its image topics are "
                    f"{', '.join(known) or 'none'}"
                )
            headers = HeaderList()
            try:
                for _, _, log_time_ns, cdr in reader.raw_messages([topic]):
                    headers.add(cdr, log_time_ns)
            except BagError as error:
                logger.warning("%s; using the depth that can be read", error)
            self._positions = {stamp_ns: i for i, stamp_ns in enumerate(headers.stamps_ns)}
        self._sequence: MessageSequence | None = None
        self._last = -1

    def __enter__(self) -> RecordedDepth:
        self._open()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._sequence is not None:
            self._sequence.__exit__()
            self._sequence = None

    def predict_frame(self, frame: Frame) -> npt.NDArray[np.float32] | None:
        """Return (H, W) float32 metres recorded for this image, None where there is none."""
        position = self._positions.get(frame.stamp_ns)
        if position is None:
            return None
        if self._sequence is None:
            raise BagError(f"{self.path} is not open; use RecordedDepth in a `with` statement")
        if position <= self._last:
            self._sequence.__exit__()
            self._open()
        self._last = position
        return image_to_depth(self._sequence.message(position))

    def _open(self) -> None:
        positions = self._positions.values()
        self._sequence = MessageSequence(self.path, self.topic, positions).__enter__()
        self._last = -1
