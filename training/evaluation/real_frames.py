"""Sets of real frames with a reference depth, named in a YAML file and read where they lie.

A set is a handful of frames of a depth camera or a piece of a KITTI drive; nothing is trained on
it. Sets for `choosing` may decide between checkpoints; those for `reporting` must not, or what they
report is no longer a test.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.kitti import list_frames, read_calibration, read_sweep
from mono_depth_ros.config import from_mapping, load_yaml
from mono_depth_ros.errors import ConfigError, DataError
from mono_depth_ros.evaluation.occlusion import drop_occluded
from mono_depth_ros.files import read_rgb
from mono_depth_ros.geometry import Intrinsics, lidar_to_depth
from training.datasets.reader import decode_depth, decode_picture
from training.manifest import DepthFile

Scene = Literal["rooms", "streets"]
Use = Literal["choosing", "reporting"]
FloatArray = npt.NDArray[np.float32]

# Largest reference depth of a scene, metres, as in the papers on NYU and KITTI.
CAPS_M: Mapping[Scene, float] = MappingProxyType({"rooms": 10.0, "streets": 80.0})


@dataclass(frozen=True, slots=True)
class RealFrame:
    """One picture and what was measured on it.

    Attributes:
        name: for messages.
        rgb: (H, W, 3) uint8.
        camera: intrinsics of the picture.
        truth_m: (H, W) float32 metres along the optical axis, NaN where nothing was measured, in
            the border, and outside the set's range of depths.
    """

    name: str
    rgb: npt.NDArray[np.uint8]
    camera: Intrinsics
    truth_m: FloatArray


@dataclass(frozen=True, slots=True)
class RealSet(ABC):
    """What all kinds of sets have; paths are relative to a folder given later.

    Attributes:
        name: unique in its file, letters, digits, `_`, `-` and `.`.
        use: what its scores may be used for.
        scene: checkpoints of this scene are scored on it.
        depth_range_m: reference depths strictly between the two count; the larger one is at most
            the scene's cap, 10 m or 80 m.
    """

    name: str
    use: Use
    scene: Scene
    depth_range_m: tuple[float, float]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ConfigError(
                f"set name {self.name!r}: use letters, digits, _, - and ., the first no - or ."
            )
        low_m, high_m = self.depth_range_m
        if not 0.0 <= low_m < high_m <= CAPS_M[self.scene]:
            raise ConfigError(
                f"set {self.name}: depth_range_m is {low_m:g} to {high_m:g}; need 0 <= low < high "
                f"<= {CAPS_M[self.scene]:g}, the cap of {self.scene}"
            )

    @abstractmethod
    def read(self, root: Path) -> Iterator[RealFrame]:
        """Yield the frames; see `load_frames`."""


@dataclass(frozen=True, slots=True)
class RgbdSet(RealSet):
    """Pictures of a depth camera, each with a 16-bit PNG of depth of the same size.

    Attributes:
        images: pattern of the pictures, `*` for any part of a name.
        depths: pattern of the depth files; both are sorted and paired by position.
        depth_codes_per_m: codes per metre, 1000 for millimetres; code 0 is no measurement.
        intrinsics: fx, fy, cx, cy of the pictures, pixels.
        border_px: so many outer pixels on every side do not count.
    """

    images: str
    depths: str
    depth_codes_per_m: float
    intrinsics: tuple[float, float, float, float]
    border_px: int = 0

    def __post_init__(self) -> None:
        # super() without arguments does not work in a dataclass with slots.
        RealSet.__post_init__(self)
        _require_relative(self.name, "images", self.images)
        _require_relative(self.name, "depths", self.depths)
        if not 0.0 < self.depth_codes_per_m < math.inf or self.border_px < 0:
            raise ConfigError(
                f"set {self.name}: depth_codes_per_m must be positive and finite and border_px 0 "
                f"or more, got {self.depth_codes_per_m} and {self.border_px}"
            )

    def read(self, root: Path) -> Iterator[RealFrame]:
        """Yield the frames; see `load_frames`."""
        images, depths = _matching(root, self.images), _matching(root, self.depths)
        if len(images) != len(depths):
            raise DataError(
                f"{root} has {len(images)} pictures {self.images} and {len(depths)} depth files "
                f"{self.depths}; set {self.name} needs one depth file for every picture"
            )
        for image, depth in zip(images, depths, strict=True):
            rgb = read_rgb(image)
            height, width = rgb.shape[:2]
            depth_m = _read_depth(depth, self.depth_codes_per_m, (height, width))
            camera = Intrinsics(*self.intrinsics, width=width, height=height)
            yield RealFrame(str(image), rgb, camera, _counting(depth_m, self, self.border_px))


@dataclass(frozen=True, slots=True)
class KittiDriveSet(RealSet):
    """Frames of a KITTI raw drive; the truth is the sweep without points that camera 2 cannot see.

    Attributes:
        drive: a `*_sync` folder; the calibration files of the day lie beside it.
        first_frame: number of the first frame.
        last_frame: number of the last frame, which counts.
    """

    drive: str
    first_frame: int
    last_frame: int

    def __post_init__(self) -> None:
        RealSet.__post_init__(self)
        _require_relative(self.name, "drive", self.drive)
        if not 0 <= self.first_frame <= self.last_frame:
            raise ConfigError(
                f"set {self.name}: need 0 <= first_frame <= last_frame, got {self.first_frame} and "
                f"{self.last_frame}"
            )

    def read(self, root: Path) -> Iterator[RealFrame]:
        """Yield the frames; see `load_frames`."""
        drive = root / self.drive
        images, sweeps = list_frames(drive)
        numbers = range(self.first_frame, self.last_frame + 1)
        missing = [str(n) for n in numbers if n not in images or n not in sweeps]
        if missing:
            raise DataError(
                f"{drive} lacks image or sweep of frames {', '.join(missing)}; fetch them, or "
                f"change first_frame and last_frame of set {self.name}"
            )
        for number in numbers:
            rgb = read_rgb(images[number])
            day = read_calibration(drive.parent, (rgb.shape[0], rgb.shape[1]))
            points_m = read_sweep(sweeps[number]).view(np.float32).reshape(-1, 4)[:, :3]
            depth_m = drop_occluded(
                lidar_to_depth(points_m, day.camera_from_lidar, day.camera),
                camera=day.camera,
                lidar_in_camera_m=day.camera_from_lidar[:3, 3],
            )
            yield RealFrame(str(images[number]), rgb, day.camera, _counting(depth_m, self))


KINDS = MappingProxyType[str, type[RealSet]]({"rgbd": RgbdSet, "kitti_drive": KittiDriveSet})


@dataclass(frozen=True, slots=True)
class _SetsFile:
    """Top level of the YAML file."""

    sets: tuple[dict, ...]


def load_sets(path: Path) -> tuple[RealSet, ...]:
    """Read the sets of a YAML file such as config/evaluation/real_frames.yaml.

    Raises:
        ConfigError: the file is missing or no YAML, a setting is unknown, missing or impossible,
            there is no set, or two have one name.
    """
    entries = from_mapping(_SetsFile, load_yaml(path), str(path)).sets
    sets = tuple(_set_of(entry, f"{path}: sets[{i}]") for i, entry in enumerate(entries))
    names = [part.name for part in sets]
    if not names or len(set(names)) < len(names):
        found = ", ".join(names) or "no set"
        raise ConfigError(f"{path} lists {found}; list sets that have each a name of its own")
    return sets


def load_frames(part: RealSet, root: Path) -> list[RealFrame]:
    """Read all frames of a set.

    Args:
        part: what to read.
        root: where its paths start.

    Raises:
        ConfigError: a pattern is impossible.
        DataError: a file is missing, damaged or of another size than its picture, numbers of
            pictures and depth files differ, or a frame has no depth that counts.
        DecodingError: a picture is cut off.
        CalibrationError: the intrinsics are impossible.
    """
    frames = list(part.read(root))
    for frame in frames:
        if not np.isfinite(frame.truth_m).any():
            low_m, high_m = part.depth_range_m
            raise DataError(
                f"{frame.name} has no depth between {low_m:g} and {high_m:g} m; check the scale, "
                f"range and border of set {part.name}"
            )
    return frames


def _set_of(entry: Mapping[str, Any], where: str) -> RealSet:
    values = dict(entry)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{where}.kind is {kind!r}; choose from {', '.join(KINDS)}")
    return from_mapping(KINDS[kind], values, where)


def _require_relative(name: str, setting: str, path: str) -> None:
    if not path or PurePath(path).is_absolute():
        raise ConfigError(f"set {name}: {setting} is {path!r}; give a path relative to --root")


def _matching(root: Path, pattern: str) -> Sequence[Path]:
    try:
        paths = sorted(path for path in root.glob(pattern) if path.is_file())
    except ValueError as error:
        raise ConfigError(f"{pattern!r} is no pattern of files: {error}") from error
    if not paths:
        raise DataError(f"no file {pattern} in {root}; is this the folder that the sets start at?")
    return paths


def _read_depth(path: Path, codes_per_m: float, shape: tuple[int, int]) -> FloatArray:
    code = decode_picture(path.read_bytes(), str(path), cv2.IMREAD_UNCHANGED)
    if code.dtype != np.uint16 or code.shape != shape:
        raise DataError(
            f"{path} is {code.shape} {code.dtype}; depth must be {shape} uint16 like its picture"
        )
    return decode_depth(code, DepthFile(str(path), scale=codes_per_m))


def _counting(depth_m: FloatArray, part: RealSet, border_px: int = 0) -> FloatArray:
    low_m, high_m = part.depth_range_m
    height, width = depth_m.shape
    counts = np.zeros((height, width), bool)
    counts[border_px : height - border_px, border_px : width - border_px] = True
    with np.errstate(invalid="ignore"):
        counts &= (depth_m > low_m) & (depth_m < high_m)
    return np.where(counts, depth_m, np.float32(np.nan))
