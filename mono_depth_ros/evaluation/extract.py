"""A recording's camera and LiDAR as a folder of pictures to learn from, see `extracted`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.errors import BagError, ConfigError, DataError
from mono_depth_ros.evaluation.extracted import (
    DEPTH_SCALE,
    FORMAT,
    FRAMES,
    SUMMARY,
    file_name,
)
from mono_depth_ros.evaluation.folders import replacing_folder
from mono_depth_ros.evaluation.frame_config import FrameConfig
from mono_depth_ros.evaluation.frame_scoring import reference_depth
from mono_depth_ros.evaluation.frames import Frame, Recording
from mono_depth_ros.evaluation.headers import FRAME_ERRORS
from mono_depth_ros.evaluation.settings import EvaluationConfig
from mono_depth_ros.files import write_picture
from mono_depth_ros.world.dataset import encode_depth

_JPEG_QUALITY = 95
# Large enough that the noise of single pixels averages out.
_GLANCE = (64, 48)


@dataclass(frozen=True, slots=True)
class ExtractConfig:
    """What to take out of a recording.

    Attributes:
        frames: topics and matching; `rectified: false` takes the lens distortion out here.
        every: take every n-th image that has a LiDAR sweep.
        min_change: skip an image that differs by less from the last one taken: the mean difference
            of both, shrunk to 64x48 grey pixels, in grey levels of 256. Cars pass a camera that
            stands still at about 1, driving changes 7 and more per frame. 0 takes all.
        occlusion: "opposite" removes points that the camera cannot see, "none" keeps all.
        occlusion_gap: relative depth gap of that rule.
        image_format: jpg (quality 95) or png.
    """

    frames: FrameConfig = field(default_factory=FrameConfig)
    every: int = 1
    min_change: float = 1.0
    occlusion: Literal["opposite", "none"] = "opposite"
    occlusion_gap: float = 0.15
    image_format: Literal["jpg", "png"] = "jpg"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"every must be at least 1, got {self.every}")
        if not self.min_change >= 0:
            raise ConfigError(f"min_change must be 0 or more, got {self.min_change}")
        if self.frames.truth != "lidar":
            raise ConfigError("only LiDAR is extracted; set frames.truth to lidar")


@dataclass(frozen=True, slots=True)
class ExtractSummary:
    """What became of the frames.

    Attributes:
        written: in the folder.
        still: skipped, because nothing had moved.
        empty: left out, because no LiDAR point lies in the image.
        unreadable: left out, because of the message itself; each was logged.
    """

    written: int = 0
    still: int = 0
    empty: int = 0
    unreadable: int = 0


def extract_bag(
    bag: str | Path,
    out: str | Path,
    config: ExtractConfig | None = None,
    *,
    track: Callable[[Iterable[Frame], int], Iterable[Frame]] = lambda frames, _: frames,
) -> ExtractSummary:
    """Write the frames of a recording to a folder, which appears when all of them are in it.

    Args:
        bag: anything `BagReader` opens.
        out: folder to create.
        config: what to take.
        track: wraps the frames while they are worked through, to show progress.

    Raises:
        BagError: the recording is unreadable or lacks something, none of its frames can be used,
            or it is damaged: then the folder holds what can be read.
        CalibrationError: no camera_info is usable.
        DataError: the folder is not empty or cannot be written.
    """
    config, out = config or ExtractConfig(), Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists and is not empty; choose another folder")
    recording = Recording(bag, replace(config.frames, accept_damaged=True))
    recording.pairs = recording.pairs[:: config.every]
    with replacing_folder(out) as folder:
        extraction = _Extraction(folder, recording, config)
        for frame in track(recording.frames(), len(recording.pairs)):
            extraction.add(frame)
        summary = replace(extraction.summary, unreadable=len(recording.unreadable))
        if summary.written == 0:
            raise _nothing_written(recording, summary)
        about = _about(recording, config, summary)
        (folder / SUMMARY).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        # What somebody put there meanwhile is not replaced.
        if out.exists():
            out.rmdir()
    if recording.damage:
        raise BagError(f"{recording.damage}; {out} holds {summary.written} readable frames")
    return summary


class _Extraction:
    """Writes frames one by one and counts them."""

    def __init__(self, folder: Path, recording: Recording, config: ExtractConfig) -> None:
        self._folder, self._recording, self._config = folder, recording, config
        self._rules = EvaluationConfig(
            occlusion=config.occlusion, occlusion_gap=config.occlusion_gap
        )
        self._last_glance: npt.NDArray[np.float32] | None = None
        self.summary = ExtractSummary()
        for name in ("rgb", "depth"):
            (folder / name).mkdir()

    def add(self, frame: Frame) -> None:
        """Write a frame, or count why not."""
        outcome = self._outcome(frame)
        if outcome:
            self.summary = replace(self.summary, **{outcome: getattr(self.summary, outcome) + 1})

    def _outcome(self, frame: Frame) -> str:
        if frame.rgb is None:
            raise BagError("a frame without its image cannot be extracted")
        glance = _glance(frame.rgb)
        if self._is_still(glance):
            return "still"
        try:
            depth_m = reference_depth(frame, self._rules)
        except FRAME_ERRORS as error:
            self._recording.leave_out(frame.stamp_ns, error)
            return ""
        code = encode_depth(depth_m, DEPTH_SCALE)
        if not code.any():
            return "empty"
        self._write(frame, frame.rgb, code)
        self._last_glance = glance
        return "written"

    def _is_still(self, glance: npt.NDArray[np.float32]) -> bool:
        if self._last_glance is None:
            return False
        return bool(np.abs(glance - self._last_glance).mean() < self._config.min_change)

    def _write(
        self, frame: Frame, rgb: npt.NDArray[np.uint8], code: npt.NDArray[np.uint16]
    ) -> None:
        name = file_name(frame.stamp_ns)
        image, depth = f"rgb/{name}.{self._config.image_format}", f"depth/{name}.png"
        jpeg = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        write_picture(self._folder / image, bgr, jpeg if image.endswith("jpg") else [])
        write_picture(self._folder / depth, code)
        camera = frame.camera
        line = {
            "stamp_ns": int(frame.stamp_ns),
            "truth_stamp_ns": int(frame.truth_stamp_ns),
            "image": image,
            "depth": depth,
            "size": [camera.height, camera.width],
            "intrinsics": [camera.fx, camera.fy, camera.cx, camera.cy],
            "depth_pixels": int(np.count_nonzero(code)),
        }
        with (self._folder / FRAMES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _glance(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(cv2.resize(grey, _GLANCE, interpolation=cv2.INTER_AREA), np.float32)


def _nothing_written(recording: Recording, summary: ExtractSummary) -> BagError:
    if summary.empty:
        return BagError(
            f"no point of {recording.topics.truth} falls into an image of "
            f"{recording.topics.image}; check the transform between camera and LiDAR"
        )
    return recording.nothing_left()


def _about(recording: Recording, config: ExtractConfig, summary: ExtractSummary) -> dict[str, Any]:
    transform = recording.camera_from_lidar
    return {
        "format": FORMAT,
        "bag": recording.path.name,
        "topics": asdict(recording.topics),
        "camera_from_lidar": None if transform is None else transform.tolist(),
        "settings": asdict(config),
        "depth_scale": DEPTH_SCALE,
        "frames": asdict(summary),
        "damage": recording.damage,
    }
