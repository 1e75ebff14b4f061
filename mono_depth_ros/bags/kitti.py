"""KITTI raw drive to rosbag2: rectified camera 2, its calibration, the Velodyne, their transforms.

File formats: the development kit's readme of http://www.cvlibs.net/datasets/kitti/raw_data.php.
"""

from __future__ import annotations

import calendar
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mono_depth_ros.bags.writer import BagWriter
from mono_depth_ros.errors import DataError
from mono_depth_ros.files import read_rgb
from mono_depth_ros.geometry import Intrinsics, invert_transform

logger = logging.getLogger(__name__)

IMAGE_TOPIC, INFO_TOPIC, LIDAR_TOPIC = "/camera/image_raw", "/camera/camera_info", "/lidar/points"
BASE_FRAME, CAMERA_FRAME, LIDAR_FRAME = "base_link", "camera_optical_frame", "lidar"
FRAME_PERIOD_NS = 103_600_000
# The car's data sheet: the Velodyne's centre is 1.73 m above the road.
LIDAR_HEIGHT_M = 1.73

_POINT_DTYPE = np.dtype([(name, "<f4") for name in ("x", "y", "z", "intensity")])
_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Camera 2 after rectification and the Velodyne's place.

    Attributes:
        camera: intrinsics, P_rect_02 without its fourth column.
        camera_from_lidar: (4, 4) Velodyne to the rectified camera 2's optical frame.
    """

    camera: Intrinsics
    camera_from_lidar: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What an import wrote; `clock` says where the stamps come from."""

    images: int
    sweeps: int
    clock: str


@dataclass(frozen=True, slots=True)
class _Recording:
    """One file of the drive and its stamp."""

    stamp_ns: int
    path: Path
    is_image: bool


def import_drive(
    drive: str | Path,
    bag: str | Path,
    *,
    storage: str = "mcap",
    track: Callable[[Iterable[_Recording], int], Iterable[_Recording]] = lambda items, _: items,
) -> ImportSummary:
    """Write a KITTI raw drive as a rosbag2 with camera, LiDAR and static transforms.

    Stamps are those of timestamps.txt read as UTC, to the nanosecond; a drive without them gets
    frame number x 0.1036 s. A frame that lacks its image or its sweep keeps the other.

    Args:
        drive: a `*_sync` folder; the calibration files lie in its parent.
        bag: folder to create.
        storage: "mcap" or "sqlite3".
        track: wraps the list of files while it is worked through, to show progress.

    Raises:
        DataError: something of the drive is missing or damaged.
        DecodingError: a picture is cut off.
        BagError: the bag cannot be written.
    """
    # `.` has no name and no parent; links stay, their calibration lies beside them.
    drive = Path(os.path.abspath(drive))
    images, sweeps = list_frames(drive)
    calibration = read_calibration(drive.parent, _size(read_rgb(next(iter(images.values())))))
    recordings, clock = _stamp(drive, images, sweeps)
    with BagWriter(bag, storage) as writer:
        writer.write_transforms("/tf_static", recordings[0].stamp_ns, _transforms(calibration))
        for recording in track(recordings, len(recordings)):
            if recording.is_image:
                _write_image(writer, recording, calibration.camera)
            else:
                points = read_sweep(recording.path)
                writer.write_points(LIDAR_TOPIC, recording.stamp_ns, LIDAR_FRAME, points)
    return ImportSummary(len(images), len(sweeps), clock)


def read_calibration(folder: Path, image_size: tuple[int, int]) -> Calibration:
    """Read calib_cam_to_cam.txt and calib_velo_to_cam.txt of one recording day.

    P_rect_02 projects from rectified camera 0, so its fourth column holds camera 2's offset of
    about 6 cm. That offset goes into camera_from_lidar: [I | K^-1 p4] R_rect_00 [R|T].

    Args:
        folder: the day's folder.
        image_size: (height, width) of the drive's images.

    Raises:
        DataError: a file or entry is missing, or the images have another size than the calibration.
    """
    cameras = _read_calibration_file(folder / "calib_cam_to_cam.txt")
    velodyne = _read_calibration_file(folder / "calib_velo_to_cam.txt")
    projection = _entry(cameras, folder, "P_rect_02", 12).reshape(3, 4)
    width, height = (int(value) for value in _entry(cameras, folder, "S_rect_02", 2))
    if image_size != (height, width):
        raise DataError(
            f"images are {image_size[0]}x{image_size[1]} but {folder} calibrates {height}x{width}; "
            "use the drive as downloaded, not resized, with the calibration of its day"
        )
    k = projection[:, :3]
    camera = Intrinsics(k[0, 0], k[1, 1], k[0, 2], k[1, 2], width, height)
    offset, rectification, extrinsic = np.eye(4), np.eye(4), np.eye(4)
    offset[:3, 3] = np.linalg.solve(k, projection[:, 3])
    rectification[:3, :3] = _entry(cameras, folder, "R_rect_00", 9).reshape(3, 3)
    extrinsic[:3, :3] = _entry(velodyne, folder, "R", 9).reshape(3, 3)
    extrinsic[:3, 3] = _entry(velodyne, folder, "T", 3)
    return Calibration(camera, offset @ rectification @ extrinsic)


def list_frames(drive: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    """Return camera 2's images and the sweeps of a `*_sync` folder, by frame number.

    Frames that lack one of the two are warned of.

    Raises:
        DataError: there is no such folder, it is unrectified, or it has no images or no sweeps.
    """
    if not drive.is_dir():
        raise DataError(f"no KITTI drive at {drive}; pass a folder like 2011_09_26_drive_0001_sync")
    if drive.name.endswith("_extract"):
        raise DataError(f"{drive} is unrectified; download the *_sync version of this drive")
    images = _numbered(drive / "image_02" / "data", (".png", ".jpg"))
    sweeps = _numbered(drive / "velodyne_points" / "data", (".bin",))
    for found, folder in ((images, "image_02"), (sweeps, "velodyne_points")):
        if not found:
            inner = ", ".join(sorted(path.name for path in drive.glob("*_sync")))
            hint = f"pass one of its drives: {inner}" if inner else "pass a KITTI raw *_sync folder"
            raise DataError(f"{drive} has no files in {folder}/data; {hint}")
    lonely = sorted(set(images) ^ set(sweeps))
    if lonely:
        logger.warning(
            "%d frames lack their image or their sweep: %s",
            len(lonely),
            ", ".join(map(str, lonely)),
        )
    return images, sweeps


def read_sweep(path: Path) -> npt.NDArray[np.void]:
    """Read one Velodyne .bin as (N,) structured x, y, z (metres), intensity (0..1), float32."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if len(data) % _POINT_DTYPE.itemsize:
        raise DataError(
            f"{path} holds {len(data)} bytes, not a multiple of 16 (four float32 per point); "
            "copy it again"
        )
    return np.frombuffer(data, _POINT_DTYPE)


def parse_timestamps(path: Path) -> dict[int, int]:
    """Read a timestamps.txt: frame number to nanoseconds since 1970, the text taken as UTC.

    Blank lines, which KITTI leaves for lost frames, have no entry.

    Raises:
        DataError: a line is no time.
    """
    stamps = {}
    for frame, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines()):
        if not line.strip():
            continue
        match = _STAMP.fullmatch(line.strip())
        if match is None:
            raise DataError(
                f"{path} line {frame + 1} is {line!r}, not a time like "
                "2011-09-26 13:02:25.964389445"
            )
        *calendar_fields, fraction = match.groups()
        seconds = calendar.timegm((*map(int, calendar_fields), 0, 0, 0))
        stamps[frame] = seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))
    return stamps


def _numbered(folder: Path, suffixes: tuple[str, ...]) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    files = (path for path in folder.iterdir() if path.suffix in suffixes and path.stem.isdigit())
    return {int(path.stem): path for path in sorted(files)}


def _stamp(
    drive: Path, images: dict[int, Path], sweeps: dict[int, Path]
) -> tuple[list[_Recording], str]:
    """Return all files in the order of their stamps and a description of the clock."""
    files = [drive / name / "timestamps.txt" for name in ("image_02", "velodyne_points")]
    # Both or none: a measured time and a counted one have nothing to do with each other.
    if all(file.exists() for file in files):
        image_ns, sweep_ns = map(parse_timestamps, files)
        clock = "timestamps.txt, read as UTC"
    else:
        missing = next(file for file in files if not file.exists())
        clock = f"frame number x {FRAME_PERIOD_NS / 1e9} s"
        logger.warning("no %s; stamps are %s", missing, clock)
        image_ns = sweep_ns = {frame: frame * FRAME_PERIOD_NS for frame in images.keys() | sweeps}
    recordings = [
        *_stamped(images, image_ns, files[0], is_image=True),
        *_stamped(sweeps, sweep_ns, files[1], is_image=False),
    ]
    return sorted(recordings, key=lambda recording: recording.stamp_ns), clock


def _stamped(
    files: dict[int, Path], stamps: dict[int, int], source: Path, is_image: bool
) -> Iterator[_Recording]:
    for frame, path in files.items():
        if frame not in stamps:
            raise DataError(f"{source} has no time for frame {frame}; it must have one per file")
        yield _Recording(stamps[frame], path, is_image)


def _write_image(writer: BagWriter, recording: _Recording, camera: Intrinsics) -> None:
    rgb = read_rgb(recording.path)
    if _size(rgb) != (camera.height, camera.width):
        height, width = _size(rgb)
        raise DataError(
            f"{recording.path} is {height}x{width}, not {camera.height}x{camera.width}; "
            "copy it again"
        )
    stamp_ns = recording.stamp_ns
    writer.write_image(IMAGE_TOPIC, stamp_ns, CAMERA_FRAME, rgb)
    writer.write_camera_info(INFO_TOPIC, stamp_ns, CAMERA_FRAME, camera)


def _transforms(
    calibration: Calibration,
) -> list[tuple[str, str, npt.NDArray[np.float64]]]:
    base_from_lidar = np.eye(4)
    base_from_lidar[2, 3] = LIDAR_HEIGHT_M
    base_from_camera = base_from_lidar @ invert_transform(calibration.camera_from_lidar)
    return [
        (BASE_FRAME, LIDAR_FRAME, base_from_lidar),
        (BASE_FRAME, CAMERA_FRAME, base_from_camera),
    ]


def _size(rgb: npt.NDArray[np.uint8]) -> tuple[int, int]:
    return rgb.shape[0], rgb.shape[1]


def _read_calibration_file(path: Path) -> dict[str, list[str]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror}; the calibration of the recording day belongs "
            "beside the drive folder"
        ) from error
    return {key: text.split() for key, _, text in (line.partition(":") for line in lines)}


def _entry(
    values: dict[str, list[str]], folder: Path, key: str, count: int
) -> npt.NDArray[np.float64]:
    try:
        numbers = np.array(values[key], np.float64)
    except (KeyError, ValueError):
        numbers = np.array([])
    if numbers.size != count or not np.isfinite(numbers).all():
        raise DataError(
            f"the calibration in {folder} has no {key} of {count} numbers; download it again"
        )
    return numbers
