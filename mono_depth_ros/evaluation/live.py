"""The scores of `evaluate_bag` for frames that come one by one and never again."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.topics import Topics
from mono_depth_ros.errors import BagError, ConfigError, DataError
from mono_depth_ros.evaluation.details import DetailSums
from mono_depth_ros.evaluation.extremes import Extremes, frame_title
from mono_depth_ros.evaluation.frame_scoring import (
    ReferenceMedian,
    constant_errors,
    counted_depths,
    reference_of,
    score_frame,
)
from mono_depth_ros.evaluation.frames import Frame
from mono_depth_ros.evaluation.pictures import FramePictures, draw_frame
from mono_depth_ros.evaluation.pipeline import Evaluation, summarise
from mono_depth_ros.evaluation.point_flicker import PointFlicker
from mono_depth_ros.evaluation.scores import FrameScore
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.geometry import FloatArray
from mono_depth_ros.prediction import Prediction


@dataclass(frozen=True, slots=True)
class LiveSource:
    """What the report says of where live frames came from; as in `Recording`."""

    path: Path
    topics: Topics
    images: int
    truths: int
    pairs: Sequence[object]
    fixed_frame: str = ""
    damage: str = ""
    unreadable: Mapping[int, str] = field(default_factory=dict)


class LiveScores:
    """Scores frames as they come; what belongs to the whole run is computed at the end.

    The constant baseline is the median of all truths, which only the end knows. Until then the
    counted depths of every frame lie in an unnamed file, 4 bytes each; memory holds one frame, the
    pictures, the worst and best frames, and 3 KB of scores per frame.

    Args:
        config: what a score depends on.
        folder: for the file; must exist.

    Attributes:
        scored: how many frames have a score.
        unpredicted: how many had a truth and no prediction.

    Raises:
        ConfigError: the configuration asks for what cannot be done live.
        DataError: the folder cannot be written.
    """

    def __init__(self, config: EvaluationConfig, folder: Path) -> None:
        require_live(config)
        self._config = config
        self._median = ReferenceMedian()
        self._scores: list[FrameScore] = []
        self._pictures = _PictureChoice(config.pictures)
        self._details = DetailSums()
        self._flicker = PointFlicker()
        self._extremes = Extremes(config.extremes if config.pictures else 0)
        self._counts, self._end = array("q"), 0
        self.unpredicted = 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise DataError(
                f"cannot write to {folder}: {error.strerror}; choose another folder for the report"
            ) from error

    @property
    def scored(self) -> int:
        """How many frames have a score."""
        return len(self._scores)

    def add(self, frame: Frame, prediction_m: FloatArray | None) -> None:
        """Score one frame; None counts as without a prediction.

        Raises:
            ShapeError: prediction and truth differ in size, or the profile needs larger images.
            DataError: the disk is full.
        """
        reference = reference_of(frame, self._config)
        counted_m = counted_depths(reference.depth_m, self._config.protocol)
        self._median.add(counted_m)
        if prediction_m is None:
            self.unpredicted += 1
            return
        # `finish` gives it its constant.
        details = DetailSums()
        score = score_frame(frame, Prediction(prediction_m), reference, self._config, details)
        details.add_flicker(self._flicker.look(frame, prediction_m, reference))
        self._keep(counted_m)
        self._details.merge(details)
        self._extremes.add(frame, prediction_m, reference.depth_m, score.model.abs_rel)
        self._scores.append(score)
        index = len(self._scores) - 1
        if frame.rgb is not None and self._pictures.wants(index):
            title = frame_title(index, score.model.abs_rel, frame.stamp_ns)
            scale_m = self._config.range_bins_m[-1]
            picture = draw_frame(title, frame.rgb, prediction_m, reference.depth_m, scale_m)
            self._pictures.add(index, picture)

    def finish(self, source: LiveSource, unreadable: int) -> Evaluation:
        """Return the evaluation of all frames.

        Args:
            source: where they came from.
            unreadable: matched frames that could not be used.

        Raises:
            BagError: no frame was scored, or no truth falls into an image.
        """
        if not self._scores:
            raise BagError(
                f"nothing was scored: {source.images} images, {source.truths} clouds on "
                f"{source.topics.truth}, {len(source.pairs)} pairs within "
                f"{self._config.frames.tolerance_ms:g} ms, of them {self.unpredicted} without a "
                f"depth and {unreadable} unreadable"
            )
        constant_m = self._median.value()
        if constant_m is None:
            raise BagError(
                f"no depth of {source.topics.truth} falls into the scored part of an image; check "
                "the profile's window and the transform between camera and LiDAR"
            )
        scores = [
            replace(score, constant=constant_errors(depths_m, constant_m, self._config.protocol))
            for score, depths_m in zip(self._scores, self._kept(), strict=True)
        ]
        unscored = self.unpredicted, unreadable
        summary = summarise(scores, constant_m, unscored, self._config)
        worst, best = self._extremes.drawn(self._config.range_bins_m[-1])
        return Evaluation(
            config=self._config,
            recording=source,
            summary=summary,
            frames=tuple(scores),
            pictures=self._pictures.evenly_spread(),
            details=self._details.value(),
            worst=worst,
            best=best,
        )

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def _keep(self, depths_m: npt.NDArray[np.float64]) -> None:
        """Append the depths of a frame to the file."""
        # LiDAR depths are float32, so nothing is lost.
        data = depths_m.astype(np.float32).tobytes()
        try:
            whole = self._file.write(data) == len(data)
        except OSError:
            whole = False
        if not whole:
            # What was written of it is overwritten by the next frame.
            self._file.seek(self._end)
            raise DataError("the truth of a frame cannot be kept; is the disk of the report full?")
        self._end += len(data)
        self._counts.append(depths_m.size)

    def _kept(self) -> Iterator[npt.NDArray[np.float32]]:
        self._file.seek(0)
        for count in self._counts:
            yield np.frombuffer(self._file.read(4 * count), np.float32)


class _PictureChoice:
    """Some pictures of a run of unknown length, evenly spread, at most twice as many as wanted."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._stride = 1
        self._pictures: dict[int, FramePictures] = {}

    def wants(self, index: int) -> bool:
        """Tell whether a frame is worth drawing."""
        return self._wanted > 0 and index % self._stride == 0

    def add(self, index: int, picture: FramePictures) -> None:
        """Keep a picture; when there are too many, every other one goes."""
        self._pictures[index] = picture
        while len(self._pictures) > 2 * self._wanted:
            self._stride *= 2
            self._pictures = {i: p for i, p in self._pictures.items() if i % self._stride == 0}

    def evenly_spread(self) -> tuple[FramePictures, ...]:
        """Return as many as are wanted."""
        pictures = list(self._pictures.values())
        count = min(self._wanted, len(pictures))
        places = np.linspace(0, len(pictures) - 1, count).round().astype(int).tolist()
        return tuple(pictures[place] for place in places)


def require_live(config: EvaluationConfig) -> None:
    """Check that frames which come one by one can be scored like that.

    Raises:
        ConfigError: a setting needs the whole recording, or no LiDAR.
    """
    frames = config.frames
    if frames.truth != "lidar":
        raise ConfigError("frames.truth is depth; live depth is scored against LiDAR only")
    if frames.sweeps != 1:
        raise ConfigError(f"frames.sweeps is {frames.sweeps}; live it must be 1")
    if not frames.rectified:
        raise ConfigError(
            "frames.rectified is false; live depth is scored on rectified images only, so let "
            "image_proc rectify them in front of the depth node"
        )
    if frames.camera_calibration:
        raise ConfigError(
            "frames.camera_calibration is set; live the depth node needs camera_info beside the "
            "image, so let the camera's driver load that file"
        )
    if frames.labels_topic:
        raise ConfigError("frames.labels_topic is set; live only depth is scored")
    if frames.max_frames is not None:
        raise ConfigError("frames.max_frames needs the length of the recording; leave it out live")
